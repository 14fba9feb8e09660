/** A pretraining run in a folder: log, resumable state, and the encoder at the end. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startEngine, type Engine } from "../engine/engine.js";
import { saveEncoder } from "../encoder/checkpoint.js";
import type { Encoder } from "../encoder/vit.js";
import { readBytes, sweepTemporary, writeAtomic } from "../files.js";
import type { Random } from "../random.js";
import { CEILING, InputError, type Sample } from "../types.js";
import type { BatchPlan } from "./batches.js";
import type { Feed } from "./feed.js";
import type { LoaderOptions } from "./loader.js";
import { initState, train, trainedEncoder, type TrainEvent } from "./loop.js";
import type { Method, Objective } from "./objective.js";
import { lockRun } from "./runLock.js";
import { removeSnapshots, saveSnapshot } from "./snapshots.js";
import { loadState, saveState, type TrainState } from "./state.js";
import { EventFile, EVENTS } from "./tensorboard.js";

const STATE = "state.safetensors";
const LOG = "log.jsonl";

export interface PretrainOptions extends BatchPlan, Omit<LoaderOptions, "entry"> {
  readonly folder: string;
  readonly steps: number;
  readonly random: Random;
  /** Default: `startEngine()`. Engines agree to rounding only, so a run goes on with the one it started on. */
  readonly engine?: Engine;
  /** What the run's losses depend on besides the code: data, sizes, rates. Stored, and compared on resuming. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Go on from the folder's state where there is one; otherwise the folder must not hold a run. */
  readonly resume?: boolean;
  /** Steps between states on disk. */
  readonly saveEvery?: number;
  /** Keep the encoder as it is after these steps, 0 for before any, in FOLDER/snapshots; see `snapshotSteps`. */
  readonly snapshots?: readonly number[];
}

/** One line of log.jsonl. */
export interface LogLine {
  readonly step: number;
  readonly loss: number;
  readonly learningRate: number;
  readonly secondsPerStep: number;
  /** What the step waited for its batch, in seconds and as a share of the step, and who made it. */
  readonly inputSeconds: number;
  readonly inputShare: number;
  readonly inputBy: string;
  readonly bucket: string;
  readonly [term: string]: number | string;
}

/** Refuses a folder that holds a run, which training would write over. */
export function assertNoRun(folder: string, method: Method): void {
  if (!existsSync(join(folder, STATE))) return;
  throw new InputError(`${folder}: holds a ${method} run already; resume it or choose another folder`);
}

/**
 * Trains in a folder that no other process trains in (`lockRun`), and keeps it such that it can be killed at any moment: the
 * state is replaced whole, and the log is cut back to the state's step on resuming. Breaking out of the loop saves the state
 * first.
 *
 * @yields after every step, once the step is in the log
 * @returns the trained encoder, which is also in the folder
 * @throws InputError where the folder holds a run and `resume` was not asked, or a run with other settings, or another process
 *         trains there
 */
export async function* pretrain(
  objective: Objective,
  data: readonly Sample[] | Feed,
  options: PretrainOptions,
): AsyncGenerator<TrainEvent, Encoder, void> {
  const release = lockRun(options.folder);
  try {
    return yield* pretrainAlone(objective, data, options);
  } finally {
    release();
  }
}

async function* pretrainAlone(
  objective: Objective,
  data: readonly Sample[] | Feed,
  options: PretrainOptions,
): AsyncGenerator<TrainEvent, Encoder, void> {
  const { folder, steps, settings, saveEvery = 50 } = options;
  const [statePath, logPath] = [join(folder, STATE), join(folder, LOG)];
  const engine = options.engine ?? (await startEngine());
  // The engine's name is asked for when a state is saved: a default engine may have turned to another on the way.
  const identity = () => ({
    engine: engine.name,
    method: objective.method,
    encoder: objective.encoder,
    pooling: objective.pooling,
    steps,
    batchSize: options.batchSize,
    ...settings,
    ...(options.ceiling ? { ceiling: CEILING } : {}),
  });
  const found = existsSync(statePath);
  if (!options.resume) assertNoRun(folder, objective.method);
  const start = found ? loadState(statePath, identity()) : undefined;
  const log = start ? readLog(folder).filter((line) => line.step < start.step) : [];
  if (!start) for (const path of [logPath, join(folder, EVENTS)]) rmSync(path, { force: true });
  sweepTemporary(folder);

  let last: TrainState | undefined = start;
  let newest: TrainEvent | undefined;
  const done = [...log];
  const began = Date.now() / 1000;
  let eventFile: EventFile | undefined;
  const save = async () => {
    if (!newest || last?.step === newest.step + 1) return;
    last = await newest.snapshot();
    // The log goes first: lines beyond the state are cut on resuming, lines that lack could not be made up.
    writeAtomic(logPath, log.map((line) => JSON.stringify(line) + "\n").join(""));
    try {
      saveState(statePath, last, identity());
    } catch (error) {
      if (!existsSync(statePath)) rmSync(logPath); // a log alone is no run
      throw error;
    }
    eventFile ??= new EventFile(folder, done, began);
    eventFile.follow(log);
  };
  // Written before the state of the same step: a run that is stopped between the two writes it again, and never lacks it.
  const snapshot = (state: TrainState) => {
    const encoder = trainedEncoder(objective, state);
    saveSnapshot(folder, state.step, options.ceiling ? { ...encoder, ceiling: true } : encoder, identity());
  };
  if (!start) removeSnapshots(folder);
  if (!start && options.snapshots?.includes(0)) snapshot(initState(objective, options.random));
  // Not `for await`: leaving that would free the run's state before it is saved.
  const events = train(objective, data, { ...options, engine, start });
  let ranOn = engine.description;
  try {
    for (let next = await events.next(); !next.done; next = await events.next()) {
      newest = next.value;
      log.push(logLine(newest, engine.description === ranOn ? [] : engine.notes));
      ranOn = engine.description;
      if (options.snapshots?.includes(newest.step + 1)) snapshot(await newest.snapshot());
      if ((newest.step + 1) % saveEvery === 0 || newest.step + 1 === steps) await save();
      yield newest;
    }
  } finally {
    await save();
    await events.return();
  }
  if (!last || last.step !== steps) throw new InputError(`${folder}: the run stopped before step ${steps}`);
  const encoder = trainedEncoder(objective, last);
  saveEncoder(folder, encoder, identity()); // the same run gives the same bytes: times stand in the log
  return encoder;
}

function logLine(event: TrainEvent, notes: readonly string[]): LogLine {
  const { step, terms, learningRate, secondsPerStep, inputSeconds, inputShare, inputBy, bucket, warning } = event;
  const input = { inputSeconds, inputShare, inputBy };
  const line = { step, loss: terms.loss, ...terms, learningRate, secondsPerStep, ...input, bucket };
  const said = [...notes, ...(warning ? [warning] : [])].join("; ");
  return said ? { ...line, warning: said } : line;
}

/** The log of a run, oldest step first. */
export function readLog(folder: string): LogLine[] {
  const path = join(folder, LOG);
  if (!existsSync(path)) return [];
  const text = Buffer.from(readBytes(path)).toString("utf8");
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line, i) => {
    try {
      return JSON.parse(line) as LogLine;
    } catch {
      throw new InputError(`${path}:${i + 1}: expected a line of JSON, got "${line.slice(0, 40)}"`);
    }
  });
}
