/** What every tfjs kernel that we trace gives for given inputs: shapes and types, no numbers. */
import * as tf from "@tensorflow/tfjs";
import { sizeOf } from "../types.js";

/** Name of the tfjs backend that only records (see trace.ts). */
export const TRACE_BACKEND = "trace";

export type Dtype = "float32" | "int32" | "bool";

/** What is known of a tensor before anything is computed. */
export interface TensorType {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
}

export type Attributes = Readonly<Record<string, unknown>>;

/** How a kernel is called: the names of its inputs in order, or `list` where it takes any number of them. */
export interface KernelShape {
  readonly inputs: readonly string[] | "list";
  infer(inputs: readonly TensorType[], attributes: Attributes): TensorType | TensorType[];
}

const elementwise = (name = "x"): KernelShape => ({ inputs: [name], infer: ([x]) => x });

function broadcast(dtype?: Dtype): KernelShape {
  return {
    inputs: ["a", "b"],
    infer: ([a, b]) => ({
      shape: tf.backend_util.assertAndGetBroadcastShape([...a.shape], [...b.shape]),
      dtype: dtype ?? a.dtype,
    }),
  };
}

/** The axes of a reduction, never negative: all of them where the attribute says nothing. Max calls it differently. */
export function reducedAxes(shape: readonly number[], { axis, reductionIndices }: Attributes): number[] {
  return tf.util.parseAxisParam((axis ?? reductionIndices) as number | number[], [...shape]);
}

const reduction: KernelShape = {
  inputs: ["x"],
  infer: ([{ shape, dtype }], attributes) => {
    const gone = new Set(reducedAxes(shape, attributes));
    if (attributes.keepDims) return { dtype, shape: shape.map((extent, axis) => (gone.has(axis) ? 1 : extent)) };
    return { dtype, shape: shape.filter((_, axis) => !gone.has(axis)) };
  },
};

/** `begin` and `size` of a Slice without its shorthands: a size of −1 reaches to the end. */
export function sliceBounds(shape: readonly number[], attributes: Attributes): { begin: number[]; size: number[] } {
  const given = attributes as { begin: number | number[]; size?: number | number[] };
  const x = { shape, rank: shape.length } as unknown as tf.Tensor;
  const [begin, size] = tf.slice_util.parseSliceParams(x, given.begin, given.size);
  return { begin, size };
}

const matrixProduct: KernelShape = {
  inputs: ["a", "b"],
  infer: ([a, b], { transposeA, transposeB }) => {
    const batch = tf.backend_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
    const rows = a.shape.at(transposeA ? -1 : -2)!;
    const columns = b.shape.at(transposeB ? -2 : -1)!;
    return { shape: [...batch, rows, columns], dtype: a.dtype };
  },
};

const replaced = (shape: readonly number[], axis: number, ...extents: number[]): number[] => [
  ...shape.slice(0, axis),
  ...extents,
  ...shape.slice(axis + 1),
];

/** A possibly negative axis as a number from 0 on. */
export function positiveAxis(axis: unknown, rank: number): number {
  return (axis as number) < 0 ? (axis as number) + rank : (axis as number);
}

/** Sizes of the parts of a SplitV along its axis. */
export function splitSizes(shape: readonly number[], { numOrSizeSplits, axis }: Attributes): number[] {
  const x = { shape } as unknown as tf.Tensor;
  const along = positiveAxis(axis, shape.length);
  return tf.backend_util.prepareSplitSize(x, numOrSizeSplits as number | number[], along);
}

/**
 * The kernels that can be traced. tfjs calls a kernel by these names whatever the backend; a kernel that is not here
 * makes `trace` throw with its name.
 */
