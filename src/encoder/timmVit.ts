/**
 * Vision transformers of other projects in safetensors files, brought into our encoder: timm's names (DeiT, DINO, MAE,
 * DINOv2 with registers…) and those of Hugging Face's Dinov2Model. What ours lacks is folded into what it has: the
 * standardisation of channels into the patch embedding, layer scale into the projections, the position of CLS into CLS.
 */
import type { Array32, NamedArrays } from "../engine/arrays.js";
import { array } from "../engine/arrays.js";
import { loadSafetensors } from "../engine/safetensors.js";
import { STANDARD } from "../transforms/views.js";
import { InputError } from "../types.js";
import type { EncoderConfig } from "./config.js";
import type { Encoder } from "./vit.js";

export interface TimmOptions {
  /** Of each channel: the network expects (x − mean) / std of pixels x in [0, 1]. Default: ImageNet's. */
  readonly mean?: readonly [number, number, number];
  readonly std?: readonly [number, number, number];
  /** A file does not say how many heads it has. Default: width / 64, as every published ViT. */
  readonly heads?: number;
}

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/** Reads arrays by name, and knows in the end which nobody asked for. */
class Reader {
  readonly #left: Set<string>;

  constructor(
    readonly path: string,
    private readonly arrays: NamedArrays,
  ) {
    this.#left = new Set(Object.keys(arrays));
  }

  has(name: string): boolean {
    return name in this.arrays;
  }

  get(name: string, shape?: readonly number[]): Array32 {
    const found = this.arrays[name];
    if (!found) throw new InputError(`${this.path}: expected an array ${name}, found none`);
    if (shape && String(shape) !== String(found.shape)) {
      throw new InputError(`${this.path}: expected ${name} [${shape}], got [${found.shape}]`);
    }
    this.#left.delete(name);
    return found;
  }

