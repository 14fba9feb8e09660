/**
 * Packs small arrays of a training state into few flat ones, and their updates with them.
 *
 * An optimiser does the same dozen element-wise operations to every parameter, most of which are small: in ViT nano's
 * graph these were more than half of the nodes, and each state array costs a conversion between JavaScript and the
 * runtime, in and out. Arrays whose new values are computed alike are laid side by side, and computed at once.
 * Large arrays stay alone: their updates would leave the processor's cache between one operation and the next.
 */
import { sizeOf } from "../types.js";
import type { Literal, OnnxGraph, OnnxNode, OnnxType } from "./onnx.js";
import { nameOutputs, producersOf, removeDead } from "./onnxOptimize.js";

/** State arrays that are stored side by side, in this order. */
export type Pack = readonly string[];

export const STATE = "state/";
export const NEXT = "state'/";
export const PACK = "pack/";
export const NEXT_PACK = "pack'/";

/** Elements of a pack: 64 Ki floats are 256 KB, so that an update's operands stay in a core's second-level cache. */
const PACK_SIZE = 65_536;

export const ELEMENTWISE: ReadonlySet<string> = new Set([
  "Add",
  "Sub",
  "Mul",
  "Div",
  "Max",
  "Min",
  "Sqrt",
  "Reciprocal",
  "Neg",
  "Abs",
  "Exp",
  "Log",
]);

/** What a graph's nodes say of its values. */
export class View {
  readonly #producers: ReadonlyMap<string, OnnxNode>;

  constructor(readonly graph: OnnxGraph) {
    this.#producers = producersOf(graph.nodes);
  }

  /** What computes an output, below the node that only names it. */
  root(output: string): string {
    return this.#producers.get(output)!.inputs[0];
  }

  producer(name: string): OnnxNode | undefined {
    return this.#producers.get(name);
  }

  shape(name: string): readonly number[] {
    return this.graph.types.get(name)!.shape;
  }

  isScalar(name: string): boolean {
    return this.shape(name).length === 0;
  }

  /** The node, where it is one of `ops`, element-wise over tensors of `shape` and scalars. */
  elementwise(name: string, shape: readonly number[], ops = ELEMENTWISE): OnnxNode | undefined {
    const node = this.#producers.get(name);
    if (!node || !ops.has(node.op) || this.isScalar(name)) return undefined;
    const fits = (input: string) => this.isScalar(input) || String(this.shape(input)) === String(shape);
    return node.inputs.every(fits) ? node : undefined;
  }
}

/** How the new value of a state array is computed, with the array's own names left out, and which arrays that reads. */
function describe(view: View, name: string): { formula: string; reads: string[] } {
  const output = NEXT + name;
  const shape = view.shape(output);
  const seen = new Map<string, number>();
  const reads: string[] = [];
  const spell = (value: string): string => {
    if (view.isScalar(value)) return value;
    const known = seen.get(value);
    if (known !== undefined) return `#${known}`;
    seen.set(value, seen.size);
    if (value.startsWith(STATE)) {
      reads.push(value.slice(STATE.length));
      return "state";
    }
    const node = view.elementwise(value, shape);
    return node ? `${node.op}(${node.inputs.map(spell).join()})` : "given";
  };
  return { formula: spell(view.root(output)), reads };
}

/**
 * Decides what is packed with what. Arrays that are updated together (a parameter, its moments, its teacher) form a
 * family; families whose formulas are the same share packs, member by member, so that one pack's update reads others.
 *
 * @param names arrays of the state; the graph reads them as `state/…` and writes them as `state'/…`
 * @param most  elements of a pack of more than one array
 * @returns packs that together hold every name once
 */
export function planPacks(graph: OnnxGraph, names: readonly string[], most = PACK_SIZE): Pack[] {
  const view = new View(graph);
  const formulas = new Map(names.map((name) => [name, describe(view, name)]));
  const head = new Map(names.map((name) => [name, name]));
  const find = (name: string): string => {
    const above = head.get(name)!;
    return above === name ? name : find(above);
  };
  for (const name of names) for (const other of formulas.get(name)!.reads) head.set(find(other), find(name));
  const families = new Map<string, string[]>();
  for (const name of names) families.set(find(name), [...(families.get(find(name)) ?? []), name]);

  const packs: string[][] = [];
  const open = new Map<string, { size: number; packs: string[][] }>();
  for (const family of families.values()) {
    const size = sizeOf(view.shape(NEXT + family[0]));
    const key = family.map((name) => formulas.get(name)!.formula).join("; ");
    let filling = open.get(key);
    if (!filling || filling.size + size > most) {
      filling = { size: 0, packs: family.map(() => []) };
      open.set(key, filling);
      packs.push(...filling.packs);
    }
    const { packs: own } = filling;
    filling.size += size;
    family.forEach((name, i) => own[i].push(name));
  }
  return packs;
}

