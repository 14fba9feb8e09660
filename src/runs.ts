/** Runs on disk, side by side: what their logs and records say. */
import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { runsFigure } from "./analysis/runsFigure.js";
import type { Figure } from "./analysis/figures.js";
import { readRunRecord } from "./runRecord.js";
import { readLog } from "./trainers/pretrain.js";
import { median } from "./retrieval/protocol.js";
import { InputError } from "./types.js";

/** One run, in a line. What an old run did not write is null. */
export interface RunSummary {
  /** Below the folder that was asked about. */
  readonly run: string;
  readonly method: string | null;
  readonly data: string | null;
  readonly dataHash: string | null;
  readonly seed: number | null;
  readonly steps: number;
  /** Steps it is to have. */
  readonly total: number | null;
  /** Means over the first and the last tenth. */
  readonly firstLoss: number;
  readonly lastLoss: number;
  /** Median. */
  readonly secondsPerStep: number;
  readonly seconds: number;
  readonly inputShare: number;
  readonly warnings: number;
  readonly sittings: number;
  readonly engine: string | null;
  readonly commit: string | null;
}

/** Every folder below `root`, itself included, that holds a run's log; in order of their names. */
export function findRuns(root: string): string[] {
  if (!existsSync(root)) throw new InputError(`${root}: no such file or folder`);
  const found: string[] = [];
  const visit = (folder: string) => {
    const entries = readdirSync(folder, { withFileTypes: true });
    if (entries.some((entry) => entry.isFile() && entry.name === "log.jsonl")) found.push(folder);
    for (const entry of entries) if (entry.isDirectory()) visit(join(folder, entry.name));
  };
  visit(root);
  if (found.length === 0) throw new InputError(`${root}: expected runs (folders with a log.jsonl), found none`);
  return found.sort();
}

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / Math.max(1, values.length);

export function summariseRun(folder: string, root: string): RunSummary {
  const log = readLog(folder);
  const record = readRunRecord(folder);
  const losses = log.map(({ loss }) => loss);
  const tenth = Math.max(1, Math.floor(log.length / 10));
  const times = log.map(({ secondsPerStep }) => secondsPerStep);
  const seconds = times.reduce((sum, x) => sum + x, 0);
  const last = record?.sittings.at(-1);
  return {
    run: relative(root, folder) || ".",
    method: record?.method ?? null,
    data: record?.data.name ?? null,
    dataHash: record?.data.hash ?? null,
    seed: record?.seed ?? null,
    steps: log.length,
    total: record?.steps ?? null,
    firstLoss: mean(losses.slice(0, tenth)),
    lastLoss: mean(losses.slice(-tenth)),
    secondsPerStep: median(times),
    seconds,
    inputShare: log.reduce((sum, { inputSeconds }) => sum + inputSeconds, 0) / seconds,
    warnings: log.filter((line) => "warning" in line).length,
    sittings: record?.sittings.length ?? 0,
    engine: last?.engine ?? null,
    commit: last?.commit ?? null,
  };
}

/** The settings in which runs differ, by the names they have in run.json: what to look at first when losses differ. */
export function differences(folders: readonly string[]): Record<string, readonly string[]> {
  const flats = folders.map((folder) => {
    const record = readRunRecord(folder);
    return new Map(record === null ? [] : flatten({ method: record.method, seed: record.seed, ...record.config }));
  });
  const names = [...new Set(flats.flatMap((flat) => [...flat.keys()]))];
  const values = names.map((name) => [name, flats.map((flat) => flat.get(name) ?? "–")] as const);
  return Object.fromEntries(values.filter(([, of]) => new Set(of).size > 1));
}

function flatten(value: unknown, path = ""): [string, string][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [[path, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, inner]) => flatten(inner, path === "" ? key : `${path}.${key}`));
}

export function runsPlot(folders: readonly string[], root: string, name = "runs"): Figure {
  const curves = folders.map((folder) => {
    const log = readLog(folder);
    const method = readRunRecord(folder)?.method ?? "unknown method";
    const [steps, losses] = [log.map(({ step }) => step), log.map(({ loss }) => loss)];
    return { run: relative(root, folder) || ".", method, steps, losses };
  });
  const records = folders.map(readRunRecord);
  const sets = [...new Set(records.flatMap((record) => record?.data.name ?? []))];
  const seeds = [...new Set(records.flatMap((record) => record?.seed ?? []))];
  const about = { dataSet: sets.join(", ") || "data not recorded", seed: seeds[0] ?? 0, name };
  return runsFigure(
    curves.filter(({ steps }) => steps.length > 0),
    seeds.length > 0 ? { ...about, seeds } : about,
  );
}
