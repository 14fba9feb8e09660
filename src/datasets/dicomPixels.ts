/** The pixels of one DICOM file: frame by frame to numbers, colour to RGB, rescaled (PS3.3 C.7.6.3, C.11.1). */
import { pixelMemory } from "./pixelMemory.js";
import { InputError, type Voi } from "../types.js";
import { frameDecoder, UnsupportedFrame, type DecodedFrame, type FrameForm } from "./dicomCodecs.js";
import { lookUpColour, paletteOf, toRgb, type Palette } from "./dicomColour.js";
import { decimals, isNative, type DicomFile, type PixelElement } from "./dicomFile.js";
import { encapsulatedFrames } from "./dicomFrames.js";
import { doubled, floats, integers, sampleType, swapped, unpacked, type Samples } from "./dicomSamples.js";
import { paddingOf, unitsOf, writeGrey, type Units } from "./dicomUnits.js";
import { voiOf } from "./dicomVoi.js";

/** Stands in the warnings of a picture whose lowest values are to be shown white, such as most old X-rays. */
export const MONOCHROME1_WARNING = "MONOCHROME1: values are inverted (high is dark)";

/** More values than this in one file are refused: 2³⁰, 4 GiB of float32. */
export const MOST_VALUES = 2 ** 30;

const MOST_FRAMES = 99_999;

export interface DicomPixels {
  /** `[C, frames, rows, columns]`, rescaled. */
  readonly pixels: Float32Array;
  readonly channels: 1 | 3;
  readonly frames: number;
  readonly rows: number;
  readonly columns: number;
  readonly dtype: string;
  /** Rescaled values that mark what lies outside the picture, ends included, or null. */
  readonly padding: readonly [low: number, high: number] | null;
  readonly voi: Voi | null;
  readonly warnings: readonly string[];
}

/** How the cells lie in the file. */
interface Cells extends FrameForm {
  readonly frames: number;
  readonly planar: boolean;
  readonly float: 32 | 64 | null;
}

/** One frame, or all of them one after another. */
interface Frame {
  readonly values: Samples;
  /** Index of the frame's first sample in `values`. */
  readonly from: number;
  readonly planar: boolean;
  readonly ybr: boolean;
}

const SUPPORTED = [
  "MONOCHROME1",
  "MONOCHROME2",
  "PALETTE COLOR",
  "RGB",
  "YBR_FULL",
  "YBR_FULL_422",
  "YBR_RCT",
  "YBR_ICT",
];

/** Retired or rare terms of PS3.3 C.7.6.3.1.2: named in errors only. */
const UNSUPPORTED = ["HSV", "ARGB", "CMYK", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "XYB"];

/** Modalities of objects that are no pictures (PS3.3 C.7.3.1.1.1): named in errors only. */
const WITHOUT_PIXELS = ["SR", "KO", "PR", "DOC", "PLAN", "REG", "FID", "RTPLAN", "RTSTRUCT", "RTRECORD", "ECG", "AU"];

/**
 * Decodes the pixels of a file: stored value × RescaleSlope + RescaleIntercept, per frame where the file says so, or the
 * modality look-up table. Bits above BitsStored are cleared (old files keep overlays there), or filled with the sign; overlay
 * planes are ignored. YBR becomes RGB, a palette is looked up. MONOCHROME1 is left as it is, with `MONOCHROME1_WARNING`.
 */
export async function decodePixels(file: DicomFile): Promise<DicomPixels> {
  const warnings: string[] = [];
  const element = pixelElement(file);
  const cells = describeCells(file, element, warnings);
  const { frames, rows, columns, photometric, samplesPerPixel, signed } = cells;
  const palette = photometric === "PALETTE COLOR" ? paletteOf(file, signed) : null;
  const channels: 1 | 3 = palette === null ? samplesPerPixel : 3;
  const plane = rows * columns;
  if (channels * frames * plane > MOST_VALUES) {
    throw new InputError(
      `${file.path}: ${channels} × ${frames} × ${rows} × ${columns} values are more than the ${MOST_VALUES} that are read at once`,
    );
  }
  const frameAt = await frameReader(file, element, cells, warnings);
  const units = unitsOf(file, frames, signed);
  const first = frameAt(0); // before anything large is allocated
  const pixels = pixelMemory(channels * frames * plane);
  for (let f = 0; f < frames; f++) {
    const frame = f === 0 ? first : frameAt(f);
    if (frame.values.length < frame.from + samplesPerPixel * plane)
      throw new InputError(`${file.path}: frame ${f + 1} of ${frames} is shorter than rows × columns`);
    const to = Array.from({ length: channels }, (_, c) => {
      const at = (c * frames + f) * plane;
      return pixels.subarray(at, at + plane);
    });
    writeFrame(frame, to, cells, palette, units, f);
  }
  if (photometric === "MONOCHROME1") warnings.push(MONOCHROME1_WARNING);
  const dtype =
    cells.float !== null
      ? `float${cells.float}`
      : sampleType(palette?.[0].bits ?? cells.bitsAllocated, palette === null && signed);
  return {
    pixels,
    channels,
    frames,
    rows,
    columns,
    dtype,
    padding: palette === null ? paddingOf(file, cells, units) : null,
    voi: channels === 1 ? voiOf(file, frames, units, signed, warnings) : null,
    warnings,
  };
}

