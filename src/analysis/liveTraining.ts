/** Training in a notebook cell: seen while it goes, stopped between two steps, and kept. */
import type { Encoder } from "../encoder/vit.js";
import type { Engine } from "../engine/engine.js";
import { untilInterrupted } from "../interrupt.js";
import { formatRate, formatSeconds, Rate, type Clock } from "../progress.js";
import { Random } from "../random.js";
import type { Bucketing } from "../trainers/batches.js";
import { train, trainedEncoder, type TrainEvent } from "../trainers/loop.js";
import type { Method, Objective } from "../trainers/objective.js";
import { collapseState } from "../trainers/simdino.js";
import type { TrainState } from "../trainers/state.js";
import { InputError, type Sample } from "../types.js";
import { count, type Source } from "./chartStyle.js";
import { LOSS_TERMS } from "./lossFigure.js";
import { trainingSvg, type CollapseHealth, type PanelTerm, type TrainingPanel } from "./trainingPanel.js";

/** The part of tslab's `newDisplay()` that is used: every call replaces what the cell showed before. */
export interface SvgDisplay {
  svg(source: string): void;
}

const NAMES: Readonly<Record<Method, string>> = { mae: "MAE", simdino: "SimDINO" };

export interface WatchOptions extends Source {
  readonly steps: number;
  readonly batchSize: number;
  /** How many samples there are to train on: said in the caption. */
  readonly samples: number;
  readonly now?: Clock;
  /** Milliseconds between drawings, at least. */
  readonly every?: number;
}

/**
 * Passes the events of a run on and draws them in one place: loss terms, rate, time left, input wait, and for SimDINO where
 * the expansion stands between collapse and ceiling. An interrupt (■) ends the run after the step at hand.
 *
 *     for await (const event of watchTraining(newDisplay(), objective, events, options)) …
 */
export async function* watchTraining<R>(
  display: SvgDisplay,
  objective: Objective,
  events: AsyncGenerator<TrainEvent, R, void>,
  options: WatchOptions,
): AsyncGenerator<TrainEvent, R | undefined, void> {
  const { now = () => performance.now(), every = 250 } = options;
  const panel = new Panel(objective, options, now());
  let drawnAt = -Infinity;
  let ending = "stopped";
  display.svg(trainingSvg(panel.at("starting")));
  try {
    const passed = untilInterrupted(events);
    for (let next = await passed.next(); ; next = await passed.next()) {
      if (next.done) {
        ending = panel.done === options.steps ? "finished" : "interrupted";
        return next.value;
      }
      panel.note(next.value, now());
      if (now() - drawnAt >= every) {
        display.svg(trainingSvg(panel.at("running, ■ stops it")));
        drawnAt = now();
      }
      yield next.value;
    }
  } finally {
    const time = formatSeconds(panel.seconds(now()));
    display.svg(trainingSvg(panel.at(`${ending} after ${time}`)));
  }
}

/** What is drawn, gathered event by event. */
class Panel {
  readonly #values: Record<string, number[]> = {};
  readonly #rate = new Rate();
  #newest: TrainEvent | undefined;
  #waited = 0;
  #spent = 0;
  done = 0;

  constructor(
    readonly objective: Objective,
    readonly options: WatchOptions,
    readonly startedAt: number,
  ) {
    for (const { term } of LOSS_TERMS[objective.method]) this.#values[term] = [];
  }

