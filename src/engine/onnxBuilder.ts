/**
 * Grows an ONNX graph node by node and simplifies while it grows: a node that was built before is built once, numbers
 * that are the same everywhere are computed here, and what changes nothing is left out.
 */
import { backend_util } from "@tensorflow/tfjs";
import { sizeOf } from "../types.js";
import type { Literal, OnnxDtype, OnnxGraph, OnnxNode, OnnxType } from "./onnx.js";

type Attributes = OnnxNode["attributes"];
/** ONNX names of the element-wise operations of two floats that are folded. */
const FOLDED_BINARY: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Max: Math.max,
  Min: Math.min,
};
const FOLDED_UNARY: Readonly<Record<string, (x: number) => number>> = {
  Neg: (x) => -x,
  Sqrt: Math.sqrt,
  Reciprocal: (x) => 1 / x,
  Log: Math.log,
  Exp: Math.exp,
};

/** Name of a tensor in the graph. */
export type Name = string;

export class GraphBuilder {
  readonly #nodes: OnnxNode[] = [];
  readonly #inputs: Record<Name, OnnxType> = {};
  readonly #outputs: Record<Name, OnnxType> = {};
  readonly #constants: Record<Name, Literal> = {};
  readonly #types = new Map<Name, OnnxType>();
  readonly #producers = new Map<Name, OnnxNode>();
  /** Floats whose numbers are all the same. */
  readonly #splats = new Map<Name, number>();
  readonly #known = new Map<string, Name[]>();

  input(name: Name, type: OnnxType): Name {
    this.#inputs[name] = type;
    this.#types.set(name, type);
    return name;
  }

  /** Copies a tensor to the graph's output `name`. */
  output(name: Name, from: Name): void {
    this.#outputs[name] = this.type(from);
    this.#types.set(name, this.type(from));
    this.#nodes.push({ op: "Identity", domain: "", inputs: [from], outputs: [name], attributes: {} });
  }

  type(name: Name): OnnxType {
    return this.#types.get(name)!;
  }

  /** A constant; one that is the same number everywhere is kept as that number. */
  constant({ shape, dtype, data }: Literal): Name {
    const size = sizeOf(shape);
    if (dtype === "float32" && size > 0 && (data as Float32Array).every((x) => x === data[0])) {
      return this.splat(shape, data[0] as number);
    }
    if (size > 64) return this.#literal({ shape, dtype, data });
    const key = `${dtype} [${shape}] ${data.join()}`;
    return this.#once(key, () => [this.#literal({ shape, dtype, data })])[0];
  }

