/** Which tfjs backend computes eagerly here, and why not a faster one. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { InputError } from "../types.js";
import { loadTensorflow, tensorflowVersion } from "./tensorflow.js";

export const BACKENDS = ["tensorflow", "wasm", "cpu"] as const;
export type BackendName = (typeof BACKENDS)[number];

export interface Backend {
  readonly name: BackendName;
  /** For logs and results: "wasm", or "tensorflow, TensorFlow 2.21.0". */
  readonly description: string;
  /** Why each faster backend was passed over, one sentence each. */
  readonly passedOver: readonly string[];
}

async function start(name: BackendName): Promise<void> {
  if (name === "tensorflow") await loadTensorflow();
  if (name === "wasm") {
    const home = dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm"));
    setWasmPaths(join(home, "/"));
  }
  // The CPU backend greets Node users with a banner on its first use; it would spoil --json and notebooks.
  tf.env().set("PROD", true);
  if (!(await tf.setBackend(name))) throw new Error(`the ${name} backend did not start`);
  await tf.ready();
}

let started: Backend | null = null;

/** The backend that the variable M3RET_BACKEND names, if it is set. */
function askedFor(): BackendName | undefined {
  const name = process.env.M3RET_BACKEND;
  if (!name) return undefined;
  if ((BACKENDS as readonly string[]).includes(name)) return name as BackendName;
  throw new InputError(`M3RET_BACKEND: expected one of ${BACKENDS.join(", ")}, got ${name}`);
}

/**
 * Starts the named backend, the one that the variable M3RET_BACKEND names, or the fastest that loads: `tensorflow`,
 * then `wasm`, then `cpu`. Starting again with no name keeps what runs.
 *
 * @throws InputError where a named backend cannot start: a named backend is never replaced by another
 */
export async function startBackend(name?: BackendName): Promise<Backend> {
  if (started && (name === undefined || name === started.name)) return started;
  const wanted = name ?? askedFor();
  const passedOver: string[] = [];
  for (const candidate of wanted ? [wanted] : BACKENDS) {
    try {
      await start(candidate);
      const description = candidate === "tensorflow" ? `${candidate}, ${tensorflowVersion()}` : candidate;
      started = { name: candidate, description, passedOver };
      return started;
    } catch (error) {
      passedOver.push(`${candidate}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  throw new InputError(`no backend starts: ${passedOver.join("; ")}`);
}