export const KERNELS = {
  Abs: elementwise(),
  ClipByValue: elementwise(),
  Cos: elementwise(),
  Erf: elementwise(),
  Exp: elementwise(),
  Identity: elementwise(),
  Log: elementwise(),
  Log1p: elementwise(),
  LogicalNot: elementwise(),
  Neg: elementwise(),
  OnesLike: elementwise(),
  Reciprocal: elementwise(),
  Relu: elementwise(),
  Rsqrt: elementwise(),
  Sigmoid: elementwise(),
  Sign: elementwise(),
  Sin: elementwise(),
  Softmax: elementwise("logits"),
  Softplus: elementwise(),
  Sqrt: elementwise(),
  Square: elementwise(),
  Tanh: elementwise(),
  ZerosLike: elementwise(),

  Cast: { inputs: ["x"], infer: ([{ shape }], { dtype }) => ({ shape, dtype: dtype as Dtype }) },

  Add: broadcast(),
  Maximum: broadcast(),
  Minimum: broadcast(),
  Multiply: broadcast(),
  Pow: broadcast(),
  RealDiv: broadcast(),
  SquaredDifference: broadcast(),
  Sub: broadcast(),
  Equal: broadcast("bool"),
  Greater: broadcast("bool"),
  GreaterEqual: broadcast("bool"),
  Less: broadcast("bool"),
  LessEqual: broadcast("bool"),
  LogicalAnd: broadcast("bool"),
  LogicalOr: broadcast("bool"),
  NotEqual: broadcast("bool"),
  AddN: { inputs: "list", infer: ([first]) => first },
  Select: { inputs: ["condition", "t", "e"], infer: ([, t]) => t },

  BatchMatMul: matrixProduct,
  Max: reduction,
  Mean: reduction,
  Min: reduction,
  Sum: reduction,

  /** Ours, not tfjs': value, mean and 1 / deviation of each row. */
  LayerNormalization: {
    inputs: ["x", "scale", "shift"],
    infer: ([x]) => {
      const row: TensorType = { shape: [...x.shape.slice(0, -1), 1], dtype: x.dtype };
      return [x, row, row];
    },
  },

  Reshape: {
    inputs: ["x"],
    infer: ([{ shape, dtype }], attributes) => ({
      shape: tf.util.inferFromImplicitShape(attributes.shape as number[], sizeOf(shape)),
      dtype,
    }),
  },
  ExpandDims: {
    inputs: ["input"],
    infer: ([{ shape, dtype }], { dim }) => {
      const at = positiveAxis(dim, shape.length + 1);
      return { shape: [...shape.slice(0, at), 1, ...shape.slice(at)], dtype };
    },
  },
  Transpose: {
    inputs: ["x"],
    infer: ([{ shape, dtype }], { perm }) => ({ shape: (perm as number[]).map((axis) => shape[axis]), dtype }),
  },
  Concat: {
    inputs: "list",
    infer: (inputs, { axis }) => {
      const [{ shape, dtype }] = inputs;
      const along = positiveAxis(axis, shape.length);
      const total = inputs.reduce((sum, part) => sum + part.shape[along], 0);
      return { shape: replaced(shape, along, total), dtype };
    },
  },
  SplitV: {
    inputs: ["x"],
    infer: ([{ shape, dtype }], attributes) => {
      const along = positiveAxis(attributes.axis, shape.length);
      return splitSizes(shape, attributes).map((size) => ({ shape: replaced(shape, along, size), dtype }));
    },
  },
  Pack: {
    inputs: "list",
    infer: (inputs, { axis }) => {
      const [{ shape, dtype }] = inputs;
      const at = positiveAxis(axis, shape.length + 1);
      return { shape: [...shape.slice(0, at), inputs.length, ...shape.slice(at)], dtype };
    },
  },
  Unpack: {
    inputs: ["value"],
    infer: ([{ shape, dtype }], { axis }) => {
      const along = positiveAxis(axis, shape.length);
      return Array.from({ length: shape[along] }, () => ({ shape: replaced(shape, along), dtype }));
    },
  },
  Slice: {
    inputs: ["x"],
    infer: ([{ shape, dtype }], attributes) => ({ shape: sliceBounds(shape, attributes).size, dtype }),
  },
  PadV2: {
    inputs: ["x"],
    infer: ([{ shape, dtype }], { paddings }) => ({
      shape: shape.map((extent, axis) => {
        const [before, after] = (paddings as [number, number][])[axis];
        return before + extent + after;
      }),
      dtype,
    }),
  },
  Tile: {
    inputs: ["x"],
    infer: ([{ shape, dtype }], { reps }) => ({ shape: shape.map((n, axis) => n * (reps as number[])[axis]), dtype }),
  },
  GatherV2: {
    inputs: ["x", "indices"],
    infer: ([x, indices], { axis, batchDims }) => {
      if (batchDims) throw new Error("gather with batchDims is not covered by the compiled engine; gather flat rows");
      return { shape: replaced(x.shape, positiveAxis(axis, x.shape.length), ...indices.shape), dtype: x.dtype };
    },
  },
  UnsortedSegmentSum: {
    inputs: ["x", "segmentIds"],
    infer: ([x, ids], { numSegments }) => ({
      shape: [numSegments as number, ...x.shape.slice(ids.shape.length)],
      dtype: x.dtype,
    }),
  },
  Fill: {
    inputs: [],
    infer: (_, { shape, dtype }) => ({ shape: shape as number[], dtype: (dtype as Dtype | undefined) ?? "float32" }),
  },
} as const satisfies Record<string, KernelShape>;

export type KernelName = keyof typeof KERNELS;
