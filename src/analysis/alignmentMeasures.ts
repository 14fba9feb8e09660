/**
 * What two modalities have in common in the space of one encoder, each number beside its null and its interval. Nothing
 * here was trained on pairs: exact pairs (one patient, two modalities) only judge.
 */
import { normalise, selectRows, type EmbeddingSet } from "../embeddings.js";
import { Random } from "../random.js";
import { bootstrap, bootstrapMean, exactAtEnds, quantile, type Interval } from "../retrieval/bootstrap.js";
import { labelColumn } from "../retrieval/protocol.js";
import { exactSearch } from "../retrieval/search.js";
import type { Modality, Split } from "../types.js";
import { modalityGap, ofModality, pairRows } from "./alignment.js";
import { centreGram, ckaOf, ckaUnder, gramOf, subGram } from "./cka.js";
import { jackknife, permutationTest, type NullTest } from "./permutation.js";
import { dotProducts } from "./products.js";
import { explainedShare, rotateHeldOut } from "./procrustes.js";

/** In the order of the table's columns. */
export const MEASURES = [
  "region@1",
  "pairs@10",
  "CKA",
  "debiased CKA",
  "Procrustes",
  "pair distance",
  "gap",
  "uniformity",
] as const;

export type Measure = (typeof MEASURES)[number];

/** Whether more of it is better aligned. */
export const BETTER: Readonly<Record<Measure, "higher" | "lower">> = {
  "region@1": "higher",
  "pairs@10": "higher",
  CKA: "higher",
  "debiased CKA": "higher",
  Procrustes: "higher",
  "pair distance": "lower",
  gap: "lower",
  uniformity: "lower",
};

/** One measure of one encoder between two modalities. */
export interface Measurement extends Interval {
  readonly measure: Measure;
  /** Queries, pairs or rows that it was taken over. */
  readonly n: number;
  /** What chance gives; for uniformity, random directions of the same number and width. */
  readonly nullMean: number;
  readonly nullLow: number;
  readonly nullHigh: number;
  /** Of the permutation test; null for uniformity, which does not depend on what belongs together. */
  readonly p: number | null;
}

export interface MeasureOptions {
  /** Column of labels that modalities share. */
  readonly label: string;
  readonly seed: number;
  /** Permutations of each test. */
  readonly rounds?: number;
  /** Rounds of the bootstrap. */
  readonly bootstrapRounds?: number;
  readonly measures?: readonly Measure[];
}

/** Fewer pairs say nothing: the smallest number that every measure accepts. */
export const FEWEST_PAIRS = 10;

/**
 * All measures between two modalities that can be taken of these embeddings; those that cannot (no label is shared, fewer
 * than `FEWEST_PAIRS` patients have both) are left out.
 *
 * - `region@1`: Recall@1 on the shared label, queries → gallery, over the queries of both directions; null: gallery labels
 *   permuted.
 * - `pairs@10`: the same patient among the first 10 of all, both directions; null: patients permuted.
 * - `CKA`, `debiased CKA`: `linearCka` over the pairs; null: patients permuted.
 * - `Procrustes`: share of the squared distance of pairs that a rotation fitted on other patients removes
 *   (`rotateHeldOut`); null: held-out patients permuted within their fold, so a shift that all pairs share is in the null.
 * - `pair distance`: `alignment` of Wang & Isola; null: patients permuted.
 * - `gap`: distance of the centroids; null: modalities permuted among the rows. A small p says that the gap is real.
 * - `uniformity`: of both modalities' rows together; beside it random directions.
 *
 * Intervals: bootstrap over patients for means over patients, jackknife over blocks of patients for the others.
 */
