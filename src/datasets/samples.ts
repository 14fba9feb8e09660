/** Bytes to numbers: the part that DICOM and NIfTI have in common. */

/** The stored types that the readers know, as numpy spells them. */
export type SampleType =
  "uint8" | "int8" | "uint16" | "int16" | "uint32" | "int32" | "uint64" | "int64" | "float32" | "float64";

/** Numbers as they come out of bytes. */
export type Samples =
  Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array;

export const BYTES_PER_SAMPLE: Readonly<Record<SampleType, 1 | 2 | 4 | 8>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  uint64: 8,
  int64: 8,
  float32: 4,
  float64: 8,
};

/**
 * `count` numbers of a type from the start of `bytes`, whatever their byte order. 64-bit integers come back as doubles,
 * exact to 2⁵³. The bytes given are not changed; where they lie as the machine wants them, the numbers share their memory.
 *
 * `samplesFrom(Uint8Array.of(1, 2), "uint16", 1, true)` is [513]; in the other byte order it is [258].
 */
export function samplesFrom(bytes: Uint8Array, type: SampleType, count: number, littleEndian: boolean): Samples {
  const width = BYTES_PER_SAMPLE[type];
  const machineIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  const swapped = width > 1 && littleEndian !== machineIsLittleEndian;
  const inPlace = !swapped && bytes.byteOffset % width === 0 && bytes.length >= count * width;
  const { buffer, byteOffset } = inPlace ? bytes : copied(bytes, count * width);
  if (swapped) swapBytes(new Uint8Array(buffer, byteOffset), width);
  switch (type) {
    case "uint8":
      return new Uint8Array(buffer, byteOffset, count);
    case "int8":
      return new Int8Array(buffer, byteOffset, count);
    case "uint16":
      return new Uint16Array(buffer, byteOffset, count);
    case "int16":
      return new Int16Array(buffer, byteOffset, count);
    case "uint32":
      return new Uint32Array(buffer, byteOffset, count);
    case "int32":
      return new Int32Array(buffer, byteOffset, count);
    case "uint64":
      return Float64Array.from(new BigUint64Array(buffer, byteOffset, count), Number);
    case "int64":
      return Float64Array.from(new BigInt64Array(buffer, byteOffset, count), Number);
    case "float32":
      return new Float32Array(buffer, byteOffset, count);
    case "float64":
      return new Float64Array(buffer, byteOffset, count);
  }
}

/** Starts at a multiple of eight, as typed arrays need, and may be swapped in place; filled up with zeros. */
function copied(bytes: Uint8Array, length: number): Uint8Array {
  const copy = new Uint8Array(length);
  copy.set(bytes.subarray(0, length));
  return copy;
}

/** Reverses every group of `width` bytes, in place. */
export function swapBytes(bytes: Uint8Array, width: 1 | 2 | 4 | 8): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength - (bytes.byteLength % width));
  if (width === 2) buffer.swap16();
  if (width === 4) buffer.swap32();
  if (width === 8) buffer.swap64();
}
