/** Samples to vectors with a frozen encoder. */
import * as tf from "@tensorflow/tfjs";
import { toTensors, type NamedTensors } from "../engine/arrays.js";
import { startEngine, type Engine } from "../engine/engine.js";
import { sizeOf, type OnProgress, type Sample, type Shape3 } from "../types.js";
import { stackTokens, tokenGrid } from "./tokens.js";
import { encode, pool, positionsFor, type Encoder, type Pooling } from "./vit.js";

export interface EmbedOptions {
  /** Default: `startEngine()`. */
  readonly engine?: Engine;
  readonly batchSize?: number;
  readonly onProgress?: OnProgress;
}

/** One `[n, d]` matrix per pooling, rows in the order of the samples. */
export type Vectors = Readonly<Record<Pooling, Float32Array>>;

/**
 * Runs the encoder over whole samples, no crop and no chance. Samples may differ in shape: they are batched by shape
 * and put back in order. The last batch of a shape is filled up with its first sample, so that one graph serves all.
 *
 * @returns CLS and mean-pooled vectors of one pass, not normalised
 */
export async function embedVectors(
  encoder: Encoder,
  samples: readonly Sample[],
  { engine, batchSize = 32, onProgress }: EmbedOptions = {},
): Promise<Vectors> {
  const { prepare } = engine ?? (await startEngine());
  const d = encoder.config.width;
  const out = { cls: new Float32Array(samples.length * d), mean: new Float32Array(samples.length * d) };
  let done = 0;
  for (const rows of rowsByShape(samples)) {
    const size = samples[rows[0]].shape.slice(1) as unknown as Shape3;
    const b = Math.min(batchSize, rows.length);
    const tokensOf = (of: readonly number[]) => {
      const full = Array.from({ length: b }, (_, i) => samples[of[i] ?? of[0]].pixels);
      return { patches: stackTokens(full, size, encoder.config) };
    };
    const f = await prepare(embedTokens(encoder, tokenGrid(size, encoder.config)), tokensOf(rows));
    for (let from = 0; from < rows.length; from += b) {
      const part = rows.slice(from, from + b);
      const vectors = await f.run(tokensOf(part));
      for (const name of ["cls", "mean"] as const) {
        part.forEach((row, i) => out[name].set(vectors[name].data.subarray(i * d, (i + 1) * d), row * d));
      }
      done += part.length;
      onProgress?.({ label: "embed", done, total: samples.length });
    }
    await f.dispose();
  }
  return out;
}

/**
 * Both poolings as a function of `patches`, for `Engine.prepare`. The encoder's parameters become constants of the graph:
 * a frozen encoder does not change.
 */
export function embedTokens(encoder: Encoder, grid: Shape3) {
  const { config, params } = encoder;
  return ({ patches }: NamedTensors): NamedTensors => {
    const positions = tf.tensor(positionsFor(encoder, grid), [sizeOf(grid), config.width]);
    const tokens = encode(toTensors(params), config, patches, positions);
    return { cls: pool(tokens, "cls"), mean: pool(tokens, "mean", config.registers) };
  };
}

/** Row numbers of samples, those of one shape together. */
function rowsByShape(samples: readonly Sample[]): number[][] {
  const byShape = new Map<string, number[]>();
  samples.forEach(({ shape }, row) => {
    const rows = byShape.get(shape.join());
    if (rows) rows.push(row);
    else byShape.set(shape.join(), [row]);
  });
  return [...byShape.values()];
}
