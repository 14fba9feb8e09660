/** One kernel for values that are computed from the same data, element by element or row by row. */
import { sizeOf } from "../types.js";
import { Emitter, typeOfWidth, type Binding, type Value, type Width } from "./gpuEmit.js";
import { helpers } from "./gpuFormulas.js";
import type { Slot } from "./gpuView.js";

export interface GroupOutput {
  readonly name: string;
  readonly slot: Slot;
  /** A sum or maximum over the columns of every row. */
  readonly reduced: boolean;
  /** One number for every row, which is not reduced. */
  readonly perRow: boolean;
  /** Whether anybody else reads it; true where it is not said. */
  readonly kept?: boolean;
}

export interface Group {
  readonly kind: "group";
  /** Elements of its domain. */
  readonly size: number;
  /** Of a row of its domain; 0 where no output asks for rows. */
  readonly columns: number;
  readonly outputs: readonly GroupOutput[];
  readonly reads: ReadonlySet<Slot>;
}

export interface Kernel {
  readonly label: string;
  readonly code: string;
  readonly bindings: readonly Binding[];
  readonly groups: readonly [number, number, number];
}

export interface GpuTraits {
  /** Threads that share registers, where they always are as many; 0 where that is not known. */
  readonly subgroup: number;
  readonly f16: boolean;
  /** Whether the processor plays the GPU. */
  readonly software: boolean;
}

const MOST_GROUPS = 65_535;

/** Groups of threads in two dimensions, and the number of a group in WGSL. */
export function spread(count: number): { groups: [number, number, number]; number: string } {
  if (count <= MOST_GROUPS) return { groups: [Math.max(1, count), 1, 1], number: "wg.x" };
  const rows = Math.ceil(count / MOST_GROUPS);
  const columns = Math.ceil(count / rows);
  return { groups: [columns, rows, 1], number: `(wg.x + wg.y * ${columns}u)` };
}

export function declarations(bindings: readonly Binding[]): string {
  return bindings
    .map(({ type, access }, i) => `@group(0) @binding(${i}) var<storage, ${access}> b${i}: ${type};`)
    .join("\n");
}

export const HEAD = "(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_index) li: u32)";

/** What a reduction starts from, and how it goes on. */
export const REDUCERS: Readonly<Record<string, { start: string; join(a: string, b: string): string }>> = {
  ReduceSum: { start: "0f", join: (a, b) => `${a} + ${b}` },
  ReduceMax: { start: "-3.4028234e38f", join: (a, b) => `max(${a}, ${b})` },
  ReduceMin: { start: "3.4028234e38f", join: (a, b) => `min(${a}, ${b})` },
};

/** The four numbers of a vector, or the one number, as one. */
export function flat(op: string, value: string, width: Width): string {
  if (width === 1) return value;
  const { join } = REDUCERS[op];
  return join(join(`${value}.x`, `${value}.y`), join(`${value}.z`, `${value}.w`));
}

const shapeOf = (values: ReadonlyMap<string, Value>, name: string): readonly number[] => values.get(name)!.shape;

const THREADS = 256;

export function emitGroup(group: Group, values: ReadonlyMap<string, Value>, traits?: GpuTraits): Kernel {
  return group.columns === 0
    ? emitFlat(group, values)
    : emitRows(group, values, traits ?? { subgroup: 0, f16: false, software: false });
}

function emitFlat({ size, outputs }: Group, values: ReadonlyMap<string, Value>): Kernel {
  const width: Width = size % 4 === 0 ? 4 : 1;
  const emitter = new Emitter(values);
  for (const { name, slot } of outputs) emitter.local.set(slot, { name });
  for (const { name, slot, kept } of outputs) {
    const value = emitter.at(name, shapeOf(values, name), "i", width);
    if (kept === false) continue;
    const to = emitter.bind(slot, `array<${typeOfWidth(width)}>`, "read_write");
    emitter.lines.push(`${to}[i${width === 4 ? " / 4u" : ""}] = ${value};`);
  }
  const { groups, number } = spread(Math.ceil(size / width / THREADS));
  const body = emitter.lines.map((line) => `  ${line}`).join("\n");
  const code = `${declarations(emitter.bindings)}
@compute @workgroup_size(${THREADS}) fn main${HEAD} {
  let i = (${number} * ${THREADS}u + li) * ${width}u;
  if (i >= ${size}u) { return; }
${body}
}`;
  return { label: "map", code: helpers(code) + code, bindings: emitter.bindings, groups };
}

/** Reductions that can be computed in one pass over a row, in the order of the passes. */
function passes(outputs: readonly GroupOutput[], values: ReadonlyMap<string, Value>): GroupOutput[][] {
  const bySlot = new Map(outputs.map((output) => [output.slot, output]));
  const levels = new Map<string, number>();
  const level = (name: string): number => {
    const known = levels.get(name);
    if (known !== undefined) return known;
    const value = values.get(name)!;
    let found = 0;
    if ("view" in value) {
      const local = bySlot.get(value.view.slot);
      if (local) found = level(local.name) + (local.reduced ? 1 : 0);
    } else if ("node" in value) found = Math.max(0, ...value.node.inputs.map(level));
    levels.set(name, found);
    return found;
  };
  const all: GroupOutput[][] = [];
  for (const output of outputs) if (output.reduced) (all[level(output.name)] ??= []).push(output);
  return all.filter((pass) => pass !== undefined);
}

