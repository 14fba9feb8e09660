/** Views to tokens: the last step before a backend. Worker threads run this file, so it loads nothing heavy. */
import { STANDARD } from "../transforms/views.js";
import { gridOf } from "../transforms/patchify.js";
import { sizeOf, type Shape3 } from "../types.js";
import type { EncoderConfig } from "./config.js";

/** What cutting into patches needs to know of an encoder. */
export type Patching = Pick<EncoderConfig, "channels" | "patch">;

/** Patches along each axis of a view of `size`, after its depth is padded to whole patches. */
export function tokenGrid(size: Shape3, { channels, patch }: Patching): Shape3 {
  const depth = Math.ceil(size[0] / patch[0]) * patch[0];
  return gridOf([channels, depth, size[1], size[2]], patch);
}

/** Numbers in one token, `pd · ph · pw · channels`: 768 for 4 × 8 × 8 in three channels. */
export function tokenSize({ channels, patch }: Patching): number {
  return channels * sizeOf(patch);
}

/**
 * Standardised patches of one view, in the order of `patchify`, each where it is wanted: token t of the view goes to
 * `out[starts[t]]` and after. The last slice is repeated until the depth is whole patches. A view of one channel is
 * taken for all channels.
 *
 * @param view [C, D, H, W] or [1, D, H, W], in [0, 1]
 * @param size [D, H, W]
 */
export function writeTokens(
  view: Float32Array,
  size: Shape3,
  config: Patching,
  out: Float32Array,
  starts: ArrayLike<number>,
): void {
  const { channels, patch } = config;
  const [depth, height, width] = size;
  const [pd, ph, pw] = patch;
  const [gridD, gridH, gridW] = tokenGrid(size, config);
  const plane = height * width;
  const grey = view.length === depth * plane;
  if (!grey && view.length !== channels * depth * plane) {
    throw new Error(`a view of [${size}] in 1 or ${channels} channels has ${view.length} pixels`);
  }
  const slice = ph * pw * channels; // numbers of a patch that are of one slice
  let token = 0;
  for (let gz = 0; gz < gridD; gz++) {
    const whole = Math.min(pd, depth - gz * pd);
    for (let gy = 0; gy < gridH; gy++) {
      for (let gx = 0; gx < gridW; gx++, token++) {
        const start = starts[token];
        let to = start;
        for (let z = 0; z < whole; z++) {
          let from = ((gz * pd + z) * height + gy * ph) * width + gx * pw;
          for (let y = 0; y < ph; y++, from += width, to += pw * channels) {
            if (grey) writeGrey(view, from, pw, channels, out, to);
            else writeColour(view, from, pw, channels, depth * plane, out, to);
          }
        }
        for (; to < start + pd * slice; to += slice) out.copyWithin(to, to - slice, to);
      }
    }
  }
}

function writeGrey(view: Float32Array, from: number, run: number, channels: number, out: Float32Array, to: number) {
  if (channels === 3) {
    for (let x = 0; x < run; x++, to += 3) {
      out[to] = out[to + 1] = out[to + 2] = (view[from + x] - STANDARD.mean) / STANDARD.deviation;
    }
    return;
  }
  for (let x = 0; x < run; x++) {
    for (let c = 0; c < channels; c++) out[to++] = (view[from + x] - STANDARD.mean) / STANDARD.deviation;
  }
}

function writeColour(
  view: Float32Array,
  from: number,
  run: number,
  channels: number,
  stride: number,
  out: Float32Array,
  to: number,
) {
  for (let x = 0; x < run; x++) {
    for (let c = 0; c < channels; c++) out[to++] = (view[from + x + c * stride] - STANDARD.mean) / STANDARD.deviation;
  }
}

/**
 * Standardised patches of one view.
 *
 * @param pixels [C, D, H, W] in [0, 1], or [1, D, H, W] of a grey picture
 * @returns      [n, p], n the product of `tokenGrid`
 */
export function viewTokens(pixels: Float32Array, size: Shape3, config: Patching): Float32Array {
  return stackTokens([pixels], size, config).data;
}

/** Views of one size stacked into `[views, n, p]`. */
export function stackTokens(views: readonly Float32Array[], size: Shape3, config: Patching) {
  const [n, p] = [sizeOf(tokenGrid(size, config)), tokenSize(config)];
  const data = new Float32Array(views.length * n * p);
  views.forEach((view, i) => writeTokens(view, size, config, data, tokenStarts(i * n, n, p)));
  return { shape: [views.length, n, p], data };
}

/** Where n tokens of p numbers stand, one after the other, the first of them in row `row`. */
export function tokenStarts(row: number, n: number, p: number): Int32Array {
  const starts = new Int32Array(n);
  for (let t = 0; t < n; t++) starts[t] = (row + t) * p;
  return starts;
}
