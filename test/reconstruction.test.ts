import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { expect, test } from "vitest";
import { startBackend } from "../src/engine/backend.js";
import { encoderConfig } from "../src/encoder/config.js";
import { Random } from "../src/random.js";
import { initState } from "../src/trainers/loop.js";
import { mae, maeLoss } from "../src/trainers/mae.js";
import { loadMae, maeOf, predictsNothing, reconstructSamples } from "../src/trainers/reconstruction.js";
import { saveState } from "../src/trainers/state.js";
import type { Kind, Sample, Shape3, Shape4 } from "../src/types.js";

const encoder = encoderConfig("nano", [2, 4, 4]);
const size: Record<Kind, Shape3> = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] };
const objective = mae({ encoder, view: { scale: [0.5, 1], depthScale: [1, 1], size }, learningRate: 1e-3 });
const state = initState(objective, new Random(7));

/** Noise, except that the upper quarter is flat, as air is. */
function sampleOf(kind: Kind, shape: Shape4): Sample {
  const random = new Random(kind);
  const [, , h, w] = shape;
  const pixels = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) =>
    i % (h * w) < (h * w) / 4 ? 0.25 : random.uniform(),
  );
  return { id: kind, pixels, shape, grey: false, kind, modality: "ct", group: "g", labels: {} };
}
const samples = [sampleOf("image", [3, 1, 16, 16]), sampleOf("volume", [3, 4, 16, 16])];
const options = { random: new Random(7), maskRatio: 0.75 };

test("visible patches come back as they are, three quarters are hidden, and depth is whole patches", async () => {
  const done = await reconstructSamples(maeOf(state, encoder), samples, options);
  expect(done.map(({ shape }) => shape)).toEqual([
    [3, 2, 16, 16],
    [3, 4, 16, 16],
  ]);
  for (const { original, visible, reconstructed, means } of done) {
    const seen = Array.from(original.keys()).filter((i) => visible[i] === original[i]);
    expect(seen.length / original.length).toBeCloseTo(0.25, 5);
    for (const i of seen) expect(reconstructed[i] === original[i] && means[i] === original[i]).toBe(true);
  }
});

test("a model that predicts nothing paints the means, and its loss is the share of patches that are not flat", async () => {
  for (const done of await reconstructSamples(predictsNothing(maeOf(state, encoder)), samples, {
    ...options,
    maskRatio: 0.99,
  })) {
    expect(Math.max(...done.reconstructed.map((x, i) => Math.abs(x - done.means[i])))).toBeLessThan(1e-6);
    expect(done.loss).toBeGreaterThan(0.7); // all but one patch of 32 or 16 are hidden, a quarter of all is flat
    expect(done.loss).toBeLessThan(0.81);
  }
});

test("with a target epsilon, predicting nothing costs var / (var + epsilon), and a run's own epsilon comes back with it", async () => {
  const costs = (epsilon: number) => {
    // Two patches, (1, 3) and (0, 4): variances 1 and 4.
    const patches = tf.tensor([1, 3, 0, 4], [1, 2, 2]);
    return maeLoss(tf.zerosLike(patches), patches, tf.ones([1, 2]), epsilon).dataSync()[0];
  };
  await startBackend();
  expect(costs(0.5)).toBeCloseTo((1 / 1.5 + 4 / 4.5) / 2, 6);
  expect(costs(1e-6)).toBeCloseTo(1, 5);

  const folder = mkdtempSync(join(tmpdir(), "m3ret-mae-"));
  saveState(join(folder, "state.safetensors"), state, { method: "mae", encoder, training: { targetEpsilon: 0.5 } });
  const model = loadMae(folder);
  expect(model.targetEpsilon).toBe(0.5);
  const [wide] = await reconstructSamples(predictsNothing(model), samples.slice(0, 1), options);
  const [usual] = await reconstructSamples(predictsNothing(maeOf(state, encoder)), samples.slice(0, 1), options);
  expect(wide.means).toEqual(usual.means);
  expect(wide.loss).toBeLessThan(usual.loss);
});

test("the decoder comes back from the state of a run, and another state is refused in one line", async () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-mae-"));
  expect(() => loadMae(folder)).toThrow(/state\.safetensors: not there/);
  saveState(join(folder, "state.safetensors"), state, { method: "mae", encoder });
  const [kept] = await reconstructSamples(loadMae(folder), samples.slice(0, 1), options);
  const [direct] = await reconstructSamples(maeOf(state, encoder), samples.slice(0, 1), options);
  expect(kept.reconstructed).toEqual(direct.reconstructed);
  saveState(join(folder, "state.safetensors"), state, { method: "simdino", encoder });
  expect(() => loadMae(folder)).toThrow(/expected a training state of mae, got one of simdino/);
});
