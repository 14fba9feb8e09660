/** Kernels for long sums, and for what lies side by side. */
import { sizeOf } from "../types.js";
import { Emitter, typeOfWidth, type Value, type Width } from "./gpuEmit.js";
import { helpers } from "./gpuFormulas.js";
import { declarations, flat, HEAD, REDUCERS, spread, type Kernel } from "./gpuGroup.js";
import type { Joining, Reduction } from "./gpuSteps.js";
import { basedOut, type Slot } from "./gpuView.js";

const THREADS = 256;
/** Groups of threads that fill a large GPU. */
const ENOUGH = 528;

/** In how many parts a sum is computed, so that a large GPU is filled. */
export function partsOf({ outer, along, inner }: Pick<Reduction, "outer" | "along" | "inner">): number {
  const width: Width = inner % 4 === 0 ? 4 : 1;
  const across = inner === 1 ? outer : outer * Math.ceil(inner / width / 16);
  const shortest = inner === 1 ? 2048 : 64;
  return Math.max(1, Math.min(Math.ceil(ENOUGH / across), Math.ceil(along / shortest)));
}

export function emitReduction(step: Reduction, values: ReadonlyMap<string, Value>): Kernel {
  return step.inner === 1 ? emitLong(step, values) : emitColumns(step, values);
}

/** Every group of threads sums a part of a row. */
function emitLong(
  { op, outer, along, parts, sums: [{ of, out }] }: Reduction,
  values: ReadonlyMap<string, Value>,
): Kernel {
  const width: Width = along % 4 === 0 ? 4 : 1;
  const length = Math.ceil(along / width / parts);
  const { start, join } = REDUCERS[op];
  const emitter = new Emitter(values);
  const value = emitter.at(of, values.get(of)!.shape, "i", width);
  const { groups, number } = spread(outer * parts);
  const { base, offset } = basedOut([out])(out);
  const target = emitter.bind(out.slot, "array<f32>", "read_write", base);
  const code = `${declarations(emitter.bindings)}
var<workgroup> shared_sums: array<f32, ${THREADS}>;
@compute @workgroup_size(${THREADS}) fn main${HEAD} {
  let part = ${number} % ${parts}u;
  let o = min(${number} / ${parts}u, ${outer - 1}u);
  var p = ${typeOfWidth(width)}(${start});
  for (var k = part * ${length}u + li; k < min((part + 1u) * ${length}u, ${along / width}u); k += ${THREADS}u) {
    let i = o * ${along}u + k * ${width}u;
    ${emitter.lines.join("\n    ")}
    p = ${join("p", value)};
  }
  var s = ${flat(op, "p", width)};
  shared_sums[li] = s;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    if (li < half) { s = ${join("s", "shared_sums[li + half]")}; shared_sums[li] = s; }
    workgroupBarrier();
  }
  if (li == 0u && ${number} < ${outer * parts}u) { ${target}[${offset}u + ${number}] = s; }
}`;
  return { label: "sums", code: helpers(code) + code, bindings: emitter.bindings, groups };
}

