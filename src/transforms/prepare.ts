/** From what a reader saw to what the encoder may see: one form for every modality. */
import type { IntensityRule, Preprocessing } from "../datasets/catalog.js";
import type { DataRecord, Dataset, SkippedFile } from "../datasets/dataset.js";
import { MONOCHROME1_WARNING } from "../datasets/dicom.js";
import type { ReadOptions } from "../datasets/read.js";
import { Random } from "../random.js";
import { recycle } from "../datasets/pixelMemory.js";
import { InputError } from "../types.js";
import type { Decoded, Modality, OnProgress, Sample, Shape3, Shape4, Split } from "../types.js";
import { onGrey } from "./crop.js";
import { atSpacing, cutOut, foregroundBox } from "./foreground.js";
import { clip, invert, scaleIntensity, withoutPadding } from "./intensity.js";
import { reorient } from "./orient.js";
import { CORES, prepareInWorkers, worthWorkers, type Prepared } from "./prepareWorkers.js";
import { fitTo, resample } from "./resize.js";
import { straightened } from "./straighten.js";
import { showAs } from "./voi.js";

/** Pixels on their way, with the distance between their centres. */
interface Raw {
  readonly pixels: Float32Array;
  readonly shape: Shape4;
  readonly spacingMm: Shape3 | null;
}

/**
 * One sample of the form that `preprocessing` asks for:
 *
 * 1. volumes that know their orientation are turned to the common one, if there is one; slices of a tilted gantry are put
 *    straight before that, unless `straighten` is false;
 * 2. of a video, frames are kept (they are never blended): evenly spaced ones, or with `clip` some of a stretch that its name
 *    draws;
 * 3. stored units become [0, 1] by the rule of the modality, or the rule `uint8`; where that rule is percentiles, the file's own
 *    VOI table comes before it; MONOCHROME1 is inverted;
 * 4. with `foreground`, what is dark around it is cut away;
 * 5. the picture is resampled to the size of its kind, in proportion to its size in millimetres where that is known; a volume
 *    with `spacingMm` to that spacing, about its centre.
 *
 * @returns pixels [3, D, H, W] in [0, 1]; `grey` where the three channels are equal
 * Throws an `InputError` where the file itself names another modality than its record: MRI must not slip in as CT.
 */
export function prepareSample(record: DataRecord, decoded: Decoded, preprocessing: Preprocessing): Sample {
  if (decoded.modality !== null && decoded.modality !== record.modality) {
    throw new InputError(`${record.id}: expected ${record.modality}, but the file says that it is ${decoded.modality}`);
  }
  const size = preprocessing.size[decoded.kind];
  const inside = decoded.padding ? withoutPadding(decoded.pixels, decoded.padding) : decoded.pixels;
  const one = oneChannelIfGrey(inside, decoded.shape);
  let raw: Raw = { ...one, spacingMm: decoded.spacingMm };
  if (preprocessing.straighten !== false) raw = { ...raw, pixels: straightened(raw.pixels, raw.shape, decoded) };
  if (decoded.kind === "volume") raw = turned(raw, decoded.orientation, preprocessing.orientation);
  if (decoded.kind === "video")
    raw = pickFrames(raw, size[0], preprocessing.clip && clipOf(record, preprocessing.clip));

  let scaled = toUnit(raw.pixels, decoded, preprocessing.intensity[record.modality], preprocessing.intensity.uint8);
  if (decoded.warnings.includes(MONOCHROME1_WARNING)) scaled = invert(scaled, raw.pixels);

  const whole = { pixels: scaled, shape: raw.shape };
  const cut = preprocessing.foreground ? withoutDark(whole, decoded, preprocessing.foreground) : whole;
  const fitted = clip(fit(cut, raw.spacingMm, size, decoded, preprocessing)); // [1 or 3, D, H, W]
  const grey = raw.shape[0] === 1;
  return {
    id: record.id,
    pixels: grey ? repeatThrice(fitted) : fitted,
    shape: [3, ...size],
    grey,
    kind: decoded.kind,
    modality: record.modality,
    group: record.group,
    labels: record.labels,
  };
}

