/**
 * The compiled engine: a function of tensors is traced once, becomes an ONNX graph, and is run by ONNX Runtime. The
 * same functions run eagerly; the numbers agree to rounding.
 */
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { array, mapValues, under, withPrefix } from "./arrays.js";
import type { Array32, BatchArray, NamedArrays, NamedTensors } from "./arrays.js";
import type { OnnxGraph } from "./onnx.js";
import { lowerToOnnx } from "./onnxLower.js";
import { NEXT, NEXT_PACK, PACK, packState, planPacks, STATE, type Pack } from "./pack.js";
import type { Runner, StepFunction, StepInput } from "./runner.js";
import { createSession, loadRuntime, toOrt, type Runtime, type SessionOptions } from "./runtime.js";
import type { TensorType } from "./shapes.js";
import { trace } from "./trace.js";

/** What compiling one graph took. */
export interface CompileReport {
  /** The bucket of a training step, empty for a function. */
  readonly bucket: string;
  readonly kernels: number;
  readonly nodes: number;
  readonly traceSeconds: number;
  readonly sessionSeconds: number;
}

export interface CompileOptions extends SessionOptions {
  readonly onCompile?: (report: CompileReport) => void;
  /** Where ONNX Runtime comes from. */
  readonly runtime?: () => Promise<Runtime>;
}

const SCALAR: TensorType = { shape: [], dtype: "float32" };

function typeOf({ shape, data }: BatchArray): TensorType {
  return { shape, dtype: data instanceof Int32Array ? "int32" : "float32" };
}

interface Compiled {
  readonly graph: OnnxGraph;
  readonly session: InferenceSession;
}

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
  const graph = finish(lowerToOnnx(traced));
  const lowered = performance.now();
  const session = await createSession(runtime, graph, options);
  options.onCompile?.({
    bucket,
    kernels: traced.kernels.length,
    nodes: graph.nodes.length,
    traceSeconds: (lowered - began) / 1000,
    sessionSeconds: (performance.now() - lowered) / 1000,
  });
  return { graph, session };
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
  const pure = (inputs: NamedTensors) => withPrefix(f(inputs), "output/");
  const { graph, session } = await compile(runtime, "", pure, types, options);
  return {
    async run(inputs) {
      for (const [name, type] of Object.entries(types)) checkType(name, type, inputs[name]);
      const feeds = mapValues(graph.inputs, (_, name) => toOrt(runtime, inputs[name]));
      const results = await session.run(feeds);
      return mapValues(under(results, "output/"), ({ dims, data }) => array(dims, data as Float32Array));
    },
    dispose: () => session.release(),
  };
}

function checkType(name: string, expected: TensorType, got: BatchArray | undefined): void {
  const found = got && typeOf(got);
  if (found && found.dtype === expected.dtype && String(found.shape) === String(expected.shape)) return;
  const spelled = ({ shape, dtype }: TensorType) => `${dtype} [${shape}]`;
  throw new Error(`${name}: compiled for ${spelled(expected)}, got ${found ? spelled(found) : "nothing"}`);
}

/**
 * Runs a step function as one ONNX graph per bucket, compiled when its bucket first comes. All graphs share one state,
 * which is kept twice: a step reads one copy and writes the other, so nothing is allocated from step to step.
 *
 * Nothing falls back by itself. Where a bucket cannot be compiled, `step` rejects and the state is as it was: a caller
 * may go on from `state()` with `eagerRunner`, and should say so.
 *
 * @throws EngineUnavailable where ONNX Runtime does not load; from `step` where a graph cannot be made or is rejected
 */
