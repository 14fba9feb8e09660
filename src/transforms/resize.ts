/**
 * Linear resampling of a box of the picture onto a grid of another size, one axis after the other. Every resize and
 * every random crop of the project is `resample`.
 */
import type { Shape3, Shape4 } from "../types.js";

/** A part of the picture in voxel units, edges at whole numbers: the whole axis of length n is start 0, extent n. */
export interface Box {
  readonly start: Shape3;
  readonly extent: Shape3;
}

/** How a picture reaches an aspect ratio that is not its own. */
export type Fit = "stretch" | "pad" | "crop";

/** For each output position: the first input position that counts, and `taps` weights from there on, which sum to 1. */
export interface AxisWeights {
  readonly first: Int32Array;
  readonly weights: Float64Array;
  readonly taps: number;
}

/**
 * Weights of linear interpolation with half-pixel centres: output i samples the input at
 *
 *     x = start + (i + ½) · extent / size − ½          PyTorch's `align_corners=False`
 *
 * With `antialias` and a shrinking factor f = extent / size > 1, the triangle is f times as wide, so that every input
 * voxel counts (PyTorch's `antialias=True`). Positions outside the axis are left out and the rest is normalised, which
 * repeats the edge. From length 4 to 2 without antialias: outputs ½(x₀ + x₁) and ½(x₂ + x₃).
 */
export function linearWeights(
  length: number,
  start: number,
  extent: number,
  size: number,
  antialias: boolean,
): AxisWeights {
  const factor = extent / size;
  const radius = antialias ? Math.max(1, factor) : 1;
  const taps = Math.min(length, Math.ceil(2 * radius) + 1);
  const first = new Int32Array(size);
  const weights = new Float64Array(size * taps);
  for (let i = 0; i < size; i++) {
    const x = start + (i + 0.5) * factor - 0.5;
    first[i] = Math.min(Math.max(0, Math.ceil(x - radius)), length - taps);
    let total = 0;
    for (let k = 0; k < taps; k++) {
      const weight = Math.max(0, 1 - Math.abs(first[i] + k - x) / radius);
      weights[i * taps + k] = weight;
      total += weight;
    }
    if (total > 0) {
      for (let k = 0; k < taps; k++) weights[i * taps + k] /= total;
    } else {
      weights[i * taps + (x < 0 ? 0 : taps - 1)] = 1; // the whole triangle lies beyond the edge
    }
  }
  return trimmed({ first, weights, taps }, length);
}

/**
 * The position in the middle of each of `size` equal stretches of the box, whole: for the frames of a video, which would
 * smear what moves if they were blended. Of 10 frames, 5 are 1, 3, 5, 7 and 9; where the box has fewer, they repeat.
 */
export function pickWeights(length: number, start: number, extent: number, size: number): AxisWeights {
  const first = Int32Array.from({ length: size }, (_, i) => {
    const at = Math.floor(start + ((i + 0.5) * extent) / size);
    return Math.min(Math.max(0, at), length - 1);
  });
  return { first, weights: new Float64Array(size).fill(1), taps: 1 };
}

/** Drops the taps that no output uses: plain interpolation needs two, an axis that stays as it is needs one. */
function trimmed({ first, weights, taps }: AxisWeights, length: number): AxisWeights {
  const size = first.length;
  const low = new Int32Array(size);
  let needed = 1;
  for (let i = 0; i < size; i++) {
    let from = 0;
    while (weights[i * taps + from] === 0) from++;
    let to = taps - 1;
    while (weights[i * taps + to] === 0) to--;
    low[i] = first[i] + from;
    needed = Math.max(needed, to - from + 1);
  }
  const kept = new Float64Array(size * needed);
  for (let i = 0; i < size; i++) {
    low[i] = Math.min(low[i], length - needed);
    for (let k = 0; k < needed; k++) {
      const tap = low[i] + k - first[i];
      if (tap >= 0 && tap < taps) kept[i * needed + k] = weights[i * taps + tap];
    }
  }
  return { first: low, weights: kept, taps: needed };
}

