/**
 * TIFF pictures of types, in compressions and in tiles that libvips does not read: floats of 16 bits, any samples of 64 bits, Zstandard,
 * tiles of one channel each. Strips and tiles are unpacked here, after TIFF 6.0 (sections 9, 13, 14 and 15) and Adobe's Technical Note 3 (the predictor of floats).
 */
import { inflateSync } from "node:zlib";
import { half } from "../npy.js";
import type { TiffPage } from "./imageTiff.js";
import { swapBytes } from "./samples.js";

/** The samples of a page, `[H, W, bands]`. */
type Samples = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array;

const ZSTD = 50000;
/** Bits of unsigned samples that follow each other without gaps along a row, the highest bit first, as cameras and detectors have. */
const PACKED: readonly number[] = [10, 12, 14];
const UNPACK: Readonly<Record<number, (packed: Uint8Array, length: number) => Uint8Array>> = {
  1: (packed) => packed,
  5: unLzw,
  8: inflated,
  32946: inflated, // the number of deflate before it had one
  32773: unPackBits,
  [ZSTD]: (packed, length) => {
    if (unZstd === null) throw new Error("the codec for Zstandard is not loaded");
    return unZstd(packed, new Uint8Array(length));
  },
};

let unZstd: ((packed: Uint8Array, into: Uint8Array) => Uint8Array) | null = null;

/** Loads what a page is unpacked with, where that is a package. */
export async function loadUnpacker({ compression }: TiffPage): Promise<void> {
  if (compression === ZSTD) unZstd ??= (await import("fzstd")).decompress;
}

/** Compressions that neither libvips nor we undo, by their numbers. */
const UNREAD: Readonly<Record<number, string>> = {
  6: "JPEG of the old style",
  22610: "JPEG XR",
  32809: "ThunderScan",
  34676: "SGI Log",
  34677: "SGI Log24",
  34712: "JPEG 2000",
  34887: "LERC",
  34892: "lossy JPEG of DNG",
  34925: "LZMA",
  34933: "PNG",
  34934: "JPEG XR",
  50002: "JPEG XL",
  52546: "JPEG XL",
};

/** Whether a page must be decoded here, where libvips cannot. Throws a plain `Error` where nobody can. */
export function isForUs({ bits, sampleFormat, compression, photometric, planar, tiled }: TiffPage): boolean {
  if (bits === 8 && photometric >= 8 && photometric <= 10)
    throw new Error(
      `photometric interpretation ${photometric} (CIE L*a*b*) is not supported; expected grey, RGB or CMYK`,
    );
  if (Object.hasOwn(UNREAD, compression)) {
    const expected = "expected none, CCITT, LZW, JPEG, deflate, PackBits, WebP or Zstandard";
    throw new Error(`compression ${compression} (${UNREAD[compression]}) is not supported; ${expected}`);
  }
  if (tiled && planar === 2) return true;
  return ![1, 2, 4, 8, 16, 32].includes(bits) || (bits === 16 && sampleFormat === 3) || compression === ZSTD;
}

/** numpy's name of the samples, such as `float16`. Throws a plain `Error` for what is not read here. */
export function tiffType({
  bits,
  sampleFormat,
  photometric,
  samplesPerPixel,
  compression,
  fillOrder,
}: TiffPage): string {
  if (sampleFormat === 5 || sampleFormat === 6) throw new Error("complex numbers are not supported");
  const kind = { 1: "uint", 2: "int", 3: "float" }[sampleFormat];
  const known = sampleFormat === 3 ? [16, 32, 64] : [8, ...(sampleFormat === 1 ? PACKED : []), 16, 32, 64];
  if (kind === undefined || !known.includes(bits))
    throw new Error(
      `${kind ?? "samples of an unknown type"} of ${bits} bits is not supported; expected ${known.join(", ")} bits`,
    );
  if (!(compression in UNPACK))
    throw new Error(
      `${kind}${bits} in compression ${compression} is not supported; expected none, LZW, deflate, PackBits or Zstandard`,
    );
  const greyOrColour = photometric <= 1 ? samplesPerPixel <= 2 : photometric === 2 && [3, 4].includes(samplesPerPixel);
  if (!greyOrColour || fillOrder !== 1)
    throw new Error(
      `${kind}${bits} with photometric interpretation ${photometric} and ${samplesPerPixel} channels is not supported; expected grey or RGB`,
    );
  return PACKED.includes(bits) ? "uint16" : `${kind}${bits}`;
}