export function measureAlignment(
  set: EmbeddingSet,
  from: Modality,
  to: Modality,
  options: MeasureOptions,
): Measurement[] {
  const { label, seed, rounds = 199, bootstrapRounds = 1000, measures = MEASURES } = options;
  // Named after the question, not the encoder: all encoders meet the same permutations and resamples.
  const random = new Random(seed).fork(`alignment ${from} ${to}`);
  const wanted = (measure: Measure) => measures.includes(measure);
  const out: Measurement[] = [];
  const add = (measure: Measure, n: number, interval: Interval, test: Omit<NullTest, "p"> & { p: number | null }) => {
    const { value, low, high } = interval;
    const { nullMean, nullLow, nullHigh, p } = test;
    out.push({ measure, n, value, low, high, nullMean, nullLow, nullHigh, p });
  };
  const permutations = { random, rounds };
  const rate = (values: ArrayLike<number>, groups: readonly string[]) =>
    exactAtEnds(bootstrapMean(values, groups, resamples), new Set(groups).size, 0.95);
  const resamples = { random: random.fork("bootstrap"), rounds: bootstrapRounds };

  if (wanted("region@1")) {
    const hits = regionHits(set, from, to, label);
    if (hits) {
      const { winners, labels, asked, groups } = hits;
      const value = (order: Int32Array) =>
        winners.reduce((sum, winner, q) => sum + (labels[order[winner]] === asked[q] ? 1 : 0), 0) / winners.length;
      const own = winners.map((winner, q) => (labels[winner] === asked[q] ? 1 : 0));
      add("region@1", asked.length, rate(own, groups), permutationTest(labels.length, value, permutations));
    }
  }

  const pairs = pairRows(set, from, to);
  const n = pairs.from.n;
  if (n >= FEWEST_PAIRS) {
    const [x, y] = [normalise(pairs.from), normalise(pairs.to)];
    const { groups } = x;
    const cosines = cosinesOf(x, y);
    if (wanted("pairs@10")) {
      const [there, back] = [ranks(cosines, n, false), ranks(cosines, n, true)];
      const hit = (i: number, j: number) => ((there[i * n + j] <= 10 ? 1 : 0) + (back[j * n + i] <= 10 ? 1 : 0)) / 2;
      const own = Float64Array.from({ length: n }, (_, i) => hit(i, i));
      add("pairs@10", n, rate(own, groups), permutationTest(n, meanOf(hit, n), permutations));
    }
    const grams = wanted("CKA") || wanted("debiased CKA") ? ([gramOf(x), gramOf(y)] as const) : null;
    for (const measure of ["CKA", "debiased CKA"] as const) {
      if (!grams || !wanted(measure)) continue;
      const debiased = measure === "debiased CKA";
      const [a, b] = [centreGram(grams[0], debiased), centreGram(grams[1], debiased)];
      const part = (rows: Int32Array) =>
        ckaOf(centreGram(subGram(grams[0], rows), debiased), centreGram(subGram(grams[1], rows), debiased));
      const test = permutationTest(n, ckaUnder(a, b), permutations);
      add(measure, n, jackknife(n, part, { random }), test);
    }
    if (wanted("Procrustes")) add("Procrustes", n, ...procrustes(x, y, { random, rounds, bootstrap: resamples }));
    if (wanted("pair distance")) {
      const distance = (i: number, j: number) => 2 - 2 * cosines[i * n + j];
      const own = Float64Array.from({ length: n }, (_, i) => distance(i, i));
      const test = permutationTest(n, meanOf(distance, n), { ...permutations, tail: "less" });
      add("pair distance", n, bootstrapMean(own, groups, resamples), test);
    }
  }

  if (wanted("gap") || wanted("uniformity")) {
    const both = normalise(selectRows(set, (i) => set.modalities[i] === from || set.modalities[i] === to));
    if (wanted("gap")) add("gap", both.n, ...gap(both, from, to, { random, rounds }));
    if (wanted("uniformity")) add("uniformity", both.n, ...spread(both, random));
  }
  return MEASURES.flatMap((measure) => out.filter((one) => one.measure === measure));
}

/** The mean of a matrix along an order: f(0, π(0)), f(1, π(1)) … */
const meanOf = (f: (i: number, j: number) => number, n: number) => (order: Int32Array) => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += f(i, order[i]);
  return sum / n;
};

