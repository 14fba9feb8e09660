/** The pixel data of one uncompressed DICOM file: cells to numbers, colour to RGB, rescale (PS3.3 C.7.6.3, C.11.1). */
import type { DataSet, Element } from "dicom-parser";
import { InputError } from "../types.js";
import { assertUncompressed, decimals, frameDecimals, type DicomFile } from "./dicomFile.js";
import { BYTES_PER_SAMPLE, samplesFrom, swapBytes, type SampleType } from "./samples.js";

/** Stands in the warnings of a picture whose lowest values are to be shown white, such as most old X-rays. */
export const MONOCHROME1_WARNING = "MONOCHROME1: values are inverted (high is dark)";

export interface DicomPixels {
  /** `[C, frames, rows, columns]`, rescaled. */
  readonly pixels: Float32Array;
  readonly channels: 1 | 3;
  readonly frames: number;
  readonly rows: number;
  readonly columns: number;
  readonly dtype: string;
  readonly warnings: readonly string[];
}

/** How the cells lie in the file. */
interface Cells {
  readonly frames: number;
  readonly rows: number;
  readonly columns: number;
  readonly samplesPerPixel: 1 | 3;
  readonly photometric: string;
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly signed: boolean;
  readonly planar: boolean;
}

const SUPPORTED = ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422"];

/**
 * Decodes the pixels of a file: stored value × RescaleSlope + RescaleIntercept, per frame where the file says so. Bits
 * above BitsStored are cleared, or filled with the sign. YBR becomes RGB, a palette is looked up. MONOCHROME1 is left as it
 * is, with `MONOCHROME1_WARNING`.
 */
export function decodePixels(file: DicomFile): DicomPixels {
  const { data, path } = file;
  const warnings: string[] = [];
  const element = pixelElement(file);
  const cells = describeCells(file, element, warnings);
  const { frames, rows, columns } = cells;
  const plane = rows * columns;

  const { stored, dtype } = storedSamples(file, element, cells, warnings);
  const colour = cells.samplesPerPixel === 3;
  let pixels = colour ? planesOf(stored, cells) : Float32Array.from(stored);
  let channels: 1 | 3 = colour ? 3 : 1;
  let type = dtype;
  if (cells.photometric.startsWith("YBR")) toRgb(pixels, cells.bitsStored);
  if (cells.photometric === "PALETTE COLOR") {
    const palette = paletteOf(data, cells, file);
    pixels = lookUp(stored, palette);
    channels = 3;
    type = palette.type;
  } else {
    rescale(pixels, stored, cells, data);
  }
  if (cells.photometric === "MONOCHROME1") warnings.push(MONOCHROME1_WARNING);
  if (data.elements.x00283000 !== undefined && channels === 1) {
    warnings.push("the modality look-up table was not applied: values are as stored");
  }
  if (pixels.length !== channels * frames * plane) throw new Error(`${path}: decoded size does not match its header`);
  return { pixels, channels, frames, rows, columns, dtype: type, warnings };
}

function pixelElement({ data, path }: DicomFile): Element {
  const element = data.elements.x7fe00010 ?? data.elements.x7fe00008 ?? data.elements.x7fe00009;
  if (element !== undefined && element.length > 0) return element;
  if (data.elements.x00041220 !== undefined || data.elements.x00041130 !== undefined) {
    throw new InputError(`${path}: expected a DICOM image, got a DICOMDIR (an index of files)`);
  }
  const modality = data.string("x00080060");
  const kind = modality === undefined || !/^[A-Z]{2,16}$/.test(modality) ? "" : ` (modality ${modality})`;
  throw new InputError(`${path}: expected a DICOM image, got a DICOM object without pixel data${kind}`);
}

