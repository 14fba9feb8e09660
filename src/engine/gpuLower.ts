/** Rewrites a graph into the few kinds of operations that the GPU executor plans with. */
import { sizeOf } from "../types.js";
import type { Literal, OnnxGraph, OnnxNode, OnnxType } from "./onnx.js";

const REDUCTIONS: Readonly<Record<string, string>> = {
  ReduceSum: "ReduceSum",
  ReduceMean: "ReduceSum",
  ReduceSumSquare: "ReduceSum",
  ReduceMax: "ReduceMax",
  ReduceMin: "ReduceMin",
};

/**
 * Softmax, LayerNormalization and means become sums, maxima and element-wise operations, which are fused again with
 * whatever stands around them; axes, paddings and bounds go from inputs to attributes.
 */
export function lowerForGpu(graph: OnnxGraph): OnnxGraph {
  const types = new Map<string, OnnxType>(graph.types);
  const constants: Record<string, Literal> = { ...graph.constants };
  const nodes: OnnxNode[] = [];
  const typeOf = (name: string): OnnxType => types.get(name) ?? constants[name];
  const shapeOf = (name: string): readonly number[] => typeOf(name).shape;

  const number = (value: number): string => {
    const name = `number ${value}`;
    constants[name] = { shape: [], dtype: "float32", data: Float32Array.of(value) };
    types.set(name, constants[name]);
    return name;
  };
  const ints = (name: string): number[] => Array.from(constants[name].data as BigInt64Array, Number);
  const add = (op: string, inputs: string[], output: string, shape: readonly number[], attributes = {}): string => {
    types.set(output, { shape, dtype: "float32" });
    nodes.push({ op, domain: "", inputs, outputs: [output], attributes });
    return output;
  };
  /** Over the last axis, which stays as 1. */
  const alongRows = (op: string, x: string, output: string): string => {
    const shape = shapeOf(x);
    return add(op, [x], output, [...shape.slice(0, -1), 1], { axes: [shape.length - 1] });
  };

  const lower = (node: OnnxNode): void => {
    const { op, inputs, outputs, attributes } = node;
    const [x] = inputs;
    const [y] = outputs;
    if (op === "Softmax") {
      const shape = shapeOf(x);
      if (attributes.axis !== shape.length - 1) throw new Error("Softmax over another axis than the last");
      const top = alongRows("ReduceMax", x, `${y} maximum`);
      const powers = add("Exp", [add("Sub", [x, top], `${y} shifted`, shape)], `${y} powers`, shape);
      const inverse = add("Reciprocal", [alongRows("ReduceSum", powers, `${y} total`)], `${y} inverse`, shapeOf(top));
      add("Mul", [powers, inverse], y, shape);
    } else if (op === "LayerNormalization") {
      const shape = shapeOf(x);
      const width = shape[shape.length - 1];
      const rows = [...shape.slice(0, -1), 1];
      const { float: epsilon } = attributes.epsilon as { float: number };
      const sum = alongRows("ReduceSum", x, `${y} sum`);
      const mean = add("Mul", [sum, number(1 / width)], outputs[1] || `${y} mean`, rows);
      const centred = add("Sub", [x, mean], `${y} centred`, shape);
      const square = add("Mul", [centred, centred], `${y} square`, shape);
      const total = alongRows("ReduceSum", square, `${y} squares`);
      const variance = add("Mul", [total, number(1 / width)], `${y} variance`, rows);
      const deviation = add(
        "Sqrt",
        [add("Add", [variance, number(epsilon)], `${y} safe`, rows)],
        `${y} deviation`,
        rows,
      );
      const inverse = add("Reciprocal", [deviation], outputs[2] || `${y} inverse`, rows);
      const unit = add("Mul", [centred, inverse], `${y} unit`, shape);
      const scaled = inputs[2] ? `${y} scaled` : y;
      add("Mul", [unit, inputs[1]], scaled, shape);
      if (inputs[2]) add("Add", [scaled, inputs[2]], y, shape);
    } else if (REDUCTIONS[op]) {
      const shape = shapeOf(x);
      const axes = inputs[1]
        ? ints(inputs[1]).map((axis) => (axis < 0 ? axis + shape.length : axis))
        : shape.map((_, i) => i);
      const count = sizeOf(axes.map((axis) => shape[axis]));
      const from = op === "ReduceSumSquare" ? add("Mul", [x, x], `${y} square`, shape) : x;
      const to = op === "ReduceMean" ? `${y} sum` : y;
      add(REDUCTIONS[op], [from], to, shapeOf(y), { axes });
      if (op === "ReduceMean") add("Mul", [to, number(1 / count)], y, shapeOf(y));
    } else if (op === "Pad") {
      const [, pads, value] = inputs;
      const before = ints(pads).slice(0, shapeOf(x).length);
      nodes.push({
        ...node,
        inputs: [x],
        attributes: { before, value: { float: value ? Number(constants[value].data[0]) : 0 } },
      });
    } else if (op === "Slice") {
      const [starts, ends, axes, steps] = inputs.slice(1).map(ints);
      if (steps?.some((step) => step !== 1)) throw new Error("Slice with steps");
      nodes.push({ ...node, inputs: [x], attributes: { starts, ends, axes: axes ?? starts.map((_, i) => i) } });
    } else if (op === "Split") {
      nodes.push({ ...node, inputs: [x], attributes: { ...attributes, sizes: ints(inputs[1]) } });
    } else if (op === "Reshape" || op === "Expand") {
      nodes.push({ ...node, inputs: [x] });
    } else nodes.push(node);
  };
  graph.nodes.forEach(lower);
  return { ...graph, nodes, constants, types };
}
