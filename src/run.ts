/** One run of the whole experiment in a folder: both encoders, all embeddings. What is there already is used, and said. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { loadEmbeddings } from "./embeddings.js";
import type { Encoder } from "./encoder/vit.js";
import { startEngine, type Engine } from "./engine/engine.js";
import {
  embeddingsPath,
  embedEvaluation,
  embedPixels,
  loadData,
  pretrainMethod,
  saveAll,
  untrainedEncoder,
  type DataOptions,
  type ExperimentData,
  type NamedEmbeddings,
} from "./experiment.js";
import { METHODS, presetOf } from "./presets.js";
import { planBatches } from "./trainers/batches.js";
import { readLog, type LogLine } from "./trainers/pretrain.js";
import type { Method } from "./trainers/objective.js";
import { snapshotSteps } from "./trainers/snapshots.js";
import { InputError } from "./types.js";

/** How a method's name is written in tables. */
export const METHOD_NAMES: Readonly<Record<Method, string>> = { mae: "MAE", simdino: "SimDINO" };

/** A run of the story is never a ceiling. */
export interface RunOptions extends Omit<DataOptions, "ceiling"> {
  readonly preset: string;
  /** A data set of the catalogue; the preset's own where it is left out. */
  readonly data?: string;
  readonly seed: number;
  /** The folder of all runs; this run has its own folder in it, named after preset, data and seed. */
  readonly runs?: string;
  /** Go on with a run that was stopped, or use one that is complete; otherwise it starts afresh. */
  readonly resume?: boolean;
  /** Default: `startEngine()`. */
  readonly engine?: Engine;
  /** Asked after every step: true stops the run, which can be resumed. */
  readonly stopped?: () => boolean;
}

export interface ExperimentRun {
  readonly preset: string;
  readonly seed: number;
  readonly folder: string;
  readonly data: ExperimentData;
  readonly logs: Readonly<Record<Method, readonly LogLine[]>>;
  readonly embeddings: readonly NamedEmbeddings[];
  readonly engine: string;
}

/** Where a run is kept: `runs/default-phantom-s7`. */
export function runFolder({ runs = "runs", preset, data, seed }: RunOptions): string {
  const name = (data ?? presetOf(preset).data).replace(/[^\w.-]+/g, "_");
  return join(runs, `${preset}-${name}-s${seed}`);
}

/** Work that was stopped between two steps, in order, and can go on. */
export class Stopped extends Error {
  override readonly name = "Stopped";
}

/** Pretrains both methods and embeds the evaluation samples with every encoder and baseline. */
export async function runExperiment(options: RunOptions): Promise<ExperimentRun> {
  const preset = presetOf(options.preset);
  const folder = runFolder(options);
  const { seed, onProgress } = options;
  const data = await loadData(options.data ?? preset.data, options);
  planBatches(data.train, { batchSize: 1 }); // throws where there is nothing to train on, before an older run is removed
  if (data.gallery.length === 0 || data.query.length === 0) {
    throw new InputError(`${data.name}: expected samples in the splits gallery and query, found none`);
  }
  if (!options.resume && existsSync(folder)) rmSync(folder, { recursive: true });
  const engine = options.engine ?? (await startEngine());

  const encoders: [name: string, role: NamedEmbeddings["role"], encoder: Encoder][] = [
    ["untrained", "untrained", untrainedEncoder(preset, seed)],
  ];
  for (const method of METHODS) {
    encoders.push([
      METHOD_NAMES[method],
      "trained",
      await pretrainFully(method, data, { ...options, engine }, join(folder, method)),
    ]);
  }
  const embeddings = embedPixels(data);
  for (const [name, role, encoder] of encoders) {
    embeddings.push(...(await embedEvaluation(name, role, encoder, data, { engine, onProgress })));
  }
  saveAll(join(folder, "embeddings"), embeddings);
  const logs = { mae: readLog(join(folder, "mae")), simdino: readLog(join(folder, "simdino")) };
  return { preset: options.preset, seed, folder, data, logs, embeddings, engine: engine.description };
}

async function pretrainFully(
  method: Method,
  data: ExperimentData,
  options: RunOptions,
  folder: string,
): Promise<Encoder> {
  const preset = presetOf(options.preset);
  const total = preset[method].steps;
  const run = pretrainMethod(method, preset, data, {
    engine: options.engine,
    folder,
    seed: options.seed,
    resume: options.resume,
    snapshots: snapshotSteps(total),
  });
  try {
    for (;;) {
      const next = await run.next();
      if (next.done) return next.value;
      const { step, terms, warning } = next.value;
      const note = warning ?? `loss ${terms.loss.toFixed(4)}`;
      options.onProgress?.({ label: `pretrain ${METHOD_NAMES[method]}`, done: step + 1, total, note });
      if (options.stopped?.() && step + 1 < total) {
        throw new Stopped(`stopped at step ${step + 1} of ${total} (${METHOD_NAMES[method]}); --resume goes on`);
      }
    }
  } finally {
    await run.return(undefined as never); // saves the state of a run that is left early
  }
}

/** The embeddings of a finished run, from its folder; an `InputError` that says how to make them where they are not. */
export function loadRunEmbeddings(options: RunOptions): NamedEmbeddings[] {
  const folder = runFolder(options);
  const expected: Omit<NamedEmbeddings, "set">[] = [];
  const expect = (name: string, role: NamedEmbeddings["role"], pooling: NamedEmbeddings["pooling"]) => {
    expected.push({ name, role, pooling, variant: "plain" });
    expected.push({ name: `${name}, whitened`, role, pooling, variant: "whitened" });
  };
  expect("raw pixels", "pixels", "none");
  for (const name of ["untrained", ...Object.values(METHOD_NAMES)]) {
    const role = name === "untrained" ? "untrained" : "trained";
    expect(`${name}, CLS`, role, "cls");
    expect(`${name}, mean`, role, "mean");
  }
  return expected.map((named) => {
    const path = embeddingsPath(join(folder, "embeddings"), named.name);
    if (!existsSync(path)) {
      throw new InputError(`${path}: not there; run m3ret reproduce --preset ${options.preset} first`);
    }
    return { ...named, set: loadEmbeddings(path) };
  });
}

/**
 * What a notebook runs on: preset `smoke`, seed 7 and the folder `runs` beside `notebooks`, unless M3RET_PRESET,
 * M3RET_DATA, M3RET_SEED or M3RET_RUNS say otherwise; `m3ret reproduce` sets them to its own run.
 */
export function notebookSettings(): { preset: string; data: string; seed: number; runs: string } {
  const { M3RET_PRESET: preset = "smoke", M3RET_DATA, M3RET_SEED = "7", M3RET_RUNS: runs = "../runs" } = process.env;
  return { preset, data: M3RET_DATA ?? presetOf(preset).data, seed: Number(M3RET_SEED), runs };
}

/** The embeddings of a finished run, or, where there is none, of one that is made now. `made` says which. */
export async function openOrRun(
  options: RunOptions,
): Promise<{ embeddings: readonly NamedEmbeddings[]; made: boolean }> {
  const folder = join(runFolder(options), "embeddings");
  if (existsSync(folder)) return { embeddings: loadRunEmbeddings(options), made: false };
  return { embeddings: (await runExperiment({ ...options, resume: true })).embeddings, made: true };
}
