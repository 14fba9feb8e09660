/**
 * Tracing: a function of tensors becomes the list of tfjs kernels that it calls. The function runs once on a backend
 * that knows shapes and computes nothing, so tracing a large model costs no memory and its gradient tape works as ever.
 */
import * as tf from "@tensorflow/tfjs";
import { sizeOf } from "../types.js";
import { mapValues, type NamedTensors } from "./arrays.js";
import {
  KERNELS,
  reducedAxes,
  TRACE_BACKEND,
  type Attributes,
  type Dtype,
  type KernelName,
  type KernelShape,
  type TensorType,
} from "./shapes.js";
import { EngineUnavailable } from "./unavailable.js";

/** One tensor of a traced function. */
export interface Value extends TensorType {
  readonly id: number;
}

/** One call of a tfjs kernel. */
export interface TracedKernel {
  readonly kernel: KernelName;
  readonly inputs: readonly Value[];
  readonly attributes: Attributes;
  readonly outputs: readonly Value[];
}

export type Numbers = Float32Array | Int32Array | Uint8Array;

/** What a function does, kernel after kernel: every value is an input, a constant, or the output of an earlier kernel. */
export interface Trace {
  readonly kernels: readonly TracedKernel[];
  readonly inputs: Readonly<Record<string, Value>>;
  readonly outputs: Readonly<Record<string, Value>>;
  /** Numbers of the constants by the id of their value: whatever the function made from arrays and plain numbers. */
  readonly constants: ReadonlyMap<number, Numbers>;
}

/** What tfjs hands around as `dataId`. No two tensors share one here, not even a tensor and its reshape. */
class Handle {
  references = 1;
  constructor(
    readonly id: number,
    readonly numbers: Numbers | null,
  ) {}
}

interface Recording {
  readonly kernels: TracedKernel[];
  readonly constants: Map<number, Numbers>;
}

class TraceBackend extends tf.KernelBackend {
  recording: Recording | null = null;
  #made = 0;
  #alive = 0;

