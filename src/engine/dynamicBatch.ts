/**
 * Graphs whose batch may have any size. A trace knows one size only, so it is done twice, with two: what the two graphs
 * do not share is what depends on the batch, and becomes a computed number.
 */
import { InputError } from "../types.js";
import type { Literal, OnnxGraph, OnnxNode, OnnxType } from "./onnx.js";

/** Primes beyond any width or side, so that a multiple of them in a shape can only be the batch's. */
const SIZES = [1009, 1013] as const;

const fail = (what: string): InputError =>
  new InputError(`the graph cannot be given a dynamic batch: ${what} depends on its size`);

/** A whole number that is the same for all sizes, or a multiple of the batch. */
type Extent = { readonly fixed: number } | { readonly times: number };

/** Throws where the two numbers are neither the same nor the same multiple of their sizes. */
function extentOf(a: number, b: number, what: string): Extent {
  if (a === b) return { fixed: a };
  const times = a / SIZES[0];
  if (!Number.isInteger(times) || times * SIZES[1] !== b) throw fail(what);
  return { times };
}

/** The type of an input or output: its first axis may be the batch, −1, and no other. */
function typeOf(a: OnnxType, b: OnnxType, name: string): OnnxType {
  if (a.dtype !== b.dtype || a.shape.length !== b.shape.length) throw fail(`the type of ${name}`);
  const shape = a.shape.map((extent, axis) => {
    const known = extentOf(extent, b.shape[axis], `the shape of ${name}`);
    if ("fixed" in known) return known.fixed;
    if (axis > 0 || known.times !== 1) throw fail(`${name}, other than in one row for each sample,`);
    return -1;
  });
  return { dtype: a.dtype, shape };
}

function sameNumbers(a: Literal, b: Literal): boolean {
  if (a.dtype !== b.dtype || String(a.shape) !== String(b.shape)) return false;
  const [one, other] = [a, b].map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return one.equals(other);
}

/**
 * Builds a graph for two sizes of the batch and makes one for all sizes of them. Reshapes get a −1, every other list of
 * numbers (of Expand, Slice, Tile) is computed from the input's shape. A reshape to [1009, 17, 24] and one to
 * [1013, 17, 24] become one to [−1, 17, 24].
 *
 * @param graphAt the graph for a batch of that size, which is the first axis of `input`
 * @param input   the input that tells the size
 * @returns       a graph where −1 stands for the batch in the types of inputs and outputs
 * @throws InputError naming what depends on the size in any other way: the number of nodes, an attribute, a float
 */
export function dynamicBatch(graphAt: (size: number) => OnnxGraph, input: string): OnnxGraph {
  const [first, second] = SIZES.map(graphAt);
  if (first.nodes.length !== second.nodes.length) throw fail("the number of its nodes");
  /** Names of the first graph and what they are called in the second. */
  const pairs = new Map([...Object.keys(first.inputs), ...Object.keys(first.outputs)].map((name) => [name, name]));
  const rewritten = new Rewriter(first, input);

  /** What a node of the result reads in place of `a`, which is `b` in the second graph. */
  const pairOf = (node: OnnxNode, a: string, b: string, position: number): string => {
    const [ours, theirs] = [first.constants[a], second.constants[b]];
    if (!ours !== !theirs) throw fail(`${node.op}'s input ${position}`);
    if (!ours) {
      if (a !== "" && pairs.get(a) !== b) throw fail(`${node.op}'s input ${position}`);
      return a;
    }
    if (sameNumbers(ours, theirs)) return a;
    if (ours.dtype !== "int64" || ours.shape.length !== 1 || String(ours.shape) !== String(theirs.shape)) {
      throw fail(`a constant of ${node.op}`);
    }
    const extents = [...ours.data].map((value, i) =>
      extentOf(Number(value), Number(theirs.data[i]), `a number of ${node.op}`),
    );
    const only = extents.filter((extent) => "times" in extent).length === 1;
    return node.op === "Reshape" && only ? rewritten.withMinusOne(extents) : rewritten.computed(extents);
  };

  first.nodes.forEach((node, i) => {
    const other = second.nodes[i];
    const alike = (of: OnnxNode) =>
      [of.op, of.domain, of.inputs.length, of.outputs.length, JSON.stringify(of.attributes)].join();
    if (alike(node) !== alike(other)) throw fail(`${node.op}`);
    const inputs = node.inputs.map((name, j) => pairOf(node, name, other.inputs[j], j));
    node.outputs.forEach((name, j) => pairs.set(name, other.outputs[j]));
    rewritten.nodes.push({ ...node, inputs });
  });

  const ports = (part: "inputs" | "outputs"): Record<string, OnnxType> => {
    if (String(Object.keys(first[part])) !== String(Object.keys(second[part]))) throw fail(`the list of ${part}`);
    const entries = Object.entries(first[part]).map(([name, type]) => {
      if (pairs.get(name) !== name) throw fail(`how ${name} is computed`);
      return [name, typeOf(type, second[part][name], name)] as const;
    });
    return Object.fromEntries(entries);
  };
  return rewritten.graph(ports("inputs"), ports("outputs"));
}

