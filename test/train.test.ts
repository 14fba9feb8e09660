import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../src/engine/engine.js";
import { encoderConfig } from "../src/encoder/config.js";
import { embedVectors } from "../src/encoder/embed.js";
import { initEncoder } from "../src/encoder/vit.js";
import { Random } from "../src/random.js";
import { makeBuckets, planBatches } from "../src/trainers/batches.js";
import { train } from "../src/trainers/loop.js";
import { mae } from "../src/trainers/mae.js";
import type { Objective } from "../src/trainers/objective.js";
import { pretrain, readLog } from "../src/trainers/pretrain.js";
import { cosine, warmupCosine } from "../src/trainers/schedule.js";
import { simdino } from "../src/trainers/simdino.js";
import type { Kind, Sample, Shape3 } from "../src/types.js";
import { engineUnderTest } from "./backendUnderTest.js";
import { barSample, barSamples, scratch } from "./helpers.js";

let engine: Engine;
beforeAll(async () => {
  engine = await engineUnderTest();
});

const encoder = { ...encoderConfig("nano", [2, 4, 4]), width: 24, depth: 2, heads: 2 };
const size: Record<Kind, Shape3> = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] };
const small: Record<Kind, Shape3> = { image: [1, 8, 8], video: [2, 8, 8], volume: [2, 8, 8] };
const maeOf = () => mae({ encoder, view: { scale: [0.5, 1], size }, learningRate: 3e-3 });
const simdinoOf = () =>
  simdino({
    encoder,
    views: {
      globals: { count: 2, scale: [0.5, 1], size },
      locals: { count: 2, scale: [0.1, 0.4], size: small },
      jitter: { brightness: 0.2, contrast: 0.2, gamma: 0.2 },
    },
    learningRate: 1e-3,
  });

async function losses(objective: Objective, samples: Sample[], steps: number, seed = 7): Promise<number[]> {
  const out: number[] = [];
  const options = { steps, batchSize: 8, random: new Random(seed), engine };
  for await (const { terms } of train(objective, samples, options)) out.push(terms.loss);
  return out;
}

