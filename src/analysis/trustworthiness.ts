/** Whether the neighbours that a map shows are neighbours. */
import { normalise, type EmbeddingSet } from "../embeddings.js";
import { InputError } from "../types.js";

/**
 * Trustworthiness of a map (Venna & Kaski 2001; scikit-learn's `trustworthiness(metric="cosine")`):
 *
 *     T(k) = 1 − 2 / (n k (2n − 3k − 1)) · Σ_i Σ_j∈U(i) (r(i, j) − k)
 *
 * U(i) are the k nearest points of i in the map that are not among its k nearest by cosine, and r(i, j) is the place of j by
 * cosine. 1: every neighbour in the map is one; a random map gives about 0.5. Neighbours that the map tears apart do not count.
 *
 * @param map [n, 2]
 * @param k   neighbours, fewer than n / 2
 */
export function trustworthiness(set: EmbeddingSet, map: Float32Array, k = 15): number {
  const { n } = set;
  if (map.length !== 2 * n)
    throw new InputError(`trustworthiness: expected ${n} points of 2 numbers, got ${map.length} numbers`);
  if (!Number.isInteger(k) || k < 1 || k >= n / 2) {
    throw new InputError(`trustworthiness: expected 1 ≤ k < n / 2 = ${n / 2}, got ${k}`);
  }
  const { vectors, d } = normalise(set);
  const [cosines, distances] = [new Float64Array(n), new Float64Array(n)];
  const places = new Int32Array(n);
  let penalty = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let t = 0; t < d; t++) sum += vectors[i * d + t] * vectors[j * d + t];
      cosines[j] = sum;
      distances[j] = (map[2 * i] - map[2 * j]) ** 2 + (map[2 * i + 1] - map[2 * j + 1]) ** 2;
    }
    const others = Array.from({ length: n }, (_, j) => j).filter((j) => j !== i);
    const bySpace = others.slice().sort((a, b) => cosines[b] - cosines[a] || a - b);
    bySpace.forEach((j, place) => (places[j] = place + 1));
    const byMap = others.sort((a, b) => distances[a] - distances[b] || a - b);
    for (const j of byMap.slice(0, k)) penalty += Math.max(0, places[j] - k);
  }
  return 1 - (2 / (n * k * (2 * n - 3 * k - 1))) * penalty;
}
