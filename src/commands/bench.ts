/** `m3ret bench NAME`: the files of bench/, compiled beside this. */
import { existsSync, readdirSync } from "node:fs";
import type { Command } from "commander";
import { InputError, type BenchOptions, type BenchReport } from "../types.js";
import type { EngineName } from "../engine/engine.js";
import { answer, engineOption, jsonOption, positiveInteger, withProgress } from "./shared.js";

const FOLDER = new URL("../bench/", import.meta.url);

interface Benchmark {
  bench(options: BenchOptions): Promise<BenchReport>;
}

interface Options {
  readonly only?: string;
  readonly rounds?: number;
  readonly engine?: EngineName;
  readonly json?: boolean;
}

export function addBench(m3ret: Command): void {
  m3ret
    .command("bench")
    .argument("<NAME>", "which: step, embed, gemm or decode")
    .description(
      "measure against PyTorch, or decoding against Python's readers, on this machine; a ratio above 1 means that we are ahead",
    )
    .option("--only <TEXT>", "cases whose name contains TEXT")
    .option("--rounds <N>", "turns of each side; the fastest counts", positiveInteger("rounds"))
    .addOption(engineOption())
    .addOption(jsonOption())
    .action(runBench);
}

function benchmarks(): string[] {
  if (!existsSync(FOLDER)) return [];
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".js"));
  return files.map((file) => file.slice(0, -".js".length));
}

async function runBench(name: string, { only, rounds, engine, json }: Options): Promise<void> {
  const known = benchmarks();
  if (!known.includes(name)) {
    throw new InputError(
      `unknown benchmark "${name}"; expected one of ${known.join(", ") || "none: bench/ is not built"}`,
    );
  }
  const { bench } = (await import(new URL(`${name}.js`, FOLDER).href)) as Benchmark;
  const report = await withProgress((onProgress) =>
    bench({
      only,
      rounds,
      engine,
      onCase: (done, total, note) => onProgress({ label: `bench ${name}`, done, total, note }),
    }),
  );
  if (report.cases.length === 0) throw new InputError(`--only ${only}: no case of ${name} has that in its name`);
  answer(json, report, table);
}

function table({ cases, machine, note }: BenchReport): string {
  const width = Math.max(...cases.map((row) => row.case.length));
  const lines = cases.map(({ case: name, ours, peer, unit, ratio, ofPeak, twoWorkers }) => {
    const against = peer === null ? "" : `, peer ${peer} ${unit}, ratio ${ratio}`;
    const share = ofPeak === undefined ? "" : `, ${Math.round(100 * Number(ofPeak))} % of the GEMM peak`;
    const threads = typeof twoWorkers === "number" ? `, two workers ${twoWorkers} times one` : "";
    return `${name.padEnd(width)}  ${ours} ${unit}${against}${share}${threads}`;
  });
  const known = Object.entries(machine).map(([key, value]) => `${key} ${value}`);
  return [...lines, known.join("; "), ...(note ? [note] : [])].join("\n");
}
