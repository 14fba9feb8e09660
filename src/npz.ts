/** `.npz`, numpy's zip of arrays: what Python opens with `numpy.load(path)`, without pickle. */
import { unzipSync, zipSync, type Zippable } from "fflate";
import { dump, parse } from "npyjs";
import { readBytes, writeAtomic } from "./files.js";
import { InputError } from "./types.js";

export interface NpzArray {
  /** `[]` for a single value. */
  readonly shape: readonly number[];
  /** Row major. */
  readonly data: ArrayLike<string | number | bigint | boolean>;
}

/** What can be written: text (`<U`), float32 or bytes. */
export interface NpzOutput {
  readonly shape: readonly number[];
  readonly data: readonly string[] | Float32Array | Uint8Array;
}

/** Fixed-width unicode, `<U`. Ours, because npyjs counts UTF-16 units and fails on long arrays. */
function dumpStrings(strings: readonly string[], shape: readonly number[]): Uint8Array {
  const points = strings.map((text) => Array.from(text, (character) => character.codePointAt(0)!));
  const longest = points.reduce((most, p) => Math.max(most, p.length), 1);
  const extents = shape.map((extent) => `${extent},`).join(" ");
  const description = `{'descr': '<U${longest}', 'fortran_order': False, 'shape': (${extents}), }`;
  // Magic, version and length take 10 bytes, the newline one: the data begin on a multiple of 64, as numpy's do.
  const header = description.padEnd(Math.ceil((description.length + 11) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + header.length + 4 * longest * strings.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x93, ...Buffer.from("NUMPY"), 1, 0]);
  view.setUint16(8, header.length, true);
  bytes.set(Buffer.from(header, "latin1"), 10);
  points.forEach((p, row) => {
    p.forEach((point, i) => view.setUint32(10 + header.length + 4 * (row * longest + i), point, true));
  });
  return bytes;
}

/** The other way round; null where the array does not hold little-endian unicode. */
function parseStrings(bytes: Uint8Array): NpzArray | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = bytes[6] === 1 ? 10 : 12;
  const length = bytes[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const header = Buffer.from(bytes.subarray(start, start + length)).toString("latin1");
  const width = Number(/'descr':\s*'<U(\d+)'/.exec(header)?.[1]);
  const extents = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (Number.isNaN(width) || extents === undefined) return null;
  const shape = extents.split(",").flatMap((extent) => (extent.trim() === "" ? [] : [Number(extent)]));
  const count = shape.reduce((product, extent) => product * extent, 1);
  const data = Array.from({ length: count }, (_, row) => {
    let text = "";
    for (let i = 0; i < width; i++) {
      const point = view.getUint32(start + length + 4 * (row * width + i), true);
      if (point !== 0) text += String.fromCodePoint(point);
    }
    return text;
  });
  return { shape, data };
}

function parseArray(bytes: Uint8Array): NpzArray {
  const strings = parseStrings(bytes);
  if (strings !== null) return strings;
  const { shape, data, fortranOrder } = parse(bytes.slice().buffer);
  if (fortranOrder && shape.length > 1) throw new Error("it is in Fortran order; save numpy.ascontiguousarray of it");
  const array = { shape, data: data as unknown as NpzArray["data"] };
  const expected = shape.reduce((product, extent) => product * extent, 1);
  if (array.data.length !== expected) throw new Error(`expected ${expected} values, got ${array.data.length}`);
  return array;
}

/** Every array of the file, by name. Throws an `InputError` that names the file, and the array if it is to blame. */
export function readNpz(path: string): Map<string, NpzArray> {
  const bytes = readBytes(path);
  let files: Record<string, Uint8Array>;
  try {
    files = unzipSync(bytes);
  } catch {
    throw new InputError(`${path}: expected an .npz file (a zip of .npy arrays), got something else or a cut file`);
  }
  const arrays = new Map<string, NpzArray>();
  for (const [file, content] of Object.entries(files)) {
    if (!file.endsWith(".npy")) continue;
    const name = file.slice(0, -4);
    try {
      arrays.set(name, parseArray(content));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new InputError(`${path}: cannot read the array ${name}: ${reason}`);
    }
  }
  return arrays;
}

/** Writes arrays atomically. The same arrays give the same bytes: the zip carries a fixed date, the one numpy uses. */
export function writeNpz(path: string, arrays: Readonly<Record<string, NpzOutput>>): void {
  const files: Zippable = {};
  for (const [name, { data, shape }] of Object.entries(arrays)) {
    const numbers = data instanceof Float32Array || data instanceof Uint8Array;
    // Floats hardly shrink, so numbers are stored as they are; text is packed.
    files[`${name}.npy`] = numbers
      ? [new Uint8Array(dump(data, [...shape])), { level: 0 }]
      : [dumpStrings(data, shape), { level: 6 }];
  }
  writeAtomic(path, zipSync(files, { mtime: new Date(1980, 0, 1) }));
}
