/** From the bytes of DICOM pixels to numbers: widths, byte order, packed bits, halved colour (PS3.5, 8.1). */
import { swapBytes, type SampleType } from "./samples.js";

export type Samples =
  Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array;

const UNSIGNED = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array } as const;
const SIGNED = { 1: Int8Array, 2: Int16Array, 4: Int32Array } as const;
const FLOAT = { 4: Float32Array, 8: Float64Array } as const;

/** The type that holds a sample of so many bits, as numpy spells it: 12 bits are `uint16`, or `int16` where signed. */
export function sampleType(bits: number, signed: boolean): SampleType {
  const width = bits <= 8 ? 8 : bits <= 16 ? 16 : 32;
  return `${signed ? "int" : "uint"}${width}`;
}

/**
 * Little-endian bytes as numbers: a view where they lie at a multiple of their width, else of a copy.
 * `integers(Uint8Array.of(255, 255), 2, true)` is [−1].
 */
export function integers(bytes: Uint8Array, width: 1 | 2 | 4, signed: boolean): Samples {
  return view(signed ? SIGNED[width] : UNSIGNED[width], bytes, width);
}

/** `integers` for 32- and 64-bit floating point. */
export function floats(bytes: Uint8Array, width: 4 | 8): Samples {
  return view(FLOAT[width], bytes, width);
}

function view(
  type: new (buffer: ArrayBufferLike, offset: number, length: number) => Samples,
  bytes: Uint8Array,
  width: number,
): Samples {
  const aligned = bytes.byteOffset % width === 0 ? bytes : Uint8Array.from(bytes);
  return new type(aligned.buffer, aligned.byteOffset, Math.floor(aligned.length / width));
}

/** A copy in the other byte order. `swapped(Uint8Array.of(1, 2), 2)` is [2, 1]. */
export function swapped(bytes: Uint8Array, width: 1 | 2 | 4 | 8): Uint8Array {
  const copy = Uint8Array.from(bytes);
  if (width > 1) swapBytes(copy, width);
  return copy;
}

/**
 * Samples of any width from 1 to 32 bits that follow each other without gaps, the first in the lowest bits: one bit for a
 * segmentation, 12 for old scanners, 24. `unpacked(Uint8Array.of(0b1101), 1, 0, 3)` is [1, 0, 1].
 *
 * @param from  index of the first sample
 */
export function unpacked(bytes: Uint8Array, bits: number, from: number, count: number): Samples {
  if (bits === 1) {
    const values = new Uint8Array(count);
    for (let i = 0, at = from; i < count; i++, at++) values[i] = (bytes[at >>> 3] >>> (at & 7)) & 1;
    return values;
  }
  const values = new (bits <= 8 ? Uint8Array : bits <= 16 ? Uint16Array : Uint32Array)(count);
  for (let i = 0; i < count; i++) {
    let value = 0;
    let at = (from + i) * bits;
    for (let got = 0; got < bits;) {
      const take = Math.min(8 - (at % 8), bits - got);
      value += ((bytes[Math.floor(at / 8)] >>> (at % 8)) & ((1 << take) - 1)) * 2 ** got;
      got += take;
      at += take;
    }
    values[i] = value;
  }
  return values;
}

/** YBR_FULL_422: two pixels are stored as Y Y Cb Cr and share their colour. [10, 20, 1, 2] is [10, 1, 2, 20, 1, 2]. */
export function doubled(halved: Samples, from: number, pixels: number): Samples {
  const full = new (halved instanceof Uint8Array ? Uint8Array : Uint16Array)(3 * pixels);
  for (let i = 0, to = 0, at = from; i < pixels; i += 2, to += 6, at += 4) {
    full[to] = halved[at];
    full[to + 3] = halved[at + 1];
    full[to + 1] = full[to + 4] = halved[at + 2];
    full[to + 2] = full[to + 5] = halved[at + 3];
  }
  return full;
}
