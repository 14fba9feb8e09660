/** The order of the frames of an enhanced file: where each is in the body, and when or how it was made. */
import type { DataSet } from "dicom-parser";
import { heightOf, planeOf, positionOf, type Plane } from "./dicomGeometry.js";
import { lengthOf, type Vector } from "./orientation.js";

/** Frames as one volume, or as several that follow each other. */
export interface FrameOrder {
  /** Numbers of the stored frames, in the order in which they are to stand. */
  readonly order: readonly number[];
  /** How many volumes they are: frame 0 of the second one is at the position of frame 0 of the first. */
  readonly volumes: number;
  readonly plane: Plane;
  /** In the new order. */
  readonly positions: readonly Vector[];
}

/** Nearer than this, in mm, two frames are at one position. */
export const SAME_PLACE_MM = 1e-3;

const POSITIONS = ["x00200032", "x00209057", "x00209113", "x00201041"]; // what a dimension may point to and height says already

/**
 * Orders frames by their position along the normal. Frames that share a position are told apart by their temporal position
 * index, else by their dimension indices, else by where they are stored, and make volumes that follow each other. Frames that
 * are stored in such an order, upwards or downwards, stay as they are.
 *
 * @returns null, with a warning where there is something to say, where frames have no positions or lie in different planes
 */
export function orderFrames(data: DataSet, frames: number, warnings: string[]): FrameOrder | null {
  const plane = planeOf(data);
  const positions = Array.from({ length: frames }, (_, f) => positionOf(data, f));
  if (plane === null || !positions.every((position): position is Vector => position !== null)) return null;
  for (let f = 1; f < frames; f++) {
    const other = planeOf(data, f);
    if (other !== null && apart(other.normal, plane.normal) < 0.01 && apart(other.row, plane.row) < 0.01) continue;
    warnings.push("frames lie in different planes: they are in stored order");
    return null;
  }
  const heights = positions.map((position) => heightOf(plane, position));
  const keys = Array.from({ length: frames }, (_, f) => timeOf(data, f));
  const upwards = Array.from({ length: frames }, (_, f) => f).sort((a, b) => heights[a] - heights[b] || a - b);
  const places: number[][] = []; // frames of one position each, upwards
  upwards.forEach((f, i) => {
    if (i > 0 && heights[f] - heights[upwards[i - 1]] <= SAME_PLACE_MM) places[places.length - 1].push(f);
    else places.push([f]);
  });
  for (const place of places) place.sort((a, b) => compare(keys[a], keys[b]) || a - b);

  const most = Math.max(...places.map((place) => place.length));
  const inVolumes = (stack: readonly number[][]): number[] =>
    Array.from({ length: most }, (_, v) => stack.flatMap((place) => place.slice(v, v + 1))).flat();
  const isStored = (order: readonly number[]): boolean => order.every((f, i) => f === i);
  const [up, down] = [inVolumes(places), inVolumes([...places].reverse())];
  const order = isStored(down) ? down : up;
  const volumes = places.every((place) => place.length === most) ? most : 1;
  if (!isStored(order)) warnings.push("frames are not stored in the order of their positions: they were sorted");
  if (most > 1 && volumes === 1) {
    warnings.push(`${frames} frames at ${places.length} positions, not equally often at each: they make no volumes`);
  }
  return { order, volumes, plane, positions: order.map((f) => positions[f]) };
}

/** Of two unit directions. */
const apart = (a: Vector, b: Vector): number => lengthOf([a[0] - b[0], a[1] - b[1], a[2] - b[2]]);

/** What tells frames of one position apart: the temporal position index, then the dimension indices that are no positions. */
function timeOf(data: DataSet, frame: number): number[] {
  const content = data.elements.x52009230?.items?.[frame]?.dataSet?.elements.x00209111?.items?.[0]?.dataSet;
  const pointers = data.elements.x00209222?.items ?? [];
  const indices = pointers.flatMap(({ dataSet }, i) => {
    const pointer = dataSet?.attributeTag("x00209165");
    return pointer !== undefined && POSITIONS.includes(pointer) ? [] : [content?.uint32("x00209157", i) ?? 0];
  });
  return [content?.uint32("x00209128") ?? 0, ...indices];
}

const compare = (a: readonly number[], b: readonly number[]): number => a.reduce((sign, x, i) => sign || x - b[i], 0);
