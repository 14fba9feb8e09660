/** Cutting away what is empty around a body, and bringing a volume to a spacing in millimetres. */
import type { Shape3, Shape4 } from "../types.js";
import { resample, type Box } from "./resize.js";

/** What is kept: voxels from `start` on, as many as `extent` says. */
export type Cut = Box;

/**
 * The smallest box that holds every voxel brighter than `above` in any channel, and `margin` voxels more on each side, within
 * the picture: MONAI's `CropForeground`. Of a video, and wherever `alongDepth` is false, depth stays whole. Where nothing is
 * brighter, everything is kept. The row [0, 0, 0.5, 0, 0] above 0.1 with margin 1 gives start 1 and extent 3.
 *
 * @param pixels [C, D, H, W] in [0, 1]
 */
export function foregroundBox(
  pixels: Float32Array,
  [channels, depth, height, width]: Shape4,
  { above, margin, alongDepth }: { readonly above: number; readonly margin: number; readonly alongDepth: boolean },
): Cut {
  const low = [depth, height, width];
  const high = [-1, -1, -1];
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let z = 0; z < depth; z++) {
      for (let y = 0; y < height; y++) {
        let [first, last] = [-1, -1];
        for (let x = 0; x < width; x++, at++) {
          if (!(pixels[at] > above)) continue;
          if (first < 0) first = x;
          last = x;
        }
        if (first < 0) continue;
        [z, y, first].forEach((place, axis) => (low[axis] = Math.min(low[axis], place)));
        [z, y, last].forEach((place, axis) => (high[axis] = Math.max(high[axis], place)));
      }
    }
  }
  if (high[2] < 0) return { start: [0, 0, 0], extent: [depth, height, width] };
  const sides = [depth, height, width].map((side, axis): [number, number] => {
    if (axis === 0 && !alongDepth) return [0, side];
    const from = Math.max(0, low[axis] - margin);
    return [from, Math.min(side, high[axis] + 1 + margin) - from];
  });
  return {
    start: sides.map(([from]) => from) as unknown as Shape3,
    extent: sides.map(([, length]) => length) as unknown as Shape3,
  };
}

/** The voxels of a box with whole edges, copied; the picture itself where the box is all of it. */
export function cutOut(
  pixels: Float32Array,
  shape: Shape4,
  { start: [z0, y0, x0], extent: [d, h, w] }: Cut,
): { pixels: Float32Array; shape: Shape4 } {
  const [channels, depth, height, width] = shape;
  if (d === depth && h === height && w === width) return { pixels, shape };
  const out = new Float32Array(channels * d * h * w);
  for (let c = 0, to = 0; c < channels; c++) {
    for (let z = 0; z < d; z++) {
      for (let y = 0; y < h; y++, to += w) {
        const from = ((c * depth + z0 + z) * height + y0 + y) * width + x0;
        out.set(pixels.subarray(from, from + w), to);
      }
    }
  }
  return { pixels: out, shape: [channels, d, h, w] };
}

/**
 * A volume at another spacing, in a grid of `size` about its centre: voxel i of n lies
 *
 *     (i + ½ − n / 2) · spacing        from the centre, along each axis, in millimetres
 *
 * so that one millimetre is as long in every sample. What the volume does not reach is 0 (black), what does not fit is left
 * out: MONAI's `Spacing`, then `ResizeWithPadOrCrop`. Linear, and anti-aliased where it gets coarser. 4 slices 5 mm apart,
 * at 2.5 mm in 8: all of them twice as dense; in 16: the same between 4 black slices on each side.
 *
 * @param pixels   [C, D, H, W] of `shape`
 * @param from, to mm between voxel centres along D, H and W, before and after
 * @returns        [C, …size]
 */
export function atSpacing(pixels: Float32Array, shape: Shape4, from: Shape3, to: Shape3, size: Shape3): Float32Array {
  const axes = size.map((voxels, axis) => {
    const length = shape[axis + 1];
    const half = (length * from[axis]) / to[axis] / 2; // of the volume, in voxels of the grid
    // Voxels of the grid whose centres lie in the volume: as many on each side, and one in the middle of an odd grid.
    const reached = voxels % 2 === 0 ? 2 * Math.max(1, Math.floor(half + 0.5)) : 2 * Math.floor(half) + 1;
    const inner = Math.min(voxels, reached);
    const extent = (inner * to[axis]) / from[axis];
    return { inner, before: (voxels - inner) / 2, start: (length - extent) / 2, extent };
  });
  const of = (key: "inner" | "before" | "start" | "extent") => axes.map((axis) => axis[key]) as unknown as Shape3;
  const [d, h, w] = of("inner");
  const inner = resample(pixels, shape, { start: of("start"), extent: of("extent") }, [d, h, w]);
  const [z0, y0, x0] = of("before");
  const [D, H, W] = size;
  if (d === D && h === H && w === W) return inner;
  const out = new Float32Array(shape[0] * D * H * W);
  for (let c = 0, at = 0; c < shape[0]; c++) {
    for (let z = 0; z < d; z++) {
      for (let y = 0; y < h; y++, at += w) {
        out.set(inner.subarray(at, at + w), ((c * D + z0 + z) * H + y0 + y) * W + x0);
      }
    }
  }
  return out;
}