export async function compiledRunner(
  step: StepFunction,
  initial: NamedArrays,
  options: CompileOptions = {},
): Promise<Runner> {
  const runtime = await (options.runtime ?? loadRuntime)();
  const graphs = new Map<string, Promise<Compiled>>();
  /** The packs that hold the state, laid out for the first graph; later graphs use them as they are. */
  let state: PackedState | null = null;

  const compiled = (input: StepInput, scalars: Readonly<Record<string, number>>): Promise<Compiled> => {
    const shapes = Object.entries(input.arrays).map(([name, { shape }]) => `${name} [${shape}]`);
    const key = JSON.stringify([input.bucket, shapes, input.grids, Object.keys(scalars)]);
    const known = graphs.get(key);
    if (known) return known;
    const types = {
      ...withPrefix(
        mapValues(initial, ({ shape }): TensorType => ({ shape, dtype: "float32" })),
        STATE,
      ),
      ...withPrefix(mapValues(input.arrays, typeOf), "batch/"),
      ...withPrefix(
        mapValues(scalars, () => SCALAR),
        "scalar/",
      ),
    };
    const pure = (tensors: NamedTensors): NamedTensors => {
      const result = step(under(tensors, STATE), under(tensors, "batch/"), under(tensors, "scalar/"), input.grids);
      const lost = Object.keys(initial).filter((name) => !(name in result.state));
      if (lost.length > 0) throw new Error(`the step leaves out ${lost.join(", ")} of the state`);
      return { ...withPrefix(result.state, NEXT), ...withPrefix(result.outputs, "output/") };
    };
    const made = compile(runtime, input.bucket, pure, types, options, (graph) => {
      state ??= new PackedState(runtime, initial, planPacks(graph, Object.keys(initial)));
      return packState(graph, state.packs);
    });
    graphs.set(key, made);
    return made;
  };

  return {
    async step(input, scalars) {
      const { graph, session } = await compiled(input, scalars);
      const given: Record<string, Tensor> = {
        ...state!.current,
        ...withPrefix(
          mapValues(input.arrays, (of) => toOrt(runtime, of)),
          "batch/",
        ),
        ...withPrefix(
          mapValues(scalars, (value) => toOrt(runtime, array([], Float32Array.of(value)))),
          "scalar/",
        ),
      };
      const feeds = mapValues(graph.inputs, (_, name) => given[name]);
      const results = await session.run(
        feeds,
        mapValues(graph.outputs, (_, name) => state!.spare[name] ?? null),
      );
      state!.swap();
      return mapValues(under(results, "output/"), (value) => (value.data as Float32Array)[0]);
    },
    state: async () =>
      state?.unpacked() ?? mapValues(initial, ({ shape, data }) => array(shape, Float32Array.from(data))),
    dispose: () => {
      for (const graph of graphs.values())
        graph.then(
          ({ session }) => session.release(),
          () => undefined,
        );
      graphs.clear();
    },
  };
}

/** The state in packs, twice: `current` by the names of a graph's inputs, `spare` by those of its outputs. */
class PackedState {
  #now: Float32Array[];
  #next: Float32Array[];

  constructor(
    readonly runtime: Runtime,
    readonly initial: NamedArrays,
    readonly packs: readonly Pack[],
  ) {
    this.#now = packs.map((pack) => {
      const flat = new Float32Array(pack.reduce((sum, name) => sum + initial[name].data.length, 0));
      let at = 0;
      for (const name of pack) {
        flat.set(initial[name].data, at);
        at += initial[name].data.length;
      }
      return flat;
    });
    this.#next = this.#now.map((flat) => new Float32Array(flat.length));
  }

  #tensors(prefix: string, flats: readonly Float32Array[]): Record<string, Tensor> {
    return Object.fromEntries(
      flats.map((flat, i) => [`${prefix}${i}`, toOrt(this.runtime, array([flat.length], flat))]),
    );
  }

  get current(): Record<string, Tensor> {
    return this.#tensors(PACK, this.#now);
  }

  get spare(): Record<string, Tensor> {
    return this.#tensors(NEXT_PACK, this.#next);
  }

  swap(): void {
    [this.#now, this.#next] = [this.#next, this.#now];
  }

  /** Copies, in the order and the shapes of the initial state. */
  unpacked(): Record<string, Array32> {
    const found = new Map<string, Float32Array>();
    this.packs.forEach((pack, i) => {
      let at = 0;
      for (const name of pack) {
        const size = this.initial[name].data.length;
        found.set(name, this.#now[i].slice(at, at + size));
        at += size;
      }
    });
    return mapValues(this.initial, ({ shape }, name) => array(shape, found.get(name)));
  }
}
