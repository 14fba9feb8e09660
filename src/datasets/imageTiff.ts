/** The few tags of a TIFF file that libvips does not tell, after TIFF 6.0, sections 2 and 8, and the BigTIFF design. */

export interface TiffPage {
  /** Bits of one sample. */
  readonly bits: number;
  /** 1 unsigned, 2 signed, 3 float. */
  readonly sampleFormat: number;
  /** 0: white is zero. */
  readonly photometric: number;
  readonly samplesPerPixel: number;
  /** 1: samples are stored as they are, not as differences. */
  readonly predictor: number;
  readonly compression: number;
  /** 2: channel after channel, 1: pixel by pixel. */
  readonly planar: number;
  /** Where the values of SampleFormat and of BitsPerSample stand, of two bytes each. */
  readonly formatsAt: readonly number[];
  readonly bitsAt: readonly number[];
  /** Where the entries of ImageWidth and TileWidth stand, and the value of each. */
  readonly widths: readonly { readonly entry: number; readonly value: number }[];
}

const IMAGE_WIDTH = 256;
const BITS = 258;
const COMPRESSION = 259;
const PHOTOMETRIC = 262;
const SAMPLES = 277;
const PLANAR = 284;
const PREDICTOR = 317;
const TILE_WIDTH = 322;
const SAMPLE_FORMAT = 339;
const [SHORT, LONG] = [3, 4];

/** The directories of a file, one or more, in their order. Throws a plain `Error` where one is cut or they go in a circle. */
export function tiffPages(bytes: Uint8Array): TiffPage[] {
  try {
    const pages = directories(bytes);
    if (pages.length > 0) return pages;
  } catch (error) {
    if (error instanceof RangeError) throw new Error("it ends too early", { cause: error }); // an offset that leads out of the file
    throw error;
  }
  throw new Error("it has no page");
}

function directories(bytes: Uint8Array): TiffPage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = bytes[0] === 0x49;
  const big = view.getUint16(2, little) === 43;
  const word = (at: number): number => (big ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little));
  const [entryBytes, wordBytes, countBytes] = big ? [20, 8, 8] : [12, 4, 2];
  const shorts = [BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, PREDICTOR, SAMPLE_FORMAT];

  const pages: TiffPage[] = [];
  const seen = new Set<number>();
  for (let at = word(big ? 8 : 4); at !== 0;) {
    if (seen.has(at)) throw new Error("its directories go in a circle");
    seen.add(at);
    const entries = big ? word(at) : view.getUint16(at, little);
    const tags = new Map<number, number[]>(); // offsets of values of two bytes
    const widths: { entry: number; value: number }[] = [];
    for (let i = 0; i < entries; i++) {
      const entry = at + countBytes + i * entryBytes;
      const tag = view.getUint16(entry, little);
      const type = view.getUint16(entry + 2, little);
      if (tag === IMAGE_WIDTH || tag === TILE_WIDTH) {
        const at = entry + 4 + wordBytes;
        widths.push({ entry, value: type === SHORT ? view.getUint16(at, little) : view.getUint32(at, little) });
      }
      if (!shorts.includes(tag) || type !== SHORT) continue;
      const count = Math.min(word(entry + 4), 16);
      const values = entry + 4 + wordBytes;
      const from = 2 * count <= wordBytes ? values : word(values);
      tags.set(
        tag,
        Array.from({ length: count }, (_, k) => from + 2 * k),
      );
    }
    const first = (tag: number, usual: number): number => {
      const place = tags.get(tag)?.[0];
      return place === undefined ? usual : view.getUint16(place, little);
    };
    pages.push({
      bits: first(BITS, 1),
      sampleFormat: first(SAMPLE_FORMAT, 1),
      photometric: first(PHOTOMETRIC, 1),
      samplesPerPixel: first(SAMPLES, 1),
      predictor: first(PREDICTOR, 1),
      compression: first(COMPRESSION, 1),
      planar: first(PLANAR, 1),
      formatsAt: tags.get(SAMPLE_FORMAT) ?? [],
      bitsAt: tags.get(BITS) ?? [],
      widths,
    });
    at = word(at + countBytes + entries * entryBytes);
  }
  return pages;
}

/** Types that libvips does not read, or sharp then makes unsigned, by what stands in their place. */
export type Hidden = "int16" | "float16" | "float64" | "int64" | "uint64";

