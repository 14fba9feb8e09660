/**
 * Products of matrices in 32-bit floats. A group of threads computes a tile of the result from slices of both operands
 * that it keeps in shared memory; a thread computes 8 × 8 numbers in registers, and loads the next slices meanwhile.
 */
import { Buffers, typeOfWidth } from "./gpuEmit.js";
import { literal } from "./gpuFormulas.js";
import { declarations, spread, type Kernel } from "./gpuGroup.js";
import type { Product } from "./gpuSteps.js";
import { addend, operandOf, storeOne, storeRow, type Operand } from "./gpuOperand.js";
import { place, temporary, viewSize, wholeView, type View } from "./gpuView.js";

/** Rows and columns of a tile, and how far a slice goes along the sum. */
export interface Tile {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** A thread computes 4 × 4 numbers, or 8 × 8. */
  readonly quads: 1 | 2;
}

/** Groups of threads that keep a large GPU busy. */
const ENOUGH = 264;
/** A sum that is shorter is not worth splitting. */
const SHORTEST = 256;

const LARGE: Tile = { m: 128, n: 128, k: 16, quads: 2 };
const TINY: Tile = { m: 32, n: 32, k: 16, quads: 1 };

export function tileFor({ m, n, k, batch }: Product): Tile {
  const tiles = (tile: Tile) => Math.ceil(m / tile.m) * Math.ceil(n / tile.n) * batch;
  if (tiles(LARGE) * 4 <= ENOUGH && k <= 1024) return TINY;
  const wide = LARGE;
  const waste = (tile: Tile) => (tiles(tile) * tile.m * tile.n) / (m * n * batch);
  const half: Tile = { m: 128, n: 64, k: 16, quads: 2 };
  const small: Tile = { m: 64, n: 64, k: 16, quads: 2 };
  return [wide, half].find((tile) => waste(tile) <= 1.15 * waste(small)) ?? small;
}

export function partsFor(step: Product, tile: Tile): number {
  const tiles = Math.ceil(step.m / tile.m) * Math.ceil(step.n / tile.n) * step.batch;
  if (tiles >= ENOUGH / 2) return 1;
  return Math.max(1, Math.min(Math.floor(ENOUGH / tiles), Math.floor(step.k / SHORTEST)));
}

/** Statements that load a block of 4 × 4 into `to0` … `to3`: vectors along the side, one for each place of the sum. */
function loadBlock(of: Operand, buffers: Buffers, to: string, limit: number, sumLimit: string): string[] {
  const at = (side: string, sum: string): string =>
    [place(of.batch, of.offset, "z"), place(of.side, 0, side), place(of.sum, 0, sum)]
      .filter((t) => t !== "0u")
      .join(" + ") || "0u";
  const name = (k: number) => `${to}${k}`;
  if (of.vector === "sum") {
    const buffer = buffers.bind(of.slot, "array<vec4f>", "read", of.base);
    const rows = [0, 1, 2, 3].map(
      (i) =>
        `var w${i} = vec4f(); if (side + ${i}u < ${limit}u && sum < ${sumLimit}) { w${i} = ${buffer}[(${at(`(side + ${i}u)`, "sum")}) / 4u]; }`,
    );
    const turned = [0, 1, 2, 3].map(
      (k) => `${name(k)} = vec4f(${[0, 1, 2, 3].map((i) => `w${i}.${"xyzw"[k]}`).join(", ")});`,
    );
    return [...rows, ...turned];
  }
  if (of.vector === "side") {
    const buffer = buffers.bind(of.slot, "array<vec4f>", "read", of.base);
    return [0, 1, 2, 3].map(
      (k) =>
        `${name(k)} = vec4f(); if (side < ${limit}u && sum + ${k}u < ${sumLimit}) { ${name(k)} = ${buffer}[(${at("side", `(sum + ${k}u)`)}) / 4u]; }`,
    );
  }
  const buffer = buffers.bind(of.slot, "array<f32>", "read", of.base);
  return [0, 1, 2, 3].flatMap((k) => [
    `${name(k)} = vec4f();`,
    ...[0, 1, 2, 3].map(
      (i) =>
        `if (side + ${i}u < ${limit}u && sum + ${k}u < ${sumLimit}) { ${name(k)}.${"xyzw"[i]} = ${buffer}[${at(`(side + ${i}u)`, `(sum + ${k}u)`)}]; }`,
    ),
  ]);
}

