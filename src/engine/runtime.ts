/** ONNX Runtime, which is optional: where it does not load, training and embedding run eagerly. */
import { availableParallelism } from "node:os";
import { InputError } from "../types.js";
import type { BatchArray } from "./arrays.js";
import { serialiseOnnx, type OnnxGraph } from "./onnx.js";
import { EngineUnavailable } from "./unavailable.js";

/**
 * What we use of onnxruntime-node, spelled out: its own declarations are missing where it is. A test holds this against
 * the real ones.
 */
export interface OrtTensor {
  readonly dims: readonly number[];
  /** Throws where the tensor is on a device. */
  readonly data: unknown;
  /** `cpu`, or `gpu-buffer` where WebGPU keeps it. */
  readonly location: string;
  dispose(): void;
}

export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** A fetch that is a tensor is written in place; one that is null is made. */
  run(
    feeds: Readonly<Record<string, OrtTensor>>,
    fetches: Readonly<Record<string, OrtTensor | null>>,
  ): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

export interface Runtime {
  readonly env: { readonly versions: { readonly node?: string } };
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<OrtSession>;
    create(path: string, options: object): Promise<OrtSession>;
  };
  readonly Tensor: new (
    type: "float32" | "int32",
    data: Float32Array | Int32Array,
    dims: readonly number[],
  ) => OrtTensor;
  /** Providers that the binding can name. One that is not bundled needs libraries beside it. */
  listSupportedBackends(): readonly { readonly name: string; readonly bundled: boolean }[];
}

/** Not a literal, so that the compiler does not ask for its declarations. */
export const RUNTIME_PACKAGE: string = "onnxruntime-node";

/** @throws EngineUnavailable where onnxruntime-node is not installed, or its binary does not load */
export async function loadRuntime(): Promise<Runtime> {
  try {
    const module = (await import(RUNTIME_PACKAGE)) as Runtime & { default?: Runtime };
    return module.default ?? module;
  } catch (error) {
    const said = (error as Error).message.split("\n")[0];
    const missing = (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    throw new EngineUnavailable(
      `the compiled engine needs onnxruntime-node, which ${missing ? "is not installed" : `does not load (${said})`}`,
    );
  }
}

/** ONNX Runtime's names of what can compute a graph. */
export type Provider = "cpu" | "webgpu" | "cuda" | "coreml" | "dml";

/**
 * Threads that wait for their part of the next node sleep after 50 µs. ONNX Runtime lets them spin for much longer,
 * which on a machine that does anything else keeps the other half of the work from its core: SimDINO nano beside two
 * busy processes took 1.1 s a step, and 0.5 s so.
 */
const SPINNING = { allow_spinning: "1", spin_duration_us: "50" } as const;

/**
 * Threads that share one operation: all cores, unless M3RET_THREADS says otherwise, so that several runs can share a
 * machine without waiting for each other.
 *
 * @throws InputError where M3RET_THREADS is not a whole number from 1 on
 */
export function computeThreads(): number {
  const wanted = process.env.M3RET_THREADS;
  if (wanted === undefined || wanted === "") return availableParallelism();
  if (!/^[1-9]\d{0,3}$/.test(wanted)) {
    throw new InputError(`M3RET_THREADS: expected a whole number from 1 on, got "${wanted}"`);
  }
  return Number(wanted);
}

export interface SessionOptions {
  /** What computes; nodes that it has no kernel for are computed by the processor. */
  readonly provider?: Provider;
  /** Threads that share one operation: `computeThreads` by default. The same number gives the same bits. */
  readonly threads?: number;
  /** Path prefix of a Chrome trace of every node that runs; written when the session is released. */
  readonly profile?: string;
  /** Outputs that stay on the device, all others come back. WebGPU can do this, no other provider of the binding. */
  readonly onDevice?: readonly string[];
  /** What ONNX Runtime may not do to the graph: names of its optimisers (`LEFT_OUT` of a graph that is fitted to the CPU). */
  readonly leaveOut?: string;
}

/** The options of a session as ONNX Runtime spells them. */
export function sessionOptions({
  provider = "cpu",
  threads = computeThreads(),
  profile,
  onDevice = [],
  leaveOut,
}: SessionOptions): Record<string, unknown> {
  return {
    executionProviders: [{ name: provider }],
    intraOpNumThreads: threads,
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    extra: {
      session: { intra_op: SPINNING },
      ...(leaveOut ? { optimization: { disable_specified_optimizers: leaveOut } } : {}),
    },
    ...(provider === "dml" ? { enableMemPattern: false, executionMode: "sequential" } : {}), // as DirectML demands
    ...(profile ? { enableProfiling: true, profileFilePrefix: profile } : {}),
    // Outputs that are not named come back: to ask for all of them on the GPU and read one there ends the process.
    ...(onDevice.length > 0
      ? { preferredOutputLocation: Object.fromEntries(onDevice.map((name) => [name, "gpu-buffer"])) }
      : {}),
  };
}

/** @throws EngineUnavailable where the runtime rejects the graph, with its reason */
export async function createSession(runtime: Runtime, graph: OnnxGraph, options: SessionOptions): Promise<OrtSession> {
  try {
    return await runtime.InferenceSession.create(serialiseOnnx(graph), sessionOptions(options));
  } catch (error) {
    throw new EngineUnavailable(`ONNX Runtime rejects the graph: ${plainReason(error)}`);
  }
}

/** The first line of what ONNX Runtime says, without the place in its source: `a.cc:136 f() x == y was false. Why` is `Why`. */
export function plainReason(error: unknown): string {
  const [line] = (error as Error).message.split("\n");
  return line.replace(/^\S*\.(cc|cpp|h):\d+ .* was false\. /, "").trim();
}

/** A tensor over the array's own memory. */
export function toOrt(runtime: Runtime, { shape, data }: BatchArray): OrtTensor {
  return new runtime.Tensor(data instanceof Int32Array ? "int32" : "float32", data, [...shape]);
}
