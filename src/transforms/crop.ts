/**
 * Random views of one picture: where it is cut, and how its grey values are bent. Images, videos and volumes take the
 * same path; an image is a volume of one slice. All chance comes from the generator that is passed in.
 */
import type { Random } from "../random.js";
import type { Sample, Shape3, Shape4 } from "../types.js";
import { applyWeights, resample } from "./resize.js";
import type { AxisWeights, Box, ResampleOptions } from "./resize.js";

/** The part of a sample that a transform reads. */
export type Picture = Pick<Sample, "pixels" | "shape" | "grey">;

/** Two ends of a uniform draw. */
export type Range = readonly [low: number, high: number];

export interface CropRange {
  /** Part of the area H · W that the box covers, drawn uniformly. 1 is everything. */
  readonly scale: Range;
  /** Width over height of the box, relative to the picture's own; log-uniform. Needs low ≤ 1 ≤ high. */
  readonly ratio?: Range;
  /** Part of the depth that the box covers where D > 1: by default it is cut as much as one side, [√low, √high]. */
  readonly depthScale?: Range;
}

export interface CropOptions extends CropRange, ResampleOptions {
  /** [D′, H′, W′] of the result. */
  readonly size: Shape3;
}

const usualRatio: Range = [3 / 4, 4 / 3]; // as torchvision's RandomResizedCrop

/**
 * A random box. With scale [0.25, 0.25] and ratio [1, 1] it is half as wide and half as high as the picture, anywhere
 * inside it. Area is exactly uniform: the ratio is drawn among those that fit, instead of drawing again as torchvision
 * does. In depth a volume is cut by `depthScale`, which says nothing about area; an image stays one slice.
 */
export function drawBox(shape: Shape4, { scale, ratio = usualRatio, depthScale }: CropRange, random: Random): Box {
  const [, depth, height, width] = shape;
  const area = random.uniform(scale[0], scale[1]);
  const clip = (r: number) => Math.min(Math.max(r, area), 1 / area);
  const bent = Math.exp(random.uniform(Math.log(clip(ratio[0])), Math.log(clip(ratio[1]))));
  const h = Math.min(height, height * Math.sqrt(area / bent)); // rounding may leave a hair too much
  const w = Math.min(width, width * Math.sqrt(area * bent));
  const y = random.uniform() * (height - h);
  const x = random.uniform() * (width - w);
  if (depth === 1) return { start: [0, y, x], extent: [1, h, w] };

  const [shallow, deep] = depthScale ?? [Math.sqrt(scale[0]), Math.sqrt(scale[1])];
  const d = depth * random.uniform(shallow, deep);
  const z = random.uniform() * (depth - d);
  return { start: [z, y, x], extent: [d, h, w] };
}

/**
 * A random box of the picture, resampled linearly and straight onto `size`. With scale [1, 1] it is the whole picture
 * resized, whatever the generator says.
 *
 * @returns [C, D′, H′, W′] with the channels of the picture
 */
export function randomResizedCrop(picture: Picture, options: CropOptions, random: Random): Float32Array {
  const box = drawBox(picture.shape, options, random);
  return onGrey(picture, (pixels, shape) => resample(pixels, shape, box, options.size, options));
}

/** The first channel of a grey picture, which says everything; a picture in colour as it is. */
export function withoutRepeats({ pixels, shape, grey }: Picture): Pick<Picture, "pixels" | "shape"> {
  const [channels, depth, height, width] = shape;
  if (!grey || channels === 1) return { pixels, shape };
  return { pixels: pixels.subarray(0, depth * height * width), shape: [1, depth, height, width] };
}

/**
 * Runs a transform on one channel where all are equal, and repeats what comes out: a third of the work, the same result.
 */
export function onGrey(
  picture: Picture,
  transform: (pixels: Float32Array, shape: Shape4) => Float32Array,
): Float32Array {
  const { pixels, shape } = withoutRepeats(picture);
  return repeatChannel(transform(pixels, shape), picture.shape[0] / shape[0]);
}

/** One channel `times` times; the pixels themselves where that is once. [1, 2] three times is [1, 2, 1, 2, 1, 2]. */
export function repeatChannel(pixels: Float32Array, times: number): Float32Array {
  if (times === 1) return pixels;
  const repeated = new Float32Array(times * pixels.length);
  for (let c = 0; c < times; c++) repeated.set(pixels, c * pixels.length);
  return repeated;
}

