/** From traced tfjs kernels to ONNX: what each kernel is called there, and where it keeps its attributes. */
import { sizeOf } from "../types.js";
import { GraphBuilder, type Name } from "./onnxBuilder.js";
import { foldScales, fuseGemm, removeDead } from "./onnxOptimize.js";
import type { OnnxGraph } from "./onnx.js";
import { positiveAxis, reducedAxes, sliceBounds, splitSizes, type KernelName } from "./shapes.js";
import type { Numbers, Trace, TracedKernel, Value } from "./trace.js";

/** Builds the nodes of one kernel and names its outputs. */
type Lowering = (g: GraphBuilder, inputs: readonly Name[], kernel: TracedKernel) => Name | readonly Name[];

const unary =
  (op: string): Lowering =>
  (g, [x]) =>
    g.unary(op, x);

const binary =
  (op: string): Lowering =>
  (g, [a, b]) =>
    g.binary(op, a, b);

const compare =
  (op: string): Lowering =>
  (g, [a, b]) =>
    g.binary(op, a, b, "bool");

const reduce =
  (op: string): Lowering =>
  (g, [x], { inputs: [{ shape }], attributes }) =>
    g.reduce(op, x, reducedAxes(shape, attributes), Boolean(attributes.keepDims));

const reshape: Lowering = (g, [x], { outputs: [{ shape }] }) => g.reshape(x, shape);

const splat =
  (value: number): Lowering =>
  (g, _, { outputs: [type] }) =>
    filled(g, type, value);

/** A tensor of one number, whatever its type. */
function filled(g: GraphBuilder, { shape, dtype }: Value, value: number): Name {
  if (dtype === "float32") return g.splat(shape, value);
  const data = dtype === "int32" ? new Int32Array(sizeOf(shape)) : new Uint8Array(sizeOf(shape));
  return g.constant({ shape, dtype, data: data.fill(value) });
}

/** The tensor with its last two axes swapped. */
function swapLast(g: GraphBuilder, x: Name): Name {
  const order = g.type(x).shape.map((_, axis) => axis);
  const last = order.length - 1;
  [order[last - 1], order[last]] = [last, last - 1];
  return g.transpose(x, order);
}

