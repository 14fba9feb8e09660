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
  /** c: 1, or what clips the gradients. */
  readonly gradientScale: tf.Tensor;
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
 * What scales gradients so that their joint length is at most `limit` (PyTorch's `clip_grad_norm_`).
 *
 *     factor = min(1, limit / (‖g‖ + 1e-6))
 *
 * @param lossScale what the gradients are multiplied by, if anything; the factor undoes it
 * @returns the factor, and the length before scaling, both scalars; (3, 4) with limit 1 gives 0.2 and 5
 */
export function clipFactor(
  gradients: NamedTensors,
  limit: number,
  lossScale?: tf.Tensor,
): { factor: tf.Tensor; norm: tf.Tensor } {
  const squares = Object.values(gradients).map((g) => tf.reshape(tf.sum(tf.square(g)), [1]));
  const scaled = tf.sqrt(tf.sum(tf.concat(squares)));
  const norm = lossScale ? tf.div(scaled, lossScale) : scaled;
  const factor = tf.minimum(1, tf.div(limit, tf.add(norm, 1e-6)));
  return { factor: lossScale ? tf.div(factor, lossScale) : factor, norm };
}

/**
 * One AdamW update (Loshchilov & Hutter, arXiv 1711.05101, Algorithm 2, as PyTorch's `torch.optim.AdamW`), of gradients
 * that are scaled by c on the way.
 *
 *     m ← β₁ m + (1 − β₁) c g      v ← β₂ v + (1 − β₂) (c g)²
 *     θ ← θ (1 − η λ) − η (m / (1 − β₁ᵗ)) / (sqrt(v / (1 − β₂ᵗ)) + ε)
 *       = θ (1 − η λ) − (η r / (1 − β₁ᵗ)) m / (sqrt v + ε r)              r = sqrt(1 − β₂ᵗ)
 *
 * Numbers are multiplied first and arrays last: every pass over all parameters counts (in ViT-S an eighth of a step).
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
  const { gradientScale: c } = scalars;
  const [into1, into2] = [tf.mul(1 - beta1, c), tf.mul(1 - beta2, tf.mul(c, c))];
  const keep = tf.sub(1, tf.mul(scalars.learningRate, scalars.weightDecay));
  const root = tf.sqrt(scalars.correction2);
  const stepSize = tf.div(tf.mul(scalars.learningRate, root), scalars.correction1);
  const floor = tf.mul(epsilon, root);
  const updated = mapValues(params, (theta, name) => {
    const g = gradients[name];
    first[name] = tf.add(tf.mul(beta1, moments.first[name]), tf.mul(into1, g));
    second[name] = tf.add(tf.mul(beta2, moments.second[name]), tf.mul(into2, tf.square(g)));
    const kept = decays(name, theta.shape) ? tf.mul(theta, keep) : theta;
    return tf.sub(kept, tf.div(tf.mul(stepSize, first[name]), tf.add(tf.sqrt(second[name]), floor)));
  });
  return { params: updated, moments: { first, second } };
}