/** The part of a picture that is not dark around it; of a video in height and width alone. */
function withoutDark(
  { pixels, shape }: Pick<Raw, "pixels" | "shape">,
  { kind }: Decoded,
  rule: NonNullable<Preprocessing["foreground"]>,
): Pick<Raw, "pixels" | "shape"> {
  return cutOut(pixels, shape, foregroundBox(pixels, shape, { ...rule, alongDepth: kind === "volume" }));
}

/** To its size: by spacing where the rules ask for one, otherwise by `fitTo`. */
function fit(
  { pixels, shape }: Pick<Raw, "pixels" | "shape">,
  mm: Shape3 | null,
  size: Shape3,
  { kind }: Decoded,
  { spacingMm, fit: how }: Preprocessing,
): Float32Array {
  if (kind === "volume" && spacingMm !== undefined) {
    if (mm === null)
      throw new InputError("expected a volume that knows its spacing, which spacingMm asks for, got none");
    return atSpacing(pixels, shape, mm, spacingMm, size);
  }
  return fitTo(pixels, shape, size, how, mm === null ? 1 : mm[1] / mm[2]);
}

/** Colour files often hold grey pictures: one channel is then enough for everything that follows. */
function oneChannelIfGrey(pixels: Float32Array, shape: Shape4): { pixels: Float32Array; shape: Shape4 } {
  const n = pixels.length / shape[0];
  if (shape[0] === 1) return { pixels, shape };
  for (let i = 0; i < n; i++) {
    if (pixels[i] !== pixels[n + i] || pixels[i] !== pixels[2 * n + i]) return { pixels, shape };
  }
  return { pixels: pixels.subarray(0, n), shape: [1, shape[1], shape[2], shape[3]] };
}

function turned(raw: Raw, from: string | null, to: string | undefined): Raw {
  if (from === null || to === undefined || from === to) return raw;
  const { pixels, shape, axes } = reorient(raw.pixels, raw.shape, from, to);
  const mm = raw.spacingMm;
  return { pixels, shape, spacingMm: mm === null ? null : [mm[axes[0]], mm[axes[1]], mm[axes[2]]] };
}

/** Where a clip starts is drawn by the name of the file: the same file gives the same clip on every run and machine. */
function clipOf({ id }: DataRecord, { stride }: NonNullable<Preprocessing["clip"]>) {
  return { stride, random: new Random(`clip ${id}`) };
}

/**
 * As many frames as are wanted, before anything expensive is done to all of them: see `pickWeights`. Of a clip, the frames
 * that the reader of videos would have chosen (`choose`); it has chosen already where there are no more than are wanted.
 */
function pickFrames(raw: Raw, count: number, clip?: { readonly stride: number; readonly random: Random }): Raw {
  const [channels, depth, height, width] = raw.shape;
  let [start, extent] = [0, depth];
  if (clip !== undefined && depth > count) {
    const stride = count > 1 ? Math.min(clip.stride, Math.floor((depth - 1) / (count - 1))) : 1;
    // `pickWeights` takes the middle of each stretch: half a stride before a frame, rounded down, it lands on it.
    start = clip.random.int(Math.max(1, depth - (count - 1) * stride)) - Math.floor(stride / 2);
    extent = count * stride;
  }
  const box = { start: [start, 0, 0], extent: [extent, height, width] } as const;
  const pixels = resample(raw.pixels, raw.shape, box, [count, height, width], { alongDepth: "pick" });
  return { ...raw, pixels, shape: [channels, count, height, width] };
}

/** Into [0, 1] by the rule of the modality, or by that for 8 bits. */
function toUnit(
  pixels: Float32Array,
  { dtype, pixels: stored, voi }: Decoded,
  rule: IntensityRule,
  uint8: IntensityRule,
): Float32Array {
  if (voi && "voi" in rule) return clip(showAs(pixels, voi));
  // A table is the maker's curve from detector to grey; Hounsfield windows and given ranges say themselves what to show.
  if (voi && "table" in voi && "percentiles" in rule) return scaleIntensity(showAs(pixels, voi), rule);
  // A header may rescale 8 stored bits to Hounsfield units: then they are not shades of grey.
  return scaleIntensity(pixels, dtype === "uint8" && areShades(stored) ? uint8 : rule);
}

/** A plain loop: `every` takes ten times as long, a third of reading a folder of pictures. */
function areShades(pixels: Float32Array): boolean {
  for (let i = 0; i < pixels.length; i++) if (!(pixels[i] >= 0 && pixels[i] <= 255)) return false;
  return true;
}

