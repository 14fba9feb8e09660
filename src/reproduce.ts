/** The whole story in one call: data, two encoders, tables, figures, notebooks, the claims. */
import { readdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { codeVersion, saveFigure } from "./analysis/figures.js";
import type { Comparison } from "./analysis/comparisons.js";
import { appraiseAside, labelsOf, type Appraisal } from "./appraise.js";
import { saveComparisons, saveTables } from "./analysis/tableFiles.js";
import { saveGallery } from "./analysis/gallery.js";
import { COLUMN_WIDTHS, savePrint, type Column } from "./analysis/printFigure.js";
import { claimsOf, type Claim } from "./claims.js";
import { catalogPath, loadCatalog } from "./datasets/catalog.js";
import { anywhere } from "./datasets/open.js";
import { publicRoot } from "./datasets/publicSets.js";
import { fileStem } from "./experiment.js";
import { writeAtomic } from "./files.js";
import type { Answer, Judgement, PooledRow, ResultRow, Unasked } from "./judge.js";
import { countCells, runNotebook } from "./notebookRunner.js";
import { METHODS, presetOf } from "./presets.js";
import { together } from "./progress.js";
import type { Protocol } from "./retrieval/protocols.js";
import { METHOD_NAMES, runExperiment, Stopped, type ExperimentRun, type RunOptions } from "./run.js";
import type { Measured } from "./measures.js";
import { mapPage, pictureReader, storyFigures, storyGalleries } from "./story.js";
import { MODALITIES, type Modality, type OnProgress, type Split } from "./types.js";

export interface ReproduceOptions extends RunOptions {
  /** Figures, results.json and executed notebooks go here. */
  readonly out: string;
  /** Whether to execute the notebooks as well (default true). */
  readonly notebooks?: boolean;
}

/** How one encoder came to be; part of results.json. */
export interface EncoderRecord {
  readonly method: string;
  readonly steps: number;
  readonly batchSize: number;
  readonly seconds: number;
  /** Means over the first and the last tenth of the run. */
  readonly firstLoss: number;
  readonly lastLoss: number;
  /** Share of the training time spent on waiting for batches. */
  readonly inputShare: number;
  /** Steps that the collapse monitor warned about. */
  readonly warnings: number;
  readonly folder: string;
}

/** results.json. */
export interface Results {
  readonly preset: string;
  readonly seed: number;
  readonly commit: string | null;
  readonly dirty: boolean | null;
  readonly engine: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGb: number; readonly node: string };
  readonly data: {
    readonly name: string;
    readonly title: string;
    readonly label: string;
    readonly crossModalLabel: string;
    readonly counts: Readonly<Partial<Record<Modality, Readonly<Record<Split, number>>>>>;
    readonly skipped: readonly { readonly path: string; readonly reason: string }[];
  };
  readonly encoders: Readonly<Record<string, EncoderRecord>>;
  /** The rules of every question, by the name and version that rows give in `rules`. */
  readonly protocols: Readonly<Record<string, Protocol>>;
  readonly tables: Readonly<
    Record<"perModality" | "crossModal" | "pairs" | "mri" | "trainGallery", readonly ResultRow[]>
  > & {
    readonly pooled: readonly PooledRow[];
  };
  /** Paired tests, question by question. */
  readonly comparisons: Readonly<
    Record<
      "perModality" | "pooled" | "crossModal" | "pairs" | "mri" | "trainGallery" | "probes" | "fewShot",
      readonly Comparison[]
    >
  >;
  /** Measures of alignment with their nulls, and probes of MRI; empty where the data cannot be asked. */
  readonly alignment: Measured["alignment"];
  readonly probes: Measured["probes"];
  readonly unasked: readonly Unasked[];
  /** Rows that could not be made here, and why. */
  readonly missing: readonly string[];
  readonly claims: readonly Claim[];
  readonly figures: readonly string[];
  /** In the folder `tables` beside the figures. */
  readonly tableFiles: readonly string[];
  readonly notebooks: readonly string[];
  readonly seconds: number;
}

export interface Reproduction {
  readonly results: Results;
  readonly judgement: Judgement;
}

/** The notebooks that come with the package. */
export function notebookPaths(): string[] {
  const folder = fileURLToPath(new URL("../notebooks", import.meta.url));
  const names = readdirSync(folder).filter((name) => name.endsWith(".ipynb"));
  return names.sort().map((name) => join(folder, name));
}

