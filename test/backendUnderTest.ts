/** Tests of eager computing name a backend; M3RET_BACKEND puts another in its place for a whole run. */
import * as tf from "@tensorflow/tfjs";
import { expect } from "vitest";
import { BACKENDS, startBackend, type BackendName } from "../src/engine/backend.js";
import { startEngine, type Engine } from "../src/engine/engine.js";

/** Starts the backend, and fails where another one answers: nothing passes on a backend that it did not run on. */
export async function startBackendUnderTest(usual: BackendName): Promise<void> {
  const name = (process.env.M3RET_BACKEND ?? usual) as BackendName;
  expect(BACKENDS).toContain(name);
  expect((await startBackend(name)).name).toBe(name);
  expect(tf.getBackend()).toBe(name);
}

/** The default engine, or the eager one on the backend that M3RET_BACKEND names. */
export async function engineUnderTest(): Promise<Engine> {
  const backend = process.env.M3RET_BACKEND;
  if (!backend) return startEngine();
  await startBackendUnderTest(backend as BackendName);
  const engine = await startEngine("eager");
  expect(engine.description).toContain(`(tfjs ${backend}`);
  return engine;
}