function pixelElement({ data, pixels, path }: DicomFile): PixelElement {
  if (pixels !== null) return pixels;
  if (data.elements.x00041220 !== undefined || data.elements.x00041130 !== undefined) {
    throw new InputError(`${path}: expected a DICOM image, got a DICOMDIR (an index of files)`);
  }
  const modality = (data.string("x00080060") ?? "").trim();
  const kind = WITHOUT_PIXELS.includes(modality) ? ` (modality ${modality})` : "";
  throw new InputError(`${path}: expected a DICOM image, got a DICOM object without pixel data${kind}`);
}

function describeCells({ data, path }: DicomFile, element: PixelElement, warnings: string[]): Cells {
  const rows = data.uint16("x00280010") ?? 0;
  const columns = data.uint16("x00280011") ?? 0;
  const frames = decimals(data, "x00280008")?.[0] ?? (data.string("x00280008") ? NaN : 1);
  if (rows < 1 || columns < 1)
    throw new InputError(`${path}: DICOM rows × columns are ${rows} × ${columns}; expected at least 1`);
  if (!(Number.isInteger(frames) && frames >= 1))
    throw new InputError(`${path}: DICOM number of frames is not a whole number of at least 1`);
  // Not said how many: a number so large may be a date that damage moved here.
  if (frames > MOST_FRAMES) throw new InputError(`${path}: more DICOM frames than the ${MOST_FRAMES} that are read`);

  const samplesPerPixel = data.uint16("x00280002") ?? 1;
  let photometric = (data.string("x00280004") ?? "").trim();
  if (photometric === "") {
    photometric = samplesPerPixel === 3 ? "RGB" : "MONOCHROME2";
    warnings.push(`no photometric interpretation: taken for ${photometric}`);
  }
  const expectedSamples = /^(MONOCHROME|PALETTE)/.test(photometric) ? 1 : 3;
  if (!SUPPORTED.includes(photometric) || samplesPerPixel !== expectedSamples) {
    // Only standard terms are shown: damage can put a patient's name here.
    const shown = [...SUPPORTED, ...UNSUPPORTED].includes(photometric) ? photometric : "(unknown)";
    throw new InputError(
      `${path}: photometric interpretation ${shown} with ${samplesPerPixel} samples a pixel is not supported; ` +
        `expected one of ${SUPPORTED.join(", ")}`,
    );
  }
  const float = element.tag === "x7fe00008" ? 32 : element.tag === "x7fe00009" ? 64 : null;
  const bitsAllocated = float ?? data.uint16("x00280100") ?? 0;
  if (bitsAllocated < 1 || (float === null && bitsAllocated > 32)) {
    throw new InputError(`${path}: ${bitsAllocated} bits allocated are not supported; expected 1 to 32`);
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
    float,
  };
}

type FrameReader = (frame: number) => Frame;

async function frameReader(
  file: DicomFile,
  element: PixelElement,
  cells: Cells,
  warnings: string[],
): Promise<FrameReader> {
  const { path, syntax } = file;
  if (isNative(syntax)) {
    if (element.encapsulated)
      throw new InputError(`${path}: compressed pixel data under an uncompressed transfer syntax is not supported`);
    return nativeFrames(file, element, cells, warnings);
  }
  const decoder = await frameDecoder(syntax, path, cells);
  if (!element.encapsulated)
    throw new InputError(`${path}: expected ${decoder.name} frames, got pixel data that are not encapsulated`);
  if (cells.float !== null) throw new InputError(`${path}: floating-point pixels as ${decoder.name} are not supported`);
  let encoded: Uint8Array[];
  try {
    encoded = encapsulatedFrames(element, cells.frames, warnings);
  } catch (error) {
    throw new InputError(`${path}: damaged ${decoder.name} pixel data: ${oneLine(error)}`);
  }
  return (f) => {
    try {
      return samplesOf(decoder.decode(encoded[f]), cells);
    } catch (error) {
      if (error instanceof UnsupportedFrame) throw new InputError(`${path}: ${decoder.name} ${error.message}`);
      throw new InputError(`${path}: frame ${f + 1} of ${cells.frames} is damaged ${decoder.name}: ${oneLine(error)}`);
    }
  };
}

const oneLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split("\n")[0];

