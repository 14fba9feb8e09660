/** Products that write straight into what their results are put together in, so that nothing is copied side by side. */
import { sizeOf } from "../types.js";
import type { Value } from "./gpuEmit.js";
import { emitJoining } from "./gpuReduce.js";
import { readsOf, type Joining, type Product, type Step } from "./gpuSteps.js";
import { coalesce, groups, type Slot, type View } from "./gpuView.js";
import type { OnnxNode } from "./onnx.js";

/** Numbers that lie side by side along one axis: `of` names them, and they begin at the `start`-th of every `total`. */
interface Part {
  readonly of: string;
  readonly start: number;
  readonly extent: number;
  readonly total: number;
}

/** The concatenation that a value is, under whatever name. */
function joinedBy(name: string, values: ReadonlyMap<string, Value>): OnnxNode | null {
  const value = values.get(name)!;
  if (!("node" in value)) return null;
  const { op, inputs } = value.node;
  return op === "Identity" ? joinedBy(inputs[0], values) : op === "Concat" ? value.node : null;
}

function joinedParts({ inputs, attributes }: OnnxNode, values: ReadonlyMap<string, Value>): Part[] {
  const axis = attributes.axis as number;
  const extents = inputs.map((input) => sizeOf(values.get(input)!.shape.slice(axis)));
  const total = extents.reduce((sum, extent) => sum + extent, 0);
  let start = 0;
  return inputs.map((of, i) => {
    const part = { of, start, extent: extents[i], total };
    start += extents[i];
    return part;
  });
}

/** A product as it would write a part of something larger. */
interface Direct {
  readonly at: number;
  readonly step: Product;
}

/** No product is two parts. */
const apart = (made: readonly (Direct | null)[]): boolean => {
  const places = made.flatMap((product) => (product ? [product.at] : []));
  return new Set(places).size === places.length;
};

/** The place in `joined` of every number of a slot, in the slot's order, where the part is a view of all of it. */
function placeIn(joined: Slot, { start, extent, total }: Part, view: View): View | null {
  const { slot, offset } = view;
  const digits = groups(view.axes, [slot.size / extent, extent]);
  if (offset !== 0 || !digits) return null;
  const found: { extent: number; from: number; to: number }[] = [];
  for (const [axes, first] of [
    [digits[0], total],
    [digits[1], 1],
  ] as const) {
    let to = first;
    for (const axis of [...axes].reverse()) {
      found.push({ extent: axis.extent, from: axis.stride, to });
      to *= axis.extent;
    }
  }
  found.sort((p, q) => p.from - q.from);
  let below = 1;
  for (const axis of found) {
    if (axis.from !== below) return null;
    below *= axis.extent;
  }
  const axes = coalesce(found.reverse().map((axis) => ({ extent: axis.extent, stride: axis.to })));
  return below === slot.size ? { slot: joined, offset: start, axes, scale: 1 } : null;
}

/**
 * The same steps, where products write into what only they are put together in: queries', keys' and values' gradients side
 * by side, or all gradients of a pack, of which the rest is copied as before.
 */
export function writeDirectly(all: readonly Step[], values: ReadonlyMap<string, Value>, mostBuffers: number): Step[] {
  const steps = new Map<number, Step>(all.entries());
  const readers = new Map<Slot, number>();
  const products = new Map<Slot, number>();
  all.forEach((step, at) => {
    for (const slot of readsOf(step, values)) readers.set(slot, (readers.get(slot) ?? 0) + 1);
    if (step.kind === "product") products.set(step.out.slot, at);
  });

  /** The product that computes a part, as it would write it. */
  const direct = (part: Part, joined: Slot, before: number): Direct | null => {
    const value = values.get(part.of)!;
    if (!("view" in value)) return null;
    const { slot, scale } = value.view;
    const at = products.get(slot);
    if (at === undefined || at >= before || slot.kind !== "temporary" || readers.get(slot) !== 1) return null;
    const step = steps.get(at) as Product;
    const out = placeIn(joined, part, value.view);
    if (!out || !groups(out.axes, [step.batch, step.m, step.n])) return null;
    return { at, step: { ...step, out, alpha: step.alpha * scale, beta: step.beta * scale } };
  };

  all.forEach((step, before) => {
    if (step.kind === "joining") {
      const made = joinedParts(step.node, values).map((part) => direct(part, step.out, before));
      const rest: Joining = { ...step, there: made.map((product) => product !== null) };
      const kernels = (of: Joining): number => emitJoining(of, values, mostBuffers).length;
      // What is left may lie in more stretches than all did.
      if (!apart(made) || kernels(rest) > kernels(step)) return;
      steps.set(before, rest);
      for (const product of made) if (product) steps.set(product.at, product.step);
    }
    if (step.kind !== "group" || step.outputs.length > 1) return;
    const [{ name, slot }] = step.outputs;
    const node = joinedBy(name, values);
    if (!node) return;
    const made = joinedParts(node, values).map((part) => direct(part, slot, before));
    if (made.includes(null) || !apart(made)) return;
    for (const product of made) steps.set(product!.at, product!.step);
    steps.delete(before);
  });
  return [...steps.values()];
}
