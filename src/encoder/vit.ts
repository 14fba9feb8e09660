/**
 * The unified encoder: a vision transformer (arXiv 2010.11929) over 4D patches. One patch embedding, one set of blocks
 * and one norm read images, video and volumes; no layer knows the modality or the kind.
 */
import * as tf from "@tensorflow/tfjs";
import { array, type Array32, type NamedArrays, type NamedTensors } from "../engine/arrays.js";
import { attention, gelu, layerNorm, linear, partialAttention } from "../engine/ops.js";
import type { Random } from "../random.js";
import { sizeOf, type CeilingOption, type Shape3 } from "../types.js";
import { patchSize, type EncoderConfig } from "./config.js";
import { resamplePositions, sineCosine3d } from "./positions.js";

/** An encoder outside of any backend. One that saw MRI says so (`CEILING`). */
export interface Encoder extends CeilingOption {
  readonly config: EncoderConfig;
  readonly params: NamedArrays;
}

/** Uniform in ±sqrt(6 / (in + out)) (Glorot & Bengio 2010), as MAE starts its linear layers. */
export function xavier(shape: readonly [number, number], random: Random): Array32 {
  const limit = Math.sqrt(6 / (shape[0] + shape[1]));
  return array(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => random.uniform(-limit, limit)),
  );
}

/** Normal with deviation 0.02, as ViT starts its tokens. */
export function smallNormal(shape: readonly number[], random: Random): Array32 {
  return array(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => random.normal(0, 0.02)),
  );
}

const zeros = (size: number): Array32 => array([size]);
const ones = (size: number): Array32 => array([size], new Float32Array(size).fill(1));

/** Weight `[i, o]` and bias `[o]` of one linear layer. */
export function initLinear(name: string, i: number, o: number, random: Random): NamedArrays {
  return { [`${name}.weight`]: xavier([i, o], random.fork(name)), [`${name}.bias`]: zeros(o) };
}

/** Scale 1 and shift 0. */
export function initNorm(name: string, size: number): NamedArrays {
  return { [`${name}.weight`]: ones(size), [`${name}.bias`]: zeros(size) };
}

/** Parameters of `depth` transformer blocks, named as timm names them, weights stored `[in, out]`. */
export function initBlocks(depth: number, width: number, mlpRatio: number, random: Random): NamedArrays {
  const params: Record<string, Array32> = {};
  for (let i = 0; i < depth; i++) {
    const name = `blocks.${i}`;
    const hidden = Math.round(width * mlpRatio);
    Object.assign(params, initNorm(`${name}.norm1`, width));
    Object.assign(params, initLinear(`${name}.attn.qkv`, width, 3 * width, random));
    Object.assign(params, initLinear(`${name}.attn.proj`, width, width, random));
    Object.assign(params, initNorm(`${name}.norm2`, width));
    Object.assign(params, initLinear(`${name}.mlp.fc1`, width, hidden, random));
    Object.assign(params, initLinear(`${name}.mlp.fc2`, hidden, width, random));
  }
  return params;
}

/** An untrained encoder; the same generator state gives the same weights. */
export function initEncoder(config: EncoderConfig, random: Random): Encoder {
  const { width, depth, mlpRatio, heads, registers, positions } = config;
  if (width % heads !== 0) throw new Error(`width ${width} does not divide into ${heads} heads`);
  const params = {
    cls: smallNormal([1, width], random.fork("cls")),
    ...initLinear("patch_embed", patchSize(config), width, random),
    ...initBlocks(depth, width, mlpRatio, random),
    ...initNorm("norm", width),
    ...(registers ? { registers: smallNormal([registers, width], random.fork("registers")) } : {}),
    ...(positions ? { pos_embed: smallNormal([sizeOf(positions), width], random.fork("pos_embed")) } : {}),
  };
  return { config, params };
}

/**
 * The positions of a grid of patches: the encoder's learned ones, resampled where its grid was another and the same for
 * every slice, or else the fixed 3D codes.
 *
 * @returns [n, width]
 */
export function positionsFor({ config, params }: Encoder, grid: Shape3): Float32Array {
  const { positions, width } = config;
  if (!positions) return sineCosine3d(grid, width);
  const plane = resamplePositions(params.pos_embed.data, positions, [grid[1], grid[2]], width);
  const all = new Float32Array(grid[0] * plane.length);
  for (let z = 0; z < grid[0]; z++) all.set(plane, z * plane.length);
  return all;
}

/** Tokens of a sequence that somebody reads: `count` of them from `from` on. */
export interface Asked {
  readonly from: number;
  readonly count: number;
}

/** The asked tokens of every sequence. `[b·t, d]` to `[b·count, d]`. */
function askedRows(h: tf.Tensor, b: number, { from, count }: Asked): tf.Tensor {
  const [t, d] = [h.shape[0] / b, h.shape[1]!];
  if (count === t) return h;
  return tf.reshape(tf.slice(tf.reshape(h, [b, t, d]), [0, from, 0], [b, count, d]), [b * count, d]);
}

/**
 * Pre-norm transformer blocks.
 *
 *     h ← h + proj(attention(norm₁ h))      h ← h + fc₂(gelu(fc₁(norm₂ h)))
 *
 * Where only some tokens are asked for, the last block computes keys and values of all and the rest for those alone:
 * the same numbers, and 7 % of ViT-S less work for its CLS token.
 *
 * @param h     [b·t, d]
 * @param asked default: all
 * @returns     [b·count, d], not yet normalised
 */
