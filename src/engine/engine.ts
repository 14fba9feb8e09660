/** One way to compute for whoever trains or embeds: compiled where ONNX Runtime loads, otherwise eager, saying why. */
import * as tf from "@tensorflow/tfjs";
import { toArrays, toTensors, type BatchArray, type NamedArrays, type NamedTensors } from "./arrays.js";
import { startBackend } from "./backend.js";
import { compiledRunner, compileFunction, type CompiledFunction } from "./compile.js";
import { forgiving } from "./forgiving.js";
import { probeProvider } from "./providers.js";
import { openGpu } from "./gpuDevice.js";
import { probeDawn } from "./gpuProbe.js";
import { gpuFunction, gpuRunner, precisionAsked } from "./gpuRunner.js";
import { eagerRunner, type Runner, type StepFunction } from "./runner.js";
import { computeThreads, loadRuntime, type Provider } from "./runtime.js";
import { EngineUnavailable } from "./unavailable.js";

/** Engines that run compiled graphs, and what ONNX Runtime calls the device. */
export const COMPILED = {
  compiled: "cpu",
  webgpu: "webgpu",
  cuda: "cuda",
  coreml: "coreml",
  directml: "dml",
} as const satisfies Record<string, Provider>;
export type CompiledName = keyof typeof COMPILED;

/**
 * `compiled`: traced once, run by ONNX Runtime on the processor; `webgpu`, `cuda`, `coreml`, `directml`: the same on a
 * device; `dawn`: the same graphs by GPU kernels of our own. `eager`: operation by operation on tfjs, for looking inside.
 */
export type EngineName = CompiledName | "dawn" | "eager";
export const ENGINES = [
  ...(Object.keys(COMPILED) as CompiledName[]),
  "dawn",
  "eager",
] as const satisfies readonly EngineName[];

export interface Engine {
  /** What runs now; a default engine may come to say `eager`. */
  readonly name: EngineName;
  /** For logs and results: "compiled (onnxruntime 1.30.0, cpu, 2 threads)" or "eager (tfjs wasm)". */
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

const ON_PROCESSOR = "--engine compiled runs the same graphs on the processor";

async function compiledEngine(name: CompiledName): Promise<Engine> {
  const { env } = await loadRuntime();
  const provider = COMPILED[name];
  if (provider !== "cpu") {
    const probe = await probeProvider(provider);
    if (!probe.ok) throw new EngineUnavailable(`engine ${name}: ${probe.reason}`, ON_PROCESSOR);
  }
  const threads = provider === "cpu" ? `, cpu, ${computeThreads()} thread${computeThreads() === 1 ? "" : "s"}` : "";
  return {
    name,
    description: `${name} (onnxruntime ${env.versions.node}${threads})`,
    notes: [],
    runner: (step, initial) => compiledRunner(step, initial, { provider }),
    prepare: (f, example) => compileFunction(f, example, { provider }),
  };
}

async function dawnEngine(): Promise<Engine> {
  const precision = precisionAsked();
  const probe = await probeDawn();
  if (!probe.ok) throw new EngineUnavailable(`engine dawn: ${probe.reason}`, ON_PROCESSOR);
  const gpu = await openGpu();
  if (precision === "f16" && !gpu.traits.f16) {
    const reason = `engine dawn: ${gpu.name} has no products of 16-bit matrices, which M3RET_GPU_PRECISION=f16 asks for`;
    throw new EngineUnavailable(reason, "without it, products are in 32 bits");
  }
  return {
    name: "dawn",
    description: `dawn (${gpu.name}, products in ${precision === "f16" ? "16 bits, summed in 32" : "32 bits"})`,
    notes: [],
    runner: (step, initial) => gpuRunner(step, initial, { precision }),
    prepare: (f, example) => gpuFunction(f, example, { precision }),
  };
}

async function eagerEngine(notes: readonly string[]): Promise<Engine> {
  const backend = await startBackend();
  return {
    name: "eager",
    description: `eager (tfjs ${backend.description})`,
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

/** Is told what `notes` comes to say after the start, when it comes to say it. */
export type OnNote = (note: string) => void;

/**
 * The named engine. Without a name, the compiled one where it can run and the eager one where it can not; where a graph
 * turns out to be rejected on the way, the default engine goes on eagerly from the state as it is, and `name`,
 * `description` and `notes` say so from then on.
 *
 * @throws EngineUnavailable where a named engine cannot run: it is not replaced in silence
 */
export async function startEngine(name?: EngineName, onNote: OnNote = () => {}): Promise<Engine> {
  if (name === "eager") return eagerEngine([]);
  if (name === "dawn") return dawnEngine();
  if (name !== undefined) return compiledEngine(name);
  try {
    return forgiving(await compiledEngine("compiled"), eagerEngine, onNote);
  } catch (error) {
    if (!(error instanceof EngineUnavailable)) throw error;
    return eagerEngine([error.message]);
  }
}
