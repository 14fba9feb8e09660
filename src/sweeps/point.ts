/** Runs one point of a sweep, and keeps what came of it in one file. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  embeddingsPath,
  embedEvaluation,
  embedPixels,
  loadData,
  pretrainMethod,
  selectTraining,
  untrainedEncoder,
} from "../experiment.js";
import type { Encoder } from "../encoder/vit.js";
import { startEngine, type Engine } from "../engine/engine.js";
import { WHITENING_FLOOR } from "../analysis/whiten.js";
import { saveEmbeddings } from "../embeddings.js";
import { readBytes, writeAtomic } from "../files.js";
import { judge, type Judgement, type ResultRow, type Unasked } from "../judge.js";
import {
  countsOf,
  dataHash,
  machineRecord,
  softwareRecord,
  type Counts,
  type Machine,
  type Software,
} from "../record.js";
import { METHOD_NAMES, Stopped } from "../run.js";
import { readLog } from "../trainers/pretrain.js";
import { InputError, PRETRAIN_MODALITIES, sizeOf, type OnProgress, type Sample } from "../types.js";
import { rankAll, type Ranked } from "./ranks.js";
import type { Sweep, SweepPoint } from "./sweepFile.js";
import { resolveVariant, type ResolvedVariant, type Variant } from "./variant.js";

/** DIR/points/ID.json. */
export interface PointResult extends Software {
  readonly sweep: string;
  readonly id: string;
  readonly setting: string;
  readonly label: string;
  readonly isBase: boolean;
  readonly variant: Variant;
  /** The variant with every number of its preset. */
  readonly resolved: ResolvedVariant;
  readonly machine: Machine;
  readonly engine: string;
  /** When it was done: ISO 8601, UTC. */
  readonly finished: string;
  /** From opening the data to the last row; of training alone, over all sittings. */
  readonly seconds: number;
  readonly data: {
    readonly name: string;
    readonly title: string;
    readonly label: string;
    readonly crossModalLabel: string;
    readonly hash: string;
    readonly counts: Counts;
  };
  readonly training: {
    readonly steps: number;
    readonly batchSize: number;
    readonly samples: number;
    readonly patients: number;
    readonly seconds: number;
    /** Means over the first and the last tenth of the run. */
    readonly firstLoss: number;
    readonly lastLoss: number;
    readonly inputShare: number;
    /** Steps that the collapse monitor warned about. */
    readonly warnings: number;
  };
  /** The floor of whitened readings; those of another would not stand beside these. */
  readonly whiteningFloor: number;
  /** Of the encoder alone, without decoder or head. */
  readonly parameters: number;
  readonly rows: Readonly<Record<"perModality" | "crossModal" | "pairs" | "mri", readonly ResultRow[]>>;
  readonly unasked: readonly Unasked[];
  readonly ranked: Ranked;
}

export interface PointOptions {
  readonly out: string;
  readonly engine?: Engine;
  readonly catalogFile?: string;
  readonly cacheDir?: string;
  readonly onProgress?: OnProgress;
  /** Asked after every step: true stops the point, which goes on from there the next time. */
  readonly stopped?: () => boolean;
  /** Steps between states on disk. */
  readonly saveEvery?: number;
}

export const pointPath = (out: string, { id }: SweepPoint): string => join(out, "points", `${id}.json`);

/**
 * The result of a point that is done, or null.
 *
 * @throws InputError where the file is damaged, or of a point that was described otherwise: a result is never taken for another
 */
export function readPoint(out: string, point: SweepPoint): PointResult | null {
  const path = pointPath(out, point);
  if (!existsSync(path)) return null;
  let result: PointResult;
  try {
    result = JSON.parse(Buffer.from(readBytes(path)).toString("utf8")) as PointResult;
  } catch {
    throw new InputError(`${path}: expected the result of a point, got broken JSON; remove it to run the point again`);
  }
  const was = matters(result.resolved, result.whiteningFloor);
  const is = matters(resolveVariant(point.variant), WHITENING_FLOOR);
  const changed = [...new Set([...Object.keys(was), ...Object.keys(is)])].find(
    (key) => JSON.stringify(was[key]) !== JSON.stringify(is[key]),
  );
  if (changed === undefined) return result;
  throw new InputError(
    `${path}: its ${changed} was ${JSON.stringify(was[changed])}, and is now ${JSON.stringify(is[changed])}; ` +
      "choose another --out, or remove it to run the point again",
  );
}

/** What a point's numbers depend on, as JSON has it: of its preset, nothing that is the other method's. */
function matters({ preset, ...rest }: ResolvedVariant, whiteningFloor: number): Record<string, unknown> {
  const { ks, bootstrapRounds } = preset;
  const read = { ...rest, training: preset[rest.method], ks, bootstrapRounds, whiteningFloor };
  return JSON.parse(JSON.stringify(read)) as Record<string, unknown>;
}