/** Runs everything and writes it into `out`; figures and results.json appear whole or not at all. */
export async function reproduce(given: ReproduceOptions): Promise<Reproduction> {
  const began = performance.now();
  // Notebooks run in a folder of their own, and must find the same data and the same run.
  const options = given.data ? { ...given, data: anywhere(loadCatalog(given.catalogFile), given.data) } : given;
  const { out } = options;
  const run = await runExperiment(options);
  // What follows needs nothing but the run, so it goes on side by side: a thread judges, then this one draws, and notebooks are
  // executed meanwhile, one at a time until the figures are drawn and two from then on.
  const end = new AbortController();
  const stop = () => options.stopped?.() && end.abort(new Stopped("stopped after training; --resume goes on"));
  const watch = setInterval(stop, 200);
  const [drawn, figuresDrawn] = gate();
  const withNotebooks = options.notebooks !== false;
  // Seconds that each takes on one core, preset default.
  const shares = { judging: 33, drawing: 20, notebooks: withNotebooks ? 150 : 0 };
  const bars = together(`tables, figures${withNotebooks ? ", notebooks" : ""}`, shares, options.onProgress);
  const running = withNotebooks
    ? runNotebooks({ ...options, onProgress: bars.notebooks }, { signal: end.signal, second: drawn })
    : Promise.resolve([]);
  running.catch(() => {}); // heard of below
  try {
    const { judgement, measured, maps } = await appraiseAside(run, { signal: end.signal, onProgress: bars.judging });
    const tableFiles = [
      ...writeTables(judgement, join(out, "tables")),
      ...saveTables(join(out, "tables"), measured.tables),
      ...writeProbeTests(measured, join(out, "tables")),
    ];
    const drawing = { measured, maps, out, signal: end.signal, onProgress: bars.drawing };
    const figures = await drawFigures(run, judgement, drawing);
    const write = (notebooks: string[]): Results => {
      const seconds = (performance.now() - began) / 1000;
      const results = resultsOf(run, judgement, measured, { figures, tableFiles, notebooks, seconds });
      writeAtomic(join(out, "results.json"), JSON.stringify(results, null, 1) + "\n");
      return results;
    };
    write([]); // before the notebooks end: one that fails must not take the numbers with it
    figuresDrawn();
    return { results: write(await running), judgement };
  } catch (error) {
    stop(); // a kernel that Ctrl-C has reached first fails before the watch looks
    end.abort(error);
    figuresDrawn(); // nobody waits for what will not come
    await running.catch(() => {});
    throw end.signal.reason;
  } finally {
    clearInterval(watch);
  }
}

/** A promise, and what opens it. */
function gate(): [Promise<void>, () => void] {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return [opened, open];
}

/** Every table of a judgement as LaTeX, CSV and Markdown, and the paired tests behind them. Returns the files' names. */
export function writeTables(judgement: Judgement, folder: string): string[] {
  const { perModality, pooled, crossModal, pairs, mri, trainGallery } = judgement;
  const answers: Record<string, Pick<Answer, "tables" | "furtherTables" | "comparisons">> = {
    ...{ within: perModality, pooled, pairs, mri },
    ...{ "cross-modal": crossModal, "train-gallery": trainGallery },
  };
  const tables = Object.values(answers).flatMap((answer) => [...answer.tables, ...answer.furtherTables]);
  const names = saveTables(folder, tables);
  for (const [name, { comparisons }] of Object.entries(answers)) {
    if (comparisons.length === 0) continue;
    names.push(`${name}-paired-tests.csv`);
    saveComparisons(join(folder, `${name}-paired-tests.csv`), comparisons);
  }
  return names;
}

/** The paired tests of probes and of few shots, in one file. */
function writeProbeTests({ probeComparisons: { table, fewShot } }: Measured, folder: string): string[] {
  if (table.length + fewShot.length === 0) return [];
  const name = "mri-probes-paired-tests.csv";
  saveComparisons(join(folder, name), [...table, ...fewShot]);
  return [name];
}

