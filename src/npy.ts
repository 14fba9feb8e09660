/** `.npy`, one array as numpy writes it: magic, a header that is a Python dictionary, and the values. */

export interface NpzArray {
  /** `[]` for a single value. */
  readonly shape: readonly number[];
  /** Row major. */
  readonly data: ArrayLike<string | number | bigint | boolean>;
}

/** What the header says. */
export interface NpyHeader {
  /** Such as `<f4`. */
  readonly descr: string;
  readonly kind: string;
  /** Bytes of one value. */
  readonly width: number;
  readonly littleEndian: boolean;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** Where the values begin. */
  readonly start: number;
}

/** Bytes of one value of a type that we read, by kind and width as numpy writes them. */
const NUMBERS = ["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"];

/** Reads the header. Throws a plain `Error` with the reason where it is no array of numbers, booleans or text. */
export function npyHeader(bytes: Uint8Array): NpyHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = bytes.length >= 12 && bytes[0] === 0x93 && Buffer.from(bytes.subarray(1, 6)).toString() === "NUMPY";
  if (!magic) throw new Error("it is no .npy array");
  const [at, length] = bytes[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const start = at + length;
  if (start > bytes.length) throw new Error("it ends in its header");
  const header = Buffer.from(bytes.subarray(at, start)).toString("latin1");
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const extents = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || extents === undefined) {
    throw new Error("expected an array of one type, got a table or a damaged header");
  }
  const shape = extents.split(",").flatMap((extent) => (extent.trim() === "" ? [] : [Number(extent)]));
  if (!shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)) throw new Error("its shape is damaged");
  const [, byteOrder, kind, size] = /^([<>|=]?)([a-zA-Z])(\d+)$/.exec(descr) ?? [];
  if (kind === "O" || descr.endsWith("O")) throw new Error("it holds Python objects, which are never unpickled");
  if (!NUMBERS.includes(kind + size) && kind !== "U" && kind !== "S") {
    const shown = /^[<>|=]?\w{1,8}$/.test(descr) ? descr : "(damaged)";
    throw new Error(`type ${shown} is not supported; expected numbers, booleans or text`);
  }
  const width = kind === "U" ? 4 * Number(size) : Number(size);
  return { descr, kind, width, littleEndian: byteOrder !== ">", fortranOrder: order === "True", shape, start };
}

/** The array in the bytes of an `.npy` file, row major whatever its order; float16 comes as float32. */
export function parseNpy(bytes: Uint8Array): NpzArray {
  const header = npyHeader(bytes);
  const count = header.shape.reduce((product, extent) => product * extent, 1);
  const available = header.width === 0 ? count : Math.floor((bytes.length - header.start) / header.width);
  if (available < count) throw new Error(`expected ${count} values, got ${available}`);
  const data = npyValues(bytes.subarray(header.start, header.start + count * header.width), header);
  const turn = header.fortranOrder && header.shape.length > 1;
  return { shape: header.shape, data: turn ? rowMajor(data, header.shape) : data };
}

/** Values of the type of a header, from the bytes of any part of an array. */
export function npyValues(bytes: Uint8Array, { kind, width, littleEndian }: NpyHeader): NpzArray["data"] {
  if (kind === "U") return unicode(bytes, width / 4, littleEndian);
  if (kind === "S") return latin1(bytes, width);
  if (kind === "b") return Array.from(bytes, (byte) => byte !== 0);
  // Typed arrays begin at multiples of their width and have the order of the machine, which is little-endian wherever Node runs.
  const swap = !littleEndian && width > 1;
  const own = swap || bytes.byteOffset % width !== 0 ? Uint8Array.from(bytes) : bytes;
  if (swap) swapped(Buffer.from(own.buffer as ArrayBuffer), width);
  const from: [ArrayBuffer, number, number] = [own.buffer as ArrayBuffer, own.byteOffset, own.byteLength / width];
  switch (kind + width) {
    case "i1":
      return new Int8Array(...from);
    case "u1":
      return new Uint8Array(...from);
    case "i2":
      return new Int16Array(...from);
    case "u2":
      return new Uint16Array(...from);
    case "i4":
      return new Int32Array(...from);
    case "u4":
      return new Uint32Array(...from);
    case "i8":
      return new BigInt64Array(...from);
    case "u8":
      return new BigUint64Array(...from);
    case "f4":
      return new Float32Array(...from);
    case "f8":
      return new Float64Array(...from);
    default:
      return Float32Array.from(new Uint16Array(...from), half);
  }
}

/** Every value in the other byte order, in place. */
function swapped(bytes: Buffer, width: number): void {
  if (width === 2) bytes.swap16();
  else if (width === 4) bytes.swap32();
  else bytes.swap64();
}

/**
 * IEEE 754 half precision: (−1)^s · 2^(e − 15) · (1 + f / 1024), and 2⁻¹⁴ · f / 1024 where e = 0. `half(0x3c00)` is 1,
 * `half(0x0001)` is 2⁻²⁴, `half(0xfc00)` is −∞.
 */
export function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 0) return sign * 2 ** -14 * fraction;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * 2 ** (exponent - 15) * (1 + fraction);
}

function unicode(bytes: Uint8Array, width: number, littleEndian: boolean): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: width === 0 ? 0 : bytes.length / 4 / width }, (_, row) => {
    let text = "";
    for (let i = 0; i < width; i++) {
      const point = view.getUint32(4 * (row * width + i), littleEndian);
      if (point > 0x10ffff) throw new Error(`${point} is no character`);
      if (point !== 0) text += String.fromCodePoint(point);
    }
    return text;
  });
}

function latin1(bytes: Uint8Array, width: number): string[] {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: width === 0 ? 0 : bytes.length / width }, (_, row) =>
    all.toString("latin1", row * width, (row + 1) * width).replace(/\0+$/, ""),
  );
}

/** Column-major values in row-major order: [[1, 2], [3, 4]] is stored as 1, 3, 2, 4. */
function rowMajor(data: NpzArray["data"], shape: readonly number[]): NpzArray["data"] {
  const strides: number[] = [];
  shape.reduce((stride, extent) => (strides.push(stride), stride * extent), 1);
  const index = new Array<number>(shape.length).fill(0);
  const order = new Uint32Array(data.length);
  let from = 0;
  for (let to = 0; to < data.length; to++) {
    order[to] = from;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  if (Array.isArray(data)) return Array.from(order, (at) => (data as string[])[at]);
  const turned = (data as Float32Array).slice();
  order.forEach((at, to) => (turned[to] = (data as Float32Array)[at]));
  return turned;
}