/** What a pack is in a graph: a row of all its numbers, or an array that is alone, as it is. */
export function packShape(pack: Pack, shapeOf: (name: string) => readonly number[]): readonly number[] {
  if (pack.length === 1) return shapeOf(pack[0]);
  return [pack.reduce((sum, name) => sum + sizeOf(shapeOf(name)), 0)];
}

/**
 * The same graph over packs: inputs `pack/i` and outputs `pack'/i`, of `packShape`, instead of the arrays' own. It is
 * right for any packs, and fast for those that `planPacks` made of this graph or one like it.
 */
export function packState(graph: OnnxGraph, packs: readonly Pack[]): OnnxGraph {
  const view = new View(graph);
  const inputs: Record<string, OnnxType> = { ...graph.inputs };
  const outputs: Record<string, OnnxType> = { ...graph.outputs };
  const constants: Record<string, Literal> = { ...graph.constants };
  const types = new Map(graph.types);
  const before: OnnxNode[] = [];
  const after: OnnxNode[] = [];
  const at = new Map<string, string>(); // the pack's flat input by its members' names

  const ints = (values: readonly number[]): string => {
    const name = `pack sizes ${values.join()}`;
    const shape = [values.length];
    constants[name] = { shape, dtype: "int64", data: BigInt64Array.from(values, BigInt) };
    types.set(name, constants[name]);
    return name;
  };
  const add = (to: OnnxNode[], op: string, from: readonly string[], made: Record<string, number[]>, axis?: number) => {
    for (const [name, shape] of Object.entries(made)) types.set(name, { shape, dtype: "float32" });
    const attributes: OnnxNode["attributes"] = axis === undefined ? {} : { axis };
    to.push({ op, domain: "", inputs: from, outputs: Object.keys(made), attributes });
  };

  packs.forEach((pack, i) => {
    const shapeOf = (name: string) => view.shape(NEXT + name);
    const sizes = pack.map((name) => sizeOf(shapeOf(name)));
    const type: OnnxType = { shape: packShape(pack, shapeOf), dtype: "float32" };
    const [input, output] = [`${PACK}${i}`, `${NEXT_PACK}${i}`];
    for (const name of pack) {
      delete inputs[STATE + name];
      delete outputs[NEXT + name];
    }
    inputs[input] = type;
    outputs[output] = type;
    types.set(input, type);
    types.set(output, type);
    at.set(pack.map((name) => STATE + name).join("\n"), input);
    if (pack.length === 1) {
      add(before, "Identity", [input], { [STATE + pack[0]]: [...type.shape] });
      return;
    }
    // Every member by its old name, for what reads it alone; what nothing reads is left out in the end.
    const parts = pack.map((name) => `${input} ${name}`);
    add(before, "Split", [input, ints(sizes)], Object.fromEntries(parts.map((part, j) => [part, [sizes[j]]])), 0);
    pack.forEach((name, j) => {
      add(before, "Reshape", [parts[j], ints(shapeOf(name))], { [STATE + name]: [...shapeOf(name)] });
    });
  });

  const flat = new Map<string, string>();
  /** The flat tensor of values side by side: computed at once where they are computed alike. One is left as it is. */
  const join = (values: readonly string[]): string => {
    if (values.length === 1) return values[0];
    const key = values.join("\n");
    const known = flat.get(key) ?? at.get(key);
    if (known !== undefined) return known;
    const name = `flat ${flat.size}`;
    flat.set(key, name);
    const sizes = values.map((value) => sizeOf(view.shape(value)));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const nodes = values.map((value) => view.elementwise(value, view.shape(value)));
    const [first] = nodes;
    const position = (i: number) => nodes.map((node) => node!.inputs[i]);
    const alike =
      first !== undefined &&
      nodes.every((node) => node?.op === first.op) &&
      first.inputs.every((input, i) => {
        const column = position(i);
        return column.every((other) => (view.isScalar(input) ? other === input : !view.isScalar(other)));
      });
    if (alike) {
      const operands = first.inputs.map((input, i) => (view.isScalar(input) ? input : join(position(i))));
      add(after, first.op, operands, { [name]: [total] });
      return name;
    }
    const rows = values.map((value, i) => {
      const row = `${name} row ${i}`;
      add(after, "Reshape", [value, ints([sizes[i]])], { [row]: [sizes[i]] });
      return row;
    });
    add(after, "Concat", rows, { [name]: [total] }, 0);
    return name;
  };
  packs.forEach((pack, i) => {
    const shape = [...types.get(`${NEXT_PACK}${i}`)!.shape];
    add(after, "Identity", [join(pack.map((name) => view.root(NEXT + name)))], { [`${NEXT_PACK}${i}`]: shape });
  });
  return nameOutputs(removeDead({ inputs, outputs, constants, types, nodes: [...before, ...graph.nodes, ...after] }));
}
