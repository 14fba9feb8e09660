/** Samples to vectors with a frozen encoder. */
import * as tf from "@tensorflow/tfjs";
import { toTensors } from "../engine/arrays.js";
import { sizeOf, type OnProgress, type Sample, type Shape3 } from "../types.js";
import { sineCosine3d } from "./positions.js";
import { stackTokens, tokenGrid } from "./tokens.js";
import { encode, pool, type Encoder, type Pooling } from "./vit.js";

export interface EmbedOptions {
  readonly batchSize?: number;
  readonly onProgress?: OnProgress;
}

/** One `[n, d]` matrix per pooling, rows in the order of the samples. */
export type Vectors = Readonly<Record<Pooling, Float32Array>>;

/**
 * Runs the encoder over whole samples, no crop and no chance. Samples may differ in shape: they are batched by shape
 * and put back in order.
 *
 * @returns CLS and mean-pooled vectors of one pass, not normalised
 */
export async function embedVectors(
  encoder: Encoder,
  samples: readonly Sample[],
  { batchSize = 32, onProgress }: EmbedOptions = {},
): Promise<Vectors> {
  const d = encoder.config.width;
  const out = { cls: new Float32Array(samples.length * d), mean: new Float32Array(samples.length * d) };
  const params = toTensors(encoder.params);
  let done = 0;
  for (const rows of batchesByShape(samples, batchSize)) {
    const size = samples[rows[0]].shape.slice(1) as unknown as Shape3;
    const { shape, data } = stackTokens(
      rows.map((row) => samples[row].pixels),
      size,
      encoder.config,
    );
    const grid = tokenGrid(size, encoder.config);
    const pooled = tf.tidy(() => {
      const positions = tf.tensor(sineCosine3d(grid, d), [sizeOf(grid), d]);
      const tokens = encode(params, encoder.config, tf.tensor(data, shape), positions);
      return { cls: pool(tokens, "cls"), mean: pool(tokens, "mean") };
    });
    for (const name of ["cls", "mean"] as const) {
      const values = await pooled[name].data();
      rows.forEach((row, i) => out[name].set(values.subarray(i * d, (i + 1) * d), row * d));
    }
    tf.dispose(pooled);
    done += rows.length;
    onProgress?.({ label: "embed", done, total: samples.length });
  }
  tf.dispose(params);
  return out;
}

/** Row numbers of samples, in batches of one shape. */
function batchesByShape(samples: readonly Sample[], batchSize: number): number[][] {
  const byShape = new Map<string, number[]>();
  samples.forEach(({ shape }, row) => {
    const key = shape.join();
    byShape.set(key, [...(byShape.get(key) ?? []), row]);
  });
  return [...byShape.values()].flatMap((rows) =>
    Array.from({ length: Math.ceil(rows.length / batchSize) }, (_, i) =>
      rows.slice(i * batchSize, (i + 1) * batchSize),
    ),
  );
}
