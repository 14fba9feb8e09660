/**
 * Strided views of GPU buffers. A view says where each element of a tensor lies, by the tensor's flat row-major index,
 * so that a Reshape changes nothing, and Transpose, Slice and Expand move no data.
 */
import { sizeOf } from "../types.js";

/** An array on the device. Arrays that are never alive together may share memory. */
export interface Slot {
  readonly name: string;
  /** Elements of 4 bytes. */
  readonly size: number;
  readonly dtype: "float32" | "int32";
  /** Where it comes from: computed in a step, given to it, constant, or the state before and after. */
  readonly kind: "temporary" | "input" | "constant" | "state" | "next" | "output";
}

/** One digit of the flat index, and how far it steps in memory. */
export interface Axis {
  readonly extent: number;
  readonly stride: number;
}

/** Element `i = Σ digit · place` of the tensor is `scale · slot[offset + Σ digit · stride]`. */
export interface View {
  readonly slot: Slot;
  readonly offset: number;
  /** From the slowest to the fastest; the product of the extents is the tensor's size. */
  readonly axes: readonly Axis[];
  readonly scale: number;
}

/** The whole of a slot, in its order. */
export function wholeView(slot: Slot, offset = 0, size = slot.size): View {
  return { slot, offset, axes: coalesce([{ extent: size, stride: 1 }]), scale: 1 };
}

/** The same view with as few axes as can be: `[4·6, 1]` for `[4, 6] [6, 1]`. */
export function coalesce(axes: readonly Axis[]): Axis[] {
  const merged: Axis[] = [];
  for (const axis of axes) {
    if (axis.extent === 1) continue;
    const last = merged[merged.length - 1];
    if (last && last.stride === axis.stride * axis.extent) {
      merged[merged.length - 1] = { extent: last.extent * axis.extent, stride: axis.stride };
    } else merged.push(axis);
  }
  return merged;
}

/** The axes that make up each dimension of a shape, or null where a dimension ends inside an axis unevenly. */
export function groups(axes: readonly Axis[], shape: readonly number[]): Axis[][] | null {
  const rest = [...coalesce(axes)];
  const found: Axis[][] = [];
  for (const extent of [...shape].reverse()) {
    const own: Axis[] = [];
    let missing = extent;
    while (missing > 1) {
      const axis = rest.pop();
      if (!axis) return null;
      if (missing % axis.extent === 0) {
        own.unshift(axis);
        missing /= axis.extent;
      } else if (axis.extent % missing === 0) {
        own.unshift({ extent: missing, stride: axis.stride });
        rest.push({ extent: axis.extent / missing, stride: axis.stride * missing });
        missing = 1;
      } else return null;
    }
    found.unshift(own);
  }
  return found;
}

const withAxes = (view: View, axes: readonly Axis[], offset = view.offset): View => ({
  ...view,
  offset,
  axes: coalesce(axes),
});

export function transposed(view: View, shape: readonly number[], perm: readonly number[]): View | null {
  const parts = groups(view.axes, shape);
  return (
    parts &&
    withAxes(
      view,
      perm.flatMap((axis) => parts[axis]),
    )
  );
}

/** `size` elements of one dimension from `start` on. */
export function sliced(view: View, shape: readonly number[], dim: number, start: number, size: number): View | null {
  const parts = groups(view.axes, shape);
  if (!parts) return null;
  const own = coalesce(parts[dim]);
  if (own.length > 1) return null;
  const stride = own.length === 1 ? own[0].stride : 0;
  const axes = parts.flatMap((part, i) => (i === dim ? [{ extent: size, stride }] : part));
  return withAxes(view, axes, view.offset + start * stride);
}

/** Dimensions of 1, and those that are missing on the left, repeat. */
export function expanded(view: View, shape: readonly number[], to: readonly number[]): View | null {
  const parts = groups(view.axes, shape);
  if (!parts) return null;
  const missing = to.length - shape.length;
  const axes = to.flatMap((extent, i): Axis[] => {
    if (i >= missing && shape[i - missing] === extent) return parts[i - missing];
    return [{ extent, stride: 0 }];
  });
  return withAxes(view, axes);
}

/** An array that lives in a step. */
export const temporary = (name: string, size: number): Slot => ({ name, size, dtype: "float32", kind: "temporary" });

/** Whether it is all of a slot in order. */
export function isWhole({ slot, offset, axes, scale }: View): boolean {
  if (offset !== 0 || scale !== 1) return false;
  if (axes.length === 0) return slot.size === 1;
  return axes.length === 1 && axes[0].stride === 1 && axes[0].extent === slot.size;
}

/** Whether two views show the same numbers in the same order. */
export function sameView(a: View, b: View): boolean {
  const spelled = ({ offset, axes, scale }: View): string => JSON.stringify([offset, coalesce(axes), scale]);
  return a.slot === b.slot && spelled(a) === spelled(b);
}

/** Whether four elements from a multiple of four on are always one aligned vector of memory. */
export function isVector({ offset, axes }: View): boolean {
  const last = axes[axes.length - 1];
  if (!last || last.stride !== 1 || last.extent % 4 !== 0 || offset % 4 !== 0) return false;
  return axes.slice(0, -1).every(({ stride }) => stride % 4 === 0);
}

/** Floats between places where a shader can begin to see a buffer: WebGPU's 256 bytes. */
export const ALIGNED = 64;

/**
 * Where in its slot a shader begins to see a view, and the rest of the view's offset. Parameters of blocks that are alike
 * lie at different places of one array: what stands in the shader is the same for all of them.
 */
export function based({ slot, offset }: View): { base: number; offset: number } {
  const base = slot.kind === "state" ? offset - (offset % ALIGNED) : 0;
  return { base, offset: offset - base };
}

/** The same for what a kernel writes: all that it writes to one slot is seen from one place. */
export function basedOut(views: readonly View[]): (view: View) => { base: number; offset: number } {
  return ({ slot, offset }) => {
    const first = Math.min(...views.filter((view) => view.slot === slot).map((view) => view.offset));
    const base = first - (first % ALIGNED);
    return { base, offset: offset - base };
  };
}

/** The size of what a view shows. */
export const viewSize = ({ axes }: View): number => sizeOf(axes.map(({ extent }) => extent));

/** The place in memory of a flat index, in WGSL. `known` has shorter names of expressions. */
export function place(
  axes: readonly Axis[],
  offset: number,
  index: string,
  known: ReadonlyMap<string, string> = new Map(),
): string {
  const terms: string[] = offset === 0 ? [] : [`${offset}u`];
  let below = 1;
  [...axes].reverse().forEach(({ extent, stride }, i) => {
    const shifted = below === 1 ? index : named(`(${index} / ${below}u)`, known);
    const digit = i === axes.length - 1 ? shifted : named(`(${shifted} % ${extent}u)`, known);
    if (stride !== 0) terms.push(stride === 1 ? digit : `${digit} * ${stride}u`);
    below *= extent;
  });
  return terms.length === 0 ? "0u" : terms.join(" + ");
}

const named = (expression: string, known: ReadonlyMap<string, string>): string => known.get(expression) ?? expression;
