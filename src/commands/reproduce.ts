/** `m3ret reproduce`: the whole story. */
import type { Command } from "commander";
import { toText } from "../analysis/tables.js";
import type { Claim } from "../claims.js";
import { loadCatalog } from "../datasets/catalog.js";
import { anywhere, entryFor } from "../datasets/open.js";
import type { EngineName } from "../engine/engine.js";
import { defaultCacheDir, sizesOf } from "../experiment.js";
import { presetOf } from "../presets.js";
import { reproduce, runNotebooks, type Reproduction } from "../reproduce.js";
import { hasRun, runExperiment, runFolder, Stopped } from "../run.js";
import type { Shape3 } from "../types.js";
import { sampleSize } from "./onnxFlags.js";
import type { OnProgress } from "../types.js";
import {
  answer,
  chooseEngine,
  engineOption,
  dataOptions,
  Interrupted,
  jsonOption,
  requireFolder,
  stoppable,
  wholeNumber,
  withProgress,
} from "./shared.js";

interface ReproduceArguments {
  readonly preset: string;
  readonly data?: string;
  readonly out: string;
  readonly runs: string;
  readonly seed: number;
  readonly resume?: boolean;
  readonly notebooks: boolean;
  readonly size?: Shape3;
  readonly engine?: EngineName;
  readonly json?: boolean;
  readonly catalog?: string;
  readonly cache?: string;
}

export function addReproduce(m3ret: Command): void {
  sampleSize(dataOptions(m3ret.command("reproduce")))
    .description("pretrain both methods, judge them, draw the figures, execute the notebooks, print the claims")
    .option("--preset <NAME>", "smoke (does it run?), default (the claims on phantoms) or paper", "default")
    .option("--data <NAME>", "an entry of datasets.yaml, or a folder with a labels.csv (default: the preset's)")
    .option("--out <DIR>", "figures and results.json", "figures")
    .option("--runs <DIR>", "where training runs and embeddings are kept", "runs")
    .option("--seed <N>", "of every random choice", wholeNumber("seed"), 7)
    .option("--resume", "go on with a stopped run, or use a complete one; without it the run of this name is replaced")
    .option("--no-notebooks", "leave the notebooks out")
    .addOption(engineOption())
    .addOption(jsonOption())
    .action(run);
  m3ret
    .command("notebooks")
    .description("execute the notebooks through the tslab kernel, in place; the run that they share is made first")
    .option("--preset <NAME>", "smoke, default or paper", "default")
    .option("--data <NAME>", "an entry of datasets.yaml, or a folder with a labels.csv (default: the preset's)")
    .option("--catalog <FILE>", "a datasets.yaml of your own")
    .option("--out <DIR>", "write executed copies to DIR/notebooks, and leave the notebooks as they are")
    .option("--runs <DIR>", "where training runs and embeddings are kept", "runs")
    .option("--seed <N>", "of every random choice", wholeNumber("seed"), 7)
    .addOption(jsonOption())
    .action(executeNotebooks);
}

interface NotebookArguments {
  readonly preset: string;
  readonly data?: string;
  readonly catalog?: string;
  readonly out?: string;
  readonly runs: string;
  readonly seed: number;
  readonly json?: boolean;
}

async function executeNotebooks({ catalog: catalogFile, ...options }: NotebookArguments): Promise<void> {
  presetOf(options.preset);
  const catalog = loadCatalog(catalogFile);
  if (options.data !== undefined) entryFor(catalog, options.data);
  if (options.out !== undefined) requireFolder("--out", options.out);
  const data = options.data && anywhere(catalog, options.data);
  const shared = { ...options, data, catalogFile, cacheDir: defaultCacheDir() };
  if (!hasRun(shared)) {
    // One run, made here and seen here: notebooks that find none would each make their own.
    process.stderr.write(`notebooks: no saved run in ${runFolder(shared)}, so it is made first\n`);
    await interruptible((stopped, onProgress) => runExperiment({ ...shared, resume: true, onProgress, stopped }));
  }
  const notebooks = await withProgress((onProgress) => runNotebooks({ ...shared, onProgress }));
  answer(options.json, { notebooks, preset: options.preset }, () => notebooks.join("\n"));
}

/** Work with a progress bar that Ctrl-C stops between two steps. */
function interruptible<T>(work: (stopped: () => boolean, onProgress: OnProgress) => Promise<T>): Promise<T> {
  return stoppable((stopped) =>
    withProgress(async (onProgress) => {
      try {
        return await work(stopped, onProgress);
      } catch (error) {
        throw error instanceof Stopped ? new Interrupted(error.message) : error;
      }
    }),
  );
}

async function run(options: ReproduceArguments): Promise<void> {
  presetOf(options.preset);
  requireFolder("--out", options.out);
  requireFolder("--runs", options.runs);
  const { catalog: catalogFile, cache: cacheDir, size, ...rest } = options;
  const engine = await chooseEngine(options.engine);
  const reproduction = await interruptible((stopped, onProgress) =>
    reproduce({ ...rest, size: sizesOf(size), engine, catalogFile, cacheDir, onProgress, stopped }),
  );
  answer(options.json, reproduction.results, () => report(reproduction, options.out));
}

/** The tables of the smallest K, the claims, and where the rest is. */
function report({ results, judgement }: Reproduction, out: string): string {
  const { perModality, pooled, crossModal, pairs, mri, trainGallery } = judgement;
  const tables = [perModality, pooled, crossModal, pairs, mri, trainGallery].flatMap((answer) => answer.tables);
  const first = tables.filter(({ title }) => title.endsWith("Recall@1")).map(toText);
  const unasked = results.unasked.map(({ from, to, reason }) => `not asked: ${from} → ${to} (${reason})`);
  const { skipped, name } = results.data;
  const lost = skipped.length > 0 ? [`${name}: ${skipped.length} files skipped; the first: ${skipped[0].reason}`] : [];
  const files = `${results.figures.length} figure files and ${results.tableFiles.length} table files`;
  const where = `${out}/results.json, ${files}, ${Math.round(results.seconds)} s`;
  return [...first, ...unasked, ...results.missing, ...lost, "", claimsText(results.claims), "", where].join("\n");
}

/** Claim, verdict, and the numbers below it. */
export function claimsText(claims: readonly Claim[]): string {
  const lines = claims.map(
    ({ claim, verdict, measured }) => `${verdict.padEnd(13)}${claim}\n${" ".repeat(13)}${measured}`,
  );
  return ["The paper's claims, and what this run measured", ...lines].join("\n");
}
