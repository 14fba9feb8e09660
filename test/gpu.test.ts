import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBackend } from "../src/engine/backend.js";
import { compiledRunner, compileFunction } from "../src/engine/compile.js";
import { gpuFunction, gpuRunner } from "../src/engine/gpuRunner.js";
import { openGpu } from "../src/engine/gpuDevice.js";
import { Random } from "../src/random.js";
import { initState, stepFunction } from "../src/trainers/loop.js";
import { ENGINE_CASES } from "./engineCases.js";
import { advance, OBJECTIVES, worstParameter, worstTerm } from "./stepFixture.js";

beforeAll(async () => {
  await startBackend("wasm");
});
const gpu = await openGpu().then(
  () => null,
  (error: Error) => error.message,
);

describe.skipIf(gpu !== null)("a function on the GPU gives the numbers of the processor", () => {
  test.each(ENGINE_CASES.map((one) => [one.title, one] as const))("%s", async (_, { f, inputs }) => {
    const cpu = await compileFunction(f, inputs);
    const theirs = await cpu.run(inputs);
    await cpu.dispose();
    const made = await gpuFunction(f, inputs);
    const ours = await made.run(inputs);
    await made.dispose();
    for (const [name, { data, shape }] of Object.entries(theirs)) {
      expect(ours[name].shape, name).toEqual(shape);
      data.forEach((x, i) => expect(Math.abs(ours[name].data[i] - x), `${name}[${i}] ${x}`).toBeLessThan(2e-4 * (1 + Math.abs(x))));
    }
  });
});

describe.skipIf(gpu !== null).each(Object.entries(OBJECTIVES))("%s", (_, make) => {
  test("20 steps", { timeout: 600_000 }, async () => {
    const objective = make();
    const initial = initState(objective, new Random(7)).arrays;
    const f = stepFunction(objective);
    const cpu = await compiledRunner(f, initial);
    const ours = await gpuRunner(f, initial, { onCompile: (r) => console.log(r) });
    const b = await advance(objective, ours, 0, 20);
    const a = await advance(objective, cpu, 0, 20);
    console.log(worstTerm(b, a), worstParameter(await ours.state(), await cpu.state()));
    expect(worstTerm(b, a)).toBeLessThan(1e-4);
    expect(worstParameter(await ours.state(), await cpu.state())).toBeLessThan(1e-3);
  });
});
