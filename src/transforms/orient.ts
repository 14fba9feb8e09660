/** Turning a volume so that its axes run the same way in every patient. */
import { isOrientation } from "../datasets/catalog.js";
import { InputError } from "../types.js";
import type { Shape4 } from "../types.js";

const WORLD_AXES = ["RL", "AP", "SI"] as const;

const worldAxis = (letter: string): number => WORLD_AXES.findIndex((ends) => ends.includes(letter));

/**
 * Reorders and mirrors whole axes; no value is interpolated. Letters name the direction in which the index grows, W
 * first, then H, then D. From RAS (NIfTI's usual order) to LPS (how radiologists look at axial slices) W and H are
 * mirrored: the corner [0, 0, 0] goes to [0, H − 1, W − 1].
 *
 * @param pixels [C, D, H, W] of `shape`
 * @returns      the turned pixels, their shape, and where each new axis comes from: `axes[0]` is the old axis
 *               (0 D, 1 H, 2 W) that is now D, and so on, to reorder the spacing alike
 */
export function reorient(
  pixels: Float32Array,
  shape: Shape4,
  from: string,
  to: string,
): { pixels: Float32Array; shape: Shape4; axes: readonly [number, number, number] } {
  if (!isOrientation(from) || !isOrientation(to)) {
    throw new InputError(`cannot turn a volume from ${from} to ${to}: expected three letters such as LPS`);
  }
  const extents = [shape[1], shape[2], shape[3]];
  const strides = [shape[2] * shape[3], shape[3], 1];
  // Letters are W, H, D; axes here are D, H, W.
  const source = [2, 1, 0].map((position) => {
    const found = [...from].findIndex((letter) => worldAxis(letter) === worldAxis(to[position]));
    return { axis: 2 - found, mirrored: from[found] !== to[position] };
  });
  const axes: [number, number, number] = [source[0].axis, source[1].axis, source[2].axis];
  const [d, h, w] = axes.map((axis) => extents[axis]);
  const turnedShape: Shape4 = [shape[0], d, h, w];
  const [stepD, stepH, stepW] = source.map(({ axis, mirrored }) => (mirrored ? -strides[axis] : strides[axis]));
  const corner = source.reduce(
    (at, { axis, mirrored }) => at + (mirrored ? (extents[axis] - 1) * strides[axis] : 0),
    0,
  );

  const turned = new Float32Array(pixels.length);
  let target = 0;
  for (let c = 0; c < shape[0]; c++) {
    const start = c * extents[0] * extents[1] * extents[2] + corner;
    for (let z = 0; z < d; z++) {
      for (let y = 0; y < h; y++) {
        let at = start + z * stepD + y * stepH;
        for (let x = 0; x < w; x++, at += stepW) turned[target++] = pixels[at];
      }
    }
  }
  return { pixels: turned, shape: turnedShape, axes };
}
