/**
 * Linear resampling of a box of the picture onto a grid of another size, one axis after the other. Every resize and
 * every random crop of the project is `resample`.
 */
import type { Shape3, Shape4 } from "../types.js";
import { Scratch } from "./scratch.js";

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

/** Weights and their first positions before the taps that no output uses are dropped. */
const triangles = new Scratch(Float64Array);
const lowest = new Scratch(Int32Array);

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
  const most = Math.min(length, Math.ceil(2 * radius) + 1);
  const lows = lowest.atLeast(size);
  const weights = triangles.atLeast(size * most);
  const first = new Int32Array(size);
  let taps = 1; // that some output uses: plain interpolation needs two, an axis that stays as it is needs one
  for (let i = 0, row = 0; i < size; i++, row += most) {
    const x = start + (i + 0.5) * factor - 0.5;
    const low = Math.min(Math.max(0, Math.ceil(x - radius)), length - most);
    let total = 0;
    for (let k = 0; k < most; k++) {
      const weight = Math.max(0, 1 - Math.abs(low + k - x) / radius);
      weights[row + k] = weight;
      total += weight;
    }
    if (total > 0) {
      for (let k = 0; k < most; k++) weights[row + k] /= total;
    } else {
      weights[row + (x < 0 ? 0 : most - 1)] = 1; // the whole triangle lies beyond the edge
    }
    let from = 0;
    while (weights[row + from] === 0) from++;
    let to = most - 1;
    while (weights[row + to] === 0) to--;
    lows[i] = low;
    first[i] = low + from;
    taps = Math.max(taps, to - from + 1);
  }
  const kept = new Float64Array(size * taps);
  for (let i = 0; i < size; i++) {
    first[i] = Math.min(first[i], length - taps);
    for (let k = 0; k < taps; k++) {
      const tap = first[i] + k - lows[i];
      if (tap >= 0 && tap < most) kept[i * taps + k] = weights[i * most + tap];
    }
  }
  return { first, weights: kept, taps };
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

export interface ResampleOptions {
  /** Widen the triangle where the box shrinks (default); off is faster and rougher. */
  readonly antialias?: boolean;
  /** How depth is reached: slices are blended (default), frames are picked. */
  readonly alongDepth?: "blend" | "pick";
  /** Left and right of the result change places, at no cost: the row [1, 2, 3] comes out as [3, 2, 1]. */
  readonly mirror?: boolean;
}

/**
 * The box `box` of the picture on a grid of `size` voxels; the weights look past the edge of the box into the picture
 * where there is more of it. A constant picture stays constant.
 *
 * @param pixels [C, D, H, W] of `shape`
 * @param size   [D′, H′, W′]
 * @param out    as for `applyWeights`
 * @returns      [C, D′, H′, W′]
 */
export function resample(
  pixels: Float32Array,
  shape: Shape4,
  box: Box,
  size: Shape3,
  options: ResampleOptions = {},
  out?: Float32Array,
): Float32Array {
  return applyWeights(pixels, shape, boxWeights(shape, box, size, options), out);
}

/** What `resample` applies to each axis. */
export function boxWeights(
  [, depth, height, width]: Shape4,
  box: Box,
  size: Shape3,
  { antialias = true, alongDepth = "blend", mirror = false }: ResampleOptions,
): [AxisWeights, AxisWeights, AxisWeights] {
  const axis = (length: number, a: 0 | 1 | 2) => linearWeights(length, box.start[a], box.extent[a], size[a], antialias);
  const frames = alongDepth === "pick" ? pickWeights(depth, box.start[0], box.extent[0], size[0]) : axis(depth, 0);
  const columns = axis(width, 2);
  return [frames, axis(height, 1), mirror ? mirrored(columns) : columns];
}

/** The same outputs in reverse order. */
function mirrored({ first, weights, taps }: AxisWeights): AxisWeights {
  const size = first.length;
  const reversed = new Float64Array(weights.length);
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < taps; k++) reversed[i * taps + k] = weights[(size - 1 - i) * taps + k];
  }
  return { first: first.slice().reverse(), weights: reversed, taps };
}

/** What lies between two axes. */
const slices = new Scratch(Float32Array);
const rows = new Scratch(Float32Array);

/**
 * Applies one set of weights to each axis, D then H then W, reading no voxel that no output needs. It goes slice by
 * slice, so that what lies between two axes is small and stays in the cache. An axis of one tap has weights of 1: along D it copies.
 *
 * @param pixels [C, D, H, W] of `shape`
 * @param out    where the result goes, as long or longer: a new array, unless another is named; not `pixels`
 * @returns      [C, D′, H′, W′], where D′, H′ and W′ are the sizes that the weights were made for
 */
