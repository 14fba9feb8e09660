import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import { mapValues, toArrays, toTensors, type NamedArrays, type NamedTensors } from "../src/engine/arrays.js";
import { compiledRunner, compileFunction, type CompileReport } from "../src/engine/compile.js";
import { eagerRunner, type StepFunction } from "../src/engine/runner.js";
import { loadRuntime } from "../src/engine/runtime.js";
import { EngineUnavailable } from "../src/engine/unavailable.js";
import { sineCosine3d } from "../src/encoder/positions.js";
import { encode, initEncoder, pool } from "../src/encoder/vit.js";
import { Random } from "../src/random.js";
import { initState, stepFunction } from "../src/trainers/loop.js";
import { sizeOf, type Shape3 } from "../src/types.js";
import { startBackendUnderTest } from "./backendUnderTest.js";
import { ENGINE_CASES, normal } from "./engineCases.js";
import { advance, encoder, KINDS, OBJECTIVES, STEPS, worstParameter, worstTerm } from "./stepFixture.js";

/** The largest difference, against the largest number of the two arrays. */
function distance(ours: ArrayLike<number>, theirs: ArrayLike<number>): number {
  const [a, b] = [Array.from(ours), Array.from(theirs)];
  const scale = Math.max(...b.map(Math.abs), 1e-30);
  return Math.max(...a.map((x, i) => Math.abs(x - b[i]))) / scale;
}

describe("compiled and eager give the same numbers", () => {
  beforeAll(async () => {
    await startBackendUnderTest("cpu"); // wasm lacks the sum over segments
  });

  test.each(ENGINE_CASES.map((c) => [c.title, c] as const))("%s", async (_, c) => {
    const eager = tf.tidy(() => c.f(toTensors(c.inputs)) as unknown as tf.TensorContainer) as unknown as NamedTensors;
    const compiled = await compileFunction(c.f, c.inputs);
    const [theirs, ours] = [await toArrays(eager), await compiled.run(c.inputs)];
    expect(mapValues(ours, ({ shape }) => shape)).toEqual(mapValues(theirs, ({ shape }) => [...shape]));
    for (const [name, { data }] of Object.entries(ours)) {
      expect(distance(data, theirs[name].data), name).toBeLessThan(1e-5);
    }
    await compiled.dispose();
  });
});

describe.each(Object.entries(OBJECTIVES))("%s over 20 steps of three kinds of samples", (_, make) => {
  beforeAll(async () => {
    await startBackendUnderTest("wasm");
  });

  const objective = make();
  const start = initState(objective, new Random(7)).arrays;
  const f = stepFunction(objective);

  test("compiled and eager agree: every term within 1e-4, every parameter within 1e-3", async () => {
    const reports: CompileReport[] = [];
    const compiled = await compiledRunner(f, start, { onCompile: (report) => reports.push(report) });
    const eager = eagerRunner(f, start);
    const ours = await advance(objective, compiled, 0, STEPS);
    const theirs = await advance(objective, eager, 0, STEPS);
    expect(worstTerm(ours, theirs)).toBeLessThan(1e-4);
    expect(theirs[STEPS - 1].loss).toBeLessThan(theirs[0].loss);
    const [mine, yours] = [await compiled.state(), await eager.state()];
    expect(Object.keys(mine)).toEqual(Object.keys(start));
    for (const [name, { shape }] of Object.entries(mine)) expect(shape, name).toEqual(start[name].shape);
    expect(worstParameter(mine, yours)).toBeLessThan(1e-3);
    expect(reports.length).toBe(KINDS.length);
    compiled.dispose();
    eager.dispose();
  });

  test("two runs with two threads give the same bits, also where one goes on from the other's state", async () => {
    const run = async (from: number, to: number, state: NamedArrays) => {
      const runner = await compiledRunner(f, state, { threads: 2 });
      const terms = await advance(objective, runner, from, to);
      const after = await runner.state();
      runner.dispose();
      return { terms, after };
    };
    const through = await run(0, 6, start);
    const half = await run(0, 3, start);
    const resumed = await run(3, 6, half.after);
    expect([...half.terms, ...resumed.terms]).toEqual(through.terms);
    expect(resumed.after).toEqual(through.after);
  });
});

