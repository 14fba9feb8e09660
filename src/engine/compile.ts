/**
 * The compiled engine: a function of tensors is traced once, becomes an ONNX graph, and is run by ONNX Runtime. The
 * same functions run eagerly; the numbers agree to rounding.
 */
import { array, mapValues, under, withPrefix } from "./arrays.js";
import type { Array32, BatchArray, NamedArrays, NamedTensors } from "./arrays.js";
import { fitToCpu, LEFT_OUT } from "./cpuGraph.js";
import type { OnnxGraph } from "./onnx.js";
import { lowerToOnnx } from "./onnxLower.js";
import { NEXT_PACK, packState, planPacks, type Pack } from "./pack.js";
import type { Runner, StepFunction, StepInput } from "./runner.js";
import {
  createSession,
  loadRuntime,
  plainReason,
  toOrt,
  type OrtSession,
  type OrtTensor,
  type Runtime,
  type SessionOptions,
} from "./runtime.js";
import type { TensorType } from "./shapes.js";
import { BATCH_INPUT, OUTPUT, pureStep, SCALAR_INPUT, stepKey, stepTypes, typeOf } from "./stepGraph.js";
import { deviceState, hostState, type StateStore } from "./stateStore.js";
import { trace } from "./trace.js";
import { EngineUnavailable } from "./unavailable.js";
import { cutUpdates, type Update } from "./updates.js";
import { fitToWebgpu } from "./webgpuGraph.js";

/** What compiling one graph took. */
export interface CompileReport {
  /** The bucket of a training step, empty for a function. */
  readonly bucket: string;
  readonly kernels: number;
  readonly nodes: number;
  readonly traceSeconds: number;
  readonly sessionSeconds: number;
}

export interface CompileOptions extends Omit<SessionOptions, "onDevice" | "leaveOut"> {
  readonly onCompile?: (report: CompileReport) => void;
  /** Where ONNX Runtime comes from. */
  readonly runtime?: () => Promise<Runtime>;
}

interface Compiled {
  readonly graph: OnnxGraph;
  readonly session: OrtSession;
}

/** A training step: what the graph leaves to kernels stands beside it. */
interface CompiledStep extends Compiled {
  readonly updates: readonly Update[];
}

const NOTHING: OrtSession = { inputNames: [], outputNames: [], run: async () => ({}), release: async () => {} };

async function compile(
  runtime: Runtime,
  bucket: string,
  f: (inputs: NamedTensors) => NamedTensors,
  inputs: Readonly<Record<string, TensorType>>,
  options: CompileOptions,
  finish: (graph: OnnxGraph) => OnnxGraph = (graph) => graph,
): Promise<Compiled> {
  const began = performance.now();
  const traced = trace(f, inputs);
  const { provider = "cpu" } = options;
  const onWebgpu = provider === "webgpu";
  const fit = onWebgpu ? fitToWebgpu : provider === "cpu" ? fitToCpu : (same: OnnxGraph) => same;
  const graph = fit(finish(lowerToOnnx(traced)));
  const lowered = performance.now();
  const onDevice = Object.keys(graph.outputs).filter((name) => onWebgpu && name.startsWith(NEXT_PACK));
  // ONNX Runtime takes no graph that computes nothing, as that of a step that hands its state on.
  const asked = { ...options, onDevice, ...(provider === "cpu" ? { leaveOut: LEFT_OUT } : {}) };
  const session = graph.nodes.length > 0 ? await createSession(runtime, graph, asked) : NOTHING;
  options.onCompile?.({
    bucket,
    kernels: traced.kernels.length,
    nodes: graph.nodes.length,
    traceSeconds: (lowered - began) / 1000,
    sessionSeconds: (performance.now() - lowered) / 1000,
  });
  return { graph, session };
}

/** @throws EngineUnavailable where the runtime gives up, as a device does that has no memory left */
async function run(
  { graph, session }: Compiled,
  bucket: string,
  given: Readonly<Record<string, OrtTensor>>,
  fetches: Readonly<Record<string, OrtTensor>>,
): Promise<Readonly<Record<string, OrtTensor>>> {
  try {
    return await session.run(
      mapValues(graph.inputs, (_, name) => given[name]),
      mapValues(graph.outputs, (_, name) => fetches[name] ?? null),
    );
  } catch (error) {
    throw new EngineUnavailable(`ONNX Runtime cannot run the graph${bucket && ` of ${bucket}`}: ${plainReason(error)}`);
  }
}

/** A function of arrays, ready to run. */
export interface CompiledFunction {
  /** Inputs have the shapes and types of the example; the outputs are the caller's to keep. */
  run(inputs: Readonly<Record<string, BatchArray>>): Promise<Record<string, Array32>>;
  dispose(): Promise<void>;
}