/**
 * Decodes a page: every strip or tile is unpacked, its differences summed up, and laid in its place.
 *
 * @param deadline  in ms of `performance.now()`: damaged headers can promise millions of tiles
 * @throws          a plain `Error`
 */
export function decodeTiffPage(bytes: Uint8Array, page: TiffPage, deadline: number): Samples {
  const { width, height, samplesPerPixel, planar, bits, block, tiled } = page;
  const type = tiffType(page);
  const [blockWidth, blockHeight] = block;
  if (!(blockWidth >= 1 && blockHeight >= 1 && width >= 1 && height >= 1))
    throw new Error("a tile or strip of no size");
  const bands = planar === 2 ? 1 : samplesPerPixel; // in one block
  const [across, down] = [Math.ceil(width / blockWidth), Math.ceil(height / blockHeight)];
  const { offsets, lengths } = page.blocks();
  const needed = across * down * (planar === 2 ? samplesPerPixel : 1);
  if (offsets.length < needed || lengths.length < needed)
    throw new Error(`expected ${needed} tiles or strips, got ${offsets.length}`);
  const rowBytes = Math.ceil((blockWidth * bands * bits) / 8);
  const most = Math.max(2 ** 26, (width * height * samplesPerPixel * bits) / 4); // 64 MiB, or twice the picture
  if (rowBytes * blockHeight > most) throw new Error(`a tile of ${blockWidth} x ${blockHeight} in a smaller picture`);

  const samples = new ARRAYS[type](width * height * samplesPerPixel);
  for (let b = 0; b < needed; b++) {
    if (performance.now() > deadline) throw new Error("timeout: too many tiles or strips");
    const [x, y] = [(b % across) * blockWidth, (Math.floor(b / across) % down) * blockHeight];
    const rows = Math.min(blockHeight, height - y);
    const stored = rowBytes * (tiled ? blockHeight : rows);
    if (offsets[b] + lengths[b] > bytes.length) throw new Error("it ends too early");
    const unpacked = UNPACK[page.compression](bytes.subarray(offsets[b], offsets[b] + lengths[b]), stored);
    if (unpacked.length < stored) throw new Error("a tile or strip is shorter than it should be");
    const values = valuesOf(unpacked, stored, page, type, bytes[0] === 0x49, blockWidth * bands, bands);
    const columns = Math.min(blockWidth, width - x);
    const first = Math.floor(b / (across * down)); // the channel, where they are apart
    for (let row = 0; row < rows; row++) {
      const to = ((y + row) * width + x) * samplesPerPixel;
      const from = row * blockWidth * bands;
      if (planar !== 2) samples.set(values.subarray(from, from + columns * bands), to);
      else for (let i = 0; i < columns; i++) samples[to + first + i * samplesPerPixel] = values[from + i];
    }
  }
  return samples;
}

const ARRAYS: Readonly<Record<string, new (from: number | ArrayBuffer) => Samples>> = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  float16: Float32Array,
  float32: Float32Array,
  float64: Float32Array,
  int64: Float32Array,
  uint64: Float32Array,
};

/** One block from bytes to numbers, its differences summed up along each row of `perRow` samples. */
function valuesOf(
  unpacked: Uint8Array,
  length: number,
  { bits, predictor }: TiffPage,
  type: string,
  littleEndian: boolean,
  perRow: number,
  bands: number,
): Samples {
  if (PACKED.includes(bits)) {
    if (predictor !== 1) throw new Error(`predictor ${predictor} with ${bits} bits is not supported; expected 1`);
    return fromBits(unpacked, bits, perRow, Math.floor(length / Math.ceil((perRow * bits) / 8)));
  }
  const width = (bits / 8) as 1 | 2 | 4 | 8;
  let bytes = Uint8Array.from(unpacked.subarray(0, length));
  if (predictor === 3) bytes = summedFloats(bytes, perRow, width, bands);
  else if (!littleEndian && width > 1) swapBytes(bytes, width);
  if (predictor === 2) sum(wordsOf(bytes, width), perRow, bands);
  else if (predictor !== 1 && predictor !== 3)
    throw new Error(`predictor ${predictor} is not supported; expected 1, 2 or 3`);
  const buffer = bytes.buffer as ArrayBuffer; // its own, whole
  switch (type) {
    case "float16":
      return Float32Array.from(new Uint16Array(buffer), half);
    case "float64":
      return Float32Array.from(new Float64Array(buffer));
    case "int64":
      return Float32Array.from(new BigInt64Array(buffer), Number);
    case "uint64":
      return Float32Array.from(new BigUint64Array(buffer), Number);
    default:
      return new ARRAYS[type](buffer);
  }
}

