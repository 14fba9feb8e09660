/**
 * Points as processes of their own, some at a time. Each is the command that a scheduler would run; this only starts them,
 * listens to their progress, and hands on a stop.
 */
import { fork, type ChildProcess } from "node:child_process";
import type { OnProgress, Progress } from "../types.js";
import type { SweepPoint } from "./sweepFile.js";

export interface PoolOptions {
  /** Points at a time. */
  readonly jobs: number;
  /** ONNX Runtime's threads of each (`M3RET_THREADS`). */
  readonly threads: number;
  /** The program, and the arguments that run a point. */
  readonly program: string;
  readonly args: (point: SweepPoint) => readonly string[];
  readonly onProgress?: OnProgress;
  readonly stopped?: () => boolean;
}

/** A point that did not come to its end. */
export interface Failure {
  readonly id: string;
  readonly reason: string;
}

export interface PoolResult {
  readonly done: readonly string[];
  readonly failed: readonly Failure[];
  /** Points that were stopped, or never started because of the stop. */
  readonly left: readonly string[];
}

/** Of a point's progress: training is nearly all of its time, and what comes after it the last tenth. */
const TRAINING = 0.9;

/**
 * Runs the points, `jobs` at a time, in their order. A point that fails is reported in the end, and the others go on. When
 * `stopped` comes to say so, no more are started, and those that run are asked to stop and save.
 */
export async function runPool(points: readonly SweepPoint[], options: PoolOptions): Promise<PoolResult> {
  const { jobs, stopped = () => false, onProgress } = options;
  const waiting = [...points];
  const running = new Map<string, ChildProcess>();
  const fractions = new Map<string, number>();
  const done: string[] = [];
  const failed: Failure[] = [];
  const left: string[] = [];

  const report = (note: string) => {
    const sum = [...fractions.values()].reduce((total, part) => total + part, 0);
    onProgress?.({ label: "points", done: Number(sum.toFixed(2)), total: points.length, note });
  };
  // Whoever ends this process at once must not leave others running.
  const killAll = () => running.forEach((child) => child.kill("SIGKILL"));
  process.on("exit", killAll);
  let asked = false;
  const watch = setInterval(() => {
    if (!stopped() || asked) return;
    asked = true;
    running.forEach((child) => child.kill("SIGTERM"));
  }, 100);

  const runOne = (point: SweepPoint) =>
    new Promise<void>((resolve) => {
      const env = { ...process.env, M3RET_THREADS: String(options.threads) };
      // A group of its own: Ctrl-C on the terminal reaches this process alone, which asks each point once.
      const child = fork(options.program, options.args(point), {
        ...{ env, detached: true, stdio: ["ignore", "ignore", "pipe", "ipc"] },
      });
      running.set(point.id, child);
      let said = "";
      child.stderr!.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-4000)));
      child.on("message", (progress: Progress) => {
        fractions.set(point.id, Math.max(fractions.get(point.id) ?? 0, fractionOf(progress)));
        report(`${progress.label}${progress.note ? `, ${progress.note}` : ""}`);
      });
      const end = (reason: string | null) => {
        if (!running.delete(point.id)) return;
        if (reason === null) done.push(point.id);
        else if (asked) left.push(point.id);
        else failed.push({ id: point.id, reason });
        if (reason === null || !asked) fractions.set(point.id, 1);
        report(reason === null ? `${point.id} is done` : `${point.id}: ${reason}`);
        resolve();
      };
      child.on("error", (error) => end(error.message));
      child.on("close", (code, signal) => {
        const last = said.trim().split("\n").at(-1) ?? "";
        end(code === 0 ? null : last.replace(/^error: /, "") || `ended with ${signal ?? `code ${code}`}`);
      });
    });
  const worker = async () => {
    while (waiting.length > 0 && !stopped()) await runOne(waiting.shift()!);
  };
  try {
    report("");
    await Promise.all(Array.from({ length: Math.min(jobs, points.length) }, worker));
  } finally {
    clearInterval(watch);
    process.off("exit", killAll);
  }
  return { done, failed, left: [...left, ...waiting.map(({ id }) => id)] };
}

/** How much of a point is done, as its own progress says. */
export function fractionOf({ label, done, total }: Progress): number {
  if (total === 0) return 0;
  if (label.includes("pretrain")) return (TRAINING * done) / total;
  if (label.startsWith("embed")) return TRAINING + ((1 - TRAINING) * done) / total / 2;
  if (label === "judge") return TRAINING + (1 - TRAINING) * (0.5 + (0.5 * done) / total);
  return 0;
}
