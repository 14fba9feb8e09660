/**
 * The paper's claim that modalities help each other: a method trained on the mixture, beside the same method trained on one
 * modality alone, judged on that modality by the same queries of the same patients.
 */
import { compareScores, remarkOn, type Comparison, type Rivals, type Scores } from "../analysis/comparisons.js";
import type { Figure } from "../analysis/figures.js";
import { markdownTable } from "../analysis/markdownTable.js";
import { overSeeds } from "../analysis/overSeeds.js";
import { MODALITY_LOOKS } from "../analysis/palette.js";
import { effectsFigure } from "../analysis/sweepFigures.js";
import { Random } from "../random.js";
import { METHOD_NAMES, METHODS } from "../presets.js";
import type { Method } from "../trainers/objective.js";
import { InputError, MODALITIES, type Modality } from "../types.js";
import { chanceOf, contrast, directionsOf, hitsOf, type Outcome } from "./outcomes.js";
import type { PointResult } from "./point.js";
import { pixels, rounded, signed, tripled, tripleWords, untrained, type Triple } from "./values.js";

/** One method on one modality, at the seeds that both runs have. */
export interface MixedRow {
  readonly method: Method;
  readonly modality: Modality;
  /** How the encoders were read: "trained, mean, whitened". */
  readonly reading: string;
  readonly seeds: readonly number[];
  /** Steps of the mixed run, and of the one on this modality alone. */
  readonly steps: readonly [mixed: number, alone: number];
  readonly queries: number;
  readonly patients: number;
  readonly chance: number;
  readonly mixed: Triple;
  readonly alone: Triple;
  readonly untrained: Triple;
  readonly pixels: Triple;
  /** Mixed minus alone, Recall@1, by the paired test over patients; Holm over all rows. */
  readonly comparison: Comparison;
  /** The difference of each seed, and Student's interval of their mean; null for one seed. */
  readonly perSeed: readonly number[];
  readonly overSeeds: readonly [low: number, high: number] | null;
}

const K = 1;

/**
 * A row for every run on a single modality that has the mixed run of its method beside it (same data, same seed).
 *
 * @param reading how a method is read in tables (`primaryReading`)
 */
export function mixedAgainstSingle(
  results: readonly PointResult[],
  { seed, rounds, reading }: { seed: number; rounds: number; reading: (method: Method) => string },
): MixedRow[] {
  const cases = singles(results);
  const rivals = cases.map(({ method, modality, pairs }): Rivals<Scores> => {
    const outcome = outcomeOf(pairs[0].alone, modality);
    const scores = (which: "mixed" | "alone"): Scores => {
      const parts = pairs.map((pair) => {
        const { hit, answerable, patients } = hitsOf({ result: pair[which], reading: reading(method) }, outcome);
        const rows = hit.flatMap((_, q) => (answerable[q] ? [q] : []));
        const name = (q: number) => `${pair[which].resolved.dataSeed} ${patients[q]}`;
        return {
          rows: rows.map((q) => `${name(q)} ${q}`),
          groups: rows.map(name),
          values: rows.map((q): number => hit[q]),
        };
      });
      return {
        rows: parts.flatMap(({ rows }) => rows),
        groups: parts.flatMap(({ groups }) => groups),
        values: parts.flatMap(({ values }) => values),
      };
    };
    const about = { encoder: `${METHOD_NAMES[method]}, mixed`, against: `${METHOD_NAMES[method]}, ${modality} alone` };
    return { ...about, baseline: "single modality", column: modality, ours: scores("mixed"), theirs: scores("alone") };
  });
  const random = new Random(seed).fork("mixed");
  const comparisons = compareScores(rivals, { metric: "recallAtK", k: K, random, rounds });
  return cases.map(({ method, modality, pairs }, i): MixedRow => {
    const outcome = outcomeOf(pairs[0].alone, modality);
    const read = reading(method);
    const value = (which: "mixed" | "alone", as: string): Triple => {
      const sides = pairs.map((pair) => ({ a: { result: pair[which], reading: as } }));
      return tripled(contrast(sides, outcome, { rounds, seed }));
    };
    const perSeed = pairs.map(({ mixed, alone }) => {
      const pair = { a: { result: mixed, reading: read }, b: { result: alone, reading: read } };
      return contrast([pair], outcome, { rounds: 1, seed }).value;
    });
    const spread = overSeeds(perSeed);
    return {
      ...{ method, modality, reading: read, seeds: pairs.map(({ alone }) => alone.variant.seed) },
      steps: [pairs[0].mixed.training.steps, pairs[0].alone.training.steps],
      ...{
        queries: comparisons[i].n,
        patients: comparisons[i].groups,
        chance: rounded(chanceOf(pairs[0].alone, outcome)),
      },
      ...{ mixed: value("mixed", read), alone: value("alone", read) },
      untrained: value("mixed", untrained(read)),
      pixels: value("mixed", pixels(read)),
      comparison: comparisons[i],
      perSeed: perSeed.map(rounded),
      overSeeds: spread && [rounded(spread.low), rounded(spread.high)],
    };
  });
}

interface Pair {
  readonly mixed: PointResult;
  readonly alone: PointResult;
}

