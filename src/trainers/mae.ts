/** Masked autoencoding (He et al. 2021, arXiv 2111.06377) over 4D patches. */
import * as tf from "@tensorflow/tfjs";
import { under, withPrefix, type NamedTensors } from "../engine/arrays.js";
import { layerNorm, linear } from "../engine/ops.js";
import { patchSize, type EncoderConfig } from "../encoder/config.js";
import {
  codesAt,
  encode,
  initBlocks,
  initEncoder,
  initLinear,
  initNorm,
  repeatRows,
  smallNormal,
  transformer,
} from "../encoder/vit.js";
import type { Random } from "../random.js";
import type { SingleCropSpec } from "../transforms/views.js";
import type { Shape3 } from "../types.js";
import { collateBy } from "./collate.js";
import type { Objective } from "./objective.js";
import { warmupCosine } from "./schedule.js";

export interface DecoderConfig {
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
}

/** MAE's decoder is 512 × 8 for base and large (its Table 1); smaller encoders get smaller ones, our choice. */
export function decoderFor({ width }: EncoderConfig): DecoderConfig {
  if (width >= 768) return { width: 512, depth: 8, heads: 16 };
  if (width >= 384) return { width: 256, depth: 4, heads: 8 };
  if (width >= 192) return { width: 128, depth: 2, heads: 4 };
  return { width: 64, depth: 2, heads: 2 };
}

/** What the authors add to a patch's variance before they divide by its root. */
export const TARGET_EPSILON = 1e-6;

/**
 * Mean squared error on the patches the encoder did not see.
 *
 *     L = Σ_m mean_p (x̂ − x̃)² / |m|      MAE, §3 "Reconstruction target"; x̃ = (x − mean x) / sqrt(var x + epsilon)
 *
 * The authors divide the variance by p − 1; we divide by p, so that with their epsilon predicting 0 everywhere scores 1
 * on patches that are not flat, and 0 on those that are. With any, predicting 0 scores var / (var + epsilon).
 *
 * @param predicted [b, n, p]  decoder output
 * @param patches   [b, n, p]  the input after `patchify`
 * @param hidden    [b, n]     1 where the patch was hidden
 * @param epsilon   of the standardised picture's variance; see `MaeOptions.targetEpsilon`
 * @returns         scalar, in units of patch variance + epsilon
 */
export function maeLoss(
  predicted: tf.Tensor,
  patches: tf.Tensor,
  hidden: tf.Tensor,
  epsilon: number = TARGET_EPSILON,
): tf.Tensor {
  const target = normalisePatches(patches, epsilon);
  const perPatch = tf.mean(tf.square(tf.sub(predicted, target)), -1); // [b, n]
  return tf.div(tf.sum(tf.mul(perPatch, hidden)), tf.sum(hidden));
}

/** Each patch with mean 0 and variance 1; epsilon keeps flat patches at 0. (1, 3) becomes (−1, 1), with an epsilon of 3 half of it. */
export function normalisePatches(patches: tf.Tensor, epsilon: number = TARGET_EPSILON): tf.Tensor {
  const centred = tf.sub(patches, tf.mean(patches, -1, true));
  const variance = tf.mean(tf.square(centred), -1, true); // [b, n, 1]
  return tf.mul(centred, tf.rsqrt(tf.add(variance, epsilon)));
}

/** Encoder and decoder, named `encoder/…` and `decoder/…`. */
export function initMae(config: EncoderConfig, decoder: DecoderConfig, random: Random) {
  const r = random.fork("decoder");
  return {
    ...withPrefix(initEncoder(config, random.fork("encoder")).params, "encoder/"),
    ...withPrefix(
      {
        mask_token: smallNormal([1, decoder.width], r.fork("mask_token")),
        ...initLinear("embed", config.width, decoder.width, r),
        ...initBlocks(decoder.depth, decoder.width, 4, r),
        ...initNorm("norm", decoder.width),
        ...initLinear("pred", decoder.width, patchSize(config), r),
      },
      "decoder/",
    ),
  };
}

