import { mkdtempSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { describe, expect, test } from "vitest";
import { openOnnxEncoder } from "../src/encoder/embedOnnx.js";
import { halfToNumber, NATURAL_PACKAGE, naturalModels, naturalOnnx } from "../src/encoder/natural.js";
import { startBackend } from "../src/engine/backend.js";
import { farFrom, formulaSample } from "./onnxFixture.js";

const models = naturalModels();

test("half precision is read by IEEE 754", () => {
  const values: [bits: number, value: number][] = [[0x3c00, 1], [0xc000, -2], [0x3555, 0.333251953125], [0x0001, 2 ** -24], [0x7bff, 65504], [0x0000, 0], [0x7c00, Infinity]]; // prettier-ignore
  for (const [bits, value] of values) expect(halfToNumber(bits)).toBe(value);
  expect(halfToNumber(0x7e00)).toBeNaN();
});

describe.skipIf(models === null)(`the network of ${NATURAL_PACKAGE}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-natural-"));
  const as = { mean: [0, 0, 0], std: [1, 1, 1] } as const;

  /** The same backbone as TensorFlow.js runs it. */
  async function byTensorflowJs(pixels: Float32Array, side: number): Promise<number[]> {
    await startBackend("wasm");
    const model = JSON.parse(readFileSync(join(models!, "centernet.json"), "utf8")) as {
      modelTopology: { node: { op: string; attr?: object }[] };
      weightsManifest: { weights: tf.io.WeightsManifestEntry[] }[];
    };
    for (const node of model.modelTopology.node) if (node.op === "Placeholder") node.attr = {}; // it insists on 512
    const weightData = Uint8Array.from(readFileSync(join(models!, "centernet.bin"))).buffer;
    const { modelTopology, weightsManifest } = model;
    const handler = {
      load: () => Promise.resolve({ modelTopology, weightSpecs: weightsManifest[0].weights, weightData }),
    };
    const graph = await tf.loadGraphModel(handler);
    const planes = tf.tensor(pixels, [3, side, side]);
    const images = tf.mul(tf.expandDims(tf.transpose(planes, [1, 2, 0]), 0), 255);
    const features = graph.execute(images, "tower_0/extern1/hard_swish/mul_1") as tf.Tensor;
    return Array.from(await tf.mean(features, [1, 2]).data());
  }

  test("gives the features that TensorFlow.js computes from the package's own graph", async () => {
    const sample = formulaSample(3, [1, 128, 128]);
    const encoder = await openOnnxEncoder(naturalOnnx(folder, [128, 128])!, as);
    const ours = await encoder.embed([sample]);
    await encoder.dispose();
    expect(ours).toHaveLength(480);
    expect(farFrom(ours, [await byTensorflowJs(sample.pixels, 128)])).toBeLessThan(1e-4);
  });

  test("enlarges small pictures, keeps flat ones flat, and is written once", async () => {
    const path = naturalOnnx(folder, [32, 32])!;
    const { mtimeMs } = statSync(path);
    const encoder = await openOnnxEncoder(path, as);
    const grey = (size: number) => ({
      ...formulaSample(0, [1, size, size]),
      pixels: new Float32Array(3 * size * size).fill(0.4),
    });
    const small = await encoder.embed([grey(32)]);
    await encoder.dispose();
    const large = await openOnnxEncoder(naturalOnnx(folder, [96, 96])!, as);
    expect(farFrom(small, [Array.from(await large.embed([grey(96)]))])).toBeLessThan(1e-4);
    await large.dispose();
    expect(naturalOnnx(folder, [32, 32])).toBe(path);
    expect(statSync(path).mtimeMs).toBe(mtimeMs);
  });
});