function describeCells(file: DicomFile, element: Element, warnings: string[]): Cells {
  const { data, path } = file;
  assertUncompressed(file);
  if (element.encapsulatedPixelData === true || element.hadUndefinedLength === true) {
    throw new InputError(`${path}: compressed pixel data under an uncompressed transfer syntax is not supported`);
  }
  const rows = data.uint16("x00280010") ?? 0;
  const columns = data.uint16("x00280011") ?? 0;
  const frames = decimals(data, "x00280008")?.[0] ?? (data.string("x00280008") ? NaN : 1);
  if (rows < 1 || columns < 1)
    throw new InputError(`${path}: DICOM rows × columns are ${rows} × ${columns}; expected at least 1`);
  if (!(Number.isInteger(frames) && frames >= 1))
    throw new InputError(`${path}: DICOM number of frames is not a whole number of at least 1`);

  const samplesPerPixel = data.uint16("x00280002") ?? 1;
  let photometric = (data.string("x00280004") ?? "").trim();
  if (photometric === "") {
    photometric = samplesPerPixel === 3 ? "RGB" : "MONOCHROME2";
    warnings.push(`no photometric interpretation: taken for ${photometric}`);
  }
  const expectedSamples = /^(MONOCHROME|PALETTE)/.test(photometric) ? 1 : 3;
  if (!SUPPORTED.includes(photometric) || samplesPerPixel !== expectedSamples) {
    const shown = /^[A-Z0-9_ ]{1,16}$/.test(photometric) ? photometric : "(damaged)";
    throw new InputError(
      `${path}: photometric interpretation ${shown} with ${samplesPerPixel} samples a pixel is not supported; ` +
        `expected one of ${SUPPORTED.join(", ")}`,
    );
  }
  const float = element.tag === "x7fe00008" ? 32 : element.tag === "x7fe00009" ? 64 : null;
  const bitsAllocated = float ?? data.uint16("x00280100") ?? 0;
  const allowed = float === null ? [1, 8, 16, 32] : [float];
  if (!allowed.includes(bitsAllocated)) {
    throw new InputError(`${path}: ${bitsAllocated} bits allocated are not supported; expected 1, 8, 16 or 32`);
  }
  const bitsStored = float ?? data.uint16("x00280101") ?? bitsAllocated;
  if (bitsStored < 1 || bitsStored > bitsAllocated) {
    throw new InputError(`${path}: ${bitsStored} bits stored do not fit into ${bitsAllocated} bits allocated`);
  }
  const highBit = data.uint16("x00280102") ?? bitsStored - 1;
  if (float === null && highBit !== bitsStored - 1) {
    warnings.push(`high bit is ${highBit}, expected ${bitsStored - 1}: values were taken from the lowest bits`);
  }
  return {
    frames,
    rows,
    columns,
    samplesPerPixel: expectedSamples,
    photometric,
    bitsAllocated,
    bitsStored,
    signed: data.uint16("x00280103") === 1,
    planar: data.uint16("x00280006") === 1,
  };
}

/** The samples in file order as numbers, 4:2:2 colour already filled up. */
function storedSamples(
  { data, path, littleEndian }: DicomFile,
  element: Element,
  cells: Cells,
  warnings: string[],
): { stored: ArrayLike<number>; dtype: SampleType } {
  const halved = cells.photometric === "YBR_FULL_422"; // two pixels in four samples: Y Y Cb Cr
  const pixelCount = cells.frames * cells.rows * cells.columns;
  const count = halved ? 2 * pixelCount : pixelCount * cells.samplesPerPixel;
  const needed = Math.ceil((count * cells.bitsAllocated) / 8);
  // dicom-parser gives the length that the file declares, even past the end of the file.
  const available = Math.min(element.length, data.byteArray.length - element.dataOffset);
  if (available < needed) {
    throw new InputError(`${path}: truncated DICOM file: expected ${needed} bytes of pixel data, got ${available}`);
  }
  if (available > needed + 1) warnings.push(`${available - needed} bytes after the last pixel were ignored`);
  let bytes: Uint8Array = data.byteArray.subarray(element.dataOffset, element.dataOffset + available);
  if (!littleEndian && element.vr === "OW" && cells.bitsAllocated <= 8) {
    bytes = Uint8Array.from(bytes); // 8-bit cells in 16-bit words: the words are what big endian turns round
    swapBytes(bytes, 2);
  }
  if (cells.bitsAllocated === 1) {
    return { stored: Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1), dtype: "uint8" };
  }
  const type = sampleType(element, cells);
  const stored = samplesFrom(bytes, type, count, littleEndian);
  const clean = type.startsWith("float") ? stored : withinBitsStored(stored, cells);
  if (!halved) return { stored: clean, dtype: type };
  if (cells.columns % 2 === 1)
    throw new InputError(`${path}: YBR_FULL_422 needs an even number of columns, got ${cells.columns}`);
  const full = new Float64Array(3 * pixelCount);
  for (let i = 0; i < pixelCount; i++) {
    const pair = 4 * (i >> 1);
    full[3 * i] = clean[pair + (i & 1)];
    full[3 * i + 1] = clean[pair + 2];
    full[3 * i + 2] = clean[pair + 3];
  }
  return { stored: full, dtype: type };
}

function sampleType(element: Element, { bitsAllocated, signed }: Cells): SampleType {
  if (element.tag === "x7fe00008") return "float32";
  if (element.tag === "x7fe00009") return "float64";
  if (bitsAllocated === 8) return signed ? "int8" : "uint8";
  if (bitsAllocated === 16) return signed ? "int16" : "uint16";
  return signed ? "int32" : "uint32";
}

/** Clears what lies above BitsStored (old files keep overlays there), or fills it with the sign bit. */
function withinBitsStored(stored: ArrayLike<number>, { bitsAllocated, bitsStored, signed }: Cells): ArrayLike<number> {
  if (bitsStored === bitsAllocated) return stored;
  const unused = 32 - bitsStored;
  return Float64Array.from(stored, (value) => (signed ? (value << unused) >> unused : (value << unused) >>> unused));
}

