/** The DICOM files of a folder, told apart by series and put in order, without their pixels. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { DataSet } from "dicom-parser";
import { readBytes, readRange, systemError } from "../files.js";
import { InputError, type Modality } from "../types.js";
import { assertVolume, isMosaic, modalityOf } from "./dicom.js";
import { guarded, gunzipped, isGzip, parseDicom, type DicomFile } from "./dicomFile.js";
import { heightOf, pixelSpacingOf, planeOf, positionOf, sliceSpacingOf, type Plane } from "./dicomGeometry.js";
import { cross, dot, lengthOf, type Vector } from "./orientation.js";
import { SAME_PLACE_MM } from "./dicomOrder.js";
import { contentOf } from "./sniff.js";

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
  /** TemporalPositionIdentifier: which of several volumes. */
  readonly time: number | null;
  readonly plane: Plane | null;
  readonly position: Vector | null;
  readonly pixelSpacing: readonly [number, number] | null;
  readonly sliceSpacing: number | null;
  /** True where the file is a cross-section of a body that other files continue: CT, MR, PT, or anything with a position; no mosaic of slices. */
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
    const head = readRange(path, 0, FIRST_LOOK);
    if (isGzip(head)) {
      const bytes = gunzipped(readBytes(path), path);
      return isDicom(bytes) ? guarded(path, () => headerOf(path, parseDicom(bytes, path))) : null;
    }
    if (!isDicom(head)) return null;
    return guarded(path, () => headerOf(path, tagsInHead(head, path) ?? parseDicom(readBytes(path), path)));
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

const isDicom = (bytes: Uint8Array): boolean => contentOf(bytes).format === "dicom";

/** The tags of nearly every slice are in its first 64 KiB; most of the file is pixels. */
const FIRST_LOOK = 2 ** 16;

/** The parsed head of a file, where its tags end in it; null where all of the file must be read. */
function tagsInHead(head: Uint8Array, path: string): DicomFile | null {
  if (head.length < FIRST_LOOK) return null; // that is the whole file, and what is wrong with it should be said of it
  try {
    const file = parseDicom(head, path);
    return file.pixels === null ? null : file;
  } catch {
    return null; // cut in the middle of a tag
  }
}

function headerOf(path: string, { data }: { data: DataSet }): SliceHeader | null {
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
    time: data.intString("x00200100") ?? null,
    plane: planeOf(data),
    position,
    pixelSpacing: pixelSpacingOf(data),
    sliceSpacing: sliceSpacingOf(data),
    crossSection:
      !isMosaic(data) &&
      (["CT", "MR", "PT", "NM"].includes(modality) || (position !== null && modalityOf(data) === null)),
  };
}

/** Files that belong together, in the order of their slices. Nothing here says which series of whom it is. */
export interface DicomSeries {
  readonly paths: readonly string[];
  readonly modality: Modality | null;
  /**
   * Whether they make a volume: two or more single-frame cross-sections at different places, equally often at each (the copies of
   * one slice in several compressions make none), or anyhow where there is nothing else among the files.
   */
  readonly volume: boolean;
}

/**
 * Splits files into their series, by SeriesInstanceUID and within it by plane and size (a scout holds planes at right angles),
 * in the order of their first paths; what is no DICOM image is left out. The UID itself goes nowhere.
 *
 * Of the files directly in a folder, the first that is a volume is `FOLDER#1` for `readFile` and for a row of labels.csv.
 */
export function splitSeries(paths: readonly string[]): DicomSeries[] {
  const groups = bySeries(sliceHeaders(paths))
    .flatMap(byStack)
    .flatMap((slices) => grouped(slices, ({ rows, columns }) => `${rows}×${columns}`));
  return groups.map((slices) => ({
    paths: [...slices].sort(asStacked).map(({ path }) => path),
    modality: slices[0].modality,
    volume: isVolume(slices, groups.length === 1),
  }));
}

function isVolume(slices: readonly SliceHeader[], alone: boolean): boolean {
  if (slices.length < 2 || !slices.every(({ frames, crossSection }) => frames === 1 && crossSection)) return false;
  const counts = byPlace(slices).map((place) => place.length);
  return alone || (counts.length > 1 && counts.every((count) => count === counts[0]));
}

/** `FOLDER#2` taken apart, where there is such a folder and nothing of the whole name; null for any other path. */
export function seriesAddress(path: string): { folder: string; number: number } | null {
  const [, folder, number] = /^(.+)#([1-9]\d{0,5})$/.exec(path) ?? [];
  return folder !== undefined && !existsSync(path) && isFolder(folder) ? { folder, number: Number(number) } : null;
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

/**
 * Slices by their height, or else their number, or else as they come; `warnings` says which, and what was left out. Where slices
 * come several times at each height, those of one volume: the first by temporal position, then instance number, or `volume`.
 *
 * @throws `InputError` where there is no such volume; it names `path`
 */
export function sortedSlices(
  slices: readonly SliceHeader[],
  warnings: string[],
  volume: number | undefined,
  path: string,
): SliceHeader[] {
  if (slices.length < 2 || slices.some((slice) => slice.plane === null || slice.position === null)) {
    if (volume !== undefined) assertVolume(volume, 1, path);
    if (slices.length < 2) return [...slices];
    const numbered = slices.every((slice) => slice.instance !== null);
    warnings.push(
      numbered
        ? "slice positions are missing: slices are in the order of their instance numbers"
        : "slice positions and instance numbers are missing: slices are in the order of their file names",
    );
    return numbered ? [...slices].sort(byInstance) : [...slices];
  }
  const places = byPlace(slices);
  const volumes = Math.min(...places.map((place) => place.length));
  if (volume !== undefined) assertVolume(volume, volumes, path);
  else if (places.length < slices.length) {
    const others = volumes > 1 ? ` (option volume: 0 to ${volumes - 1})` : "";
    warnings.push(
      `${slices.length} slices at ${places.length} positions: the first at each position (by instance number) was read${others}`,
    );
  }
  return places.map((place) => place[volume ?? 0]);
}

const byInstance = (a: SliceHeader, b: SliceHeader): number =>
  (a.time ?? 0) - (b.time ?? 0) || (a.instance ?? 0) - (b.instance ?? 0);

/** By height, where it is known; then by time and number. */
const asStacked = (a: SliceHeader, b: SliceHeader): number => heightOfSlice(a) - heightOfSlice(b) || byInstance(a, b);

/** Slices at each height, upwards, each in the order of time and number; none where a height is not known. */
function byPlace(slices: readonly SliceHeader[]): SliceHeader[][] {
  if (!slices.every((slice) => Number.isFinite(heightOfSlice(slice)))) return [];
  const places: SliceHeader[][] = [];
  [...slices].sort(asStacked).forEach((slice, i, sorted) => {
    const same = i > 0 && heightOfSlice(slice) - heightOfSlice(sorted[i - 1]) <= SAME_PLACE_MM;
    if (same) places[places.length - 1].push(slice);
    else places.push([slice]);
  });
  for (const place of places) place.sort(byInstance);
  return places;
}

/** Millimetres along the normal; NaN where the file does not know. */
export function heightOfSlice({ plane, position }: SliceHeader): number {
  return plane === null || position === null ? NaN : heightOf(plane, position);
}