interface Drawing extends Pick<Appraisal, "measured" | "maps"> {
  readonly out: string;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

async function drawFigures(
  run: ExperimentRun,
  judgement: Judgement,
  { measured, maps, out, signal, onProgress }: Drawing,
): Promise<string[]> {
  const { crossModalLabel: label } = labelsOf(run);
  const figures = [...storyFigures(run, judgement, maps), ...measured.figures];
  const names: string[] = [];
  for (const [i, figure] of figures.entries()) {
    await saveFigure(figure, join(out, figure.name));
    names.push(...["svg", "png", "html", "json"].map((ending) => `${figure.name}.${ending}`));
    for (const column of Object.keys(COLUMN_WIDTHS) as Column[]) {
      const name = join("print", `${figure.name}-${column}`);
      await savePrint(figure, join(out, name), column);
      names.push(`${name}.svg`, `${name}.pdf`);
    }
    onProgress({ label: "figures", done: i + 1, total: figures.length, note: figure.name });
    await new Promise((resolve) => setImmediate(resolve)); // lets kernels and signals through
    signal.throwIfAborted();
  }
  const about = { dataSet: run.data.name, seed: run.seed };
  for (const map of maps) {
    const name = join("viewer", `umap-${fileStem(map.name)}.html`);
    writeAtomic(join(out, name), await mapPage(map, about, { label, read: pictureReader(run.data) }));
    names.push(name);
  }
  for (const { name, ...gallery } of await storyGalleries(run)) {
    saveGallery(gallery, join(out, name));
    names.push(`${name}.png`, `${name}.json`);
  }
  return names;
}

/** Other work beside the notebooks. */
export interface Beside {
  /** Ends them. */
  readonly signal?: AbortSignal;
  /** From when on two run at a time; at once where absent. */
  readonly second?: Promise<void>;
}

/**
 * Executes the notebooks through the tslab kernel, two at a time; they read what the run of the same options has saved,
 * or make it. With `out` the executed copies go to OUT/notebooks, without it the notebooks themselves are replaced.
 *
 * @returns their names
 */
export async function runNotebooks(
  options: RunOptions & { readonly out?: string },
  { signal, second = Promise.resolve() }: Beside = {},
): Promise<string[]> {
  const { preset, data, seed, runs, out, cacheDir, onProgress } = options;
  const env = {
    M3RET_PRESET: preset,
    M3RET_SEED: String(seed),
    M3RET_RUNS: resolve(runs ?? "runs"),
    ...(data === undefined ? {} : { M3RET_DATA: data }),
    ...(options.size === undefined ? {} : { M3RET_SIZE: options.size.volume.join() }),
    M3RET_CATALOG: catalogPath(options.catalogFile),
    M3RET_PUBLIC: publicRoot(), // notebooks have another working folder
    ...(cacheDir === undefined ? {} : { M3RET_CACHE: resolve(cacheDir) }),
  };
  const waiting = notebookPaths().reverse(); // the later ones take longer, and short ones fill the end
  const total = waiting.reduce((sum, path) => sum + countCells(path), 0);
  const cells = new Map<string, number>();
  const done: string[] = [];
  const worker = async () => {
    for (let path = waiting.shift(); path; path = waiting.shift()) {
      signal?.throwIfAborted();
      const name = join("notebooks", basename(path));
      const outPath = out === undefined ? path : join(out, name);
      const onCell: OnProgress = ({ done: own }) => {
        cells.set(name, own);
        const all = [...cells.values()].reduce((sum, count) => sum + count, 0);
        onProgress?.({ label: "notebooks", done: all, total, note: basename(name) });
      };
      const { ok, error } = await runNotebook(path, { outPath, timeoutSeconds: 900, env, signal, onProgress: onCell });
      if (!ok) {
        waiting.length = 0; // the other one ends with what it has
        throw new Error(error);
      }
      done.push(name);
    }
  };
  await Promise.all([worker(), second.then(worker)]);
  return done.sort();
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / Math.max(1, values.length);
}

function resultsOf(
  run: ExperimentRun,
  judgement: Judgement,
  measured: Measured,
  files: Pick<Results, "figures" | "tableFiles" | "notebooks" | "seconds">,
): Results {
  const preset = presetOf(run.preset);
  const encoders = Object.fromEntries(
    METHODS.map((method): [string, EncoderRecord] => {
      const log = run.logs[method];
      const tenth = Math.max(1, Math.floor(log.length / 10));
      const losses = log.map(({ loss }) => loss);
      const spent = log.reduce((sum, line) => sum + line.secondsPerStep, 0);
      const record = {
        method: METHOD_NAMES[method],
        steps: log.length,
        batchSize: preset[method].batchSize,
        seconds: spent,
        firstLoss: mean(losses.slice(0, tenth)),
        lastLoss: mean(losses.slice(-tenth)),
        inputShare: log.reduce((sum, line) => sum + Number(line.inputSeconds), 0) / spent,
        warnings: log.filter((line) => "warning" in line).length,
        folder: join(run.folder, method),
      };
      return [method, record];
    }),
  );
  const { data } = run;
  const splits = { train: data.train, gallery: data.gallery, query: data.query };
  const counts = Object.fromEntries(
    MODALITIES.map((m) => [
      m,
      Object.fromEntries(
        Object.entries(splits).map(([s, of]) => [s, of.filter(({ modality }) => modality === m).length]),
      ),
    ]),
  ) as Results["data"]["counts"];
  const { perModality, pooled, crossModal, pairs, mri, trainGallery, unasked, protocols } = judgement;
  return {
    preset: run.preset,
    seed: run.seed,
    ...codeVersion(),
    engine: run.engine,
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryGb: Math.round(totalmem() / 2 ** 30),
      node: process.version,
    },
    data: { name: data.name, title: data.entry.title, ...labelsOf(run), counts, skipped: data.skipped },
    encoders,
    protocols,
    tables: {
      ...{ perModality: perModality.rows, pooled: pooled.rows, crossModal: crossModal.rows },
      ...{ pairs: pairs.rows, mri: mri.rows, trainGallery: trainGallery.rows },
    },
    comparisons: {
      ...{ perModality: perModality.comparisons, pooled: pooled.comparisons, crossModal: crossModal.comparisons },
      ...{ pairs: pairs.comparisons, mri: mri.comparisons, trainGallery: trainGallery.comparisons },
      ...{ probes: measured.probeComparisons.table, fewShot: measured.probeComparisons.fewShot },
    },
    alignment: measured.alignment,
    probes: measured.probes,
    unasked,
    missing: run.missing,
    claims: claimsOf(judgement),
    ...files,
  };
}