/** Which block of a slice is the `index`-th: blocks that are read one after the other lie side by side in memory. */
function blockAt(of: Operand, sides: number, sums: number, index: string): { side: string; sum: string } {
  if (of.along === "sum") return { sum: `(${index} % ${sums}u)`, side: `(${index} / ${sums}u)` };
  return { side: `(${index} % ${sides}u)`, sum: `(${index} / ${sides}u)` };
}

/** The kernel, and where the sum is split, the one that adds the parts. */
export function emitProduct(step: Product, tile: Tile = tileFor(step), parts = partsFor(step, tile)): Kernel[] {
  const { k, out, sums } = step;
  if (parts === 1) return [emitTiles(step, tile, out, sums && sums.out, 1)];
  const inParts = (of: View): View => wholeView(temporary(`${of.slot.name} in parts`, parts * viewSize(of)));
  if (k < parts) throw new Error(`a sum of ${k} in ${parts} parts`);
  const [partial, partialSums] = [inParts(out), sums && inParts(sums.out)];
  const plain = { ...step, b: { ...step.b, scale: 1 }, c: null, alpha: 1 };
  const tiles = emitTiles(plain, tile, partial, partialSums, parts);
  return [tiles, emitSum(step, partial, partialSums, parts)];
}

function emitTiles(step: Product, tile: Tile, out: View, sumsOut: View | null, parts: number): Kernel {
  const { m, n, k, batch } = step;
  const buffers = new Buffers();
  const a = operandOf(step.a, [batch, m, k], false);
  const b = operandOf(step.b, [batch, k, n], true);
  const { quads } = tile;
  const [across, down] = [tile.n / 4 / quads, tile.m / 4 / quads];
  const threads = across * down;
  const blocks = tile.k / 4;
  const [aBlocks, bBlocks] = [(tile.m / 4) * blocks, (tile.n / 4) * blocks];
  const [aStride, bStride] = [tile.m / 4 + 1, tile.n / 4 + 1];
  const length = Math.ceil(k / parts / tile.k) * tile.k;
  const end = parts === 1 ? `${k}u` : "end";
  const rounds = Math.ceil((aBlocks + bBlocks) / threads);

  const load: string[] = [];
  const save: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const [from, to] = [round * threads, (round + 1) * threads];
    const part = (of: Operand, which: "a" | "b", index: string): void => {
      const sides = (which === "a" ? tile.m : tile.n) / 4;
      const at = blockAt(of, sides, blocks, index);
      const origin = which === "a" ? `wg.y * ${tile.m}u` : `wg.x * ${tile.n}u`;
      const limit = which === "a" ? m : n;
      const guard = (lines: string[]): string => {
        const mixed = from < aBlocks && to > aBlocks;
        const over = which === "b" && to > aBlocks + bBlocks;
        const conditions = [
          ...(mixed ? [which === "a" ? `li < ${aBlocks - from}u` : `li >= ${aBlocks - from}u`] : []),
          ...(over ? [`li < ${aBlocks + bBlocks - from}u`] : []),
        ];
        return `${conditions.length > 0 ? `if (${conditions.join(" && ")}) ` : ""}{ ${lines.join(" ")} }`;
      };
      load.push(
        guard([
          `let side = ${origin} + ${at.side} * 4u; let sum = k0 + ${at.sum} * 4u;`,
          ...loadBlock(of, buffers, `l${round}_`, limit, end),
        ]),
      );
      const stride = which === "a" ? aStride : bStride;
      const loaded = [0, 1, 2, 3].map((j) => `l${round}_${j}`);
      const save4 = loaded.map((l, j) => `shared_${which}[(${at.sum} * 4u + ${j}u) * ${stride}u + ${at.side}] = ${l};`);
      // Every block is always the same thread's. One line of tiles sums for all.
      const add = `if (wg.y == 0u) { shared_sums[${index}] += ${loaded.join(" + ")}; }`;
      save.push(guard(sumsOut && which === "b" ? [...save4, add] : save4));
    };
    if (from < aBlocks) part(a, "a", from === 0 ? "li" : `(li + ${from}u)`);
    if (to > aBlocks) part(b, "b", from >= aBlocks ? `(li + ${from - aBlocks}u)` : `(li - ${aBlocks - from}u)`);
  }
  const registers = Array.from({ length: rounds }, (_, r) =>
    [0, 1, 2, 3].map((j) => `var l${r}_${j}: vec4f;`).join(" "),
  );
  const rows = Array.from({ length: 4 * quads }, (_, i) => ({ i, quad: Math.floor(i / 4), part: "xyzw"[i % 4] }));
  const columns = Array.from({ length: quads }, (_, j) => j);
  const sumsOf = rows.map(({ i }) => columns.map((j) => `var c${i}_${j} = vec4f();`).join(" "));
  const multiply = rows.map(({ i, quad, part }) =>
    columns.map((j) => `c${i}_${j} = fma(vec4f(a${quad}.${part}), b${j}, c${i}_${j});`).join(" "),
  );
  const reads = columns.flatMap((j) => [
    `let a${j} = shared_a[kk * ${aStride}u + ${j * down}u + ty];`,
    `let b${j} = shared_b[kk * ${bStride}u + ${j * across}u + tx];`,
  ]);
  const store = storeRow(buffers, step, out, step, parts);
  const stores = rows.map(({ i, quad }) => {
    const each = columns.map(
      (j) => `    { let column = wg.x * ${tile.n}u + ${j * across * 4}u + tx * 4u; ${store(`c${i}_${j}`)} }`,
    );
    const row = `wg.y * ${tile.m}u + ${quad * down * 4}u + ty * 4u + ${i % 4}u`;
    return `  { let row = ${row}; if (row < ${m}u) {\n${each.join("\n")}\n  } }`;
  });
  // The sums lie in another slot than the product: what a kernel writes is seen from one place.
  const sumUp = sumsOut ? storeSums(b, buffers, sumsOut, step, tile, parts) : "";
  // A warp covers 8 × 4 places of the tile, so that its reads of shared memory meet few banks twice.
  const warps = across / 8;
  const code = `${declarations(buffers.bindings)}
var<workgroup> shared_a: array<vec4f, ${tile.k * aStride}>;
var<workgroup> shared_b: array<vec4f, ${tile.k * bStride}>;${sumsOut ? `\nvar<workgroup> shared_sums: array<vec4f, ${bBlocks}>;` : ""}
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_index) li: u32) {
  let z = wg.z % ${batch}u;
  let part = wg.z / ${batch}u;
  let begin = part * ${length}u;
  let end = min(begin + ${length}u, ${k}u);
  let warp = li / 32u;
  let lane = li % 32u;
  let tx = (warp % ${warps}u) * 8u + lane % 8u;
  let ty = (warp / ${warps}u) * 4u + lane / 8u;
  ${registers.join("\n  ")}
  ${sumsOf.join("\n  ")}
  { let k0 = begin;
    ${load.join("\n    ")} }
  for (var next = begin + ${tile.k}u; next < end + ${tile.k}u; next += ${tile.k}u) {
    workgroupBarrier();
    ${save.join("\n    ")}
    workgroupBarrier();
    { let k0 = next;
    ${load.join("\n    ")} }
    for (var kk = 0u; kk < ${tile.k}u; kk++) {
      ${reads.join("\n      ")}
      ${multiply.join("\n      ")}
    }
  }
${stores.join("\n")}${sumUp}
}`;
  return {
    label: `product ${tile.m}x${tile.n}${parts > 1 ? " split" : ""}`,
    code,
    bindings: buffers.bindings,
    groups: [Math.ceil(n / tile.n), Math.ceil(m / tile.m), batch * parts],
  };
}