  /** A tensor without numbers. */
  handle(numbers: Numbers | null = null): Handle {
    this.#alive++;
    return new Handle(this.#made++, numbers);
  }

  /** Takes constants over as they are: tfjs calls this for every tensor that is made from numbers. */
  override write(values: tf.backend_util.BackendValues, _shape: number[], dtype: tf.DataType): object {
    return this.handle(asNumbers(values, dtype));
  }

  override readSync(dataId: object): Numbers {
    const { numbers } = handleOf(dataId);
    if (!numbers) throw new Error("a traced function cannot read the numbers of a tensor: there are none yet");
    return numbers;
  }

  override async read(dataId: object): Promise<Numbers> {
    return this.readSync(dataId);
  }

  override refCount(dataId: object): number {
    return handleOf(dataId).references;
  }

  override incRef(dataId: object): void {
    handleOf(dataId).references++;
  }

  decRef(dataId: object): void {
    handleOf(dataId).references--;
  }

  override disposeData(dataId: object, force = false): boolean {
    const handle = handleOf(dataId);
    handle.references--;
    if (!force && handle.references > 0) return false;
    this.#alive--;
    return true;
  }

  override numDataIds(): number {
    return this.#alive;
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override timerAvailable(): boolean {
    return false;
  }

  override dispose(): void {}
}

function handleOf(dataId: object): Handle {
  if (dataId instanceof Handle) return dataId;
  throw new Error("a traced function uses a tensor that was made outside of it; pass it in, or make it inside");
}

function asNumbers(values: tf.backend_util.BackendValues, dtype: tf.DataType): Numbers {
  if (dtype === "float32" && values instanceof Float32Array) return values;
  if (dtype === "int32" && values instanceof Int32Array) return values;
  if (dtype === "bool" && values instanceof Uint8Array) return values;
  throw new Error(`constants of type ${dtype} are not covered by the compiled engine`);
}

let backend: TraceBackend | null = null;

/** Registers the backend on first use, so that importing this file changes nothing. */
function traceBackend(): TraceBackend {
  if (backend) return backend;
  const made = new TraceBackend();
  tf.registerBackend(TRACE_BACKEND, () => made, 0);
  for (const [name, shape] of Object.entries(KERNELS)) {
    tf.registerKernel({
      kernelName: name,
      backendName: TRACE_BACKEND,
      kernelFunc: ({ inputs, attrs }) => record(made, name as KernelName, shape, inputs, attrs ?? {}),
    });
  }
  backend = made;
  return made;
}

function record(
  on: TraceBackend,
  kernel: KernelName,
  { inputs: names, infer }: KernelShape,
  given: tf.NamedTensorInfoMap,
  attributes: Attributes,
): tf.TensorInfo | tf.TensorInfo[] {
  const { recording } = on;
  if (!recording) throw new Error(`${kernel} ran on the trace backend outside of a trace`);
  const infos = names === "list" ? Object.values(given) : names.map((name) => given[name]);
  const inputs = infos.map((info) => {
    const value = valueOf(info as tf.TensorInfo);
    const { numbers } = handleOf((info as tf.TensorInfo).dataId);
    if (numbers) recording.constants.set(value.id, numbers);
    return value;
  });
  const inferred = infer(inputs, attributes);
  const made = (Array.isArray(inferred) ? inferred : [inferred]).map(({ shape, dtype }) => {
    return { dataId: on.handle(), shape: [...shape], dtype };
  });
  recording.kernels.push({ kernel, inputs, attributes: { ...attributes }, outputs: made.map(valueOf) });
  return Array.isArray(inferred) ? made : made[0];
}

function valueOf({ dataId, shape, dtype }: tf.TensorInfo): Value {
  return { id: handleOf(dataId).id, shape: [...shape], dtype: dtype as Dtype };
}

/**
 * The gradients of a sum and a mean repeat dy over the axes that were reduced. tfjs says so with a product with ones of
 * the input's size, 115 MB in MAE's loss of ViT-L; while tracing, it is said without numbers.
 */
const SPREADING: readonly tf.GradConfig[] = ["Sum", "Mean"].map((kernelName) => ({
  kernelName,
  inputsToSave: ["x"],
  gradFunc: (dy, [x], attributes) => {
    const { shape } = x as tf.Tensor;
    const axes = reducedAxes(shape, attributes);
    const counts = shape.map((extent, axis) => (axes.includes(axis) ? extent : 1));
    const kept = shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
    const each = kernelName === "Sum" ? (dy as tf.Tensor) : tf.div(dy as tf.Tensor, sizeOf(counts));
    return { x: () => tf.tile(tf.reshape(each, kept), counts) };
  },
}));

/**
 * Runs `f` once without computing, and lists what it would compute. Whatever backend was active is active again
 * afterwards, also where `f` throws.
 *
 * @param f      a pure function of tensors; what it makes from arrays and plain numbers becomes a constant
 * @param inputs shapes and types of its arguments
 * @throws EngineUnavailable naming the operation where it is not one of `KERNELS`
 */
export function trace(f: (inputs: NamedTensors) => NamedTensors, inputs: Readonly<Record<string, TensorType>>): Trace {
  const on = traceBackend();
  const before = tf.getBackend() as string | undefined; // none before a backend was started
  const recording: Recording = { kernels: [], constants: new Map() };
  const gradients = SPREADING.map(({ kernelName }) => tf.getGradient(kernelName));
  activate(TRACE_BACKEND);
  on.recording = recording;
  SPREADING.forEach(tf.registerGradient);
  try {
    return tf.tidy(() => {
      const tensors = mapValues(inputs, ({ shape, dtype }) =>
        tf.engine().makeTensorFromDataId(on.handle(), [...shape], dtype, on),
      );
      const results = f(tensors);
      const outputs = mapValues(results, (tensor) => {
        const { numbers } = handleOf(tensor.dataId);
        const value = valueOf(tensor);
        if (numbers) recording.constants.set(value.id, numbers);
        return value;
      });
      const traced = { ...recording, inputs: mapValues(tensors, valueOf), outputs };
      // Some are marked to be kept, because an eager step hands them out.
      tf.dispose(Object.values(results));
      return traced as unknown as tf.TensorContainer;
    }) as unknown as Trace;
  } catch (error) {
    const unknown = /[Kk]ernel '(\w+)'.*backend 'trace'/.exec((error as Error).message);
    if (!unknown) throw error;
    throw new EngineUnavailable(
      `the compiled engine does not cover the tfjs operation ${unknown[1]}; add it to src/engine/shapes.ts and ` +
        "onnxLower.ts",
    );
  } finally {
    on.recording = null;
    gradients.forEach(tf.registerGradient);
    activate(before ?? "cpu");
  }
}

/** The backends that this is used on start at once, so the switch is done when `setBackend` returns its promise. */
function activate(name: string): void {
  void tf.setBackend(name);
  if (tf.getBackend() !== name) throw new Error(`the ${name} backend did not become active`);
}
