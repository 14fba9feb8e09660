/** One run of the whole experiment in a folder: both encoders, all embeddings. What is there already is used, and said. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { embedBaselines } from "./baselines.js";
import type { Encoder } from "./encoder/vit.js";
import { startEngine, type Engine } from "./engine/engine.js";
import {
  embedEvaluation,
  embedPixels,
  hasAll,
  loadAll,
  loadData,
  pretrainMethod,
  saveAll,
  sizesOf,
  untrainedEncoder,
  type DataOptions,
  type ExperimentData,
  type NamedEmbeddings,
} from "./experiment.js";
import { embedConfigured } from "./external.js";
import { embedGrowth } from "./growth.js";
import { holdInterrupt } from "./interrupt.js";
import { METHOD_NAMES, METHODS, presetOf } from "./presets.js";
import { planBatches } from "./trainers/batches.js";
import { readLog, type LogLine } from "./trainers/pretrain.js";
import type { Method } from "./trainers/objective.js";
import { snapshotSteps } from "./trainers/snapshots.js";
import { InputError, type Shape3 } from "./types.js";

export { METHOD_NAMES };

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
  /** Rows that could not be made here, and why. */
  readonly missing: readonly string[];
  readonly engine: string;
}

/** Where a run is kept: `runs/default-phantom-s7`, or `runs/default-busi-16x64x64-s7` where a size is given. */
export function runFolder({ runs = "runs", preset, data, seed, size }: RunOptions): string {
  const name = (data ?? presetOf(preset).data).replace(/[^\w.-]+/g, "_");
  return join(runs, [preset, name, ...(size ? [size.volume.join("x")] : []), `s${seed}`].join("-"));
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
  const [baselines, configured] = [await embedBaselines(data, options), await embedConfigured(data, options)];
  const missing = [...baselines.missing, ...configured.missing];
  const embeddings = [...embedPixels(data), ...baselines.embeddings, ...configured.embeddings];
  for (const [name, role, encoder] of encoders) {
    embeddings.push(...(await embedEvaluation(name, role, encoder, data, { engine, onProgress })));
  }
  await embedGrowth(folder, data, embeddings, { engine, onProgress });
  saveAll(join(folder, "embeddings"), embeddings, missing); // last: its folder says that the run is whole
  const logs = { mae: readLog(join(folder, "mae")), simdino: readLog(join(folder, "simdino")) };
  return { preset: options.preset, seed, folder, data, logs, embeddings, missing, engine: engine.description };
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
  const folder = join(runFolder(options), "embeddings");
  if (!hasAll(folder)) {
    throw new InputError(`${folder}: no finished run; m3ret reproduce --preset ${options.preset} makes one`);
  }
  return loadAll(folder).embeddings;
}

/** Whether a run of these options has been finished, so that it can be loaded. */
export function hasRun(options: RunOptions): boolean {
  return hasAll(join(runFolder(options), "embeddings"));
}

/** What a notebook runs on, and why. */
export interface NotebookSettings {
  readonly preset: string;
  readonly data: string;
  readonly seed: number;
  readonly runs: string;
  readonly cacheDir: string;
  readonly size?: DataOptions["size"];
  /** One sentence for the reader: which run is shown, and how another one is chosen. */
  readonly why: string;
}

/**
 * M3RET_PRESET, M3RET_DATA, M3RET_SIZE, M3RET_SEED, M3RET_RUNS and M3RET_CACHE where they are set (`m3ret reproduce` and `m3ret
 * notebooks` set them to their own run). Without M3RET_PRESET: preset `default` where its run is saved in the folder `runs`
 * beside `notebooks`, otherwise `smoke`, which a notebook can make on the spot. Seed 7 unless told.
 */
export function notebookSettings(): NotebookSettings {
  const { M3RET_PRESET, M3RET_DATA, M3RET_SEED = "7", M3RET_RUNS: runs = "../runs", M3RET_CACHE } = process.env;
  const size = sizesOf(process.env.M3RET_SIZE?.split(",").map(Number) as unknown as Shape3 | undefined);
  const cacheDir = M3RET_CACHE || join(runs, "..", ".cache");
  const of = (preset: string, why: string): NotebookSettings => {
    const data = M3RET_DATA ?? presetOf(preset).data;
    return { preset, data, seed: Number(M3RET_SEED), runs, cacheDir, ...(size ? { size } : {}), why };
  };
  if (M3RET_PRESET) return of(M3RET_PRESET, `preset ${M3RET_PRESET}, as M3RET_PRESET says`);
  const reported = of("default", "preset default, whose run is saved");
  if (hasRun(reported)) return reported;
  return of(
    "smoke",
    "preset smoke, because no run of preset default is saved: every part runs, and its numbers mean nothing " +
      "(npm run reproduce makes the run that counts; M3RET_PRESET chooses another preset)",
  );
}

/**
 * The embeddings of a finished run, or, where there is none, of one that is made now. `made` says which. An interrupt (■)
 * stops the making after the step at hand; called again, it goes on from there.
 */
export async function openOrRun(
  options: RunOptions,
): Promise<{ embeddings: readonly NamedEmbeddings[]; made: boolean }> {
  if (hasRun(options)) return { embeddings: loadRunEmbeddings(options), made: false };
  const interrupt = await holdInterrupt();
  try {
    const stopped = options.stopped ?? (() => interrupt.asked);
    return { embeddings: (await runExperiment({ ...options, resume: true, stopped })).embeddings, made: true };
  } finally {
    interrupt.release();
  }
}