test("the state that is handed in and the state that is handed out are copies", async () => {
  const step: StepFunction = ({ w }, { x }) => ({ state: { w: tf.add(w, x) }, outputs: { sum: tf.sum(w) } });
  const start = { w: { shape: [2], data: Float32Array.of(1, 2) } };
  const runner = await compiledRunner(step, start);
  const input = { bucket: "one", arrays: { x: normal("x", 2) }, grids: {} };
  const before = await runner.state();
  expect(await runner.step(input, {})).toEqual({ sum: 3 });
  await runner.step(input, {});
  expect([...start.w.data, ...before.w.data]).toEqual([1, 2, 1, 2]);
  expect((await runner.state()).w.data[0]).toBeCloseTo(1 + 2 * input.arrays.x.data[0], 5);
  runner.dispose();
});

test("a state that a step hands on as it is stays as it is, and what it leaves out is an error", async () => {
  const start = { a: { shape: [1], data: Float32Array.of(5) }, b: { shape: [1], data: Float32Array.of(7) } };
  const input = { bucket: "", arrays: {}, grids: {} };
  const same = await compiledRunner(({ a, b }) => ({ state: { a, b: tf.neg(b) }, outputs: {} }), start);
  for (let i = 0; i < 3; i++) await same.step(input, {});
  expect(mapValues(await same.state(), ({ data }) => data[0])).toEqual({ a: 5, b: -7 });
  same.dispose();
  const forgetful = await compiledRunner(({ a }) => ({ state: { a }, outputs: {} }), start);
  await expect(forgetful.step(input, {})).rejects.toThrow(/leaves out b of the state/);
});

test("a frozen encoder, compiled with its parameters as constants, embeds as the eager one does", async () => {
  const frozen = initEncoder(encoder, new Random(3));
  const grid: Shape3 = [2, 4, 4];
  const embed = ({ patches }: NamedTensors): NamedTensors => {
    const positions = tf.tensor(sineCosine3d(grid, encoder.width), [sizeOf(grid), encoder.width]);
    const tokens = encode(toTensors(frozen.params), encoder, patches, positions);
    return { cls: pool(tokens, "cls"), mean: pool(tokens, "mean") };
  };
  const patches = normal("patches", 4, sizeOf(grid), 2 * 8 * 8 * 3);
  const compiled = await compileFunction(embed, { patches });
  const eager = tf.tidy(() => embed(toTensors({ patches })) as unknown as tf.TensorContainer);
  const [ours, theirs] = [await compiled.run({ patches }), await toArrays(eager as unknown as NamedTensors)];
  for (const name of ["cls", "mean"]) expect(distance(ours[name].data, theirs[name].data)).toBeLessThan(1e-5);
  await expect(compiled.run({ patches: normal("fewer", 3, 32, 384) })).rejects.toThrow(
    "patches: compiled for float32 [4,32,384], got float32 [3,32,384]",
  );
  await compiled.dispose();
});

test("an operation that is not covered is refused by the step, and the state is as it was", async () => {
  const start = { w: { shape: [3], data: Float32Array.of(3, 1, 2) } };
  const sorting: StepFunction = ({ w }) => ({ state: { w: tf.topk(w, 3).values }, outputs: {} });
  const runner = await compiledRunner(sorting, start);
  const refused = runner.step({ bucket: "", arrays: {}, grids: {} }, {});
  await expect(refused).rejects.toThrow(EngineUnavailable);
  await expect(refused).rejects.toThrow(
    /^the compiled engine does not cover the tfjs operation TopK; .*--engine eager/,
  );
  expect([...(await runner.state()).w.data]).toEqual([3, 1, 2]);
  runner.dispose();
});

test("without ONNX Runtime there is one line that says so", async () => {
  const missing = () => Promise.reject(new EngineUnavailable("the compiled engine needs onnxruntime-node, which …"));
  const refused = compiledRunner(() => ({ state: {}, outputs: {} }), {}, { runtime: missing });
  await expect(refused).rejects.toThrow(EngineUnavailable);
  expect(typeof (await loadRuntime()).InferenceSession.create).toBe("function");
});