function emitRows({ size, columns, outputs }: Group, values: ReadonlyMap<string, Value>, traits: GpuTraits): Kernel {
  const rows = size / columns;
  const width: Width = columns % 4 === 0 ? 4 : 1;
  const V = typeOfWidth(width);
  const steps = columns / width;
  const lanes = Math.min(32, 2 ** Math.ceil(Math.log2(steps)));
  const threads = 128;
  const rowsAtOnce = threads / lanes;
  const shuffled = traits.subgroup >= lanes && traits.subgroup > 0;

  const emitter = new Emitter(values);
  emitter.known.set(`(i / ${columns}u)`, "r");
  emitter.known.set(`(i % ${columns}u)`, "c");
  const reduced = outputs.filter((output) => output.reduced);
  outputs.forEach(({ name, slot }) => {
    const at = reduced.findIndex((output) => output.name === name);
    emitter.local.set(slot, at < 0 ? { name } : { variable: `s${at}` });
  });

  const text: string[] = [];
  const loop = (lines: readonly string[]): void => {
    text.push(
      `  for (var j = 0u; j < ${Math.ceil(steps / lanes)}u; j++) {`,
      `    let c = (lane + j * ${lanes}u) * ${width}u;`,
      `    if (c < ${columns}u) {`,
      `      let i = r * ${columns}u + c;`,
      ...lines.map((line) => `      ${line}`),
      "    }",
      "  }",
    );
  };
  for (const pass of passes(outputs, values)) {
    const of = pass.map(({ name }) => {
      const value = values.get(name)!;
      if (!("node" in value)) throw new Error(`${name} is no reduction`);
      return {
        ...REDUCERS[value.node.op],
        op: value.node.op,
        input: value.node.inputs[0],
        at: reduced.findIndex((o) => o.name === name),
      };
    });
    for (const { at, start } of of) text.push(`  var p${at} = ${V}(${start});`);
    const lines = emitter.scope();
    for (const { at, input, join } of of) {
      lines.push(`p${at} = ${join(`p${at}`, emitter.at(input, shapeOf(values, input), "i", width))};`);
    }
    loop(lines);
    for (const { at, op, join } of of) {
      text.push(`  var s${at} = ${flat(op, `p${at}`, width)};`);
      for (let half = lanes / 2; half >= 1; half /= 2) {
        if (shuffled) text.push(`  s${at} = ${join(`s${at}`, `subgroupShuffleXor(s${at}, ${half}u)`)};`);
        else {
          text.push(`  shared_sums[li] = s${at};`, "  workgroupBarrier();");
          text.push(`  s${at} = ${join(`s${at}`, `shared_sums[li ^ ${half}u]`)};`, "  workgroupBarrier();");
        }
      }
    }
  }
  const maps = outputs.filter((output) => !output.reduced && !output.perRow);
  if (maps.length > 0) {
    const lines = emitter.scope();
    for (const { name, slot, kept } of maps) {
      if (kept === false) continue;
      const value = emitter.at(name, shapeOf(values, name), "i", width);
      lines.push(`${emitter.bind(slot, `array<${V}>`, "read_write")}[i${width === 4 ? " / 4u" : ""}] = ${value};`);
    }
    text.push("  if (q < " + rows + "u) {");
    loop(lines);
    text.push("  }");
  }
  const numbers = outputs.filter((output) => (output.reduced || output.perRow) && output.kept !== false);
  if (numbers.length > 0) {
    const lines = emitter.scope();
    for (const { name, slot, reduced: isReduced } of numbers) {
      const value = isReduced
        ? `s${reduced.findIndex((output) => output.name === name)}`
        : emitter.at(name, shapeOf(values, name), "r", 1);
      emitter.lines.push(`${emitter.bind(slot, "array<f32>", "read_write")}[r] = ${value};`);
    }
    text.push(`  if (q < ${rows}u && lane == 0u) {`, ...lines.map((line) => `    ${line}`), "  }");
  }
  const { groups, number } = spread(Math.ceil(rows / rowsAtOnce));
  const code = `${shuffled ? "enable subgroups;\n" : ""}${declarations(emitter.bindings)}
${shuffled || reduced.length === 0 ? "" : `var<workgroup> shared_sums: array<f32, ${threads}>;`}
@compute @workgroup_size(${threads}) fn main${HEAD} {
  let lane = li % ${lanes}u;
  let q = ${number} * ${rowsAtOnce}u + li / ${lanes}u;
  let r = min(q, ${rows - 1}u);
${text.join("\n")}
}`;
  const [enable, rest] = shuffled ? ["enable subgroups;\n", code.slice("enable subgroups;\n".length)] : ["", code];
  const all = enable + helpers(code) + rest;
  return { label: "rows", code: all, bindings: emitter.bindings, groups };
}

/** Elements of a value. */
export const sizeIn = (values: ReadonlyMap<string, Value>, name: string): number => sizeOf(shapeOf(values, name));
