/** How much of what parts two modalities is a mere rotation: orthogonal Procrustes, judged on patients it was not fitted on. */
import { Matrix, SVD } from "ml-matrix";
import { normalise, type EmbeddingSet } from "../embeddings.js";
import type { Random } from "../random.js";
import { InputError } from "../types.js";
import { addOuter, dotProducts, transposed } from "./products.js";

/**
 * The orthogonal R that brings x nearest to y (Schönemann 1966):
 *
 *     min_R ‖X R − Y‖²,  RᵀR = I        R = U Vᵀ of the singular value decomposition XᵀY = U S Vᵀ
 *
 * x = y gives the identity. A reflection counts as a rotation here.
 *
 * @param x [n, k], @param y [n, k]  rows are pairs
 * @returns [k, k], row by row
 */
export function fitRotation(x: Float64Array, y: Float64Array, n: number, k: number): Float64Array {
  const product = new Matrix(k, k);
  for (let i = 0; i < n; i++) {
    for (let a = 0; a < k; a++) {
      for (let b = 0; b < k; b++) product.set(a, b, product.get(a, b) + x[i * k + a] * y[i * k + b]);
    }
  }
  const { leftSingularVectors: u, rightSingularVectors: v } = new SVD(product, { autoTranspose: true });
  return Float64Array.from(u.mmul(v.transpose()).to1DArray());
}

/** What a rotation does for pairs that had no part in fitting it. Row i is about pair i. */
export interface HeldOutRotation {
  /** Squared distance of the pair before: ‖x_i − y_i‖², of unit rows within the kept directions. */
  readonly before: Float64Array;
  /** And after: ‖x_i R − y_i‖². */
  readonly after: Float64Array;
  /** [n, n] after, of x_i with the y_j of its own fold; NaN for those of another fold. */
  readonly afterAll: Float64Array;
  /** The fold of each pair. */
  readonly folds: Int32Array;
  /** Directions kept. */
  readonly k: number;
}

/**
 * Fits a rotation on four fifths of the pairs and applies it to the rest, five times. To fit no more than the pairs can
 * bear, it acts within the k ≤ 32 leading directions of the fitted pairs (of both sides together, not centred, so that a
 * shift between the sides stays visible), at most half as many as there are pairs to fit on.
 *
 * @param x [n, d], @param y [n, d]  row i of both is one patient; rows are normalised here
 * @throws InputError where there are fewer than 10 pairs, or widths differ
 */
export function rotateHeldOut(
  x: EmbeddingSet,
  y: EmbeddingSet,
  {
    random,
    folds: foldCount = 5,
    most = 32,
  }: { readonly random: Random; readonly folds?: number; readonly most?: number },
): HeldOutRotation {
  if (x.n !== y.n || x.d !== y.d || x.n < 10) {
    throw new InputError(
      `Procrustes: expected at least 10 pairs of one width, got [${x.n}, ${x.d}] and [${y.n}, ${y.d}]`,
    );
  }
  const { n, d } = x;
  const [a, b] = [normalise(x).vectors, normalise(y).vectors];
  const folds = new Int32Array(n);
  random
    .fork("folds")
    .permutation(n)
    .forEach((row, place) => (folds[row] = place % foldCount));
  const [before, after] = [new Float64Array(n), new Float64Array(n)];
  const afterAll = new Float64Array(n * n).fill(NaN);
  const fitted = Math.floor((n * (foldCount - 1)) / foldCount);
  const k = Math.min(d, most, Math.floor(fitted / 2));

  for (let fold = 0; fold < foldCount; fold++) {
    const inside: number[] = [];
    const outside: number[] = [];
    folds.forEach((own, i) => (own === fold ? outside : inside).push(i));
    const basis = leadingDirections([rowsOf(a, d, inside), rowsOf(b, d, inside)], d, k, random.fork(`start ${fold}`));
    const onto = (vectors: Float32Array, rows: readonly number[]) => dotProducts(rowsOf(vectors, d, rows), basis, d);
    const rotation = fitRotation(onto(a, inside), onto(b, inside), inside.length, k);
    const [xs, ys] = [onto(a, outside), onto(b, outside)];
    const turned = dotProducts(xs, transposed(rotation, k, k), k);
    outside.forEach((i, p) => {
      before[i] = squaredDistance(xs, ys, p, p, k);
      outside.forEach((j, q) => (afterAll[i * n + j] = squaredDistance(turned, ys, p, q, k)));
      after[i] = afterAll[i * n + i];
    });
  }
  return { before, after, afterAll, folds, k };
}

/** 1 − Σ after / Σ before: 1 where the rotation closes the gap, 0 where it does nothing, negative where it opens it. */
export function explainedShare(before: Float64Array, after: Float64Array, weights?: ArrayLike<number>): number {
  let [left, whole] = [0, 0];
  for (let i = 0; i < before.length; i++) {
    left += (weights ? weights[i] : 1) * after[i];
    whole += (weights ? weights[i] : 1) * before[i];
  }
  return 1 - left / whole;
}

function rowsOf(vectors: Float32Array, d: number, rows: readonly number[]): Float64Array {
  const part = new Float64Array(rows.length * d);
  rows.forEach((row, i) => part.set(vectors.subarray(row * d, (row + 1) * d), i * d));
  return part;
}

function squaredDistance(x: Float64Array, y: Float64Array, i: number, j: number, k: number): number {
  let sum = 0;
  for (let c = 0; c < k; c++) sum += (x[i * k + c] - y[j * k + c]) ** 2;
  return sum;
}

const ROUNDS = 8;

/** An orthonormal basis [k, d] of about the k leading directions of the rows, by subspace iteration from a seeded start. */
function leadingDirections(parts: readonly Float64Array[], d: number, k: number, random: Random): Float64Array {
  if (k === d) return Float64Array.from({ length: d * d }, (_, at) => (at % (d + 1) === 0 ? 1 : 0));
  let basis = Float64Array.from({ length: k * d }, () => random.normal());
  for (let round = 0; round < ROUNDS; round++) {
    orthonormalise(basis, k, d);
    const next = new Float64Array(k * d);
    for (const rows of parts) addOuter(dotProducts(rows, basis, d), rows, k, d, next);
    basis = next;
  }
  orthonormalise(basis, k, d);
  return basis;
}

/** Gram–Schmidt, twice per row, which keeps right angles to the last digits; a row that vanishes stays zero. */
function orthonormalise(basis: Float64Array, k: number, d: number): void {
  for (let c = 0; c < k; c++) {
    const row = basis.subarray(c * d, (c + 1) * d);
    for (let pass = 0; pass < 2; pass++) {
      for (let other = 0; other < c; other++) {
        const against = basis.subarray(other * d, (other + 1) * d);
        let along = 0;
        for (let t = 0; t < d; t++) along += row[t] * against[t];
        for (let t = 0; t < d; t++) row[t] -= along * against[t];
      }
    }
    const length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    const tiny = length < 1e-12;
    for (let t = 0; t < d; t++) row[t] = tiny ? 0 : row[t] / length;
  }
}
