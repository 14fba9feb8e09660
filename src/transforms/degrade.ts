/**
 * What else may happen to a view: noise, coarse voxels, another curve, a body that nods, frames that are lost. None of it knows the
 * modality; images, videos and volumes differ in what their depth is. All chance comes from the generator that is passed in.
 */
import type { Random } from "../random.js";
import { InputError, type Kind, type Shape3, type Shape4 } from "../types.js";
import type { Range } from "./crop.js";
import { resample } from "./resize.js";

/**
 * Chance and strength, all off unless they are named. The first four are those of nnU-Net (Isensee et al., Nature Methods 2021,
 * supplementary note 4; its chances in brackets), with two of our own choices, which their descriptions say.
 */
export interface Degradation {
  /** Gaussian noise, σ uniform, in units of [0, 1] (chance 0.1, variance up to 0.1 of a picture's own). */
  readonly noise?: Chance & { readonly deviation: Range };
  /** Fewer voxels, and back to as many: see `lowResolution`. Zoom uniform (chance 0.25, 0.5 to 1). */
  readonly lowResolution?: Chance & { readonly zoom: Range };
  /** The curve of the inverted picture: see `invertedGamma`. Exponent log-uniform (chance 0.1, 0.7 to 1.5). */
  readonly invertedGamma?: Chance & { readonly exponent: Range };
  /** Volumes only. Largest turn about an axis within the slices, degrees, either way: see `nod` (chance 0.2, 30). */
  readonly nod?: number;
  /** Videos only. `reverse` is the chance that time runs backwards; `part` of the frames, uniform, freeze: see `freezeFrames`. */
  readonly frames?: { readonly reverse?: number; readonly freeze?: Chance & { readonly part: Range } };
}

interface Chance {
  readonly chance: number;
}

/** Throws `InputError` for a range that no picture survives. */
function assertRange(name: string, [low, high]: Range, least: number, most: number): void {
  if (low <= high && low >= least && high <= most) return;
  throw new InputError(`${name}: expected two ends from ${least} to ${most}, got ${low} and ${high}`);
}

/**
 * Everything of `how` that chance wants, in the order of its keys but the noise, which comes last: turned, frozen, coarse, bent,
 * noisy. What is left out draws nothing from the generator.
 *
 * @param view [C, D, H, W] in [0, 1]; it may be written over
 * @returns    not clipped
 */
export function degrade(
  view: Float32Array,
  shape: Shape4,
  kind: Kind,
  { noise, lowResolution: coarse, invertedGamma: gamma, nod: degrees, frames }: Degradation,
  random: Random,
): Float32Array {
  let out = view;
  if (degrees && kind === "volume") {
    const radians = (random.uniform(-degrees, degrees) * Math.PI) / 180;
    out = nod(out, shape, random.uniform(0, Math.PI), radians);
  }
  if (frames !== undefined && kind === "video") {
    if (frames.reverse && random.chance(frames.reverse)) reverseFrames(out, shape);
    if (frames.freeze && random.chance(frames.freeze.chance)) {
      assertRange("frames.freeze.part", frames.freeze.part, 0, 1);
      freezeFrames(out, shape, random.uniform(...frames.freeze.part), random);
    }
  }
  if (coarse !== undefined && random.chance(coarse.chance)) {
    assertRange("lowResolution.zoom", coarse.zoom, 1e-3, 1);
    out = lowResolution(out, shape, kind, random.uniform(...coarse.zoom));
  }
  if (gamma !== undefined && random.chance(gamma.chance)) {
    assertRange("invertedGamma.exponent", gamma.exponent, 1e-3, 1e3);
    invertedGamma(out, Math.exp(random.uniform(Math.log(gamma.exponent[0]), Math.log(gamma.exponent[1]))));
  }
  if (noise !== undefined && random.chance(noise.chance)) {
    assertRange("noise.deviation", noise.deviation, 0, Infinity);
    const deviation = random.uniform(...noise.deviation);
    for (let i = 0; i < out.length; i++) out[i] += random.normal(0, deviation);
  }
  return out;
}

/**
 * Shrunk to `zoom` of every side (at least one voxel), and enlarged again, linearly: what a coarser scanner sees. Frames of a video
 * are not mixed. nnU-Net picks the nearest voxel on the way down and enlarges with cubics; we average, as larger voxels do.
 *
 * A constant picture stays constant; at zoom 1 nothing changes.
 */
