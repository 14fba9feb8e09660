/** Where the pixels of a DICOM file are: directions, positions, spacing. DICOM's x and y point left and back (LPS). */
import type { DataSet } from "dicom-parser";
import type { Shape3 } from "../types.js";
import { decimals, frameDecimals } from "./dicomFile.js";
import { closestAxes, cross, dot, lengthOf, orientationLetters, type Vector } from "./orientation.js";

const PIXEL_MEASURES = "x00289110";
const PLANE_POSITION = "x00209113";
const PLANE_ORIENTATION = "x00209116";

/** Nothing larger is a voxel or a place in a scanner: it may be a date or a number that damage moved here, and is not shown. */
const LARGEST_MM = 1000;
const FARTHEST_MM = 100_000;

/** Unit directions in DICOM's own LPS coordinates: along a row (increasing W), down a column (H), and their normal. */
export interface Plane {
  readonly row: Vector;
  readonly column: Vector;
  readonly normal: Vector;
}

/** ImageOrientationPatient of a frame, or null where absent or not two directions. */
export function planeOf(data: DataSet, frame = 0): Plane | null {
  const cosines = frameDecimals(data, frame, PLANE_ORIENTATION, "x00200037");
  if (cosines?.length !== 6) return null;
  const row: Vector = [cosines[0], cosines[1], cosines[2]];
  const column: Vector = [cosines[3], cosines[4], cosines[5]];
  const normal = cross(row, column);
  return lengthOf(normal) > 0.5 ? { row, column, normal } : null;
}

/** ImagePositionPatient of a frame in mm, or null. */
export function positionOf(data: DataSet, frame = 0): Vector | null {
  const position = frameDecimals(data, frame, PLANE_POSITION, "x00200032");
  return position?.length === 3 && position.every((mm) => Math.abs(mm) <= FARTHEST_MM)
    ? [position[0], position[1], position[2]]
    : null;
}

/** Distance along the normal from the origin, in mm. */
export const heightOf = (plane: Plane, position: Vector): number =>
  dot(plane.normal, position) / lengthOf(plane.normal);

/**
 * Letters for increasing W, H and D. `upwards` says whether D runs along the normal (true) or against it.
 *
 * The letters are nibabel's: a plain axial slice, whose rows run to the patient's left and whose columns run to the back, is
 * "LPS".
 */
export function lettersOf(plane: Plane, upwards = true): string | null {
  const toRas = ([x, y, z]: Vector, sign: number): Vector => [-x * sign, -y * sign, z * sign];
  const directions = closestAxes([toRas(plane.row, 1), toRas(plane.column, 1), toRas(plane.normal, upwards ? 1 : -1)]);
  return directions === null ? null : orientationLetters(directions);
}

/** Height and width of a pixel in mm: in the patient, or else on the detector or film; null where nothing is said. */
export function pixelSpacingOf(data: DataSet): readonly [height: number, width: number] | null {
  const found =
    frameDecimals(data, 0, PIXEL_MEASURES, "x00280030") ?? decimals(data, "x00181164") ?? decimals(data, "x00182010");
  return found?.length === 2 && found.every((mm) => mm > 0 && mm <= LARGEST_MM) ? [found[0], found[1]] : null;
}

/** What the header says of the distance between slices in mm (centres first, thickness as second best), or null. */
export function sliceSpacingOf(data: DataSet): number | null {
  for (const tag of ["x00180088", "x00180050"]) {
    const value = frameDecimals(data, 0, PIXEL_MEASURES, tag)?.[0];
    if (value !== undefined && value !== 0 && Math.abs(value) <= LARGEST_MM) return Math.abs(value);
  }
  return null;
}

/** The middle one: half of the values are not above it. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The distance between slices at the given heights (mm, in order), with a warning where they are not equally spaced: a missing
 * slice shows as a gap of twice the usual distance, which the median ignores.
 */
export function spacingOfHeights(heights: readonly number[], warnings: string[]): number | null {
  const gaps = heights.slice(1).map((height, i) => height - heights[i]);
  if (gaps.length === 0) return null;
  const usual = median(gaps.map(Math.abs));
  if (!(usual > 1e-6)) return null;
  const smallest = Math.min(...gaps.map(Math.abs));
  const largest = Math.max(...gaps.map(Math.abs));
  if (gaps.some((gap) => Math.sign(gap) !== Math.sign(gaps[0]))) {
    warnings.push("slice positions go back and forth: frames are in stored order");
  } else if (largest - smallest > Math.max(0.01, 0.01 * usual)) {
    const missing = gaps.reduce((sum, gap) => sum + Math.max(0, Math.round(Math.abs(gap) / usual) - 1), 0);
    warnings.push(
      `slices are not equally spaced: gaps of ${millimetres(smallest)} to ${millimetres(largest)} mm, ` +
        `${millimetres(usual)} mm (the median) is used` +
        (missing > 0 ? `; ${missing} seem to be missing` : ""),
    );
  }
  return usual;
}

/**
 * How far slices have slid within their plane against a straight stack, in mm along H and W, 0 for the middle one: those of a
 * tilted gantry do. Null where nothing moved by more than half a pixel, or something by more than half a slice; else with a
 * warning.
 *
 * @param positions of the slices, in order
 * @param size      rows and columns of a slice
 */
export function slidOf(
  plane: Plane,
  positions: readonly Vector[],
  pixelSpacing: readonly [number, number] | null,
  size: readonly [rows: number, columns: number],
  warnings: string[],
): (readonly [h: number, w: number])[] | null {
  const middle = positions[positions.length >> 1];
  const slid = positions.map(([x, y, z]): readonly [number, number] => {
    const away: Vector = [x - middle[0], y - middle[1], z - middle[2]];
    return [dot(away, plane.column) / lengthOf(plane.column), dot(away, plane.row) / lengthOf(plane.row)];
  });
  const farthest = (axis: 0 | 1): number => Math.max(...slid.map((mm) => Math.abs(mm[axis])));
  const [h, w] = pixelSpacing ?? [1, 1];
  if (!(farthest(0) > h / 2 || farthest(1) > w / 2)) return null;
  if (farthest(0) > (h * size[0]) / 2 || farthest(1) > (w * size[1]) / 2) {
    warnings.push("slices are shifted sideways by more than half of their size: left as they are stored");
    return null;
  }
  const [first, last] = [slid[0], slid[slid.length - 1]];
  const each = Math.hypot(last[0] - first[0], last[1] - first[1]) / (slid.length - 1);
  warnings.push(
    `slices are shifted sideways by ${millimetres(each)} mm each (a tilted gantry): here as stored, ` +
      (pixelSpacing === null ? "and their spacing is not known" : "put straight when they become samples"),
  );
  return slid;
}

export const millimetres = (value: number): string => String(Math.round(value * 1000) / 1000);

/** What `spacingFrom` says of a slice alone, which is not true of the stack that it is in. */
export const NO_THICKNESS = "slice thickness is not given: 1 mm stands in for the single slice";

/** `[d, h, w]` for a single slice or a stack; null where the plane or, for more than one slice, the depth is unknown. */
export function spacingFrom(
  inPlane: readonly [number, number] | null,
  between: number | null,
  depth: number,
  warnings: string[],
): Shape3 | null {
  if (inPlane === null) {
    if (depth > 1) warnings.push("pixel spacing is not given: spacing unknown");
    return null;
  }
  if (between !== null) return [between, inPlane[0], inPlane[1]];
  if (depth > 1) {
    warnings.push("the distance between slices is not given: spacing unknown");
    return null;
  }
  warnings.push(NO_THICKNESS);
  return [1, inPlane[0], inPlane[1]];
}
