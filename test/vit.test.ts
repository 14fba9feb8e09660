import * as tf from "@tensorflow/tfjs";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { toTensors } from "../src/engine/arrays.js";
import { loadEncoder, saveEncoder } from "../src/encoder/checkpoint.js";
import { encoderConfig, patchSize, PRESETS } from "../src/encoder/config.js";
import { sineCosine3d } from "../src/encoder/positions.js";
import { encode, initEncoder, pool } from "../src/encoder/vit.js";
import { Random } from "../src/random.js";
import { sizeOf, type Shape3 } from "../src/types.js";
import { startBackendUnderTest } from "./backendUnderTest.js";

beforeAll(async () => {
  await startBackendUnderTest("wasm");
});

const config = { ...encoderConfig("nano"), width: 24, depth: 2, heads: 2 };

test("the presets have the parameter counts of the ViT papers", () => {
  // DeiT (arXiv 2012.12877, Table 1): 5 M and 22 M, less classifier and position table, which is fixed here.
  const millions = (preset: "tiny" | "small") => {
    const { params } = initEncoder(encoderConfig(preset, [1, 16, 16]), new Random(0));
    return Object.values(params).reduce((sum, { data }) => sum + data.length, 0) / 1e6;
  };
  expect(millions("tiny")).toBeCloseTo(5.49, 1);
  expect(millions("small")).toBeCloseTo(21.59, 1);
  expect(PRESETS.base).toEqual({ width: 768, depth: 12, heads: 12 });
  expect(PRESETS.large).toEqual({ width: 1024, depth: 24, heads: 16 });
});

test("one set of weights encodes an image, a video and a volume", () => {
  const { params } = initEncoder(config, new Random(1));
  const grids: Shape3[] = [
    [1, 4, 4],
    [2, 4, 4],
    [4, 2, 3],
  ];
  for (const grid of grids) {
    const n = sizeOf(grid);
    const patches = tf.randomNormal([2, n, patchSize(config)], 0, 1, "float32", 7);
    const tokens = encode(toTensors(params), config, patches, tf.tensor(sineCosine3d(grid, 24), [n, 24]));
    expect(tokens.shape).toEqual([2, n + 1, 24]);
    expect(pool(tokens, "cls").shape).toEqual([2, 24]);
    expect(pool(tokens, "mean").shape).toEqual([2, 24]);
  }
});

test("the mean over patches does not depend on their order, as long as positions move with them", () => {
  const { params } = initEncoder(config, new Random(1));
  const grid: Shape3 = [1, 2, 3];
  const patches = tf.randomNormal([1, 6, patchSize(config)], 0, 1, "float32", 7);
  const positions = tf.tensor(sineCosine3d(grid, 24), [6, 24]);
  const order = tf.tensor([5, 1, 4, 0, 3, 2], [6], "int32");
  const p = toTensors(params);
  const straight = pool(encode(p, config, patches, positions), "mean");
  const shuffled = pool(encode(p, config, tf.gather(patches, order, 1), tf.gather(positions, order)), "mean");
  expect(tf.max(tf.abs(tf.sub(straight, shuffled))).dataSync()[0]).toBeLessThan(1e-5);
});

test("tokens that are asked for alone are those of the whole sequence, and have its gradients", () => {
  const params = toTensors(initEncoder(config, new Random(1)).params);
  const patches = tf.randomNormal([2, 6, patchSize(config)], 0, 1, "float32", 7);
  const positions = tf.tensor(sineCosine3d([1, 2, 3], 24), [6, 24]);
  const asked = { from: 2, count: 3 };
  const part = (whole: tf.Tensor) => tf.slice(whole, [0, asked.from, 0], [2, asked.count, 24]);
  const alone = (x: tf.Tensor) => encode(params, config, x, positions, asked);
  const cut = (x: tf.Tensor) => part(encode(params, config, x, positions));
  const gradient = (of: (x: tf.Tensor) => tf.Tensor) => tf.grad((x) => tf.sum(tf.square(of(x))))(patches);
  const apart = (a: tf.Tensor, b: tf.Tensor) => tf.max(tf.abs(tf.sub(a, b))).dataSync()[0];
  expect(alone(patches).shape).toEqual([2, 3, 24]);
  expect(apart(alone(patches), cut(patches))).toBeLessThan(1e-5);
  expect(apart(gradient(alone), gradient(cut))).toBeLessThan(1e-4);
});

test("every cell of a grid has a code of its own, and an image has the codes of a volume's first layer", () => {
  const volume = sineCosine3d([2, 3, 4], 24);
  const image = sineCosine3d([1, 3, 4], 24);
  expect(volume.subarray(0, image.length)).toEqual(image);
  const rows = Array.from({ length: 24 }, (_, i) => volume.subarray(i * 24, (i + 1) * 24).join());
  expect(new Set(rows).size).toBe(24);
  expect([...image.subarray(0, 8)]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]); // sin 0, cos 0 along D
});

test("an encoder comes back from disk as it was, with its provenance", () => {
  const folder = join(mkdtempSync(join(tmpdir(), "m3ret-")), "a b");
  const encoder = initEncoder(config, new Random(2));
  saveEncoder(folder, encoder, { method: "mae", seed: 2 });
  const back = loadEncoder(folder);
  expect(back.encoder).toEqual(encoder);
  expect(back.provenance).toMatchObject({ method: "mae", seed: 2 });
});

test("weights that are not an encoder are one line that names the file", () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-"));
  expect(() => loadEncoder(folder)).toThrow(/expected a folder with encoder.safetensors, found none$/);
  writeFileSync(join(folder, "encoder.safetensors"), "hello");
  expect(() => loadEncoder(folder)).toThrow(
    /encoder.safetensors: expected a safetensors file of float32 arrays, got 5 bytes/,
  );
});
