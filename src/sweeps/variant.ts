/** One point of an experiment: a preset with some of its numbers replaced, as plain values that a file can hold. */
import { z } from "zod";
import { SLICE_AXES, type SliceAxis } from "../datasets/sliceAxis.js";
import { PRESETS, type EncoderConfig, type EncoderSize, type PresetName } from "../encoder/config.js";
import { POOLINGS, type Pooling } from "../encoder/vit.js";
import type { TrainingSelection } from "../experiment.js";
import { encoderOf, METHODS, presetOf, type Preset } from "../presets.js";
import type { MixtureShares } from "../trainers/batches.js";
import type { Method } from "../trainers/objective.js";
import {
  assertPretrainable,
  CEILING,
  InputError,
  MODALITIES,
  type CeilingOption,
  type Modality,
  type Shape3,
} from "../types.js";

/** What may be other than the preset has it. What is left out is as in the preset, or as `pretrain` has it. */
export interface Overrides extends CeilingOption {
  /** A size by name, or `{ width, depth, heads }`. */
  readonly encoder?: PresetName | EncoderSize;
  /** `[pd, ph, pw]` in voxels. */
  readonly patch?: Shape3;
  readonly steps?: number;
  readonly batchSize?: number;
  readonly learningRate?: number;
  /** MAE: share of patches that the encoder does not see; least part of a picture that its crop shows; see `MaeOptions`. */
  readonly maskRatio?: number;
  readonly cropFrom?: number;
  readonly targetEpsilon?: number;
  /** SimDINO's coding rate: see `CodingRateOptions`. */
  readonly epsilon?: number;
  readonly shardRows?: number;
  readonly effectiveBatch?: number;
  /** SimDINO's views and teacher: see `Preset`. */
  readonly globalFrom?: number;
  readonly localViews?: number;
  readonly momentum?: number;
  /** What SimDINO's head reads, and how much of a view its student does not see: see `SimdinoOptions`. */
  readonly pooling?: Pooling;
  readonly studentMaskRatio?: number;
  /** Which training samples, and how batches are drawn from them: see `TrainingSelection`. */
  readonly dataFraction?: number;
  readonly modalities?: readonly Modality[];
  readonly mixture?: MixtureShares;
  readonly bucketing?: "modality" | "shape";
  readonly sliceAxis?: SliceAxis;
}

/** A point: which method, on what, with which chance, and what is other than usual. */
export interface Variant extends Overrides {
  readonly method: Method;
  readonly preset: string;
  readonly data: string;
  /** Of the training run and of the untrained encoder; of patients and split too, unless `dataSeed` is another. */
  readonly seed: number;
  readonly dataSeed?: number;
}

/** What only one method knows. */
const ONLY: Readonly<Record<Method, readonly (keyof Overrides)[]>> = {
  mae: ["maskRatio", "cropFrom", "targetEpsilon"],
  simdino: [
    ...(["epsilon", "shardRows", "effectiveBatch", "globalFrom", "localViews", "momentum"] as const),
    ...(["pooling", "studentMaskRatio"] as const),
  ],
};

const whole = z.int().positive();
const share = z.number().gt(0).max(1);
const positive = z.number().positive();

export const overridesSchema = z.strictObject({
  encoder: z
    .union([
      z.enum(Object.keys(PRESETS) as [PresetName, ...PresetName[]]),
      z.strictObject({ width: whole, depth: whole, heads: whole }),
    ])
    .optional(),
  patch: z.tuple([whole, whole, whole]).optional(),
  steps: whole.optional(),
  batchSize: whole.optional(),
  learningRate: positive.optional(),
  maskRatio: z.number().gt(0).lt(1).optional(),
  cropFrom: share.optional(),
  targetEpsilon: positive.optional(),
  epsilon: positive.optional(),
  shardRows: whole.optional(),
  effectiveBatch: whole.optional(),
  globalFrom: share.optional(),
  localViews: z.int().min(0).optional(),
  momentum: z.number().min(0).lt(1).optional(),
  pooling: z.enum(POOLINGS).optional(),
  studentMaskRatio: z.number().min(0).lt(1).optional(),
  dataFraction: share.optional(),
  modalities: z.array(z.enum(MODALITIES)).min(1).optional(),
  mixture: z.partialRecord(z.enum(MODALITIES), positive).optional(),
  bucketing: z.enum(["modality", "shape"]).optional(),
  sliceAxis: z.enum(SLICE_AXES).optional(),
  /** The one exception to "MRI never enters pretraining", asked for by name. */
  ceiling: z.literal(true).optional(),
});

