import { beforeAll, describe, expect, test } from "vitest";
import * as tf from "@tensorflow/tfjs";
import { startBackend } from "../src/engine/backend.js";
import { compiledRunner, compileFunction } from "../src/engine/compile.js";
import { startEngine } from "../src/engine/engine.js";
import { openGpu } from "../src/engine/gpuDevice.js";
import type { Program } from "../src/engine/gpuProgram.js";
import { emitMatrixProduct } from "../src/engine/gpuMatrix.js";
import type { Product } from "../src/engine/gpuSteps.js";
import { probeDawn } from "../src/engine/gpuProbe.js";
import { emitProduct } from "../src/engine/gpuProduct.js";
import { transposeLast } from "../src/engine/ops.js";
import { temporary, wholeView } from "../src/engine/gpuView.js";
import { gpuFunction, gpuRunner, precisionAsked } from "../src/engine/gpuRunner.js";
import type { EncoderConfig } from "../src/encoder/config.js";
import { Random } from "../src/random.js";
import { initState, stepFunction } from "../src/trainers/loop.js";
import { mae } from "../src/trainers/mae.js";
import type { Objective } from "../src/trainers/objective.js";
import { simdino, type SimdinoOptions } from "../src/trainers/simdino.js";
import { stepScalars } from "../src/trainers/step.js";
import type { Kind, Sample, Shape3 } from "../src/types.js";
import { ENGINE_CASES, normal, type EngineCase } from "./engineCases.js";
import { OBJECTIVES, advance, worstParameter, worstTerm } from "./stepFixture.js";

beforeAll(async () => {
  await startBackend("wasm");
});
const gpu = await probeDawn();

/** They call for Tile, or for numbers of 64 bits. */
const NOT_COVERED = new Set([
  "moving numbers about",
  "rows by number, and their gradient",
  "gradients that tfjs derives of concat, slice, gather, maximum and where",
]);

/** As small as a model can be: a software adapter compiles each of its 150 kernels for a second. */
const encoder: EncoderConfig = { width: 16, depth: 1, heads: 2, mlpRatio: 2, patch: [1, 8, 8], channels: 3 };
const every = (size: Shape3): Record<Kind, Shape3> => ({ image: size, video: size, volume: size });
const range = { scale: [0.5, 1] as const };
const dino = (more: Partial<SimdinoOptions>): Objective =>
  simdino({
    encoder,
    views: {
      globals: { ...range, size: every([1, 24, 24]), count: 2 },
      locals: { ...range, size: every([1, 16, 16]), count: 2 },
    },
    head: { hidden: 16, out: 8 },
    learningRate: 1e-3,
    ...more,
  });
const SMALL: Record<string, () => Objective> = {
  MAE: () => mae({ encoder, view: { ...range, size: every([1, 24, 24]) }, learningRate: 1e-3 }),
  SimDINO: () => dino({}),
  "SimDINO with a masked student and mean pooling": () => dino({ pooling: "mean", maskRatio: 0.5 }),
};

function picture(seed: string): Sample {
  const random = new Random(seed);
  const pixels = Float32Array.from({ length: 3 * 24 * 24 }, () => random.uniform(0, 1));
  return {
    id: seed,
    pixels,
    shape: [3, 1, 24, 24],
    grey: false,
    kind: "image",
    modality: "ct",
    group: seed,
    labels: {},
  };
}
function inputOf(objective: Objective, step: number) {
  const samples = Array.from({ length: 4 }, (_, i) => picture(`${step} ${i}`));
  const scalars = stepScalars(step, objective.schedule(step, 10), objective);
  return [objective.collate(samples, new Random(step)), scalars] as const;
}

