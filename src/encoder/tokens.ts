/** Views to tokens: the last step before a backend. Worker threads run this file, so it loads nothing heavy. */
import { STANDARD } from "../transforms/views.js";
import { gridOf } from "../transforms/patchify.js";
import { sizeOf, type Shape3 } from "../types.js";
import type { EncoderConfig } from "./config.js";

// As constants the compiler sees their values, and dividing by a quarter is multiplying by 4: three quarters of the time.
const { mean: MEAN, deviation: DEVIATION } = STANDARD;

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
    const slices = Math.min(pd, depth - gz * pd);
    const part: Part = { slices, rows: ph, columns: pw, plane, width };
    for (let gy = 0; gy < gridH; gy++) {
      for (let gx = 0; gx < gridW; gx++, token++) {
        const from = (gz * pd * height + gy * ph) * width + gx * pw;
        const to = starts[token];
        if (grey && channels === 3) writeGrey(view, from, part, out, to);
        else {
          for (let c = 0; c < channels; c++) {
            writeChannel(view, from + (grey ? 0 : c * depth * plane), part, out, to + c, channels);
          }
        }
        repeatLast(out, to + (slices - 1) * slice, slice, pd - slices);
      }
    }
  }
}

/** What of a view goes into one patch, and how far its slices and rows are apart in the view. */
interface Part {
  readonly slices: number;
  readonly rows: number;
  readonly columns: number;
  readonly plane: number;
  readonly width: number;
}

function writeChannel(view: Float32Array, first: number, part: Part, out: Float32Array, to: number, step: number) {
  const { slices, rows, columns, plane, width } = part;
  for (let z = 0; z < slices; z++) {
    for (let y = 0, from = first + z * plane; y < rows; y++, from += width) {
      for (let x = 0; x < columns; x++, to += step) {
        out[to] = (view[from + x] - MEAN) / DEVIATION;
      }
    }
  }
}

/** One channel as three: a third of the reading. */
function writeGrey(view: Float32Array, first: number, part: Part, out: Float32Array, to: number) {
  const { slices, rows, columns, plane, width } = part;
  for (let z = 0; z < slices; z++) {
    for (let y = 0, from = first + z * plane; y < rows; y++, from += width) {
      for (let x = 0; x < columns; x++, to += 3) {
        out[to] = out[to + 1] = out[to + 2] = (view[from + x] - MEAN) / DEVIATION;
      }
    }
  }
}

/** `times` more of the `length` numbers from `start` on, after them. */
function repeatLast(out: Float32Array, start: number, length: number, times: number): void {
  const end = start + (times + 1) * length;
  // What is copied doubles every time.
  for (let at = start + length; at < end; at += at - start) {
    out.copyWithin(at, start, Math.min(at, start + end - at));
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