/** The winner of every labelled query of both directions, as a row of one list of gallery labels; null where no label is shared. */
function regionHits(set: EmbeddingSet, from: Modality, to: Modality, label: string) {
  const of = (modality: Modality, split: Split) =>
    selectRows(set, (i) => set.modalities[i] === modality && set.splits[i] === split);
  const winners: number[] = [];
  const labels: string[] = [];
  const asked: string[] = [];
  const groups: string[] = [];
  for (const [asking, answering] of [
    [from, to],
    [to, from],
  ] as const) {
    const gallery = of(answering, "gallery");
    if (gallery.n === 0) continue;
    const answers = labelColumn(gallery, label, "gallery");
    const known = new Set(answers);
    const all = of(asking, "query");
    if (all.n === 0) continue;
    const wants = labelColumn(all, label, "queries");
    const queries = selectRows(all, (i) => wants[i] !== "" && known.has(wants[i]));
    if (queries.n === 0) continue;
    const { indices } = exactSearch(queries, gallery, 1);
    indices.forEach((winner) => winners.push(labels.length + winner));
    labels.push(...answers);
    asked.push(...labelColumn(queries, label, "queries"));
    groups.push(...queries.groups);
  }
  return asked.length > 0 ? { winners, labels, asked, groups } : null;
}

/** [n, n] cosines of unit rows. */
const cosinesOf = (x: EmbeddingSet, y: EmbeddingSet): Float64Array =>
  dotProducts(Float64Array.from(x.vectors), Float64Array.from(y.vectors), x.d);

/** [n, n]: the place of column j among all columns for row i, from 1; or of row j among all rows for column i. */
function ranks(cosines: Float64Array, n: number, across: boolean): Int32Array {
  const places = new Int32Array(n * n);
  const at = (i: number, j: number) => (across ? cosines[j * n + i] : cosines[i * n + j]);
  for (let i = 0; i < n; i++) {
    const order = Array.from({ length: n }, (_, j) => j).sort((a, b) => at(i, b) - at(i, a) || a - b);
    order.forEach((j, place) => (places[i * n + j] = place + 1));
  }
  return places;
}

type Tested = readonly [Interval, Omit<NullTest, "p"> & { readonly p: number | null }];

function procrustes(
  x: EmbeddingSet,
  y: EmbeddingSet,
  {
    random,
    rounds,
    bootstrap: resamples,
  }: { random: Random; rounds: number; bootstrap: { random: Random; rounds: number } },
): Tested {
  const { n } = x;
  const { before, after, afterAll, folds } = rotateHeldOut(x, y, { random });
  const members = [...new Set(folds)].map((fold) => Int32Array.from(folds.keys()).filter((i) => folds[i] === fold));
  const place = new Int32Array(n);
  for (const rows of members) rows.forEach((row, p) => (place[row] = p));
  const foldOf = new Map(members.map((rows) => [folds[rows[0]], rows]));
  // An order of all patients gives one of every fold: its members sorted by where the order has them.
  const statistic = (order: Int32Array) => {
    const shuffled = new Map(
      [...foldOf].map(([fold, rows]) => [fold, Array.from(rows).sort((a, b) => order[a] - order[b])]),
    );
    return explainedShare(
      before,
      before.map((_, i) => afterAll[i * n + shuffled.get(folds[i])![place[i]]]),
    );
  };
  const share = (weights: Int32Array) => [explainedShare(before, after, weights)];
  return [bootstrap(x.groups, share, resamples)[0], permutationTest(n, statistic, { random, rounds })];
}

