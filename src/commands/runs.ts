/** `m3ret runs`: what is in a folder of runs, side by side. */
import { basename } from "node:path";
import type { Command } from "commander";
import { saveFigure } from "../analysis/figures.js";
import { formatSeconds } from "../progress.js";
import { differences, findRuns, runsPlot, summariseRun, type RunSummary } from "../runs.js";
import { answer, jsonOption, requireFile } from "./shared.js";

interface RunsArguments {
  readonly plot?: string;
  readonly json?: boolean;
}

export function addRuns(m3ret: Command): void {
  m3ret
    .command("runs")
    .argument("[DIR]", "a folder of runs, at any depth", "runs")
    .description(
      "compare training runs: losses, speed, settings in which they differ; TensorBoard reads the same folder",
    )
    .option("--plot <PATH>", "draw their losses into PATH.svg, .png, .html and .json")
    .addOption(jsonOption())
    .action(compareRuns);
}

async function compareRuns(root: string, { plot, json }: RunsArguments): Promise<void> {
  const folders = findRuns(root);
  const runs = folders.map((folder) => summariseRun(folder, root));
  const differ = differences(folders);
  const files: string[] = [];
  if (plot !== undefined) {
    requireFile("--plot", `${plot}.svg`);
    const saved = await saveFigure(runsPlot(folders, root, basename(plot)), plot);
    files.push(...Object.values(saved));
  }
  answer(json, { root, runs, differ, files }, () =>
    [runsTable(runs), "", ...differText(differ, runs), ...files].join("\n"),
  );
}

/** Columns in line, two spaces between them. */
function inColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)));
  return rows
    .map((row) =>
      row
        .map((cell, c) => cell.padEnd(widths[c]))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function runsTable(runs: readonly RunSummary[]): string {
  const header = [
    "run",
    "method",
    "data",
    "seed",
    "steps",
    "first loss",
    "last loss",
    "s/step",
    "time",
    "input",
    "warnings",
    "commit",
  ];
  const rows = runs.map((run) => [
    run.run,
    run.method ?? "?",
    run.data === null ? "?" : `${run.data} ${run.dataHash!.slice(0, 8)}`,
    String(run.seed ?? "?"),
    run.total === null || run.total === run.steps ? String(run.steps) : `${run.steps} of ${run.total}`,
    run.firstLoss.toFixed(4),
    run.lastLoss.toFixed(4),
    run.secondsPerStep.toFixed(3),
    formatSeconds(run.seconds),
    `${(100 * run.inputShare).toFixed(1)} %`,
    String(run.warnings),
    run.commit?.slice(0, 8) ?? "?",
  ]);
  return inColumns([header, ...rows]);
}

function differText(differ: Readonly<Record<string, readonly string[]>>, runs: readonly RunSummary[]): string[] {
  const names = Object.keys(differ);
  if (runs.length < 2) return [];
  if (names.length === 0) return ["no recorded setting differs", ""];
  return [
    "settings that differ",
    inColumns([["run", ...names], ...runs.map(({ run }, i) => [run, ...names.map((name) => differ[name][i])])]),
    "",
  ];
}