const LOWERINGS: Readonly<Record<KernelName, Lowering>> = {
  Abs: unary("Abs"),
  Cos: unary("Cos"),
  Erf: unary("Erf"),
  Exp: unary("Exp"),
  Identity: (_, [x]) => x,
  Log: unary("Log"),
  Log1p: (g, [x]) => g.unary("Log", g.binary("Add", x, g.splat([], 1))),
  LogicalNot: unary("Not"),
  Neg: unary("Neg"),
  OnesLike: splat(1),
  Reciprocal: unary("Reciprocal"),
  Relu: unary("Relu"),
  Rsqrt: (g, [x]) => g.unary("Reciprocal", g.unary("Sqrt", x)),
  Sigmoid: unary("Sigmoid"),
  Sign: unary("Sign"),
  Sin: unary("Sin"),
  Softmax: (g, [x], { outputs: [type], attributes: { dim } }) =>
    g.node("Softmax", [x], type, { axis: positiveAxis(dim, type.shape.length) }),
  LayerNormalization: (g, inputs, { inputs: [{ shape }], outputs, attributes: { epsilon } }) =>
    g.nodes("LayerNormalization", inputs, outputs, { axis: shape.length - 1, epsilon: { float: epsilon as number } }),
  Softplus: unary("Softplus"),
  Sqrt: unary("Sqrt"),
  Square: (g, [x]) => g.binary("Mul", x, x),
  Tanh: unary("Tanh"),
  ZerosLike: splat(0),
  ClipByValue: (g, [x], { attributes: { clipValueMin, clipValueMax } }) =>
    g.node("Clip", [x, g.splat([], clipValueMin as number), g.splat([], clipValueMax as number)], g.type(x)),
  Cast: (g, [x], { inputs: [from], outputs: [to] }) => {
    const numbers = { float32: 1, int32: 6, bool: 9 } as const;
    return from.dtype === to.dtype ? x : g.node("Cast", [x], to, { to: numbers[to.dtype] });
  },

  Add: binary("Add"),
  Maximum: binary("Max"),
  Minimum: binary("Min"),
  Multiply: binary("Mul"),
  Pow: binary("Pow"),
  RealDiv: binary("Div"),
  SquaredDifference: (g, [a, b]) => {
    const difference = g.binary("Sub", a, b);
    return g.binary("Mul", difference, difference);
  },
  Sub: binary("Sub"),
  Equal: compare("Equal"),
  Greater: compare("Greater"),
  GreaterEqual: compare("GreaterOrEqual"),
  Less: compare("Less"),
  LessEqual: compare("LessOrEqual"),
  LogicalAnd: compare("And"),
  LogicalOr: compare("Or"),
  NotEqual: (g, [a, b]) => g.unary("Not", g.binary("Equal", a, b, "bool")),
  AddN: (g, inputs) => inputs.reduce((sum, x) => g.binary("Add", sum, x)),
  Select: (g, [condition, t, e], { inputs: [{ shape }], outputs: [type] }) => {
    // A condition over rows, where tfjs allows one, gets the axes that ONNX broadcasts from the right.
    const missing = type.shape.length - shape.length;
    const aligned = missing > 0 ? g.reshape(condition, [...shape, ...new Array<number>(missing).fill(1)]) : condition;
    return g.node("Where", [aligned, t, e], type);
  },

  BatchMatMul: (g, [a, b], { outputs: [type], attributes: { transposeA, transposeB } }) =>
    g.node("MatMul", [transposeA ? swapLast(g, a) : a, transposeB ? swapLast(g, b) : b], type),
  Max: reduce("ReduceMax"),
  Mean: reduce("ReduceMean"),
  Min: reduce("ReduceMin"),
  Sum: reduce("ReduceSum"),

  Reshape: reshape,
  ExpandDims: reshape,
  Transpose: (g, [x], { attributes: { perm } }) => g.transpose(x, perm as number[]),
  Concat: (g, inputs, { outputs: [type], attributes: { axis } }) => {
    const full = inputs.filter((x) => sizeOf(g.type(x).shape) > 0);
    if (full.length === 1) return full[0];
    return g.node("Concat", full, type, { axis: positiveAxis(axis, type.shape.length) });
  },
  SplitV: (g, [x], { inputs: [{ shape }], outputs, attributes }) => {
    if (outputs.length === 1) return x;
    const axis = positiveAxis(attributes.axis, shape.length);
    return g.nodes("Split", [x, g.ints(splitSizes(shape, attributes))], outputs, { axis });
  },
  Pack: (g, inputs, { outputs: [type], attributes: { axis } }) => {
    const at = positiveAxis(axis, type.shape.length);
    const one = type.shape.map((extent, i) => (i === at ? 1 : extent));
    const parts = inputs.map((x) => g.reshape(x, one));
    return parts.length === 1 ? parts[0] : g.node("Concat", parts, type, { axis: at });
  },
  Unpack: (g, [x], { inputs: [{ shape, dtype }], outputs, attributes: { axis } }) => {
    const along = positiveAxis(axis, shape.length);
    if (outputs.length === 1) return [g.reshape(x, outputs[0].shape)];
    const one = shape.map((extent, i) => (i === along ? 1 : extent));
    const sizes = g.ints(outputs.map(() => 1));
    const types = outputs.map(() => ({ shape: one, dtype }));
    const parts = g.nodes("Split", [x, sizes], types, { axis: along });
    return parts.map((part, i) => g.reshape(part, outputs[i].shape));
  },
  Slice: (g, [x], { inputs: [{ shape }], outputs: [type], attributes }) => {
    const { begin, size } = sliceBounds(shape, attributes);
    const axes = shape.map((_, axis) => axis).filter((axis) => size[axis] !== shape[axis]);
    if (axes.length === 0) return x;
    const starts = axes.map((axis) => begin[axis]);
    const ends = axes.map((axis) => begin[axis] + size[axis]);
    return g.node("Slice", [x, g.ints(starts), g.ints(ends), g.ints(axes)], type);
  },
  PadV2: (g, [x], { outputs: [type], attributes }) => {
    const paddings = attributes.paddings as [number, number][];
    if (paddings.every(([before, after]) => before === 0 && after === 0)) return x;
    const pads = g.ints([...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)]);
    const value = filled(g, { ...type, shape: [] }, (attributes.constantValue as number | undefined) ?? 0);
    return g.node("Pad", [x, pads, value], type);
  },
  Tile: (g, [x], { outputs: [type], attributes: { reps } }) => {
    const counts = reps as number[];
    if (counts.every((count, axis) => count === 1 || g.type(x).shape[axis] === 1)) return g.expand(x, type.shape);
    return g.node("Tile", [x, g.ints(counts)], type);
  },
  GatherV2: (g, [x, indices], { inputs: [{ shape }], outputs: [type], attributes: { axis } }) =>
    g.node("Gather", [x, indices], type, { axis: positiveAxis(axis, shape.length) }),
  UnsortedSegmentSum: (g, [x, ids], { inputs: [, { shape }], outputs: [type] }) => {
    const rows = g.node("Cast", [g.reshape(ids, [...shape, 1])], { shape: [...shape, 1], dtype: "int64" }, { to: 7 });
    const zeros = g.expand(filled(g, { ...type, shape: [] }, 0), type.shape);
    return g.node("ScatterND", [zeros, rows, x], type, { reduction: "add" });
  },
  Fill: (g, _, { outputs: [type], attributes: { value } }) => filled(g, type, value as number),
};

/** Inputs and outputs of the graph have the names of the traced function's. */
export function lowerToOnnx({ kernels, inputs, outputs, constants }: Trace): OnnxGraph {
  const g = new GraphBuilder();
  const names = new Map<number, Name>();
  for (const [name, { id, shape, dtype }] of Object.entries(inputs)) names.set(id, g.input(name, { shape, dtype }));
  const nameOf = ({ id, shape, dtype }: Value): Name => {
    const known = names.get(id);
    if (known !== undefined) return known;
    const name = g.constant({ shape, dtype, data: constants.get(id) as Numbers });
    names.set(id, name);
    return name;
  };
  for (const kernel of kernels) {
    const lowered = LOWERINGS[kernel.kernel](g, kernel.inputs.map(nameOf), kernel);
    const made = typeof lowered === "string" ? [lowered] : lowered;
    kernel.outputs.forEach(({ id }, i) => names.set(id, made[i]));
  }
  for (const [name, value] of Object.entries(outputs)) g.output(name, nameOf(value));
  return foldScales(fuseGemm(removeDead(g.build())));
}
