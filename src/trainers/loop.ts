/** The training loop: it yields, and whoever asked decides whether to print, plot, save or stop. */
import { under, withPrefix, type NamedArrays } from "../engine/arrays.js";
import { startEngine, type Engine } from "../engine/engine.js";
import type { StepFunction } from "../engine/runner.js";
import type { Encoder } from "../encoder/vit.js";
import { Random } from "../random.js";
import type { Sample } from "../types.js";
import type { BatchPlan } from "./batches.js";
import { feedOf, type Feed } from "./feed.js";
import type { LoaderOptions } from "./loader.js";
import type { Objective } from "./objective.js";
import type { TrainState } from "./state.js";
import { stepScalars, trainingStep, type StepScalars } from "./step.js";

export interface TrainOptions extends BatchPlan, Omit<LoaderOptions, "entry"> {
  readonly steps: number;
  readonly random: Random;
  /** Default: `startEngine()`. */
  readonly engine?: Engine;
  /** Where to go on; a fresh start without it. */
  readonly start?: TrainState;
}

export interface TrainEvent {
  /** The step just done, counted from 0. */
  readonly step: number;
  /** Loss terms and `gradientNorm`. */
  readonly terms: Readonly<Record<string, number>>;
  readonly learningRate: number;
  readonly bucket: string;
  readonly secondsPerStep: number;
  /** Of these, what the training thread waited for its batch, in seconds and as a share. */
  readonly inputSeconds: number;
  readonly inputShare: number;
  /** Who makes the batches: "2 worker threads", or "training thread (why)". */
  readonly inputBy: string;
  /** One sentence when something looks wrong, such as near-collapse. */
  readonly warning: string | null;
  /** A copy of the whole state after this step. */
  snapshot(): Promise<TrainState>;
}

/** A fresh state: parameters, the teacher as their copy, zero moments. */
export function initState(objective: Objective, random: Random): TrainState {
  const params = objective.init(random.fork("init"));
  const zeros = Object.fromEntries(
    Object.entries(params).map(([name, { shape, data }]) => [name, { shape, data: new Float32Array(data.length) }]),
  );
  const arrays: NamedArrays = {
    ...withPrefix(params, "params/"),
    ...(objective.teacher ? withPrefix(params, "teacher/") : {}),
    ...withPrefix(zeros, "first/"),
    ...withPrefix(zeros, "second/"),
  };
  return { step: 0, arrays, random: random.state() };
}

/** The training step over a flat state, as a runner wants it. */
export function stepFunction(objective: Objective): StepFunction {
  return (flat, batch, scalars, grids) => {
    const state = {
      params: under(flat, "params/"),
      teacher: under(flat, "teacher/"),
      first: under(flat, "first/"),
      second: under(flat, "second/"),
    };
    const result = trainingStep(objective, state, batch, grids, scalars as StepScalars);
    const next = Object.entries(result.state).map(([part, tensors]) => withPrefix(tensors, `${part}/`));
    return { state: Object.assign({}, ...next), outputs: result.terms };
  };
}

/**
 * Pretrains on samples, or on what a feed brings. Every random choice of step i comes from `random.fork("step i")`, so a run that was stopped and
 * resumed repeats the undisturbed one bit for bit (on one machine and backend), whoever makes its batches.
 *
 * @yields after every step; breaking out of the loop frees what it held
 */
export async function* train(
  objective: Objective,
  data: readonly Sample[] | Feed,
  options: TrainOptions,
): AsyncGenerator<TrainEvent, void, void> {
  const start = options.start ?? initState(objective, options.random);
  const root = new Random(start.random);
  // Before the engine starts, so that the first batches are made meanwhile.
  const source = feedOf(data, options).open(objective.collate, { root, from: start.step, to: options.steps }, options);
  try {
    const engine = options.engine ?? (await startEngine());
    const runner = await engine.runner(stepFunction(objective), start.arrays);
    try {
      for (let step = start.step; step < options.steps; step++) {
        const began = performance.now();
        const batch = await source.next();
        const waited = performance.now() - began;
        const schedule = objective.schedule(step, options.steps);
        const terms = await runner.step(batch, stepScalars(step, schedule, objective));
        // Lets signals and batches through: a step computes in this thread.
        await new Promise((resolve) => setImmediate(resolve));
        const spent = performance.now() - began;
        yield {
          step,
          terms,
          learningRate: schedule.learningRate,
          bucket: batch.bucket,
          secondsPerStep: spent / 1000,
          inputSeconds: waited / 1000,
          inputShare: waited / spent,
          inputBy: source.madeBy,
          warning: objective.warning(terms, batch),
          snapshot: async () => {
            const state = { step: step + 1, arrays: await runner.state(), random: root.state() };
            return options.ceiling ? { ...state, ceiling: true } : state;
          },
        };
      }
    } finally {
      runner.dispose();
    }
  } finally {
    await source.close();
  }
}

/** The encoder inside a training state: the teacher's where there is one, as DINO evaluates. */
export function trainedEncoder(objective: Objective, state: TrainState): Encoder {
  const from = objective.teacher ? "teacher/encoder/" : "params/encoder/";
  const encoder = { config: objective.encoder, params: under(state.arrays, from) };
  return state.ceiling ? { ...encoder, ceiling: true } : encoder;
}
