/** Passes over a whole ONNX graph, each a function from graph to graph that computes the same. */
import type { OnnxAttribute, OnnxGraph, OnnxNode } from "./onnx.js";

/** The node that computes each name. */
export function producersOf(nodes: readonly OnnxNode[]): Map<string, OnnxNode> {
  return new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
}

/** How many inputs of nodes each name is. */
export function usesOf(nodes: readonly OnnxNode[]): Map<string, number> {
  const uses = new Map<string, number>();
  for (const name of nodes.flatMap(({ inputs }) => inputs)) uses.set(name, (uses.get(name) ?? 0) + 1);
  return uses;
}

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
  const producers = producersOf(graph.nodes);
  const uses = usesOf(graph.nodes);
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

/** The plain number that a node multiplies a tensor with, and the tensor. */
function scaling(graph: OnnxGraph, { op, inputs }: OnnxNode): { by: number; of: string } | undefined {
  if (op !== "Mul") return undefined;
  for (const [factor, of] of [inputs, [...inputs].reverse()]) {
    const literal = graph.constants[factor];
    if (literal?.shape.length === 0 && literal.dtype === "float32") return { by: literal.data[0] as number, of };
  }
  return undefined;
}

/** A float attribute, or what it is where it is left out. */
export const float = (value: OnnxAttribute | undefined, otherwise: number): number =>
  typeof value === "object" && "float" in value ? value.float : otherwise;

/**
 * Plain factors before and after a matrix product go into the product's own factors, which cost nothing. A factor under
 * a sum over rows is left for after the sum.
 *
 *     s (α A B + β C) = (s α) A B + (s β) C      Σ s X = s Σ X
 */
export function foldScales(graph: OnnxGraph): OnnxGraph {
  const producers = producersOf(graph.nodes);
  const uses = usesOf(graph.nodes);
  const scaled = (node: OnnxNode, by: number, also: Partial<OnnxNode>): OnnxNode => ({
    ...node,
    ...also,
    attributes: {
      ...node.attributes,
      alpha: { float: by * float(node.attributes.alpha, 1) },
      ...(node.inputs.length > 2 ? { beta: { float: by * float(node.attributes.beta, 1) } } : {}),
    },
  });

  // After a product: what multiplies its only reader's result is the product's own.
  const after = new Map<string, OnnxNode>(); // products by what they are multiplied into
  const gone = new Set<string>();
  for (const node of graph.nodes) {
    const scale = scaling(graph, node);
    const product = scale && producers.get(scale.of);
    if (product?.op !== "Gemm" || uses.get(scale!.of) !== 1) continue;
    after.set(node.outputs[0], scaled(product, scale!.by, { outputs: node.outputs }));
    gone.add(product.outputs[0]);
  }
  const merged = graph.nodes
    .filter(({ outputs }) => !gone.has(outputs[0]))
    .map((node) => after.get(node.outputs[0]) ?? node);

  // Before a product or a sum.
  const now = producersOf(merged);
  const before = (name: string) => {
    const node = now.get(name);
    return node && scaling(graph, node);
  };
  const types = new Map(graph.types);
  const constants = { ...graph.constants };
  const nodes = merged.flatMap((node): OnnxNode[] => {
    if (node.op === "Gemm") {
      const [a, b] = node.inputs.slice(0, 2).map((name) => ({ name, scale: before(name) }));
      const by = (a.scale?.by ?? 1) * (b.scale?.by ?? 1);
      if (!a.scale && !b.scale) return [node];
      const inputs = [a.scale?.of ?? a.name, b.scale?.of ?? b.name, ...node.inputs.slice(2)];
      const alpha = { float: by * float(node.attributes.alpha, 1) };
      return [{ ...node, inputs, attributes: { ...node.attributes, alpha } }];
    }
    const scale = node.op === "ReduceSum" ? before(node.inputs[0]) : undefined;
    if (!scale) return [node];
    const [sum] = node.outputs;
    // Named by its value, so that what is scaled alike is seen to be computed alike.
    const [raw, factor] = [`${sum} unscaled`, `scale ${scale.by}`];
    types.set(raw, graph.types.get(sum)!);
    constants[factor] = { shape: [], dtype: "float32", data: Float32Array.of(scale.by) };
    types.set(factor, constants[factor]);
    return [
      { ...node, inputs: [scale.of, ...node.inputs.slice(1)], outputs: [raw] },
      { op: "Mul", domain: "", inputs: [raw, factor], outputs: [sum], attributes: {} },
    ];
  });
  return removeDead({ ...graph, types, constants, nodes });
}

/**
 * Outputs are computed where they are wanted. A graph grows with an Identity before each output; where the value is
 * computed in the graph and wanted under one name, it takes that name, and the copy goes (16 % of a step of ViT-S).
 */
export function nameOutputs(graph: OnnxGraph): OnnxGraph {
  const computed = new Set(graph.nodes.flatMap(({ outputs }) => outputs));
  const renamed = new Map<string, string>();
  const nodes = graph.nodes.filter(({ op, inputs: [from], outputs: [to] }) => {
    if (op !== "Identity" || !(to in graph.outputs)) return true;
    if (!computed.has(from) || renamed.has(from) || from in graph.outputs) return true;
    renamed.set(from, to);
    return false;
  });
  const now = (name: string) => renamed.get(name) ?? name;
  const types = new Map([...graph.types].map(([name, type]) => [now(name), type]));
  return {
    ...graph,
    types,
    nodes: nodes.map((node) => ({ ...node, inputs: node.inputs.map(now), outputs: node.outputs.map(now) })),
  };
}