  /** Throws where something is left that would change the numbers. */
  finish(ignored: RegExp): void {
    const unknown = [...this.#left].filter((name) => !ignored.test(name));
    if (unknown.length > 0) {
      throw new InputError(
        `${this.path}: has ${unknown.slice(0, 3).join(", ")}${unknown.length > 3 ? ` and ${unknown.length - 3} more` : ""}, which ` +
          "this encoder has no place for",
      );
    }
  }
}

/** `[o, i]` to `[i, o]`, column c times scale[c]. */
function turned({ shape, data }: Array32, scale?: Float32Array): Array32 {
  const [o, i] = shape;
  const out = new Float32Array(data.length);
  for (let r = 0; r < o; r++) for (let c = 0; c < i; c++) out[c * o + r] = data[r * i + c] * (scale?.[r] ?? 1);
  return array([i, o], out);
}

const scaled = ({ shape, data }: Array32, scale?: Float32Array): Array32 =>
  array(shape, scale ? data.map((x, i) => x * scale[i]) : data);

/**
 * The convolution [d, 3, ph, pw] over standardised channels as our linear layer over patches (pd = 1, ph, pw, c) of
 * (x − 0.5) / 0.25:
 *
 *     (x − mean_c) / std_c = (0.25 t + 0.5 − mean_c) / std_c,   t = (x − 0.5) / 0.25
 */
function patchEmbedding(weight: Array32, bias: Array32, mean: readonly number[], std: readonly number[]) {
  const [d, channels, ph, pw] = weight.shape;
  const out = new Float32Array(weight.data.length);
  const shift = Float64Array.from(bias.data);
  for (let o = 0; o < d; o++) {
    for (let c = 0; c < channels; c++) {
      for (let k = 0; k < ph * pw; k++) {
        const w = weight.data[(o * channels + c) * ph * pw + k];
        out[(k * channels + c) * d + o] = (w * STANDARD.deviation) / std[c];
        shift[o] += (w * (STANDARD.mean - mean[c])) / std[c];
      }
    }
  }
  return { weight: array([ph * pw * channels, d], out), bias: array([d], Float32Array.from(shift)) };
}

/** Learned positions as [n, d] of a square grid, and those of the tokens before the patches. */
function positionsOf(path: string, { shape, data }: Array32, prefixes: readonly number[]) {
  const [n, d] = shape.slice(-2);
  const prefix = prefixes.find((count) => Number.isInteger(Math.sqrt(n - count)));
  if (prefix === undefined)
    throw new InputError(`${path}: expected positions of a square of patches, got ${n} of them`);
  const side = Math.sqrt(n - prefix);
  return { before: data.subarray(0, prefix * d), side, patches: array([n - prefix, d], data.slice(prefix * d)) };
}

const plus = (a: Float32Array, b: Float32Array): Float32Array => a.map((x, i) => x + (b[i] ?? 0));

/** Names of one block's arrays in a file. */
interface BlockNames {
  readonly norm1: string;
  readonly norm2: string;
  /** One layer, or three that are put side by side. */
  readonly qkv: readonly string[];
  readonly proj: string;
  readonly scale1: string;
  readonly scale2: string;
  readonly fc1: string;
  readonly fc2: string;
}

const timmBlock = (i: number): BlockNames => {
  const at = `blocks.${i}`;
  return {
    ...{ norm1: `${at}.norm1`, norm2: `${at}.norm2`, qkv: [`${at}.attn.qkv`], proj: `${at}.attn.proj` },
    ...{ scale1: `${at}.ls1.gamma`, scale2: `${at}.ls2.gamma`, fc1: `${at}.mlp.fc1`, fc2: `${at}.mlp.fc2` },
  };
};

const huggingFaceBlock = (i: number): BlockNames => {
  const at = `encoder.layer.${i}`;
  return {
    ...{ norm1: `${at}.norm1`, norm2: `${at}.norm2`, proj: `${at}.attention.output.dense` },
    qkv: ["query", "key", "value"].map((name) => `${at}.attention.attention.${name}`),
    ...{ scale1: `${at}.layer_scale1.lambda1`, scale2: `${at}.layer_scale2.lambda1` },
    ...{ fc1: `${at}.mlp.fc1`, fc2: `${at}.mlp.fc2` },
  };
};

function readBlock(reader: Reader, i: number, names: BlockNames): NamedArrays {
  const scaleOf = (name: string) => (reader.has(name) ? reader.get(name).data : undefined);
  const linear = (name: string, as: string, scale?: Float32Array): NamedArrays => ({
    [`blocks.${i}.${as}.weight`]: turned(reader.get(`${name}.weight`), scale),
    [`blocks.${i}.${as}.bias`]: scaled(reader.get(`${name}.bias`), scale),
  });
  const norm = (name: string, as: string): NamedArrays => ({
    [`blocks.${i}.${as}.weight`]: reader.get(`${name}.weight`),
    [`blocks.${i}.${as}.bias`]: reader.get(`${name}.bias`),
  });
  const parts = names.qkv.map((name) => ({ weight: reader.get(`${name}.weight`), bias: reader.get(`${name}.bias`) }));
  const rows = parts.reduce((sum, { weight }) => sum + weight.shape[0], 0);
  const [weights, biases] = (["weight", "bias"] as const).map((of) =>
    Float32Array.from(parts.flatMap((part) => Array.from(part[of].data))),
  );
  return {
    ...norm(names.norm1, "norm1"),
    [`blocks.${i}.attn.qkv.weight`]: turned(array([rows, parts[0].weight.shape[1]], weights)),
    [`blocks.${i}.attn.qkv.bias`]: array([rows], biases),
    ...linear(names.proj, "attn.proj", scaleOf(names.scale1)),
    ...norm(names.norm2, "norm2"),
    ...linear(names.fc1, "mlp.fc1"),
    ...linear(names.fc2, "mlp.fc2", scaleOf(names.scale2)),
  };
}

/**
 * Loads a vision transformer from a safetensors file of timm, or of Hugging Face's Dinov2Model, into our encoder: patches
 * (1, ph, pw), learned positions, registers where it has them. `embedVectors` then gives what timm's `forward_features` does:
 * its CLS token, and the mean of its patch tokens, after the final norm. It is an encoder of pictures: give it slices.
 *
 * Not taken: rotary positions (DINOv3), gated MLPs (the giants), norms of queries and keys; export those to ONNX.
 *
 * @throws InputError naming the file and the array that is missing, of another shape, or has no place in our encoder
 */
export function loadTimmVit(
  path: string,
  { mean = IMAGENET.mean, std = IMAGENET.std, heads }: TimmOptions = {},
): Encoder {
  const reader = new Reader(path, loadSafetensors(path).arrays);
  const timm = reader.has("patch_embed.proj.weight");
  const names = timm
    ? { cls: "cls_token", positions: "pos_embed", registers: "reg_token", patches: "patch_embed.proj", norm: "norm" }
    : {
        ...{ cls: "embeddings.cls_token", positions: "embeddings.position_embeddings", norm: "layernorm" },
        ...{ registers: "embeddings.register_tokens", patches: "embeddings.patch_embeddings.projection" },
      };
  const weight = reader.get(`${names.patches}.weight`);
  const [width, channels, ph, pw] = weight.shape;
  if (channels !== 3) throw new InputError(`${path}: expected patches of 3 channels, got ${channels}`);
  const block = timm ? timmBlock : huggingFaceBlock;
  let depth = 0;
  while (reader.has(`${block(depth).norm1}.weight`)) depth++;
  if (depth === 0) throw new InputError(`${path}: expected the blocks of a vision transformer, found none`);
  const count = heads ?? width / 64;
  if (!Number.isInteger(count) || width % count !== 0) {
    throw new InputError(`${path}: width ${width} does not divide into ${count} heads; say how many it has`);
  }
  const registers = reader.has(names.registers) ? reader.get(names.registers) : null;
  const r = registers === null ? 0 : registers.shape[1];
  // timm gives positions to CLS and registers, or to patches alone; Hugging Face to CLS and patches.
  const { before, side, patches } = positionsOf(path, reader.get(names.positions), timm ? [1 + r, 0] : [1]);
  const hidden = reader.get(`${block(0).fc1}.weight`).shape[0];
  const config: EncoderConfig = {
    ...{ width, depth, heads: count, mlpRatio: hidden / width, patch: [1, ph, pw], channels },
    positions: [side, side],
    ...(r > 0 ? { registers: r } : {}),
  };
  const embedding = patchEmbedding(weight, reader.get(`${names.patches}.bias`, [width]), mean, std);
  const params: NamedArrays = {
    cls: array([1, width], plus(reader.get(names.cls, [1, 1, width]).data, before.subarray(0, width))),
    "patch_embed.weight": embedding.weight,
    "patch_embed.bias": embedding.bias,
    ...Object.assign({}, ...Array.from({ length: depth }, (_, i) => readBlock(reader, i, block(i)))),
    "norm.weight": reader.get(`${names.norm}.weight`, [width]),
    "norm.bias": reader.get(`${names.norm}.bias`, [width]),
    ...(registers ? { registers: array([r, width], plus(registers.data, before.subarray(width))) } : {}),
    pos_embed: patches,
  };
  reader.finish(/^(head\.|fc_norm\.|embeddings\.mask_token$|mask_token$)/);
  return { config, params };
}
