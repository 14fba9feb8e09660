/** k nearest neighbours as a classifier. */
import type { LabelledRows } from "./logistic.js";
import { dotProducts } from "./products.js";

/** DINO's temperature (`eval_knn.py`): a neighbour that is 0.07 nearer counts e times as much. */
export const KNN_TEMPERATURE = 0.07;

/**
 * Class scores [n, classes] of unit rows by their k nearest training rows: each votes for its class with exp(cosine / 0.07), and
 * votes are divided by their sum (the k-NN of DINO, arXiv 2104.14294, and SimDINO). Of equal cosines the earlier row is nearer.
 * More neighbours than rows means all rows.
 *
 * @param x [n, d] unit rows
 */
export function knnScores(train: LabelledRows, x: Float64Array, k: number): Float64Array {
  return knnScoresOf(train, x, [k])[0];
}

/** `knnScores` for several k, with one search. */
export function knnScoresOf(train: LabelledRows, x: Float64Array, ks: readonly number[]): Float64Array[] {
  const { d, classes } = train;
  const n = x.length / d;
  const out = ks.map(() => new Float64Array(n * classes));
  const all = dotProducts(x, train.x, d);
  for (let i = 0; i < n; i++) {
    const cosines = all.subarray(i * train.n, (i + 1) * train.n);
    const order = Array.from(cosines.keys()).sort((a, b) => cosines[b] - cosines[a] || a - b);
    ks.forEach((k, which) => {
      const near = order.slice(0, k);
      // Summed first and divided once, so that a unanimous vote is exactly 1: AUROC looks at ties.
      const votes = out[which].subarray(i * classes, (i + 1) * classes);
      let total = 0;
      for (const j of near) {
        const vote = Math.exp((cosines[j] - cosines[near[0]]) / KNN_TEMPERATURE);
        votes[train.y[j]] += vote;
        total += vote;
      }
      for (let c = 0; c < classes; c++) votes[c] /= total;
    });
  }
  return out;
}
