/**
 * The few operations that a vision transformer is made of, with gradients derived by hand.
 *
 * tfjs differentiates by itself, but what it derives multiplies matrices with transpose flags and permutes five axes,
 * which its WebAssembly backend does twenty times slower than plain products (measured: 6.4 s a step against 1.5 s).
 * Each function below is one `tf.customGrad`, and its docstring gives the gradient that it uses.
 */
import * as tf from "@tensorflow/tfjs";
import { TRACE_BACKEND } from "./shapes.js";

type Gradient = { value: tf.Tensor; gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[] };
type Save = (tensors: tf.Tensor[]) => void;

/** `tf.customGrad` with the types that its own signature hides: the last argument of `f` is the saver. */
function fused<Inputs extends tf.Tensor[]>(
  f: (inputs: Inputs, save: Save) => Gradient,
): (...inputs: Inputs) => tf.Tensor {
  return tf.customGrad((...all) => {
    const save = all[all.length - 1] as unknown as Save;
    return f(all.slice(0, -1) as Inputs, save);
  }) as (...inputs: Inputs) => tf.Tensor;
}

/** Swaps the last two axes. */
export function transposeLast(x: tf.Tensor): tf.Tensor {
  const order = x.shape.map((_, axis) => axis);
  const last = order.length - 1;
  [order[last - 1], order[last]] = [last, last - 1];
  return tf.transpose(x, order);
}

/**
 * Matrix product over the last two axes, batched over the others.
 *
 *     y = a b      da = dy bᵀ      db = aᵀ dy
 *
 * @param a [..., i, j]
 * @param b [..., j, k]
 * @returns [..., i, k]
 */
export const matMul = fused<[tf.Tensor, tf.Tensor]>(([a, b], save) => {
  save([a, b]);
  return {
    value: tf.matMul(a, b),
    gradFunc: (dy, [a, b]) => [tf.matMul(dy, transposeLast(b)), tf.matMul(transposeLast(a), dy)],
  };
});

/**
 * Affine map of rows.
 *
 *     y = x W + b      dx = dy Wᵀ      dW = xᵀ dy      db = Σ_rows dy
 *
 * @param x      [rows, i]
 * @param weight [i, o]   (the transpose of PyTorch's `nn.Linear.weight`)
 * @param bias   [o]
 * @returns      [rows, o]
 */
export const linear = fused<[tf.Tensor, tf.Tensor, tf.Tensor]>(([x, weight, bias], save) => {
  save([x, weight]);
  return {
    value: tf.add(tf.matMul(x, weight), bias),
    gradFunc: (dy, [x, weight]) => [
      tf.matMul(dy, transposeLast(weight)),
      tf.matMul(transposeLast(x), dy),
      tf.sum(dy, 0),
    ],
  };
});

/** Added to the variance, as in the ViT papers. */
export const LAYER_NORM_EPSILON = 1e-6;

/**
 * Layer normalisation over the last axis (Ba et al. 2016, arXiv 1607.06450).
 *
 *     x̂ = (x − mean x) / sqrt(var x + 1e-6)      y = x̂ g + b
 *     dx = (dx̂ − mean dx̂ − x̂ mean(dx̂ x̂)) / sqrt(var x + 1e-6),   dx̂ = dy g
 *
 * @param x     [rows, d]
 * @param scale [d]
 * @param shift [d]
 * @returns     [rows, d]; rows of (1, 3) with scale 1 and shift 0 give (−1, 1)
 */
export const layerNorm = fused<[tf.Tensor, tf.Tensor, tf.Tensor]>(([x, scale, shift], save) => {
  const { y, mean, inverse } = normaliseRows(x, scale, shift);
  save([x, mean, inverse, scale]);
  return {
    value: y,
    gradFunc: (dy, [x, mean, inverse, scale]) => {
      const unit = tf.mul(tf.sub(x, mean), inverse);
      const dUnit = tf.mul(dy, scale);
      const along = tf.mul(unit, tf.mean(tf.mul(dUnit, unit), -1, true));
      const dx = tf.mul(inverse, tf.sub(tf.sub(dUnit, tf.mean(dUnit, -1, true)), along));
      return [dx, tf.sum(tf.mul(dy, unit), 0), tf.sum(dy, 0)];
    },
  };
});