/** Pretrains, embeds and judges one point; a point that is done is read, one that was stopped goes on. */
export async function runPoint(sweep: Sweep, point: SweepPoint, options: PointOptions): Promise<PointResult> {
  const done = readPoint(options.out, point);
  if (done) return done;
  const began = performance.now();
  const { out, onProgress, catalogFile, cacheDir } = options;
  const resolved = resolveVariant(point.variant);
  const { method, preset, seed, dataSeed, sliceAxis, selection, ceiling } = resolved;
  const engine = options.engine ?? (await startEngine());
  const data = await loadData(resolved.data, {
    ...{ seed: dataSeed, sliceAxis, ceiling, catalogFile, cacheDir, onProgress },
  });
  if (data.gallery.length === 0 || data.query.length === 0) {
    throw new InputError(`${data.name}: expected samples in the splits gallery and query, found none`);
  }
  const folder = join(out, "runs", point.id);
  const run = pretrainMethod(method, preset, data, {
    ...{ engine, folder, seed, selection, resume: true, saveEvery: options.saveEvery },
  });
  const encoder = await finish(run, point, preset[method].steps, options);

  // What a ceiling saw, its baselines did not: their whitening is learned from what every other point learns it from.
  const usual = ceiling ? { ...data, ceiling: undefined, train: data.train.filter(isPretrainable) } : data;
  const role = ceiling ? "ceiling" : "trained";
  const named = [
    ...embedPixels(usual),
    ...(await embedEvaluation("untrained", "untrained", untrainedEncoder(preset, seed), usual, { engine, onProgress })),
    ...(await embedEvaluation(METHOD_NAMES[method], role, encoder, data, { engine, onProgress })),
  ];
  const { retrievalLabel: label, crossModalLabel = label } = data.entry;
  onProgress?.({ label: "judge", done: 0, total: 1 });
  const judgement = judge(named, {
    only: ["perModality", "pooled", "crossModal", "pairs", "mri"], // sweeps compare points on held-out patients
    ...{ label, crossModalLabel, data: data.name, seed, ks: preset.ks, rounds: preset.bootstrapRounds },
  });
  const ranked = rankAll(named, { label, crossModalLabel });
  onProgress?.({ label: "judge", done: 1, total: 1 });

  const own = named.filter((one) => one.role === role);
  for (const { name, set } of own) saveEmbeddings(embeddingsPath(join(out, "points", point.id), name), set);
  const samples = selection ? selectTraining(data, selection, seed) : data.train;
  const result: PointResult = {
    ...{ sweep: sweep.name, id: point.id, setting: point.setting, label: point.label, isBase: point.isBase },
    ...{ variant: point.variant, resolved, ...softwareRecord(), machine: machineRecord() },
    engine: engine.description,
    finished: new Date().toISOString(),
    seconds: (performance.now() - began) / 1000,
    data: {
      ...{ name: data.name, title: data.entry.title, label, crossModalLabel },
      ...{ hash: dataHash(data), counts: countsOf(data) },
    },
    training: {
      ...trainingRecord(folder),
      batchSize: preset[method].batchSize,
      samples: samples.length,
      patients: new Set(samples.map(({ group }) => group)).size,
    },
    whiteningFloor: WHITENING_FLOOR,
    parameters: Object.values(encoder.params).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    rows: rowsOf(judgement),
    unasked: judgement.unasked,
    ranked,
  };
  writeAtomic(pointPath(out, point), JSON.stringify(result) + "\n");
  return result;
}

async function finish(
  run: AsyncGenerator<{ step: number; terms: Readonly<Record<string, number>>; warning: string | null }, Encoder, void>,
  { id, variant }: SweepPoint,
  total: number,
  { onProgress, stopped }: PointOptions,
): Promise<Encoder> {
  try {
    for (;;) {
      const next = await run.next();
      if (next.done) return next.value;
      const { step, terms, warning } = next.value;
      const note = warning ?? `loss ${terms.loss.toFixed(4)}`;
      onProgress?.({ label: `${id}: pretrain ${METHOD_NAMES[variant.method]}`, done: step + 1, total, note });
      if (stopped?.() && step + 1 < total) {
        throw new Stopped(`${id}: stopped at step ${step + 1} of ${total}; the same command goes on`);
      }
    }
  } finally {
    await run.return(undefined as never); // saves the state of a run that is left early
  }
}

const isPretrainable = ({ modality }: Sample) => PRETRAIN_MODALITIES.includes(modality);

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / Math.max(1, values.length);

/** What the log says of a run that is done. */
export function trainingRecord(folder: string) {
  const log = readLog(folder);
  const tenth = Math.max(1, Math.floor(log.length / 10));
  const losses = log.map(({ loss }) => loss);
  const seconds = log.reduce((sum, line) => sum + line.secondsPerStep, 0);
  return {
    steps: log.length,
    seconds,
    firstLoss: mean(losses.slice(0, tenth)),
    lastLoss: mean(losses.slice(-tenth)),
    inputShare: log.reduce((sum, line) => sum + Number(line.inputSeconds), 0) / seconds,
    warnings: log.filter((line) => "warning" in line).length,
  };
}

function rowsOf({ perModality, crossModal, pairs, mri }: Judgement): PointResult["rows"] {
  return { perModality: perModality.rows, crossModal: crossModal.rows, pairs: pairs.rows, mri: mri.rows };
}