/** True where the weights copy the axis: output i is input i. */
function copies({ first, taps }: AxisWeights, length: number): boolean {
  return taps === 1 && first.length === length && first.every((at, i) => at === i);
}

export interface ResampleOptions {
  /** Widen the triangle where the box shrinks (default); off is faster and rougher. */
  readonly antialias?: boolean;
  /** How depth is reached: slices are blended (default), frames are picked. */
  readonly alongDepth?: "blend" | "pick";
}

/**
 * The box `box` of the picture on a grid of `size` voxels; the weights look past the edge of the box into the picture
 * where there is more of it. A constant picture stays constant.
 *
 * @param pixels [C, D, H, W] of `shape`
 * @param size   [D′, H′, W′]
 * @returns      [C, D′, H′, W′]
 */
export function resample(
  pixels: Float32Array,
  shape: Shape4,
  box: Box,
  size: Shape3,
  { antialias = true, alongDepth = "blend" }: ResampleOptions = {},
): Float32Array {
  const [, depth, height, width] = shape;
  const axis = (length: number, a: 0 | 1 | 2) => linearWeights(length, box.start[a], box.extent[a], size[a], antialias);
  const frames = alongDepth === "pick" ? pickWeights(depth, box.start[0], box.extent[0], size[0]) : axis(depth, 0);
  return applyWeights(pixels, shape, [frames, axis(height, 1), axis(width, 2)]);
}

/**
 * Applies one set of weights to each axis, D then H then W, reading no voxel that no output needs.
 *
 * @param pixels [C, D, H, W] of `shape`
 * @returns      [C, D′, H′, W′], where D′, H′ and W′ are the sizes that the weights were made for
 */
export function applyWeights(
  pixels: Float32Array,
  shape: Shape4,
  [alongD, alongH, alongW]: readonly [AxisWeights, AxisWeights, AxisWeights],
): Float32Array {
  const [channels, depth, height, width] = shape;
  const [d, h, w] = [alongD.first.length, alongH.first.length, alongW.first.length];
  const [y0, y1] = span(alongH);

  // Rows between y0 and y1 are all that the later passes will ask for; x is not narrowed, to keep rows contiguous.
  let rows = pixels;
  let [top, rowsPerSlice] = [0, height];
  if (!copies(alongD, depth)) {
    [top, rowsPerSlice] = [y0, y1 - y0];
    rows = new Float32Array(channels * d * rowsPerSlice * width);
    for (let c = 0; c < channels; c++) {
      const source = c * depth * height * width + y0 * width;
      const target = c * d * rowsPerSlice * width;
      mixRows(pixels, source, height * width, alongD, rows, target, rowsPerSlice * width);
    }
  } // [C, D′, y1 − y0, W], or the input as it is

  let planes = rows;
  if (!copies(alongH, height) || top > 0 || rowsPerSlice < height) {
    planes = new Float32Array(channels * d * h * width);
    for (let slice = 0; slice < channels * d; slice++) {
      const source = (slice * rowsPerSlice - top) * width;
      mixRows(rows, source, width, alongH, planes, slice * h * width, width);
    }
  } // [C, D′, H′, W]

  if (copies(alongW, width)) return planes === pixels ? pixels.slice() : planes;
  const out = new Float32Array(channels * d * h * w);
  const { first, weights, taps } = alongW;
  for (let row = 0; row < channels * d * h; row++) {
    const source = row * width;
    const target = row * w;
    if (taps === 2) {
      for (let x = 0; x < w; x++) {
        const at = source + first[x];
        out[target + x] = weights[2 * x] * planes[at] + weights[2 * x + 1] * planes[at + 1];
      }
      continue;
    }
    for (let x = 0; x < w; x++) {
      const at = source + first[x];
      let sum = 0;
      for (let k = 0, weight = x * taps; k < taps; k++, weight++) sum += weights[weight] * planes[at + k];
      out[target + x] = sum;
    }
  }
  return out; // [C, D′, H′, W′]
}

