/**
 * Batches ahead of the step that needs them. A compiled step blocks the thread that it is called from, so worker threads
 * draw, augment and cut meanwhile. What a batch holds depends on the seed and its step alone, not on who makes it.
 */
import type { Sample } from "../types.js";
import { drawStep, type Steps } from "./batches.js";
import type { Collate } from "./collate.js";
import type { Batch } from "./objective.js";
import { sharePictures } from "./sharePictures.js";
import { WorkerBatches, type Answer, type LoaderData, type Question } from "./workerBatches.js";

export interface LoaderOptions {
  /**
   * Worker threads that make batches; 0 makes them in this thread. By default one core is left to the training thread, and
   * 8 workers are the most. A worker that is ahead sleeps.
   */
  readonly workers?: number;
  /** Batches that are in use, ready or being made, together: two more than workers where absent, and 1 GiB at most. */
  readonly prefetch?: number;
  /** Another entry file for the workers: tests have one that fails. */
  readonly entry?: URL;
}

/** The batches of some steps, in order. */
export interface BatchSource {
  /** For logs: "2 worker threads", or "training thread (why)". */
  readonly madeBy: string;
  /** The batch of the next step. It is there until the next one is asked for. */
  next(): Promise<Batch>;
  /** Ends the worker threads, also in the middle of a batch. */
  close(): Promise<void>;
}

/**
 * Opens the batches of some steps: in worker threads where the collation can travel, otherwise in this thread, and
 * `madeBy` says why.
 */
export function openBatches(
  collate: Collate,
  samples: readonly Sample[],
  steps: Steps,
  options: LoaderOptions = {},
): BatchSource {
  const reason = whyNoWorkers(collate, options);
  if (reason !== null) return batchesHere(collate, samples, steps, reason);
  return new WorkerBatches<Question, Exclude<Answer, { message: string }>>(
    {
      entry: new URL("./loaderWorker.js", import.meta.url),
      data: (): LoaderData => ({ spec: collate.spec!, samples: sharePictures(samples) }),
      steps,
      question(step) {
        const { places, random } = drawStep(steps, step);
        return { step, places, random: random.state() };
      },
      heard: ({ batch }) => batch,
    },
    options,
  );
}

/** Null where worker threads can make the batches. */
export function whyNoWorkers({ spec }: Collate, { workers }: LoaderOptions): string | null {
  if (workers === 0) return "no workers were asked for";
  if (!spec) return "a collation of one's own cannot leave it";
  // Under vitest this file runs as TypeScript, which a worker cannot load.
  return import.meta.url.endsWith(".ts") ? "worker threads need compiled files" : null;
}

function batchesHere(collate: Collate, samples: readonly Sample[], steps: Steps, reason: string): BatchSource {
  let step = steps.from;
  return {
    madeBy: `training thread (${reason})`,
    async next() {
      const { places, random } = drawStep(steps, step++);
      return collate(
        Array.from(places, (place) => samples[place]),
        random,
      );
    },
    close: async () => {},
  };
}
