/** A box of the picture that stands at an angle, as a patient never lies twice the same way. */
import { sizeOf, type Shape3, type Shape4 } from "../types.js";
import { applyWeights, boxWeights, resample, type AxisWeights, type Box, type ResampleOptions } from "./resize.js";
import { Scratch } from "./scratch.js";

/** What lies in the upright hull. */
const hulls = new Scratch(Float32Array);

/**
 * `resample` of a box that is turned about its middle, in the plane of H and W; depth is not turned. The box's upright
 * hull is resampled at the pitch of the result (antialiased as ever), and read between its voxels, linearly.
 *
 *     x = x₀ + u cos α − v sin α      y = y₀ + u sin α + v cos α      u, v from the middle of the box, in voxels
 *
 * The result shows the picture turned by −α: with y down, a right end that goes down at α comes out level. What lies
 * beyond the picture repeats its edge. At α = 0 it is `resample`.
 *
 * @param radians α, of a size below π/2
 * @param out     where the result goes, exactly as long: a new array, unless another is named; not `pixels`
 * @returns       [C, D′, H′, W′]
 */
export function resampleTurned(
  pixels: Float32Array,
  shape: Shape4,
  box: Box,
  size: Shape3,
  radians: number,
  options: ResampleOptions = {},
  out: Float32Array = new Float32Array(shape[0] * sizeOf(size)),
): Float32Array {
  if (radians === 0) return resample(pixels, shape, box, size, options, out);
  const [d, h, w] = size;
  const [, ey, ex] = box.extent;
  const [cos, sin] = [Math.cos(radians), Math.sin(radians)];
  const [pitchY, pitchX] = [ey / h, ex / w];
  const hullW = Math.ceil((cos * ex + Math.abs(sin) * ey) / pitchX) + 1;
  const hullH = Math.ceil((cos * ey + Math.abs(sin) * ex) / pitchY) + 1;
  const hull: Box = {
    start: [box.start[0], box.start[1] + (ey - hullH * pitchY) / 2, box.start[2] + (ex - hullW * pitchX) / 2],
    extent: [box.extent[0], hullH * pitchY, hullW * pitchX],
  };
  const { mirror = false, ...upright } = options;
  const [alongD, alongH, alongW] = boxWeights(shape, hull, [d, hullH, hullW], upright);
  const once = eachOnce(alongD);
  const slices = once.first.length;
  const room = hulls.atLeast(shape[0] * slices * hullH * hullW);
  const wide = applyWeights(pixels, shape, [once, alongH, alongW], room);
  // One step along a row of the result moves by these in the hull, which has its own pitch on each axis.
  const [stepX, stepY] = [mirror ? -cos : cos, ((mirror ? -sin : sin) * pitchX) / pitchY];
  for (let channel = 0; channel < shape[0]; channel++) {
    for (let y = 0; y < h; y++) {
      const v = y + 0.5 - h / 2;
      const u = mirror ? w / 2 - 0.5 : 0.5 - w / 2;
      let fx = u * cos - (v * sin * pitchY) / pitchX + hullW / 2 - 0.5;
      let fy = (u * sin * pitchX) / pitchY + v * cos + hullH / 2 - 0.5;
      for (let x = 0; x < w; x++, fx += stepX, fy += stepY) {
        const left = Math.min(Math.max(0, fx | 0), hullW - 2);
        const top = Math.min(Math.max(0, fy | 0), hullH - 2);
        const tx = fx - left; // no arrays taken apart in here: one for each voxel is a quarter of a batch's time in garbage
        const ty = fy - top;
        const a = (1 - ty) * (1 - tx);
        const b = (1 - ty) * tx;
        const c = ty * (1 - tx);
        const e = ty * tx;
        let from = (channel * slices * hullH + top) * hullW + left;
        let to = (channel * d * h + y) * w + x;
        for (let z = 0; z < slices; z++, to += h * w, from += hullH * hullW) {
          out[to] = a * wide[from] + b * wide[from + 1] + c * wide[from + hullW] + e * wide[from + hullW + 1];
        }
      }
    }
    if (slices < d) repeatSlices(out, channel * d, h * w, alongD.first, slices);
  }
  return out;
}

/** Without the outputs that only copy what the one before copies, as frames that are picked twice do. */
function eachOnce({ first, weights, taps }: AxisWeights): AxisWeights {
  if (taps > 1) return { first, weights, taps };
  const once = first.filter((at, i) => i === 0 || at !== first[i - 1]);
  return { first: once, weights: weights.subarray(0, once.length), taps };
}

/** Copies the `count` slices of `eachOnce`, of `plane` voxels each and from slice `start` on, to where they belong. */
function repeatSlices(out: Float32Array, start: number, plane: number, first: Int32Array, count: number): void {
  let from = start + count - 1;
  for (let i = first.length - 1; i > 0; i--) {
    out.copyWithin((start + i) * plane, from * plane, (from + 1) * plane);
    if (first[i] !== first[i - 1]) from--;
  }
}
