/** Volumes of a tilted gantry, made straight. */
import type { Decoded, Shape4 } from "../types.js";

/**
 * Every slice shifted back within its own plane, linearly between pixels, so that the stack is straight along its normal. What
 * comes from beyond a slice is no number: it was never scanned.
 *
 *     straight(y, x) = slice(y − s_h / δ_h, x − s_w / δ_w)        s: `slidMm` of the slice, δ: spacing, in mm
 *
 * A slice that slid by one whole pixel along W comes out with its columns one further, unchanged, and its first column empty.
 * The pixels themselves where nothing slid, or where the spacing is not known.
 *
 * @param pixels [C, D, H, W] of `shape`, as its slices are stored
 */
export function straightened(
  pixels: Float32Array,
  shape: Shape4,
  { slidMm, spacingMm }: Pick<Decoded, "slidMm" | "spacingMm">,
): Float32Array {
  if (!slidMm || spacingMm === null) return pixels;
  const [channels, depth, height, width] = shape;
  const [, mmH, mmW] = spacingMm;
  const straight = Float32Array.from(pixels);
  const line = new Float32Array(Math.max(height, width));
  for (let d = 0; d < depth; d++) {
    const [down, right] = [slidMm[d][0] / mmH, slidMm[d][1] / mmW];
    for (let c = 0; c < channels; c++) {
      const from = (c * depth + d) * height * width;
      if (down !== 0) shiftRows(straight.subarray(from, from + height * width), height, width, down);
      if (right === 0) continue;
      for (let y = 0; y < height; y++) {
        const row = straight.subarray(from + y * width, from + (y + 1) * width);
        line.set(row);
        shiftRows(row, width, 1, right, line);
      }
    }
  }
  return straight;
}

/**
 * Moves rows of `run` numbers down by a number of rows that need not be whole, in place: row i becomes
 * (1 − t) · row ⌊i − shift⌋ + t · row ⌊i − shift⌋ + 1.
 */
function shiftRows(
  rows: Float32Array,
  count: number,
  run: number,
  shift: number,
  before: Float32Array = Float32Array.from(rows),
): void {
  const nearest = Math.round(shift);
  const by = Math.abs(shift - nearest) < 1e-4 ? nearest : shift; // positions are written with few digits
  for (let i = 0; i < count; i++) {
    const above = Math.floor(i - by);
    const t = i - by - above;
    const to = i * run;
    if (above < 0 || above + (t > 0 ? 1 : 0) >= count) {
      rows.fill(NaN, to, to + run);
      continue;
    }
    const from = above * run;
    // What has no weight is not read: it may be no number.
    if (t === 0) for (let x = 0; x < run; x++) rows[to + x] = before[from + x];
    else for (let x = 0; x < run; x++) rows[to + x] = (1 - t) * before[from + x] + t * before[from + run + x];
  }
}
