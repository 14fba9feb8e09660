/** From a folder and the rules of its catalogue entry to rows of a manifest; what cannot become a row goes to quarantine. */
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { readBytes, writeAtomic } from "../files.js";
import { Random } from "../random.js";
import { InputError, LABEL_SEPARATOR, MODALITIES, UNSEEN_MODALITY, type OnProgress } from "../types.js";
import type { SkippedFile } from "./dataset.js";
import { UNSEEN_IN_TRAIN } from "./folder.js";
import { likelyKind } from "./likelyKind.js";
import type { ManifestRow } from "./manifest.js";
import { retrievalLabelOf, type PublicSet } from "./publicSets.js";
import { splitPublic } from "./publicSplit.js";
import { OFFICIAL, holdsLabelSet, type Official, type RecordRules, type ValueRule } from "./recordRules.js";
import { columnOf, firstMatches, flagsOf, NoValue, stem, tablesOf, type PictureRows } from "./recordTable.js";
import { globToRegExp, walk } from "./walk.js";

export interface RowOptions {
  /** Of the split, where the publisher has none. */
  readonly seed?: number;
  readonly onProgress?: OnProgress;
}

/** A row before its side is known. */
type Found = Omit<ManifestRow, "split"> & { readonly official: Official | null };

/** The seed of splits unless another is asked for: as in datasets.yaml. */
export const SPLIT_SEED = 7;

/**
 * Rows of the files of a set, in the order of their paths, each with its side of the split (`splitPublic`). A file that is
 * empty, that the table lacks, or whose modality no rule gives is told to `quarantine`, and the others go on; so is MRI of
 * a patient who is trained on. Nothing is decoded.
 *
 * @throws InputError where the entry has no rules, the table is missing or lacks a column, or no file matches
 */
export function manifestRows(
  name: string,
  set: PublicSet,
  folder: string,
  quarantine: (file: SkippedFile) => void,
  { seed = SPLIT_SEED, onProgress }: RowOptions = {},
): ManifestRow[] {
  const { records } = set;
  if (records === undefined) throw new InputError(`${name}: the catalogue has no rules for its files (records:)`);
  const lookUp = tablesOf(records, folder);
  const officialOf = officialSplit(records, folder);
  const found: Found[] = [];
  let matched = 0;
  for (const path of matching(records, folder)) {
    matched++;
    if (matched % 1000 === 0) onProgress?.({ label: `listing ${name}`, done: matched, total: matched });
    try {
      found.push(rowOf(name, set, records, folder, path, lookUp(path), officialOf));
    } catch (error) {
      if (!(error instanceof NoValue || error instanceof InputError)) throw error;
      quarantine({ path, reason: error.message });
    }
  }
  if (matched === 0) throw new InputError(`${folder}: expected files as ${records.files.join(", ")}, found none`);

  const judged = retrievalLabelOf(set);
  const facts = found.map(({ path, group, modality, labels, official }) => ({
    ...{ group: group || path, modality, official },
    label: labels[judged] ?? "",
  }));
  const sideOf = splitPublic(facts, new Random(seed).fork(`split ${name}`));
  const rows: ManifestRow[] = [];
  found.forEach(({ modality, kind, path, group, labels }, i) => {
    const split = sideOf.get(facts[i].group)!;
    if (split === "train" && modality === UNSEEN_MODALITY) quarantine({ path, reason: UNSEEN_IN_TRAIN });
    else rows.push({ modality, kind, split, path, group, labels });
  });
  return rows;
}

/** Paths of files that the rules want; where a folder is one row, of folders. */
function* matching(records: RecordRules, folder: string): Generator<string> {
  const wanted = records.files.map(globToRegExp);
  const unwanted = (records.exclude ?? []).map(globToRegExp);
  const series = new Set<string>();
  for (const path of walk(folder)) {
    if (!wanted.some((pattern) => pattern.test(path)) || unwanted.some((pattern) => pattern.test(path))) continue;
    if (!records.series) yield path;
    else if (!series.has(dirname(path))) {
      series.add(dirname(path));
      yield dirname(path);
    }
  }
}

