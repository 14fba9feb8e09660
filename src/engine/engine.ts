/** One way to compute for whoever trains or embeds: compiled where ONNX Runtime loads, otherwise eager, saying why. */
import { availableParallelism } from "node:os";
import * as tf from "@tensorflow/tfjs";
import { toArrays, toTensors, type BatchArray, type NamedArrays, type NamedTensors } from "./arrays.js";
import { startBackend } from "./backend.js";
import { compiledRunner, compileFunction, type CompiledFunction } from "./compile.js";
import { eagerRunner, type Runner, type StepFunction } from "./runner.js";
import { loadRuntime } from "./runtime.js";
import { EngineUnavailable } from "./unavailable.js";

export const ENGINES = ["compiled", "eager"] as const;
/** `compiled`: traced once, run by ONNX Runtime. `eager`: operation by operation on tfjs, for looking inside. */
export type EngineName = (typeof ENGINES)[number];

export interface Engine {
  readonly name: EngineName;
  /** For logs and results: "compiled (onnxruntime, cpu, 2 threads)" or "eager (tfjs wasm)". */
  readonly description: string;
  /** What was passed over on the way here, and why, one sentence each; empty where nothing was. */
  readonly notes: readonly string[];
  /** Runs a step function over a state that starts as `initial`. */
  runner(step: StepFunction, initial: NamedArrays): Promise<Runner>;
  /** A pure function of tensors, for inputs of the example's shapes; its outputs are float arrays. */
  prepare(
    f: (inputs: NamedTensors) => NamedTensors,
    example: Readonly<Record<string, BatchArray>>,
  ): Promise<CompiledFunction>;
}

async function compiledEngine(): Promise<Engine> {
  await loadRuntime();
  return {
    name: "compiled",
    description: `compiled (onnxruntime, cpu, ${availableParallelism()} threads)`,
    notes: [],
    runner: (step, initial) => compiledRunner(step, initial),
    prepare: (f, example) => compileFunction(f, example),
  };
}

async function eagerEngine(notes: readonly string[]): Promise<Engine> {
  const backend = await startBackend();
  return {
    name: "eager",
    description: `eager (tfjs ${backend.name})`,
    notes: [...notes, ...backend.passedOver],
    runner: async (step, initial) => eagerRunner(step, initial),
    prepare: async (f) => ({
      async run(inputs) {
        const outputs = tf.tidy(() => f(toTensors(inputs)) as unknown as tf.TensorContainer) as unknown as NamedTensors;
        const arrays = await toArrays(outputs);
        tf.dispose(Object.values(outputs));
        return arrays;
      },
      dispose: async () => {},
    }),
  };
}

/**
 * The named engine, or the compiled one where it can run and the eager one where it can not; `notes` then says why.
 *
 * @throws EngineUnavailable where the compiled engine was asked for by name and cannot run: it is not replaced in silence
 */
export async function startEngine(name?: EngineName): Promise<Engine> {
  if (name === "eager") return eagerEngine([]);
  try {
    return await compiledEngine();
  } catch (error) {
    if (name === "compiled" || !(error instanceof EngineUnavailable)) throw error;
    return eagerEngine([error.message]);
  }
}
