/** ONNX Runtime, which is optional: where it does not load, training and embedding run eagerly. */
import { availableParallelism } from "node:os";
import type * as Ort from "onnxruntime-node";
import type { BatchArray } from "./arrays.js";
import { serialiseOnnx, type OnnxGraph } from "./onnx.js";
import { EngineUnavailable } from "./unavailable.js";

export type Runtime = typeof Ort;

/** @throws EngineUnavailable where onnxruntime-node is not installed, or its binary does not load */
export async function loadRuntime(): Promise<Runtime> {
  try {
    const module = await import("onnxruntime-node");
    return (module as unknown as { default?: Runtime }).default ?? module;
  } catch (error) {
    const said = (error as Error).message.split("\n")[0];
    const missing = (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    throw new EngineUnavailable(
      `the compiled engine needs onnxruntime-node, which ${missing ? "is not installed" : `does not load (${said})`}`,
    );
  }
}

/**
 * Threads that wait for their part of the next node sleep after 50 µs. ONNX Runtime lets them spin for much longer,
 * which on a machine that does anything else keeps the other half of the work from its core: SimDINO nano beside two
 * busy processes took 1.1 s a step, and 0.5 s so.
 */
const SPINNING = { allow_spinning: "1", spin_duration_us: "50" } as const;

export interface SessionOptions {
  /** Threads that share one operation; all cores by default. The same number gives the same bits. */
  readonly threads?: number;
  /** Path prefix of a Chrome trace of every node that runs; written when the session is released. */
  readonly profile?: string;
}

/** @throws EngineUnavailable where the runtime rejects the graph, with its reason */
export async function createSession(
  runtime: Runtime,
  graph: OnnxGraph,
  { threads = availableParallelism(), profile }: SessionOptions,
): Promise<Ort.InferenceSession> {
  try {
    return await runtime.InferenceSession.create(serialiseOnnx(graph), {
      executionProviders: ["cpu"],
      intraOpNumThreads: threads,
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
      extra: { session: { intra_op: SPINNING } },
      ...(profile ? { enableProfiling: true, profileFilePrefix: profile } : {}),
    });
  } catch (error) {
    throw new EngineUnavailable(`ONNX Runtime rejects the graph: ${(error as Error).message.split("\n")[0]}`);
  }
}

/** A tensor over the array's own memory. */
export function toOrt(runtime: Runtime, { shape, data }: BatchArray): Ort.Tensor {
  if (data instanceof Int32Array) return new runtime.Tensor("int32", data, [...shape]);
  return new runtime.Tensor("float32", data, [...shape]);
}
