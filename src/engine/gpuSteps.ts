/** What a planned graph consists of: the steps that become kernels, and what each of them reads. */
import type { Value } from "./gpuEmit.js";
import type { Group } from "./gpuGroup.js";
import { sameView, type Slot, type View } from "./gpuView.js";
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
  readonly out: Slot;
  /** The sum of every column of b, `[n]`: of what the product reads anyway. Its batch is 1. */
  readonly sums: Reduction | null;
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

/** Whether a product reads what is summed, as its right operand: as the gradient of a bias sums what that of a weight reads. */
export function addsUp(
  { batch, k, n, b, sums }: Product,
  { op, of, outer, along, inner }: Reduction,
  values: ReadonlyMap<string, Value>,
): boolean {
  const value = values.get(of)!;
  if (op !== "ReduceSum" || sums || batch !== 1 || outer !== 1 || along !== k || inner !== n) return false;
  return "view" in value && sameView(value.view, b);
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
