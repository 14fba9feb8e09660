/** The files that a run could not read, one line of JSON each, beside the run: they are skipped, counted and named. */
import { appendFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readBytes, systemError, writeAtomic } from "../files.js";
import type { UnreadFile } from "./streamBatch.js";

export const QUARANTINE = "quarantine.jsonl";

/** One line of quarantine.jsonl: the path is below the folder of the set, and `step` the first that wanted the file. */
export interface QuarantineLine extends UnreadFile {
  readonly step: number;
}

export interface Quarantine {
  readonly files: readonly QuarantineLine[];
  /** Notes a file, once. A line is on the disk before the next step. */
  add(file: UnreadFile, step: number): void;
}

/**
 * Opens the report of a run's folder: of a run that goes on with what it holds, of a fresh one empty. The file appears with
 * the first line.
 */
export function openQuarantine(folder: string, resume: boolean): Quarantine {
  const path = join(folder, QUARANTINE);
  if (!resume) rmSync(path, { force: true });
  const files = resume ? readQuarantine(folder) : [];
  if (files.length > 0) writeAtomic(path, files.map((line) => JSON.stringify(line) + "\n").join("")); // ends with a line
  const known = new Set(files.map(({ set, path: file }) => `${set}/${file}`));
  return {
    files,
    add(file, step) {
      const name = `${file.set}/${file.path}`;
      if (known.has(name)) return;
      known.add(name);
      const line: QuarantineLine = { set: file.set, path: file.path, reason: file.reason, step };
      files.push(line);
      try {
        mkdirSync(folder, { recursive: true });
        appendFileSync(path, JSON.stringify(line) + "\n");
      } catch (error) {
        throw systemError(path, error);
      }
    },
  };
}

/** The report of a run; a last line that a killed process left unfinished is passed over. */
export function readQuarantine(folder: string): QuarantineLine[] {
  const path = join(folder, QUARANTINE);
  if (!existsSync(path)) return [];
  const text = Buffer.from(readBytes(path)).toString("utf8");
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as QuarantineLine);
}
