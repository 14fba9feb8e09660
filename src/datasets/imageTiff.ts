/** The few tags of a TIFF file that libvips does not tell, after TIFF 6.0, sections 2 and 8, and the BigTIFF design. */

export interface TiffPage {
  /** Bits of one sample. */
  readonly bits: number;
  /** 1 unsigned, 2 signed, 3 float. */
  readonly sampleFormat: number;
  /** 0: white is zero. */
  readonly photometric: number;
  /** Where the values of SampleFormat stand, of two bytes each. */
  readonly formatsAt: readonly number[];
}

const BITS = 258;
const PHOTOMETRIC = 262;
const SAMPLE_FORMAT = 339;
const SHORT = 3;

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
    const tags = new Map<number, number[]>(); // offsets of values of two bytes
    for (let i = 0; i < entries; i++) {
      const entry = at + countBytes + i * entryBytes;
      const tag = view.getUint16(entry, little);
      if (![BITS, PHOTOMETRIC, SAMPLE_FORMAT].includes(tag) || view.getUint16(entry + 2, little) !== SHORT) continue;
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
      formatsAt: tags.get(SAMPLE_FORMAT) ?? [],
    });
    at = word(at + countBytes + entries * entryBytes);
  }
  return pages;
}

/** Types of 16 bits that libvips reads as they are, and sharp then makes unsigned. */
export type Hidden = "int16" | "float16";

/**
 * The same file with its samples said to be unsigned, so that their bits come through unchanged, and what they are. Null where
 * that is not needed, or where white is zero and libvips would turn the numbers round.
 */
export function asUnsigned(bytes: Uint8Array): { bytes: Uint8Array; type: Hidden } | null {
  const pages = tiffPages(bytes);
  const [{ sampleFormat, bits }] = pages;
  const alike = pages.every(
    (page) => page.sampleFormat === sampleFormat && page.bits === bits && page.photometric !== 0,
  );
  if (bits !== 16 || (sampleFormat !== 2 && sampleFormat !== 3) || !alike) return null;
  const copy = Uint8Array.from(bytes);
  const view = new DataView(copy.buffer);
  for (const at of pages.flatMap(({ formatsAt }) => formatsAt)) view.setUint16(at, 1, copy[0] === 0x49);
  return { bytes: copy, type: sampleFormat === 2 ? "int16" : "float16" };
}
