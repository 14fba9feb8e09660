/** Changes to a graph that ONNX Runtime's WebGPU provider asks for. */
import type { Literal, OnnxGraph, OnnxNode, OnnxType } from "./onnx.js";

/** A shader may bind 8 storage buffers wherever WebGPU runs, and a Split reads one: adapters offer 8 to 16. */
const MOST_OUTPUTS = 7;

/**
 * The same graph with every Split of more than 7 outputs as a tree of Splits: each output is a storage buffer of one
 * shader, and the provider fails on the first run where they are too many ("Too many storage buffers in shader").
 */
export function fitToWebgpu(graph: OnnxGraph): OnnxGraph {
  const constants: Record<string, Literal> = { ...graph.constants };
  const types = new Map<string, OnnxType>(graph.types);
  const nodes: OnnxNode[] = [];

  const split = (node: OnnxNode): void => {
    const { inputs, outputs, attributes } = node;
    if (outputs.length <= MOST_OUTPUTS) {
      nodes.push(node);
      return;
    }
    const axis = Number(attributes.axis);
    const extent = (name: string) => types.get(name)!.shape[axis];
    const size = Math.ceil(outputs.length / MOST_OUTPUTS);
    const groups = Array.from({ length: Math.ceil(outputs.length / size) }, (_, i) =>
      outputs.slice(i * size, (i + 1) * size),
    );
    const sizesOf = (parts: readonly string[]): string => {
      const name = `sizes of ${parts[0]} and ${parts.length - 1} more`;
      constants[name] = { shape: [parts.length], dtype: "int64", data: BigInt64Array.from(parts.map(extent), BigInt) };
      types.set(name, { shape: [parts.length], dtype: "int64" });
      return name;
    };
    const parts = groups.map((group) => {
      if (group.length === 1) return group[0];
      const name = `${inputs[0]} from ${group[0]} to ${group[group.length - 1]}`;
      const { shape, dtype } = types.get(group[0])!;
      const sum = group.reduce((total, output) => total + extent(output), 0);
      types.set(name, { shape: shape.map((old, i) => (i === axis ? sum : old)), dtype });
      return name;
    });
    nodes.push({ ...node, inputs: [inputs[0], sizesOf(parts)], outputs: parts });
    groups.forEach((group, i) => {
      if (group.length > 1) split({ ...node, inputs: [parts[i], sizesOf(group)], outputs: group });
    });
  };
  for (const node of graph.nodes) {
    if (node.op === "Split") split(node);
    else nodes.push(node);
  }
  return { ...graph, nodes, constants, types };
}
