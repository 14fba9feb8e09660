/** Training steps and functions on a GPU, by kernels of our own: a step is one list of kernels, and a state stays there. */
import { array, mapValues, under, withPrefix, type BatchArray, type NamedArrays, type NamedTensors } from "./arrays.js";
import { checkType, type CompiledFunction, type CompileReport } from "./compile.js";
import { newBuffer, Program, readBuffer, type DeviceState, type Precision, type ProgramOptions } from "./gpuProgram.js";
import { openGpu, type Gpu } from "./gpuDevice.js";
import { lowerToOnnx } from "./onnxLower.js";
import { packForGpu, planGpuPacks } from "./gpuState.js";
import type { Pack } from "./pack.js";
import type { Runner, StepFunction } from "./runner.js";
import { flatten, unflatten } from "./stateStore.js";
import { BATCH_INPUT, OUTPUT, pureStep, SCALAR_INPUT, stepKey, stepTypes, typeOf } from "./stepGraph.js";
import { trace } from "./trace.js";
import { EngineUnavailable } from "./unavailable.js";
import { InputError } from "../types.js";

export interface GpuOptions extends ProgramOptions {
  readonly onCompile?: (report: CompileReport) => void;
  /** Is given every program that is made. */
  readonly onProgram?: (program: Program) => void;
}

/**
 * `M3RET_GPU_PRECISION`: `f32`, the default, or `f16`, with which products of matrices take their operands in 16-bit
 * floats, as precise as TF32, and sum in 32 bits.
 *
 * @throws InputError where it is something else
 */
export function precisionAsked(): Precision {
  const asked = process.env.M3RET_GPU_PRECISION ?? "f32";
  if (asked !== "f32" && asked !== "f16")
    throw new InputError(`M3RET_GPU_PRECISION: expected f32 or f16, got "${asked}"`);
  return asked;
}

/**
 * What a loss is multiplied by where gradients go through 16-bit floats, whose smallest number is 6e-8 (Micikevicius et
 * al., arXiv 1710.03740, §3.2): gradients of a mean over 7 million pixels begin at 1e-7, and those of a batch's few
 * hundred embeddings stay below 10.
 */
const LOSS_SCALE = 4096;

/** @throws EngineUnavailable in the words of whoever gave up */
async function orUnavailable<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof EngineUnavailable) throw error;
    throw new EngineUnavailable(
      `dawn cannot run ${what}: ${(error as Error).message.split("\n")[0]}`,
      "--engine compiled runs the same graphs on the processor",
    );
  }
}

/**
 * A pure function of tensors on the GPU; see `compileFunction`.
 *
 * @throws EngineUnavailable where there is no GPU, or an operation is not covered
 */
export async function gpuFunction(
  f: (inputs: NamedTensors) => NamedTensors,
  example: Readonly<Record<string, BatchArray>>,
  { onProgram, ...how }: GpuOptions = {},
): Promise<CompiledFunction> {
  const gpu = await openGpu();
  const types = mapValues(example, typeOf);
  const program = await orUnavailable("the function", async () => {
    const graph = lowerToOnnx(trace((inputs) => withPrefix(f(inputs), OUTPUT), types));
    return { made: await Program.create(gpu, graph, how), shapes: mapValues(graph.outputs, ({ shape }) => shape) };
  });
  onProgram?.(program.made);
  return {
    async run(inputs) {
      for (const [name, type] of Object.entries(types)) checkType(name, type, inputs[name]);
      const numbers = mapValues(inputs, ({ data }) => data[0]);
      const results = await orUnavailable("the function", () => program.made.run(inputs, numbers));
      return under(
        mapValues(results, (data, name) => array(program.shapes[name], data)),
        OUTPUT,
      );
    },
    dispose: async () => program.made.dispose(),
  };
}

function newState(gpu: Gpu, initial: NamedArrays, packs: readonly Pack[]): DeviceState {
  const flats = packs.map((pack) => flatten(initial, pack));
  const buffers = () => flats.map(({ length }) => newBuffer(gpu, length));
  const [now, next] = [buffers(), buffers()];
  flats.forEach((flat, i) => gpu.device.queue.writeBuffer(now[i], 0, flat));
  return { buffers: [now, next], turn: 0 };
}

/**
 * Runs a step function on the GPU: one program per bucket, all over one state that stays on the device; only the batch
 * goes there and the outputs come back. A step that fails leaves the state as it was.
 *
 * @throws EngineUnavailable where there is no GPU; from `step` where a graph cannot be made or fails
 */
export async function gpuRunner(
  step: StepFunction,
  initial: NamedArrays,
  { onCompile, onProgram, ...how }: GpuOptions = {},
): Promise<Runner> {
  const gpu = await openGpu();
  const programs = new Map<string, Promise<Program>>();
  let packs: readonly Pack[] | null = null;
  let state: DeviceState | null = null;

  const programFor: (...args: Parameters<Runner["step"]>) => Promise<Program> = (input, scalars) => {
    const key = stepKey(input, scalars);
    const known = programs.get(key);
    if (known) return known;
    const made = orUnavailable(`the graph of ${input.bucket}`, async () => {
      const began = performance.now();
      const traced = trace(pureStep(step, initial, input.grids), stepTypes(initial, input, scalars));
      const lowered = lowerToOnnx(traced);
      packs ??= planGpuPacks(lowered, Object.keys(initial));
      const graph = packForGpu(lowered, packs);
      const between = performance.now();
      state ??= newState(gpu, initial, packs);
      const program = await Program.create(gpu, graph, how, state);
      onCompile?.({
        bucket: input.bucket,
        kernels: traced.kernels.length,
        nodes: program.kernels.length,
        traceSeconds: (between - began) / 1000,
        sessionSeconds: (performance.now() - between) / 1000,
      });
      onProgram?.(program);
      return program;
    });
    programs.set(key, made);
    return made;
  };

  return {
    async step(input, given) {
      const scalars = how.precision === "f16" ? { ...given, lossScale: LOSS_SCALE } : given;
      const program = await programFor(input, scalars);
      const results = await orUnavailable(`a step of ${input.bucket}`, () =>
        program.run(withPrefix(input.arrays, BATCH_INPUT), withPrefix(scalars, SCALAR_INPUT), state!.turn),
      );
      state!.turn = state!.turn === 0 ? 1 : 0;
      return mapValues(under(results, OUTPUT), ([value]) => value);
    },
    async state() {
      if (!state || !packs) return mapValues(initial, ({ shape, data }) => array(shape, Float32Array.from(data)));
      const { buffers, turn } = state;
      const flats: Float32Array[] = [];
      for (const [i, pack] of packs.entries()) {
        const size = pack.reduce((sum, name) => sum + initial[name].data.length, 0);
        flats.push(await readBuffer(gpu, buffers[turn][i], size));
      }
      return unflatten(initial, packs, flats);
    },
    dispose() {
      for (const program of programs.values()) {
        program.then(
          (made) => made.dispose(),
          () => undefined,
        );
      }
      programs.clear();
      for (const buffer of state?.buffers.flat() ?? []) buffer.destroy();
      state = null;
    },
  };
}
