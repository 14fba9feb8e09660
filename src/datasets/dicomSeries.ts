/** A folder of DICOM slices, or what a DICOMDIR names, as one volume. */
import { readBytes } from "../files.js";
import { pixelMemory, recycle } from "./pixelMemory.js";
import { InputError, type Decoded } from "../types.js";
import { readDicom, type DicomOptions } from "./dicom.js";
import { filesOfDirectory } from "./dicomDir.js";
import { lettersOf, NO_THICKNESS, slidOf, spacingFrom, spacingOfHeights } from "./dicomGeometry.js";
import { MOST_VALUES } from "./dicomPixels.js";
import {
  bySeries,
  byStack,
  filesIn,
  heightOfSlice,
  sliceHeaders,
  sortedSlices,
  splitSeries,
  type SliceHeader,
} from "./dicomSlices.js";

/**
 * Reads the DICOM slices directly in a folder as one volume. Slices are sorted by the projection of ImagePositionPatient on
 * the normal of ImageOrientationPatient, ascending (an axial series comes out feet first, "LPS"), or by InstanceNumber where
 * positions are missing, with a warning. Of several series, or several stacks in different planes, the largest is read; of
 * several slices at one position the first; each with a warning. The distance along D is the median gap.
 *
 * @returns `[1 or 3, slices, rows, columns]`, in the units of `readDicom`
 * @throws  `InputError`, one line: no slices, slices of different sizes, or a slice that `readDicom` refuses
 */
export async function readDicomSeries(folder: string, options: DicomOptions = {}): Promise<Decoded> {
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
  return largestStack(headers, "folder", folder, options, warnings);
}

/**
 * Reads one of the volumes in a folder: see `splitSeries`.
 *
 * @param number  from 1
 * @throws        `InputError`, one line: no such volume, or what `readDicomSeries` throws
 */
export async function readNumberedSeries(folder: string, number: number, options: DicomOptions = {}): Promise<Decoded> {
  const volumes = splitSeries(filesIn(folder)).filter((series) => series.volume);
  if (number > volumes.length) {
    throw new InputError(`${folder}#${number}: expected a series from 1 to ${volumes.length}, got ${number}`);
  }
  return largestStack(sliceHeaders(volumes[number - 1].paths), "folder", folder, options, []);
}

/**
 * Reads the images that a DICOMDIR names, from the files beside it, as `readDicomSeries` reads those of a folder.
 *
 * @throws `InputError`, one line: no index, one that names no image that is there, or what `readDicomSeries` throws
 */
export async function readDicomDir(path: string, options: DicomOptions = {}): Promise<Decoded> {
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
  return largestStack(headers, "DICOMDIR", path, options, warnings);
}

const largest = <T>(groups: readonly T[][]): T[] => groups.reduce((best, g) => (g.length > best.length ? g : best));

/** One volume of what there is: of all stacks (slices of one series in one plane) the largest. */
function largestStack(
  headers: readonly SliceHeader[],
  container: string,
  path: string,
  options: DicomOptions,
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
  if (chosen.length === 1) return readDicom(chosen[0].path, options).then((one) => withWarnings(one, warnings));
  const slices = sortedSlices(chosen, warnings, options.volume, path);
  assertSameSize(slices, path);
  return stack(slices, options, warnings, path);
}

const withWarnings = (decoded: Decoded, before: readonly string[]): Decoded => ({
  ...decoded,
  warnings: [...before, ...decoded.warnings],
});

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
async function stack(
  slices: readonly SliceHeader[],
  { maxBytes }: DicomOptions,
  warnings: string[],
  folder: string,
): Promise<Decoded> {
  const first = await readDicom(slices[0].path, { maxBytes });
  if (slices.length === 1) return withWarnings(first, warnings);

  const depth = slices.length;
  const [channels, , rows, columns] = first.shape;
  const plane = rows * columns;
  const pixels = pixelMemory(channels * depth * plane).fill(0);
  const seen = new Set<string>(first.warnings);
  let padding = first.padding ?? null;
  let voi = first.voi ?? null;
  for (const [d, slice] of slices.entries()) {
    const decoded = d === 0 ? first : await readDicom(slice.path, { maxBytes });
    if (decoded.shape[0] !== channels)
      throw new InputError(`${folder}: expected slices that are all grey or all colour`);
    for (let c = 0; c < channels; c++) {
      pixels.set(decoded.pixels.subarray(c * plane, (c + 1) * plane), (c * depth + d) * plane);
    }
    decoded.warnings.forEach((warning) => seen.add(warning));
    if (String(decoded.padding) !== String(padding)) padding = null; // one range cannot speak for all slices
    if (JSON.stringify(decoded.voi) !== JSON.stringify(voi)) voi = null;
    recycle(decoded); // its pixels alone: the rest of it is looked at below
  }

  seen.delete(NO_THICKNESS);
  const { spacingMm, orientation, slidMm } = geometryOfStack(slices, warnings);
  return {
    pixels,
    shape: [channels, depth, rows, columns],
    kind: "volume",
    modality: first.modality,
    spacingMm,
    orientation,
    dtype: first.dtype,
    padding,
    voi,
    slidMm,
    warnings: [...warnings, ...seen],
  };
}

function geometryOfStack(
  slices: readonly SliceHeader[],
  warnings: string[],
): Pick<Decoded, "spacingMm" | "orientation" | "slidMm"> {
  const { plane, pixelSpacing, sliceSpacing, rows, columns } = slices[0];
  const heights = slices.map(heightOfSlice);
  const positioned = heights.every(Number.isFinite);
  const between = (positioned ? spacingOfHeights(heights, warnings) : null) ?? sliceSpacing;
  if (slices.some((slice) => String(slice.pixelSpacing) !== String(pixelSpacing)))
    warnings.push("slices have different pixel spacings: that of the first is used");
  const positions = slices.flatMap(({ position }) => (position === null ? [] : [position]));
  return {
    slidMm: positioned && plane !== null ? slidOf(plane, positions, pixelSpacing, [rows, columns], warnings) : null,
    spacingMm: spacingFrom(pixelSpacing, between, slices.length, warnings),
    orientation: plane === null ? null : lettersOf(plane),
  };
}