/** The first graph's nodes with other numbers. */
class Rewriter {
  readonly nodes: OnnxNode[] = [];
  readonly #constants: Record<string, Literal> = {};
  readonly #types: Map<string, OnnxType>;
  readonly #known = new Set<string>();
  readonly #given: OnnxGraph["constants"];

  constructor(
    { types, constants }: OnnxGraph,
    readonly input: string,
  ) {
    this.#types = new Map(types);
    this.#given = constants;
  }

  /** The shape of a Reshape whose one dynamic side follows from the others. */
  withMinusOne(extents: readonly Extent[]): string {
    return this.#ints(extents.map((extent) => ("fixed" in extent ? extent.fixed : -1)));
  }

  /** A list of numbers that is put together when the graph runs. */
  computed(extents: readonly Extent[]): string {
    const spelled = extents.map((extent) => ("fixed" in extent ? extent.fixed : `${extent.times} batch`));
    return this.#once(`[${spelled.join(", ")}]`, (name) => {
      const parts = extents.map((extent) => {
        if ("fixed" in extent) return this.#ints([extent.fixed]);
        return extent.times === 1 ? this.#size() : this.#multiple(extent.times);
      });
      this.#add("Concat", parts, name, extents.length, { axis: 0 });
    });
  }

  graph(inputs: OnnxGraph["inputs"], outputs: OnnxGraph["outputs"]): OnnxGraph {
    const used = new Set(this.nodes.flatMap((node) => node.inputs));
    const all = Object.entries({ ...this.#given, ...this.#constants });
    const constants = Object.fromEntries(all.filter(([name]) => used.has(name)));
    for (const [name, type] of Object.entries({ ...inputs, ...outputs })) this.#types.set(name, type);
    return { inputs, outputs, nodes: this.nodes, constants, types: this.#types };
  }

  #size(): string {
    return this.#once("batch", (name) => this.#add("Shape", [this.input], name, 1, { start: 0, end: 1 }));
  }

  #multiple(times: number): string {
    return this.#once(`${times} × batch`, (name) => this.#add("Mul", [this.#size(), this.#ints([times])], name, 1));
  }

  #ints(values: readonly number[]): string {
    return this.#once(`[${values.join(", ")}]`, (name) => {
      this.#constants[name] = { shape: [values.length], dtype: "int64", data: BigInt64Array.from(values, BigInt) };
      this.#types.set(name, this.#constants[name]);
    });
  }

  #add(op: string, inputs: string[], output: string, length: number, attributes: OnnxNode["attributes"] = {}): void {
    this.#types.set(output, { shape: [length], dtype: "int64" });
    this.nodes.push({ op, domain: "", inputs, outputs: [output], attributes });
  }

  #once(key: string, make: (name: string) => void): string {
    const name = `shape ${key}`;
    if (!this.#known.has(name)) {
      this.#known.add(name);
      make(name);
    }
    return name;
  }
}