function gap(
  both: EmbeddingSet,
  from: Modality,
  to: Modality,
  { random, rounds }: { random: Random; rounds: number },
): Tested {
  const { n, d, vectors } = both;
  const isFrom = Int32Array.from(both.modalities, (modality) => (modality === from ? 1 : 0));
  const patients = [...new Set(both.groups)];
  const number = new Map(patients.map((group, i) => [group, i]));
  const groupOf = Int32Array.from(both.groups, (group) => number.get(group)!);
  const distance = (side: (i: number) => number, kept?: Uint8Array) => {
    const sums = [new Float64Array(d), new Float64Array(d)];
    const counts = [0, 0];
    for (let i = 0; i < n; i++) {
      if (kept && kept[groupOf[i]] === 0) continue;
      const s = side(i);
      counts[s]++;
      const sum = sums[s];
      for (let t = 0, at = i * d; t < d; t++, at++) sum[t] += vectors[at];
    }
    return Math.sqrt(sums[0].reduce((sum, x, t) => sum + (x / counts[0] - sums[1][t] / counts[1]) ** 2, 0));
  };
  const test = permutationTest(n, (order) => distance((i) => isFrom[order[i]]), { random, rounds });
  const without = (rows: Int32Array) => {
    const kept = new Uint8Array(patients.length);
    rows.forEach((row) => (kept[row] = 1));
    return distance((i) => isFrom[i], kept);
  };
  const { low, high } = jackknife(patients.length, without, { random });
  return [{ value: modalityGap(both, from, to), low, high }, test];
}

const RANDOM_SETS = 5;

function spread(both: EmbeddingSet, random: Random): Tested {
  const patients = [...new Set(both.groups)];
  const number = new Map(patients.map((group, i) => [group, i]));
  const groupOf = Int32Array.from(both.groups, (group) => number.get(group)!);
  const potential = potentials(both);
  const without = (rows: Int32Array) => {
    const kept = new Uint8Array(patients.length);
    rows.forEach((row) => (kept[row] = 1));
    return logMean(potential, both.n, (i) => kept[groupOf[i]] === 1);
  };
  const values = ofRandomDirections(both, random.fork("directions"));
  const sorted = Float64Array.from(values).sort();
  const nullMean = values.reduce((sum, x) => sum + x, 0) / RANDOM_SETS;
  const reference = { nullMean, nullLow: quantile(sorted, 0.025), nullHigh: quantile(sorted, 0.975) };
  const interval = jackknife(patients.length, without, { random });
  return [interval, { value: interval.value, ...reference, p: null, rounds: RANDOM_SETS }];
}

/** Log means of random directions, by generator, number and width: encoders of one width are compared with the same ones. */
const known = new Map<string, readonly number[]>();

function ofRandomDirections(both: EmbeddingSet, random: Random): readonly number[] {
  const key = [...random.state(), both.n, both.d].join();
  const values =
    known.get(key) ??
    Array.from({ length: RANDOM_SETS }, () => {
      const vectors = Float32Array.from({ length: both.n * both.d }, () => random.normal());
      return logMean(potentials({ ...both, vectors }), both.n, () => true);
    });
  known.set(key, values);
  return values;
}

/** [n, n] below the diagonal: exp(−2 ‖x_i − x_j‖²), as `uniformity` has them. */
function potentials(set: EmbeddingSet): Float64Array {
  const { n } = set;
  const gram = gramOf(set);
  const potential = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const squared = gram[i * n + i] + gram[j * n + j] - 2 * gram[i * n + j];
      potential[i * n + j] = Math.exp(-2 * Math.max(0, squared));
    }
  }
  return potential;
}

function logMean(potential: Float64Array, n: number, kept: (i: number) => boolean): number {
  const rows = Int32Array.from({ length: n }, (_, i) => i).filter(kept);
  let sum = 0;
  for (let i = 0; i < rows.length; i++) for (let j = 0; j < i; j++) sum += potential[rows[i] * n + rows[j]];
  return Math.log(sum / ((rows.length * (rows.length - 1)) / 2));
}

/** Modality pairs of these that a set can be asked about, each once, in the order of the list. */
export function modalityPairs(set: EmbeddingSet, modalities: readonly Modality[]): [Modality, Modality][] {
  const present = modalities.filter((modality) => set.modalities.includes(modality));
  return present.flatMap((from, i) => present.slice(i + 1).map((to): [Modality, Modality] => [from, to]));
}

/** Patients of a set who have both modalities. */
export function pairCount(set: EmbeddingSet, from: Modality, to: Modality): number {
  const groups = new Set(ofModality(set, to).groups);
  return new Set(ofModality(set, from).groups.filter((group) => groups.has(group))).size;
}