/** The first position that any output reads, and the one after the last. */
function span({ first, taps }: AxisWeights): [number, number] {
  let [low, high] = [first[0], first[0]];
  for (const at of first) {
    if (at < low) low = at;
    if (at > high) high = at;
  }
  return [low, high + taps];
}

/** out[i] = Σ_k w[i, k] · row[first[i] + k], for rows of `run` neighbouring numbers that are `stride` apart. */
function mixRows(
  input: Float32Array,
  source: number,
  stride: number,
  { first, weights, taps }: AxisWeights,
  out: Float32Array,
  target: number,
  run: number,
): void {
  for (let i = 0; i < first.length; i++) {
    const to = target + i * run;
    for (let k = 0; k < taps; k++) {
      const weight = weights[i * taps + k];
      if (weight === 0) continue;
      const from = source + (first[i] + k) * stride;
      for (let x = 0; x < run; x++) out[to + x] += weight * input[from + x];
    }
  }
}

/**
 * The whole picture on a grid of `size` voxels, stretched. In two dimensions this is PyTorch's
 * `F.interpolate(mode="bilinear", antialias=True)`; when enlarging it is plain trilinear interpolation. One row
 * [0, 1, 2, 3] shrunk to two pixels is [5/7, 16/7] (weights 3 : 3 : 1 and 1 : 3 : 3 of the widened triangle).
 *
 * @param pixels [C, D, H, W] of `shape`
 * @param size   [D′, H′, W′]
 * @returns      [C, D′, H′, W′], a new array
 */
export function resize(pixels: Float32Array, shape: Shape4, size: Shape3): Float32Array {
  return resample(pixels, shape, { start: [0, 0, 0], extent: [shape[1], shape[2], shape[3]] }, size);
}

/**
 * `resize` that can respect the shape of the body: `pad` keeps the aspect ratio and centres the picture on black,
 * `crop` keeps it and cuts the longer side about its centre, `stretch` lets it go. A picture of 100 × 200 becomes, at
 * 64 × 64: a band of 32 rows (pad), its middle 100 columns (crop), or all of it squeezed (stretch). Depth is always
 * resampled whole: slices and frames are few, and far apart.
 *
 * @param aspect height of a pixel over its width: `spacingMm[1] / spacingMm[2]`, 1 where it is not known
 */
export function fitTo(pixels: Float32Array, shape: Shape4, size: Shape3, fit: Fit, aspect: number = 1): Float32Array {
  if (fit === "stretch") return resize(pixels, shape, size);
  const [channels, depth, height, width] = shape;
  const [d, h, w] = size;
  // Output pixels per input row and per input column, if that side alone had to fit.
  const perRow = h / (height * aspect);
  const perColumn = w / width;

  if (fit === "crop") {
    const scale = Math.max(perRow, perColumn);
    const extent: Shape3 = [depth, h / (scale * aspect), w / scale];
    const start: Shape3 = [0, (height - extent[1]) / 2, (width - extent[2]) / 2];
    return resample(pixels, shape, { start, extent }, size);
  }

  const scale = Math.min(perRow, perColumn);
  const innerH = Math.min(h, Math.max(1, Math.round(height * aspect * scale)));
  const innerW = Math.min(w, Math.max(1, Math.round(width * scale)));
  const inner = resize(pixels, shape, [d, innerH, innerW]); // [C, D′, h, w] without the black border
  const padded = new Float32Array(channels * d * h * w);
  const [top, left] = [(h - innerH) >> 1, (w - innerW) >> 1];
  for (let slice = 0; slice < channels * d; slice++) {
    for (let y = 0; y < innerH; y++) {
      const row = inner.subarray((slice * innerH + y) * innerW, (slice * innerH + y + 1) * innerW);
      padded.set(row, (slice * h + top + y) * w + left);
    }
  }
  return padded;
}
