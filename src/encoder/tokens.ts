/** Views to tokens: the last step before a backend. */
import { sizeOf, type Shape3 } from "../types.js";
import { patchSize, type EncoderConfig } from "./config.js";
import { gridOf, padDepth, patchify } from "../transforms/patchify.js";
import { standardise } from "../transforms/views.js";

/** Patches along each axis of a view of `size`, after its depth is padded to whole patches. */
export function tokenGrid(size: Shape3, { channels, patch }: EncoderConfig): Shape3 {
  const depth = Math.ceil(size[0] / patch[0]) * patch[0];
  return gridOf([channels, depth, size[1], size[2]], patch);
}

/**
 * Standardised patches of one view.
 *
 * @param pixels [C, D, H, W] in [0, 1]
 * @returns      [n, p], n the product of `tokenGrid`
 */
export function viewTokens(pixels: Float32Array, size: Shape3, config: EncoderConfig): Float32Array {
  const padded = padDepth(standardise(pixels), [config.channels, ...size], config.patch[0]);
  return patchify(padded.pixels, padded.shape, config.patch);
}

/** Views of one size stacked into `[views, n, p]`. */
export function stackTokens(views: readonly Float32Array[], size: Shape3, config: EncoderConfig) {
  const [n, p] = [sizeOf(tokenGrid(size, config)), patchSize(config)];
  const data = new Float32Array(views.length * n * p);
  views.forEach((view, i) => data.set(viewTokens(view, size, config), i * n * p));
  return { shape: [views.length, n, p], data };
}