export interface Jitter {
  /** Largest shift of all values: 0.2 draws from [−0.2, 0.2]. */
  readonly brightness?: number;
  /** Largest relative stretch about the mean: 0.2 draws from [0.8, 1.2]. */
  readonly contrast?: number;
  /** Largest bend of the curve: 0.2 draws the exponent log-uniformly from [1/1.2, 1.2]. */
  readonly gamma?: number;
}

/**
 * Another exposure of the same picture, clipped to [0, 1]:
 *
 *     x ↦ clip( contrast · (x^γ − mean) + mean + brightness )        mean of x^γ over the picture
 *
 * One curve for all channels. A constant picture stays constant; with all three at 0 nothing changes.
 *
 * @param pixels in [0, 1]
 * @param out    where the result goes: a new array, unless another is named; it may be `pixels`
 */
export function intensityJitter(
  pixels: Float32Array,
  { brightness = 0, contrast = 0, gamma = 0 }: Jitter,
  random: Random,
  out: Float32Array = new Float32Array(pixels.length),
): Float32Array {
  const shift = random.uniform(-brightness, brightness);
  const stretch = random.uniform(1 - contrast, 1 + contrast);
  const exponent = Math.exp(random.uniform(-1, 1) * Math.log(1 + gamma));

  const mean = bend(pixels, exponent, out) / pixels.length;
  for (let i = 0; i < out.length; i++) {
    const x = stretch * (out[i] - mean) + mean + shift;
    out[i] = x < 0 ? 0 : x > 1 ? 1 : x;
  }
  return out;
}

const STEPS = 1024;
/** ln(i / 1024); the last entry is read, times 0, where x is 1. */
const LOGARITHMS = Float64Array.from({ length: STEPS + 2 }, (_, i) => Math.log(Math.min(1, i / STEPS)));
const powers = new Float64Array(STEPS + 2);

/**
 * x^γ into `out`, from a table of 1,024 equal steps, linear between them: within 0.0006 for γ between 0.5 and 2 once
 * x > 0.001. It rises with x, and 0 and 1 stay where they are. The table is exp(γ ln x), which is ten times as fast
 * as `Math.pow` and equal to 1e-15.
 *
 * @returns the sum of what was written
 */
function bend(pixels: Float32Array, exponent: number, out: Float32Array): number {
  let sum = 0;
  if (exponent === 1) {
    out.set(pixels);
    for (let i = 0; i < out.length; i++) sum += out[i];
    return sum;
  }
  for (let i = 0; i < powers.length; i++) powers[i] = Math.exp(exponent * LOGARITHMS[i]);
  for (let i = 0; i < out.length; i++) {
    const at = pixels[i] * STEPS;
    const step = at | 0; // towards zero, and twice as fast as Math.trunc
    const low = powers[step];
    const bent = Math.fround(low + (at - step) * (powers[step + 1] - low));
    out[i] = bent;
    sum += bent;
  }
  return sum;
}

/**
 * Gaussian blur within each slice, cut off at 3σ, edges repeated by normalising what is inside. A constant picture
 * stays constant. For σ = 0.5 a lone 1 keeps 0.619 = 0.787² of itself, where 0.787 = 1 / (1 + 2e⁻² ).
 *
 * @param sigma in pixels; must be positive
 * @param out   as for `applyWeights`
 */
export function blur(pixels: Float32Array, shape: Shape4, sigma: number, out?: Float32Array): Float32Array {
  const [, depth, height, width] = shape;
  return applyWeights(pixels, shape, [asItIs(depth), gaussian(height, sigma), gaussian(width, sigma)], out);
}

function asItIs(length: number): AxisWeights {
  const first = Int32Array.from({ length }, (_, i) => i);
  return { first, weights: new Float64Array(length).fill(1), taps: 1 };
}

function gaussian(length: number, sigma: number): AxisWeights {
  const radius = Math.floor(3 * sigma);
  const taps = Math.min(length, 2 * radius + 1);
  const first = new Int32Array(length);
  const weights = new Float64Array(length * taps);
  const bell = Array.from({ length: radius + 1 }, (_, distance) =>
    Math.exp((-0.5 * distance * distance) / (sigma * sigma)),
  );
  for (let i = 0; i < length; i++) {
    first[i] = Math.min(Math.max(0, i - radius), length - taps);
    let total = 0;
    for (let k = 0; k < taps; k++) {
      const distance = Math.abs(first[i] + k - i);
      const weight = distance > radius ? 0 : bell[distance];
      weights[i * taps + k] = weight;
      total += weight;
    }
    for (let k = 0; k < taps; k++) weights[i * taps + k] /= total;
  }
  return { first, weights, taps };
}
