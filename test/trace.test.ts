import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import { mapValues, toTensors, withPrefix, type NamedTensors } from "../src/engine/arrays.js";
import { startBackend } from "../src/engine/backend.js";
import { KERNELS, type TensorType } from "../src/engine/shapes.js";
import { trace } from "../src/engine/trace.js";
import { PRESETS, encoderConfig } from "../src/encoder/config.js";
import { stepFunction } from "../src/trainers/loop.js";
import { initMae, mae } from "../src/trainers/mae.js";
import { Random } from "../src/random.js";
import { ENGINE_CASES } from "./engineCases.js";

const float = (...shape: number[]): TensorType => ({ shape, dtype: "float32" });

beforeAll(async () => {
  await startBackend("cpu");
});

const typesOf = (c: (typeof ENGINE_CASES)[number]) =>
  mapValues(c.inputs, ({ shape, data }): TensorType => ({
    shape,
    dtype: data instanceof Int32Array ? "int32" : "float32",
  }));

describe("shapes and types are those of the computed tensors", () => {
  test.each(ENGINE_CASES.map((c) => [c.title, c] as const))("%s", (_, c) => {
    const { outputs } = trace(c.f, typesOf(c));
    tf.tidy(() => {
      const computed = c.f(toTensors(c.inputs));
      expect(mapValues(outputs, ({ shape, dtype }) => `${dtype} [${shape}]`)).toEqual(
        mapValues(computed, ({ shape, dtype }) => `${dtype} [${shape}]`),
      );
    });
  });
});

test("every kernel that the engine covers is called by one of the cases of this test", () => {
  const called = new Set(ENGINE_CASES.flatMap((c) => trace(c.f, typesOf(c)).kernels.map(({ kernel }) => kernel)));
  expect(Object.keys(KERNELS).filter((name) => !called.has(name as keyof typeof KERNELS))).toEqual([]);
});

test("every value is an input, a constant, or made by an earlier kernel", () => {
  for (const c of ENGINE_CASES) {
    const { kernels, inputs, outputs, constants } = trace(c.f, typesOf(c));
    const known = new Set([...Object.values(inputs).map(({ id }) => id), ...constants.keys()]);
    for (const kernel of kernels) {
      for (const { id } of kernel.inputs) expect(known.has(id), `${c.title}: ${kernel.kernel}`).toBe(true);
      for (const { id } of kernel.outputs) known.add(id);
    }
    for (const { id } of Object.values(outputs)) expect(known.has(id)).toBe(true);
  }
});

test("an operation that is not covered is named, and the backend of before is active again", () => {
  const sorted = ({ x }: NamedTensors) => ({ y: tf.topk(x, 2).values });
  expect(() => trace(sorted, { x: float(4) })).toThrow(/does not cover the tfjs operation TopK/);
  expect(tf.getBackend()).toBe("cpu");
  expect(tf.add(1, 2).dataSync()[0]).toBe(3);
});

test("a traced function can neither read numbers nor use a tensor from outside", () => {
  const outside = tf.tensor([1, 2]);
  expect(() => trace(({ x }) => ({ y: tf.mul(x, x.dataSync()[0]) }), { x: float(2) })).toThrow(/cannot read/);
  expect(() => trace(({ x }) => ({ y: tf.mul(x, outside) }), { x: float(2) })).toThrow(/made outside of it/);
});

test("tracing leaves no tensors behind", () => {
  trace(ENGINE_CASES[8].f, typesOf(ENGINE_CASES[8]));
  const before = tf.memory().numTensors;
  trace(ENGINE_CASES[8].f, typesOf(ENGINE_CASES[8]));
  expect(tf.memory().numTensors).toBe(before);
});

test("tracing a step of MAE with ViT-L and a batch of 64 allocates less than 16 MB", () => {
  const encoder = encoderConfig("large", [4, 16, 16]);
  const [b, n, v, p] = [64, 196, 49, 4 * 16 * 16 * 3];
  const view = {} as Parameters<typeof mae>[0]["view"]; // batches are only shapes here
  const objective = mae({ encoder, view, learningRate: 1e-4 });
  // The shapes of all blocks are those of one.
  const one = initMae({ ...encoder, depth: 1 }, { width: 512, depth: 1, heads: 16 }, new Random(1));
  const params = Object.entries(one).flatMap(([name, { shape }]) => {
    const count = !name.includes("blocks.0.") ? 1 : name.startsWith("encoder/") ? PRESETS.large.depth : 8;
    return Array.from({ length: count }, (_, i) => [name.replace("blocks.0.", `blocks.${i}.`), float(...shape)]);
  });
  const shapes = Object.fromEntries(params) as Record<string, TensorType>;
  expect(Object.values(shapes).reduce((sum, { shape }) => sum + tf.util.sizeFromShape([...shape]), 0)).toBeGreaterThan(
    3e8,
  );
  const scalars = ["learningRate", "weightDecay", "teacherMomentum", "correction1", "correction2"];
  const inputs = {
    ...["params/", "first/", "second/"].reduce((all, part) => ({ ...all, ...withPrefix(shapes, part) }), {}),
    "batch/visible": float(b, v, p),
    "batch/hidden": float(b, n - v, p),
    "batch/order": { shape: [b, n], dtype: "int32" } as TensorType,
    ...Object.fromEntries(scalars.map((name) => [`scalar/${name}`, float()])),
  };
  const step = (tensors: NamedTensors): NamedTensors => {
    const part = (prefix: string) =>
      Object.fromEntries(
        Object.entries(tensors)
          .filter(([name]) => name.startsWith(prefix))
          .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
      );
    const state = Object.fromEntries(Object.entries(tensors).filter(([name]) => /^(params|first|second)\//.test(name)));
    const result = stepFunction(objective)(state, part("batch/"), part("scalar/"), { whole: [1, 14, 14] });
    return { ...result.state, ...result.outputs };
  };
  const before = process.memoryUsage().arrayBuffers;
  const { kernels, outputs } = trace(step, inputs);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16e6);
  expect(kernels.length).toBeGreaterThan(5000);
  expect(outputs.loss.shape).toEqual([]);
});
