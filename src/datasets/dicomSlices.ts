/** The DICOM files of a folder, told apart by series and put in order, without their pixels. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { DataSet } from "dicom-parser";
import { readBytes, systemError } from "../files.js";
import { InputError, type Modality } from "../types.js";
import { modalityOf } from "./dicom.js";
import { guarded, parseDicom } from "./dicomFile.js";
import { heightOf, pixelSpacingOf, planeOf, positionOf, sliceSpacingOf, type Plane } from "./dicomGeometry.js";
import { cross, dot, lengthOf, type Vector } from "./orientation.js";
import { contentOf, readHead } from "./sniff.js";

/** What sorting needs to know of a slice, without its pixels. */
export interface SliceHeader {
  readonly path: string;
  /** SeriesInstanceUID: told apart, never printed. */
  readonly series: string;
  readonly rows: number;
  readonly columns: number;
  readonly frames: number;
  readonly modality: Modality | null;
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
    if (contentOf(readHead(path)).format !== "dicom") return null;
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
    modality: modalityOf(data),
    instance: data.intString("x00200013") ?? null,
    plane: planeOf(data),
    position,
    pixelSpacing: pixelSpacingOf(data),
    sliceSpacing: sliceSpacingOf(data),
    crossSection: ["CT", "MR", "PT", "NM"].includes(modality) || (position !== null && modalityOf(data) === null),
  };
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

/** Files that belong together, in the order of their slices. Nothing here says which series of whom it is. */
export interface DicomSeries {
  readonly paths: readonly string[];
  readonly modality: Modality | null;
}

/**
 * Splits files into their series, by SeriesInstanceUID and within it by plane and size (a scout holds planes at right angles),
 * in the order of their first paths; what is no DICOM image is left out. The UID itself goes nowhere.
 */
export function splitSeries(paths: readonly string[]): DicomSeries[] {
  return bySeries(sliceHeaders(paths))
    .flatMap(byStack)
    .flatMap((slices) => grouped(slices, ({ rows, columns }) => `${rows}×${columns}`))
    .map((slices) => ({ paths: sortedSlices(slices, []).map(({ path }) => path), modality: slices[0].modality }));
}

export const bySeries = (headers: readonly SliceHeader[]): SliceHeader[][] => grouped(headers, ({ series }) => series);

/** Slices of one series that share a plane: a scout series holds three stacks at right angles. */
export function byStack(series: readonly SliceHeader[]): SliceHeader[][] {
  const groups: SliceHeader[][] = [];
  for (const slice of series) {
    const group = groups.find(([first]) => samePlane(first.plane, slice.plane));
    if (group === undefined) groups.push([slice]);
    else group.push(slice);
  }
  return groups;
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

/** Within about half a degree, and pointing the same way. */
function samePlane(a: Plane | null, b: Plane | null): boolean {
  if (a === null || b === null) return a === b;
  const same = (u: Vector, v: Vector): boolean => lengthOf(cross(u, v)) < 0.01 && dot(u, v) > 0;
  return same(a.normal, b.normal) && same(a.row, b.row);
}

/** Slices by their height, or else their number, or else as they come; `warnings` says which, and what was left out. */
export function sortedSlices(slices: readonly SliceHeader[], warnings: string[]): SliceHeader[] {
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

/** Millimetres along the normal; NaN where the file does not know. */
export function heightOfSlice({ plane, position }: SliceHeader): number {
  return plane === null || position === null ? NaN : heightOf(plane, position);
}
