/** Where long sums are computed: on the way by a product that reads what they sum, or in two stages of their own. */
import type { Value } from "./gpuEmit.js";
import { readsOf, type Product, type Reduction, type Step, type Sum } from "./gpuSteps.js";
import { sameView, temporary, viewSize, wholeView, type Slot, type View } from "./gpuView.js";

/** Whether a product reads what is summed, as its right operand: as the gradient of a bias sums what that of a weight reads. */
function addsUp({ batch, k, n, b, sums }: Product, { op, outer, along, inner }: Reduction, value: Value): boolean {
  if (op !== "ReduceSum" || sums || batch !== 1 || outer !== 1 || along !== k || inner !== n) return false;
  return "view" in value && sameView(value.view, b);
}

/** The same steps, where products add up what they can: nobody reads the sum before. */
export function inProducts(all: readonly Step[], values: ReadonlyMap<string, Value>): Step[] {
  const steps = [...all];
  const reads = all.map((step) => readsOf(step, values));
  all.forEach((step, i) => {
    if (step.kind !== "reduction") return;
    const sums = step.sums.filter((sum) => {
      const early = (at: number) => reads.slice(i + 1, at + 1).some((slots) => slots.has(sum.out.slot));
      const at = steps.findIndex(
        (other, j) => other.kind === "product" && addsUp(other, step, values.get(sum.of)!) && !early(j),
      );
      if (at >= 0) steps[at] = { ...(steps[at] as Product), sums: sum };
      return at < 0;
    });
    steps[i] = { ...step, sums };
  });
  return steps.filter((step) => step.kind !== "reduction" || step.sums.length > 0);
}

/** A second stage: where first stages have put their parts, and where the sums will lie. */
interface Batch {
  readonly of: Reduction;
  readonly parts: View[];
  readonly sums: View[];
}

/**
 * Long sums in two stages. The second stages are short: those of the same size are one kernel, which runs when somebody
 * first reads one of them. The gradients of all of a network's norms are read in the end, by its optimiser.
 */
export function inStages(
  all: readonly Step[],
  before: ReadonlyMap<string, Value>,
): { steps: Step[]; values: Map<string, Value> } {
  const values = new Map(before);
  const steps: Step[] = [];
  const open = new Map<string, Batch>();
  const homes = new Map<Slot, View>();

  /** Whole slots side by side in one. */
  const together = (views: readonly View[]): View => {
    if (views.length === 1) return views[0];
    const slots = views.map(({ slot }) => slot);
    const size = slots.reduce((sum, slot) => sum + slot.size, 0);
    const home = temporary(`${slots[0].name} and ${slots.length - 1} more`, size);
    let start = 0;
    for (const slot of slots) {
      homes.set(slot, wholeView(home, start, slot.size));
      start += slot.size;
    }
    return wholeView(home);
  };
  const close = ([key, { of, parts, sums }]: [string, Batch]): void => {
    const [from, to] = [together(parts), together(sums)];
    const outer = parts.length * of.outer;
    const { name } = from.slot;
    values.set(name, { shape: [outer, of.parts, of.inner], view: from });
    steps.push({ ...of, outer, along: of.parts, parts: 1, sums: [{ of: name, out: to }] });
    open.delete(key);
  };

  for (const step of all) {
    const reads = readsOf(step, values);
    [...open].filter(([, { sums }]) => sums.some(({ slot }) => reads.has(slot))).forEach(close);
    if (step.kind !== "reduction" || step.parts === 1) {
      steps.push(step);
      continue;
    }
    const sums = step.sums.map(({ of, out }): Sum => {
      const { slot } = out;
      // What is wanted by name has a place of its own.
      const own = slot.kind === "temporary" ? "" : slot.name;
      const key = JSON.stringify([step.op, step.outer, step.parts, step.inner, own]);
      const batch = open.get(key) ?? { of: step, parts: [], sums: [] };
      const part = wholeView(temporary(`${slot.name} in parts`, viewSize(out) * step.parts));
      batch.parts.push(part);
      batch.sums.push(out);
      open.set(key, batch);
      return { of, out: part };
    });
    steps.push({ ...step, sums });
  }
  [...open].forEach(close);
  return moved(steps, values, homes);
}

/** The same steps and values, where some slots are parts of others. */
export function moved(
  steps: readonly Step[],
  values: ReadonlyMap<string, Value>,
  homes: ReadonlyMap<Slot, View>,
): { steps: Step[]; values: Map<string, Value> } {
  const at = (view: View): View => {
    const home = homes.get(view.slot);
    return home ? at({ ...view, slot: home.slot, offset: view.offset + home.offset }) : view;
  };
  const sum = ({ of, out }: Sum): Sum => ({ of, out: at(out) });
  return {
    steps: steps.map((step) => {
      if (step.kind === "reduction") return { ...step, sums: step.sums.map(sum) };
      if (step.kind !== "product") return step;
      const [a, b, out] = [step.a, step.b, step.out].map(at);
      return { ...step, a, b, c: step.c && at(step.c), out, sums: step.sums && sum(step.sums) };
    }),
    values: new Map(
      [...values].map(([name, value]) => [name, "view" in value ? { ...value, view: at(value.view) } : value]),
    ),
  };
}
