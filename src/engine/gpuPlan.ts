/**
 * Decides which kernels compute a graph: what is only another view of memory, what is computed where it is read, and
 * what is stored; and which stored values one kernel computes together.
 */
import { sizeOf } from "../types.js";
import { lowerForGpu } from "./gpuLower.js";
import { NotLocal, type Value } from "./gpuEmit.js";
import { FORMULAS } from "./gpuFormulas.js";
import { emitGroup, type Group } from "./gpuGroup.js";
import { expanded, groups, sliced, transposed, wholeView, type Slot, type View } from "./gpuView.js";
import type { OnnxGraph, OnnxNode } from "./onnx.js";
import { NEXT_PACK, PACK } from "./pack.js";

/** A product of matrices, batched: `out = α a b + β c`. */
export interface Product {
  readonly kind: "product";
  readonly a: View;
  readonly b: View;
  readonly c: View | null;
  readonly alpha: number;
  readonly beta: number;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly out: Slot;
}

/** `out[o, i] = Σ_r of[o, r, i]`, or a maximum: reductions that are too long for one group of threads. */
export interface Reduction {
  readonly kind: "reduction";
  readonly op: string;
  readonly of: string;
  readonly outer: number;
  readonly along: number;
  readonly inner: number;
  readonly out: Slot;
}

/** Copies of parts that lie side by side along one axis, where they are too many for one kernel. */
export interface Joining {
  readonly kind: "joining";
  readonly node: OnnxNode;
  readonly out: Slot;
}

export type Step = Product | Reduction | Joining | Group;

export interface Plan {
  readonly steps: readonly Step[];
  readonly values: ReadonlyMap<string, Value>;
  readonly inputs: ReadonlyMap<string, Slot>;
  /** Scalars that a step is given, in the order in which they lie in one slot. */
  readonly scalars: readonly string[];
  readonly scalarSlot: Slot | null;
  readonly outputs: ReadonlyMap<string, Slot>;
  readonly constants: ReadonlyMap<Slot, Float32Array | Int32Array>;
}

/** An expression that costs more is computed once and stored, where it is read more than once. */
const COSTLY = 64;
/** Reductions over rows longer than this, of which there are few, are split among groups of threads. */
const LONG = 4096;
const LOOKBACK = 80;
/** Numbers of every type are floats here, and truth is 1: by the numbers of ONNX's types, what a cast to them does. */
const CASTS: Readonly<Record<number, string>> = { 1: "Identity", 6: "Truncate", 9: "Truth" };
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

