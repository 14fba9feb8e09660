import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { Engine } from "../src/engine/engine.js";
import { encoderConfig } from "../src/encoder/config.js";
import { Random } from "../src/random.js";
import { initState, trainedEncoder } from "../src/trainers/loop.js";
import { mae } from "../src/trainers/mae.js";
import { pretrain } from "../src/trainers/pretrain.js";
import { listSnapshots, snapshotSteps } from "../src/trainers/snapshots.js";
import { engineUnderTest } from "./backendUnderTest.js";
import { barSamples, scratch } from "./helpers.js";

let engine: Engine;
beforeAll(async () => {
  engine = await engineUnderTest();
});

const encoder = { ...encoderConfig("nano", [2, 4, 4]), width: 24, depth: 1, heads: 2 };
const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] } as const;
const objective = () => mae({ encoder, view: { scale: [0.5, 1], size }, learningRate: 3e-3 });
const run = (folder: string, more: { resume?: boolean; snapshots?: number[] } = {}) =>
  pretrain(objective(), barSamples(8), {
    ...{ folder, steps: 8, batchSize: 4, random: new Random(7), settings: {}, engine, saveEvery: 3 },
    ...{ snapshots: [0, 2, 5], ...more },
  });
const bytes = (folder: string) => readFileSync(join(folder, "encoder.safetensors"));

test("snapshots double from the start to half of the run, each once", () => {
  expect(snapshotSteps(450)).toEqual([0, 28, 56, 113, 225]);
  expect(snapshotSteps(1800)).toEqual([0, 113, 225, 450, 900]);
  expect(snapshotSteps(4)).toEqual([0, 1, 2]);
  expect(snapshotSteps(1)).toEqual([0]);
});

test("a run keeps the encoder it started with, those on the way, and names the trained one last", async () => {
  const folder = scratch();
  for await (const _ of run(folder)) void _;
  const kept = listSnapshots(folder);
  expect(kept.map(({ step }) => step)).toEqual([0, 2, 5, 8]);
  const started = trainedEncoder(objective(), initState(objective(), new Random(7)));
  expect(kept[0].load().params).toEqual(started.params);
  expect(kept[3].folder).toBe(folder);
  const weights = kept.map(({ load }) => Array.from(load().params["blocks.0.attn.qkv.weight"].data));
  for (const [i, one] of weights.entries()) for (const other of weights.slice(i + 1)) expect(one).not.toEqual(other);
});

test("a run that was stopped and resumed keeps the same encoders, bit for bit, and a fresh one none of an older run", async () => {
  const [whole, parts] = [scratch(), scratch()];
  for await (const _ of run(whole)) void _;
  // Something is left of a run that was killed before its first state.
  for await (const { step } of run(parts, { snapshots: [1] })) if (step === 1) break;
  rmSync(join(parts, "state.safetensors"));
  for await (const { step } of run(parts)) if (step === 3) break;
  for await (const _ of run(parts, { resume: true })) void _;
  const [ours, theirs] = [listSnapshots(parts), listSnapshots(whole)];
  expect(ours.map(({ step }) => step)).toEqual([0, 2, 5, 8]);
  for (const [i, { folder }] of ours.entries()) expect(bytes(folder).equals(bytes(theirs[i].folder))).toBe(true);
});

test("a run without snapshots shows its trained encoder alone, and one that has not ended shows none", async () => {
  const folder = scratch();
  for await (const { step } of run(folder, { snapshots: [] })) if (step === 3) break;
  expect(listSnapshots(folder)).toEqual([]);
  for await (const _ of run(folder, { resume: true, snapshots: [] })) void _;
  expect(listSnapshots(folder).map(({ step }) => step)).toEqual([8]);
});
