/**
 * Which values of a graph lie in memory, which are computed where they are read, and which kernel stores them: those that
 * are computed from the same data are stored by one.
 */
import { sizeOf } from "../types.js";
import { NotLocal, type Value } from "./gpuEmit.js";
import { emitGroup, type Group } from "./gpuGroup.js";
import type { Reduction, Step, Sum } from "./gpuSteps.js";
import { wholeView, type Slot, type View } from "./gpuView.js";
import type { OnnxGraph, OnnxNode } from "./onnx.js";
import { NEXT_PACK } from "./pack.js";

/** An expression that costs more is computed once and stored, where it is read more than once. */
const COSTLY = 64;
/** Steps that are looked back over for a kernel to join. */
const LOOKBACK = 80;
/** What two reductions must have alike to be one kernel. */
const DIVISION = ["op", "outer", "along", "inner", "parts"] as const;
const VIEWED: ReadonlySet<string> = new Set([
  "Gemm",
  "MatMul",
  "Transpose",
  "Slice",
  "Split",
  "Expand",
  "Concat",
  "Pad",
  "Gather",
]);

/** The values of a graph, none so far, and what puts them there. */
export function storeValues(graph: OnnxGraph, mostBuffers: number) {
  const values = new Map<string, Value>();
  /** What is stored goes by another name from then on: expressions that were made before go on computing it. */
  const alias = new Map<string, string>();
  const now = (name: string): string => alias.get(name) ?? name;
  const steps: Step[] = [];
  const outputs = new Map<string, Slot>();
  const constants = new Map<Slot, Float32Array | Int32Array>();
  const written = new Map<Slot, number>();
  const mostLeaves = Math.max(3, mostBuffers - 3);

  const valueOf = (name: string): Value => values.get(now(name))!;
  const shapeOf = (name: string): readonly number[] => valueOf(name).shape;
  const leavesOf = (name: string): ReadonlySet<Slot> => {
    const value = valueOf(name);
    if ("view" in value) return new Set([value.view.slot]);
    return "node" in value ? value.leaves : new Set();
  };

  // Readers of every value, seen through what only renames it.
  const readers = new Map<string, OnnxNode[]>();
  for (const node of graph.nodes) {
    for (const input of new Set(node.inputs)) readers.set(input, [...(readers.get(input) ?? []), node]);
  }
  const readersOf = (name: string): OnnxNode[] =>
    (readers.get(name) ?? []).flatMap((node) =>
      (node.op === "Reshape" || node.op === "Identity") && !(node.outputs[0] in graph.outputs)
        ? readersOf(node.outputs[0])
        : [node],
    );

  const newSlot = (name: string, shape: readonly number[]): Slot => {
    const kind = name.startsWith(NEXT_PACK) ? "next" : name in graph.outputs ? "output" : "temporary";
    const slot: Slot = { name, size: sizeOf(shape), dtype: "float32", kind };
    if (kind !== "temporary") outputs.set(name, slot);
    return slot;
  };
  const stored = (name: string, shape: readonly number[], slot: Slot, at: number): void => {
    const own = values.has(name) ? `${name} stored` : name;
    if (own !== name) alias.set(name, own);
    values.set(own, { shape, view: wholeView(slot) });
    written.set(slot, at);
  };

  /** Whether a group can be written, with the buffers that a shader may have. */
  const fits = (group: Group): boolean => {
    try {
      return emitGroup(group, values).bindings.length <= mostBuffers;
    } catch (error) {
      if (error instanceof NotLocal) return false;
      throw error;
    }
  };

  /** Stores a value that was an expression so far: in a kernel that reads the same, or in one of its own. */
  const store = (name: string): void => {
    const value = valueOf(name);
    if (!("node" in value)) return;
    const { node, shape, leaves } = value;
    const slot = newSlot(name, shape);
    const size = sizeOf(shape);
    const row = rowOf(node, name);
    const domain = row ? row.rows * row.columns : size;
    for (let at = steps.length - 1; at >= Math.max(0, steps.length - LOOKBACK); at--) {
      const group = steps[at];
      if (group.kind !== "group") continue;
      const own = new Set(group.outputs.map((output) => output.slot));
      if ([...leaves].some((leaf) => !own.has(leaf) && (written.get(leaf) ?? -1) >= at)) continue;
      const columns = group.columns || row?.columns || 0;
      const sameDomain = group.size === domain && (!row || !group.columns || group.columns === row.columns);
      const perRow = !row && group.columns > 0 && group.size === size * group.columns;
      if (!sameDomain && !perRow) continue;
      const shared = [...leaves].some(
        (leaf) => own.has(leaf) || (leaf.size * 2 >= group.size && group.reads.has(leaf)),
      );
      if (!shared) continue;
      const joined: Group = {
        ...group,
        columns,
        outputs: [...group.outputs, { name, slot, reduced: row !== null, perRow }],
        reads: new Set([...group.reads, ...leaves]),
      };
      if (!fits(joined)) continue;
      steps[at] = joined;
      stored(name, shape, slot, at);
      return;
    }
    stored(name, shape, slot, steps.length);
    steps.push({
      kind: "group",
      size: domain,
      columns: row?.columns ?? 0,
      outputs: [{ name, slot, reduced: row !== null, perRow: false }],
      reads: leaves,
    });
  };

  /** Stores a long sum: with another sum of the same data, or in a kernel of its own. */
  const storeSum = (name: string, shape: readonly number[], of: Omit<Reduction, "sums">, x: string): void => {
    const slot = newSlot(name, shape);
    const sum: Sum = { of: now(x), out: wholeView(slot) };
    const leaves = leavesOf(x);
    const joins = (step: Step, at: number): boolean => {
      if (step.kind !== "reduction" || of.inner === 1 || at < steps.length - LOOKBACK) return false;
      if (DIVISION.some((extent) => step[extent] !== of[extent])) return false;
      const theirs = step.sums.flatMap((other) => [...leavesOf(other.of)]);
      const buffers = new Set([...theirs, ...leaves]).size + step.sums.length + 1;
      const early = [...leaves].every((leaf) => (written.get(leaf) ?? -1) < at);
      return early && buffers <= mostBuffers && theirs.some((leaf) => leaves.has(leaf) && leaf.size > slot.size);
    };
    const at = steps.findLastIndex(joins);
    const step = steps[at];
    if (step?.kind === "reduction") steps[at] = { ...step, sums: [...step.sums, sum] };
    else steps.push({ ...of, sums: [sum] });
    stored(name, shape, slot, step ? at : steps.length - 1);
  };

  const viewOf = (name: string): View => {
    const value = valueOf(name);
    if ("view" in value) return value.view;
    if ("number" in value) {
      const slot: Slot = { name, size: 1, dtype: "float32", kind: "constant" };
      constants.set(slot, Float32Array.of(value.number));
      const spread = sizeOf(value.shape);
      alias.set(name, `${name} in memory`);
      const view = { ...wholeView(slot), axes: spread > 1 ? [{ extent: spread, stride: 0 }] : [] };
      values.set(`${name} in memory`, { shape: value.shape, view });
      return view;
    }
    store(name);
    return viewOf(name);
  };
  /** The view that something makes of a value; what it cannot be made of is stored in its order first. */
  const reviewed = (name: string, make: (view: View) => View | null): View => {
    const made = make(viewOf(name));
    if (made) return made;
    const copy = `${name} in order`;
    if (!values.has(copy)) {
      express(copy, { op: "Identity", domain: "", inputs: [name], outputs: [copy], attributes: {} }, shapeOf(name));
      store(copy);
    }
    return make(viewOf(copy))!;
  };

  /** A value that is computed where it is read. */
  const express = (name: string, of: OnnxNode, shape: readonly number[], own = 0): void => {
    const { inputs: given } = of;
    const all = () => new Set(given.flatMap((input) => [...leavesOf(input)]));
    while (all().size > mostLeaves) {
      const [largest] = given
        .filter((input) => "node" in valueOf(input))
        .sort((a, b) => leavesOf(b).size - leavesOf(a).size);
      if (!largest) break;
      store(largest);
    }
    const costs = given.map((input) => {
      const value = valueOf(input);
      return "node" in value ? value.cost : 0;
    });
    const cost = costs.reduce((sum, one) => sum + one, own);
    values.set(name, { shape, node: { ...of, inputs: given.map(now) }, cost, leaves: all() });
  };

  const settle = (name: string): void => {
    const value = valueOf(name);
    if (!("node" in value)) return;
    if (name in graph.outputs) return store(name);
    const read = readersOf(name);
    if (read.length < 2) return;
    const size = sizeOf(value.shape);
    const large = [...value.leaves].filter((leaf) => leaf.size * 2 >= size && leaf.size > 1);
    const viewed = read.some(({ op }) => VIEWED.has(op));
    if (viewed || value.cost > COSTLY || large.length > 1) store(name);
  };

  const rowOf = (node: OnnxNode, name: string): { rows: number; columns: number } | null => {
    if (!node.op.startsWith("Reduce")) return null;
    const rows = sizeOf(shapeOf(name));
    return { rows, columns: sizeOf(values.get(node.inputs[0])!.shape) / rows };
  };

  return {
    values,
    steps,
    outputs,
    constants,
    readers,
    now,
    valueOf,
    shapeOf,
    newSlot,
    stored,
    store,
    storeSum,
    viewOf,
    reviewed,
    express,
    settle,
  };
}
