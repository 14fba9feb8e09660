/** From the anatomy's grid to the pixels of an acquisition: the pose of the camera, and sampling between voxels. */
import type { Random } from "../random.js";
import type { Anatomy } from "./phantomAnatomy.js";
import { cosine, sine } from "./phantomMath.js";

/** How large a phantom's pictures are; every modality reads it, and nothing else of the study. */
export interface PictureSpec {
  /** Height and width, pixels. */
  readonly size: number;
  /** Slices of a volume, frames of a video. */
  readonly depth: number;
  /**
   * Which way a volume is cut. Coronal (the default) puts D along the X-ray beam; axial is how scanners store.
   */
  readonly ctPlane?: "coronal" | "axial";
}

/** The pose of an acquisition in the plane of the picture. */
export interface View {
  readonly cos: number;
  readonly sin: number;
  /** Region units from the centre of the picture to its edge: 1 is the nominal field of view. */
  readonly zoom: number;
  /** Where the centre of the picture lies, region units. */
  readonly shift: readonly [x: number, z: number];
}

/**
 * Positioning is never the same twice: turned by up to 15°, field of view 0.74–1.32, off centre by up to 0.32 sideways and
 * 0.42 along the body.
 */
export function drawView(random: Random): View {
  const angle = random.uniform(-0.27, 0.27);
  return {
    cos: cosine(angle),
    sin: sine(angle),
    zoom: random.uniform(0.74, 1.32),
    shift: [random.uniform(-0.32, 0.32), random.uniform(-0.42, 0.42)],
  };
}

/**
 * Values between voxels: the trilinear mean of what `table` gives for the eight labels around a point in region units.
 * The grid's edge repeats to the sides, head and feet (a body goes on there); in front and behind there is air.
 */
export function sampler(anatomy: Anatomy, table: Float32Array): (x: number, y: number, z: number) => number {
  const { labels, pitch } = anatomy;
  const [nz, ny, nx] = anatomy.shape;
  const [ox, oy, oz] = [nx / 2 - 0.5, ny / 2 - 0.5, nz / 2 - 0.5];
  const air = table[0];
  return (x, y, z) => {
    let fx = x / pitch + ox;
    const fy = y / pitch + oy;
    let fz = z / pitch + oz;
    if (fy < 0 || fy >= ny - 1) return air;
    fx = fx < 0 ? 0 : fx > nx - 1.001 ? nx - 1.001 : fx;
    fz = fz < 0 ? 0 : fz > nz - 1.001 ? nz - 1.001 : fz;
    const ix = Math.floor(fx);
    const iy = Math.floor(fy);
    const iz = Math.floor(fz);
    const tx = fx - ix;
    const ty = fy - iy;
    const tz = fz - iz;
    const i = (iz * ny + iy) * nx + ix;
    const j = i + ny * nx;
    const top =
      (1 - ty) * ((1 - tx) * table[labels[i]] + tx * table[labels[i + 1]]) +
      ty * ((1 - tx) * table[labels[i + nx]] + tx * table[labels[i + nx + 1]]);
    const bottom =
      (1 - ty) * ((1 - tx) * table[labels[j]] + tx * table[labels[j + 1]]) +
      ty * ((1 - tx) * table[labels[j + nx]] + tx * table[labels[j + nx + 1]]);
    return top + tz * (bottom - top);
  };
}

/** A stack of slices through the body. */
export interface Stack {
  readonly view: View;
  readonly plane: "coronal" | "axial";
  /** How far the patient lies turned about the long axis, as a tangent: up to 11°. */
  readonly yaw: number;
  /** First and last edge of the stack along its D axis, region units. */
  readonly from: number;
  readonly to: number;
}

/** Slices that cover the body from front to back (coronal), or the field of view from head to feet (axial). */
export function drawStack(anatomy: Anatomy, random: Random, plane: "coronal" | "axial"): Stack {
  const view = drawView(random);
  const half = plane === "coronal" ? anatomy.halfDepth * random.uniform(0.74, 1.05) : view.zoom;
  const centre = random.uniform(-0.14, 0.14) * half;
  return { view, plane, yaw: random.uniform(-0.2, 0.2), from: centre - half, to: centre + half };
}

/** Millimetres between voxels along D, H and W. */
export function stackSpacing(anatomy: Anatomy, stack: Stack, spec: PictureSpec): [number, number, number] {
  const mm = 10 * anatomy.halfCm;
  const inPlane = (2 * stack.view.zoom * mm) / spec.size;
  return [((stack.to - stack.from) * mm) / spec.depth, inPlane, inPlane];
}

/** Where in the body voxel (d, h, w) of a stack lies; fractions are welcome. */
export function stackPoint(stack: Stack, spec: PictureSpec, d: number, h: number, w: number): [number, number, number] {
  const { view } = stack;
  const u = view.zoom * ((2 * (w + 0.5)) / spec.size - 1);
  const v = view.zoom * ((2 * (h + 0.5)) / spec.size - 1);
  const across = view.cos * u - view.sin * v + view.shift[0];
  const down = view.sin * u + view.cos * v;
  const along = stack.from + ((stack.to - stack.from) * (d + 0.5)) / spec.depth;
  if (stack.plane === "axial") return [across - stack.yaw * down, down + stack.yaw * across, along + view.shift[1]];
  return [across - stack.yaw * along, along + stack.yaw * across, down + view.shift[1]];
}

/** Four points spread over a voxel, in voxels from its centre: enough for partial volume. */
const SPREAD: readonly (readonly [number, number, number])[] = [
  [-0.375, -0.25, 0.25],
  [-0.125, 0.25, -0.25],
  [0.125, -0.25, -0.25],
  [0.375, 0.25, 0.25],
];

/** `[depth, size, size]`: the mean of `table` over each voxel of the stack. */
export function resample(anatomy: Anatomy, table: Float32Array, stack: Stack, spec: PictureSpec): Float32Array {
  const sample = sampler(anatomy, table);
  const out = new Float32Array(spec.depth * spec.size * spec.size);
  let i = 0;
  for (let d = 0; d < spec.depth; d++) {
    for (let h = 0; h < spec.size; h++) {
      for (let w = 0; w < spec.size; w++) {
        let sum = 0;
        for (const [dd, dh, dw] of SPREAD) sum += sample(...stackPoint(stack, spec, d + dd, h + dh, w + dw));
        out[i++] = sum / SPREAD.length;
      }
    }
  }
  return out;
}

/** Three letters, for increasing W, H and D: x grows to the left, y to the back, z to the feet. */
export function stackOrientation(stack: Stack): string {
  return stack.plane === "coronal" ? "LIP" : "LPI";
}