/** @returns labels of the kernels */
async function agree({ f, inputs }: Pick<EngineCase, "f" | "inputs">, products?: "tiled"): Promise<string[]> {
  const cpu = await compileFunction(f, inputs);
  const theirs = await cpu.run(inputs);
  await cpu.dispose();
  const labels: string[] = [];
  const onProgram = ({ kernels }: Program) => void labels.push(...kernels.map(({ label }) => label));
  const made = await gpuFunction(f, inputs, { products, onProgram });
  const ours = await made.run(inputs);
  await made.dispose();
  for (const [name, { data, shape }] of Object.entries(theirs)) {
    expect(ours[name].shape, name).toEqual(shape);
    const off = data.map((x, i) => Math.abs(ours[name].data[i] - x) / (1 + Math.abs(x)));
    // SwiftShader's own sine is that far off.
    expect(Math.max(...off), name).toBeLessThan(name === "sin" || name === "cos" ? 5e-4 : 2e-5);
  }
  return labels;
}

describe("a function on the GPU gives the numbers of the processor", () => {
  const run = test.skipIf(!gpu.ok);
  const cases = (covered: boolean) =>
    ENGINE_CASES.filter(({ title }) => NOT_COVERED.has(title) !== covered).map((one) => [one.title, one] as const);

  run.each(cases(true))("%s", { timeout: 300_000 }, (_, one) => agree(one).then(() => undefined));

  run.each(cases(false))("or says in one line what it does not cover: %s", async (_, { f, inputs }) => {
    await expect(gpuFunction(f, inputs)).rejects.toThrow(
      /^dawn cannot run the function: [^\n]+ is not covered; --engine compiled runs the same graphs on the processor$/,
    );
  });

  run.each([8, 3])("many parts of %i columns side by side", { timeout: 300_000 }, async (columns) => {
    const names = [..."abcdefghijklmnopqrst"];
    const inputs = Object.fromEntries(names.map((name) => [name, normal(name, 2, columns)]));
    await agree({
      inputs,
      f: (parts) => ({ y: tf.concat(Object.values(parts), 1), z: tf.concat(Object.values(parts)) }),
    });
  });

  test("a product in tiles, of sizes that no tile fits", { timeout: 300_000 }, async ({ skip }) => {
    if (!gpu.ok) skip(gpu.reason);
    const inputs = { a: normal("a", 2, 33, 21), b: normal("b", 2, 35, 21) };
    await agree({ inputs, f: ({ a, b }) => ({ y: tf.matMul(a, b, false, true) }) }, "tiled");
  });

  test("attention in tiles, whose gradients are written side by side", { timeout: 300_000 }, async ({ skip }) => {
    if (!gpu.ok) skip(gpu.reason);
    const one = ENGINE_CASES.find(({ title }) => title === "attention and its gradient")!;
    await agree(one, "tiled");
  });

  const sizes = [
    [700, 21, "in parts"],
    [40, 36, "in one go"],
  ] as const;
  run.each(sizes)("columns of %i × %i are summed by the product that reads them, %s", async (k, n) => {
    const inputs = { a: normal("a", k, 10), b: normal("b", k, n) };
    const f: EngineCase["f"] = ({ a, b }) => ({ y: tf.matMul(transposeLast(a), b), sums: tf.sum(b, 0) });
    expect(await agree({ inputs, f }, "tiled")).not.toContain("sums");
  });
});

test("a product of matrices in 16 bits is that of the processor to what their rounding costs", async ({ skip }) => {
  if (!gpu.ok) skip(gpu.reason);
  const { name, traits } = await openGpu();
  if (!traits.f16) skip(`${name} has no products of 16-bit matrices`);
  const inputs = { a: normal("a", 512, 256), b: normal("b", 256, 256) };
  const f: EngineCase["f"] = ({ a, b }) => ({ y: tf.matMul(a, b) });
  const [cpu, ours] = [await compileFunction(f, inputs), await gpuFunction(f, inputs, { precision: "f16" })];
  const [theirs, found] = [(await cpu.run(inputs)).y.data, (await ours.run(inputs)).y.data];
  // Terms of size 1 that are off by 2⁻¹¹ in each factor: a sum of 256 is off by 0.006, the worst of many by five times that.
  expect(Math.max(...found.map((x, i) => Math.abs(x - theirs[i])))).toBeLessThan(0.06);
  for (const made of [cpu, ours]) await made.dispose();
});

