/**
 * What a trainer draws from one sample: two large and some small views for SimDINO, one for MAE. Sizes depend on the
 * kind of sample alone, so that everything in one bucket of a batch has the same shape.
 */
import type { Random } from "../random.js";
import { sizeOf, type Kind, type Sample, type Shape3, type Shape4 } from "../types.js";
import { blur, drawBox, intensityJitter, repeatChannel, withoutRepeats } from "./crop.js";
import type { CropRange, Jitter, Picture, Range } from "./crop.js";
import { degrade, type Degradation } from "./degrade.js";
import { resampleTurned } from "./rotate.js";
import { Scratch } from "./scratch.js";

/** What a view is drawn from. Of a grey sample only the first channel is read. */
export type ViewSource = Picture & Pick<Sample, "kind">;

/** Chance and strength of what happens to a view besides being cut; what is left out never happens. */
export interface Augmentation extends Degradation {
  /** Probability of mirroring left and right. Ours is 0 unless asked for: the heart is on the left. */
  readonly flip?: number;
  /** Largest turn in the plane of the picture, degrees, either way: 15 draws from [−15, 15]. */
  readonly rotate?: number;
  /** Exposure: see `intensityJitter`. `chance` is 1 where it is left out. */
  readonly jitter?: Jitter & { readonly chance?: number };
  /** Gaussian blur with σ in pixels of the view. */
  readonly blur?: { readonly chance: number; readonly sigma: Range };
  /** See `ResampleOptions`. Frames of a video are always picked and slices of a volume always blended. */
  readonly antialias?: boolean;
}

/** One crop: how much of the sample it shows, and its size for each kind. An image's size has D = 1. */
export interface ViewSpec extends CropRange {
  readonly size: Readonly<Record<Kind, Shape3>>;
}

export interface MultiCropSpec extends Augmentation {
  readonly globals: ViewSpec & { readonly count: number };
  readonly locals: ViewSpec & { readonly count: number };
}

export interface SingleCropSpec extends Augmentation, ViewSpec {}

/**
 * Global views first, then local ones, each cut, turned, mirrored, exposed, blurred and degraded on its own. The same state of the
 * generator gives the same views.
 *
 * @param sample [C, D, H, W] in [0, 1]
 * @returns      one array per shape of `viewShapes(spec, sample.kind)`, in [0, 1]: not yet standardised
 */
export function multiCrop(sample: ViewSource, spec: MultiCropSpec, random: Random): Float32Array[] {
  return [...multiCropChannels(sample, spec, random)].map((view) => repeatChannel(view, repeats(sample)));
}

/**
 * `multiCrop` before the channel of a grey sample is repeated: [1, D′, H′, W′] each, or [C, D′, H′, W′] of colour.
 *
 * @param memory where each view is made; it is there until the next one is asked for. New arrays where it is left out
 */
export function* multiCropChannels(
  sample: ViewSource,
  spec: MultiCropSpec,
  random: Random,
  memory?: Scratch,
): Generator<Float32Array, void> {
  for (const part of [spec.globals, spec.locals]) {
    for (let i = 0; i < part.count; i++) yield drawView(sample, part, spec, random, memory);
  }
}

const repeats = ({ grey, shape }: ViewSource) => (grey ? shape[0] : 1);

/** The shapes that `multiCrop` gives for one kind: `{globals: {count: 2, size: {image: [1, 64, 64], …}}, …}` starts
 * with [3, 1, 64, 64] twice. */
export function viewShapes({ globals, locals }: MultiCropSpec, kind: Kind): Shape4[] {
  return [globals, locals].flatMap(({ count, size }) => new Array<Shape4>(count).fill([3, ...size[kind]]));
}

/** One view, for MAE: [C, D′, H′, W′] in [0, 1], not yet standardised. */
export function singleCrop(sample: ViewSource, spec: SingleCropSpec, random: Random): Float32Array {
  return repeatChannel(singleCropChannels(sample, spec, random), repeats(sample));
}

/** `singleCrop` before the channel of a grey sample is repeated; `memory` is as for `multiCropChannels`. */
export function singleCropChannels(
  sample: ViewSource,
  spec: SingleCropSpec,
  random: Random,
  memory?: Scratch,
): Float32Array {
  return drawView(sample, spec, spec, random, memory);
}

/** Views before they are blurred. */
const sharp = new Scratch(Float32Array);

function drawView(
  sample: ViewSource,
  part: ViewSpec,
  how: Augmentation,
  random: Random,
  memory: Scratch = new Scratch(Float32Array),
): Float32Array {
  const size = part.size[sample.kind];
  const box = drawBox(sample.shape, part, random);
  const mirror = random.chance(how.flip ?? 0);
  const turn = how.rotate ? (random.uniform(-how.rotate, how.rotate) * Math.PI) / 180 : 0;
  const exposed = how.jitter !== undefined && random.chance(how.jitter.chance ?? 1);
  const blurred = how.blur !== undefined && random.chance(how.blur.chance);
  const { pixels, shape } = withoutRepeats(sample);
  const alongDepth = sample.kind === "video" ? "pick" : "blend";
  const cut = { antialias: how.antialias, alongDepth, mirror } as const;
  const out = memory.exactly(shape[0] * sizeOf(size));
  const view = blurred ? sharp.exactly(out.length) : out;
  resampleTurned(pixels, shape, box, size, turn, cut, view);
  if (exposed) intensityJitter(view, how.jitter, random, view);
  if (blurred) blur(view, [shape[0], ...size], random.uniform(how.blur.sigma[0], how.blur.sigma[1]), out);
  if (blurred || !exposed) clipInPlace(out); // jitter has clipped already
  const degraded = degrade(out, [shape[0], ...size], sample.kind, how, random);
  if (how.noise !== undefined || degraded !== out) clipInPlace(degraded);
  return degraded;
}

/** Interpolation rounds, and a white picture may come out at 1.0000001. What is not a number becomes 0. */
function clipInPlace(view: Float32Array): void {
  for (let i = 0; i < view.length; i++) {
    const x = view[i];
    if (!(x >= 0 && x <= 1)) view[i] = x > 1 ? 1 : 0;
  }
}

/** Our choice, the same for every modality: no statistic of a modality may leak into its input. */
export const STANDARD = { mean: 0.5, deviation: 0.25 } as const;

/**
 * `(x − 0.5) / 0.25`: [0, 1] becomes [−2, 2], which has about unit spread for pictures. What the encoder reads, in
 * training and in embedding alike. 0.75 → 1.
 */
export function standardise(pixels: Float32Array): Float32Array {
  const out = new Float32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) out[i] = (pixels[i] - STANDARD.mean) / STANDARD.deviation;
  return out;
}
