/** A folder of DICOM slices, or what a DICOMDIR names, as one volume. */
import { readBytes } from "../files.js";
import { InputError, type Decoded } from "../types.js";
import { decodeDicom } from "./dicom.js";
import { filesOfDirectory } from "./dicomDir.js";
import { lettersOf, millimetres, spacingFrom, spacingOfHeights, type Plane } from "./dicomGeometry.js";
import { MOST_VALUES } from "./dicomPixels.js";
import {
  bySeries,
  byStack,
  filesIn,
  heightOfSlice,
  sliceHeaders,
  sortedSlices,
  type SliceHeader,
} from "./dicomSlices.js";
import { cross, lengthOf, type Vector } from "./orientation.js";

/**
 * Reads the DICOM slices directly in a folder as one volume. Slices are sorted by the projection of ImagePositionPatient on
 * the normal of ImageOrientationPatient, ascending (an axial series comes out feet first, "LPS"), or by InstanceNumber where
 * positions are missing, with a warning. Of several series, or several stacks in different planes, the largest is read; of
 * several slices at one position the first; each with a warning. The distance along D is the median gap.
 *
 * @returns `[1 or 3, slices, rows, columns]`, in the units of `readDicom`
 * @throws  `InputError`, one line: no slices, slices of different sizes, or a slice that `readDicom` refuses
 */
export async function readDicomSeries(folder: string): Promise<Decoded> {
  const paths = filesIn(folder);
  const headers = sliceHeaders(paths);
  if (headers.length === 0) {
    throw new InputError(
      `${folder}: expected a folder with DICOM slices directly in it, got ${paths.length} other files`,
    );
  }
  const warnings: string[] = [];
  const others = paths.length - headers.length;
  if (others > 0) warnings.push(`${others} files in the folder are not DICOM images and were left out`);
  return largestStack(headers, "folder", folder, warnings);
}

/**
 * Reads the images that a DICOMDIR names, from the files beside it, as `readDicomSeries` reads those of a folder.
 *
 * @throws `InputError`, one line: no index, one that names no image that is there, or what `readDicomSeries` throws
 */
export async function readDicomDir(path: string): Promise<Decoded> {
  const { paths, missing } = filesOfDirectory(readBytes(path), path);
  const headers = sliceHeaders(paths);
  if (headers.length === 0) {
    throw new InputError(
      `${path}: expected a DICOMDIR with images beside it, got ${paths.length + missing} names and no image among them`,
    );
  }
  const warnings: string[] = [];
  if (missing > 0) warnings.push(`${missing} files that the DICOMDIR names are not there`);
  const others = paths.length - headers.length;
  if (others > 0) warnings.push(`${others} files that the DICOMDIR names are not DICOM images and were left out`);
  return largestStack(headers, "DICOMDIR", path, warnings);
}

const largest = <T>(groups: readonly T[][]): T[] => groups.reduce((best, g) => (g.length > best.length ? g : best));

/** One volume of what there is: of all stacks (slices of one series in one plane) the largest. */
function largestStack(
  headers: readonly SliceHeader[],
  container: string,
  path: string,
  warnings: string[],
): Promise<Decoded> {
  const all = bySeries(headers).map((series) => ({ series, stacks: byStack(series) }));
  const chosen = largest(all.flatMap(({ stacks }) => stacks));
  if (all.length > 1) {
    warnings.push(
      `${all.length} series in one ${container}: the largest (${chosen.length} of ${headers.length} files) was read`,
    );
  }
  const { series, stacks } = all.find((one) => one.stacks.includes(chosen)) ?? all[0];
  if (stacks.length > 1) {
    warnings.push(
      `${stacks.length} planes in one series: the largest (${chosen.length} of ${series.length} slices) was read`,
    );
  }
  const slices = sortedSlices(chosen, warnings);
  assertSameSize(slices, path);
  return stack(slices, warnings, path);
}

function assertSameSize(slices: readonly SliceHeader[], folder: string): void {
  const sizes = new Set(slices.map(({ rows, columns }) => `${rows}×${columns}`));
  if (sizes.size > 1) {
    throw new InputError(`${folder}: expected slices of one size, got ${[...sizes].join(", ")}`);
  }
  const values = slices.length * slices[0].rows * slices[0].columns;
  if (values > MOST_VALUES) {
    throw new InputError(`${folder}: ${values} values are more than the ${MOST_VALUES} that are read at once`);
  }
  if (slices.length > 1 && slices.some((slice) => slice.frames > 1)) {
    throw new InputError(
      `${folder}: expected single-frame slices, got files with several frames; read them one by one`,
    );
  }
}

/** Decodes the slices one after another, so that only one file is in memory beside the volume. */
async function stack(slices: readonly SliceHeader[], warnings: string[], folder: string): Promise<Decoded> {
  const first = await decodeDicom(readBytes(slices[0].path), slices[0].path);
  if (slices.length === 1) return { ...first, warnings: [...warnings, ...first.warnings] };

  const depth = slices.length;
  const [channels, , rows, columns] = first.shape;
  const plane = rows * columns;
  const pixels = new Float32Array(channels * depth * plane);
  const seen = new Set<string>(first.warnings);
  let padding = first.padding ?? null;
  for (const [d, slice] of slices.entries()) {
    const decoded = d === 0 ? first : await decodeDicom(readBytes(slice.path), slice.path);
    if (decoded.shape[0] !== channels)
      throw new InputError(`${folder}: expected slices that are all grey or all colour`);
    for (let c = 0; c < channels; c++) {
      pixels.set(decoded.pixels.subarray(c * plane, (c + 1) * plane), (c * depth + d) * plane);
    }
    decoded.warnings.forEach((warning) => seen.add(warning));
    if (String(decoded.padding) !== String(padding)) padding = null; // one range cannot speak for all slices
  }

  const { spacingMm, orientation } = geometryOfStack(slices, warnings);
  return {
    pixels,
    shape: [channels, depth, rows, columns],
    kind: "volume",
    modality: first.modality,
    spacingMm,
    orientation,
    dtype: first.dtype,
    padding,
    warnings: [...warnings, ...seen],
  };
}

function geometryOfStack(
  slices: readonly SliceHeader[],
  warnings: string[],
): Pick<Decoded, "spacingMm" | "orientation"> {
  const { plane, pixelSpacing, sliceSpacing } = slices[0];
  const heights = slices.map(heightOfSlice);
  const positioned = heights.every(Number.isFinite);
  const between = (positioned ? spacingOfHeights(heights, warnings) : null) ?? sliceSpacing;
  if (slices.some((slice) => String(slice.pixelSpacing) !== String(pixelSpacing)))
    warnings.push("slices have different pixel spacings: that of the first is used");
  if (positioned && plane !== null) warnAboutTilt(slices, plane, warnings);
  return {
    spacingMm: spacingFrom(pixelSpacing, between, slices.length, warnings),
    orientation: plane === null ? null : lettersOf(plane),
  };
}

/** Slices of a tilted gantry are shifted sideways against each other: the stack is a sheared box. */
function warnAboutTilt(slices: readonly SliceHeader[], plane: Plane, warnings: string[]): void {
  const from = slices[0].position;
  const to = slices[slices.length - 1].position;
  if (from === null || to === null) return;
  const path: Vector = [to[0] - from[0], to[1] - from[1], to[2] - from[2]];
  const sideways = lengthOf(cross(path, plane.normal)) / lengthOf(plane.normal) / (slices.length - 1);
  if (sideways > 0.1) {
    warnings.push(
      `slices are shifted sideways by ${millimetres(sideways)} mm each (a tilted gantry): not straightened`,
    );
  }
}
