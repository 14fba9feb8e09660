/** `m3ret sweep`: many points of one experiment, each a process that one file describes. */
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Option, type Command } from "commander";
import type { EngineName } from "../engine/engine.js";
import { computeThreads } from "../engine/runtime.js";
import { writeAtomic } from "../files.js";
import { Stopped } from "../run.js";
import { collect } from "../sweeps/collect.js";
import { collectedCsv, collectedMarkdown } from "../sweeps/collectedTables.js";
import { mixedMarkdown } from "../sweeps/mixed.js";
import { readPoint, runPoint } from "../sweeps/point.js";
import { runPool } from "../sweeps/pool.js";
import { readingsMarkdown } from "../sweeps/readingTables.js";
import { SCHEDULERS, schedulerScript, type Scheduler } from "../sweeps/script.js";
import { loadSweep, pointOf, shardOf, type Sweep, type SweepPoint } from "../sweeps/sweepFile.js";
import { InputError, type OnProgress } from "../types.js";
import {
  answer,
  chooseEngine,
  dataOptions,
  engineOption,
  Interrupted,
  jsonOption,
  positiveInteger,
  requireFile,
  requireFolder,
  stoppable,
  withProgress,
} from "./shared.js";

interface SweepArguments {
  readonly out: string;
  readonly point?: string;
  readonly shard?: { readonly index: number; readonly of: number };
  readonly jobs: number;
  readonly threads?: number;
  readonly list?: boolean;
  readonly collect?: boolean | string;
  readonly script?: Scheduler;
  readonly engine?: EngineName;
  readonly json?: boolean;
  readonly catalog?: string;
  readonly cache?: string;
}

/** `--shard 0/4` */
function shard(text: string): { index: number; of: number } {
  const [index, of] = /^(\d+)\/(\d+)$/.exec(text)?.slice(1).map(Number) ?? [];
  if (index === undefined || !(index < of)) {
    throw new InputError(`--shard: expected K/N with K from 0 to N - 1, such as 0/4, got "${text}"`);
  }
  return { index, of };
}

export function addSweep(m3ret: Command): void {
  dataOptions(m3ret.command("sweep"))
    .argument("<FILE>", "what to run: recipes/sweeps has examples")
    .description("run the points of an experiment as processes; what is done is skipped, what was stopped goes on")
    .requiredOption("--out <DIR>", "results, embeddings and runs of the points")
    .option("--list", "print the points, and which are done")
    .option("--point <I>", "run this one alone, by number (from 0) or id: what a scheduler calls")
    .option("--shard <K/N>", "run the K-th of N parts (from 0): for N machines that share nothing", shard)
    .option("--jobs <J>", "points at a time", positiveInteger("jobs"), 1)
    .option(
      "--threads <T>",
      "threads that compute, for each point (default: cores shared among the jobs; M3RET_THREADS)",
      positiveInteger("threads"),
    )
    .option("--collect [FILE]", "write what the points have measured into one JSON, with .md and .csv beside it")
    .addOption(new Option("--script <SCHEDULER>", "print what runs the points on a cluster").choices(SCHEDULERS))
    .addOption(engineOption())
    .addOption(jsonOption())
    .action(runSweep);
}

async function runSweep(file: string, options: SweepArguments): Promise<void> {
  const sweep = loadSweep(file);
  const { out, jobs } = options;
  const threads = options.threads ?? Math.max(1, Math.floor(computeThreads() / jobs));
  if (options.script) {
    process.stdout.write(schedulerScript(sweep, options.script, { out, threads, jobs }));
    return;
  }
  if (options.list) return listPoints(sweep, options);
  requireFolder("--out", out);
  if (options.point !== undefined) return runHere(sweep, pointOf(sweep, options.point), options);
  if (options.collect) return collectPoints(sweep, options);
  return runAll(sweep, threads, file, options);
}

function listPoints(sweep: Sweep, { out, json }: SweepArguments): void {
  const points = sweep.points.map((point) => {
    const { index, id, label, variant } = point;
    return { index, id, label, variant, done: readPoint(out, point) !== null };
  });
  answer(json, { sweep: sweep.name, points }, () =>
    points
      .map(({ index, id, label, done }) => `${String(index).padStart(3)}  ${done ? "done" : "    "}  ${id}  ${label}`)
      .join("\n"),
  );
}

