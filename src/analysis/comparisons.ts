/** Paired tests between encoders as a family: who beats whom on which question, after Holm's correction. */
import type { Random } from "../random.js";
import { drawGroups, type Interval } from "../retrieval/bootstrap.js";
import { outcome, type Metrics, type QueryOutcomes } from "../retrieval/protocol.js";
import { holm, pairedTest, type PairedTest } from "../retrieval/significance.js";
import { InputError } from "../types.js";

/** What one encoder scored on each row of a question: the mean is what its table shows. */
export interface Scores {
  /** Which rows they are, so that two encoders are compared on the same ones. */
  readonly rows: readonly (number | string)[];
  /** The patient of each. */
  readonly groups: readonly string[];
  readonly values: ArrayLike<number>;
}

/** Two encoders to compare on one question. */
export interface Rivals<Measured = QueryOutcomes> {
  readonly encoder: string;
  readonly against: string;
  /** What the other one is: decides which family the comparison belongs to. */
  readonly baseline: "untrained" | "pixels" | "single modality";
  /** A modality, or a direction such as `xray → ct`. */
  readonly column: string;
  readonly ours: Measured;
  readonly theirs: Measured;
}

/** Plain values: it goes into results.json as it is. */
export interface Comparison extends Omit<Rivals, "ours" | "theirs"> {
  readonly metric: keyof Metrics | "balancedAccuracy";
  readonly k: number | null;
  /** Ours minus theirs, with its interval, which is not corrected. */
  readonly difference: Interval;
  readonly p: number;
  /** After Holm's correction over `family` comparisons. */
  readonly adjusted: number;
  readonly family: number;
  readonly method: PairedTest["method"];
  readonly n: number;
  readonly groups: number;
  /** Groups in which the two differ. */
  readonly informative: number;
  /** By `adjusted` and the sign of the difference. */
  readonly verdict: "above" | "below" | "not told apart";
}

export const ALPHA = 0.05;

interface CompareOptions<Metric> {
  readonly metric: Metric;
  readonly k?: number;
  readonly random: Random;
  readonly rounds?: number;
}

/**
 * Tests every pair on one metric of retrieval; those against the same kind of baseline are one family, corrected among themselves.
 *
 * @throws InputError where two encoders did not answer the same queries
 */
export function compare(rivals: readonly Rivals[], options: CompareOptions<keyof Metrics>): Comparison[] {
  const { metric, k } = options;
  const scores = (of: QueryOutcomes): Scores => ({ ...of, values: outcome(of, metric, k) });
  return compareScores(
    rivals.map((rival) => ({ ...rival, ours: scores(rival.ours), theirs: scores(rival.theirs) })),
    options,
  );
}

/** As `compare`, for anything whose value is the mean of what each row scored. */
export function compareScores(
  rivals: readonly Rivals<Scores>[],
  { metric, k, random, rounds = 1000 }: CompareOptions<Comparison["metric"]>,
): Comparison[] {
  const drawn = new Map<string, Uint16Array>(); // queries of one column are of the same groups: all share its resamples
  const resamplesOf = (column: string, groups: readonly string[]): Uint16Array => {
    const known = drawn.get(column) ?? drawGroups(new Set(groups).size, rounds, random.fork(column));
    drawn.set(column, known);
    return known;
  };
  const tested = rivals.map(({ ours, theirs, ...about }) => {
    if (ours.rows.length !== theirs.rows.length || ours.rows.some((row, i) => row !== theirs.rows[i])) {
      throw new InputError(`${about.encoder} and ${about.against} did not answer the same queries in ${about.column}`);
    }
    const resamples = resamplesOf(about.column, ours.groups);
    const options = { random: random.fork(about.column), resamples };
    return { about, test: pairedTest(ours.values, theirs.values, ours.groups, options) };
  });
  const all = tested.map((): number => NaN);
  const sizes = new Map<string, number>();
  for (const baseline of new Set(rivals.map((rival) => rival.baseline))) {
    const family = tested.flatMap(({ about }, i) => (about.baseline === baseline ? [i] : []));
    sizes.set(baseline, family.length);
    const corrected = holm(family.map((i) => tested[i].test.p));
    family.forEach((i, j) => (all[i] = corrected[j]));
  }
  return tested.map(({ about, test: { difference, p, method, n, groups, informative } }, i): Comparison => {
    const told = all[i] < ALPHA && difference.value !== 0;
    return {
      ...about,
      metric,
      k: k ?? null,
      difference,
      p,
      adjusted: all[i],
      family: sizes.get(about.baseline)!,
      method,
      n,
      groups,
      informative,
      verdict: !told ? "not told apart" : difference.value > 0 ? "above" : "below",
    };
  });
}

/** `0.003`, or `< 0.001`. */
export function formatP(p: number): string {
  return p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`;
}

const BASELINES: Readonly<Record<Rivals["baseline"], string>> = {
  untrained: "the untrained encoder of the same pooling and variant",
  pixels: "raw pixels of the same variant",
  "single modality": "the same method trained on that modality alone",
};

/** A few hits are named with their p; where there are more, the cells' marks and the file of comparisons say which. */
const NAMED = 8;

/** One sentence for each family; up to `most` hits are named. */
export function remarkOn(comparisons: readonly Comparison[], most: number = NAMED): string[] {
  const families = [...new Set(comparisons.map(({ baseline }) => baseline))];
  return families.map((baseline) => {
    const family = comparisons.filter((c) => c.baseline === baseline);
    const told = (verdict: Comparison["verdict"]) => family.filter((c) => c.verdict === verdict);
    const named = (hits: readonly Comparison[]) =>
      hits.length === 0 || hits.length > most
        ? ""
        : ` (${hits.map((c) => `${c.encoder} on ${c.column}, p ${formatP(c.adjusted)}`).join("; ")})`;
    const [above, below] = [told("above"), told("below")];
    const least = Math.min(...family.map(({ adjusted }) => adjusted));
    const none = above.length + below.length === 0 ? `; smallest p ${formatP(least)}` : "";
    return (
      `paired test against ${BASELINES[baseline]}, Holm over ${family.length}: above in ${above.length}${named(above)}, ` +
      `below in ${below.length}${named(below)}${none}`
    );
  });
}

const COLUMNS = [
  "encoder",
  "against",
  "column",
  "metric",
  "k",
  "difference",
  "low",
  "high",
  "p",
  "adjusted",
  "family",
  "method",
  "n",
  "groups",
  "informative",
  "verdict",
] as const;

/** All numbers of comparisons, one a row: for a file, or a data frame. */
export function comparisonRows(
  comparisons: readonly Comparison[],
): Record<(typeof COLUMNS)[number], string | number>[] {
  return comparisons.map(({ difference, metric, k, ...rest }) => {
    const flat = {
      ...rest,
      metric,
      k: k ?? "",
      difference: difference.value,
      low: difference.low,
      high: difference.high,
    };
    return Object.fromEntries(COLUMNS.map((name) => [name, flat[name]])) as Record<
      (typeof COLUMNS)[number],
      string | number
    >;
  });
}
