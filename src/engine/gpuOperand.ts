/** What a kernel of a product of matrices reads and writes: its operands, and rows of its result. */
import { typeOfWidth, type Buffers } from "./gpuEmit.js";
import { literal } from "./gpuFormulas.js";
import type { Product } from "./gpuSteps.js";
import { based, basedOut, groups as axesOf, isVector, place, type Axis, type Slot, type View } from "./gpuView.js";

/** One of the two operands as the kernel sees it: `[batch, along its own side, along the sum]`. */
export interface Operand {
  readonly batch: readonly Axis[];
  readonly side: readonly Axis[];
  readonly sum: readonly Axis[];
  readonly offset: number;
  readonly slot: Slot;
  /** Where the shader begins to see the slot. */
  readonly base: number;
  /** Along which of its dimensions vectors of four can be read, if any. */
  readonly vector: "side" | "sum" | null;
  /** Along which neighbours lie in memory, or should be read together. */
  readonly along: "side" | "sum";
}

const reaches = (part: readonly Axis[]): boolean => part.length === 0 || part[part.length - 1].stride === 1;

export function operandOf(view: View, shape: readonly [number, number, number], sumFirst: boolean): Operand {
  const [batch, first, second] = axesOf(view.axes, shape)!;
  const [sum, side] = sumFirst ? [first, second] : [second, first];
  const others = (part: readonly Axis[]) => [...batch, ...(part === side ? sum : side)];
  const vectorAlong = (part: readonly Axis[]): boolean => {
    if (part.length === 0 || !isVector({ ...view, axes: part })) return false;
    return others(part).every(({ stride }) => stride % 4 === 0);
  };
  const along = reaches(sum) && sum.length > 0 ? "sum" : "side";
  const vector = vectorAlong(sum) ? "sum" : vectorAlong(side) ? "side" : null;
  return { batch, side, sum, ...based(view), slot: view.slot, vector, along: vector ?? along };
}

export interface Epilogue {
  readonly alpha: number;
  readonly beta: number;
  readonly c: View | null;
}

/** Where the number at `row` and `column` of matrix `z` lies, and whether four in a row are a vector. */
function placed(view: View, offset: number, shape: readonly number[], z: string) {
  const [matrix, row, column] = axesOf(view.axes, shape)!;
  const from = [place(matrix, offset, z), place(row, 0, "row")];
  const aligned = [...matrix, ...row].every(({ stride }) => stride % 4 === 0);
  return {
    at: (where: string): string => [...from, place(column, 0, where)].filter((t) => t !== "0u").join(" + ") || "0u",
    vector: column.length > 0 && aligned && isVector({ ...view, axes: column }),
    repeats: column.every(({ stride }) => stride === 0),
  };
}

/** Statements that store a vector of a row of the result: `vec4f value` at `row`, `column` of matrix `z`. */
export function storeRow(
  buffers: Buffers,
  { m, n, batch }: Pick<Product, "m" | "n" | "batch">,
  out: View,
  { alpha, beta, c }: Epilogue,
  parts: number,
): (value: string) => string {
  const { base, offset } = basedOut([out])(out);
  const { at, vector } = placed(out, offset, [parts * batch, m, n], parts > 1 ? `(part * ${batch}u + z)` : "z");
  const target = buffers.bind(out.slot, `array<${typeOfWidth(vector ? 4 : 1)}>`, "read_write", base);
  const added = c && addend(buffers, c, [batch, m, n], vector);
  return (value) => {
    const scaled = alpha === 1 ? value : `${literal(alpha)} * ${value}`;
    const sum = (to: string, plus: string) => `${to} + ${beta === 1 ? "" : `${literal(beta)} * `}${plus}`;
    if (vector) {
      const all = added ? sum(scaled, added("column")) : scaled;
      return `if (column < ${n}u) { ${target}[(${at("column")}) / 4u] = ${all}; }`;
    }
    const each = [0, 1, 2, 3].map((i) => {
      const [column, one] = [`(column + ${i}u)`, `all.${"xyzw"[i]}`];
      return `if (${column} < ${n}u) { ${target}[${at(column)}] = ${added ? sum(one, added(column)) : one}; }`;
    });
    return `{ let all = ${scaled}; ${each.join(" ")} }`;
  };
}

/** What is added at a row and column of matrix `z`: a vector, or one number. */
export function addend(
  buffers: Buffers,
  c: View,
  shape: readonly number[],
  asVector: boolean,
): (column: string) => string {
  const { base, offset } = based(c);
  const { at, vector, repeats } = placed(c, offset, shape, "z");
  const isVec = asVector && vector;
  const buffer = buffers.bind(c.slot, isVec ? "array<vec4f>" : "array<f32>", "read", base);
  if (!asVector) return (from) => `${buffer}[${at(from)}]`;
  if (isVec) return (from) => `${buffer}[(${at(from)}) / 4u]`;
  if (repeats) return (from) => `vec4f(${buffer}[${at(from)}])`;
  return (from) => `vec4f(${[0, 1, 2, 3].map((i) => `${buffer}[${at(`(${from} + ${i}u)`)}]`).join(", ")})`;
}

/** The numbers that a thread for each of them stores: `value` at `row` and `column` of matrix `z`. */
export function storeOne(buffers: Buffers, { m, n, batch, out }: Product, value: string): string {
  const { base, offset } = basedOut([out])(out);
  const { at } = placed(out, offset, [batch, m, n], "z");
  return `${buffers.bind(out.slot, "array<f32>", "read_write", base)}[${at("column")}] = ${value};`;
}