/** One point in this process. Where another process asked for it, progress goes there as well. */
async function runHere(sweep: Sweep, point: SweepPoint, options: SweepArguments): Promise<void> {
  if (options.threads !== undefined) process.env.M3RET_THREADS = String(options.threads);
  const { out, catalog: catalogFile, cache: cacheDir } = options;
  const engine = await chooseEngine(options.engine);
  // Whoever started us is gone: save and stop, as for a polite kill.
  const orphaned = () => process.kill(process.pid, "SIGTERM");
  process.once("disconnect", orphaned);
  let toldAt = -Infinity;
  const tell: OnProgress = (progress) => {
    const now = performance.now();
    if (!process.connected || (now - toldAt < 200 && progress.done < progress.total)) return;
    toldAt = now;
    process.send!(progress);
  };
  const result = await stoppable((stopped) =>
    withProgress(async (onProgress) => {
      const both: OnProgress = (progress) => {
        onProgress(progress);
        tell(progress);
      };
      try {
        return await runPoint(sweep, point, { out, engine, catalogFile, cacheDir, onProgress: both, stopped });
      } catch (error) {
        throw error instanceof Stopped ? new Interrupted(error.message) : error;
      } finally {
        process.off("disconnect", orphaned);
        if (process.connected) process.disconnect(); // an open channel would keep this process running
      }
    }),
  );
  const { id, seconds, training } = result;
  answer(options.json, { id, seconds, training, file: join(out, "points", `${id}.json`) }, () => {
    return `${id}: ${training.steps} steps, loss ${training.lastLoss.toFixed(4)}, ${seconds.toFixed(0)} s`;
  });
}

const CLI = fileURLToPath(new URL("../cli.js", import.meta.url));

async function runAll(sweep: Sweep, threads: number, file: string, options: SweepArguments): Promise<void> {
  const { out, jobs, engine, catalog, cache, json } = options;
  const own = options.shard ? shardOf(sweep.points, options.shard) : sweep.points;
  const open = own.filter((point) => readPoint(out, point) === null);
  const flags = Object.entries({ engine, catalog, cache }).flatMap(([name, value]) =>
    value ? [`--${name}`, value] : [],
  );
  const result = await stoppable((stopped) =>
    withProgress((onProgress) =>
      runPool(open, {
        ...{ jobs, threads, onProgress, stopped, program: CLI },
        args: ({ id }) => ["sweep", file, "--out", resolve(out), "--point", id, ...flags],
      }),
    ),
  );
  const { done, failed, left } = result;
  if (failed.length > 0) {
    const [{ id, reason }] = failed;
    throw new InputError(`${failed.length} of ${own.length} points failed; the first, ${id}: ${reason}`);
  }
  if (left.length > 0) {
    throw new Interrupted(`stopped with ${left.length} of ${own.length} points to do; the same command goes on`);
  }
  const skipped = own.length - open.length;
  answer(json, { sweep: sweep.name, out, done, skipped }, () => {
    const before = skipped > 0 ? `, ${skipped} were done before` : "";
    return `${out}: ${done.length} points done${before}; m3ret sweep ${file} --out ${out} --collect reads them`;
  });
}

function collectPoints(sweep: Sweep, options: SweepArguments): void {
  const target = typeof options.collect === "string" ? options.collect : join(options.out, `${sweep.name}.json`);
  if (!target.endsWith(".json")) throw new InputError(`--collect ${target}: expected a name that ends in .json`);
  requireFile("--collect", target);
  const results = sweep.points.flatMap((point) => readPoint(options.out, point) ?? []);
  const missing = sweep.points.length - results.length;
  const collected = collect(sweep, results);
  const stem = target.slice(0, -".json".length);
  const text = JSON.stringify(collected) + "\n";
  writeAtomic(target, text);
  const { mixed = [], data } = collected;
  const words = [
    collectedMarkdown(collected),
    ...(mixed.length > 0
      ? [`### Mixed against one modality alone\n\n${mixedMarkdown(mixed, { data: data.name })}`]
      : []),
    ...(collected.seeds.length > 1 ? [readingsMarkdown(collected)] : []),
  ].join("\n");
  writeAtomic(`${stem}.md`, words);
  writeAtomic(`${stem}.csv`, collectedCsv(collected));
  answer(options.json, { file: target, bytes: text.length, points: results.length, missing }, () => {
    const lost = missing > 0 ? ` (${missing} points are not there yet)` : "";
    return `${words}\n${target}: ${results.length} points${lost}`;
  });
}
