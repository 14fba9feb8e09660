/**
 * The settings of whole experiments, each a short object of plain values. What the paper does not say (almost all of
 * it: see README, "What the paper does not say") is our choice.
 */
import type { Preprocessing } from "./datasets/catalog.js";
import type { Pooling } from "./encoder/vit.js";
import { encoderConfig, type EncoderConfig, type EncoderSize, type PresetName } from "./encoder/config.js";
import { mae } from "./trainers/mae.js";
import type { Method, Objective } from "./trainers/objective.js";
import { PUBLISHED_CODING_RATE, simdino, type CodingRateOptions } from "./trainers/simdino.js";
import { InputError, type Kind, type Shape3 } from "./types.js";

export interface TrainingPreset {
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
}

export interface Preset {
  readonly about: string;
  /** The data set where none is named. */
  readonly data: string;
  /** A size by its name, or by its numbers. */
  readonly encoder: PresetName | EncoderSize;
  readonly patch: Shape3;
  readonly mae: TrainingPreset & {
    /** Share of the patches that the encoder does not see; 0.75 where absent. */
    readonly maskRatio?: number;
    /** Least part of a picture that its one crop shows; 0.2 (MAE's own) where absent. */
    readonly cropFrom?: number;
    /** See `MaeOptions`; the authors' 1e-6 where absent. */
    readonly targetEpsilon?: number;
  };
  readonly simdino: TrainingPreset & {
    readonly localViews: number;
    readonly momentum: number;
    /** Least part of a picture that a global view shows; local ones show from 0.05 up to this. The authors': 0.4. */
    readonly globalFrom: number;
    /** What the coding rate is scaled for (see `CodingRateOptions`): fewer rows weigh it more. The authors' is 512. */
    readonly effectiveBatch: number;
    /** See `SimdinoOptions`; the authors' where absent: CLS, and nothing hidden. */
    readonly pooling?: Pooling;
    readonly studentMaskRatio?: number;
    /** See `CodingRateOptions`; those of the published run (0.05 and 64) where absent. */
    readonly epsilon?: number;
    readonly shardRows?: number;
  };
  readonly ks: readonly number[];
  readonly bootstrapRounds: number;
  /** Points of a UMAP at most. */
  readonly umapPoints: number;
}

export const EXPERIMENTS = {
  smoke: {
    about: "does every part run? Less than 90 seconds; its numbers mean nothing",
    data: "phantom-smoke",
    encoder: "nano",
    patch: [4, 8, 8],
    mae: { steps: 20, batchSize: 16, learningRate: 1.5e-3 },
    simdino: {
      steps: 10,
      batchSize: 16,
      learningRate: 5e-4,
      localViews: 2,
      momentum: 0.99,
      globalFrom: 0.4,
      effectiveBatch: 512,
      pooling: "mean",
      studentMaskRatio: 0.5,
    },
    ks: [1, 5],
    bootstrapRounds: 200,
    umapPoints: 200,
  },
  default: {
    about: "the claims on phantoms, at a size that a laptop trains",
    data: "phantom",
    encoder: "nano",
    // Small patches matter most at 32 pixels: 8 × 8 leaves 16 tokens a picture, 4 × 4 leaves 64. All 8 slices in one
    // patch keep a volume at 64 as well.
    patch: [8, 4, 4],
    // Of MAE's steps the late ones align: X-ray → CT 0.27 after 1800 of 32, 0.53 after 5400 and after 9000 of 16 (untrained 0.28; within
    // 0.65, 0.70, 0.72; read as `PRIMARY` says; seed 11).
    mae: { steps: 9000, batchSize: 16, learningRate: 7e-4, targetEpsilon: 0.1 },
    // At the same number of pictures shown, smaller batches and a heavier coding rate align the modalities (X-ray → CT 0.30
    // in batches of 64, 0.35 of 32, 0.37 of 16; 0.58 of 16 scaled for 128 instead of 256; patients of another seed).
    simdino: {
      steps: 4500,
      batchSize: 16,
      learningRate: 1e-3,
      localViews: 0,
      momentum: 0.99,
      globalFrom: 0.3,
      effectiveBatch: 128,
      pooling: "mean",
      studentMaskRatio: 0.5,
    },
    ks: [1, 5, 10],
    bootstrapRounds: 1000,
    umapPoints: 800,
  },
  paper: {
    about: "a ViT-B as large as the authors' SimDINO run; days on a GPU, and your own data set of 224 pixels",
    data: "phantom",
    encoder: "base",
    patch: [4, 16, 16],
    mae: { steps: 100_000, batchSize: 512, learningRate: 3e-4 }, // 1.5e-4 × batch / 256
    simdino: {
      steps: 100_000,
      batchSize: 512,
      learningRate: 1e-3,
      localViews: 10,
      momentum: 0.996,
      globalFrom: 0.4,
      effectiveBatch: 512,
      pooling: "mean",
    }, // 5e-4 × batch / 256
    ks: [1, 5, 10],
    bootstrapRounds: 1000,
    umapPoints: 2000,
  },
} as const satisfies Record<string, Preset>;

