/**
 * Decides which kernels compute a graph: what is only another view of memory, and what is a product, a reduction or an
 * expression. gpuStored.ts says which expressions are stored, and by which kernel.
 */
import { sizeOf } from "../types.js";
import type { Value } from "./gpuEmit.js";
import { writeDirectly } from "./gpuDirect.js";
import { FORMULAS } from "./gpuFormulas.js";
import { lowerForGpu } from "./gpuLower.js";
import { partsOf } from "./gpuReduce.js";
import { inProducts, inStages } from "./gpuStages.js";
import { trimmed, type Plan } from "./gpuSteps.js";
import { storeValues } from "./gpuStored.js";
import { expanded, groups, sliced, transposed, wholeView, type Slot, type View } from "./gpuView.js";
import type { OnnxGraph, OnnxNode } from "./onnx.js";
import { PACK } from "./pack.js";

/** Reductions over rows longer than this, of which there are few, are split among groups of threads. */
const LONG = 4096;
/** Numbers of every type are floats here, and truth is 1: by the numbers of ONNX's types, what a cast to them does. */
const CASTS: Readonly<Record<number, string>> = { 1: "Identity", 6: "Truncate", 9: "Truth" };

export function planGraph(source: OnnxGraph, mostBuffers: number): Plan {
  const graph = lowerForGpu(source);
  const planned = storeValues(graph, mostBuffers);
  const { values, steps, outputs, constants, readers, now, valueOf, shapeOf } = planned;
  const { newSlot, stored, store, storeSum, viewOf, reviewed, express, settle } = planned;
  const inputs = new Map<string, Slot>();

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
      out: wholeView(out),
      sums: null,
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
    storeSum(
      y,
      to,
      { kind: "reduction", op: node.op, outer, along, inner, parts: partsOf({ outer, along, inner }) },
      x,
    );
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
  const summed = inProducts(trimmed(steps, values, outputs), values);
  const staged = inStages(writeDirectly(summed, values, mostBuffers), values);
  return { ...staged, inputs, scalars, scalarSlot, outputs, constants };
}