/** Every group of threads sums some rows of some columns: 16 neighbours in a row, 16 rows at once. */
function emitColumns(step: Reduction, values: ReadonlyMap<string, Value>): Kernel {
  const { op, outer, along, inner, parts, sums } = step;
  const width: Width = inner % 4 === 0 ? 4 : 1;
  const V = typeOfWidth(width);
  const length = Math.ceil(along / parts);
  const { start, join } = REDUCERS[op];
  const emitter = new Emitter(values);
  if (outer === 1) {
    emitter.known.set(`(i / ${inner}u)`, "r");
    emitter.known.set(`(i % ${inner}u)`, "c");
  }
  const read = sums.map(({ of }) => emitter.at(of, values.get(of)!.shape, "i", width));
  const based = basedOut(sums.map(({ out }) => out));
  const targets = sums.map(({ out }) => {
    const { base, offset } = based(out);
    const buffer = emitter.bind(out.slot, `array<${V}>`, "read_write", base);
    return `${buffer}[(${offset}u + ((wg.z * ${parts}u + wg.y) * ${inner}u + c)) / ${width}u]`;
  });
  const all = (statement: (p: string, i: number) => string): string =>
    sums.map((_, i) => statement(`p${i}`, i)).join("\n  ");
  const code = `${declarations(emitter.bindings)}
var<workgroup> shared_sums: array<${V}, ${THREADS}>;
@compute @workgroup_size(${THREADS}) fn main${HEAD} {
  let c = (wg.x * 16u + li % 16u) * ${width}u;
  let line = li / 16u;
  ${all((p) => `var ${p} = ${V}(${start});`)}
  if (c < ${inner}u) {
    for (var r = wg.y * ${length}u + line; r < min((wg.y + 1u) * ${length}u, ${along}u); r += 16u) {
      let i = (wg.z * ${along}u + r) * ${inner}u + c;
      ${emitter.lines.join("\n      ")}
      ${all((p, i) => `${p} = ${join(p, read[i])};`)}
    }
  }
  ${all(
    (p, i) => `shared_sums[li] = ${p};
  workgroupBarrier();
  for (var half = 8u; half > 0u; half /= 2u) {
    if (line < half) { ${p} = ${join(p, "shared_sums[li + half * 16u]")}; shared_sums[li] = ${p}; }
    workgroupBarrier();
  }
  if (line == 0u && c < ${inner}u) { ${targets[i]} = ${p}; }`,
  )}
}`;
  return {
    label: "sums",
    code: helpers(code) + code,
    bindings: emitter.bindings,
    groups: [Math.ceil(inner / width / 16), parts, outer],
  };
}

/** Copies the parts of a concatenation in as many kernels as their buffers need. */
export function emitJoining(
  { node, out, there = [] }: Joining,
  values: ReadonlyMap<string, Value>,
  mostBuffers: number,
): Kernel[] {
  const axis = node.attributes.axis as number;
  const shapes = node.inputs.map((input) => values.get(input)!.shape);
  const outer = sizeOf(shapes[0].slice(0, axis));
  const inner = sizeOf(shapes[0].slice(axis + 1));
  const total = shapes.reduce((sum, shape) => sum + shape[axis], 0);
  const slotOf = (name: string) => (values.get(name) as { view: { slot: Slot } }).view.slot;
  const kernels: Kernel[] = [];
  for (let from = 0, start = 0; from < node.inputs.length;) {
    if (there[from]) {
      start += shapes[from++][axis];
      continue;
    }
    let to = from;
    const slots = new Set<Slot>();
    while (to < node.inputs.length && to - from < 64 && !there[to]) {
      slots.add(slotOf(node.inputs[to]));
      if (slots.size > mostBuffers - 1) break;
      to++;
    }
    const extent = shapes.slice(from, to).reduce((sum, shape) => sum + shape[axis], 0);
    const shape = shapes[0].map((old, i) => (i === axis ? extent : old));
    const name = `${out.name} from ${from}`;
    const part = { ...node, inputs: node.inputs.slice(from, to), outputs: [name] };
    const emitter = new Emitter(new Map(values).set(name, { shape, node: part, cost: 0, leaves: slots }));
    const rows = { of: extent * inner, to: total * inner, at: start * inner };
    const width: Width = Object.values(rows).every((count) => count % 4 === 0) ? 4 : 1;
    const value = emitter.at(name, shape, "i", width);
    const target = emitter.bind(out, `array<${typeOfWidth(width)}>`, "read_write");
    const size = sizeOf(shape);
    const { groups, number } = spread(Math.ceil(size / width / THREADS));
    const place = `(i / ${rows.of}u) * ${rows.to}u + ${rows.at}u + i % ${rows.of}u`;
    const code = `${declarations(emitter.bindings)}
@compute @workgroup_size(${THREADS}) fn main${HEAD} {
  let i = (${number} * ${THREADS}u + li) * ${width}u;
  if (i >= ${size}u) { return; }
  ${emitter.lines.join("\n  ")}
  ${target}[${width === 4 ? `(${place}) / 4u` : place}] = ${value};
}`;
    if (outer * extent * inner !== size) throw new Error(`${out.name}: parts of different shapes`);
    kernels.push({ label: "join", code, bindings: emitter.bindings, groups });
    start += extent;
    from = to;
  }
  return kernels;
}
