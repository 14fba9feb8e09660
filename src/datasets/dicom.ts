/** One DICOM file: a picture, a clip or a volume. */
import type { DataSet } from "dicom-parser";
import { readBytes } from "../files.js";
import { pixelMemory } from "./pixelMemory.js";
import { InputError, type Decoded, type Kind, type Modality, type Shape3 } from "../types.js";
import { asDamage, decimals, parseDicom, type DicomFile } from "./dicomFile.js";
import {
  heightOf,
  lettersOf,
  pixelSpacingOf,
  planeOf,
  positionOf,
  sliceSpacingOf,
  slidOf,
  spacingFrom,
  spacingOfHeights,
} from "./dicomGeometry.js";
import { orderFrames, type FrameOrder } from "./dicomOrder.js";
import { decodePixels, type DicomPixels } from "./dicomPixels.js";

export { MONOCHROME1_WARNING } from "./dicomPixels.js";

/** DICOM's Modality (0008,0060) in our words; what is not here (PT, NM, OT, SC, SM, SEG…) is none of the five. */
const MODALITY: Readonly<Record<string, Modality>> = {
  CR: "xray", // computed radiography
  DX: "xray", // digital radiography
  RG: "xray", // conventional film
  MG: "xray", // mammography
  PX: "xray", // panoramic
  IO: "xray", // intra-oral
  XA: "xray", // angiography
  RF: "xray", // fluoroscopy
  US: "ultrasound",
  IVUS: "ultrasound",
  ES: "endoscopy",
  CT: "ct",
  MR: "mri",
};

/** Heights of the planes of a dose, in mm along their normal (PS3.3, C.8.8.3). */
const GRID_FRAME_OFFSETS = "x3004000c";

/** Frames of these follow each other in time; frames of anything else are slices, unless they are in colour. */
const FRAMES_IN_TIME = ["US", "IVUS", "XA", "RF", "ES", "XC", "GM"];

export interface DicomOptions {
  /**
   * Which volume, from 0, of an enhanced file or of a series whose slices come several times at each position. Left out, an
   * enhanced file gives all its frames, one volume after the other, and a series its first slice at each position.
   */
  readonly volume?: number;
  /** What a gzipped or deflated file may unpack to, in bytes; 1 GiB where it is left out. */
  readonly maxBytes?: number;
}

/**
 * Reads a DICOM file: implicit or explicit little endian, explicit big endian, deflated, or in any compression of frames (see
 * `dicomCodecs.ts`), with or without the preamble, gzipped or not; grey, palette, RGB or YBR pixels of 1 to 32 bits, or floats;
 * several frames along D. Values are stored × RescaleSlope + RescaleIntercept (Hounsfield units for CT), or those of the modality
 * look-up table; overlays are left out. Frames are in stored order, or in that of their positions where an enhanced file has
 * them: see `orderFrames`.
 *
 * A MONOCHROME1 picture is not inverted: `warnings` holds `MONOCHROME1_WARNING` instead. Padding is left as it is, see `padding`;
 * no window or VOI table is applied, see `voi`. `spacingMm` is null for clips, whose D is time. `orientation` comes from
 * ImageOrientationPatient, see `lettersOf`.
 *
 * @returns `[1 or 3, frames, rows, columns]`; a stored 1024 with slope 1 and intercept −1024 is 0 HU
 * @throws  `InputError`, one line: a video stream, truncated, damaged, without pixels, or no DICOM at all
 */
export async function readDicom(path: string, options?: DicomOptions): Promise<Decoded> {
  return decodeDicom(readBytes(path), path, options);
}

/** `readDicom` for bytes in memory; `path` is for messages only. */
export async function decodeDicom(bytes: Uint8Array, path: string, options: DicomOptions = {}): Promise<Decoded> {
  try {
    return await decoded(parseDicom(bytes, path, options.maxBytes), options);
  } catch (thrown) {
    throw asDamage(path, thrown);
  }
}

async function decoded(file: DicomFile, { volume }: DicomOptions): Promise<Decoded> {
  const picture = await decodePixels(file);
  const { data } = file;
  const { frames, channels, rows, columns, dtype, padding, voi } = picture;
  const warnings = [...file.warnings, ...picture.warnings];
  if (isMosaic(data)) warnings.push(MOSAIC_WARNING);
  const kind = kindOf(file, picture);
  const enhanced = kind !== "video" && frames > 1 && data.elements.x52009230 !== undefined;
  const ordered = enhanced ? orderFrames(data, frames, warnings) : null;
  const wanted = framesWanted(ordered, frames, volume, file.path, warnings);
  return {
    pixels: framesOf(picture, wanted),
    shape: [channels, wanted.length, rows, columns],
    kind,
    modality: modalityOf(data),
    ...(kind === "video" ? stillGeometry(data) : geometryOf(data, wanted.length, [rows, columns], ordered, warnings)),
    dtype,
    padding,
    voi,
    warnings,
  };
}

