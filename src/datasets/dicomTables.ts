/** Look-up tables of DICOM: their descriptors, plain data, segments (PS3.3, C.11.1 and C.7.9.2). */
import type { DataSet } from "dicom-parser";
import { InputError } from "../types.js";
import type { DicomFile } from "./dicomFile.js";
import { integers, swapped } from "./dicomSamples.js";

export interface LookUpTable {
  /** The stored value that the first entry stands for. */
  readonly first: number;
  /** Bits of an entry. */
  readonly bits: number;
  readonly entries: ArrayLike<number>;
}

/**
 * A table from its descriptor `entries \ first value \ bits` and its data. Entries of 8 bits lie two in a word, or one in a
 * word where a writer spent the space.
 *
 * @param signed  whether stored values are, and with them the first value
 * @throws        `InputError`: no usable descriptor, or less data than it says
 */
export function lookUpTable(
  { path, littleEndian }: DicomFile,
  data: DataSet,
  descriptor: string,
  tag: string,
  signed: boolean,
  name: string,
  segmented = false,
): LookUpTable {
  const [count16, first16, bits] = [0, 1, 2].map((i) => data.uint16(descriptor, i));
  const element = data.elements[tag];
  if (count16 === undefined || first16 === undefined || bits === undefined || bits < 1 || bits > 16) {
    throw new InputError(
      `${path}: the ${name} has no usable descriptor; expected entries\\first value\\bits (8 to 16)`,
    );
  }
  const count = count16 === 0 ? 65536 : count16; // 2^16 does not fit into 16 bits, and is written 0
  let bytes: Uint8Array = data.byteArray.subarray(element.dataOffset, element.dataOffset + element.length);
  const oneByte = bits <= 8 && (segmented || bytes.length < 2 * count);
  if (!littleEndian && (!oneByte || element.vr !== "OB")) bytes = swapped(bytes, 2);
  const words = integers(bytes, oneByte ? 1 : 2, false);
  const entries = segmented ? unfolded(words, count, path, name) : words.subarray(0, count);
  if (entries.length < count) {
    throw new InputError(`${path}: the ${name} of ${count} entries needs ${count} values, got ${bytes.length} bytes`);
  }
  return { first: signed && first16 >= 32768 ? first16 - 65536 : first16, bits, entries };
}

/**
 * Segments to entries: 0 n v… are n values as they are; 1 n v is a straight line of n entries from the entry before to v;
 * 2 n low high repeats n segments that begin at a byte offset.
 */
function unfolded(words: ArrayLike<number>, count: number, path: string, name: string): Uint16Array {
  const entries = new Uint16Array(count);
  let filled = 0;
  const broken = (): InputError => new InputError(`${path}: the segments of the ${name} do not make ${count} entries`);
  const width = words instanceof Uint8Array ? 1 : 2;
  const run = (from: number, segments: number, nested: boolean): void => {
    let at = from;
    for (let done = 0; done < segments && at + 1 < words.length && filled < count; done++) {
      const [kind, n] = [words[at], words[at + 1]];
      if (kind === 0) {
        if (at + 2 + n > words.length || filled + n > count) throw broken();
        for (let i = 0; i < n; i++) entries[filled++] = words[at + 2 + i];
        at += 2 + n;
      } else if (kind === 1) {
        if (at + 3 > words.length || filled + n > count || filled === 0) throw broken();
        const [before, end] = [entries[filled - 1], words[at + 2]];
        for (let i = 1; i <= n; i++) entries[filled++] = halfToEven(before + ((end - before) * i) / n);
        at += 3;
      } else if (kind === 2 && !nested) {
        const parts =
          width === 1 ? [0, 1, 2, 3].map((i) => words[at + 2 + i] * 256 ** i) : [words[at + 2], words[at + 3] * 65536];
        const offset = parts.reduce((sum, part) => sum + part, 0) / width;
        if (!Number.isInteger(offset) || offset >= words.length) throw broken();
        run(offset, n, true);
        at += 2 + 4 / width;
      } else {
        throw broken();
      }
    }
  };
  run(0, Infinity, false);
  if (filled < count) throw broken();
  return entries;
}

/** The nearest whole number, and of two the even one, as numpy rounds: 2.5 → 2, 3.5 → 4. */
function halfToEven(x: number): number {
  const nearest = Math.round(x);
  return x % 1 === 0.5 && nearest % 2 === 1 ? nearest - 1 : nearest;
}
