/** Small ONNX files, and what test/reference/onnxEncoder.py computed in Python. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { GraphBuilder } from "../src/engine/onnxBuilder.js";
import { serialiseOnnx, type OnnxGraph, type OnnxType } from "../src/engine/onnx.js";
import type { EncoderConfig } from "../src/encoder/config.js";
import { initEncoder, type Encoder, type Pooling } from "../src/encoder/vit.js";
import { Random } from "../src/random.js";
import type { Kind, Sample, Shape3 } from "../src/types.js";

const folder = fileURLToPath(new URL("fixtures/onnx", import.meta.url));

/** A VisionTransformer of timm, exported by PyTorch: input images [n, 3, 16, 16], output features [n, 8]. */
export const timm = join(folder, "timm-tiny.onnx");

interface Expected {
  readonly encoders: Readonly<
    Record<string, { size: Shape3; pooling: Pooling; onnxruntime: number[][]; float64: number[][] }>
  >;
  readonly timm: {
    readonly mean: [number, number, number];
    readonly std: [number, number, number];
    /** [volume, slice, feature] of three volumes of four slices. */
    readonly slices: number[][][];
    readonly volumes: number[][];
  };
}
export const expected = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as Expected;

/** The encoder of onnxGraphs.mjs: weights are the formula of losses.py. */
export function formulaEncoder(): Encoder {
  const config: EncoderConfig = { width: 12, depth: 2, heads: 2, mlpRatio: 4, patch: [2, 4, 4], channels: 3 };
  const { params } = initEncoder(config, new Random(0));
  const names = Object.keys(params).sort();
  names.forEach((name, k) => {
    const plus = name.includes("norm") && name.endsWith("weight") ? 1 : 0;
    params[name].data.forEach((_, i, data) => (data[i] = 0.3 * Math.sin(0.7 * i + 1.3 * k) + plus));
  });
  return { config, params };
}

/** Sample number `row` of `pixels` in onnxEncoder.py. */
export function formulaSample(row: number, size: Shape3, kind: Kind = size[0] === 1 ? "image" : "volume"): Sample {
  const n = 3 * size[0] * size[1] * size[2];
  const pixels = Float32Array.from({ length: n }, (_, i) => 0.5 + 0.5 * Math.sin(0.37 * i + 1.1 * row));
  const about = { id: `sample ${row}`, group: `p${row}`, grey: false, modality: "ct", labels: {} } as const;
  return { ...about, kind, pixels, shape: [3, ...size] };
}

/** The largest difference of [n, d] from rows of numbers, against the largest of these. */
export function farFrom(vectors: Float32Array, rows: readonly (readonly number[])[]): number {
  const flat = rows.flat();
  if (vectors.length !== flat.length) return Infinity;
  const scale = Math.max(...flat.map(Math.abs));
  return flat.reduce((most, value, i) => Math.max(most, Math.abs(value - vectors[i])), 0) / scale;
}

/** Writes a file of one graph, as another project could have made it: no notes. */
export function onnxFile(path: string, build: (g: GraphBuilder) => void): string {
  const g = new GraphBuilder();
  build(g);
  const graph: OnnxGraph = g.build();
  writeFileSync(path, serialiseOnnx(graph));
  return path;
}

export const float = (...shape: number[]): OnnxType => ({ shape, dtype: "float32" });

/** Means over all axes from the third on: an embedding of three numbers, mean red, green and blue. */
export function meanColours(g: GraphBuilder, input: OnnxType, output = "colours"): void {
  const axes = input.shape.map((_, axis) => axis).slice(2);
  g.output(output, g.reduce("ReduceMean", g.input("x", input), axes, false));
}
