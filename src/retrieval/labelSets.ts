/** Pictures that show several things at once: which of two share a label, and how much they share. */
import type { EmbeddingSet } from "../embeddings.js";
import { LABEL_SEPARATOR } from "../types.js";

/** The labels of a value, each once, in order: `Mass|Nodule` is [Mass, Nodule]; "" is unlabelled, and has none. */
export function labelsIn(value: string): string[] {
  const labels = value.split(LABEL_SEPARATOR).map((label) => label.trim());
  return [...new Set(labels)].filter((label) => label !== "");
}

/** The columns of a set of vectors that hold label sets, as it says of itself (`meta.labelSets`). */
export function labelSetsIn({ meta }: Pick<EmbeddingSet, "meta">): readonly string[] {
  return meta.labelSets === undefined ? [] : String(meta.labelSets).split(",");
}

/**
 * How much two sets of labels share (Jaccard 1901): 1 for the same set, 0 for nothing in common or nothing at all.
 *
 *     J(A, B) = |A ∩ B| / |A ∪ B|
 *
 * `jaccard(["a", "b"], ["b", "c"])` is 1/3.
 */
export function jaccard(a: readonly string[], b: readonly string[]): number {
  const shared = a.filter((label) => b.includes(label)).length;
  const all = a.length + b.length - shared;
  return all === 0 ? 0 : shared / all;
}

/** Whether two values share a label: `Effusion|Mass` and `Mass|Nodule` do; what is unlabelled shares nothing. */
export const shareLabel = (a: string, b: string): boolean => jaccard(labelsIn(a), labelsIn(b)) > 0;

/** 1 / log₂(r + 1): what the item at place r = 1, 2, … of a ranking counts. */
const discount = (r: number): number => 1 / Math.log2(r + 1);

/** DCG@K = Σ_{r ≤ K} g_r / log₂(r + 1), of gains in order of rank. */
function dcg(gains: ArrayLike<number>, k: number): number {
  let sum = 0;
  for (let r = 0; r < Math.min(k, gains.length); r++) sum += gains[r] * discount(r + 1);
  return sum;
}

/**
 * Normalised discounted cumulative gain (Järvelin & Kekäläinen, ACM TOIS 20(4), 2002, with gains as they are, as scikit-learn's
 * `ndcg_score` has it): how much of what the best order would gather in its first K places this one gathers.
 *
 *     nDCG@K = DCG@K(gains) / DCG@K(gains from the largest)
 *
 * `ndcgAtK([0, 1], 2)` is 1 / log₂ 3 = 0.631; at K = 1 it is 0. 0 where nothing has a gain.
 *
 * @param gains in order of rank, over all that the query may retrieve: for label sets, `jaccard` with the query's
 */
export function ndcgAtK(gains: ArrayLike<number>, k: number): number {
  const best = dcg(Float64Array.from(gains).sort().reverse(), k);
  return best === 0 ? 0 : dcg(gains, k) / best;
}

/**
 * nDCG@K of a random order, exactly: any place holds the mean gain on average, so
 *
 *     E = mean(g) Σ_{r ≤ K} 1 / log₂(r + 1) / DCG@K(gains from the largest)
 *
 * `chanceNdcgAtK([0, 1], 1)` is 1/2.
 */
export function chanceNdcgAtK(gains: ArrayLike<number>, k: number): number {
  const sorted = Float64Array.from(gains).sort().reverse();
  const best = dcg(sorted, k);
  if (best === 0) return 0;
  const mean = sorted.reduce((sum, gain) => sum + gain, 0) / sorted.length;
  return dcg(new Float64Array(sorted.length).fill(mean), k) / best;
}
