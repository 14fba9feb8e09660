/** A folder of DICOM slices as one volume. */
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import type { DataSet } from "dicom-parser";
import { readBytes, systemError } from "../files.js";
import { InputError, type Decoded } from "../types.js";
import { decodeDicom, modalityOf } from "./dicom.js";
import { guarded, parseDicom } from "./dicomFile.js";
import {
  heightOf,
  lettersOf,
  millimetres,
  pixelSpacingOf,
  planeOf,
  positionOf,
  sliceSpacingOf,
  spacingFrom,
  spacingOfHeights,
  type Plane,
} from "./dicomGeometry.js";
import { cross, dot, lengthOf, type Vector } from "./orientation.js";
import { contentOf } from "./sniff.js";

/** What sorting needs to know of a slice, without its pixels. */
export interface SliceHeader {
  readonly path: string;
  /** SeriesInstanceUID: told apart, never printed. */
  readonly series: string;
  readonly rows: number;
  readonly columns: number;
  readonly frames: number;
  readonly instance: number | null;
  readonly plane: Plane | null;
  readonly position: Vector | null;
  readonly pixelSpacing: readonly [number, number] | null;
  readonly sliceSpacing: number | null;
  /** True where the file is a cross-section of a body that other files continue: CT, MR, PT, or anything with a position. */
  readonly crossSection: boolean;
}

/** False for anything that is not there or cannot be looked at: reading it will say why. */
export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** The files directly in a folder, in the order of their names (a link to nowhere too); hidden ones are left out. */
export function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith("."))
      .sort()
      .map((name) => join(folder, name))
      .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? true);
  } catch (error) {
    throw systemError(folder, error);
  }
}

/** The DICOM images among some files; files that are something else, or are damaged, are left out. */
export function sliceHeaders(paths: readonly string[]): SliceHeader[] {
  return paths.flatMap((path) => {
    const header = sliceHeader(path);
    return header === null ? [] : [header];
  });
}

function sliceHeader(path: string): SliceHeader | null {
  try {
    if (contentOf(headOf(path)).format !== "dicom") return null;
    return guarded(path, () => headerOf(path, parseDicom(readBytes(path), path).data));
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

function headerOf(path: string, data: DataSet): SliceHeader | null {
  const rows = data.uint16("x00280010");
  const columns = data.uint16("x00280011");
  if (rows === undefined || columns === undefined) return null; // a report, a plan, an index
  const position = positionOf(data);
  const modality = (data.string("x00080060") ?? "").trim();
  return {
    path,
    series: data.string("x0020000e") ?? "",
    rows,
    columns,
    frames: data.intString("x00280008") ?? 1,
    instance: data.intString("x00200013") ?? null,
    plane: planeOf(data),
    position,
    pixelSpacing: pixelSpacingOf(data),
    sliceSpacing: sliceSpacingOf(data),
    crossSection: ["CT", "MR", "PT", "NM"].includes(modality) || (position !== null && modalityOf(data) === null),
  };
}

/** The first kilobyte: a folder may hold thousands of large files that are something else. */
function headOf(path: string): Uint8Array {
  try {
    const file = openSync(path, "r");
    try {
      const head = new Uint8Array(1024);
      return head.subarray(0, readSync(file, head, 0, head.length, 0));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw systemError(path, error);
  }
}

/** True for two or more single-frame cross-sections of one series in one plane: what `inspect` reports as one volume. */
export function isOneSeries(slices: readonly SliceHeader[]): boolean {
  const [first] = slices;
  return (
    slices.length > 1 &&
    slices.every((slice) => slice.frames === 1 && slice.crossSection) &&
    slices.every((slice) => slice.series === first.series && samePlane(slice.plane, first.plane))
  );
}

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
  const slices = sortedSlices(oneStack(oneSeries(headers, warnings), warnings), warnings);
  assertSameSize(slices, folder);
  return stack(slices, warnings, folder);
}

/** Groups in order of first appearance. */
function grouped<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
}

const largest = <T>(groups: readonly T[][]): T[] => groups.reduce((best, g) => (g.length > best.length ? g : best));

function oneSeries(headers: readonly SliceHeader[], warnings: string[]): SliceHeader[] {
  const groups = grouped(headers, (header) => header.series);
  const chosen = largest(groups);
  if (groups.length > 1) {
    warnings.push(
      `${groups.length} series in one folder: the largest (${chosen.length} of ${headers.length} files) was read`,
    );
  }
  return chosen;
}

/** Slices of one series that share a plane: a scout series holds three stacks at right angles. */
function oneStack(series: readonly SliceHeader[], warnings: string[]): SliceHeader[] {
  const groups: SliceHeader[][] = [];
  for (const slice of series) {
    const group = groups.find(([first]) => samePlane(first.plane, slice.plane));
    if (group === undefined) groups.push([slice]);
    else group.push(slice);
  }
  const chosen = largest(groups);
  if (groups.length > 1) {
    warnings.push(
      `${groups.length} planes in one series: the largest (${chosen.length} of ${series.length} slices) was read`,
    );
  }
  return chosen;
}

/** Within about half a degree, and pointing the same way. */
function samePlane(a: Plane | null, b: Plane | null): boolean {
  if (a === null || b === null) return a === b;
  const same = (u: Vector, v: Vector): boolean => lengthOf(cross(u, v)) < 0.01 && dot(u, v) > 0;
  return same(a.normal, b.normal) && same(a.row, b.row);
}

function sortedSlices(slices: readonly SliceHeader[], warnings: string[]): SliceHeader[] {
  const byInstance = (a: SliceHeader, b: SliceHeader): number => (a.instance ?? 0) - (b.instance ?? 0);
  if (slices.length < 2) return [...slices];
  if (slices.some((slice) => slice.plane === null || slice.position === null)) {
    const numbered = slices.every((slice) => slice.instance !== null);
    warnings.push(
      numbered
        ? "slice positions are missing: slices are in the order of their instance numbers"
        : "slice positions and instance numbers are missing: slices are in the order of their file names",
    );
    return numbered ? [...slices].sort(byInstance) : [...slices];
  }
  const sorted = [...slices].sort((a, b) => heightOfSlice(a) - heightOfSlice(b) || byInstance(a, b));
  const distinct = sorted.filter((slice, i) => i === 0 || heightOfSlice(slice) - heightOfSlice(sorted[i - 1]) > 1e-3);
  if (distinct.length < sorted.length) {
    warnings.push(
      `${sorted.length} slices at ${distinct.length} positions: the first at each position (by instance number) was read`,
    );
  }
  return distinct;
}

function heightOfSlice({ plane, position }: SliceHeader): number {
  return plane === null || position === null ? NaN : heightOf(plane, position);
}

function assertSameSize(slices: readonly SliceHeader[], folder: string): void {
  const sizes = new Set(slices.map(({ rows, columns }) => `${rows}×${columns}`));
  if (sizes.size > 1) {
    throw new InputError(`${folder}: expected slices of one size, got ${[...sizes].join(", ")}`);
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
  for (const [d, slice] of slices.entries()) {
    const decoded = d === 0 ? first : await decodeDicom(readBytes(slice.path), slice.path);
    if (decoded.shape[0] !== channels)
      throw new InputError(`${folder}: expected slices that are all grey or all colour`);
    for (let c = 0; c < channels; c++) {
      pixels.set(decoded.pixels.subarray(c * plane, (c + 1) * plane), (c * depth + d) * plane);
    }
    decoded.warnings.forEach((warning) => seen.add(warning));
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