/** Statements that add up the blocks of a slice that stand in the same columns, and store the sums. */
function storeSums(of: Operand, buffers: Buffers, out: View, { n, b }: Product, tile: Tile, parts: number): string {
  const [sides, blocks] = [tile.n / 4, tile.k / 4];
  const terms = Array.from({ length: blocks }, (_, t) =>
    of.along === "sum" ? `shared_sums[li * ${blocks}u + ${t}u]` : `shared_sums[li + ${t * sides}u]`,
  );
  const store = storeRow(buffers, { m: parts, n, batch: 1 }, out, { alpha: b.scale, beta: 0, c: null }, 1);
  return `
  if (wg.y == 0u) {
    workgroupBarrier();
    if (li < ${sides}u) {
      let column = wg.x * ${tile.n}u + li * 4u;
      let sums = ${terms.join(" + ")};
      { let row = part; let z = 0u; ${store("sums")} }
    }
  }`;
}

/**
 * The same, a thread for every number of the result: for adapters in software, which gain nothing from tiles and compile
 * a tile's kernel for seconds.
 */
export function emitPlainProduct(step: Product): Kernel[] {
  const { m, n, k, batch } = step;
  const buffers = new Buffers();
  const operand = (of: Operand, side: string): string => {
    const terms = [place(of.batch, of.offset, "z"), place(of.side, 0, side), place(of.sum, 0, "t")];
    return `${buffers.bind(of.slot, "array<f32>", "read", of.base)}[${terms.join(" + ")}]`;
  };
  const a = operand(operandOf(step.a, [batch, m, k], false), "row");
  const b = operand(operandOf(step.b, [batch, k, n], true), "column");
  const added = step.c && addend(buffers, step.c, [batch, m, n], false)("column");
  const value = `${literal(step.alpha)} * sum${added ? ` + ${literal(step.beta)} * ${added}` : ""}`;
  const store = storeOne(buffers, step, value);
  const { groups, number } = spread(Math.ceil((batch * m * n) / 64));
  const code = `${declarations(buffers.bindings)}
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_index) li: u32) {
  let i = ${number} * 64u + li;
  if (i >= ${batch * m * n}u) { return; }
  let z = i / ${m * n}u;
  let row = i / ${n}u % ${m}u;
  let column = i % ${n}u;
  var sum = 0f;
  for (var t = 0u; t < ${k}u; t++) { sum += ${a} * ${b}; }
  ${store}
}`;
  return [{ label: "product plain", code, bindings: buffers.bindings, groups }];
}