function rowOf(
  name: string,
  set: PublicSet,
  records: RecordRules,
  folder: string,
  path: string,
  rows: PictureRows,
  officialOf: (path: string, rows: PictureRows, patient: string) => Official | null,
): Found {
  const file = join(folder, path);
  if (!records.series && statSync(file).size === 0) throw new NoValue("expected a picture, got an empty file");
  const value = (what: string, rule: ValueRule) => valueOf(what, rule, path, rows);
  const said = records.modality ? value("modality", records.modality) : set.modalities[0];
  const modality = MODALITIES.find((known) => known === said);
  if (modality === undefined) throw new NoValue(`expected one of ${MODALITIES.join(", ")} as modality, got "${said}"`);
  const patient = records.group ? value("group", records.group) : "";
  const labels = Object.entries(records.labels).map(([column, rule]) => [column, value(column, rule)]);
  const region: Record<string, string> = set.region === "several" ? {} : { region: set.region };
  // A still picture's name says what it is; a look at the first bytes of a million of them would take hours on a network.
  const kind = records.kind ?? (/\.(png|jpe?g|bmp)$/i.test(path) ? "image" : likelyKind(file));
  // The set's name stands before the patient's: number 7 of two sets are two people.
  return {
    ...{ modality, kind, path, group: patient === "" ? "" : `${name}/${patient}` },
    labels: { ...region, ...(Object.fromEntries(labels) as Record<string, string>) },
    official: officialOf(path, rows, patient),
  };
}

/** What the publisher's split says of a file. */
function officialSplit(
  { split, splitLists }: RecordRules,
  folder: string,
): (path: string, rows: PictureRows, patient: string) => Official | null {
  const official = (said: string | undefined) => OFFICIAL.find((side) => side === said) ?? null;
  if (split !== undefined) return (path, rows) => official(valueOf("split", split, path, rows));
  if (splitLists === undefined) return () => null;
  const sides = new Map<string, Official>();
  const lists = firstMatches(folder, Object.values(splitLists));
  for (const [side, pattern] of Object.entries(splitLists) as [Official, string][]) {
    const file = lists.get(pattern);
    if (file === undefined) throw new InputError(`${folder}: expected a list ${pattern}, found none`);
    const lines = Buffer.from(readBytes(join(folder, file))).toString("utf8");
    for (const line of lines.split("\n")) if (line.trim() !== "") sides.set(stem(line), side);
  }
  return (path, _, patient) => sides.get(stem(path)) ?? sides.get(patient) ?? null;
}

/** A label that a path does not have is ""; a modality or a column that is not there is a reason for quarantine. */
function valueOf(what: string, rule: ValueRule, path: string, rows: PictureRows): string {
  const ours = (value: string) => rule.map?.[value] ?? value;
  if (holdsLabelSet(rule)) {
    const labels = labelsOf(rule, path, rows).map((label) => ours(label.trim()));
    return [...new Set(labels)].filter((label) => label !== "").join(LABEL_SEPARATOR);
  }
  const raw = rawOf(rule, path, rows) ?? (what === "modality" ? undefined : "");
  if (raw === undefined) throw new NoValue("no rule gives its modality");
  return ours(raw);
}

function rawOf({ value, column, match }: ValueRule, path: string, rows: PictureRows): string | undefined {
  return value ?? (column === undefined ? new RegExp(match ?? "").exec(path)?.[1] : columnOf(rows, column));
}

/** In the publisher's words. */
function labelsOf(rule: ValueRule, path: string, rows: PictureRows): string[] {
  const { flags, is = 1, each, several } = rule;
  if (flags !== undefined) return flagsOf(rows, flags, is);
  const raw = rawOf(rule, path, rows) ?? "";
  if (each !== undefined) return [...raw.matchAll(new RegExp(each, "g"))].map(([, label]) => label ?? "");
  return raw.split(several ?? LABEL_SEPARATOR);
}

/**
 * Writes the report of what was left out, one line of JSON for each file: `{"path": …, "reason": …}`, whole or not at
 * all. Paths are relative to the set, in reasons too: the report can be sent to the publisher.
 */
export function writeQuarantine(file: string, folder: string, files: readonly SkippedFile[]): void {
  const lines = files.map(({ path, reason }) =>
    JSON.stringify({ path, reason: reason.replaceAll(`${folder}/`, "").split("\n")[0] }),
  );
  writeAtomic(file, lines.map((line) => line + "\n").join(""));
}
