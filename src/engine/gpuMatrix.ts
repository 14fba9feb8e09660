/**
 * Products of matrices on a GPU's matrix units: operands are rounded to 16-bit floats on the way into shared memory, and
 * summed in 32 bits. WGSL's subgroup matrices are a proposal (https://github.com/gpuweb/gpuweb/blob/main/proposals),
 * which Dawn has as an experiment.
 */
import { Buffers, type Binding } from "./gpuEmit.js";
import { declarations, type Kernel } from "./gpuGroup.js";
import type { Product } from "./gpuSteps.js";
import { operandOf, storeRow, type Operand } from "./gpuOperand.js";
import { emitSum } from "./gpuProduct.js";
import { basedOut, groups as axesOf, place, temporary, wholeView, type View } from "./gpuView.js";

/** Rows and columns of a tile and of what a subgroup computes of it, and how far a slice goes along the sum. */
export interface MatrixTile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly warpM: number;
  readonly warpN: number;
}

const SIDE = 16;
/** Halves between rows of shared memory, so that rows start in different banks. */
const GAP = 8;
const ENOUGH = 264;
const SHORTEST = 512;

export const MATRIX_TILES: readonly MatrixTile[] = [
  { m: 128, n: 128, k: 32, warpM: 64, warpN: 32 },
  { m: 64, n: 64, k: 32, warpM: 32, warpN: 32 },
];

export function matrixTileFor({ m, n, batch }: Product): MatrixTile {
  const tiles = (tile: MatrixTile) => Math.ceil(m / tile.m) * Math.ceil(n / tile.n) * batch;
  const waste = (tile: MatrixTile) => tiles(tile) * tile.m * tile.n;
  const [large, small] = MATRIX_TILES;
  return waste(large) <= 1.15 * waste(small) ? large : small;
}

export function matrixPartsFor(step: Product, tile: MatrixTile): number {
  const tiles = Math.ceil(step.m / tile.m) * Math.ceil(step.n / tile.n) * step.batch;
  if (tiles >= ENOUGH / 2) return 1;
  return Math.max(1, Math.min(Math.floor(ENOUGH / tiles), Math.floor(step.k / SHORTEST)));
}

export function emitMatrixProduct(
  step: Product,
  tile = matrixTileFor(step),
  parts = matrixPartsFor(step, tile),
): Kernel[] {
  const { m, n, batch, out } = step;
  if (parts === 1) return [emitTiles(step, tile, out, 1)];
  const partial = wholeView(temporary(`${out.slot.name} in parts`, parts * batch * m * n));
  return [emitTiles({ ...step, c: null, alpha: 1 }, tile, partial, parts), emitSum(step, partial, null, parts)];
}

/** How an operand's slice lies in shared memory: rows along what vectors are read along. */
interface Slice {
  readonly rows: number;
  readonly width: number;
  readonly stride: number;
  /** Vectors of one slice that a thread moves. */
  readonly count: number;
  readonly alongSum: boolean;
}

function sliceOf(of: Operand, side: number, sum: number, threads: number): Slice {
  const alongSum = of.along === "sum";
  const [rows, width] = alongSum ? [side, sum] : [sum, side];
  return { rows, width, stride: width + GAP, count: (rows * width) / 4 / threads, alongSum };
}

function moves(
  of: Operand,
  slice: Slice,
  buffers: Buffers,
  name: "a" | "b",
  origin: string,
  limit: number,
  end: string,
  threads: number,
) {
  const at = (side: string, sum: string): string =>
    [place(of.batch, of.offset, "z"), place(of.side, 0, side), place(of.sum, 0, sum)]
      .filter((t) => t !== "0u")
      .join(" + ") || "0u";
  const quads = slice.width / 4;
  const load: string[] = [];
  const save: string[] = [];
  for (let i = 0; i < slice.count; i++) {
    const index = `(li + ${i * threads}u)`;
    const where = `let row = ${index} / ${quads}u; let column = ${index} % ${quads}u * 4u;`;
    const [side, sum] = slice.alongSum
      ? [`(${origin} + row)`, "(k0 + column)"]
      : [`(${origin} + column)`, "(k0 + row)"];
    const register = `r${name}${i}`;
    if (of.vector) {
      const buffer = buffers.bind(of.slot, "array<vec4f>", "read", of.base);
      load.push(
        `{ ${where} ${register} = vec4h(); if (${side} < ${limit}u && ${sum} < ${end}) { ${register} = vec4h(${buffer}[(${at(side, sum)}) / 4u]); } }`,
      );
    } else {
      const buffer = buffers.bind(of.slot, "array<f32>", "read", of.base);
      const each = [0, 1, 2, 3].map((q) => {
        const [s, t] = slice.alongSum ? [side, `(${sum} + ${q}u)`] : [`(${side} + ${q}u)`, sum];
        return `if (${s} < ${limit}u && ${t} < ${end}) { ${register}.${"xyzw"[q]} = f16(${buffer}[${at(s, t)}]); }`;
      });
      load.push(`{ ${where} ${register} = vec4h(); ${each.join(" ")} }`);
    }
    const stores = [0, 1, 2, 3].map((q) => `shared_${name}[to + ${q}u] = ${register}.${"xyzw"[q]};`);
    save.push(`{ ${where} let to = row * ${slice.stride}u + column; ${stores.join(" ")} }`);
  }
  return { load, save, registers: Array.from({ length: slice.count }, (_, i) => `var r${name}${i}: vec4h;`) };
}

