/**
 * Takes the element-wise end of a training step out of its graph. ONNX Runtime computes an optimiser node by node, each
 * a pass over memory; a kernel that reads every array once does the same in a third of the time.
 */
import { sizeOf } from "../types.js";
import type { OnnxGraph, OnnxNode } from "./onnx.js";
import { removeDead } from "./onnxOptimize.js";
import { NEXT_PACK, PACK, View } from "./pack.js";

/** Operations that a kernel knows. */
export const KERNEL_OPS = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sqrt", "Reciprocal", "Neg", "Abs"] as const;
export type KernelOp = (typeof KERNEL_OPS)[number];

/** One value of a formula; `args` are places of earlier values in the list. */
export type Term =
  | { readonly kind: "array"; readonly index: number }
  | { readonly kind: "scalar"; readonly index: number }
  | { readonly kind: KernelOp; readonly args: readonly number[] };

/** What a kernel computes for every element: loads, operations in order, and what is stored where. */
export interface Formula {
  readonly arrays: number;
  readonly scalars: number;
  readonly terms: readonly Term[];
  /** Place of a term, and the array that becomes it. Everything is read before anything is stored. */
  readonly stores: readonly { readonly term: number; readonly array: number }[];
}

/** Packs that are updated together, by one formula. */
export interface Update {
  readonly formula: Formula;
  /** Elements of every array. */
  readonly size: number;
  /** `pack/i` where an array is part of the state, otherwise the name of a graph's output. */
  readonly arrays: readonly string[];
  readonly shapes: readonly (readonly number[])[];
  /** A number, or the name of a scalar that the graph computes or is given. */
  readonly scalars: readonly (number | string)[];
}

/** What a formula is made of: operations, and other names for values. */
const INNER: ReadonlySet<string> = new Set([...KERNEL_OPS, "Identity"]);

/**
 * Splits a packed graph in two: what is left computes the outputs and whatever the updates read, and the updates make
 * the new state of it.
 */
export function cutUpdates(graph: OnnxGraph): { graph: OnnxGraph; updates: Update[] } {
  const view = new View(graph);
  const packs = Object.keys(graph.outputs).filter((name) => name.startsWith(NEXT_PACK));
  const inner = (name: string, extents: readonly number[]) => view.elementwise(name, extents, INNER);

  /** What was reshaped: a gradient is written as the matrix that it is, and read as a row of numbers. */
  const unshaped = (name: string): string => {
    const node = view.producer(name);
    return node?.op === "Reshape" && view.producer(node.inputs[0]) ? unshaped(node.inputs[0]) : name;
  };

  // Packs whose new values read one another's old ones are one update.
  const reads = (from: string): Set<string> => {
    const extents = view.shape(from);
    const seen = new Set<string>();
    const visit = (name: string) => {
      if (seen.has(name)) return;
      seen.add(name);
      inner(name, extents)?.inputs.forEach(visit);
    };
    visit(from);
    return new Set([...seen].filter((name) => name.startsWith(PACK)));
  };
  const groups: { outputs: string[]; packs: Set<string> }[] = [];
  for (const output of packs) {
    const own = reads(output).add(PACK + output.slice(NEXT_PACK.length));
    const joined = groups.filter((group) => [...own].some((pack) => group.packs.has(pack)));
    for (const group of joined) groups.splice(groups.indexOf(group), 1);
    groups.push({
      outputs: [...joined.flatMap(({ outputs }) => outputs), output],
      packs: new Set([...joined.flatMap((group) => [...group.packs]), ...own]),
    });
  }

  const wanted = new Set<string>();
  /** Arrays that are given to the graph, or constant in it, come out of it like all that it computes. */
  const copies = new Map<string, OnnxNode>();
  const types = new Map(graph.types);
  const output = (name: string): string => {
    if (name.startsWith(PACK) || view.producer(name)) return name;
    const copy = `${name} as it is`;
    types.set(copy, graph.types.get(name)!);
    copies.set(copy, { op: "Identity", domain: "", inputs: [name], outputs: [copy], attributes: {} });
    return copy;
  };
  const updates = groups.map(({ outputs }): Update => {
    const extents = view.shape(outputs[0]);
    const [arrays, scalars, terms]: [string[], (number | string)[], Term[]] = [[], [], []];
    const known = new Map<string, number>();
    const place = <T>(list: T[], item: T): number => (list.includes(item) ? list.indexOf(item) : list.push(item) - 1);
    const leaf = (name: string): Term => {
      if (!view.isScalar(name)) return { kind: "array", index: place(arrays, output(unshaped(name))) };
      const literal = graph.constants[name];
      return { kind: "scalar", index: place(scalars, literal ? Number(literal.data[0]) : name) };
    };
    const build = (name: string): number => {
      const before = known.get(name);
      if (before !== undefined) return before;
      const node = inner(name, extents);
      const at =
        node?.op === "Identity"
          ? build(node.inputs[0])
          : terms.push(node ? { kind: node.op as KernelOp, args: node.inputs.map(build) } : leaf(name)) - 1;
      known.set(name, at);
      return at;
    };
    const results = outputs.map((name) => ({ name, term: build(name) }));
    const stores = results.map(({ name, term }) => ({
      term,
      array: place(arrays, PACK + name.slice(NEXT_PACK.length)),
    }));
    for (const name of [...arrays, ...scalars]) {
      if (typeof name === "string" && !(name in graph.inputs)) wanted.add(name);
    }
    const formula = { arrays: arrays.length, scalars: scalars.length, terms, stores };
    const shapes = arrays.map((name) => types.get(name)!.shape);
    return { formula, size: sizeOf(extents), arrays, shapes, scalars };
  });

  const others = Object.entries(graph.outputs).filter(([name]) => !packs.includes(name));
  const added = [...wanted].map((name) => [name, types.get(name)!] as const);
  const outputs = Object.fromEntries([...others, ...added]);
  return { graph: removeDead({ ...graph, types, nodes: [...graph.nodes, ...copies.values()], outputs }), updates };
}
