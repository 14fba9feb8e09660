/** One training step as a pure function of tensors: (state, batch, scalars) → (state, terms). It can be traced. */
import * as tf from "@tensorflow/tfjs";
import { mapValues, type NamedTensors } from "../engine/arrays.js";
import type { Batch, Objective, Schedule } from "./objective.js";
import { adamW, clipFactor } from "./optimizer.js";

/** Everything that training changes. `teacher` is empty for methods without one. */
export interface StepState {
  readonly params: NamedTensors;
  readonly teacher: NamedTensors;
  readonly first: NamedTensors;
  readonly second: NamedTensors;
}

/** The schedule of one step and AdamW's bias corrections, as scalar tensors. */
export type StepScalars = Readonly<
  Record<"learningRate" | "weightDecay" | "teacherMomentum" | "correction1" | "correction2", tf.Tensor>
> & {
  /** What the loss is multiplied by on the way to the gradients, where an engine computes them in few bits. */
  readonly lossScale?: tf.Tensor;
};

/** Numbers of `StepScalars` for step 0, 1, …. */
export function stepScalars(
  step: number,
  schedule: Schedule,
  { optimizer }: Objective,
): Record<Exclude<keyof StepScalars, "lossScale">, number> {
  return {
    ...schedule,
    correction1: 1 - Math.pow(optimizer.beta1, step + 1),
    correction2: 1 - Math.pow(optimizer.beta2, step + 1),
  };
}

/**
 * Loss, gradients, clipping, AdamW and the teacher's moving average.
 *
 *     teacher ← μ teacher + (1 − μ) params      (DINO, arXiv 2104.14294, §3.1; after the update of params)
 *
 * @returns the new state and the objective's terms, with `gradientNorm` before clipping beside them
 */
export function trainingStep(
  objective: Objective,
  state: StepState,
  batch: NamedTensors,
  grids: Batch["grids"],
  scalars: StepScalars,
): { state: StepState; terms: NamedTensors } {
  const names = Object.keys(state.params);
  let terms: NamedTensors = {};
  const loss = (...values: tf.Tensor[]) => {
    const params = Object.fromEntries(names.map((name, i) => [name, values[i]]));
    // What the gradient's scope made is freed on leaving it, unless it is kept.
    terms = mapValues(objective.terms(params, state.teacher, batch, grids), (term) => tf.keep(term));
    return terms.loss;
  };
  const { grads } = tf.valueAndGrads(loss)(
    names.map((name) => state.params[name]),
    scalars.lossScale as tf.Scalar | undefined,
  );
  const gradients = Object.fromEntries(names.map((name, i) => [name, grads[i]]));
  const { factor, norm } = clipFactor(gradients, objective.optimizer.clipNorm, scalars.lossScale);
  const clipped = { ...scalars, gradientScale: factor };
  const { params, moments } = adamW(state.params, gradients, state, clipped, objective.optimizer);
  const mu = scalars.teacherMomentum;
  const rest = tf.sub(1, mu);
  const teacher = mapValues(state.teacher, (slow, name) => tf.add(tf.mul(mu, slow), tf.mul(rest, params[name])));
  return { state: { params, teacher, ...moments }, terms: { ...terms, gradientNorm: norm } };
}
