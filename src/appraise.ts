/** What a finished run is worth, from its embeddings: judgement, measures and maps. It computes alone, so it can do so on another core. */
import { Worker } from "node:worker_threads";
import { testSplits } from "./datasets/publicSplit.js";
import type { ExperimentData } from "./experiment.js";
import { judge, type Judgement } from "./judge.js";
import { measureRun, type Measured } from "./measures.js";
import { presetOf } from "./presets.js";
import { together } from "./progress.js";
import type { ExperimentRun } from "./run.js";
import { storyMaps, type EmbeddingMap } from "./story.js";
import type { OnProgress, Progress } from "./types.js";

/** What it reads of a run: plain values, which can be handed to a thread. */
export interface RunToAppraise extends Pick<ExperimentRun, "preset" | "seed" | "folder" | "embeddings"> {
  readonly data: Pick<ExperimentData, "name" | "entry">;
}

export interface Appraisal {
  readonly judgement: Judgement;
  readonly measured: Measured;
  readonly maps: readonly EmbeddingMap[];
}

/** Labels that a data set is judged by: its own, and the one that its modalities share. */
export function labelsOf({ data }: Pick<RunToAppraise, "data">): { label: string; crossModalLabel: string } {
  const { retrievalLabel: label, crossModalLabel = label } = data.entry;
  return { label, crossModalLabel };
}

/** Judgement, measures and maps, in this thread. */
export function appraise(run: RunToAppraise, onProgress?: OnProgress): Appraisal {
  const preset = presetOf(run.preset);
  const labels = labelsOf(run);
  // Seconds that each took on one core, preset default.
  const bars = together("judge and measure", { judging: 11, measuring: 17, maps: 5 }, onProgress);
  const judgement = judge(run.embeddings, {
    ...labels,
    data: `${run.data.name}, preset ${run.preset}`,
    seed: run.seed,
    ks: preset.ks,
    rounds: preset.bootstrapRounds,
    traps: run.data.entry.traps,
    testSplits: testSplits(run.data.entry),
    onProgress: bars.judging,
  });
  const measured = measureRun(run, labels, preset.bootstrapRounds, bars.measuring);
  return { judgement, measured, maps: storyMaps(run, labels.crossModalLabel, bars.maps) };
}

/** What the thread says: how far it is, and in the end the appraisal. */
export type FromAppraiser = { readonly progress: Progress } | { readonly appraisal: Appraisal };

/**
 * The same in a thread of its own, so that this one is free to do other work meanwhile; in this one where it runs as TypeScript, which
 * a thread cannot load. The numbers are the same either way.
 *
 * @param signal ends it
 */
export async function appraiseAside(
  { preset, seed, folder, embeddings, data: { name, entry } }: RunToAppraise,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress?: OnProgress },
): Promise<Appraisal> {
  const run: RunToAppraise = { preset, seed, folder, embeddings, data: { name, entry } };
  if (import.meta.url.endsWith(".ts")) return appraise(run, onProgress);
  const worker = new Worker(new URL("./appraiseWorker.js", import.meta.url), {
    workerData: run,
    execArgv: [],
    name: "m3ret appraise",
  });
  try {
    return await new Promise<Appraisal>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error));
      worker.on("message", (said: FromAppraiser) => {
        if ("appraisal" in said) resolve(said.appraisal);
        else onProgress?.(said.progress);
      });
      worker.on("error", reject);
      worker.on("exit", (code) => reject(new Error(`the thread that judges ended with code ${code}`)));
    });
  } finally {
    await worker.terminate();
  }
}