function samplesOf({ bytes, bytesPerSample, ybr, planar }: DecodedFrame, cells: Cells): Frame {
  const count = cells.rows * cells.columns * cells.samplesPerPixel;
  const values =
    bytesPerSample === 1 || bytesPerSample === 2 || bytesPerSample === 4
      ? integers(bytes, bytesPerSample, stored(cells))
      : unpacked(bytes, cells.bitsAllocated, 0, count);
  return { values, from: 0, planar, ybr };
}

/** Whether integers are viewed with their sign: with unused bits the sign is put in when they are cleaned. */
const stored = ({ signed, bitsStored, bitsAllocated }: Cells): boolean => signed && bitsStored === bitsAllocated;

/** Uncompressed pixels: all frames follow each other without gaps, single bits too. */
function nativeFrames(
  { path, littleEndian }: DicomFile,
  { bytes: available, vr, declared }: PixelElement,
  cells: Cells,
  warnings: string[],
): FrameReader {
  const { frames, rows, columns, samplesPerPixel, bitsAllocated, photometric, float } = cells;
  const plane = rows * columns;
  const halved = photometric === "YBR_FULL_422"; // two pixels in four samples: Y Y Cb Cr
  const perFrame = halved ? 2 * plane : plane * samplesPerPixel;
  const needed = Math.ceil((frames * perFrame * bitsAllocated) / 8);
  if (available.length < needed) {
    throw new InputError(
      `${path}: truncated DICOM file: expected ${needed} bytes of pixel data, got ${available.length}`,
    );
  }
  if (declared > needed + 1) warnings.push(`${available.length - needed} bytes after the last pixel were ignored`);
  if (halved && (columns % 2 === 1 || bitsAllocated > 16))
    throw new InputError(`${path}: YBR_FULL_422 needs an even number of columns, got ${columns}`);

  let bytes = available;
  const whole = bitsAllocated === 8 || bitsAllocated === 16 || bitsAllocated === 32 || float === 64;
  if (!littleEndian) {
    // 8-bit cells in 16-bit words: the words are what big endian turns round.
    const width = whole ? ((bitsAllocated / 8) as 1 | 2 | 4 | 8) : 1;
    bytes = swapped(available, width === 1 && vr === "OW" ? 2 : width);
  }
  const ybr = photometric.startsWith("YBR");
  const planar = cells.planar && !halved; // 4:2:2 has no planes
  if (!whole) {
    return (f) => ({ values: unpacked(bytes, bitsAllocated, f * perFrame, perFrame), from: 0, planar, ybr });
  }
  const values =
    float !== null
      ? floats(bytes, float === 32 ? 4 : 8)
      : integers(bytes, (bitsAllocated / 8) as 1 | 2 | 4, stored(cells));
  if (halved) return (f) => ({ values: doubled(values, f * perFrame, plane), from: 0, planar, ybr });
  return (f) => ({ values, from: f * perFrame, planar, ybr });
}

/** One frame into its channels. */
function writeFrame(
  frame: Frame,
  to: readonly Float32Array[],
  cells: Cells,
  palette: Palette | null,
  units: Units,
  f: number,
): void {
  const { values, from, planar, ybr } = frame;
  const plane = to[0].length;
  if (palette !== null) return lookUpColour(values, from, to, palette);
  const clean = cells.float !== null || cells.bitsStored === cells.bitsAllocated;
  const unused = clean ? 0 : 32 - cells.bitsStored;
  if (to.length === 1) return writeGrey(values, from, to[0], { unused, signed: cells.signed }, units, f);
  to.forEach((channel, c) => {
    const step = planar ? 1 : 3;
    copy(values, planar ? from + c * plane : from + c, step, channel, unused, cells.signed);
  });
  if (ybr) toRgb(to[0], to[1], to[2], cells.bitsStored);
  const [slope, intercept] = [units.slopes[f], units.intercepts[f]];
  if (slope === 1 && intercept === 0) return;
  for (const channel of to) for (let i = 0; i < plane; i++) channel[i] = channel[i] * slope + intercept;
}

/** Every `step`-th value, its unused upper bits cleared or filled with the sign. */
function copy(values: Samples, from: number, step: number, to: Float32Array, unused: number, signed: boolean): void {
  if (unused === 0 && step === 1) to.set(values.subarray(from, from + to.length));
  else if (unused === 0 && values instanceof Uint8Array) copyBytes(values, from, step, to);
  else if (unused === 0) for (let i = 0, at = from; i < to.length; i++, at += step) to[i] = values[at];
  else if (signed) for (let i = 0, at = from; i < to.length; i++, at += step) to[i] = (values[at] << unused) >> unused;
  else for (let i = 0, at = from; i < to.length; i++, at += step) to[i] = (values[at] << unused) >>> unused;
}

/** The same for bytes: a loop over one type of array is compiled as such. */
function copyBytes(values: Uint8Array, from: number, step: number, to: Float32Array): void {
  for (let i = 0, at = from; i < to.length; i++, at += step) to[i] = values[at];
}
