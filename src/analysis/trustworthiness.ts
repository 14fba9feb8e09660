/** Whether the neighbours that a map shows are neighbours. */
import { normalise, type EmbeddingSet } from "../embeddings.js";
import { InputError } from "../types.js";
import { gramMatrix } from "./products.js";

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
  return trustOf(set, k)(map);
}

/** `trustworthiness` as a function of the map: several maps of one set need its neighbours once. */
export function trustOf(set: EmbeddingSet, k = 15): (map: Float32Array) => number {
  const { n, d } = set;
  if (!Number.isInteger(k) || k < 1 || k >= n / 2) {
    throw new InputError(`trustworthiness: expected 1 ≤ k < n / 2 = ${n / 2}, got ${k}`);
  }
  const places = placesOf(Float64Array.from(normalise(set).vectors), n, d);
  return (map) => {
    if (map.length !== 2 * n)
      throw new InputError(`trustworthiness: expected ${n} points of 2 numbers, got ${map.length} numbers`);
    const distances = new Float64Array(n);
    let penalty = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        distances[j] = (map[2 * i] - map[2 * j]) ** 2 + (map[2 * i + 1] - map[2 * j + 1]) ** 2;
      }
      for (const j of nearest(distances, k, i)) penalty += Math.max(0, places[i * n + j] - k);
    }
    return 1 - (2 / (n * k * (2 * n - 3 * k - 1))) * penalty;
  };
}

/** [n, n]: the place of j among the others by cosine with i, from 1; of equals the lower number comes first. */
function placesOf(unit: Float64Array, n: number, d: number): Int32Array {
  const cosines = gramMatrix(unit, n, d);
  const places = new Int32Array(n * n);
  for (let i = 0; i < n; i++) {
    const of = cosines.subarray(i * n, (i + 1) * n);
    const others = Int32Array.from({ length: n }, (_, j) => j).filter((j) => j !== i);
    others.sort((a, b) => of[b] - of[a] || a - b).forEach((j, place) => (places[i * n + j] = place + 1));
  }
  return places;
}

/** Where the k least distances are, leaving one place out; of equals the lower numbers. */
function nearest(distances: Float64Array, k: number, except: number): number[] {
  const kept: number[] = [];
  for (let j = 0; j < distances.length; j++) {
    if (j === except || (kept.length === k && distances[j] >= distances[kept[k - 1]])) continue;
    let at = Math.min(kept.length, k - 1);
    for (; at > 0 && distances[kept[at - 1]] > distances[j]; at--) kept[at] = kept[at - 1];
    kept[at] = j;
  }
  return kept;
}
