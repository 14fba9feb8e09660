/** Who the virtual patients are: region, finding, size and split of each, drawn evenly from a seed. */
import { Random } from "../random.js";
import { InputError, SPLITS, type Split } from "../types.js";

export const REGIONS: readonly string[] = ["head", "neck", "chest", "abdomen", "pelvis", "shoulder", "knee", "hand"];

/** What may be found in each region, besides `none`. */
export const FINDINGS: Readonly<Record<string, readonly string[]>> = {
  head: ["hydrocephalus", "meningioma", "craniectomy"],
  neck: ["goitre", "lymphadenopathy", "laryngocele"],
  chest: ["lung-mass", "effusion", "cardiomegaly"],
  abdomen: ["ileus", "hydatid-cyst", "ascites"],
  pelvis: ["bladder-stone", "dermoid-cyst", "urinary-retention"],
  shoulder: ["dislocation", "calcific-tendinitis", "osteolysis"],
  knee: ["joint-effusion", "osteosarcoma", "loose-bodies"],
  hand: ["fracture", "ganglion", "enchondroma"],
};

export const NO_FINDING = "none";

/** One virtual person. The anatomy follows from these fields alone. */
export interface Patient {
  /** `p0007`. */
  readonly id: string;
  readonly region: string;
  /** One of `FINDINGS[region]`, or `none`. */
  readonly finding: string;
  readonly size: "small" | "large" | "none";
  /** All that is individual about the body. The same seed with another finding is the same body, healthy or not. */
  readonly seed: string;
}

export type SplitFractions = Readonly<Record<Split, number>>;

export const DEFAULT_SPLITS: SplitFractions = { train: 0.6, gallery: 0.2, query: 0.2 };

/**
 * `count` patients, each with the split it belongs to, in the order of their ids.
 *
 * Every region × finding (`none` included) has as many patients as any other, to within one; half of the findings of
 * a kind are small and half large; and each split receives its fraction of every region and, as far as counts permit,
 * of every region × finding. The order of ids says nothing about region or finding.
 */
export function drawPatients(
  count: number,
  seed: number,
  fractions: SplitFractions = DEFAULT_SPLITS,
): readonly (readonly [Patient, Split])[] {
  checkFractions(fractions);
  const random = new Random(`phantom patients ${seed}`);
  const drawn = random.fork("cells").permutation(REGIONS.length * 4);

  // Cells are dealt one patient at a time, all regions before the second finding of any, so that a small study still
  // shows every region.
  const cells = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const turn = Math.floor((i % drawn.length) / REGIONS.length);
    const region = REGIONS[i % REGIONS.length];
    const first = drawn[i % REGIONS.length] % 4; // regions start at different findings
    const finding = [NO_FINDING, ...FINDINGS[region]][(first + turn) % 4];
    const key = `${region} ${finding}`;
    cells.set(key, (cells.get(key) ?? 0) + 1);
  }

  const order = random.fork("ids").permutation(count);
  const patients: (readonly [Patient, Split])[] = new Array(count);
  const choose = splitChooser(fractions);
  let next = 0;
  for (const region of REGIONS) {
    for (const finding of [NO_FINDING, ...FINDINGS[region]]) {
      const n = cells.get(`${region} ${finding}`) ?? 0;
      const sizes = random.fork(`sizes ${region} ${finding}`).permutation(n);
      for (let k = 0; k < n; k++) {
        const at = order[next++];
        const id = `p${String(at).padStart(4, "0")}`;
        const size = finding === NO_FINDING ? "none" : sizes[k] % 2 === 0 ? "small" : "large";
        patients[at] = [{ id, region, finding, size, seed: `phantom ${seed} ${id}` }, choose(region, finding)];
      }
    }
  }
  return patients;
}

function checkFractions(fractions: SplitFractions): void {
  const values = SPLITS.map((split) => fractions[split]);
  const sum = values.reduce((a, b) => a + b, 0);
  if (values.some((f) => !(f >= 0)) || Math.abs(sum - 1) > 1e-6) {
    throw new InputError(`phantom: splits must be fractions that sum to 1; got ${JSON.stringify(fractions)}`);
  }
}

/** Deals patients to splits: always to the split that lags most, counting its cell, its region and everybody. */
function splitChooser(fractions: SplitFractions): (region: string, finding: string) => Split {
  const dealt = new Map<string, number>();
  const has = (key: string): number => dealt.get(key) ?? 0;
  return (region, finding) => {
    const scopes = ["all", region, `${region} ${finding}`];
    const lag = (split: Split): number =>
      scopes.reduce((sum, scope) => sum + fractions[split] * (has(scope) + 1) - has(`${scope} ${split}`), 0);
    let best: Split = SPLITS[0];
    for (const split of SPLITS)
      if (fractions[split] > 0 && !(fractions[best] > 0 && lag(best) >= lag(split))) best = split;
    for (const scope of scopes) {
      dealt.set(scope, has(scope) + 1);
      dealt.set(`${scope} ${best}`, has(`${scope} ${best}`) + 1);
    }
    return best;
  };
}