export type OverrideName = keyof Overrides;
export const OVERRIDE_NAMES = Object.keys(overridesSchema.shape) as OverrideName[];

/** The methods that know all of these: `{ maskRatio }` is MAE's alone, `{ steps }` is both's. */
export function methodsOf(overrides: Overrides): Method[] {
  const given = (method: Method) => ONLY[method].some((name) => overrides[name] !== undefined);
  return METHODS.filter((method) => METHODS.every((other) => other === method || !given(other)));
}

/** A variant with nothing left open. */
export interface ResolvedVariant extends CeilingOption {
  readonly method: Method;
  readonly data: string;
  readonly seed: number;
  readonly dataSeed: number;
  /** The preset with the overrides in their places; the preset itself where nothing is overridden. */
  readonly preset: Preset;
  readonly encoder: EncoderConfig;
  readonly selection?: TrainingSelection;
  readonly sliceAxis?: SliceAxis;
}

/** Only the keys that have a value, so that what nobody asked for changes no stored setting. */
function given<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/**
 * Puts overrides where they belong. A point without any has the preset's own objects, so that its run is the one that
 * `m3ret pretrain` makes, bit for bit.
 *
 * @throws InputError where an override is of the other method, MRI is asked for, or sizes do not fit together
 */
export function resolveVariant(variant: Variant): ResolvedVariant {
  const { method, data, seed, dataSeed = seed, sliceAxis } = variant;
  for (const other of METHODS.filter((name) => name !== method)) {
    const foreign = ONLY[other].find((name) => variant[name] !== undefined);
    if (foreign) throw new InputError(`${foreign}: expected with method ${other} only, got method ${method}`);
  }
  const { ceiling } = variant;
  const asked = [...(variant.modalities ?? []), ...(Object.keys(variant.mixture ?? {}) as Modality[])];
  asked.forEach((modality) => assertPretrainable(modality, { ceiling }));

  const base = presetOf(variant.preset);
  const { steps, batchSize, learningRate, encoder, patch } = variant;
  const own = given(Object.fromEntries(ONLY[method].map((name) => [name, variant[name]])));
  const training = given({ steps, batchSize, learningRate, ...own });
  const sizes = given({ encoder, patch });
  const changed = Object.keys(training).length + Object.keys(sizes).length > 0;
  const preset: Preset = changed ? { ...base, ...sizes, [method]: { ...base[method], ...training } } : base;
  if (method === "simdino") {
    const { batchSize: b, shardRows = 64 } = preset.simdino;
    const m = Math.min(b, shardRows);
    if (b % m !== 0) throw new InputError(`shardRows: a batch of ${b} does not divide into shards of ${m} rows`);
  }
  const { dataFraction, modalities, mixture, bucketing } = variant;
  const selection = given({ dataFraction, modalities, mixture, bucketing });
  return {
    ...{ method, data, seed, dataSeed, preset, encoder: encoderOf(preset) },
    ...(Object.keys(selection).length > 0 ? { selection } : {}),
    ...(sliceAxis ? { sliceAxis } : {}),
    ...(ceiling ? { ceiling } : {}),
  };
}

/** One override as a reader would say it: `maskRatio 0.5`, `patch 4×8×8`, `encoder 96 wide, 4 deep`. */
export function describe(name: string, value: unknown): string {
  if (name === "encoder" && typeof value === "object") {
    const { width, depth } = value as EncoderSize;
    return `encoder ${width} wide, ${depth} deep`;
  }
  if (name === "patch") return `patch ${(value as Shape3).join("×")}`;
  if (name === "modalities") return `${(value as readonly string[]).join(" + ")} only`;
  if (name === "mixture") {
    const shares = Object.entries(value as MixtureShares).map(([modality, share]) => `${modality} ${share}`);
    return `mixture ${shares.join(" : ")}`;
  }
  if (name === "pooling") return value === "cls" ? "head on CLS" : "head on the mean token";
  if (name === "bucketing") return value === "shape" ? "modalities mixed in a batch" : "one modality a batch";
  if (name === "ceiling") return CEILING;
  if (name === "sliceAxis") return `${String(value)} slices`;
  return `${name} ${String(value)}`;
}

/** All overrides of a point, in the order of `OVERRIDE_NAMES`; "base" where there are none. */
export function describeAll(overrides: Overrides): string {
  const said = OVERRIDE_NAMES.filter((name) => overrides[name] !== undefined).map((name) =>
    describe(name, overrides[name]),
  );
  return said.length > 0 ? said.join(", ") : "base";
}
