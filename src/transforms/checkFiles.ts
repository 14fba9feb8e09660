/** Every file of a list decoded once, on all cores; what was found out is kept, so that the work can stop and go on. */
import { appendFileSync, existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Preprocessing } from "../datasets/catalog.js";
import type { SkippedFile } from "../datasets/dataset.js";
import type { ManifestRow } from "../datasets/manifest.js";
import { readBytes, systemError } from "../files.js";
import { InputError, KINDS, type Kind, type OnProgress } from "../types.js";
import { CORES, prepareInWorkers, type Prepared } from "./prepareWorkers.js";

/** One line of the record: a file as it was, and what it turned out to be, or why it cannot be read. */
interface Verdict {
  readonly path: string;
  readonly bytes: number;
  readonly modified: number;
  readonly kind?: Kind;
  readonly reason?: string;
}

export interface CheckOptions {
  /** Where verdicts are kept, one line of JSON each; files that have not changed since are not decoded again. */
  readonly record: string;
  readonly workers?: number;
  readonly onProgress?: OnProgress;
}

export interface Checked {
  /** Rows whose files could be read, with the kind that they turned out to be. */
  readonly rows: readonly ManifestRow[];
  readonly unread: readonly SkippedFile[];
  /** Files that were decoded now; the others were known. */
  readonly decoded: number;
}

/**
 * Decodes and prepares the files of the rows, by the rules of their set. Whoever throws out of `onProgress` stops it; the
 * next call goes on.
 */
export async function checkFiles(
  rows: readonly ManifestRow[],
  root: string,
  preprocessing: Preprocessing,
  { record, workers = CORES, onProgress }: CheckOptions,
): Promise<Checked> {
  const known = readVerdicts(record);
  const facts = rows.map(({ path }) => {
    const found = statSync(join(root, path), { throwIfNoEntry: false });
    return { path, bytes: found?.size ?? -1, modified: found?.mtimeMs ?? -1 };
  });
  const verdicts = facts.map((fact): Verdict | undefined => {
    const before = known.get(fact.path);
    return before?.bytes === fact.bytes && before.modified === fact.modified ? before : undefined;
  });
  const wanted = rows.flatMap((_, i) => (verdicts[i] === undefined ? [i] : []));
  const records = wanted.map((i) => ({ ...rows[i], id: rows[i].path, group: rows[i].group || rows[i].path }));
  let done = rows.length - wanted.length;
  let bad = verdicts.filter((verdict) => verdict?.reason !== undefined).length;
  let lines: string[] = [];
  let written = performance.now();
  const flush = () => {
    if (lines.length === 0) return;
    try {
      mkdirSync(dirname(record), { recursive: true });
      appendFileSync(record, lines.join(""));
    } catch (error) {
      throw systemError(record, error);
    }
    lines = [];
    written = performance.now();
  };
  try {
    await prepareInWorkers({ root, preprocessing, records, workers }, ({ index, result }: Prepared) => {
      const i = wanted[index];
      const said = "reason" in result ? { reason: result.reason.replaceAll(`${root}/`, "") } : { kind: result.kind };
      const verdict = { ...facts[i], ...said };
      verdicts[i] = verdict;
      if ("reason" in said) bad++;
      lines.push(JSON.stringify(verdict) + "\n");
      if (performance.now() - written > 1000) flush();
      onProgress?.({ label: "check", done: ++done, total: rows.length, note: `${bad} cannot be read` });
    });
  } finally {
    flush();
  }
  const good: ManifestRow[] = [];
  const unread: SkippedFile[] = [];
  rows.forEach((row, i) => {
    const { kind, reason } = verdicts[i]!;
    if (kind === undefined) unread.push({ path: row.path, reason: reason ?? "" });
    else good.push({ ...row, kind });
  });
  return { rows: good, unread, decoded: wanted.length };
}

/** The newest verdict of each path. A last line that a killed process left unfinished is passed over. */
function readVerdicts(record: string): Map<string, Verdict> {
  const verdicts = new Map<string, Verdict>();
  if (!existsSync(record)) return verdicts;
  const lines = Buffer.from(readBytes(record)).toString("utf8").split("\n");
  lines.forEach((line, i) => {
    if (line === "") return;
    let verdict: Partial<Verdict>;
    try {
      verdict = JSON.parse(line) as Partial<Verdict>;
    } catch {
      return; // cut by a kill: that file is decoded again
    }
    const { path, kind, reason } = verdict;
    if (typeof path !== "string" || !(typeof reason === "string" || KINDS.includes(kind!))) {
      throw new InputError(`${record}:${i + 1}: expected what a check found out, got "${line.slice(0, 40)}"`);
    }
    verdicts.set(path, verdict as Verdict);
  });
  return verdicts;
}
