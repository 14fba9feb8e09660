/** Which samples make the batch of which step: a pure function of the seed and the step, so a resumed run sees the same. */
import type { Random } from "../random.js";
import { assertPretrainable, InputError, type Sample } from "../types.js";

/**
 * `modality`: a batch holds one modality (the default: in SimDINO, modalities in one batch push each other apart, see the
 * phantom study). `shape`: a batch holds whatever has one shape, so X-ray and ultrasound mix.
 */
export type Bucketing = "modality" | "shape";

export interface Bucket {
  readonly name: string;
  readonly samples: readonly Sample[];
}

/** Samples of one batch have one kind, because views take their size from it. Buckets come in order of their names. */
export function makeBuckets(samples: readonly Sample[], bucketing: Bucketing): Bucket[] {
  const buckets = new Map<string, Sample[]>();
  for (const sample of samples) {
    assertPretrainable(sample.modality);
    const name = bucketing === "modality" ? `${sample.modality} ${sample.kind}` : sample.kind;
    const bucket = buckets.get(name);
    if (bucket) bucket.push(sample);
    else buckets.set(name, [sample]);
  }
  const sorted = [...buckets].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, members]) => ({ name, samples: members }));
}

export interface BatchPlan {
  readonly batchSize: number;
  readonly bucketing?: Bucketing;
}

/**
 * The samples of a step. The bucket is drawn in proportion to its size; its batch is drawn without repetition, or, where
 * the bucket is smaller than the batch, in as many whole rounds as it takes.
 *
 * @throws InputError where there is nothing to train on, or an MRI sample among it
 */
export function planBatches(samples: readonly Sample[], { batchSize, bucketing = "modality" }: BatchPlan) {
  const buckets = makeBuckets(samples, bucketing);
  if (buckets.length === 0)
    throw new InputError("there is nothing to train on: no sample in the train split, where MRI never is");
  return {
    buckets,
    /** @param random the step's own generator */
    at(random: Random): readonly Sample[] {
      let place = random.int(samples.length);
      const bucket = buckets.find(({ samples }) => (place -= samples.length) < 0)!;
      const batch: Sample[] = [];
      while (batch.length < batchSize) {
        for (const i of random.permutation(bucket.samples.length)) {
          if (batch.length < batchSize) batch.push(bucket.samples[i]);
        }
      }
      return batch;
    },
  };
}