/** The value of `layerNorm`, with mean and 1 / deviation of each row, [rows, 1]: one kernel where it is traced. */
function normaliseRows(x: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor): Record<"y" | "mean" | "inverse", tf.Tensor> {
  if (tf.getBackend() === TRACE_BACKEND) {
    const inputs = { x, scale, shift } as unknown as tf.NamedTensorMap;
    const [y, mean, inverse] = tf.engine().runKernel<tf.Tensor[]>("LayerNormalization", inputs, {
      epsilon: LAYER_NORM_EPSILON,
    });
    return { y, mean, inverse };
  }
  const mean = tf.mean(x, -1, true);
  const centred = tf.sub(x, mean);
  const variance = tf.mean(tf.square(centred), -1, true);
  const inverse = tf.rsqrt(tf.add(variance, LAYER_NORM_EPSILON));
  return { y: tf.add(tf.mul(tf.mul(centred, inverse), scale), shift), mean, inverse };
}

/**
 * Gaussian error linear unit, exact form (Hendrycks & Gimpel, arXiv 1606.08415).
 *
 *     y = x Φ(x) = (n A) / √2              n = x/√2,  A = 1 + erf n
 *     dx = dy (Φ(x) + x φ(x)) = (dy (A + 2/√π · n exp(−n²))) / 2        φ the normal density
 *
 * Written so that the plain factors stand outside, where a matrix product before or after takes them in.
 * `gelu(1)` is 0.8413447.
 */
export const gelu = fused<[tf.Tensor]>(([x], save) => {
  const n = tf.mul(Math.SQRT1_2, x);
  const a = tf.add(1, tf.erf(n));
  save([n, a]);
  return {
    value: tf.mul(Math.SQRT1_2, tf.mul(n, a)),
    gradFunc: (dy, [n, a]) => {
      const density = tf.exp(tf.sub(Math.log(2 / Math.sqrt(Math.PI)), tf.square(n)));
      return [tf.mul(0.5, tf.mul(dy, tf.add(a, tf.mul(n, density))))];
    },
  };
});

/** `[b·t, h·e]` to `[b·h, t, e]`: every head becomes a row of the batch. */
function splitHeads(x: tf.Tensor, b: number, h: number): tf.Tensor {
  const [t, e] = [x.shape[0] / b, x.shape[1]! / h];
  return tf.reshape(tf.transpose(tf.reshape(x, [b, t, h, e]), [0, 2, 1, 3]), [b * h, t, e]);
}

/** The inverse of `splitHeads`. */
function joinHeads(x: tf.Tensor, b: number, h: number): tf.Tensor {
  const [, t, e] = x.shape as [number, number, number];
  return tf.reshape(tf.transpose(tf.reshape(x, [b, h, t, e]), [0, 2, 1, 3]), [b * t, h * e]);
}

/** Column blocks of x, each d wide. */
function columns(x: tf.Tensor, d: number): tf.Tensor[] {
  const rows = x.shape[0];
  return Array.from({ length: x.shape[1]! / d }, (_, i) => tf.slice(x, [0, i * d], [rows, d]));
}

/** Attention of every head, and its gradient as a function of what is saved. */
function attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, b: number, heads: number) {
  const scale = 1 / Math.sqrt(q.shape[1]! / heads);
  const qs = tf.mul(splitHeads(q, b, heads), scale); // [b·h, tq, e]
  const [kh, vh] = [k, v].map((x) => splitHeads(x, b, heads)); // [b·h, t, e]
  const s = tf.softmax(tf.matMul(qs, transposeLast(kh))); // [b·h, tq, t]
  return {
    saved: [qs, kh, vh, s],
    value: joinHeads(tf.matMul(s, vh), b, heads),
    gradient: (dy: tf.Tensor, [qs, kh, vh, s]: tf.Tensor[]): tf.Tensor[] => {
      const dO = splitHeads(dy, b, heads);
      const dS = tf.matMul(dO, transposeLast(vh));
      const dA = tf.mul(s, tf.sub(dS, tf.sum(tf.mul(dS, s), -1, true)));
      const dq = tf.mul(tf.matMul(dA, kh), scale);
      const [dk, dv] = [tf.matMul(transposeLast(dA), qs), tf.matMul(transposeLast(s), dO)];
      return [dq, dk, dv].map((x) => joinHeads(x, b, heads));
    },
  };
}