export type ExperimentName = keyof typeof EXPERIMENTS;

export function presetOf(name: string): Preset {
  if (Object.hasOwn(EXPERIMENTS, name)) return EXPERIMENTS[name as ExperimentName];
  throw new InputError(`unknown preset "${name}"; expected one of ${Object.keys(EXPERIMENTS).join(", ")}`);
}

export const METHODS: readonly Method[] = ["mae", "simdino"];

/** How a method's name is written in tables. */
export const METHOD_NAMES: Readonly<Record<Method, string>> = { mae: "MAE", simdino: "SimDINO" };

/** Half of every side, in whole patches and at least one: what a local view measures. 8 × 64 × 64 gives 4 × 32 × 32. */
function half(size: Shape3, patch: Shape3): Shape3 {
  const [d, h, w] = size.map((extent, axis) => Math.max(1, Math.floor(extent / patch[axis] / 2)) * patch[axis]);
  return [size[0] === 1 ? 1 : d, h, w];
}

/** The encoder of a preset. */
export function encoderOf(preset: Preset): EncoderConfig {
  return encoderConfig(preset.encoder, preset.patch);
}

/** Exposure varies between devices, so it must not tell samples apart: the same jitter for every modality. */
const JITTER = { brightness: 0.15, contrast: 0.3, gamma: 0.4, chance: 0.8 } as const;
/** No patient lies straight; degrees either way, the same for every modality. */
const ROTATE = 15;

/** How a preset takes the coding rate. */
export function codingRateOf({ effectiveBatch, epsilon, shardRows }: Preset["simdino"]): CodingRateOptions {
  const { epsilon: publishedEpsilon, shardRows: publishedRows } = PUBLISHED_CODING_RATE;
  return { epsilon: epsilon ?? publishedEpsilon, shardRows: shardRows ?? publishedRows, effectiveBatch };
}

/**
 * The method of a preset as an objective. Whole views have the size that the data set prepares; local ones half of it
 * (DINO: 96 of 224). Nothing is mirrored: it would put the heart on the right.
 */
export function objectiveOf(method: Method, preset: Preset, preprocessing: Pick<Preprocessing, "size">): Objective {
  const encoder = encoderOf(preset);
  const size = preprocessing.size;
  if (method === "mae") {
    const { learningRate, maskRatio, cropFrom = 0.2, targetEpsilon } = preset.mae;
    const view = { scale: [cropFrom, 1], depthScale: [0.5, 1], rotate: ROTATE, size } as const;
    return mae({ encoder, view, learningRate, maskRatio, targetEpsilon });
  }
  const { learningRate, localViews, momentum, globalFrom, pooling, studentMaskRatio } = preset.simdino;
  const kinds = Object.keys(size) as Kind[];
  const small = Object.fromEntries(kinds.map((kind) => [kind, half(size[kind], preset.patch)])) as Record<Kind, Shape3>;
  return simdino({
    encoder,
    codingRate: codingRateOf(preset.simdino),
    views: {
      globals: { count: 2, scale: [globalFrom, 1], depthScale: [0.5, 1], size },
      locals: { count: localViews, scale: [0.05, globalFrom], depthScale: [0.25, 0.5], size: small },
      rotate: ROTATE,
      jitter: JITTER,
      blur: { chance: 0.3, sigma: [0.3, 1.2] },
    },
    pooling,
    maskRatio: studentMaskRatio,
    learningRate,
    momentum,
  });
}
