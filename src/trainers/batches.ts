/** Which samples make the batch of which step: a pure function of the seed and the step, so a resumed run sees the same. */
import type { Random } from "../random.js";
import {
  assertPretrainable,
  CEILING,
  InputError,
  sizeOf,
  UNSEEN_MODALITY,
  type CeilingOption,
  type Sample,
} from "../types.js";

/**
 * `modality`: a batch holds one modality (the default: in SimDINO, modalities in one batch push each other apart, see the
 * phantom study). `shape`: a batch holds whatever has one shape, so X-ray and ultrasound mix.
 */
export type Bucketing = "modality" | "shape";

export interface Bucket {
  readonly name: string;
  readonly samples: readonly Sample[];
  /** Where each of them stands among all samples. */
  readonly places: readonly number[];
}

/** Samples of one batch have one kind, because views take their size from it. Buckets come in order of their names. */
export function makeBuckets(samples: readonly Sample[], bucketing: Bucketing, allowed: CeilingOption = {}): Bucket[] {
  const buckets = new Map<string, number[]>();
  samples.forEach((sample, place) => {
    assertPretrainable(sample.modality, allowed);
    const { id, pixels, shape } = sample;
    if (pixels.length !== sizeOf(shape)) {
      throw new InputError(`${id}: expected ${sizeOf(shape)} pixels, which is [${shape}], got ${pixels.length}`);
    }
    const name = bucketing === "modality" ? `${sample.modality} ${sample.kind}` : sample.kind;
    const places = buckets.get(name);
    if (places) places.push(place);
    else buckets.set(name, [place]);
  });
  const sorted = [...buckets].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, places]) => ({ name, samples: places.map((place) => samples[place]), places }));
}

export interface BatchPlan extends CeilingOption {
  readonly batchSize: number;
  readonly bucketing?: Bucketing;
}

/** Draws the samples of a step. */
export interface BatchPlanner {
  readonly buckets: readonly Bucket[];
  /** @param random the step's own generator */
  at(random: Random): readonly Sample[];
  /** The same, as numbers of samples. */
  placesAt(random: Random): Int32Array;
}

/**
 * The samples of a step. The bucket is drawn in proportion to its size; its batch is drawn without repetition, or, where
 * the bucket is smaller than the batch, in as many whole rounds as it takes.
 *
 * @throws InputError where there is nothing to train on, an MRI sample among it (or none, for a ceiling), or a sample
 *         that lacks pixels
 */
export function planBatches(
  samples: readonly Sample[],
  { batchSize, bucketing = "modality", ceiling }: BatchPlan,
): BatchPlanner {
  const buckets = makeBuckets(samples, bucketing, { ceiling });
  if (ceiling && !samples.some(({ modality }) => modality === UNSEEN_MODALITY)) {
    throw new InputError(`${CEILING}: expected MRI among the training samples, found none`);
  }
  if (buckets.length === 0)
    throw new InputError("there is nothing to train on: no sample in the train split, where MRI never is");
  const placesAt = (random: Random): Int32Array => {
    let draw = random.int(samples.length);
    const { places } = buckets.find(({ samples }) => (draw -= samples.length) < 0)!;
    const batch = new Int32Array(batchSize);
    for (let filled = 0; filled < batchSize;) {
      for (const i of random.permutation(places.length)) if (filled < batchSize) batch[filled++] = places[i];
    }
    return batch;
  };
  return { buckets, placesAt, at: (random) => Array.from(placesAt(random), (place) => samples[place]) };
}

/** Steps of a run: from `from` up to, but without, `to`. */
export interface Steps {
  readonly plan: BatchPlanner;
  /** The run's generator. */
  readonly root: Random;
  readonly from: number;
  readonly to: number;
}

/** Which samples a step sees, and the generator of their views: a pure function of the run's seed and the step. */
export function drawStep({ plan, root }: Steps, step: number): { places: Int32Array; random: Random } {
  const random = root.fork(`step ${step}`);
  return { places: plan.placesAt(random.fork("batch")), random: random.fork("views") };
}