/** Colour samples to `[3, frames, rows, columns]`, from pixel by pixel or plane by plane (PlanarConfiguration 1). */
function planesOf(stored: ArrayLike<number>, { frames, rows, columns, planar, photometric }: Cells): Float32Array {
  const plane = rows * columns;
  const pixels = new Float32Array(3 * frames * plane);
  const byPlane = planar && photometric !== "YBR_FULL_422"; // 4:2:2 has no planes
  for (let c = 0; c < 3; c++) {
    for (let f = 0; f < frames; f++) {
      const to = (c * frames + f) * plane;
      const from = byPlane ? (3 * f + c) * plane : 3 * f * plane + c;
      const step = byPlane ? 1 : 3;
      for (let i = 0; i < plane; i++) pixels[to + i] = stored[from + i * step];
    }
  }
  return pixels;
}

/**
 * YBR_FULL to RGB, in place and rounded (PS3.3 C.7.6.3.1.2 turned round): R = Y + 1.402 Cr, G = Y − 0.344136 Cb − 0.714136 Cr,
 * B = Y + 1.772 Cb, with Cb and Cr about the middle of the range. Grey (Cb = Cr = 128) stays grey.
 */
function toRgb(pixels: Float32Array, bitsStored: number): void {
  const size = pixels.length / 3;
  const top = 2 ** bitsStored - 1;
  const middle = 2 ** (bitsStored - 1);
  const fit = (value: number): number => Math.min(top, Math.max(0, Math.floor(value + 0.5)));
  for (let i = 0; i < size; i++) {
    const y = pixels[i];
    const cb = pixels[size + i] - middle;
    const cr = pixels[2 * size + i] - middle;
    pixels[i] = fit(y + 1.402 * cr);
    pixels[size + i] = fit(y - 0.344136 * cb - 0.714136 * cr);
    pixels[2 * size + i] = fit(y + 1.772 * cb);
  }
}

/** From the stored numbers (not from rounded floats), so that only one rounding happens. */
function rescale(pixels: Float32Array, stored: ArrayLike<number>, cells: Cells, data: DataSet): void {
  const plane = cells.rows * cells.columns;
  const channels = cells.samplesPerPixel;
  for (let f = 0; f < cells.frames; f++) {
    const slope = frameDecimals(data, f, "x00289145", "x00281053")?.[0] ?? 1;
    const intercept = frameDecimals(data, f, "x00289145", "x00281052")?.[0] ?? 0;
    if (slope === 1 && intercept === 0) continue;
    for (let c = 0; c < channels; c++) {
      const from = (c * cells.frames + f) * plane;
      for (let i = from; i < from + plane; i++)
        pixels[i] = (channels === 1 ? stored[i] : pixels[i]) * slope + intercept;
    }
  }
}

interface Palette {
  readonly first: number;
  readonly type: "uint8" | "uint16";
  readonly tables: readonly ArrayLike<number>[];
}

/** The red, green and blue look-up tables (PS3.3 C.7.6.3.1.5 and 6). */
function paletteOf(data: DataSet, cells: Cells, { path, littleEndian }: DicomFile): Palette {
  const descriptor = [0, 1, 2].map((i) => data.uint16("x00281101", i));
  const [entries, first, bits] = descriptor;
  if (entries === undefined || first === undefined || (bits !== 8 && bits !== 16)) {
    throw new InputError(
      `${path}: palette descriptor ${descriptor.join("\\")} is not usable; expected entries\\first\\8 or 16`,
    );
  }
  const count = entries === 0 ? 65536 : entries; // 2^16 does not fit into 16 bits, and is written 0
  const tables = ["x00281201", "x00281202", "x00281203"].map((tag) => {
    const element = data.elements[tag];
    if (element === undefined)
      throw new InputError(`${path}: PALETTE COLOR without plain look-up tables is not supported`);
    const bytes = data.byteArray.subarray(element.dataOffset, element.dataOffset + element.length);
    const packed = bits === 8 && element.length < 2 * count; // 8-bit entries two to a word, or one to a word
    const type = packed ? "uint8" : "uint16";
    if (bytes.length < count * BYTES_PER_SAMPLE[type]) {
      throw new InputError(`${path}: palette of ${count} entries needs ${count} values, got ${bytes.length} bytes`);
    }
    if (packed && !littleEndian && element.vr === "OW") {
      const words = Uint8Array.from(bytes);
      swapBytes(words, 2);
      return samplesFrom(words, type, count, littleEndian);
    }
    return samplesFrom(bytes, type, count, littleEndian);
  });
  const signedFirst = cells.signed && first >= 32768 ? first - 65536 : first;
  return { first: signedFirst, type: bits === 8 ? "uint8" : "uint16", tables };
}

/** Values below the first mapped one take its entry, values beyond the last take the last. */
function lookUp(stored: ArrayLike<number>, { first, tables }: Palette): Float32Array {
  const size = stored.length;
  const pixels = new Float32Array(3 * size);
  tables.forEach((table, c) => {
    for (let i = 0; i < size; i++) {
      pixels[c * size + i] = table[Math.min(table.length - 1, Math.max(0, stored[i] - first))];
    }
  });
  return pixels;
}
