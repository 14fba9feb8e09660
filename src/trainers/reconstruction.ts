/** What a masked autoencoder paints into the patches that it did not see. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { toTensors, under, type NamedArrays, type NamedTensors } from "../engine/arrays.js";
import type { CompiledFunction } from "../engine/compile.js";
import { startEngine, type Engine } from "../engine/engine.js";
import { loadSafetensors } from "../engine/safetensors.js";
import { encoderConfigSchema, type EncoderConfig } from "../encoder/config.js";
import { tokenGrid, tokenSize, viewTokens } from "../encoder/tokens.js";
import type { Random } from "../random.js";
import { unpatchify } from "../transforms/patchify.js";
import { STANDARD } from "../transforms/views.js";
import { InputError, sizeOf, type Sample, type Shape3, type Shape4 } from "../types.js";
import { decoderFor, reconstruct, TARGET_EPSILON, type DecoderConfig } from "./mae.js";
import type { TrainState } from "./state.js";

/** Encoder and decoder together. A saved encoder alone cannot reconstruct; a training state can. */
export interface MaeModel {
  readonly encoder: EncoderConfig;
  readonly decoder: DecoderConfig;
  /** `encoder/…` and `decoder/…`. */
  readonly params: NamedArrays;
  /** How its targets were normalised: see `MaeOptions.targetEpsilon`. */
  readonly targetEpsilon: number;
}

/** The model inside a training state of MAE. */
export function maeOf(state: TrainState, encoder: EncoderConfig, targetEpsilon: number = TARGET_EPSILON): MaeModel {
  const decoder = decoderFor(encoder);
  const params = under(state.arrays, "params/");
  const found = params["decoder/embed.weight"]?.shape;
  if (String(found) !== String([encoder.width, decoder.width])) {
    throw new InputError(
      `MAE: expected decoder/embed.weight [${encoder.width}, ${decoder.width}], got [${found ?? ""}]`,
    );
  }
  return { encoder, decoder, params, targetEpsilon };
}

/**
 * The model of a run's folder, from the state that the run keeps for resuming (the decoder stands nowhere else).
 *
 * @throws InputError where the folder holds no state of MAE
 */
export function loadMae(folder: string): MaeModel {
  const path = join(folder, "state.safetensors");
  if (!existsSync(path)) throw new InputError(`${path}: not there; the decoder of a run is in its training state`);
  const { arrays, metadata } = loadSafetensors(path);
  const identity = JSON.parse(metadata.identity ?? "{}") as {
    method?: string;
    encoder?: unknown;
    training?: { targetEpsilon?: number };
  };
  const encoder = encoderConfigSchema.safeParse(identity.encoder);
  if (identity.method !== "mae" || !encoder.success) {
    throw new InputError(`${path}: expected a training state of mae, got one of ${identity.method ?? "nothing known"}`);
  }
  const random = JSON.parse(metadata.random) as TrainState["random"];
  return maeOf({ step: Number(metadata.step), arrays, random }, encoder.data, identity.training?.targetEpsilon);
}

/** The same model with a decoder that predicts 0, the mean of every patch: what its losses are read against. */
export function predictsNothing({ params, ...model }: MaeModel): MaeModel {
  const zeros = ["decoder/pred.weight", "decoder/pred.bias"].map((name) => {
    const { shape, data } = params[name];
    return [name, { shape, data: new Float32Array(data.length) }] as const;
  });
  return { ...model, params: { ...params, ...Object.fromEntries(zeros) } };
}

/** One sample as the autoencoder met it; all pictures have `shape`, values in [0, 1]. */
export interface Reconstruction {
  readonly sample: Sample;
  /** [C, D, H, W], D padded to whole patches by repetition. */
  readonly shape: Shape4;
  readonly original: Float32Array;
  /** Hidden patches grey (0.5). */
  readonly visible: Float32Array;
  /** Hidden patches filled with their own mean: what a model that predicts 0 (loss 1) would give. */
  readonly means: Float32Array;
  /** Hidden patches as predicted, put back to each true patch's mean and deviation, as MAE's authors show theirs. */
  readonly reconstructed: Float32Array;
  /** Mean squared error on hidden patches, in units of patch variance + epsilon; flat patches count as 0. */
  readonly loss: number;
}

