/** `m3ret reproduce`: the whole story. */
import type { Command } from "commander";
import { toText } from "../analysis/tables.js";
import type { Claim } from "../claims.js";
import { presetOf } from "../presets.js";
import { reproduce, type Reproduction } from "../reproduce.js";
import { Stopped } from "../run.js";
import { answer, dataOptions, Interrupted, jsonOption, stoppable, wholeNumber, withProgress } from "./shared.js";

interface ReproduceArguments {
  readonly preset: string;
  readonly data?: string;
  readonly out: string;
  readonly runs: string;
  readonly seed: number;
  readonly resume?: boolean;
  readonly notebooks: boolean;
  readonly json?: boolean;
  readonly catalog?: string;
  readonly cache?: string;
}

export function addReproduce(m3ret: Command): void {
  dataOptions(m3ret.command("reproduce"))
    .description("pretrain both methods, judge them, draw the figures, execute the notebooks, print the claims")
    .option("--preset <NAME>", "smoke (does it run?), default (the claims on phantoms) or paper", "default")
    .option("--data <NAME>", "an entry of datasets.yaml, or a folder with a labels.csv (default: the preset's)")
    .option("--out <DIR>", "figures and results.json", "figures")
    .option("--runs <DIR>", "where training runs and embeddings are kept", "runs")
    .option("--seed <N>", "of every random choice", wholeNumber("seed"), 7)
    .option("--resume", "go on with a stopped run, or use a complete one")
    .option("--no-notebooks", "leave the notebooks out")
    .addOption(jsonOption())
    .action(run);
}

async function run(options: ReproduceArguments): Promise<void> {
  presetOf(options.preset);
  const { catalog: catalogFile, cache: cacheDir, ...rest } = options;
  const reproduction = await stoppable((stopped) =>
    withProgress(async (onProgress) => {
      try {
        return await reproduce({ ...rest, catalogFile, cacheDir, onProgress, stopped });
      } catch (error) {
        throw error instanceof Stopped ? new Interrupted(error.message) : error;
      }
    }),
  );
  answer(options.json, reproduction.results, () => report(reproduction, options.out));
}

/** The tables of the smallest K, the claims, and where the rest is. */
function report({ results, judgement }: Reproduction, out: string): string {
  const { perModality, crossModal, pairs, mri } = judgement;
  const tables = [perModality, crossModal, pairs, mri].flatMap((answer) => answer.tables);
  const first = tables.filter(({ title }) => title.endsWith("Recall@1")).map(toText);
  const unasked = results.unasked.map(({ from, to, reason }) => `not asked: ${from} → ${to} (${reason})`);
  const { skipped, name } = results.data;
  const lost = skipped.length > 0 ? [`${name}: ${skipped.length} files skipped; the first: ${skipped[0].reason}`] : [];
  const where = `${out}/results.json and ${results.figures.length} figure files, ${Math.round(results.seconds)} s`;
  return [...first, ...unasked, ...lost, "", claimsText(results.claims), "", where].join("\n");
}

/** Claim, verdict, and the numbers below it. */
export function claimsText(claims: readonly Claim[]): string {
  const lines = claims.map(
    ({ claim, verdict, measured }) => `${verdict.padEnd(13)}${claim}\n${" ".repeat(13)}${measured}`,
  );
  return ["The paper's claims, and what this run measured", ...lines].join("\n");
}
