/** What a planned graph consists of: the steps that become kernels, and what each of them reads. */
import type { Value } from "./gpuEmit.js";
import type { Group } from "./gpuGroup.js";
import type { Slot, View } from "./gpuView.js";
import type { OnnxNode } from "./onnx.js";

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
  readonly out: View;
  /** The sum of every column of b, `[n]`: of what the product reads anyway. Its batch is 1. */
  readonly sums: Sum | null;
}

/** What is added up, and where the sum lies: side by side. */
export interface Sum {
  readonly of: string;
  readonly out: View;
}

/**
 * `out[o, p, i] = Σ_r of[o, r, i]`, or a maximum, over the p-th part of r: reductions that are too long for one group of
 * threads. Several that read the same.
 */
export interface Reduction {
  readonly kind: "reduction";
  readonly op: string;
  readonly outer: number;
  readonly along: number;
  readonly inner: number;
  readonly parts: number;
  readonly sums: readonly Sum[];
}

/** Copies of parts that lie side by side along one axis, where they are too many for one kernel. */
export interface Joining {
  readonly kind: "joining";
  readonly node: OnnxNode;
  readonly out: Slot;
  /** Which of the parts are written where they belong by what computes them; none where it is not said. */
  readonly there?: readonly boolean[];
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

/** Slots that a step reads, its own included. */
export function readsOf(step: Step, values: ReadonlyMap<string, Value>): Set<Slot> {
  const found = new Set<Slot>();
  const visit = (name: string): void => {
    const value = values.get(name)!;
    if ("view" in value) found.add(value.view.slot);
    else if ("node" in value) value.node.inputs.forEach(visit);
  };
  if (step.kind === "product") for (const view of [step.a, step.b, step.c]) if (view) found.add(view.slot);
  if (step.kind === "reduction") for (const { of } of step.sums) visit(of);
  if (step.kind === "joining") step.node.inputs.forEach(visit);
  if (step.kind === "group") for (const { name } of step.outputs) visit(name);
  return found;
}

/** Groups keep for themselves what nobody else reads. */
export function trimmed(
  all: readonly Step[],
  values: ReadonlyMap<string, Value>,
  outputs: ReadonlyMap<string, Slot>,
): Step[] {
  const needed = new Set<Slot>(outputs.values());
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
