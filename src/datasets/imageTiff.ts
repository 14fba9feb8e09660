/** The directories of a TIFF file: what libvips does not tell, after TIFF 6.0, sections 2 and 8, and the BigTIFF design. */

export interface TiffPage {
  readonly width: number;
  readonly height: number;
  /** Bits of one sample. */
  readonly bits: number;
  /** 1 unsigned, 2 signed, 3 float, 5 and 6 complex. */
  readonly sampleFormat: number;
  /** 0: white is zero. */
  readonly photometric: number;
  readonly samplesPerPixel: number;
  /** 1: samples are stored as they are, 2: as differences, 3: as differences of the bytes of floats. */
  readonly predictor: number;
  readonly compression: number;
  /** 2: channel after channel, 1: pixel by pixel. */
  readonly planar: number;
  /** True where colours are multiplied by alpha already (ExtraSamples is 1): over black they are as stored. */
  readonly associated: boolean;
  /** 1 as a rule, else as in EXIF. */
  readonly orientation: number;
  /** 2: the bits of a byte are turned round. */
  readonly fillOrder: number;
  /** Width and height of a tile, or of a strip: the image's width and some rows. */
  readonly block: readonly [width: number, height: number];
  readonly tiled: boolean;
  /** Where the values of SampleFormat stand, of two bytes each. */
  readonly formatsAt: readonly number[];
  /** Where strips or tiles begin, and their lengths. Throws where the file ends before its tables do. */
  readonly blocks: () => { readonly offsets: readonly number[]; readonly lengths: readonly number[] };
}

const [IMAGE_WIDTH, IMAGE_LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER] = [256, 257, 258, 259, 262, 266];
const [STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_LENGTHS, PLANAR] = [273, 274, 277, 278, 279, 284];
const EXTRA_SAMPLES = 338;
const [PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_LENGTHS, SAMPLE_FORMAT] = [317, 322, 323, 324, 325, 339];
/** Bytes of a value, by its type: those of whole numbers. */
const WIDTHS: Readonly<Record<number, 1 | 2 | 4 | 8>> = { 1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8 };

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

  const pages: TiffPage[] = [];
  const seen = new Set<number>();
  for (let at = word(big ? 8 : 4); at !== 0;) {
    if (seen.has(at)) throw new Error("its directories go in a circle");
    seen.add(at);
    const entries = big ? word(at) : view.getUint16(at, little);
    const tags = new Map<number, { width: 1 | 2 | 4 | 8; count: number; from: number }>();
    for (let i = 0; i < entries; i++) {
      const entry = at + countBytes + i * entryBytes;
      const width = WIDTHS[view.getUint16(entry + 2, little)];
      if (width === undefined) continue;
      const count = word(entry + 4);
      const values = entry + 4 + wordBytes;
      const from = width * count <= wordBytes ? values : word(values);
      tags.set(view.getUint16(entry, little), { width, count, from });
    }
    const number = (from: number, width: 1 | 2 | 4 | 8): number =>
      width === 2
        ? view.getUint16(from, little)
        : width === 4
          ? view.getUint32(from, little)
          : width === 1
            ? view.getUint8(from)
            : Number(view.getBigUint64(from, little));
    const first = (tag: number, usual: number): number => {
      const place = tags.get(tag);
      return place === undefined || place.count < 1 ? usual : number(place.from, place.width);
    };
    const all = (tag: number): number[] => {
      const { from, width, count } = tags.get(tag) ?? { from: 0, width: 1, count: 0 };
      if (from + width * count > bytes.length) throw new Error("it ends too early");
      return Array.from({ length: count }, (_, i) => number(from + width * i, width));
    };
    const [width, height] = [first(IMAGE_WIDTH, 0), first(IMAGE_LENGTH, 0)];
    const tiled = tags.has(TILE_OFFSETS);
    const formats = tags.get(SAMPLE_FORMAT);
    pages.push({
      width,
      height,
      bits: first(BITS, 1),
      sampleFormat: first(SAMPLE_FORMAT, 1),
      photometric: first(PHOTOMETRIC, 1),
      samplesPerPixel: first(SAMPLES, 1),
      predictor: first(PREDICTOR, 1),
      compression: first(COMPRESSION, 1),
      planar: first(PLANAR, 1),
      associated: first(EXTRA_SAMPLES, 0) === 1,
      orientation: first(ORIENTATION, 1),
      fillOrder: first(FILL_ORDER, 1),
      block: tiled
        ? [first(TILE_WIDTH, 0), first(TILE_LENGTH, 0)]
        : [width, Math.min(height, first(ROWS_PER_STRIP, height))],
      tiled,
      formatsAt:
        formats?.width === 2 ? Array.from({ length: Math.min(formats.count, 16) }, (_, k) => formats.from + 2 * k) : [],
      blocks: () => ({
        offsets: all(tiled ? TILE_OFFSETS : STRIP_OFFSETS),
        lengths: all(tiled ? TILE_LENGTHS : STRIP_LENGTHS),
      }),
    });
    at = word(at + countBytes + entries * entryBytes);
  }
  return pages;
}

/**
 * The same file with its signed samples of 16 bits said to be unsigned, because sharp makes them so and cuts what is below zero:
 * their bits come through unchanged. Null where that is not needed, or where white is zero and libvips would turn the numbers round.
 */
export function asUnsigned(bytes: Uint8Array, pages: readonly TiffPage[]): Uint8Array | null {
  const signed = pages.every((page) => page.sampleFormat === 2 && page.bits === 16 && page.photometric !== 0);
  if (!signed) return null;
  const copy = Uint8Array.from(bytes);
  const view = new DataView(copy.buffer);
  for (const at of pages.flatMap(({ formatsAt }) => formatsAt)) view.setUint16(at, 1, bytes[0] === 0x49);
  return copy;
}
