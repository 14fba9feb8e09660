/**
 * SimDINO (arXiv 2502.10385): a student agrees with its slow teacher across views, and a coding rate keeps the batch
 * from collapsing to one direction. Formulas from the paper and the behaviour of the authors' public code.
 */
import * as tf from "@tensorflow/tfjs";
import { under, withPrefix, type NamedArrays, type NamedTensors } from "../engine/arrays.js";
import { gelu, linear, logDet, matMul, transposeLast, unitRows } from "../engine/ops.js";
import type { EncoderConfig } from "../encoder/config.js";
import { sineCosine3d } from "../encoder/positions.js";
import { CLS_ALONE, codesAt, encode, initEncoder, initLinear, pool, type Pooling } from "../encoder/vit.js";
import type { Random } from "../random.js";
import type { MultiCropSpec } from "../transforms/views.js";
import { sizeOf, type Shape3 } from "../types.js";
import { collateBy } from "./collate.js";
import type { Objective } from "./objective.js";
import { cosine, warmupCosine } from "./schedule.js";

/** How strongly, and over how many rows, the coding rate is taken. */
export interface CodingRateOptions {
  /** ε of the authors' code, which plays the role of the paper's ε². Their published run: 0.05. */
  readonly epsilon: number;
  /** Rows of one Gram matrix: what one of the authors' GPUs held (64). */
  readonly shardRows: number;
  /**
   * The batch that scale and γ are computed for. The authors divide by the whole batch (512) while each GPU sees 64 of
   * it (`reduce_cov` 0); we do the same on one machine, so the loss values compare with their public log.
   */
  readonly effectiveBatch: number;
}

/** The published run: 8 × 64, ε = 0.05. */
export const PUBLISHED_CODING_RATE: CodingRateOptions = { epsilon: 0.05, shardRows: 64, effectiveBatch: 512 };

/**
 * The weight of the coding rate, and the scale inside its logarithm.
 *
 *     scale = p / (n ε)      γ = (p + n) / (p n)        p features, n effective batch
 *
 * p = 256, n = 512, ε = 0.05: scale 10, γ 0.005859375.
 */
export function codingRateScales(p: number, { epsilon, effectiveBatch: n }: CodingRateOptions) {
  return { scale: p / (n * epsilon), gamma: (p + n) / (p * n) };
}

/**
 * The two ends of the expansion term γ R for m unit rows of p features: all orthogonal, and all equal.
 *
 *     ceiling  = γ (r/2) ln(1 + scale m / r), r = min(m, p)      collapse = γ (1/2) ln(1 + scale m)
 *
 * m = 64, p = 256, n = 512, ε = 0.05: ceiling 0.4496, collapse 0.0189.
 */
export function expansionLimits(
  m: number,
  p: number,
  options: CodingRateOptions,
): { ceiling: number; collapse: number } {
  const { scale, gamma } = codingRateScales(p, options);
  const r = Math.min(m, p);
  return {
    ceiling: ((gamma * r) / 2) * Math.log1p((scale * m) / r),
    collapse: (gamma / 2) * Math.log1p(scale * m),
  };
}

/**
 * Coding rate of rows, averaged over shards (Ma et al. 2007; SimDINO eq. 4), not centred.
 *
 *     R = ½ log det(I_p + scale ZᵀZ) = ½ log det(I_m + scale Z Zᵀ)
 *
 * The second form is used: its matrix has the size of a shard.
 *
 * @param z [s, m, p]  s shards of m rows
 * @returns scalar; m orthogonal unit rows give (m/2) ln(1 + scale)
 */
export function codingRate(z: tf.Tensor, scale: number): tf.Tensor {
  const m = z.shape[1]!;
  const gram = matMul(z, transposeLast(z)); // [s, m, m]
  return tf.mul(0.5, tf.mean(logDet(tf.add(tf.eye(m), tf.mul(scale, gram)))));
}

/** Rows per Gram matrix for a batch of b: `shardRows`, or all of a smaller batch. */
export function shardSize(b: number, { shardRows }: CodingRateOptions): number {
  const m = Math.min(b, shardRows);
  if (b % m !== 0) throw new Error(`a batch of ${b} does not divide into shards of ${m} rows`);
  return m;
}