export function transformer(
  params: NamedTensors,
  h: tf.Tensor,
  { b, t, depth, heads }: { b: number; t: number; depth: number; heads: number },
  asked: Asked = { from: 0, count: t },
): tf.Tensor {
  for (let i = 0; i < depth; i++) {
    const at = (name: string) => params[`blocks.${i}.${name}`];
    const affine = (name: string, x: tf.Tensor) => linear(x, at(`${name}.weight`), at(`${name}.bias`));
    const norm = (name: string) => layerNorm(h, at(`${name}.weight`), at(`${name}.bias`));
    const x = norm("norm1");
    const partial = i === depth - 1 && asked.count < t;
    const mixed = partial
      ? askedAttention(x, at("attn.qkv.weight"), at("attn.qkv.bias"), { b, heads, asked })
      : attention(affine("attn.qkv", x), b, heads);
    h = tf.add(partial ? askedRows(h, b, asked) : h, affine("attn.proj", mixed));
    h = tf.add(h, affine("mlp.fc2", gelu(affine("mlp.fc1", norm("norm2")))));
  }
  return h;
}

/** Projection to queries, keys and values, and attention, for the asked tokens alone. */
function askedAttention(
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor,
  { b, heads, asked }: { b: number; heads: number; asked: Asked },
): tf.Tensor {
  const d = x.shape[1]!;
  const part = (rows: tf.Tensor, from: number, size: number) =>
    linear(rows, tf.slice(weight, [0, from], [d, size]), tf.slice(bias, [from], [size]));
  return partialAttention(part(askedRows(x, b, asked), 0, d), part(x, d, 2 * d), b, heads);
}

/**
 * Encodes patches: the one forward pass of training and of retrieval.
 *
 * @param params    the encoder's parameters in a backend
 * @param patches   [b, n, p]  standardised patches, any n: a whole grid, or the visible ones only
 * @param positions [n, d] where all samples share their positions, or [b, n, d]
 * @param asked     default: all tokens; `CLS_ALONE` saves what the others would cost in the last block
 * @returns         [b, count, d], by default [b, 1 + r + n, d]: CLS, r registers (ours has none), then one token per patch,
 *                  after the final norm
 */
export function encode(
  params: NamedTensors,
  config: EncoderConfig,
  patches: tf.Tensor,
  positions: tf.Tensor,
  asked?: Asked,
): tf.Tensor {
  const [b, n, p] = patches.shape as [number, number, number];
  const { width, depth, heads, registers = 0 } = config;
  const embedded = linear(tf.reshape(patches, [b * n, p]), params["patch_embed.weight"], params["patch_embed.bias"]);
  const tokens = tf.add(tf.reshape(embedded, [b, n, width]), positions); // [b, n, d]
  const cls = repeatRows(params.cls, b); // [b, 1, d]
  const t = 1 + registers + n;
  const extra = registers > 0 ? [tf.add(tf.expandDims(params.registers, 0), tf.zeros([b, 1, 1]))] : []; // [b, r, d]
  const h = tf.reshape(tf.concat([cls, ...extra, tokens], 1), [b * t, width]);
  const out = transformer(params, h, { b, t, depth, heads }, asked);
  return tf.reshape(layerNorm(out, params["norm.weight"], params["norm.bias"]), [b, asked?.count ?? t, width]);
}

/**
 * Position codes of some tokens of every sample.
 *
 * @param places [b, n] int32: where they stand in the grid
 * @param from   first column of `places` that is read, and how many
 * @returns      [b, count, width]
 */
export function codesAt(
  grid: Shape3,
  width: number,
  places: tf.Tensor,
  { from, count }: Asked = { from: 0, count: places.shape[1]! },
): tf.Tensor {
  const b = places.shape[0];
  const table = tf.tensor(sineCosine3d(grid, width), [sizeOf(grid), width]);
  const rows = tf.reshape(tf.slice(places, [0, from], [b, count]), [b * count]);
  return tf.reshape(tf.gather(table, rows), [b, count, width]);
}

/** For `encode`, where only the CLS token is read. */
export const CLS_ALONE: Asked = { from: 0, count: 1 };

/** `[1, d]` to `[b, n, d]`, every row the same, by an addition: its gradient is a sum. */
export function repeatRows(row: tf.Tensor, b: number, n = 1): tf.Tensor {
  return tf.add(tf.reshape(row, [1, 1, row.shape[1]!]), tf.zeros([b, n, 1]));
}

export const POOLINGS = ["cls", "mean"] as const;
/** How a sequence becomes one vector: its CLS token, or the mean of its patch tokens. */
export type Pooling = (typeof POOLINGS)[number];

/**
 * What an encoder is read by: the pooling that its provenance says it was trained for. One that does not say is read as
 * its method reads: MAE's by the mean of its tokens, all others by CLS.
 */
export function usualPooling({ pooling, method }: Readonly<Record<string, unknown>>): Pooling {
  return POOLINGS.find((known) => known === pooling) ?? (method === "mae" ? "mean" : "cls");
}

/** @param tokens [b, 1 + registers + n, d] from `encode`  @returns [b, d] */
export function pool(tokens: tf.Tensor, pooling: Pooling, registers = 0): tf.Tensor {
  const [b, t, d] = tokens.shape as [number, number, number];
  if (pooling === "cls") return tf.reshape(tf.slice(tokens, [0, 0, 0], [b, 1, d]), [b, d]);
  return tf.mean(tf.slice(tokens, [0, 1 + registers, 0], [b, t - 1 - registers, d]), 1);
}