/**
 * The reconstruction of hidden patches from visible ones.
 *
 * Blocks do not know the order of their tokens, only positions do. So the decoder's sequence is left in the shuffled
 * order (visible first, hidden after), with the position codes shuffled alike, and nothing is scattered back.
 *
 * @param batch.visible [b, v, p]      patches that the encoder sees
 * @param batch.hidden  [b, n − v, p]  patches that it does not
 * @param batch.order   [b, n] int32   where each of them stands in the grid, visible first
 * @returns [b, n − v, p]
 */
export function reconstruct(
  params: NamedTensors,
  config: EncoderConfig,
  decoder: DecoderConfig,
  batch: NamedTensors,
  grid: Shape3,
): tf.Tensor {
  const [b, v] = batch.visible.shape as [number, number];
  const n = batch.order.shape[1]!;
  const codes = (width: number, from: number, count: number) => codesAt(grid, width, batch.order, { from, count });
  const seen = encode(under(params, "encoder/"), config, batch.visible, codes(config.width, 0, v)); // [b, 1+v, d]

  const d = under(params, "decoder/");
  const narrowed = linear(tf.reshape(seen, [b * (1 + v), config.width]), d["embed.weight"], d["embed.bias"]);
  const latent = tf.reshape(narrowed, [b, 1 + v, decoder.width]);
  const cls = tf.slice(latent, [0, 0, 0], [b, 1, decoder.width]);
  const visible = tf.slice(latent, [0, 1, 0], [b, v, decoder.width]);
  const tokens = tf.add(tf.concat([visible, repeatRows(d.mask_token, b, n - v)], 1), codes(decoder.width, 0, n));
  const t = n + 1;
  const h = tf.reshape(tf.concat([cls, tokens], 1), [b * t, decoder.width]);
  const asked = { from: 1 + v, count: n - v };
  const out = layerNorm(transformer(d, h, { b, t, ...decoder }, asked), d["norm.weight"], d["norm.bias"]);
  const flat = linear(out, d["pred.weight"], d["pred.bias"]);
  return tf.reshape(flat, [b, n - v, patchSize(config)]);
}

export interface MaeOptions {
  readonly encoder: EncoderConfig;
  /** Share of patches that the encoder does not see; MAE and the paper's family use 0.75. */
  readonly maskRatio?: number;
  readonly decoder?: DecoderConfig;
  /**
   * Added to the variance of a patch where its target is normalised: 1e-6 with the authors, the default. With theirs, the
   * noise of air counts as much as an edge; a larger one lets patches count less that are flatter than its root. In units of the standardised
   * picture (`STANDARD`): 0.1 is the variance of a patch whose deviation is 8 % of the grey scale.
   */
  readonly targetEpsilon?: number;
  readonly view: SingleCropSpec;
  readonly learningRate: number;
  readonly weightDecay?: number;
  /** Share of the run that warms up: 40 of 800 epochs in MAE. */
  readonly warmup?: number;
}

/** MAE for the training loop: AdamW (0.9, 0.95), weight decay 0.05, warm-up and half a cosine (MAE, Table 8). */
export function mae(options: MaeOptions): Objective {
  const { encoder, view, maskRatio = 0.75, decoder = decoderFor(options.encoder), targetEpsilon } = options;
  return {
    method: "mae",
    encoder,
    pooling: "mean",
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, clipNorm: 3 },
    teacher: false,
    init: (random) => initMae(encoder, decoder, random),
    collate: collateBy({ method: "mae", encoder, view, maskRatio }),
    terms: (params, _teacher, batch, { whole }) => {
      const predicted = reconstruct(params, encoder, decoder, batch, whole);
      const [b, h] = batch.hidden.shape as [number, number];
      return { loss: maeLoss(predicted, batch.hidden, tf.ones([b, h]), targetEpsilon) };
    },
    schedule: (step, steps) => ({
      learningRate: warmupCosine(step, {
        steps,
        warmup: Math.round((options.warmup ?? 0.05) * steps),
        peak: options.learningRate,
        floor: 0,
      }),
      weightDecay: options.weightDecay ?? 0.05,
      teacherMomentum: 1,
    }),
    warning: ({ loss }) => (Number.isFinite(loss) ? null : "the loss is not a number"),
  };
}