const mean = (xs: number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;

describe.each([
  ["mae", maeOf],
  ["simdino", simdinoOf],
] as const)("%s", (method, make) => {
  test("the loss falls on pictures that can be learned", async () => {
    const all = await losses(make(), barSamples(32), 40);
    expect(mean(all.slice(-10))).toBeLessThan(mean(all.slice(0, 10)) - 0.05);
    expect(all.every(Number.isFinite)).toBe(true);
  });

  test("two runs of one seed agree bit for bit, another seed differs", async () => {
    const first = await losses(make(), barSamples(16), 4);
    expect(await losses(make(), barSamples(16), 4)).toEqual(first);
    expect(await losses(make(), barSamples(16), 4, 8)).not.toEqual(first);
  });

  test("training resumed after a stop gives the losses and weights of training straight through", async () => {
    const [whole, parts] = [scratch(), scratch()];
    const run = (folder: string, resume: boolean) =>
      pretrain(make(), barSamples(16), {
        folder,
        steps: 9,
        batchSize: 8,
        random: new Random(7),
        settings: { data: "bars" },
        engine,
        resume,
        saveEvery: 3,
      });
    for await (const _ of run(whole, false)) void _;
    for await (const { step } of run(parts, false)) if (step === 4) break;
    for await (const _ of run(parts, true)) void _;
    const of = (folder: string) => readLog(folder).map(({ step, loss }) => [step, loss]);
    expect(of(parts)).toEqual(of(whole));
    const weights = (folder: string) => readFileSync(join(folder, "state.safetensors"));
    expect(weights(parts).equals(weights(whole))).toBe(true);
    expect(method).toBe(make().method);
  });
});

test("a run that exists is neither overwritten nor resumed with other settings", async () => {
  const folder = scratch();
  const run = (steps: number, resume: boolean) =>
    pretrain(maeOf(), barSamples(8), {
      folder,
      steps,
      batchSize: 8,
      random: new Random(7),
      settings: {},
      resume,
      engine,
    });
  for await (const _ of run(2, false)) void _;
  await expect(run(2, false).next()).rejects.toThrow(/holds a mae run already; resume it or choose another folder$/);
  await expect(run(3, true).next()).rejects.toThrow(/cannot resume: steps was 2, now 3$/);
});

test("MRI is refused by the trainer itself", async () => {
  const samples = [...barSamples(4), barSample("mri", "volume", [4, 16, 16], 0)];
  await expect(losses(maeOf(), samples, 1)).rejects.toThrow(/MRI never enters pretraining/);
});

test("a batch holds one modality, and buckets are drawn in proportion to their size", () => {
  const samples = [
    ...Array.from({ length: 30 }, (_, i) => barSample("xray", "image", [1, 8, 8], i)),
    ...Array.from({ length: 10 }, (_, i) => barSample("ultrasound", "image", [1, 8, 8], i)),
  ];
  const plan = planBatches(samples, { batchSize: 8 });
  const random = new Random(1);
  let xrays = 0;
  for (let i = 0; i < 2000; i++) {
    const modalities = new Set(plan.at(random.fork(`step ${i}`)).map(({ modality }) => modality));
    expect(modalities.size).toBe(1);
    if (modalities.has("xray")) xrays++;
  }
  expect(Math.abs(xrays / 2000 - 0.75)).toBeLessThan(0.04);
  expect(makeBuckets(samples, "shape")).toHaveLength(1);
});

test("shares decide how often a modality is drawn, alone in its batch or beside others of its shape", () => {
  const samples = [
    ...Array.from({ length: 30 }, (_, i) => barSample("xray", "image", [1, 8, 8], i)),
    ...Array.from({ length: 10 }, (_, i) => barSample("ultrasound", "image", [1, 8, 8], i)),
    ...Array.from({ length: 10 }, (_, i) => barSample("ct", "volume", [4, 8, 8], i)),
  ];
  const mixture = { xray: 1, ultrasound: 3 } as const;
  for (const bucketing of ["modality", "shape"] as const) {
    const plan = planBatches(samples, { batchSize: 8, bucketing, mixture });
    const random = new Random(1);
    const drawn = Array.from({ length: 1000 }, (_, i) => plan.at(random.fork(`step ${i}`)));
    const all = drawn.flat();
    expect(Math.abs(all.filter(({ modality }) => modality === "ultrasound").length / all.length - 0.75)).toBeLessThan(
      0.04,
    );
    expect(all.some(({ modality }) => modality === "ct")).toBe(false);
    const kinds = drawn.map((batch) => new Set(batch.map(({ modality }) => modality)).size);
    expect(Math.max(...kinds)).toBe(bucketing === "shape" ? 2 : 1);
    for (const batch of drawn.slice(0, 50)) {
      const xrays = batch.filter(({ modality }) => modality === "xray").map(({ id }) => id);
      expect(new Set(xrays).size).toBe(xrays.length); // there are enough of them
    }
  }
  expect(() => planBatches(samples, { batchSize: 8, mixture: { endoscopy: 1 } })).toThrow(/no sample of it/);
});

test("kinds share a batch where their shapes are one, and an image is never beside a volume", () => {
  const samples = [
    ...Array.from({ length: 8 }, (_, i) => barSample("ct", "volume", [4, 8, 8], i)),
    ...Array.from({ length: 8 }, (_, i) => barSample("endoscopy", "video", [4, 8, 8], i)),
    ...Array.from({ length: 8 }, (_, i) => barSample("xray", "image", [1, 8, 8], i)),
  ];
  const buckets = makeBuckets(samples, "shape").map(({ samples }) => new Set(samples.map(({ kind }) => kind)));
  expect(buckets).toEqual([new Set(["image"]), new Set(["volume", "video"])]);
});

test("a batch repeats a sample only when its bucket is too small", () => {
  const plan = planBatches(barSamples(16), { batchSize: 8 });
  expect(new Set(plan.at(new Random(1)).map(({ id }) => id)).size).toBe(8);
  const tight = planBatches(barSamples(6), { batchSize: 8 });
  expect(tight.at(new Random(1))).toHaveLength(8);
});

test("the learning rate climbs to its peak and falls to its floor, decay and momentum rise", () => {
  const rate = (step: number) => warmupCosine(step, { steps: 100, warmup: 10, peak: 1, floor: 0.1 });
  expect([rate(0), rate(9), rate(10)]).toEqual([0.1, 1, 1]);
  expect(rate(100)).toBeCloseTo(0.1, 10);
  expect(cosine(50, 100, 1, 0)).toBeCloseTo(0.5, 10);
  expect(cosine(0, 100, 0.04, 0.4)).toBeCloseTo(0.04, 10);
  expect(cosine(100, 100, 0.04, 0.4)).toBeCloseTo(0.4, 10);
});

test("a vector does not depend on what else was embedded with it", async () => {
  const model = initEncoder(encoder, new Random(3));
  const samples = barSamples(6);
  const together = await embedVectors(model, samples, { batchSize: 4, engine });
  const alone = await embedVectors(model, [samples[5]], { engine });
  for (const pooling of ["cls", "mean"] as const) {
    const row = together[pooling].subarray(5 * 24, 6 * 24);
    row.forEach((x, i) => expect(Math.abs(x - alone[pooling][i])).toBeLessThan(1e-5));
  }
});

test("an image and the same image as a one-slice volume embed alike", async () => {
  const model = initEncoder(encoder, new Random(3));
  const image = barSample("xray", "image", [1, 16, 16], 3);
  // Each alone, in the same place of its batch: a processor may round the next row in another order.
  const [flat, deep] = [image, { ...image, kind: "volume" as const, modality: "ct" as const }];
  const [ours, theirs] = [await embedVectors(model, [flat], { engine }), await embedVectors(model, [deep], { engine })];
  expect(ours.cls).toEqual(theirs.cls);
});