export function planGraph(source: OnnxGraph, mostBuffers: number): Plan {
  const graph = lowerForGpu(source);
  const values = new Map<string, Value>();
  /** What is stored goes by another name from then on: expressions that were made before go on computing it. */
  const alias = new Map<string, string>();
  const now = (name: string): string => alias.get(name) ?? name;
  const steps: Step[] = [];
  const inputs = new Map<string, Slot>();
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

  const scalars = Object.keys(graph.inputs).filter((name) => graph.inputs[name].shape.length === 0);
  const scalarSlot: Slot | null =
    scalars.length > 0 ? { name: "scalars", size: scalars.length, dtype: "float32", kind: "input" } : null;
  for (const [name, { shape, dtype }] of Object.entries(graph.inputs)) {
    if (shape.length === 0) {
      values.set(name, { shape, view: wholeView(scalarSlot!, scalars.indexOf(name), 1) });
      continue;
    }
    if (dtype !== "float32" && dtype !== "int32") throw new Error(`the input ${name} of type ${dtype}`);
    const slot: Slot = { name, size: sizeOf(shape), dtype, kind: name.startsWith(PACK) ? "state" : "input" };
    inputs.set(name, slot);
    values.set(name, { shape, view: wholeView(slot) });
  }
  for (const [name, { shape, dtype, data }] of Object.entries(graph.constants)) {
    if (dtype === "int64") continue;
    const size = sizeOf(shape);
    if (size === 1) values.set(name, { shape, number: Number(data[0]) });
    else {
      const slot: Slot = { name, size, dtype: dtype === "int32" ? "int32" : "float32", kind: "constant" };
      constants.set(
        slot,
        dtype === "bool" ? Float32Array.from(data as Uint8Array) : (data as Float32Array | Int32Array),
      );
      values.set(name, { shape, view: wholeView(slot) });
    }
  }

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

  const product = (node: OnnxNode): void => {
    const [y] = node.outputs;
    const shape = graph.types.get(y)!.shape;
    const [aShape, bShape] = node.inputs.map(shapeOf);
    const float = (name: string): number => (node.attributes[name] as { float: number } | undefined)?.float ?? 1;
    const [m, n] = shape.slice(-2);
    const [transA, transB] = [node.attributes.transA === 1, node.attributes.transB === 1];
    const batchShape = shape.slice(0, -2);
    const batch = sizeOf(batchShape);
    const k = transA ? aShape[0] : aShape[aShape.length - 1];
    /** Rows, columns and batch must be steps of their own. */
    const apart = (view: View | null, by: readonly number[]) => (view && groups(view.axes, by) ? view : null);
    const operand = (name: string, own: readonly number[], turn: boolean, by: readonly number[]): View =>
      reviewed(name, (view) =>
        apart(turn ? transposed(view, own, [1, 0]) : expanded(view, own, [...batchShape, ...own.slice(-2)]), by),
      );
    const a = operand(node.inputs[0], aShape, transA, [batch, m, k]);
    const b = operand(node.inputs[1], bShape, transB, [batch, k, n]);
    const [, , added] = node.inputs;
    const c = added ? reviewed(added, (view) => apart(expanded(view, shapeOf(added), shape), [batch, m, n])) : null;
    const out = newSlot(y, shape);
    steps.push({
      kind: "product",
      a,
      b,
      c,
      alpha: float("alpha") * a.scale * b.scale,
      beta: float("beta") * (c?.scale ?? 1),
      batch,
      m,
      n,
      k,
      out,
    });
    stored(y, shape, out, steps.length - 1);
  };

  const reduce = (node: OnnxNode): void => {
    const [x] = node.inputs;
    const [y] = node.outputs;
    const shape = shapeOf(x);
    const to = graph.types.get(y)!.shape;
    const axes = [...(node.attributes.axes as number[])].filter((axis) => shape[axis] > 1).sort((p, q) => p - q);
    const between = shape
      .slice(axes[0], axes[axes.length - 1] + 1)
      .filter((extent, i) => extent > 1 && !axes.includes(axes[0] + i));
    if (between.length > 0) {
      const perm = [...shape.keys()].filter((axis) => !axes.includes(axis)).concat(axes);
      const turned = `${y} turned`;
      const view = reviewed(x, (it) => transposed(it, shape, perm));
      values.set(turned, { shape: perm.map((axis) => shape[axis]), view });
      const last = axes.map((_, i) => shape.length - axes.length + i);
      return reduce({ ...node, inputs: [turned], attributes: { axes: last } });
    }
    const along = sizeOf(axes.map((axis) => shape[axis]));
    const outer = sizeOf(shape.slice(0, axes[0] ?? 0));
    const inner = axes.length === 0 ? sizeOf(shape) : sizeOf(shape.slice(axes[axes.length - 1] + 1));
    if (axes.length === 0) {
      express(y, { op: "Identity", domain: "", inputs: [x], outputs: [y], attributes: {} }, to);
      return settle(y);
    }
    if (inner === 1 && (along <= LONG || outer >= 512)) {
      express(y, node, to, 1);
      store(y);
      return;
    }
    const out = newSlot(y, to);
    steps.push({ kind: "reduction", op: node.op, of: now(x), outer, along, inner, out });
    stored(y, to, out, steps.length - 1);
  };

  const factor = (node: OnnxNode): { by: number; of: string } | null => {
    if (node.op !== "Mul") return null;
    for (const [f, x] of [node.inputs, [...node.inputs].reverse()]) {
      const [number, value] = [valueOf(f), valueOf(x)];
      if ("number" in number && "view" in value && sizeOf(number.shape) === 1 && value.view.slot.size > 1)
        return { by: number.number, of: x };
    }
    return null;
  };

  for (const node of graph.nodes) {
    const { op, inputs: from, outputs: to, attributes } = node;
    const [y] = to;
    const { shape } = graph.types.get(y)!;
    const wanted = y in graph.outputs;
    const view = (name: string, of: readonly number[], made: View): void => {
      values.set(name, { shape: of, view: made });
      if (!(name in graph.outputs)) return;
      // What is wanted by name is copied out.
      values.set(`${name} here`, { shape: of, view: made });
      express(name, { op: "Identity", domain: "", inputs: [`${name} here`], outputs: [name], attributes: {} }, of);
      store(name);
    };
    if ((op === "Reshape" || op === "Identity") && !wanted) {
      const value = valueOf(from[0]);
      if ("view" in value) values.set(y, { shape, view: value.view });
      else if ("number" in value) values.set(y, { shape, number: value.number });
      else express(y, { op: "Identity", domain: "", inputs: [from[0]], outputs: [y], attributes: {} }, shape);
    } else if (op === "Transpose") {
      view(
        y,
        shape,
        reviewed(from[0], (it) => transposed(it, shapeOf(from[0]), attributes.perm as number[])),
      );
    } else if (op === "Expand") {
      view(
        y,
        shape,
        reviewed(from[0], (it) => expanded(it, shapeOf(from[0]), shape)),
      );
    } else if (op === "Slice") {
      const [starts, ends, axes] = [attributes.starts, attributes.ends, attributes.axes] as number[][];
      const cut = (it: View): View | null => {
        let [now, left]: [View | null, number[]] = [it, [...shapeOf(from[0])]];
        axes.forEach((axis, i) => {
          const start = starts[i] < 0 ? starts[i] + left[axis] : starts[i];
          const end = Math.min(ends[i] < 0 ? ends[i] + left[axis] : ends[i], left[axis]);
          now = now && sliced(now, left, axis, start, end - start);
          left = left.map((extent, at) => (at === axis ? end - start : extent));
        });
        return now;
      };
      view(y, shape, reviewed(from[0], cut));
    } else if (op === "Split") {
      let start = 0;
      (attributes.sizes as number[]).forEach((size, i) => {
        const [at, of] = [start, graph.types.get(to[i])!.shape];
        if (readers.has(to[i]) || to[i] in graph.outputs)
          view(
            to[i],
            of,
            reviewed(from[0], (it) => sliced(it, shapeOf(from[0]), attributes.axis as number, at, size)),
          );
        start += size;
      });
    } else if (op === "Gemm" || op === "MatMul") product(node);
    else if (op.startsWith("Reduce") && attributes.axes) reduce(node);
    else if (op === "Concat" && from.length > Math.min(6, mostBuffers - 2)) {
      from.forEach(viewOf);
      const out = newSlot(y, shape);
      steps.push({ kind: "joining", node: { ...node, inputs: from.map(now) }, out });
      stored(y, shape, out, steps.length - 1);
    } else if (op === "Concat" || op === "Pad" || op === "Gather") {
      from.forEach(viewOf);
      express(y, node, shape, 4);
      settle(y);
    } else if (op === "Cast" || FORMULAS[op]) {
      const scale = wanted ? null : factor(node);
      if (scale) {
        const value = valueOf(scale.of) as Value & { view: View };
        values.set(y, { shape, view: { ...value.view, scale: value.view.scale * scale.by } });
      } else {
        const cast = CASTS[attributes.to as number];
        if (op === "Cast" && !cast)
          throw new Error(`the operation Cast to type ${String(attributes.to)} is not covered`);
        express(y, op === "Cast" ? { ...node, op: cast } : node, shape, FORMULAS[op === "Cast" ? cast : op].cost);
        settle(y);
      }
    } else throw new Error(`the operation ${op} is not covered`);
  }
  for (const name of Object.keys(graph.outputs)) if (!outputs.has(name)) store(name);
  return { steps: trimmed(steps, outputs), values, inputs, scalars, scalarSlot, outputs, constants };

  /** Groups keep for themselves what nobody else reads. */
  function trimmed(all: readonly Step[], kept: ReadonlyMap<string, Slot>): Step[] {
    const needed = new Set<Slot>(kept.values());
    all.forEach((step) => {
      const own = step.kind === "group" ? new Set(step.outputs.map(({ slot }) => slot)) : new Set<Slot>();
      for (const slot of readsOf(step, values)) if (!own.has(slot)) needed.add(slot);
    });
    return all.map((step) =>
      step.kind === "group"
        ? { ...step, outputs: step.outputs.map((output) => ({ ...output, kept: needed.has(output.slot) })) }
        : step,
    );
  }
}

/** Slots that a step reads, its own included. */
export function readsOf(step: Step, values: ReadonlyMap<string, Value>): Set<Slot> {
  const found = new Set<Slot>();
  const visit = (name: string): void => {
    const value = values.get(name)!;
    if ("view" in value) found.add(value.view.slot);
    else if ("node" in value) value.node.inputs.forEach(visit);
  };
  if (step.kind === "product") for (const view of [step.a, step.b, step.c]) if (view) found.add(view.slot);
  if (step.kind === "reduction") visit(step.of);
  if (step.kind === "joining") step.node.inputs.forEach(visit);
  if (step.kind === "group") for (const { name } of step.outputs) visit(name);
  return found;
}
