/** AdamW with gradient clipping, as a pure function of tensors. */
import * as tf from "@tensorflow/tfjs";
import { mapValues, type NamedTensors } from "../engine/arrays.js";

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** Scalars of one update, as tensors, because they change from step to step while the update does not. */
export interface AdamWScalars {
  readonly learningRate: tf.Tensor;
  readonly weightDecay: tf.Tensor;
  /** 1 − β₁ᵗ and 1 − β₂ᵗ, t counted from 1. */
  readonly correction1: tf.Tensor;
  readonly correction2: tf.Tensor;
}

export interface Moments {
  readonly first: NamedTensors;
  readonly second: NamedTensors;
}

/** Weight decay is for matrices: biases, norms and tokens are left alone, as MAE and DINO do. */
export function decays(name: string, shape: readonly number[]): boolean {
  return shape.length >= 2 && name.endsWith(".weight");
}

/**
 * Scales gradients so that their joint length is at most `limit` (PyTorch's `clip_grad_norm_`).
 *
 *     g ← g min(1, limit / (‖g‖ + 1e-6))
 *
 * @returns the scaled gradients and the length before scaling, a scalar
 */
export function clipByGlobalNorm(gradients: NamedTensors, limit: number): { clipped: NamedTensors; norm: tf.Tensor } {
  const squares = Object.values(gradients).map((g) => tf.reshape(tf.sum(tf.square(g)), [1]));
  const norm = tf.sqrt(tf.sum(tf.concat(squares)));
  const factor = tf.minimum(1, tf.div(limit, tf.add(norm, 1e-6)));
  return { clipped: mapValues(gradients, (g) => tf.mul(g, factor)), norm };
}

/**
 * One AdamW update (Loshchilov & Hutter, arXiv 1711.05101, Algorithm 2, as PyTorch's `torch.optim.AdamW`).
 *
 *     m ← β₁ m + (1 − β₁) g      v ← β₂ v + (1 − β₂) g²
 *     θ ← θ (1 − η λ) − η (m / (1 − β₁ᵗ)) / (sqrt(v / (1 − β₂ᵗ)) + ε)
 *
 * The first step from g = 1, θ = 0, η = 0.1 gives θ = −0.1 up to ε.
 */
export function adamW(
  params: NamedTensors,
  gradients: NamedTensors,
  moments: Moments,
  scalars: AdamWScalars,
  { beta1, beta2, epsilon }: AdamWOptions,
): { params: NamedTensors; moments: Moments } {
  const first: Record<string, tf.Tensor> = {};
  const second: Record<string, tf.Tensor> = {};
  const keep = tf.sub(1, tf.mul(scalars.learningRate, scalars.weightDecay));
  const stepSize = tf.div(scalars.learningRate, scalars.correction1);
  const rootCorrection = tf.sqrt(scalars.correction2);
  const updated = mapValues(params, (theta, name) => {
    const g = gradients[name];
    first[name] = tf.add(tf.mul(beta1, moments.first[name]), tf.mul(1 - beta1, g));
    second[name] = tf.add(tf.mul(beta2, moments.second[name]), tf.mul(1 - beta2, tf.square(g)));
    const denominator = tf.add(tf.div(tf.sqrt(second[name]), rootCorrection), epsilon);
    const kept = decays(name, theta.shape) ? tf.mul(theta, keep) : theta;
    return tf.sub(kept, tf.mul(stepSize, tf.div(first[name], denominator)));
  });
  return { params: updated, moments: { first, second } };
}