/** Runs on one modality with the base of their method and seed, by method and modality. */
function singles(results: readonly PointResult[]): { method: Method; modality: Modality; pairs: Pair[] }[] {
  const found = new Map<string, { method: Method; modality: Modality; pairs: Pair[] }>();
  for (const alone of results) {
    const { method, seed, modalities } = alone.variant;
    const mixed = results.find((one) => one.isBase && one.variant.method === method && one.variant.seed === seed);
    if (modalities?.length !== 1 || mixed === undefined || mixed.variant.modalities?.length === 1) continue;
    const [modality] = modalities;
    const key = `${method}, ${alone.setting}`;
    const known = found.get(key) ?? { method, modality, pairs: [] };
    known.pairs.push({ mixed, alone });
    found.set(key, known);
  }
  const place = ({ method, modality }: { method: Method; modality: Modality }) =>
    METHODS.indexOf(method) * MODALITIES.length + MODALITIES.indexOf(modality);
  return [...found.values()].sort((a, b) => place(a) - place(b));
}

function outcomeOf(result: PointResult, modality: Modality): Outcome {
  const outcome = directionsOf(result).find(({ name }) => name === modality);
  if (!outcome) throw new InputError(`${result.id}: was not asked for ${modality} within ${modality}`);
  return outcome;
}

/** Every row with chance, pixels and the untrained encoder beside it; the caption and what the tests said, from the numbers. */
export function mixedMarkdown(rows: readonly MixedRow[], about: { readonly data: string }): string {
  if (rows.length === 0) throw new InputError("mixed against single: expected a run of one modality, got none");
  const cells = rows.map((row) => {
    const { method, modality, seeds, queries, chance, mixed, alone, comparison, overSeeds } = row;
    const { difference, adjusted, verdict } = comparison;
    return [
      ...[METHOD_NAMES[method], modality, seeds.join(", "), String(queries), chance.toFixed(3)],
      ...[row.pixels, row.untrained, alone, mixed].map(tripleWords),
      `${signed(difference.value)} [${signed(difference.low)}, ${signed(difference.high)}]`,
      overSeeds === null ? "–" : `[${overSeeds.map(signed).join(", ")}]`,
      ...[adjusted < 0.001 ? "< 0.001" : adjusted.toFixed(3), verdict],
    ];
  });
  const columns = [
    ...["method", "modality", "seeds", "n", "chance", "raw pixels", "untrained", "that modality alone", "mixed"],
    ...["mixed − alone", "over seeds", "p, Holm", "mixed is"],
  ];
  const readings = [...new Set(rows.map(({ method, reading }) => `${METHOD_NAMES[method]}: ${reading}`))];
  const seeds = [...new Set(rows.flatMap((row) => row.seeds))];
  const queries = Math.max(...rows.map((row) => row.queries / row.seeds.length));
  const taken = ({ method, steps: [mixed, alone] }: MixedRow) =>
    `${METHOD_NAMES[method]} ${mixed} mixed, ${alone} alone`;
  const steps = [...new Set(rows.map(taken))];
  const caption =
    `Recall@${K} within each modality, of encoders trained on all modalities and on that one alone; ${about.data}, ` +
    `seed${seeds.length === 1 ? "" : "s"} ${seeds.join(", ")}, ${queries} queries a seed; read as ` +
    `${readings.join("; ")}; steps: ${steps.join("; ")}; n: queries over the seeds named. [95 % bootstrap intervals over patients]; ` +
    `over seeds: Student's interval of the mean difference, – for one seed, which says nothing of another; p: paired ` +
    `permutation test over patients, Holm over ${rows[0].comparison.family}.`;
  return [markdownTable(columns, cells, caption), "", mixedWords(rows), ""].join("\n");
}

/** One sentence, from the comparisons alone. */
export function mixedWords(rows: readonly MixedRow[]): string {
  const higher = rows.filter(({ comparison }) => comparison.difference.value > 0).length;
  const [remark] = remarkOn(rows.map(({ comparison }) => comparison));
  return `The mixture is higher than the same method on that modality alone in ${higher} of ${rows.length}; ${remark}.`;
}

/** Mixed minus alone on each modality, with intervals over patients. */
export function mixedFigure(
  rows: readonly MixedRow[],
  about: { readonly data: string; readonly name?: string },
): Figure {
  if (rows.length === 0) throw new InputError("mixed against single: expected a run of one modality, got none");
  const seeds = [...new Set(rows.flatMap((row) => row.seeds))];
  return effectsFigure(
    rows.map(({ method, modality, comparison: { difference } }) => ({
      ...{ label: MODALITY_LOOKS[modality].name, method: METHOD_NAMES[method] },
      ...{ difference: difference.value, low: difference.low, high: difference.high },
    })),
    {
      ...{ metric: `Recall@${K} within the modality`, against: "the same method on that modality alone" },
      queries: Math.max(...rows.map(({ queries }) => queries)),
      ...{ seeds: seeds.length, dataSet: about.data, seed: seeds[0], name: about.name ?? "mixed-against-single" },
      title: "Mixed against single-modality pretraining",
    },
  );
}