const MOSAIC_WARNING =
  "a Siemens mosaic: the slices of a volume are tiles of one picture, and are left so (dcm2niix makes a volume of it)";

/** Whether ImageType (0008,0008) says that the slices of a volume lie side by side in one frame. */
export const isMosaic = (data: DataSet): boolean =>
  (data.string("x00080008") ?? "").split("\\").some((word) => word.trim() === "MOSAIC");

/** The frames of one volume, or all. */
function framesWanted(
  ordered: FrameOrder | null,
  frames: number,
  volume: number | undefined,
  path: string,
  warnings: string[],
): readonly number[] {
  const all = ordered?.order ?? Array.from({ length: frames }, (_, f) => f);
  const volumes = ordered?.volumes ?? 1;
  if (volume === undefined) {
    if (volumes > 1) {
      warnings.push(
        `${frames} frames at ${frames / volumes} positions: ${volumes} volumes follow each other (option volume: 0 to ${volumes - 1})`,
      );
    }
    return all;
  }
  assertVolume(volume, volumes, path);
  return all.slice((volume * frames) / volumes, ((volume + 1) * frames) / volumes);
}

/** Throws `InputError` unless there is such a volume. */
export function assertVolume(volume: number, volumes: number, path: string): void {
  if (Number.isSafeInteger(volume) && volume >= 0 && volume < volumes) return;
  throw new InputError(`${path}: expected a volume from 0 to ${volumes - 1}, got ${volume}`);
}

/** Frames of every channel, by their numbers. */
function framesOf({ pixels, channels, frames, rows, columns }: DicomPixels, wanted: readonly number[]): Float32Array {
  if (wanted.length === frames && wanted.every((f, i) => f === i)) return pixels;
  const plane = rows * columns;
  const chosen = pixelMemory(channels * wanted.length * plane);
  for (let c = 0, to = 0; c < channels; c++) {
    for (const f of wanted) {
      const from = (c * frames + f) * plane;
      chosen.set(pixels.subarray(from, from + plane), to);
      to += plane;
    }
  }
  return chosen;
}

/** The file's own word for its modality, in ours, or null. */
export function modalityOf(data: DataSet): Modality | null {
  return MODALITY[(data.string("x00080060") ?? "").trim()] ?? null;
}

function kindOf({ data }: DicomFile, { frames, channels }: DicomPixels): Kind {
  if (frames === 1) return "image";
  const perFramePositions = positionOf(data, 0) !== null && positionOf(data, frames - 1) !== null;
  if (perFramePositions && data.elements.x52009230 !== undefined) return "volume"; // enhanced objects, 3D ultrasound too
  const inTime = FRAMES_IN_TIME.includes((data.string("x00080060") ?? "").trim());
  return inTime || channels === 3 ? "video" : "volume";
}

/** Frames of a clip share one plane; D is time and has no millimetres. */
function stillGeometry(data: DataSet): { spacingMm: Shape3 | null; orientation: string | null } {
  const plane = planeOf(data);
  return { spacingMm: null, orientation: plane === null ? null : lettersOf(plane) };
}

type Geometry = Pick<Decoded, "spacingMm" | "orientation" | "slidMm">;

/** Of `depth` frames: all, or those of one volume. Volumes of one file share their positions. */
function geometryOf(
  data: DataSet,
  depth: number,
  size: readonly [rows: number, columns: number],
  ordered: FrameOrder | null,
  warnings: string[],
): Geometry {
  const plane = planeOf(data);
  const pixelSpacing = pixelSpacingOf(data);
  let between = sliceSpacingOf(data);
  let upwards = true;
  let slidMm: Geometry["slidMm"] = null;
  const planes = decimals(data, GRID_FRAME_OFFSETS);
  if (ordered === null && depth > 1 && planes?.length === depth) {
    between = spacingOfHeights(planes, warnings) ?? between;
    upwards = planes[depth - 1] >= planes[0];
  }
  if (ordered !== null) {
    const each = ordered.order.length / ordered.volumes;
    const positions = ordered.positions.slice(0, each);
    const heights = positions.map((position) => heightOf(ordered.plane, position));
    between = spacingOfHeights(heights, warnings) ?? between;
    upwards = heights[each - 1] >= heights[0];
    if (each > 1) {
      const slid = slidOf(ordered.plane, positions, pixelSpacing, size, warnings);
      slidMm = slid && Array.from({ length: depth }, (_, d) => slid[d % each]);
    }
  }
  return {
    spacingMm: spacingFrom(pixelSpacing, between, depth, warnings),
    orientation: plane === null ? null : lettersOf(plane, upwards),
    slidMm,
  };
}