function wordsOf(
  { buffer }: Uint8Array,
  width: 1 | 2 | 4 | 8,
): Uint8Array | Uint16Array | Uint32Array | BigUint64Array {
  return new { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array }[width](buffer);
}

/** Each sample is the difference from the one before it in its row and channel; whole numbers run over as they do in the file. */
function sum(words: ReturnType<typeof wordsOf>, perRow: number, bands: number): void {
  if (words instanceof BigUint64Array) {
    for (let i = 0; i < words.length; i++) if (i % perRow >= bands) words[i] += words[i - bands];
  } else {
    for (let i = 0; i < words.length; i++) if (i % perRow >= bands) words[i] += words[i - bands];
  }
}

/** Bytes of a row are differences; summed up, they are the highest bytes of all its floats, then the next lower ones. Little endian. */
function summedFloats(bytes: Uint8Array, perRow: number, width: number, bands: number): Uint8Array {
  sum(bytes, perRow * width, bands);
  const floats = new Uint8Array(bytes.length);
  for (let row = 0; row < bytes.length; row += perRow * width) {
    for (let i = 0; i < perRow; i++) {
      for (let k = 0; k < width; k++) floats[row + i * width + width - 1 - k] = bytes[row + k * perRow + i];
    }
  }
  return floats;
}

/** Rows of samples of so many bits; each row begins with a byte. */
function fromBits(bytes: Uint8Array, bits: number, perRow: number, rows: number): Uint16Array {
  const values = new Uint16Array(perRow * rows);
  const rowBytes = Math.ceil((perRow * bits) / 8);
  for (let row = 0, to = 0; row < rows; row++) {
    let [held, count, at] = [0, 0, row * rowBytes];
    for (let i = 0; i < perRow; i++, to++) {
      for (; count < bits; count += 8) held = ((held << 8) | bytes[at++]) & 0xffffff;
      count -= bits;
      values[to] = (held >> count) & (2 ** bits - 1);
    }
  }
  return values;
}

function inflated(packed: Uint8Array, length: number): Uint8Array {
  return inflateSync(packed, { maxOutputLength: length + 1024 });
}

/** `n v`: n + 1 bytes as they are for n < 128, 257 − n times v for n > 128; 128 is nothing. */
function unPackBits(packed: Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let to = 0;
  for (let at = 0; at + 1 < packed.length && to < length;) {
    const n = packed[at++];
    if (n < 128) {
      bytes.set(packed.subarray(at, at + Math.min(n + 1, length - to)), to);
      to += n + 1;
      at += n + 1;
    } else if (n > 128) {
      bytes.fill(packed[at++], to, Math.min(length, to + 257 - n));
      to += 257 - n;
    }
  }
  if (to < length) throw new Error("a tile or strip is shorter than it should be");
  return bytes;
}

const [CLEAR, END] = [256, 257];

/** LZW of TIFF: codes of 9 to 12 bits, the highest bit first, each length left one code early. */
function unLzw(packed: Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  // A code is the string that ends at `ends` in what was written, `sizes` long.
  const [ends, sizes] = [new Int32Array(4097), new Int32Array(4097)];
  let [next, bits, before, to] = [258, 9, -1, 0];
  let [held, count] = [0, 0];
  for (let at = 0; to < length;) {
    while (count < bits) {
      if (at >= packed.length) throw new Error("a tile or strip is shorter than it should be");
      held = ((held << 8) | packed[at++]) & 0xffffff;
      count += 8;
    }
    const code = (held >> (count - bits)) & ((1 << bits) - 1);
    count -= bits;
    if (code === END) break;
    if (code === CLEAR) {
      [next, bits, before] = [258, 9, -1];
      continue;
    }
    if (code > next || (code === next && before < 0)) throw new Error("its LZW codes are damaged");
    const start = to;
    if (code < 256) {
      bytes[to++] = code;
    } else {
      const known = code < next;
      const size = known ? sizes[code] : to - before + 1; // not known yet: the string before, and its first byte again
      const from = known ? ends[code] - size : before;
      for (let i = 0; i < size && to < length; i++) bytes[to++] = bytes[from + i];
    }
    if (before >= 0 && next < 4096) {
      // The string before and the first byte of this one: they stand in what was written, one after the other.
      ends[next] = start + 1;
      sizes[next] = start - before + 1;
      next++;
    }
    before = start;
    if (next + 1 >= 1 << bits && bits < 12) bits++;
  }
  if (to < length) throw new Error("a tile or strip is shorter than it should be");
  return bytes;
}