/**
 * Compiles a pure function of tensors for the shapes of an example; its outputs are float tensors.
 *
 * Arrays that `f` turns into tensors itself, such as the parameters of a frozen encoder, become constants, which the
 * runtime lays out for speed. Arrays that change from call to call are inputs.
 *
 * @throws EngineUnavailable where ONNX Runtime does not load
 */
export async function compileFunction(
  f: (inputs: NamedTensors) => NamedTensors,
  example: Readonly<Record<string, BatchArray>>,
  options: CompileOptions = {},
): Promise<CompiledFunction> {
  const runtime = await (options.runtime ?? loadRuntime)();
  const types = mapValues(example, typeOf);
  // An output may have the name of an input; in a graph it may not.
  const pure = (inputs: NamedTensors) => withPrefix(f(inputs), OUTPUT);
  const { graph, session } = await compile(runtime, "", pure, types, options);
  return {
    async run(inputs) {
      for (const [name, type] of Object.entries(types)) checkType(name, type, inputs[name]);
      const feeds = mapValues(graph.inputs, (_, name) => toOrt(runtime, inputs[name]));
      const results = await run({ graph, session }, "", feeds, {});
      return mapValues(under(results, OUTPUT), ({ dims, data }) => array(dims, data as Float32Array));
    },
    dispose: () => session.release(),
  };
}

export function checkType(name: string, expected: TensorType, got: BatchArray | undefined): void {
  const found = got && typeOf(got);
  if (found && found.dtype === expected.dtype && String(found.shape) === String(expected.shape)) return;
  const spelled = ({ shape, dtype }: TensorType) => `${dtype} [${shape}]`;
  throw new Error(`${name}: compiled for ${spelled(expected)}, got ${found ? spelled(found) : "nothing"}`);
}

/**
 * Runs a step function as one ONNX graph per bucket, compiled when its bucket first comes. All graphs share one state:
 * on WebGPU it stays on the device and only the batch goes there and the outputs come back; for other providers it is
 * in memory, and kernels beside the graph update it in place.
 *
 * Nothing falls back by itself. Where a bucket cannot be compiled or run, `step` rejects and the state is as it was: a
 * caller may go on from `state()` with `eagerRunner`, and should say so.
 *
 * @throws EngineUnavailable where ONNX Runtime does not load; from `step` where a graph cannot be made, is rejected, or
 * fails while it runs
 */
export async function compiledRunner(
  step: StepFunction,
  initial: NamedArrays,
  options: CompileOptions = {},
): Promise<Runner> {
  const runtime = await (options.runtime ?? loadRuntime)();
  const graphs = new Map<string, Promise<CompiledStep>>();
  /** The packs are laid out for the first graph; later graphs use them as they are. */
  let packs: readonly Pack[] | null = null;
  let store: StateStore | null = null;

  const compiled = (input: StepInput, scalars: Readonly<Record<string, number>>): Promise<CompiledStep> => {
    const key = stepKey(input, scalars);
    const known = graphs.get(key);
    if (known) return known;
    const types = stepTypes(initial, input, scalars);
    const pure = pureStep(step, initial, input.grids);
    let updates: readonly Update[] = [];
    const made = compile(runtime, input.bucket, pure, types, options, (graph) => {
      packs ??= planPacks(graph, Object.keys(initial));
      const packed = packState(graph, packs);
      if (options.provider === "webgpu") return packed;
      const cut = cutUpdates(packed);
      updates = cut.updates;
      return cut.graph;
    }).then((ready) => ({ ...ready, updates }));
    graphs.set(key, made);
    return made;
  };

  const storeOf = (packs: readonly Pack[]): StateStore =>
    options.provider === "webgpu"
      ? deviceState(runtime, initial, packs, (graph) => createSession(runtime, graph, options))
      : hostState(runtime, initial, packs);

  return {
    async step(input, scalars) {
      const ready = await compiled(input, scalars);
      store ??= storeOf(packs!);
      const batch = mapValues(input.arrays, (of) => toOrt(runtime, of));
      const numbers = mapValues(scalars, (value) => toOrt(runtime, array([], Float32Array.of(value))));
      try {
        const targets = store.targets(ready.updates);
        const given = { ...store.current(), ...withPrefix(batch, BATCH_INPUT), ...withPrefix(numbers, SCALAR_INPUT) };
        const results = await run(ready, input.bucket, given, targets);
        store.advance(results, given, ready.updates);
        return mapValues(under(results, OUTPUT), (value) => (value.data as Float32Array)[0]);
      } catch (error) {
        await store.hold();
        throw error;
      }
    },
    state: async () =>
      store?.unpacked() ?? mapValues(initial, ({ shape, data }) => array(shape, Float32Array.from(data))),
    dispose: () => {
      store?.dispose();
      for (const graph of graphs.values())
        graph.then(
          ({ session }) => session.release(),
          () => undefined,
        );
      graphs.clear();
    },
  };
}
