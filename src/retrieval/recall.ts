/**
 * Retrieval metrics of one query, and what each would be if the gallery were in random order.
 *
 * `ranked` is 1 where the r-th nearest gallery item is relevant and 0 where it is not, nearest first: [1, 0, 0, 1].
 * The gallery is what the query may retrieve, so its own patient is in neither `ranked` nor any count.
 */
import { InputError } from "../types.js";

/**
 * Recall@K as retrieval papers use it: 1 if *any* of the top K is relevant, else 0.
 * `recallAtK([0, 0, 1], 2)` is 0, and at 3 it is 1.
 */
export function recallAtK(ranked: ArrayLike<number>, k: number): number {
  for (let r = 0; r < Math.min(k, ranked.length); r++) if (ranked[r] !== 0) return 1;
  return 0;
}

/**
 * The relevant share of the top K. A gallery of fewer than K items is divided by its own size.
 * `precisionAtK([1, 0, 1, 0], 3)` is 2/3.
 */
export function precisionAtK(ranked: ArrayLike<number>, k: number): number {
  const top = Math.min(k, ranked.length);
  let hits = 0;
  for (let r = 0; r < top; r++) hits += ranked[r];
  return top === 0 ? 0 : hits / top;
}

/**
 * Average precision over the whole ranking, as scikit-learn's `average_precision_score` has it for untied scores:
 *
 *     AP = (1 / R) Σ_{r : ranked[r] = 1} (hits among the first r) / r          R = number of relevant items
 *
 * `averagePrecision([1, 0, 1])` is (1/1 + 2/3) / 2 = 5/6. 0 where nothing is relevant.
 */
export function averagePrecision(ranked: ArrayLike<number>): number {
  let [hits, sum] = [0, 0];
  for (let r = 0; r < ranked.length; r++) {
    if (ranked[r] === 0) continue;
    hits++;
    sum += hits / (r + 1);
  }
  return hits === 0 ? 0 : sum / hits;
}

/** 1 for the nearest, 2 for the next…: the place of the first relevant item, or Infinity where there is none. */
export function firstRank(ranked: ArrayLike<number>): number {
  for (let r = 0; r < ranked.length; r++) if (ranked[r] !== 0) return r + 1;
  return Infinity;
}

/** 1 / the place of the first relevant item: `reciprocalRank([0, 1, 1])` is 1/2. 0 where nothing is relevant. */
export function reciprocalRank(ranked: ArrayLike<number>): number {
  return 1 / firstRank(ranked);
}

function assertCounts(relevant: number, gallery: number): void {
  if (!(relevant >= 0 && relevant <= gallery)) {
    throw new InputError(`chance: expected between 0 and ${gallery} relevant items, got ${relevant}`);
  }
}

/**
 * Recall@K of a random order, exactly (hypergeometric; R relevant among N):
 *
 *     1 − C(N − R, k) / C(N, k) = 1 − Π_{i < k} (N − R − i) / (N − i)
 *
 * `chanceRecallAtK(1, 10, 3)` is 3/10.
 */
export function chanceRecallAtK(relevant: number, gallery: number, k: number): number {
  assertCounts(relevant, gallery);
  let miss = 1;
  for (let i = 0; i < Math.min(k, gallery); i++) miss *= Math.max(0, gallery - relevant - i) / (gallery - i);
  return 1 - miss;
}

/** Precision@K of a random order: R / N, whatever K is. */
export function chancePrecision(relevant: number, gallery: number): number {
  assertCounts(relevant, gallery);
  return gallery === 0 ? 0 : relevant / gallery;
}

/** H_N = 1 + 1/2 + … + 1/N, summed from the small end. */
function harmonic(n: number): number {
  let sum = 0;
  for (let i = n; i >= 1; i--) sum += 1 / i;
  return sum;
}

/**
 * Expected average precision of a random order, exactly. Given that place i is relevant (probability R / N), the i − 1
 * places before it hold (i − 1)(R − 1)/(N − 1) relevant items on average, so
 *
 *     E[AP] = (1/R) Σ_i (R/N) (1 + (i − 1)(R − 1)/(N − 1)) / i = (1/N) (H_N + (R − 1)/(N − 1) · (N − H_N))
 *
 * `chanceAveragePrecision(1, 2)` is (1 + 1/2)/2 = 3/4; where everything is relevant it is 1.
 */
export function chanceAveragePrecision(relevant: number, gallery: number): number {
  assertCounts(relevant, gallery);
  if (relevant === 0) return 0;
  if (gallery === 1) return 1;
  const h = harmonic(gallery);
  return (h + ((relevant - 1) / (gallery - 1)) * (gallery - h)) / gallery;
}

/**
 * Expected reciprocal rank of a random order, exactly: Σ_i P(i) / i, where the first relevant item is at place i with
 * P(1) = R / N and P(i + 1) = P(i) (N − i − R + 1) / (N − i). `chanceReciprocalRank(1, 2)` is (1 + 1/2)/2 = 3/4.
 */
export function chanceReciprocalRank(relevant: number, gallery: number): number {
  assertCounts(relevant, gallery);
  if (relevant === 0) return 0;
  let [probability, sum] = [relevant / gallery, 0];
  for (let i = 1; i <= gallery - relevant + 1; i++) {
    sum += probability / i;
    if (i < gallery) probability *= (gallery - i - relevant + 1) / (gallery - i);
  }
  return sum;
}