/**
 * Hides patches of whole samples (no crop) and lets the model paint them.
 *
 * The model predicts patches normalised to mean 0 and variance 1, because the loss is taken there; so mean and deviation
 * of every hidden patch come from the truth. The texture is the model's, the brightness is not: compare with `means`.
 *
 * @param maskRatio share of hidden patches; at least one patch stays visible and one hidden
 */
export async function reconstructSamples(
  { encoder, decoder, params, targetEpsilon }: MaeModel,
  samples: readonly Sample[],
  options: { readonly random: Random; readonly maskRatio?: number; readonly engine?: Engine },
): Promise<Reconstruction[]> {
  const { random, maskRatio = 0.75 } = options;
  const engine = options.engine ?? (await startEngine());
  const done: Reconstruction[] = [];
  const compiled = new Map<string, CompiledFunction>(); // a graph for each grid of patches
  for (const sample of samples) {
    const size = sample.shape.slice(1) as unknown as Shape3;
    const grid = tokenGrid(size, encoder);
    const [n, p] = [sizeOf(grid), tokenSize(encoder)];
    const v = Math.min(n - 1, Math.max(1, Math.round(n * (1 - maskRatio))));
    const tokens = viewTokens(sample.pixels, size, encoder);
    const order = random.fork(sample.id).permutation(n);
    const taken = (from: number, to: number) => {
      const rows = new Float32Array((to - from) * p);
      for (let i = from; i < to; i++) rows.set(tokens.subarray(order[i] * p, (order[i] + 1) * p), (i - from) * p);
      return rows;
    };
    const batch = {
      visible: { shape: [1, v, p], data: taken(0, v) },
      order: { shape: [1, n], data: Int32Array.from(order) },
    };
    let f = compiled.get(grid.join());
    if (!f) {
      const model = (inputs: NamedTensors) => reconstruct(toTensors(params), encoder, decoder, inputs, grid);
      f = await engine.prepare((inputs) => ({ predicted: model(inputs) }), batch);
      compiled.set(grid.join(), f);
    }
    const predicted = (await f.run(batch)).predicted.data;
    done.push(picturesOf(sample, { tokens, order, predicted, v, n, p, targetEpsilon }, grid, encoder));
  }
  for (const f of compiled.values()) await f.dispose();
  return done;
}

interface Painted {
  readonly tokens: Float32Array;
  readonly order: ArrayLike<number>;
  /** [n − v, p], normalised patches in the order of the hidden ones. */
  readonly predicted: Float32Array;
  readonly v: number;
  readonly n: number;
  readonly p: number;
  readonly targetEpsilon: number;
}

function picturesOf(
  sample: Sample,
  painted: Painted,
  grid: Shape3,
  { patch, channels }: EncoderConfig,
): Reconstruction {
  const { tokens, order, predicted, v, n, p, targetEpsilon } = painted;
  const shape: Shape4 = [channels, grid[0] * patch[0], grid[1] * patch[1], grid[2] * patch[2]];
  const [visible, means, filled] = [tokens.slice(), tokens.slice(), tokens.slice()];
  let error = 0;
  for (let i = v; i < n; i++) {
    const [from, to] = [order[i] * p, (order[i] + 1) * p];
    const { mean, deviation } = moments(tokens.subarray(from, to), targetEpsilon);
    for (let t = 0; t < p; t++) {
      const guess = predicted[(i - v) * p + t];
      error += (guess - (tokens[from + t] - mean) / deviation) ** 2;
      filled[from + t] = guess * deviation + mean;
    }
    visible.fill(0, from, to); // the standardised 0.5
    means.fill(mean, from, to);
  }
  const picture = (of: Float32Array) =>
    unpatchify(of, shape, patch).map((x) => Math.max(0, Math.min(1, x * STANDARD.deviation + STANDARD.mean)));
  return {
    sample,
    shape,
    original: picture(tokens),
    visible: picture(visible),
    means: picture(means),
    reconstructed: picture(filled),
    loss: error / ((n - v) * p),
  };
}

/** As `normalisePatches` takes them: the variance divided by p, plus epsilon. */
function moments(patch: Float32Array, epsilon: number): { mean: number; deviation: number } {
  const mean = patch.reduce((sum, x) => sum + x, 0) / patch.length;
  const variance = patch.reduce((sum, x) => sum + (x - mean) ** 2, 0) / patch.length;
  return { mean, deviation: Math.sqrt(variance + epsilon) };
}