export function lowResolution(view: Float32Array, shape: Shape4, kind: Kind, zoom: number): Float32Array {
  const [channels, ...size] = shape;
  const whole = { start: [0, 0, 0], extent: size } as const;
  const [d, h, w] = size.map((extent) => Math.max(1, Math.round(zoom * extent)));
  const small: Shape3 = [kind === "video" ? size[0] : d, h, w];
  if (small.every((extent, axis) => extent === size[axis])) return view;
  const shrunk = resample(view, shape, whole, small);
  return resample(shrunk, [channels, ...small], { start: [0, 0, 0], extent: small }, size);
}

/**
 * `1 − (1 − x)^γ`, in place: bends the bright end as `intensityJitter` bends the dark one. 0 and 1 stay; at γ = 2, ½ becomes ¾.
 *
 * @param view in [0, 1], up to rounding
 */
export function invertedGamma(view: Float32Array, exponent: number): void {
  for (let i = 0; i < view.length; i++) view[i] = 1 - Math.pow(Math.max(0, 1 - view[i]), exponent);
}

/**
 * A volume turned about an axis through its middle that lies in the plane of H and W, at `direction` from W towards H. Samples no
 * longer know their millimetres, so the box counts as a cube. Read linearly; what lies beyond repeats the edge.
 *
 *     p ↦ p cos φ + (a × p) sin φ + a (a · p)(1 − cos φ)        Rodrigues; a the axis, p from the middle of a unit cube
 *
 * At φ = 0 nothing changes; half a turn about W mirrors depth and height.
 *
 * @param view [C, D, H, W]
 */
export function nod(view: Float32Array, shape: Shape4, direction: number, radians: number): Float32Array {
  const [channels, depth, height, width] = shape;
  const [cos, sin] = [Math.cos(radians), Math.sin(radians)];
  const [ax, ay] = [Math.cos(direction), Math.sin(direction)];
  const turned = new Float32Array(view.length);
  const volume = depth * height * width;
  let to = 0;
  for (let d = 0; d < depth; d++) {
    const z = (d + 0.5) / depth - 0.5;
    for (let h = 0; h < height; h++) {
      const y = (h + 0.5) / height - 0.5;
      for (let w = 0; w < width; w++, to++) {
        const x = (w + 0.5) / width - 0.5;
        const along = (ax * x + ay * y) * (1 - cos);
        const fx = Math.min(width - 1, Math.max(0, (x * cos + ay * z * sin + ax * along + 0.5) * width - 0.5));
        const fy = Math.min(height - 1, Math.max(0, (y * cos - ax * z * sin + ay * along + 0.5) * height - 0.5));
        const fz = Math.min(depth - 1, Math.max(0, (z * cos + (ax * y - ay * x) * sin + 0.5) * depth - 0.5));
        const [left, top, front] = [Math.floor(fx), Math.floor(fy), Math.floor(fz)];
        const [tx, ty, tz] = [fx - left, fy - top, fz - front];
        const right = left + 1 < width ? 1 : 0;
        const down = top + 1 < height ? width : 0;
        const back = front + 1 < depth ? height * width : 0;
        let from = (front * height + top) * width + left;
        for (let c = 0, at = to; c < channels; c++, at += volume, from += volume) {
          const near =
            (view[from] * (1 - tx) + view[from + right] * tx) * (1 - ty) +
            (view[from + down] * (1 - tx) + view[from + down + right] * tx) * ty;
          const far =
            (view[from + back] * (1 - tx) + view[from + back + right] * tx) * (1 - ty) +
            (view[from + back + down] * (1 - tx) + view[from + back + down + right] * tx) * ty;
          turned[at] = near * (1 - tz) + far * tz;
        }
      }
    }
  }
  return turned;
}

/** The last frame first, in place. */
export function reverseFrames(view: Float32Array, [channels, depth, height, width]: Shape4): void {
  const plane = height * width;
  for (let c = 0; c < channels; c++) {
    for (let d = 0; d < depth >> 1; d++) {
      const [a, b] = [(c * depth + d) * plane, (c * depth + depth - 1 - d) * plane];
      const kept = view.slice(a, a + plane);
      view.copyWithin(a, b, b + plane);
      view.set(kept, b);
    }
  }
}

/**
 * Freezes ⌊part · D + ½⌋ frames, never the first, in place: the last frame before that is not frozen is shown again, as players do
 * where frames are lost. Which ones is uniform.
 */
export function freezeFrames(
  view: Float32Array,
  [channels, depth, height, width]: Shape4,
  part: number,
  random: Random,
): void {
  const plane = height * width;
  const count = Math.min(depth - 1, Math.round(part * depth));
  const frozen = random
    .permutation(depth - 1)
    .slice(0, count)
    .sort(); // frame 0 is none of them
  for (let c = 0; c < channels; c++) {
    for (const i of frozen) {
      const at = (c * depth + i + 1) * plane;
      view.copyWithin(at, at - plane, at); // the frame before is there already, or is frozen itself
    }
  }
}
