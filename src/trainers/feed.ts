/** Where the batches of a run come from: samples that are in memory, or files that are read on the way (`streamFeed`). */
import type { Sample } from "../types.js";
import { planBatches, type BatchPlan, type Steps } from "./batches.js";
import type { Collate } from "./collate.js";
import { openBatches, type BatchSource, type LoaderOptions } from "./loader.js";

export interface Feed {
  /**
   * The batches of some steps. What a step sees is a function of the run's generator and the step alone, so that a run
   * goes on exactly, in the middle of an epoch too.
   */
  open(collate: Collate, steps: Omit<Steps, "plan">, options: LoaderOptions): BatchSource;
}

/** The feed itself, or one of samples. */
export function feedOf(data: readonly Sample[] | Feed, plan: BatchPlan): Feed {
  if ("open" in data) return data;
  const planner = planBatches(data, plan);
  return {
    open: (collate, steps, options) => openBatches(collate, data, { ...steps, plan: planner }, options),
  };
}
