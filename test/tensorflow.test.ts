/** The backend `tensorflow`, where one is installed or linked; `npm run test:tensorflow` runs this with the eager tests. */
import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, test, vi } from "vitest";
import { mapValues, toArrays, toTensors, type NamedTensors } from "../src/engine/arrays.js";
import { startBackend } from "../src/engine/backend.js";
import { startEngine } from "../src/engine/engine.js";
import { readLink } from "../src/engine/tensorflow.js";
import { ENGINE_CASES } from "./engineCases.js";

beforeAll(async () => {
  vi.stubEnv("M3RET_BACKEND", "");
  expect((await startBackend()).name).toBe("tensorflow"); // first in the order, so that nobody needs to name it
});

test("the eager engine says which TensorFlow it computes on", async () => {
  const version = (tf.backend() as unknown as { binding: { TF_Version: string } }).binding.TF_Version;
  expect(version).toMatch(/^2\.\d+\.\d+/);
  expect((await startEngine("eager")).description).toMatch(`eager (tfjs tensorflow, TensorFlow ${version}`);
  expect(readLink()?.tensorflow ?? version).toBe(version);
});

test.each(ENGINE_CASES.map((c) => [c.title, c] as const))(
  "TensorFlow agrees with plain JavaScript: %s",
  async (_, c) => {
    const on = async (backend: string) => {
      await tf.setBackend(backend);
      const outputs = tf.tidy(
        () => c.f(toTensors(c.inputs)) as unknown as tf.TensorContainer,
      ) as unknown as NamedTensors;
      return toArrays(outputs);
    };
    const [ours, theirs] = [await on("tensorflow"), await on("cpu")];
    expect(mapValues(ours, ({ shape }) => shape)).toEqual(mapValues(theirs, ({ shape }) => shape));
    for (const [name, { data }] of Object.entries(theirs)) {
      const scale = Math.max(...data.map(Math.abs), 1e-30);
      const worst = Math.max(...data.map((x, i) => Math.abs(x - ours[name].data[i]))) / scale;
      expect(worst, name).toBeLessThan(1e-5);
    }
  },
);
