/** The encoder with everything that is done to its pixels, as one graph: standardise, pad, cut, encode, pool. */
import * as tf from "@tensorflow/tfjs";
import { array, mapValues, type NamedTensors } from "../engine/arrays.js";
import { dynamicBatch } from "../engine/dynamicBatch.js";
import type { Literal, OnnxGraph } from "../engine/onnx.js";
import { lowerToOnnx } from "../engine/onnxLower.js";
import type { TensorType } from "../engine/shapes.js";
import { trace } from "../engine/trace.js";
import { STANDARD } from "../transforms/views.js";
import { sizeOf, type Shape3 } from "../types.js";
import type { EncoderConfig } from "./config.js";
import { tokenGrid } from "./tokens.js";
import { CLS_ALONE, encode, pool, positionsFor, type Encoder, type Pooling } from "./vit.js";

/** Names of the graph's input and output. */
export const PIXELS = "pixels";
export const EMBEDDING = "embedding";

/**
 * `viewTokens` of a whole batch, in tensors: `(x − 0.5) / 0.25`, the last slice repeated to whole patches, and patches in
 * the order (pd, ph, pw, c).
 *
 * @param pixels [b, C, D, H, W] in [0, 1]
 * @returns      [b, n, p]
 */
export function pixelTokens(pixels: tf.Tensor, config: EncoderConfig): tf.Tensor {
  const [b, c, depth, h, w] = pixels.shape as [number, number, number, number, number];
  const [pd, ph, pw] = config.patch;
  const [gd, gh, gw] = tokenGrid([depth, h, w], config);
  const unit = tf.div(tf.sub(pixels, STANDARD.mean), STANDARD.deviation);
  const slices = Array.from({ length: gd * pd }, (_, z) => Math.min(z, depth - 1));
  const deep = gd * pd === depth ? unit : tf.gather(unit, tf.tensor(slices, [slices.length], "int32"), 2);
  // Two moves of at most six axes, which is as many as tfjs and most runtimes know.
  const columns = tf.transpose(tf.reshape(deep, [b * c * gd * pd * gh, ph, gw, pw]), [0, 2, 1, 3]); // [.., gw, ph, pw]
  const cells = tf.reshape(columns, [b, c, gd, pd, gh * gw, ph * pw]);
  const patches = tf.transpose(cells, [0, 2, 4, 3, 5, 1]); // [b, gd, gh·gw, pd, ph·pw, c]
  return tf.reshape(patches, [b, gd * gh * gw, pd * ph * pw * c]);
}

/**
 * The graph of an encoder for samples of one size and any batch.
 *
 *     pixels [batch, 3, D, H, W] in [0, 1]   →   embedding [batch, width], not normalised
 *
 * Weights are constants under their own names (`blocks.0.attn.qkv.weight`), linear ones `[in, out]` as they are stored.
 *
 * @throws InputError where the patch does not divide H or W
 */
export function encoderGraph(encoder: Encoder, size: Shape3, pooling: Pooling): OnnxGraph {
  const { config } = encoder;
  // Learned positions are in the graph as the positions of its size.
  const params = Object.fromEntries(Object.entries(encoder.params).filter(([name]) => name !== "pos_embed"));
  const grid = tokenGrid(size, config);
  const positions = array([sizeOf(grid), config.width], positionsFor(encoder, grid));
  const f = (inputs: NamedTensors): NamedTensors => {
    const patches = pixelTokens(inputs[PIXELS], config);
    const tokens = encode(inputs, config, patches, inputs.positions, pooling === "cls" ? CLS_ALONE : undefined);
    return { [EMBEDDING]: pool(tokens, pooling, config.registers) };
  };
  // Traced as inputs, which keep their names; a constant would lose its own, and its numbers where they are all the same.
  const frozen = { ...params, positions };
  const weights = mapValues(frozen, ({ shape }): TensorType => ({ shape, dtype: "float32" }));
  const at = (batch: number): OnnxGraph => {
    const pixels: TensorType = { shape: [batch, config.channels, ...size], dtype: "float32" };
    return lowerToOnnx(trace(f, { ...weights, [PIXELS]: pixels }));
  };
  const graph = dynamicBatch(at, PIXELS);
  const literals = mapValues(frozen, ({ shape, data }): Literal => ({ shape, dtype: "float32", data }));
  return { ...graph, inputs: { [PIXELS]: graph.inputs[PIXELS] }, constants: { ...graph.constants, ...literals } };
}
