/** From units to what a file wants to be shown: DICOM's VOI tables and windows (PS3.3, C.11.2.1). */
import type { Voi } from "../types.js";

/**
 * Values as the file's own table or window shows them, in [0, 1]. A value that is not a number stays none.
 *
 *     table         entry at ⌊x⌋ − first, ends repeated, / (2^bits − 1)
 *     linear        ((x − (c − ½)) / (w − 1) + ½), clipped          c centre, w width
 *     linear exact  ((x − c) / w + ½), clipped
 *     sigmoid       1 / (1 + exp(−4 (x − c) / w))
 *
 * pydicom's `apply_voi_lut` gives the same in its own units. In the window c = 40, w = 400, 39.5 is 0.5 and −160 is 0.
 */
export function showAs(pixels: Float32Array, voi: Voi): Float32Array {
  const shown = new Float32Array(pixels.length);
  if ("table" in voi) {
    const { first, bits, table } = voi;
    const [last, white] = [table.length - 1, 2 ** bits - 1];
    for (let i = 0; i < pixels.length; i++) {
      const index = Math.floor(pixels[i]) - first;
      shown[i] = Number.isNaN(index) ? NaN : table[index < 0 ? 0 : index > last ? last : index] / white;
    }
    return shown;
  }
  const { centre, width, curve } = voi;
  if (curve === "sigmoid") {
    for (let i = 0; i < pixels.length; i++) shown[i] = 1 / (1 + Math.exp((-4 * (pixels[i] - centre)) / width));
    return shown;
  }
  const [middle, extent] = curve === "linear" ? [centre - 0.5, width - 1] : [centre, width];
  for (let i = 0; i < pixels.length; i++) {
    const x = pixels[i] - middle;
    // A window of width 1 is a threshold: at its middle it is still black.
    const y = extent > 0 ? x / extent + 0.5 : x > 0 ? 1 : x <= 0 ? 0 : NaN;
    shown[i] = y < 0 ? 0 : y > 1 ? 1 : y;
  }
  return shown;
}