/**
 * The SimDINO loss.
 *
 *     agreement = mean over teacher views t, student views v ≠ t, samples of cos(teacher_t, student_v)
 *     expansion = γ mean over global views v of R((student_v + teacher_v) / 2)
 *     loss = −w agreement − expansion        negative by design; w is 1 (`coeff` of the authors' code)
 *
 * The average with the teacher inside R is the authors' default (`expa_type` 1): it steadies the start.
 *
 * @param teacher [2, b, p]      unit rows, no gradient, global views
 * @param student [2 + l, b, p]  unit rows, the same global views first, then l local ones
 */
export function simdinoLoss(
  teacher: tf.Tensor,
  student: tf.Tensor,
  options: CodingRateOptions,
  agreementWeight = 1,
): NamedTensors {
  const [views, b, p] = student.shape as [number, number, number];
  const globals = tf.slice(student, [0, 0, 0], [2, b, p]);
  // Σ_v cos(t, v) over v ≠ t is the product with the sum of all views less the view itself.
  const others = tf.sub(tf.sum(student, 0, true), globals); // [2, b, p]
  const pairs = 2 * (views - 1);
  const agreement = tf.div(tf.sum(tf.mul(teacher, others)), pairs * b);

  const { scale, gamma } = codingRateScales(p, options);
  const m = shardSize(b, options);
  const joint = tf.mul(0.5, tf.add(globals, teacher));
  const expansion = tf.mul(gamma, codingRate(tf.reshape(joint, [(2 * b) / m, m, p]), scale));
  const weighed = agreementWeight === 1 ? agreement : tf.mul(agreementWeight, agreement);
  return { loss: tf.neg(tf.add(weighed, expansion)), agreement, expansion };
}

export interface HeadConfig {
  readonly hidden: number;
  readonly out: number;
}

/** Features that the loss sees: DINO's bottleneck. */
export const HEAD_OUT = 256;

/** DINO's head is 2048 wide; small encoders get a narrower one, our choice. */
export function headFor({ width }: EncoderConfig): HeadConfig {
  return { hidden: width >= 384 ? 2048 : 512, out: HEAD_OUT };
}

/** Encoder and projection head, named `encoder/…` and `head/…`. */
export function initSimdino(config: EncoderConfig, head: HeadConfig, random: Random): NamedArrays {
  const r = random.fork("head");
  return {
    ...withPrefix(initEncoder(config, random.fork("encoder")).params, "encoder/"),
    ...withPrefix(
      {
        ...initLinear("fc1", config.width, head.hidden, r),
        ...initLinear("fc2", head.hidden, head.hidden, r),
        ...initLinear("fc3", head.hidden, head.out, r),
      },
      "head/",
    ),
  };
}

/** Three layers with GELU between, then rows of length 1. @param x [rows, d]  @returns [rows, out] */
export function project(head: NamedTensors, x: tf.Tensor): tf.Tensor {
  const layer = (name: string, x: tf.Tensor) => linear(x, head[`${name}.weight`], head[`${name}.bias`]);
  return unitRows(layer("fc3", gelu(layer("fc2", gelu(layer("fc1", x))))));
}

/** What the two terms of the loss say of the batch. */
export interface CollapseState {
  /** Where the expansion stands: 0 at collapse, 1 at its ceiling. */
  readonly spread: number;
  readonly state: "spread out" | "near collapse" | "collapsed";
}

/**
 * Reads the two terms of the loss as a doctor would. Collapse shows as agreement going to 1 while expansion falls to its
 * collapse value; the authors' issue 20 logged exactly that (1.0000 and 0.0109). The thresholds are ours: "near collapse"
 * from an agreement of 0.9 with a spread up to 0.15, "collapsed" above 0.995 with less than 0.01.
 */
export function collapseState(
  { agreement, expansion }: { agreement: number; expansion: number },
  { ceiling, collapse }: { ceiling: number; collapse: number },
): CollapseState {
  const spread = (expansion - collapse) / (ceiling - collapse);
  if (agreement < 0.9 || spread > 0.15) return { spread, state: "spread out" };
  return { spread, state: agreement > 0.995 && spread < 0.01 ? "collapsed" : "near collapse" };
}

