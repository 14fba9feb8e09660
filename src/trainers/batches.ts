/** Which samples make the batch of which step: a pure function of the seed and the step, so a resumed run sees the same. */
import type { Random } from "../random.js";
import {
  assertPretrainable,
  CEILING,
  InputError,
  sizeOf,
  UNSEEN_MODALITY,
  type CeilingOption,
  type Modality,
  type Sample,
} from "../types.js";

/**
 * `modality`: a batch holds one modality (the default: in SimDINO the coding rate of a mixed batch is spent on telling
 * modalities apart). `shape`: a batch holds whatever was prepared to one shape: X-ray with ultrasound, and CT with endoscopy
 * where videos have as many frames as volumes have slices. An image and a volume never share a batch.
 */
export type Bucketing = "modality" | "shape";

export interface Bucket {
  readonly name: string;
  readonly samples: readonly Sample[];
  /** Where each of them stands among all samples. */
  readonly places: readonly number[];
}

/** Samples of one batch have one shape, and with it one size of views. Buckets come in order of their names. */
export function makeBuckets(samples: readonly Sample[], bucketing: Bucketing, allowed: CeilingOption = {}): Bucket[] {
  const buckets = new Map<string, number[]>();
  samples.forEach((sample, place) => {
    assertPretrainable(sample.modality, allowed);
    const { id, pixels, shape } = sample;
    if (pixels.length !== sizeOf(shape)) {
      throw new InputError(`${id}: expected ${sizeOf(shape)} pixels, which is [${shape}], got ${pixels.length}`);
    }
    const name = bucketing === "modality" ? `${sample.modality} ${sample.kind}` : shape.join("x");
    const places = buckets.get(name);
    if (places) places.push(place);
    else buckets.set(name, [place]);
  });
  const sorted = [...buckets].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, places]) => ({ name, samples: places.map((place) => samples[place]), places }));
}

/** Part of the training samples for each modality, in any unit; a modality that is left out is never drawn. */
export type MixtureShares = Readonly<Partial<Record<Modality, number>>>;

export interface BatchPlan extends CeilingOption {
  readonly batchSize: number;
  readonly bucketing?: Bucketing;
  /** Instead of in proportion to how many samples each modality has. */
  readonly mixture?: MixtureShares;
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
 * the bucket is smaller than the batch, in as many whole rounds as it takes. With `mixture` the bucket is drawn in
 * proportion to the shares of its modalities, and where it holds several of them each place of the batch draws one.
 *
 * @throws InputError where there is nothing to train on, an MRI sample among it (or none, for a ceiling), a sample that
 *         lacks pixels, or a share of a modality that has no samples
 */
export function planBatches(
  samples: readonly Sample[],
  { batchSize, bucketing = "modality", mixture, ceiling }: BatchPlan,
): BatchPlanner {
  const buckets = makeBuckets(samples, bucketing, { ceiling });
  if (ceiling && !samples.some(({ modality }) => modality === UNSEEN_MODALITY)) {
    throw new InputError(`${CEILING}: expected MRI among the training samples, found none`);
  }
  if (buckets.length === 0)
    throw new InputError("there is nothing to train on: no sample in the train split, where MRI never is");
  if (mixture) return planMixture(samples, buckets, { batchSize, mixture, ceiling });
  const placesAt = (random: Random): Int32Array => {
    let draw = random.int(samples.length);
    const { places } = buckets.find(({ samples }) => (draw -= samples.length) < 0)!;
    const batch = new Int32Array(batchSize);
    for (let filled = 0; filled < batchSize;) {
      for (const i of random.permutation(places.length).subarray(0, batchSize - filled)) batch[filled++] = places[i];
    }
    return batch;
  };
  return { buckets, placesAt, at: (random) => Array.from(placesAt(random), (place) => samples[place]) };
}

/** A place in a list of weights, each as likely as its weight says. */
function drawWeighted(weights: readonly number[], random: Random): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let draw = random.uniform(0, total);
  return weights.findIndex((weight, i) => i === weights.length - 1 || (draw -= weight) < 0);
}

/** As `planBatches`, by shares. */
function planMixture(
  samples: readonly Sample[],
  buckets: readonly Bucket[],
  { batchSize, mixture, ceiling }: BatchPlan & { readonly mixture: MixtureShares },
): BatchPlanner {
  for (const [modality, share] of Object.entries(mixture) as [Modality, number][]) {
    assertPretrainable(modality, { ceiling });
    if (!(share > 0 && Number.isFinite(share)))
      throw new InputError(`mixture: ${modality}: expected above 0, got ${share}`);
    if (samples.some((sample) => sample.modality === modality)) continue;
    throw new InputError(`mixture: a share of ${modality}, but no sample of it in the train split`);
  }
  /** In each bucket its modalities that have a share, and where their samples stand. */
  const strata = buckets.flatMap(({ places }) => {
    const of = (modality: string) => places.filter((place) => samples[place].modality === modality);
    const parts = Object.entries(mixture)
      .map(([modality, share]) => ({ share, places: of(modality) }))
      .filter(({ places }) => places.length > 0);
    return parts.length > 0 ? [parts] : [];
  });
  if (strata.length === 0) throw new InputError("mixture: expected a share of at least one modality, got none");
  const total = (parts: (typeof strata)[number]) => parts.reduce((sum, { share }) => sum + share, 0);
  const placesAt = (random: Random): Int32Array => {
    const parts = strata[drawWeighted(strata.map(total), random)];
    const orders = parts.map((part) => ({ part, order: random.permutation(part.places.length), next: 0 }));
    const shares = parts.map(({ share }) => share);
    return Int32Array.from({ length: batchSize }, () => {
      const turn = orders[drawWeighted(shares, random)];
      if (turn.next === turn.order.length) {
        turn.order = random.permutation(turn.part.places.length);
        turn.next = 0;
      }
      return turn.part.places[turn.order[turn.next++]];
    });
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