export function applyWeights(
  pixels: Float32Array,
  shape: Shape4,
  [alongD, alongH, alongW]: readonly [AxisWeights, AxisWeights, AxisWeights],
  out: Float32Array = new Float32Array(shape[0] * alongD.first.length * alongH.first.length * alongW.first.length),
): Float32Array {
  const [channels, depth, height, width] = shape;
  const [d, h, w] = [alongD.first.length, alongH.first.length, alongW.first.length];
  const [y0, y1] = span(alongH);
  const [x0, x1] = span(alongW);
  const columns = x1 - x0;
  const plane = height * width;
  const blends = alongD.taps > 1;
  const slice = slices.atLeast(blends ? (y1 - y0) * columns : 0); // a blend of slices, where H and W will read it
  const four = rows.atLeast(4 * columns); // rows of the result, before W

  for (let c = 0; c < channels; c++) {
    for (let z = 0; z < d; z++) {
      const to = (c * d + z) * h * w;
      if (!blends && z > 0 && alongD.first[z] === alongD.first[z - 1]) {
        out.copyWithin(to, to - h * w, to); // a frame that comes again
        continue;
      }
      // `from` is where the voxel [y0, x0] stands in `input`, whose rows are `stride` apart.
      let [input, from, stride] = [pixels, (c * depth + alongD.first[z]) * plane + y0 * width + x0, width];
      if (blends) {
        for (let y = y0; y < y1; y++) {
          mixRows(input, from + (y - y0) * width, plane, alongD, z, slice, (y - y0) * columns, columns);
        }
        [input, from, stride] = [slice, 0, columns];
      }
      for (let y = 0; y < h; y += 4) {
        const count = Math.min(4, h - y);
        for (let i = 0; i < count; i++) {
          const at = from + (alongH.first[y + i] - y0) * stride;
          mixRows(input, at, stride, alongH, y + i, four, i * columns, columns);
        }
        mixColumns(four, columns, count, x0, alongW, out, to + y * w);
      }
    }
  }
  return out;
}

/** The first position that any output reads, and the one after the last. */
function span({ first, taps }: AxisWeights): [number, number] {
  let [low, high] = [first[0], first[0]];
  for (let i = 1; i < first.length; i++) {
    if (first[i] < low) low = first[i];
    if (first[i] > high) high = first[i];
  }
  return [low, high + taps];
}

/**
 * Output i of an axis that runs across rows: Σ_k w[i, k] · (the row k strides after `from`), in float32 after every
 * term. Rows are `run` long.
 */
function mixRows(
  input: Float32Array,
  from: number,
  stride: number,
  { weights, taps }: AxisWeights,
  i: number,
  out: Float32Array,
  to: number,
  run: number,
): void {
  let fresh = true; // nothing is in `out` yet
  for (let k = 0; k < taps; k++) {
    const a = weights[i * taps + k];
    if (a === 0) continue; // a NaN that does not count stays out
    const b = k + 1 < taps ? weights[i * taps + k + 1] : 0;
    const at = from + k * stride;
    const next = at + stride;
    if (b !== 0) {
      // Two terms in one pass.
      if (fresh) for (let x = 0; x < run; x++) out[to + x] = Math.fround(a * input[at + x]) + b * input[next + x];
      else {
        for (let x = 0; x < run; x++) {
          out[to + x] = Math.fround(out[to + x] + a * input[at + x]) + b * input[next + x];
        }
      }
      k++;
    } else if (fresh) for (let x = 0; x < run; x++) out[to + x] = a * input[at + x];
    else for (let x = 0; x < run; x++) out[to + x] += a * input[at + x];
    fresh = false;
  }
}

/**
 * The whole axis that runs along a row, of `count` rows, 4 at most: a weight that is read once serves them all. The rows are `run`
 * long, one after the other, and start at position `x0` of the axis.
 */
function mixColumns(
  rows: Float32Array,
  run: number,
  count: number,
  x0: number,
  { first, weights, taps }: AxisWeights,
  out: Float32Array,
  to: number,
): void {
  const w = first.length;
  for (let x = 0, k = 0; x < w; x++, to++) {
    let at = first[x] - x0;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (const end = k + taps; k < end; k++, at++) {
      const weight = weights[k];
      a += weight * rows[at];
      b += weight * rows[at + run];
      c += weight * rows[at + 2 * run];
      d += weight * rows[at + 3 * run];
    }
    out[to] = a;
    if (count > 1) out[to + w] = b;
    if (count > 2) out[to + 2 * w] = c;
    if (count > 3) out[to + 3 * w] = d;
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