  /** A float tensor of one number. Used with a tensor of at least its shape, it costs one number. */
  splat(shape: readonly number[], value: number): Name {
    const rounded = Math.fround(value);
    const key = `splat [${shape}] ${Object.is(rounded, -0) ? "-0" : rounded}`;
    return this.#once(key, () => {
      const scalar = { shape: [], dtype: "float32", data: Float32Array.of(rounded) } as const;
      // A large one is spread out in the graph, and only where something needs it whole.
      const name =
        shape.length === 0
          ? this.#literal(scalar)
          : this.node("Expand", [this.splat([], rounded), this.ints(shape)], { shape, dtype: "float32" });
      this.#splats.set(name, rounded);
      return [name];
    })[0];
  }

  ints(values: readonly number[]): Name {
    const data = BigInt64Array.from(values, (value) => BigInt(value));
    return this.constant({ shape: [values.length], dtype: "int64", data });
  }

  /** A node with one output. Its type is the caller's word. */
  node(op: string, inputs: readonly Name[], type: OnnxType, attributes: Attributes = {}, domain = ""): Name {
    return this.nodes(op, inputs, [type], attributes, domain)[0];
  }

  /** A node with several outputs. */
  nodes(op: string, inputs: readonly Name[], types: readonly OnnxType[], attributes: Attributes = {}, domain = "") {
    const key = `${domain} ${op} ${inputs.join()} ${JSON.stringify(attributes)}`;
    return this.#once(key, () => {
      const outputs = types.map((type) => this.#fresh(type));
      const node = { op, domain, inputs, outputs, attributes };
      this.#nodes.push(node);
      for (const output of outputs) this.#producers.set(output, node);
      return outputs;
    });
  }

  unary(op: string, x: Name, dtype: OnnxDtype = this.type(x).dtype): Name {
    const { shape } = this.type(x);
    const value = this.#splats.get(x);
    if (value !== undefined && FOLDED_UNARY[op]) return this.splat(shape, FOLDED_UNARY[op](value));
    return this.node(op, [x], { shape, dtype });
  }

  /** An element-wise operation of two tensors, which broadcast. */
  binary(op: string, a: Name, b: Name, dtype: OnnxDtype = this.type(a).dtype): Name {
    const shape = backend_util.assertAndGetBroadcastShape([...this.type(a).shape], [...this.type(b).shape]);
    const [x, y] = [this.#splats.get(a), this.#splats.get(b)];
    if (x !== undefined && y !== undefined && FOLDED_BINARY[op]) return this.splat(shape, FOLDED_BINARY[op](x, y));
    const neutral = (value: number | undefined, ops: readonly string[], number: number) =>
      value === number && ops.includes(op);
    if (neutral(y, ["Add", "Sub"], 0) || neutral(y, ["Mul", "Div"], 1)) return this.expand(a, shape);
    if (neutral(x, ["Add"], 0) || neutral(x, ["Mul"], 1)) return this.expand(b, shape);
    if (x !== undefined || y !== undefined) {
      const scalar = (name: Name, value: number | undefined) => (value === undefined ? name : this.splat([], value));
      const inner = this.type(x === undefined ? a : b).shape;
      const result = this.node(op, [scalar(a, x), scalar(b, y)], { shape: inner, dtype });
      return this.expand(result, shape);
    }
    return this.node(op, [this.#narrow(a, b, shape), this.#narrow(b, a, shape)], { shape, dtype });
  }

  /** What `x` was before it was expanded, where broadcasting against `other` gives the same shape without that. */
  #narrow(x: Name, other: Name, shape: readonly number[]): Name {
    const from = this.#producers.get(x);
    if (from?.op !== "Expand") return x;
    const [before, against] = [this.type(from.inputs[0]).shape, this.type(other).shape];
    const result = backend_util.assertAndGetBroadcastShape([...before], [...against]);
    return String(result) === String(shape) ? from.inputs[0] : x;
  }

  /** The tensor broadcast to a shape. */
  expand(x: Name, shape: readonly number[]): Name {
    if (String(this.type(x).shape) === String(shape)) return x;
    const value = this.#splats.get(x);
    if (value !== undefined) return this.splat(shape, value);
    return this.node("Expand", [x, this.ints(shape)], { shape, dtype: this.type(x).dtype });
  }

  reshape(x: Name, shape: readonly number[]): Name {
    const from = this.#producers.get(x);
    if (from?.op === "Reshape") return this.reshape(from.inputs[0], shape);
    const { shape: before, dtype } = this.type(x);
    if (String(before) === String(shape)) return x;
    const value = this.#splats.get(x);
    if (value !== undefined) return this.splat(shape, value);
    return this.node("Reshape", [x, this.ints(shape)], { shape, dtype });
  }

  transpose(x: Name, order: readonly number[]): Name {
    const from = this.#producers.get(x);
    if (from?.op === "Transpose") {
      const first = from.attributes.perm as readonly number[];
      return this.transpose(
        from.inputs[0],
        order.map((axis) => first[axis]),
      );
    }
    const { shape: before, dtype } = this.type(x);
    const shape = order.map((axis) => before[axis]);
    // Axes of extent 1 can be anywhere: where the others keep their order, no number moves.
    const moved = order.filter((axis) => before[axis] !== 1);
    if (moved.every((axis, i) => i === 0 || moved[i - 1] < axis)) return this.reshape(x, shape);
    return this.node("Transpose", [x], { shape, dtype }, { perm: order });
  }

  /** ReduceSum, ReduceMean, ReduceMax or ReduceMin over axes; no axes change nothing. A sum of squares is one node. */
  reduce(op: string, x: Name, axes: readonly number[], keepDims: boolean): Name {
    const { shape: before, dtype } = this.type(x);
    const shape = keepDims
      ? before.map((extent, axis) => (axes.includes(axis) ? 1 : extent))
      : before.filter((_, axis) => !axes.includes(axis));
    const value = this.#splats.get(x);
    if (value !== undefined) {
      const count = sizeOf(axes.map((axis) => before[axis]));
      return this.splat(shape, op === "ReduceSum" ? value * count : value);
    }
    if (axes.every((axis) => before[axis] === 1)) return this.reshape(x, shape);
    const from = this.#producers.get(x);
    if (op === "ReduceSum" && from?.op === "Mul" && from.inputs[0] === from.inputs[1]) {
      return this.reduce("ReduceSumSquare", from.inputs[0], axes, keepDims);
    }
    return this.node(op, [x, this.ints(axes)], { shape, dtype }, { keepdims: keepDims ? 1 : 0 });
  }

  build(): OnnxGraph {
    return {
      inputs: this.#inputs,
      outputs: this.#outputs,
      nodes: this.#nodes,
      constants: this.#constants,
      types: this.#types,
    };
  }

  #once(key: string, make: () => Name[]): Name[] {
    const known = this.#known.get(key);
    if (known) return known;
    const made = make();
    this.#known.set(key, made);
    return made;
  }

  #fresh(type: OnnxType): Name {
    const name = `t${this.#types.size}`;
    this.#types.set(name, type);
    return name;
  }

  #literal(literal: Literal): Name {
    const name = this.#fresh(literal);
    this.#constants[name] = literal;
    return name;
  }
}