function repeatThrice(plane: Float32Array): Float32Array {
  return onGrey({ pixels: plane, shape: [3, 1, 1, plane.length], grey: true }, (pixels) => pixels);
}

export interface PrepareOptions {
  readonly splits?: readonly Split[];
  readonly modalities?: readonly Modality[];
  /** At most this many records, spread evenly over the list. */
  readonly limit?: number;
  readonly onProgress?: OnProgress;
  /** Worker threads for the files of a folder, 0 for none; by default one a core, once there is work for seconds. */
  readonly workers?: number;
}

const AT_ONCE = 4; // reading waits for disks and decoders; more would only hold more pixels in memory

/**
 * Reads and prepares records, in their order; files of a folder on all cores, with the same result. A file that cannot be
 * decoded is left out and named in `skipped`, after those that the data set had skipped itself. Throws an `InputError` where nothing at all could be read.
 */
export async function prepareAll(
  dataset: Dataset,
  preprocessing: Preprocessing,
  { splits, modalities, limit = Infinity, onProgress, workers }: PrepareOptions = {},
): Promise<{ samples: Sample[]; skipped: SkippedFile[] }> {
  const wanted = dataset.records.filter(
    ({ split, modality }) => (splits?.includes(split) ?? true) && (modalities?.includes(modality) ?? true),
  );
  const count = Math.min(wanted.length, limit);
  const records = Array.from({ length: count }, (_, i) => wanted[Math.floor((i * wanted.length) / count)]);

  const results = new Array<Sample | SkippedFile>(count);
  let done = 0;
  const keep = ({ index, result }: Prepared): void => {
    results[index] = result;
    done++;
    onProgress?.({ label: `prepare ${dataset.name}`, done, total: count, note: records[index].modality });
  };
  const began = performance.now();
  const enough = (): boolean => workers === undefined && worthWorkers(dataset, performance.now() - began, done, count);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count && !enough()) {
      const index = next++;
      keep({ index, result: await prepareOne(dataset, records[index], preprocessing) });
    }
  };
  if (!workers) await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (next < count) {
    const { root } = dataset;
    if (root === undefined) throw new Error(`${dataset.name}: worker threads read files of a folder, and it is none`);
    await prepareInWorkers({ root, preprocessing, records, first: next, workers: workers ?? CORES }, keep);
  }

  const samples = results.filter((result): result is Sample => "pixels" in result);
  const unreadable = results.filter((result): result is SkippedFile => "reason" in result);
  if (count > 0 && samples.length === 0) {
    throw new InputError(
      `none of the ${count} files of ${dataset.name} could be read; the first: ${unreadable[0].reason}`,
    );
  }
  return { samples, skipped: [...dataset.skipped, ...unreadable] };
}

/**
 * What a reader need not read: of a video, frames that `pickFrames` would leave out (its rule is the reader's), and pixels
 * beyond eight times the size asked for, which ffmpeg then averages over areas; of several volumes in one DICOM file, all but
 * the first.
 */
function enoughFor(record: DataRecord, { size: { video }, clip }: Preprocessing): ReadOptions {
  const [frames, height, width] = video;
  const which = clip === undefined ? { maxFrames: frames } : { clip: { frames, ...clipOf(record, clip) } };
  return { video: { ...which, size: 8 * Math.max(height, width) }, dicom: { volume: 0 } };
}

/** Reads and prepares one record; what cannot be read comes back with its reason. */
export async function prepareOne(
  dataset: Pick<Dataset, "read" | "root">,
  record: DataRecord,
  preprocessing: Preprocessing,
): Promise<Sample | SkippedFile> {
  try {
    const decoded = await dataset.read(record, enoughFor(record, preprocessing));
    const sample = prepareSample(record, decoded, preprocessing);
    // Of a file, nobody else has it; and a sample has memory of its own.
    if (dataset.root !== undefined && sample.pixels.buffer !== decoded.pixels.buffer) recycle(decoded);
    return sample;
  } catch (error) {
    // Decoders throw what they like; whatever it was, it is said in the report, and the other files go on.
    const message = error instanceof Error ? error.message : String(error);
    return { path: record.id, reason: message.split("\n")[0] };
  }
}