/**
 * `collapseState` as a warning. Near-collapse in the first steps is normal, so this warns and never stops.
 *
 * @returns a sentence, or null where all is well
 */
export function collapseWarning(
  terms: { agreement: number; expansion: number },
  limits: { ceiling: number; collapse: number },
): string | null {
  const { agreement, expansion } = terms;
  if (!Number.isFinite(agreement + expansion)) return "the loss is not a number";
  const { spread, state } = collapseState(terms, limits);
  if (state === "spread out") return null;
  const share = `${(100 * Math.max(0, spread)).toFixed(1)} % of the way from collapse to its ceiling`;
  return `${state}: agreement ${agreement.toFixed(3)}, expansion ${expansion.toFixed(4)}, ${share}`;
}

export interface SimdinoOptions {
  readonly encoder: EncoderConfig;
  readonly views: MultiCropSpec;
  readonly head?: HeadConfig;
  /**
   * What the head reads: the CLS token, as the authors do, or the mean of the patch tokens. On phantoms the mean aligns
   * the modalities, in a few thousand steps, and CLS does not.
   */
  readonly pooling?: Pooling;
  /**
   * Share of a global view's patches that the student does not see, as MAE's encoder does not; the teacher sees all.
   * Ours (the authors: 0): at 0.5 a step costs a third less, and neither view can rely on any one patch.
   */
  readonly maskRatio?: number;
  readonly codingRate?: CodingRateOptions;
  /** What the agreement weighs against the expansion: the authors' `coeff`, 1. A large one provokes collapse. */
  readonly agreementWeight?: number;
  readonly learningRate: number;
  /** The teacher's momentum at the start; it rises to 1 along a cosine. */
  readonly momentum?: number;
  /** Share of the run that warms up: 10 of 100 epochs in the published run. */
  readonly warmup?: number;
}

/** SimDINO for the training loop: AdamW, weight decay 0.04 → 0.4, gradients clipped at 3 (the authors' defaults). */
export function simdino(options: SimdinoOptions): Objective {
  const { encoder, views, head = headFor(options.encoder), codingRate: rate = PUBLISHED_CODING_RATE } = options;
  const { pooling = "cls", maskRatio = 0 } = options;
  const limits = (b: number) => expansionLimits(shardSize(b, rate), head.out, rate);
  return {
    method: "simdino",
    encoder,
    pooling,
    optimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, clipNorm: 3 },
    teacher: true,
    init: (random) => initSimdino(encoder, head, random),
    collate: collateBy({ method: "simdino", encoder, views, maskRatio }),
    terms: (params, teacher, batch, grids) => {
      const b = batch.globals.shape[0] / 2;
      const stack = (z: tf.Tensor) => tf.reshape(z, [z.shape[0] / b, b, head.out]);
      const see = (of: NamedTensors, patches: tf.Tensor, positions: tf.Tensor) => {
        const asked = pooling === "cls" ? CLS_ALONE : undefined;
        const tokens = encode(under(of, "encoder/"), encoder, patches, positions, asked);
        return stack(project(under(of, "head/"), pool(tokens, pooling)));
      };
      const whole = (grid: Shape3) => tf.tensor(sineCosine3d(grid, encoder.width), [sizeOf(grid), encoder.width]);
      const large = batch.student
        ? see(params, batch.student, codesAt(grids.globals, encoder.width, batch.places))
        : see(params, batch.globals, whole(grids.globals));
      const student = batch.locals ? tf.concat([large, see(params, batch.locals, whole(grids.locals))], 0) : large;
      return simdinoLoss(see(teacher, batch.globals, whole(grids.globals)), student, rate, options.agreementWeight);
    },
    schedule: (step, steps) => ({
      learningRate: warmupCosine(step, {
        steps,
        warmup: Math.round((options.warmup ?? 0.1) * steps),
        peak: options.learningRate,
        floor: Math.min(1e-6, options.learningRate),
      }),
      weightDecay: cosine(step, steps, 0.04, 0.4),
      teacherMomentum: cosine(step, steps, options.momentum ?? 0.996, 1),
    }),
    warning: ({ agreement, expansion }, batch) =>
      collapseWarning({ agreement, expansion }, limits(batch.arrays.globals.shape[0] / 2)),
    limits,
  };
}
