/**
 * A network that has seen photographs only, as a baseline that runs on any machine: the backbone of a detector of everyday
 * objects (MobileNetV3, trained on COCO) that the npm package @vladmandic/human brings along. Its TensorFlow.js graph becomes
 * an ONNX file once.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { dynamicBatch } from "../engine/dynamicBatch.js";
import { serialiseOnnx, type OnnxGraph } from "../engine/onnx.js";
import { GraphBuilder, type Name } from "../engine/onnxBuilder.js";
import { packageVersion, writeAtomic } from "../files.js";
import { InputError, sizeOf } from "../types.js";

export const NATURAL_PACKAGE = "@vladmandic/human";

/** For tables and their notes. */
export const NATURAL = {
  name: "natural images, MobileNetV3",
  home: "https://github.com/vladmandic/human (models/centernet), trained by https://github.com/610265158/mobilenetv3_centernet on COCO",
  licence: "MIT (the package)",
} as const;

/** The backbone's last feature map, [b, H/32, W/32, 480]; the detector's head hangs on it. */
const LAST = "tower_0/extern1/hard_swish/mul_1";
/** Smaller pictures are enlarged to this side: 3 × 3 places in the last feature map. */
const LEAST_SIDE = 96;

interface TfNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: {
    readonly strides?: { readonly list: { readonly i: readonly string[] } };
    readonly padding?: { readonly s: string };
    readonly fused_ops?: { readonly list: { readonly s?: readonly string[] } };
  };
}

interface TfGraph {
  readonly nodes: ReadonlyMap<string, TfNode>;
  readonly weights: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>;
}

/** Slices or frames of a sample that the network sees; the vector is the mean of theirs. */
export const NATURAL_SLICES = 4;

/** The folder of the package's models, or null where it is not installed. */
export function naturalModels(): string | null {
  try {
    const folder = join(dirname(createRequire(import.meta.url).resolve(NATURAL_PACKAGE)), "..", "models");
    return existsSync(join(folder, "centernet.json")) ? folder : null;
  } catch {
    return null;
  }
}

/** IEEE 754 half precision to a number. 0x3c00 is 1. */
export function halfToNumber(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** A TensorFlow.js graph model from its two files; weights of 16 bits are widened. */
function readGraph(folder: string): TfGraph {
  const path = join(folder, "centernet.json");
  const model = JSON.parse(readFileSync(path, "utf8")) as {
    modelTopology: { node: TfNode[] };
    weightsManifest: {
      weights: { name: string; shape: number[]; dtype: string; quantization?: { dtype: string } }[];
    }[];
  };
  const bytes = readFileSync(join(folder, "centernet.bin"));
  const weights = new Map<string, { shape: number[]; data: Float32Array }>();
  let at = 0;
  for (const { name, shape, dtype, quantization } of model.weightsManifest[0].weights) {
    const size = sizeOf(shape);
    const half = quantization?.dtype === "float16";
    if (quantization && !half)
      throw new InputError(`${path}: ${name} has weights of ${quantization.dtype}; expected float16`);
    const read = (i: number) =>
      half
        ? halfToNumber(bytes.readUInt16LE(at + 2 * i))
        : dtype === "int32"
          ? bytes.readInt32LE(at + 4 * i)
          : bytes.readFloatLE(at + 4 * i);
    weights.set(name, { shape, data: Float32Array.from({ length: size }, (_, i) => read(i)) });
    at += size * (half ? 2 : 4);
  }
  if (at !== bytes.length) throw new InputError(`${path}: expected ${at} bytes of weights, got ${bytes.length}`);
  return { nodes: new Map(model.modelTopology.node.map((node) => [node.name, node])), weights };
}

/** [to, from]: linear interpolation between the centres of pixels, the outermost repeated beyond them. Rows sum to 1. */
function interpolation(from: number, to: number): Float32Array {
  const matrix = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const place = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
    const low = Math.floor(place);
    matrix[i * from + low] += 1 - (place - low);
    if (low + 1 < from) matrix[i * from + low + 1] += place - low;
  }
  return matrix;
}

/** `height × width` by matrix products along either side, which every runtime computes alike. */
function enlarge(g: GraphBuilder, x: Name, height: number, width: number): Name {
  const [b, c, h, w] = g.type(x).shape;
  if (h === height && w === width) return x;
  const along = (shape: readonly number[], data: Float32Array) => g.constant({ shape, dtype: "float32", data });
  const columns = interpolation(w, width); // [width, w], wanted as [w, width]
  const turned = Float32Array.from({ length: w * width }, (_, i) => columns[(i % width) * w + Math.floor(i / width)]);
  const wide = g.node("MatMul", [x, along([w, width], turned)], { shape: [b, c, h, width], dtype: "float32" });
  const rows = along([height, h], interpolation(h, height));
  return g.node("MatMul", [rows, wide], { shape: [b, c, height, width], dtype: "float32" });
}

/** Translates the nodes that `LAST` depends on; NHWC becomes NCHW, so weights are turned and means run over axes 2 and 3. */
class Translation {
  readonly #known = new Map<string, Name>();

