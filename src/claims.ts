/** The paper's claims beside what a run measured, worded from the numbers and nothing else. */
import type { Judgement, ResultRow } from "./judge.js";
import { UNSEEN_MODALITY, type Modality } from "./types.js";

/** `yes` on all, `no` on none, `partly` on some of what was measured. */
export type Verdict = "yes" | "partly" | "no" | "not measured";

export interface Claim {
  readonly claim: string;
  readonly measured: string;
  readonly verdict: Verdict;
}

/**
 * What a method is judged by. SimDINO: its CLS token, which it trains. MAE: the mean of its patch tokens, whitened on the
 * training split, because its raw cosine is known to trail (46 % linear, 11 % nearest neighbour on ImageNet). This was
 * chosen on the phantoms' own evaluation patients, so MAE's rows flatter it a little; the plain rows stand beside them.
 */
export const PRIMARY: Readonly<Record<string, string>> = { MAE: "MAE, mean, whitened", SimDINO: "SimDINO, CLS" };

type Question = (row: ResultRow) => boolean;

function verdictOf(hits: number, asked: number): Verdict {
  if (asked === 0) return "not measured";
  return hits === asked ? "yes" : hits > 0 ? "partly" : "no";
}

const at1 = (row: ResultRow) => row.recallAtK["1"];
const number = (x: number) => x.toFixed(2);

/** Rows of one encoder among answers to a question. */
function rowsOf(rows: readonly ResultRow[], encoder: string, question: Question = () => true): ResultRow[] {
  return rows.filter((row) => row.encoder === encoder && question(row));
}

/** The highest upper bound of the untrained encoder on the same question: both poolings, plain and whitened. */
function untrainedHigh(rows: readonly ResultRow[], { from, to, label }: ResultRow): number {
  const rivals = rows.filter(
    (r) => r.role === "untrained" && r.from === from && r.to === to && r.label === label && r.variant !== "centred",
  );
  return Math.max(...rivals.map((r) => at1(r).high));
}

/** Where one encoder's whole interval lies above the untrained one's, or above chance. */
function compare(
  rows: readonly ResultRow[],
  encoder: string,
  question?: Question,
  rival: "untrained" | "chance" = "untrained",
) {
  const own = rowsOf(rows, encoder, question);
  const bound = (row: ResultRow) => (rival === "chance" ? row.chance["1"] : untrainedHigh(rows, row));
  return { asked: own, above: own.filter((row) => at1(row).low > bound(row)) };
}

const nameOf = ({ from, to }: { from: Modality; to: Modality }) => (from === to ? from : `${from} → ${to}`);

function sentence(
  rows: readonly ResultRow[],
  asked: readonly ResultRow[],
  above: readonly ResultRow[],
  rival: string,
): string {
  const cells = asked.map((row) => {
    const untrained = rows.filter(
      (r) => r.role === "untrained" && r.from === row.from && r.to === row.to && r.variant !== "centred",
    );
    const best = Math.max(...untrained.map((r) => at1(r).value));
    return `${nameOf(row)} ${number(at1(row).value)} (untrained ${number(best)}, chance ${number(row.chance["1"])})`;
  });
  return `Recall@1 above ${rival} in ${above.length} of ${asked.length}: ${cells.join(", ")}`;
}

/**
 * One line per claim and method. "Above" means that the 95 % interval lies above the untrained encoder's (or above
 * chance); a higher mean with overlapping intervals does not count.
 */
export function claimsOf({ perModality, crossModal, pairs, mri }: Judgement): Claim[] {
  const claims: Claim[] = [];
  for (const [method, encoder] of Object.entries(PRIMARY)) {
    const add = (claim: string, rows: readonly ResultRow[], rival: "untrained" | "chance", question?: Question) => {
      const { asked, above } = compare(rows, encoder, question, rival);
      const words = rival === "chance" ? "chance" : "the untrained encoder";
      const measured = asked.length > 0 ? sentence(rows, asked, above, words) : "no such data in this run";
      claims.push({ claim: `${method}: ${claim}`, measured, verdict: verdictOf(above.length, asked.length) });
    };
    add("retrieval within every pretraining modality", perModality.rows, "untrained");
    const toCt: Question = ({ to }) => to === "ct";
    add("alignment across modalities without pairs (into CT)", crossModal.rows, "untrained", toCt);
    add("finds the same patient across X-ray and CT", pairs.rows, "chance");
    add(
      "transfer to MRI, never seen",
      mri.rows,
      "untrained",
      ({ from, to }) => from === UNSEEN_MODALITY && to === from,
    );
    add("MRI queries find seen modalities", mri.rows, "untrained", ({ to }) => to !== UNSEEN_MODALITY);
  }
  return claims;
}

/** The claims as a markdown table. */
export function claimsMarkdown(claims: readonly Claim[]): string {
  const rows = claims.map(({ claim, verdict, measured }) => `| ${claim} | **${verdict}** | ${measured} |`);
  return ["| claim | holds here | measured |", "|---|---|---|", ...rows, ""].join("\n");
}
