/** Logistic regression on frozen features: the linear probe. */
import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { InputError } from "../types.js";
import { minimise } from "./minimise.js";
import { addOuter, gramMatrix } from "./products.js";

/** Rows of numbers [n, d] with a class number each. */
export interface LabelledRows {
  readonly x: Float64Array;
  readonly n: number;
  readonly d: number;
  /** [n], 0 … classes − 1 */
  readonly y: Int32Array;
  readonly classes: number;
}

/** A fitted probe; weights act on standardised features. */
export interface LinearProbe {
  readonly d: number;
  readonly classes: number;
  /** [d] */
  readonly mean: Float64Array;
  /** [d]: 1 / deviation, 0 for a feature that does not vary. */
  readonly scale: Float64Array;
  /** [classes, d] */
  readonly weights: Float64Array;
  /** [classes] */
  readonly bias: Float64Array;
}

/**
 * Multinomial logistic regression with an L2 penalty on the weights and none on the bias, as scikit-learn's
 * `LogisticRegression(C)` states it, on features standardised by the training rows:
 *
 *     min_W,b  ½ ‖W‖² + C Σ_i −log softmax(W z_i + b)_{y_i}        z = (x − mean) / deviation
 *
 * The minimiser is unique up to a constant in b, and found by L-BFGS without chance. Where there are more features than rows
 * the rows are first turned into as many coordinates as there are rows, which changes neither the objective nor the result.
 *
 * @param strength C, one or more: they are fitted from the smallest to the largest, each from the one before
 * @returns one probe per strength, in the order given
 * @throws InputError for fewer than two classes, or a strength that is not positive
 */
export function fitLogistic(rows: LabelledRows, strength: readonly number[], tolerance = 1e-6): LinearProbe[] {
  const { n, d, y, classes } = rows;
  if (new Set(y).size < 2) throw new InputError(`linear probe: expected at least two classes, got ${new Set(y).size}`);
  const wrong = strength.find((c) => !(c > 0));
  if (wrong !== undefined) throw new InputError(`linear probe: expected C > 0, got ${wrong}`);
  const { mean, scale } = standardisation(rows);
  const z = standardised(rows.x, n, d, mean, scale);
  const { coordinates, k, back } = d > n ? turned(z, n, d) : { coordinates: z, k: d, back: null };

  const order = strength.map((_, i) => i).sort((a, b) => strength[a] - strength[b]);
  const probes: LinearProbe[] = [];
  let at: Float64Array = new Float64Array(classes * (k + 1));
  for (const i of order) {
    at = minimise(logLoss(coordinates, n, k, y, classes, strength[i]), at, tolerance);
    const small = at.subarray(0, classes * k);
    const weights = back ? matrixProduct(small, classes, k, back, d) : small.slice();
    probes[i] = { d, classes, mean, scale, weights, bias: at.slice(classes * k) };
  }
  return probes;
}

/** Class probabilities [n, classes] of rows [n, d]. */
export function predictLogistic(
  { d, classes, mean, scale, weights, bias }: LinearProbe,
  x: Float64Array,
): Float64Array {
  const n = x.length / d;
  const z = standardised(x, n, d, mean, scale);
  const out = new Float64Array(n * classes);
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < classes; c++) {
      let sum = bias[c];
      for (let t = 0; t < d; t++) sum += weights[c * d + t] * z[i * d + t];
      out[i * classes + c] = sum;
    }
    softmax(out.subarray(i * classes, (i + 1) * classes));
  }
  return out;
}

function standardisation({ x, n, d }: LabelledRows): { mean: Float64Array; scale: Float64Array } {
  const [mean, scale] = [new Float64Array(d), new Float64Array(d)];
  for (let i = 0; i < n; i++) for (let t = 0; t < d; t++) mean[t] += x[i * d + t] / n;
  for (let i = 0; i < n; i++) for (let t = 0; t < d; t++) scale[t] += (x[i * d + t] - mean[t]) ** 2 / n;
  // Below rounding of float32 features a deviation is no variation.
  for (let t = 0; t < d; t++) scale[t] = scale[t] > 1e-14 * (1 + mean[t] ** 2) ? 1 / Math.sqrt(scale[t]) : 0;
  return { mean, scale };
}

function standardised(x: Float64Array, n: number, d: number, mean: Float64Array, scale: Float64Array): Float64Array {
  const z = new Float64Array(n * d);
  for (let from = 0; from < z.length; from += d) {
    for (let t = 0; t < d; t++) z[from + t] = (x[from + t] - mean[t]) * scale[t];
  }
  return z;
}

