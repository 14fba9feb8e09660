/** What a kernel of a product of matrices reads and writes: its operands, and rows of its result. */
import { typeOfWidth, type Buffers } from "./gpuEmit.js";
import { literal } from "./gpuFormulas.js";
import type { Product } from "./gpuSteps.js";
import { based, groups as axesOf, isVector, place, type Axis, type Slot, type View } from "./gpuView.js";

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

/** Statements that store a vector of a row of the result: `vec4f value` at `row`, `column` of matrix `z`. */
export function storeRow(
  buffers: Buffers,
  { m, n, batch }: Pick<Product, "m" | "n" | "batch">,
  out: Slot,
  { alpha, beta, c }: Epilogue,
  parts: number,
): (value: string) => string {
  const vector = n % 4 === 0;
  const target = buffers.bind(out, `array<${typeOfWidth(vector ? 4 : 1)}>`, "read_write");
  const matrix = parts > 1 ? `(part * ${batch}u + z)` : "z";
  const where = `${matrix} * ${m * n}u + row * ${n}u + column`;
  const added = c && addend(buffers, c, [batch, m, n], vector);
  return (value) => {
    const scaled = alpha === 1 ? value : `${literal(alpha)} * ${value}`;
    const sum = (plus: string) => (beta === 1 ? `${scaled} + ${plus}` : `${scaled} + ${literal(beta)} * ${plus}`);
    if (vector) return `if (column < ${n}u) { ${target}[(${where}) / 4u] = ${added ? sum(added("column")) : scaled}; }`;
    const each = [0, 1, 2, 3].map(
      (i) =>
        `if (column + ${i}u < ${n}u) { ${target}[${where} + ${i}u] = all.${"xyzw"[i]}${added ? ` + ${beta === 1 ? "" : `${literal(beta)} * `}${added(`(column + ${i}u)`)}` : ""}; }`,
    );
    return `{ let all = ${scaled}; ${each.join(" ")} }`;
  };
}

/** Statements that store a vector at `column` of a row of n numbers that begins at `start`. */
export function storeVector(buffers: Buffers, out: Slot, n: number, start: string, value: string): string {
  const vector = n % 4 === 0;
  const target = buffers.bind(out, `array<${typeOfWidth(vector ? 4 : 1)}>`, "read_write");
  if (vector) return `if (column < ${n}u) { ${target}[(${start} + column) / 4u] = ${value}; }`;
  const each = [0, 1, 2, 3].map(
    (i) => `if (column + ${i}u < ${n}u) { ${target}[${start} + column + ${i}u] = ${value}.${"xyzw"[i]}; }`,
  );
  return each.join(" ");
}

/** What is added at a row and column of matrix `z`: a vector, or one number. */
export function addend(
  buffers: Buffers,
  c: View,
  shape: readonly number[],
  vector: boolean,
): (column: string) => string {
  const [z, row, column] = axesOf(c.axes, shape)!;
  const { base, offset } = based(c);
  const at = (from: string) =>
    [place(z, offset, "z"), place(row, 0, "row"), place(column, 0, from)].filter((t) => t !== "0u").join(" + ") || "0u";
  const repeats = column.every(({ stride }) => stride === 0);
  const isVec =
    vector &&
    column.length > 0 &&
    isVector({ ...c, axes: column }) &&
    [...z, ...row].every(({ stride }) => stride % 4 === 0);
  const buffer = buffers.bind(c.slot, isVec ? "array<vec4f>" : "array<f32>", "read", base);
  if (!vector) return (from) => `${buffer}[${at(from)}]`;
  if (isVec) return (from) => `${buffer}[(${at(from)}) / 4u]`;
  if (repeats) return (from) => `vec4f(${buffer}[${at(from)}])`;
  return (from) => `vec4f(${[0, 1, 2, 3].map((i) => `${buffer}[${at(`(${from} + ${i}u)`)}]`).join(", ")})`;
}