export interface Disguised {
  readonly bytes: Uint8Array;
  readonly type: Hidden;
  /** Numbers of 16 bits that stand for one sample: 1 or 4. */
  readonly words: 1 | 4;
  readonly littleEndian: boolean;
  /** Over how many planes the words of one sample are spread: 1 where channels are stored apart. */
  readonly interleaved: number;
}

/** Schemes that pack bytes, whatever they mean: none, LZW, deflate (two numbers), PackBits, Zstandard. */
const BYTE_COMPRESSIONS = [1, 5, 8, 32946, 32773, 50000];

/**
 * The same file with its samples said to be unsigned numbers of 16 bits, so that their bits come through unchanged: those of 64
 * bits as four in a row that is four times as wide. Null where that is not needed, or where white is zero and libvips would turn
 * the numbers round.
 *
 * @throws a plain `Error` for 64 bits that are stored as differences, in a lossy compression, or with more than three channels
 */
export function asUnsigned(bytes: Uint8Array): Disguised | null {
  const pages = tiffPages(bytes);
  const [{ sampleFormat, bits, samplesPerPixel }] = pages;
  const littleEndian = bytes[0] === 0x49;
  const interleaved = pages[0].planar === 2 ? 1 : samplesPerPixel;
  const alike = pages.every((page) => page.sampleFormat === sampleFormat && page.bits === bits);
  if (bits === 64) {
    if (!alike) throw new Error("pages of different types, some of 64 bits");
    if (![1, 2, 3].includes(sampleFormat)) throw new Error("complex numbers of 64 bits are not supported");
    const odd = pages.find(({ predictor, compression }) => predictor !== 1 || !BYTE_COMPRESSIONS.includes(compression));
    if (odd !== undefined)
      throw new Error("64 bits with a predictor or in a compression for pictures are not supported");
    if (samplesPerPixel !== 1 && samplesPerPixel !== 3)
      throw new Error(`64 bits with ${samplesPerPixel} channels; expected 1 or 3`);
  } else if (bits !== 16 || (sampleFormat !== 2 && sampleFormat !== 3) || !alike) return null;
  else if (pages.some(({ photometric }) => photometric === 0)) return null;

  const copy = Uint8Array.from(bytes);
  const view = new DataView(copy.buffer);
  for (const at of pages.flatMap(({ formatsAt }) => formatsAt)) view.setUint16(at, 1, littleEndian);
  const integer = sampleFormat === 2 ? "int" : "uint";
  if (bits === 16) {
    return { bytes: copy, type: sampleFormat === 2 ? "int16" : "float16", words: 1, littleEndian, interleaved };
  }
  const wordBytes = view.getUint16(2, littleEndian) === 43 ? 8 : 4;
  for (const { bitsAt, widths } of pages) {
    for (const at of bitsAt) view.setUint16(at, 16, littleEndian);
    for (const { entry, value } of widths) {
      view.setUint16(entry + 2, LONG, littleEndian);
      view.setUint32(entry + 4 + wordBytes, 4 * value, littleEndian);
    }
  }
  return { bytes: copy, type: sampleFormat === 3 ? "float64" : `${integer}64`, words: 4, littleEndian, interleaved };
}

/**
 * Samples of 64 bits from planes of 16-bit numbers that are four times too many: `[C, …, 4 W]` to `[C, …, W]`. Where channels are
 * interleaved, each plane holds every C-th of the numbers, whatever they belong to.
 */
export function ofFourWords(planes: Float32Array, { type, littleEndian, interleaved }: Disguised): Float32Array {
  const plane = planes.length / interleaved;
  const values = new Float32Array(planes.length / 4);
  const view = new DataView(new ArrayBuffer(8));
  for (let s = 0; s < values.length; s++) {
    for (let k = 0, word = 4 * s; k < 4; k++, word++) {
      view.setUint16(2 * k, planes[(word % interleaved) * plane + Math.floor(word / interleaved)], littleEndian);
    }
    const value =
      type === "float64"
        ? view.getFloat64(0, littleEndian)
        : Number(type === "int64" ? view.getBigInt64(0, littleEndian) : view.getBigUint64(0, littleEndian));
    values[(s % interleaved) * (plane / 4) + Math.floor(s / interleaved)] = value;
  }
  return values;
}
