/** A picture cut into the patches that become tokens, and back. One layout for images, videos and volumes. */
import { InputError, sizeOf } from "../types.js";
import type { Shape3, Shape4 } from "../types.js";

/**
 * Tokens along each axis: `gridOf([3, 16, 64, 64], [4, 8, 8])` is [4, 8, 8], which is 256 tokens.
 * Throws an `InputError` when the patch does not divide the picture.
 */
export function gridOf(shape: Shape4, patch: Shape3): Shape3 {
  const [, depth, height, width] = shape;
  if (depth % patch[0] !== 0 || height % patch[1] !== 0 || width % patch[2] !== 0) {
    throw new InputError(
      `a picture of [D, H, W] = [${depth}, ${height}, ${width}] cannot be cut into patches of [${patch.join(", ")}]: ` +
        "each side must be a multiple",
    );
  }
  return [depth / patch[0], height / patch[1], width / patch[2]];
}

/**
 * Repeats the last slice until the depth is a multiple of `pd`, so that an image (D = 1) is one patch deep. A depth of
 * 5 with pd = 4 becomes 8: slices 0 1 2 3 4 4 4 4. Returns the input itself where nothing is missing.
 *
 * @param pixels [C, D, H, W] of `shape`
 * @returns      [C, D′, H, W] and that shape
 */
export function padDepth(pixels: Float32Array, shape: Shape4, pd: number): { pixels: Float32Array; shape: Shape4 } {
  const [channels, depth, height, width] = shape;
  const deep = Math.ceil(depth / pd) * pd;
  if (deep === depth) return { pixels, shape };
  const plane = height * width;
  const padded = new Float32Array(channels * deep * plane);
  for (let c = 0; c < channels; c++) {
    padded.set(pixels.subarray(c * depth * plane, (c + 1) * depth * plane), c * deep * plane);
    const last = pixels.subarray(((c + 1) * depth - 1) * plane, (c + 1) * depth * plane);
    for (let z = depth; z < deep; z++) padded.set(last, (c * deep + z) * plane);
  }
  return { pixels: padded, shape: [channels, deep, height, width] };
}

/**
 * Visits every run of neighbouring pixels that stays inside one patch: `pixel` is where the run starts in the picture,
 * `value` where its first pixel goes in the patches. Pixels of a run are 1 apart in the picture and C apart in the patch.
 */
function eachRun(shape: Shape4, patch: Shape3, visit: (pixel: number, value: number) => void): void {
  const [channels, depth, height, width] = shape;
  const [pd, ph, pw] = patch;
  const [, gridH, gridW] = gridOf(shape, patch);
  const p = pd * ph * pw * channels;
  for (let c = 0; c < channels; c++) {
    for (let z = 0; z < depth; z++) {
      for (let y = 0; y < height; y++) {
        const row = ((c * depth + z) * height + y) * width;
        const firstToken = (Math.floor(z / pd) * gridH + Math.floor(y / ph)) * gridW;
        const within = ((z % pd) * ph + (y % ph)) * pw * channels + c;
        for (let g = 0; g < gridW; g++) visit(row + g * pw, (firstToken + g) * p + within);
      }
    }
  }
}

/**
 * Cuts a picture into n patches of p numbers. Tokens are in raster order of the grid (D slowest, W fastest); within a
 * patch the order is (pd, ph, pw, c), channel last. A grey row [1, 2, 3, 4] in patches [1, 1, 2] is [[1, 2], [3, 4]].
 *
 * @param pixels [C, D, H, W] of `shape`
 * @param patch  [pd, ph, pw], which divides [D, H, W]; otherwise an `InputError`
 * @returns      [n, p] with n = (D/pd)(H/ph)(W/pw) and p = pd · ph · pw · C
 */
export function patchify(pixels: Float32Array, shape: Shape4, patch: Shape3): Float32Array {
  const patches = new Float32Array(sizeOf(shape));
  const [channels, pw] = [shape[0], patch[2]];
  eachRun(shape, patch, (pixel, value) => {
    for (let x = 0; x < pw; x++) patches[value + x * channels] = pixels[pixel + x];
  });
  return patches;
}

/**
 * The inverse of `patchify`.
 *
 * @param patches [n, p], as `patchify` orders them
 * @param shape   [C, D, H, W] of the result
 */
export function unpatchify(patches: Float32Array, shape: Shape4, patch: Shape3): Float32Array {
  const pixels = new Float32Array(sizeOf(shape));
  const [channels, pw] = [shape[0], patch[2]];
  eachRun(shape, patch, (pixel, value) => {
    for (let x = 0; x < pw; x++) pixels[pixel + x] = patches[value + x * channels];
  });
  return pixels;
}
