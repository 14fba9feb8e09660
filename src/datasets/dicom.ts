/** One DICOM file: a picture, a clip or a volume. */
import type { DataSet } from "dicom-parser";
import { readBytes } from "../files.js";
import type { Decoded, Kind, Modality, Shape3 } from "../types.js";
import { asDamage, parseDicom, type DicomFile } from "./dicomFile.js";
import {
  heightOf,
  lettersOf,
  pixelSpacingOf,
  planeOf,
  positionOf,
  sliceSpacingOf,
  spacingFrom,
  spacingOfHeights,
} from "./dicomGeometry.js";
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

/** Frames of these follow each other in time; frames of anything else are slices, unless they are in colour. */
const FRAMES_IN_TIME = ["US", "IVUS", "XA", "RF", "ES", "XC", "GM"];

/**
 * Reads a DICOM file: implicit or explicit little endian, explicit big endian, deflated, or in any compression of frames (see
 * `dicomCodecs.ts`), with or without the preamble; grey, palette, RGB or YBR pixels of 1 to 32 bits, or floats; several
 * frames along D, in stored order. Values are stored × RescaleSlope + RescaleIntercept (Hounsfield units for CT), or those
 * of the modality look-up table; overlays are left out.
 *
 * A MONOCHROME1 picture is not inverted: `warnings` holds `MONOCHROME1_WARNING` instead. Padding is left as it is, see `padding`.
 * `spacingMm` is null for clips, whose D is time. `orientation` comes from ImageOrientationPatient, see `lettersOf`.
 *
 * @returns `[1 or 3, frames, rows, columns]`; a stored 1024 with slope 1 and intercept −1024 is 0 HU
 * @throws  `InputError`, one line: a video stream, truncated, damaged, without pixels, or no DICOM at all
 */
export async function readDicom(path: string): Promise<Decoded> {
  return decodeDicom(readBytes(path), path);
}

/** `readDicom` for bytes in memory; `path` is for messages only. */
export async function decodeDicom(bytes: Uint8Array, path: string): Promise<Decoded> {
  try {
    return await decoded(parseDicom(bytes, path));
  } catch (thrown) {
    throw asDamage(path, thrown);
  }
}

async function decoded(file: DicomFile): Promise<Decoded> {
  const picture = await decodePixels(file);
  const { data } = file;
  const { frames, channels, rows, columns } = picture;
  const warnings = [...file.warnings, ...picture.warnings];
  const kind = kindOf(file, picture);
  const { spacingMm, orientation } = kind === "video" ? stillGeometry(data) : geometryOf(data, frames, warnings);
  return {
    pixels: picture.pixels,
    shape: [channels, frames, rows, columns],
    kind,
    modality: modalityOf(data),
    spacingMm,
    orientation,
    dtype: picture.dtype,
    padding: picture.padding,
    warnings,
  };
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

function geometryOf(
  data: DataSet,
  frames: number,
  warnings: string[],
): { spacingMm: Shape3 | null; orientation: string | null } {
  const plane = planeOf(data);
  let between = sliceSpacingOf(data);
  let upwards = true;
  if (plane !== null && frames > 1 && data.elements.x52009230 !== undefined) {
    const positions = Array.from({ length: frames }, (_, f) => positionOf(data, f));
    const heights = positions.flatMap((position) => (position === null ? [] : [heightOf(plane, position)]));
    if (heights.length === frames) {
      between = spacingOfHeights(heights, warnings) ?? between;
      upwards = heights[frames - 1] >= heights[0];
    }
  }
  return {
    spacingMm: spacingFrom(pixelSpacingOf(data), between, frames, warnings),
    orientation: plane === null ? null : lettersOf(plane, upwards),
  };
}
