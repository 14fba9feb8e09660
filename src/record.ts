/** What stands beside every run, so that its numbers can be traced: code, packages, machine, data. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, totalmem } from "node:os";
import { codeVersion, type CodeVersion } from "./analysis/figures.js";
import { packageVersion } from "./files.js";
import { withoutRepeats } from "./transforms/crop.js";
import { MODALITIES, SPLITS, type Modality, type Sample, type Split } from "./types.js";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly node: string;
}

export function machineRecord(): Machine {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
}

/** The code and the packages that numbers depend on, as installed. */
export interface Software extends CodeVersion {
  readonly versions: Readonly<Record<string, string>>;
}

/** Packages whose numbers reach a result. One that is not installed is left out. */
const COUNTING = ["@tensorflow/tfjs", "onnxruntime-node", "sharp", "ml-matrix", "umap-js"] as const;

export function softwareRecord(): Software {
  const require = createRequire(import.meta.url);
  const versions: Record<string, string> = { m3ret: packageVersion() };
  for (const name of COUNTING) {
    for (const folder of require.resolve.paths(name) ?? []) {
      try {
        versions[name] = (
          JSON.parse(readFileSync(`${folder}/${name}/package.json`, "utf8")) as { version: string }
        ).version;
        break;
      } catch {
        // Not in this folder: packages are looked for in the next one up.
      }
    }
  }
  return { ...codeVersion(), versions };
}

/** Samples by split, as an experiment holds them. */
export type Splits = Readonly<Record<Split, readonly Sample[]>>;

/**
 * SHA-256 over every sample that is trained or judged on: its split, id, patient, labels, shape and prepared pixels. Two runs
 * with one hash saw the same data; another window, size, split or file gives another.
 */
export function dataHash(splits: Splits): string {
  const hash = createHash("sha256");
  for (const split of SPLITS) {
    for (const sample of splits[split]) {
      const { id, group, modality, kind, labels, shape } = sample;
      hash.update(JSON.stringify([split, id, group, modality, kind, Object.entries(labels).sort(), shape]));
      const { pixels } = withoutRepeats(sample);
      hash.update(new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength));
    }
  }
  return hash.digest("hex");
}

export type Counts = Readonly<Partial<Record<Modality, Readonly<Record<Split, number>>>>>;

/** Samples of each modality in each split. */
export function countsOf(splits: Splits): Counts {
  const of = (modality: Modality, split: Split) => splits[split].filter((s) => s.modality === modality).length;
  return Object.fromEntries(
    MODALITIES.map((m) => [m, Object.fromEntries(SPLITS.map((split) => [split, of(m, split)]))]),
  ) as Counts;
}