/** `out = α Σ parts + β c`, and the sums of columns below its rows. */
export function emitSum(step: Product, partial: View, partialSums: View | null, parts: number): Kernel {
  const { m, n, batch, out, sums } = step;
  const buffers = new Buffers();
  const vector = n % 4 === 0;
  const V = typeOfWidth(vector ? 4 : 1);
  const store = storeRow(buffers, step, out, step, 1);
  const quads = Math.ceil(n / 4);
  const rows = partialSums ? m + 1 : m;
  const { groups, number } = spread(Math.ceil((batch * rows * quads) / 256));
  const added = ({ slot: from }: View, at: string): string => {
    const buffer = buffers.bind(from, `array<${V}>`, "read");
    const read = vector
      ? `${buffer}[(${at}) / 4u]`
      : `vec4f(${[0, 1, 2, 3].map((i) => `${buffer}[min(${at} + ${i}u, ${from.size - 1}u)]`).join(", ")})`;
    return `for (var part = 0u; part < ${parts}u; part++) { value += ${read}; }`;
  };
  const above = `${added(partial, `part * ${batch * m * n}u + z * ${m * n}u + row * ${n}u + column`)}
  ${store("value")}`;
  const below =
    partialSums && sums
      ? `
  if (row == ${m}u) {
    ${added(partialSums, `part * ${n}u + column`)}
    { let row = 0u; ${storeRow(buffers, { m: 1, n, batch: 1 }, sums.out, { alpha: step.b.scale, beta: 0, c: null }, 1)("value")} }
    return;
  }`
      : "";
  const code = `${declarations(buffers.bindings)}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_index) li: u32) {
  let q = ${number} * 256u + li;
  if (q >= ${batch * rows * quads}u) { return; }
  let z = q / ${rows * quads}u;
  let row = q / ${quads}u % ${rows}u;
  let column = q % ${quads}u * 4u;
  var value = vec4f();${below}
  ${above}
}`;
  return { label: "product sum", code, bindings: buffers.bindings, groups };
}