function emitTiles(step: Product, tile: MatrixTile, out: View, parts: number): Kernel {
  const { m, n, k, batch } = step;
  const buffers = new Buffers();
  const [warpsM, warpsN] = [tile.m / tile.warpM, tile.n / tile.warpN];
  const threads = warpsM * warpsN * 32;
  const a = operandOf(step.a, [batch, m, k], false);
  const b = operandOf(step.b, [batch, k, n], true);
  const [aSlice, bSlice] = [sliceOf(a, tile.m, tile.k, threads), sliceOf(b, tile.n, tile.k, threads)];
  const length = Math.ceil(k / parts / tile.k) * tile.k;
  const end = parts === 1 ? `${k}u` : "end";
  const left = moves(a, aSlice, buffers, "a", `wg.y * ${tile.m}u`, m, end, threads);
  const right = moves(b, bSlice, buffers, "b", `wg.x * ${tile.n}u`, n, end, threads);
  const [down, across] = [tile.warpM / SIDE, tile.warpN / SIDE];
  const list = (count: number) => Array.from({ length: count }, (_, i) => i);
  const both = list(down).flatMap((i) => list(across).map((j) => [i, j] as const));
  const steps = list(tile.k / SIDE).map((kk) => {
    const aAt = (i: number) =>
      aSlice.alongSum
        ? `(wm + ${i * SIDE}u) * ${aSlice.stride}u + ${kk * SIDE}u`
        : `${kk * SIDE * aSlice.stride}u + wm + ${i * SIDE}u`;
    const bAt = (j: number) =>
      bSlice.alongSum
        ? `(wn + ${j * SIDE}u) * ${bSlice.stride}u + ${kk * SIDE}u`
        : `${kk * SIDE * bSlice.stride}u + wn + ${j * SIDE}u`;
    return `{ ${[
      ...list(down).map(
        (i) =>
          `let x${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, ${aSlice.alongSum ? "row_major" : "col_major"}>(&shared_a, ${aAt(i)}, ${aSlice.stride}u);`,
      ),
      ...list(across).map(
        (j) =>
          `let y${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, ${bSlice.alongSum ? "col_major" : "row_major"}>(&shared_b, ${bAt(j)}, ${bSlice.stride}u);`,
      ),
      ...both.map(([i, j]) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(x${i}, y${j}, c${i}_${j});`),
    ].join("\n      ")} }`;
  });
  const { base, offset } = basedOut([out])(out);
  const [matrices, [line], columns] = axesOf(out.axes, [parts * batch, m, n])!;
  const inLines =
    m % SIDE === 0 && n % SIDE === 0 && line.extent === m && columns.length === 1 && columns[0].stride === 1;
  const direct = step.c === null && step.alpha === 1 && inLines;
  const stores: string[] = [];
  if (direct) {
    const target = buffers.bind(out.slot, "array<f32>", "read_write", base);
    const matrix = place(matrices, offset, `(part * ${batch}u + z)`);
    for (const [i, j] of both) {
      stores.push(`  { let row = wg.y * ${tile.m}u + wm + ${i * SIDE}u; let column = wg.x * ${tile.n}u + wn + ${j * SIDE}u;
    if (row < ${m}u && column < ${n}u) { subgroupMatrixStore<row_major>(&${target}, ${matrix} + row * ${line.stride}u + column, c${i}_${j}, ${line.stride}u); } }`);
    }
  } else {
    const store = storeRow(buffers, step, out, step, parts);
    for (const [i, j] of both) {
      stores.push(`  subgroupMatrixStore<row_major>(&shared_c, warp * 256u, c${i}_${j}, 16u);
  workgroupBarrier();
  for (var h = 0u; h < 2u; h++) {
    let q = lane + h * 32u;
    let home = warp * 256u + q * 4u;
    let value = vec4f(shared_c[home], shared_c[home + 1u], shared_c[home + 2u], shared_c[home + 3u]);
    let row = wg.y * ${tile.m}u + wm + ${i * SIDE}u + q / 4u;
    let column = wg.x * ${tile.n}u + wn + ${j * SIDE}u + q % 4u * 4u;
    if (row < ${m}u) { ${store("value")} }
  }
  workgroupBarrier();`);
    }
  }
  const bindings: readonly Binding[] = buffers.bindings;
  const code = `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
${declarations(bindings)}
var<workgroup> shared_a: array<f16, ${aSlice.rows * aSlice.stride}>;
var<workgroup> shared_b: array<f16, ${bSlice.rows * bSlice.stride}>;
${direct ? "" : `var<workgroup> shared_c: array<f32, ${(threads / 32) * 256}>;`}
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_index) li: u32) {
  let z = wg.z % ${batch}u;
  let part = wg.z / ${batch}u;
  let begin = part * ${length}u;
  let end = min(begin + ${length}u, ${k}u);
  let warp = li / 32u;
  let lane = li % 32u;
  let wm = warp / ${warpsN}u * ${tile.warpM}u;
  let wn = warp % ${warpsN}u * ${tile.warpN}u;
  ${left.registers.join(" ")} ${right.registers.join(" ")}
  ${both.map(([i, j]) => `var c${i}_${j} = subgroup_matrix_result<f32, 16, 16>();`).join("\n  ")}
  { let k0 = begin;
    ${[...left.load, ...right.load].join("\n    ")} }
  for (var next = begin + ${tile.k}u; next < end + ${tile.k}u; next += ${tile.k}u) {
    workgroupBarrier();
    ${[...left.save, ...right.save].join("\n    ")}
    workgroupBarrier();
    { let k0 = next;
    ${[...left.load, ...right.load].join("\n    ")} }
    ${steps.join("\n    ")}
  }
${stores.join("\n")}
}`;
  return {
    label: `matrix ${tile.m}x${tile.n}${parts > 1 ? " split" : ""}`,
    code,
    bindings,
    groups: [Math.ceil(n / tile.n), Math.ceil(m / tile.m), batch * parts],
  };
}