  note(event: TrainEvent, at: number): void {
    this.#newest = event;
    this.done = event.step + 1;
    this.#rate.note(this.done, at);
    this.#waited += event.inputSeconds;
    this.#spent += event.secondsPerStep;
    for (const [term, values] of Object.entries(this.#values)) values.push(event.terms[term]);
  }

  seconds(at: number): number {
    return (at - this.startedAt) / 1000;
  }

  /** @param state what it does now; only what is running has time left */
  at(state: string): TrainingPanel {
    const { objective, options, done } = this;
    const { steps, batchSize, samples, dataSet, seed } = options;
    const left = this.#rate.secondsLeft(steps);
    const rate = formatRate(this.#rate.perSecond()).replace("/s", " steps/s").replace(" each", " a step");
    const wait = this.#spent > 0 ? `input wait ${((100 * this.#waited) / this.#spent).toFixed(1)} %` : "";
    const method = NAMES[objective.method];
    return {
      method,
      done,
      total: steps,
      state,
      facts: [rate, state.startsWith("running") && left !== null ? `${formatSeconds(left)} left` : "", wait].filter(
        Boolean,
      ),
      terms: LOSS_TERMS[objective.method].map(({ term, unit }) => this.#term(term, unit)),
      health: this.#health(),
      caption: `${method}, batches of ${batchSize} from ${count(samples)} samples; ${dataSet}, seed ${seed}`,
    };
  }

  #term(name: string, unit: string): PanelTerm {
    const limits = name === "expansion" ? this.objective.limits?.(this.options.batchSize) : undefined;
    const levels = limits && Object.entries(limits).map(([level, value]) => ({ name: level, value }));
    return { name, unit, values: this.#values[name], levels };
  }

  #health(): CollapseHealth | undefined {
    const limits = this.objective.limits?.(this.options.batchSize);
    if (!limits || !this.#newest) return undefined;
    const { agreement, expansion } = this.#newest.terms;
    const { spread, state } = collapseState({ agreement, expansion }, limits);
    return { agreement, spread, state };
  }
}

export interface LiveOptions extends Source {
  readonly steps: number;
  readonly batchSize: number;
  readonly bucketing?: Bucketing;
  readonly engine?: Engine;
}

/** What a training in a cell leaves. */
export interface LiveTraining {
  /** After the last step that was done, be it the last of the plan or not. */
  readonly encoder: Encoder;
  readonly state: TrainState;
  /** The terms of every step. */
  readonly log: readonly Readonly<Record<string, number>>[];
  readonly interrupted: boolean;
  readonly seconds: number;
}

/**
 * Trains and shows it in one place. An interrupt (■) ends it after the step at hand, and what was learned so far is
 * returned: the cell ends in order, so that the next cells can look at it. A second ■ gives the cell up.
 *
 * @param display tslab's `newDisplay()`
 * @throws InputError where there is nothing to train on, or MRI among it
 */
export async function liveTraining(
  display: SvgDisplay,
  objective: Objective,
  samples: readonly Sample[],
  options: LiveOptions,
): Promise<LiveTraining> {
  const { steps, seed } = options;
  const began = performance.now();
  const log: Readonly<Record<string, number>>[] = [];
  let state: TrainState | undefined;
  const run = train(objective, samples, { ...options, random: new Random(seed) });
  const events = keepLast(run, steps, (last) => (state = last));
  for await (const { terms } of watchTraining(display, objective, events, { ...options, samples: samples.length })) {
    log.push(terms);
  }
  if (!state) throw new InputError(`live training: expected at least one step, got ${steps}`);
  const seconds = (performance.now() - began) / 1000;
  return { encoder: trainedEncoder(objective, state), state, log, interrupted: log.length < steps, seconds };
}

/** The same events; the state after the last one is handed over, be it the last of the plan or the one that was left at. */
async function* keepLast(
  events: AsyncGenerator<TrainEvent, void, void>,
  steps: number,
  keep: (state: TrainState) => void,
): AsyncGenerator<TrainEvent, void, void> {
  let pending: TrainEvent | undefined; // what the loop waits at: its state can still be read
  try {
    for (let next = await events.next(); !next.done; next = await events.next()) {
      if (next.value.step + 1 === steps) keep(await next.value.snapshot());
      else pending = next.value;
      yield next.value;
      pending = undefined;
    }
  } finally {
    if (pending) keep(await pending.snapshot());
    await events.return();
  }
}
