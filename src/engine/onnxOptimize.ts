/** Passes over a whole ONNX graph, each a function from graph to graph that computes the same. */
import type { OnnxGraph, OnnxNode } from "./onnx.js";

/** Leaves out what no output needs: nodes, constants, and inputs. */
export function removeDead(graph: OnnxGraph): OnnxGraph {
  const needed = new Set(Object.keys(graph.outputs));
  const live = [...graph.nodes].reverse().filter(({ inputs, outputs }) => {
    if (!outputs.some((name) => needed.has(name))) return false;
    for (const name of inputs) needed.add(name);
    return true;
  });
  const kept = <T>(record: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(record).filter(([name]) => needed.has(name)));
  return { ...graph, nodes: live.reverse(), constants: kept(graph.constants), inputs: kept(graph.inputs) };
}

/**
 * Products of two matrices become Gemm, which reads its operands transposed, and adds a bias or an earlier gradient,
 * without passes of their own. ONNX Runtime does the second by itself, and then no longer the first: the weights'
 * gradients kept their transposes.
 */
export function fuseGemm(graph: OnnxGraph): OnnxGraph {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const uses = new Map<string, number>();
  for (const name of graph.nodes.flatMap(({ inputs }) => inputs)) uses.set(name, (uses.get(name) ?? 0) + 1);
  const shape = (name: string): readonly number[] => graph.types.get(name)!.shape;

  const transposed = (name: string): [source: string, flag: 0 | 1] => {
    const from = producers.get(name);
    return from?.op === "Transpose" ? [from.inputs[0], 1] : [name, 0];
  };
  const products = new Map<string, OnnxNode>();
  for (const { op, inputs, outputs } of graph.nodes) {
    if (op !== "MatMul" || !inputs.every((name) => shape(name).length === 2)) continue;
    const [[a, transA], [b, transB]] = [transposed(inputs[0]), transposed(inputs[1])];
    products.set(outputs[0], { op: "Gemm", domain: "", inputs: [a, b], outputs, attributes: { transA, transB } });
  }

  /** The product that an addition can start from its other operand: read only there, and not shared already. */
  const addable = (product: string, other: string): OnnxNode | undefined => {
    const gemm = products.get(product);
    if (!gemm || uses.get(product) !== 1) return undefined;
    const [to, from] = [shape(product), shape(other)];
    const fits = from.length <= 2 && from.every((extent, i) => [1, to[to.length - from.length + i]].includes(extent));
    return fits ? gemm : undefined;
  };
  const absorbed = new Set<string>();
  const nodes = graph.nodes.map((node) => {
    if (node.op !== "Add") return products.get(node.outputs[0]) ?? node;
    const [a, b] = node.inputs;
    for (const [product, other] of [
      [a, b],
      [b, a],
    ]) {
      const gemm = addable(product, other);
      if (!gemm) continue;
      absorbed.add(product);
      return { ...gemm, inputs: [...gemm.inputs, other], outputs: node.outputs };
    }
    return node;
  });
  return removeDead({ ...graph, nodes: nodes.filter(({ outputs }) => !absorbed.has(outputs[0])) });
}
