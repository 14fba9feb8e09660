/**
 * A formula over arrays as a WebAssembly function: four elements at a time, every array read once and written once.
 * The binary format: https://webassembly.github.io/spec/core/binary/, vector instructions in section 5.4.
 */
import type { Formula, KernelOp } from "./updates.js";

/** `kernel(bytes, arrays…, scalars…)`: arrays are byte offsets in the memory, multiples of 16, as is `bytes`. */
export type Kernel = (bytes: number, ...rest: number[]) => void;

const [I32, F32, V128] = [0x7f, 0x7d, 0x7b];
const VECTOR = { load: 0x00, store: 0x0b, splat: 0x13 } as const;
const OPCODES: Readonly<Record<Exclude<KernelOp, "Reciprocal">, number>> = {
  Abs: 0xe0,
  Neg: 0xe1,
  Sqrt: 0xe3,
  Add: 0xe4,
  Sub: 0xe5,
  Mul: 0xe6,
  Div: 0xe7,
  Min: 0xe8,
  Max: 0xe9,
};

/** LEB128, without a sign. */
function leb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}

const vector = (opcode: number): number[] => [0xfd, ...leb(opcode)];
const section = (id: number, content: readonly number[]): number[] => [id, ...leb(content.length), ...content];
const text = (value: string): number[] => [...leb(value.length), ...Buffer.from(value)];
const get = (local: number): number[] => [0x20, ...leb(local)];
const set = (local: number): number[] => [0x21, ...leb(local)];

/** The module's bytes; it imports `env.memory` and exports `kernel`. */
export function kernelModule({ arrays, scalars, terms, stores }: Formula): Uint8Array {
  const params = [I32, ...new Array<number>(arrays).fill(I32), ...new Array<number>(scalars).fill(F32)];
  const at = params.length; // local: the offset that all arrays are read at
  const value = (term: number) => at + 1 + term;
  const address = (array: number) => [...get(1 + array), ...get(at), 0x6a]; // i32.add
  const aligned = [4, 0]; // 2⁴ bytes, no further offset
  const one = [0x43, ...new Uint8Array(Float32Array.of(1).buffer)]; // f32.const

  const scalar = terms.flatMap((term, i) =>
    term.kind === "scalar" ? [...get(1 + arrays + term.index), ...vector(VECTOR.splat), ...set(value(i))] : [],
  );
  const body = terms.flatMap((term, i): number[] => {
    if (term.kind === "scalar") return [];
    if (term.kind === "array") {
      return [...address(term.index), ...vector(VECTOR.load), ...aligned, ...set(value(i))];
    }
    const args = term.args.flatMap((arg) => get(value(arg)));
    if (term.kind === "Reciprocal") {
      return [...one, ...vector(VECTOR.splat), ...args, ...vector(OPCODES.Div), ...set(value(i))];
    }
    return [...args, ...vector(OPCODES[term.kind]), ...set(value(i))];
  });
  const writes = stores.flatMap(({ term, array }) => [
    ...address(array),
    ...get(value(term)),
    ...vector(VECTOR.store),
    ...aligned,
  ]);
  const step = [...get(at), 0x41, 16, 0x6a, ...set(at)]; // i32.const 16, i32.add
  const again = [...get(at), ...get(0), 0x49, 0x0d, 0]; // i32.lt_u, br_if 0
  const code = [...scalar, 0x03, 0x40, ...body, ...writes, ...step, ...again, 0x0b, 0x0b]; // loop … end, end
  const locals = [2, ...leb(1), I32, ...leb(terms.length), V128];
  const entry = [...locals, ...code];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, [1, 0x60, ...leb(params.length), ...params, 0]),
    ...section(2, [1, ...text("env"), ...text("memory"), 0x02, 0x00, 1]), // a memory of at least one page
    ...section(3, [1, 0]),
    ...section(7, [1, ...text("kernel"), 0x00, 0]),
    ...section(10, [1, ...leb(entry.length), ...entry]),
  ]);
}

const modules = new Map<string, WebAssembly.Module>();

/** The kernel over a memory; formulas that are the same are compiled once. */
export function kernelOf(formula: Formula, memory: WebAssembly.Memory): Kernel {
  const key = JSON.stringify(formula);
  const module = modules.get(key) ?? new WebAssembly.Module(kernelModule(formula));
  modules.set(key, module);
  return new WebAssembly.Instance(module, { env: { memory } }).exports.kernel as Kernel;
}
