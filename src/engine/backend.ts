/** Which tfjs backend computes eagerly here, and why not a faster one. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { InputError } from "../types.js";

export const BACKENDS = ["tensorflow", "wasm", "cpu"] as const;
export type BackendName = (typeof BACKENDS)[number];

export interface Backend {
  readonly name: BackendName;
  /** Why each faster backend was passed over, one sentence each. */
  readonly passedOver: readonly string[];
}

/** Registers the `tensorflow` backend. Both packages are optional and native; either may be missing or fail to load. */
async function loadTensorflow(): Promise<void> {
  const reasons: string[] = [];
  for (const name of ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"]) {
    try {
      await import(name);
      return;
    } catch (error) {
      const said = (error as Error).message.split("\n")[0];
      const missing = (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
      reasons.push(missing ? `${name} is not installed` : `${name} does not load (${said})`);
    }
  }
  throw new Error(reasons.join("; "));
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

/**
 * Starts the named backend, or the fastest that loads: `tensorflow`, then `wasm`, then `cpu`. Starting again with no
 * name keeps what runs.
 *
 * @throws InputError where a named backend cannot start: a named backend is never replaced by another
 */
export async function startBackend(name?: BackendName): Promise<Backend> {
  if (started && (name === undefined || name === started.name)) return started;
  const passedOver: string[] = [];
  for (const candidate of name ? [name] : BACKENDS) {
    try {
      await start(candidate);
      started = { name: candidate, passedOver };
      return started;
    } catch (error) {
      passedOver.push(`${candidate}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  throw new InputError(`no backend starts: ${passedOver.join("; ")}`);
}