/**
 * Coordinates [n, k] with the same dot products as the rows z [n, d], and the way back [k, d] for weights: with ZZᵀ = U Λ Uᵀ
 * they are U Λ^(1/2) and Λ^(−1/2) Uᵀ Z. The penalised weights lie in the span of the rows, so nothing is lost.
 */
function turned(z: Float64Array, n: number, d: number): { coordinates: Float64Array; k: number; back: Float64Array } {
  const gram = Matrix.from1DArray(n, n, gramMatrix(z, n, d));
  const { realEigenvalues: values, eigenvectorMatrix: vectors } = new EigenvalueDecomposition(gram, {
    assumeSymmetric: true,
  });
  const largest = Math.max(...values);
  const kept = values.map((_, i) => i).filter((i) => values[i] > 1e-12 * largest);
  const k = kept.length;
  const coordinates = new Float64Array(n * k);
  const back = new Float64Array(k * d);
  kept.forEach((column, c) => {
    const root = Math.sqrt(values[column]);
    for (let i = 0; i < n; i++) {
      const u = vectors.get(i, column);
      coordinates[i * k + c] = u * root;
      for (let t = 0; t < d; t++) back[c * d + t] += (u / root) * z[i * d + t];
    }
  });
  return { coordinates, k, back };
}

function matrixProduct(a: Float64Array, rows: number, inner: number, b: Float64Array, columns: number): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < inner; i++) {
      const factor = a[r * inner + i];
      for (let c = 0; c < columns; c++) out[r * columns + c] += factor * b[i * columns + c];
    }
  }
  return out;
}

/** The objective divided by C n, so that tolerances mean the same for every C: parameters [classes, k], then biases. */
function logLoss(x: Float64Array, n: number, k: number, y: Int32Array, classes: number, strength: number) {
  const penalty = 1 / (strength * n);
  const scores = new Float64Array(classes);
  const errors = new Float64Array(n * classes);
  return (at: Float64Array, gradient: Float64Array): number => {
    gradient.fill(0);
    let loss = 0;
    for (let i = 0; i < n; i++) {
      linearScores(at, x, i * k, k, classes, scores);
      softmax(scores);
      loss -= Math.log(Math.max(scores[y[i]], 1e-300)) / n;
      for (let c = 0; c < classes; c++) {
        const error = (scores[c] - (c === y[i] ? 1 : 0)) / n;
        errors[i * classes + c] = error;
        gradient[classes * k + c] += error;
      }
    }
    addOuter(errors, x, classes, k, gradient);
    for (let w = 0; w < classes * k; w++) {
      loss += (penalty / 2) * at[w] ** 2;
      gradient[w] += penalty * at[w];
    }
    return loss;
  };
}

/** b_c + Σ_t w[c, t] x[row + t], summed in this order, of every class; four at a time (see `products.ts`). */
function linearScores(
  at: Float64Array,
  x: Float64Array,
  row: number,
  k: number,
  classes: number,
  scores: Float64Array,
): void {
  const bias = classes * k;
  let c = 0;
  for (; c + 4 <= classes; c += 4) {
    let [p, q, r, s] = [at[bias + c], at[bias + c + 1], at[bias + c + 2], at[bias + c + 3]];
    for (let t = 0, w = c * k; t < k; t++, w++) {
      const value = x[row + t];
      p += at[w] * value;
      q += at[w + k] * value;
      r += at[w + 2 * k] * value;
      s += at[w + 3 * k] * value;
    }
    scores[c] = p;
    scores[c + 1] = q;
    scores[c + 2] = r;
    scores[c + 3] = s;
  }
  for (; c < classes; c++) {
    let sum = at[bias + c];
    for (let t = 0, w = c * k; t < k; t++, w++) sum += at[w] * x[row + t];
    scores[c] = sum;
  }
}

/** In place: `softmax([0, 0])` is [0.5, 0.5]. */
function softmax(scores: Float64Array): void {
  let most = -Infinity;
  for (let c = 0; c < scores.length; c++) most = Math.max(most, scores[c]);
  let sum = 0;
  for (let c = 0; c < scores.length; c++) sum += scores[c] = Math.exp(scores[c] - most);
  for (let c = 0; c < scores.length; c++) scores[c] /= sum;
}