/**
 * Multi-head self-attention between the projections (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).
 *
 *     S = softmax(Q Kᵀ / √e)      O = S V           e = d / heads
 *     dV = Sᵀ dO    dA = S ∘ (dO Vᵀ − rowsum(dO Vᵀ ∘ S))    dQ = dA K / √e    dK = dAᵀ Q / √e
 *
 * @param qkv   [b·t, 3d]  queries, keys and values side by side
 * @returns     [b·t, d]
 */
export function attention(qkv: tf.Tensor, b: number, heads: number): tf.Tensor {
  const op = fused<[tf.Tensor]>(([qkv], save) => {
    const [q, k, v] = columns(qkv, qkv.shape[1]! / 3);
    const { saved, value, gradient } = attend(q, k, v, b, heads);
    save(saved);
    return { value, gradFunc: (dy, saved) => [tf.concat(gradient(dy, saved), 1)] };
  });
  return op(qkv);
}

/**
 * `attention` where only some tokens ask: the last block of a network whose other tokens nobody reads.
 *
 * @param q     [b·tq, d]  queries of the tokens that ask
 * @param kv    [b·t, 2d]  keys and values of all
 * @returns     [b·tq, d]
 */
export function partialAttention(q: tf.Tensor, kv: tf.Tensor, b: number, heads: number): tf.Tensor {
  const op = fused<[tf.Tensor, tf.Tensor]>(([q, kv], save) => {
    const [k, v] = columns(kv, q.shape[1]!);
    const { saved, value, gradient } = attend(q, k, v, b, heads);
    save(saved);
    return {
      value,
      gradFunc: (dy, saved) => {
        const [dq, dk, dv] = gradient(dy, saved);
        return [dq, tf.concat([dk, dv], 1)];
      },
    };
  });
  return op(q, kv);
}

/**
 * Rows of length 1.
 *
 *     y = x / max(‖x‖, 1e-12)      dx = (dy − y (dy·y)) / ‖x‖
 *
 * @param x [rows, d]; (3, 4) gives (0.6, 0.8)
 */
export const unitRows = fused<[tf.Tensor]>(([x], save) => {
  const inverse = tf.div(1, tf.maximum(tf.sqrt(tf.sum(tf.square(x), -1, true)), 1e-12)); // [rows, 1]
  const y = tf.mul(x, inverse);
  save([y, inverse]);
  return {
    value: y,
    gradFunc: (dy, [y, inverse]) => [tf.mul(inverse, tf.sub(dy, tf.mul(y, tf.sum(tf.mul(dy, y), -1, true))))],
  };
});

/**
 * Logarithm of the determinant of symmetric positive definite matrices.
 *
 *     log det A = Σ_k log d_k      d(log det A) = tr(A⁻¹ dA)
 *
 * Neither tfjs nor ONNX has a Cholesky factorisation. The sweep operator (Beaton 1964; Goodnight 1979) gives the pivots
 * d_k and, after all sweeps, −A⁻¹ in m rank-one updates, without branches:
 *
 *     v = A e_k − e_k      A ← A − v vᵀ / d_k − 2 e_k e_kᵀ      d_k = A_kk before the update
 *
 * The −2 e_k e_kᵀ of all sweeps are taken off at the start, so the pivot is read as A_kk + 2.
 *
 * @param a [s, m, m], symmetric positive definite
 * @returns [s]; the identity gives 0, 2·I of size 3 gives 3 ln 2 = 2.0794
 */
export const logDet = fused<[tf.Tensor]>(([a], save) => {
  const [s, m] = a.shape as [number, number];
  let swept = tf.sub(a, tf.mul(2, tf.eye(m)));
  const logs: tf.Tensor[] = [];
  const identity = tf.eye(m);
  for (let k = 0; k < m; k++) {
    const pivot = tf.add(tf.slice(swept, [0, k, k], [s, 1, 1]), 2); // [s, 1, 1]
    const column = tf.slice(swept, [0, 0, k], [s, m, 1]); // [s, m, 1]
    // The column still lacks the 2 of its own diagonal entry: −e_k + 2 e_k = + e_k.
    const v = tf.add(column, tf.slice(identity, [0, k], [m, 1]));
    logs.push(tf.log(pivot));
    swept = tf.sub(swept, tf.mul(tf.div(v, pivot), tf.reshape(v, [s, 1, m])));
  }
  save([swept]);
  return {
    value: tf.sum(tf.reshape(tf.concat(logs, 1), [s, m]), 1),
    gradFunc: (dy, [negativeInverse]) => [tf.mul(tf.neg(tf.reshape(dy, [s, 1, 1])), negativeInverse)],
  };
});
