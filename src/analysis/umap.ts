/** A map of embeddings in the plane: UMAP (McInnes, Healy & Melville, arXiv 1802.03426) under cosine distance. */
import { UMAP } from "umap-js";
import type { Random } from "../random.js";
import { dotBlocks } from "../retrieval/dot.js";
import { InputError, type OnProgress } from "../types.js";

export interface UmapOptions {
  /** The only source of chance: the same state and vectors give the same map, bit for bit. */
  readonly random: Random;
  /** How many points make a neighbourhood, the point itself included; fewer where there are fewer points. */
  readonly neighbours?: number;
  readonly epochs?: number;
  /** How close points may come in the map: smaller packs clusters tighter. */
  readonly minDist?: number;
  readonly onProgress?: OnProgress;
}

/**
 * The vectors as points in the plane, such that neighbours under cosine distance stay neighbours. Distances between far
 * clusters and the axes themselves mean little.
 *
 * Neighbours are exact. The start is the two principal components of the unit vectors, scaled to ±10 as umap-learn scales
 * its own, because a random start (umap-js's default) loses the global arrangement (Kobak & Linderman 2021).
 *
 * @param vectors [n, d]  of any length: only their direction counts
 * @returns       [n, 2]
 * @throws InputError where n < 5, a value is not a finite number, or a vector is all zeros
 */
export function umap2d(
  vectors: Float32Array,
  n: number,
  d: number,
  { random, neighbours = 15, epochs = 200, minDist = 0.1, onProgress }: UmapOptions,
): Float32Array {
  if (vectors.length !== n * d) {
    throw new InputError(`UMAP: expected ${n} x ${d} = ${n * d} numbers, got ${vectors.length}`);
  }
  if (n < 5) throw new InputError(`UMAP: expected at least 5 points, got ${n}`);
  const unit = unitRows(vectors, n, d);
  const k = Math.min(neighbours, n - 1);
  const { indices, distances } = nearest(unit, n, d, k);

  const umap = new UMAP({ nNeighbors: k, nEpochs: epochs, minDist, random: () => random.uniform() });
  umap.setPrecomputedKNN(indices, distances);
  // The neighbours are known, so the library asks of the vectors only how many there are.
  umap.initializeFit(Array.from({ length: n }, () => []));
  const points = umap.getEmbedding(); // the live positions, n rows of 2
  const start = principalPlane(unit, n, d, random);
  points.forEach((point, i) => {
    point[0] = start[2 * i];
    point[1] = start[2 * i + 1];
  });
  for (let epoch = 1; epoch <= epochs; epoch++) {
    umap.step();
    onProgress?.({ label: "UMAP", done: epoch, total: epochs });
  }
  return Float32Array.from(points.flat());
}

/** Every vector scaled to length 1. */
function unitRows(vectors: Float32Array, n: number, d: number): Float32Array {
  const unit = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    let squares = 0;
    for (let j = 0; j < d; j++) squares += vectors[i * d + j] ** 2;
    if (!Number.isFinite(squares)) throw new InputError(`UMAP: vector ${i} holds a value that is not a finite number`);
    if (squares === 0) throw new InputError(`UMAP: vector ${i} is all zeros, so that its cosine is not defined`);
    const scale = 1 / Math.sqrt(squares);
    for (let j = 0; j < d; j++) unit[i * d + j] = vectors[i * d + j] * scale;
  }
  return unit;
}

/**
 * The k nearest points of every point by 1 − cosine, exactly; the point itself comes first, at 0, as UMAP expects it.
 * Among equals the lower index is nearer.
 */
function nearest(unit: Float32Array, n: number, d: number, k: number): { indices: number[][]; distances: number[][] } {
  const rows = 64;
  const blocks = dotBlocks(d, rows);
  const cosines = new Float32Array(rows * n);
  const indices: number[][] = [];
  const distances: number[][] = [];
  for (let from = 0; from < n; from += rows) {
    const to = Math.min(from + rows, n);
    blocks.multiply(unit.subarray(from * d, to * d), unit, cosines, n);
    for (let i = from; i < to; i++) {
      const row = cosines.subarray((i - from) * n, (i - from + 1) * n);
      const best = largest(row, k - 1, i);
      indices.push([i, ...best]);
      distances.push([0, ...best.map((j) => Math.max(0, 1 - row[j]))]);
    }
  }
  return { indices, distances };
}

/** Where the `count` largest values are, in falling order, leaving one place out. */
function largest(values: Float32Array, count: number, except: number): number[] {
  const places: number[] = [];
  for (let j = 0; j < values.length; j++) {
    if (j === except || (places.length === count && values[j] <= values[places[count - 1]])) continue;
    let at = Math.min(places.length, count - 1);
    for (; at > 0 && values[places[at - 1]] < values[j]; at--) places[at] = places[at - 1];
    places[at] = j;
  }
  return places;
}

const POWER_ROUNDS = 50;

/**
 * The first two principal components of the rows, by power iteration, with noise of 0.0001 so that equal rows part.
 * As a start for UMAP it needs a plane of large variance, not eigenvectors to the last digit.
 *
 * @returns [n, 2], the largest coordinate ±10
 */
function principalPlane(rows: Float32Array, n: number, d: number, random: Random): Float32Array {
  const centred = Float64Array.from(rows);
  for (let j = 0; j < d; j++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += rows[i * d + j];
    for (let i = 0; i < n; i++) centred[i * d + j] -= sum / n;
  }

  const first = principalDirection(centred, n, d, random, null);
  const second = principalDirection(centred, n, d, random, first);
  const scores = [project(centred, n, d, first), project(centred, n, d, second)];
  let largestScore = 0;
  for (const score of scores) for (const value of score) largestScore = Math.max(largestScore, Math.abs(value));
  const scale = largestScore > 0 ? 10 / largestScore : 0;

  const plane = new Float32Array(2 * n);
  for (let i = 0; i < 2 * n; i++) plane[i] = scale * scores[i % 2][i >> 1] + random.normal(0, 1e-4);
  return plane;
}

/** A unit vector [d] along the largest variance, at right angles to `avoid`. */
function principalDirection(
  rows: Float64Array,
  n: number,
  d: number,
  random: Random,
  avoid: Float64Array | null,
): Float64Array {
  let direction = Float64Array.from({ length: d }, () => random.normal());
  for (let round = 0; round < POWER_ROUNDS; round++) {
    const scores = project(rows, n, d, direction);
    const next = new Float64Array(d);
    for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) next[j] += scores[i] * rows[i * d + j];
    if (avoid) {
      const along = dot(next, avoid);
      for (let j = 0; j < d; j++) next[j] -= along * avoid[j];
    }
    const length = Math.sqrt(dot(next, next));
    if (length === 0) return next; // no variance is left: every point is the same in this direction
    direction = next.map((value) => value / length);
  }
  return direction;
}

/** [n, d] times [d]. */
function project(rows: Float64Array, n: number, d: number, direction: Float64Array): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => dot(rows.subarray(i * d, (i + 1) * d), direction));
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) sum += a[j] * b[j];
  return sum;
}
