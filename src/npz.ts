/** `.npz`, numpy's zip of arrays: what Python opens with `numpy.load(path)`, without pickle. */
import { zipSync, type Zippable } from "fflate";
import { dump } from "npyjs";
import { readBytes, systemError, writeAtomic } from "./files.js";
import { parseNpy, type NpzArray } from "./npy.js";
import { InputError } from "./types.js";
import { ZipFile, type ZipLimits } from "./zip.js";

export type { NpzArray } from "./npy.js";

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

/**
 * Every array of the file, by name, each checked against its checksum. ZIP64 too.
 *
 * @throws `InputError` that names the file, and the array or the limit if that is to blame
 */
export function readNpz(path: string, limits?: ZipLimits): Map<string, NpzArray> {
  const zip = openNpz(path);
  try {
    const arrays = new Map<string, NpzArray>();
    for (const member of zip.members.values()) {
      if (!member.name.endsWith(".npy")) continue;
      const name = member.name.slice(0, -4);
      try {
        arrays.set(name, parseNpy(zip.read(member, limits)));
      } catch (error) {
        throw arrayError(path, name, error);
      }
    }
    return arrays;
  } finally {
    zip.close();
  }
}

/** The zip file itself, for arrays that are read a part at a time. Close it. */
export function openNpz(path: string): ZipFile {
  try {
    return new ZipFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) throw systemError(path, error);
    throw new InputError(`${path}: expected an .npz file (a zip of .npy arrays), got something else or a cut file`);
  }
}

/** `set.npz: cannot read the array x: its checksum is wrong` */
export function arrayError(path: string, name: string, error: unknown): InputError {
  const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
  return new InputError(`${path}: cannot read the array ${name}: ${reason}`);
}

/** The one array of an `.npy` file. Throws an `InputError` that names it. */
export function readNpy(path: string): NpzArray {
  try {
    return parseNpy(readBytes(path));
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${path}: expected an .npy array: ${(error as Error).message}`);
  }
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