/** A software adapter multiplies plainly where it is left the choice; tiles are what a real GPU runs in 32 bits. */
describe.each(Object.entries(SMALL))("%s", (_, make) => {
  test.for<[how: string, products: "tiled" | undefined, steps: number]>([
    ["as it chooses", undefined, 6],
    ["with products in tiles", "tiled", 2],
  ])("trains on the GPU, %s, as on the processor", { timeout: 900_000 }, async ([, products, steps], { skip }) => {
    if (!gpu.ok) skip(gpu.reason);
    const objective = make();
    const initial = initState(objective, new Random(7)).arrays;
    const f = stepFunction(objective);
    const [cpu, ours] = [await compiledRunner(f, initial), await gpuRunner(f, initial, { products })];
    for (let step = 0; step < steps; step++) {
      const input = inputOf(objective, step);
      expect(worstTerm([await ours.step(...input)], [await cpu.step(...input)])).toBeLessThan(1e-4);
    }
    expect(worstParameter(await ours.state(), await cpu.state())).toBeLessThan(1e-3);
    for (const runner of [cpu, ours]) runner.dispose();
  });
});

test.each(Object.entries(OBJECTIVES))("the scale of the loss changes nothing that %s hands on", async (_, make) => {
  const objective = make();
  const initial = initState(objective, new Random(7)).arrays;
  const [plain, scaled] = [1, 2].map(() => compiledRunner(stepFunction(objective), initial));
  const [a, b] = [await plain, await scaled];
  const times4096: typeof b = { ...b, step: (input, scalars) => b.step(input, { ...scalars, lossScale: 4096 }) };
  expect(worstTerm(await advance(objective, times4096, 0, 3), await advance(objective, a, 0, 3))).toBeLessThan(1e-5);
  expect(worstParameter(await b.state(), await a.state())).toBeLessThan(1e-4);
  for (const runner of [a, b]) runner.dispose();
});

test("a long sum is split among groups of threads, in both precisions", () => {
  const side = (name: string, rows: number, columns: number) => ({
    slot: { name, size: rows * columns, dtype: "float32", kind: "input" } as const,
    offset: 0,
    axes: [
      { extent: rows, stride: columns },
      { extent: columns, stride: 1 },
    ],
    scale: 1,
  });
  const [m, n, k] = [384, 1536, 12608];
  const out = wholeView(temporary("out", m * n));
  const of: Product = {
    kind: "product",
    a: side("a", m, k),
    b: side("b", k, n),
    c: null,
    alpha: 1,
    beta: 1,
    batch: 1,
    m,
    n,
    k,
    out,
    sums: null,
  };
  for (const kernels of [emitProduct(of), emitMatrixProduct(of)]) {
    expect(kernels.map(({ label }) => label)).toEqual([expect.stringMatching(/split$/), "product sum"]);
    expect(kernels[0].groups[2]).toBeGreaterThan(1);
  }
});

test("without an adapter the engine says in one line what it needs and how to go on", async ({ skip }) => {
  if (gpu.ok) skip("there is one");
  await expect(startEngine("dawn")).rejects.toThrow(
    /^engine dawn: .*; --engine compiled runs the same graphs on the processor$/,
  );
});

test("a precision that does not exist is refused", () => {
  process.env.M3RET_GPU_PRECISION = "f8";
  expect(precisionAsked).toThrow('M3RET_GPU_PRECISION: expected f32 or f16, got "f8"');
  process.env.M3RET_GPU_PRECISION = "f16";
  expect(precisionAsked()).toBe("f16");
  delete process.env.M3RET_GPU_PRECISION;
  expect(precisionAsked()).toBe("f32");
});
test("opening twice is opening once", async ({ skip }) => {
  if (!gpu.ok) skip(gpu.reason);
  expect(await openGpu()).toBe(await openGpu());
});