  constructor(
    private readonly g: GraphBuilder,
    private readonly graph: TfGraph,
    private readonly images: Name,
  ) {}

  of(name: string): Name {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const made = this.#make(name);
    this.#known.set(name, made);
    return made;
  }

  #make(name: string): Name {
    const { g, graph } = this;
    const weight = graph.weights.get(name);
    if (weight) return g.constant({ ...weight, dtype: "float32" });
    const node = graph.nodes.get(name);
    if (!node) throw new InputError(`the graph of ${NATURAL_PACKAGE} has no node ${name}`);
    const inputs = node.input ?? [];
    switch (node.op) {
      case "Placeholder":
        return this.images;
      case "Add":
      case "AddV2":
        return g.binary("Add", this.of(inputs[0]), this.of(inputs[1]));
      case "Mul":
        return g.binary("Mul", this.of(inputs[0]), this.of(inputs[1]));
      case "Relu6":
        return this.#activate("Relu6", this.of(inputs[0]));
      case "Mean":
        return g.reduce("ReduceMean", this.of(inputs[0]), [2, 3], true);
      case "_FusedConv2D":
        return this.#convolve(node, false);
      case "FusedDepthwiseConv2dNative":
        return this.#convolve(node, true);
      default:
        throw new InputError(`the graph of ${NATURAL_PACKAGE} has a ${node.op} (${name}), which is not translated`);
    }
  }

  #activate(op: string, x: Name): Name {
    const { g } = this;
    if (op === "Relu") return g.unary("Relu", x);
    return g.node("Clip", [x, g.splat([], 0), g.splat([], 6)], g.type(x));
  }

  /** A convolution with its bias and, where it has one, its activation. Weights: HWIO, or HWC1 where it is depthwise. */
  #convolve({ input, attr }: TfNode, depthwise: boolean): Name {
    const { g, graph } = this;
    const x = this.of(input![0]);
    const [b, , h, w] = g.type(x).shape;
    const { shape, data } = graph.weights.get(input![1])!;
    const [kh, kw, i, o] = shape;
    const [outer, inner] = depthwise ? [i * o, 1] : [o, i];
    const turned = new Float32Array(data.length);
    for (let k = 0; k < kh * kw; k++) {
      for (let a = 0; a < outer; a++) {
        for (let c = 0; c < inner; c++)
          turned[(a * inner + c) * kh * kw + k] = data[depthwise ? k * outer + a : (k * i + c) * o + a];
      }
    }
    const weights = g.constant({ shape: [outer, inner, kh, kw], dtype: "float32", data: turned });
    const strides = attr!.strides!.list.i.slice(1, 3).map(Number);
    const out = [b, outer, Math.ceil(h / strides[0]), Math.ceil(w / strides[1])];
    const attributes = { auto_pad: "SAME_UPPER", strides, group: depthwise ? outer : 1 };
    const bias = this.of(input![2]);
    let y = g.node("Conv", [x, weights, bias], { shape: out, dtype: "float32" }, attributes);
    const fused = (attr!.fused_ops?.list.s ?? []).map((text) => Buffer.from(text, "base64").toString());
    for (const op of fused.filter((one) => one !== "BiasAdd")) y = this.#activate(op, y);
    return y;
  }
}

/**
 * The backbone as a graph.
 *
 *     pixels [batch, 3, H, W] in [0, 1]   →   embedding [batch, 480], the mean over places of the last feature map
 *
 * Pictures are enlarged to 96 pixels a side at least, and given as 0 … 255, which the network was trained with.
 */
export function naturalGraph(folder: string, [height, width]: readonly [number, number]): OnnxGraph {
  const graph = readGraph(folder);
  const at = (batch: number): OnnxGraph => {
    const g = new GraphBuilder();
    const pixels = g.input("pixels", { shape: [batch, 3, height, width], dtype: "float32" });
    const scale = Math.max(1, LEAST_SIDE / Math.min(height, width));
    const large = enlarge(g, pixels, Math.round(height * scale), Math.round(width * scale));
    const images = g.binary("Mul", large, g.splat([], 255));
    const features = new Translation(g, graph, images).of(LAST);
    g.output("embedding", g.reduce("ReduceMean", features, [2, 3], false));
    return g.build();
  };
  return dynamicBatch(at, "pixels");
}

/**
 * Writes the backbone for pictures of one size as an ONNX file into a folder, once.
 *
 * @returns its path, or null where the package is not installed
 */
export function naturalOnnx(folder: string, size: readonly [number, number]): string | null {
  const models = naturalModels();
  if (models === null) return null;
  const path = join(folder, `natural-v1-${size.join("x")}.onnx`);
  if (!existsSync(path)) {
    const { home, licence } = NATURAL;
    writeAtomic(
      path,
      serialiseOnnx(naturalGraph(models, size), {
        producerVersion: packageVersion(),
        about: `${NATURAL.name}: pixels float32 [batch, 3, ${size.join(", ")}] in [0, 1] to embedding float32 [batch, 480]`,
        metadata: { home, licence },
      }),
    );
  }
  return path;
}
