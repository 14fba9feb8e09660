/** A box of the picture that stands at an angle, as a patient never lies twice the same way. */
import type { Shape3, Shape4 } from "../types.js";
import { resample, type Box, type ResampleOptions } from "./resize.js";

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
 * @returns       [C, D′, H′, W′]
 */
export function resampleTurned(
  pixels: Float32Array,
  shape: Shape4,
  box: Box,
  size: Shape3,
  radians: number,
  options: ResampleOptions = {},
): Float32Array {
  if (radians === 0) return resample(pixels, shape, box, size, options);
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
  const wide = resample(pixels, shape, hull, [d, hullH, hullW], upright);
  const out = new Float32Array(shape[0] * d * h * w);
  // One step along a row of the result moves by these in the hull, which has its own pitch on each axis.
  const [stepX, stepY] = [mirror ? -cos : cos, ((mirror ? -sin : sin) * pitchX) / pitchY];
  for (let y = 0; y < h; y++) {
    const v = y + 0.5 - h / 2;
    const u = mirror ? w / 2 - 0.5 : 0.5 - w / 2;
    let fx = u * cos - (v * sin * pitchY) / pitchX + hullW / 2 - 0.5;
    let fy = (u * sin * pitchX) / pitchY + v * cos + hullH / 2 - 0.5;
    for (let x = 0; x < w; x++, fx += stepX, fy += stepY) {
      const left = Math.min(Math.max(0, Math.floor(fx)), hullW - 2);
      const top = Math.min(Math.max(0, Math.floor(fy)), hullH - 2);
      const [tx, ty] = [fx - left, fy - top];
      const [a, b, c, e] = [(1 - ty) * (1 - tx), (1 - ty) * tx, ty * (1 - tx), ty * tx];
      let from = top * hullW + left;
      for (let to = y * w + x; to < out.length; to += h * w, from += hullH * hullW) {
        out[to] = a * wide[from] + b * wide[from + 1] + c * wide[from + hullW] + e * wide[from + hullW + 1];
      }
    }
  }
  return out;
}
