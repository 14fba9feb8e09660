/**
 * A folder of files with a `labels.csv` beside them: one row for each file, or for each folder that holds DICOM series, with the
 * columns path, modality, class and group, and any further label columns.
 */
import { existsSync } from "node:fs";
import { isAbsolute, join, normalize, relative, resolve } from "node:path";
import { readBytes } from "../files.js";
import { Random } from "../random.js";
import { InputError, MODALITIES, UNSEEN_MODALITY } from "../types.js";
import type { Decoded, Modality } from "../types.js";
import type { DerivedLabel, SplitRule } from "./catalog.js";
import { csvText, parseCsv } from "./csv.js";
import type { DataRecord, Dataset, SkippedFile } from "./dataset.js";
import { filesIn, isFolder, seriesAddress, splitSeries } from "./dicomSlices.js";
import { likelyKind } from "./likelyKind.js";
import { readFile, type ReadOptions } from "./read.js";
import { splitGroups } from "./split.js";

export interface FolderOptions {
  readonly name: string;
  readonly split: SplitRule;
  /** The column that names the patient or case; `group` where it is left out. */
  readonly group?: string;
  /** Label columns to keep and to insist on; where left out, every column but path, modality and group is a label. */
  readonly labels?: readonly string[];
  /** Keep at most this many files of each modality and class, drawn by the split's seed. */
  readonly limitPerClass?: number;
  /** Label columns that labels.csv lacks, made from those it has. */
  readonly derive?: Readonly<Record<string, DerivedLabel>>;
  /** Keep only, or leave out, paths that start with one of these. */
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  /** Keep MRI of groups on the training side of the split: for a ceiling alone. */
  readonly ceiling?: true;
}

/** Why MRI of a patient who is trained on is left out. */
export const UNSEEN_IN_TRAIN = "MRI on the training side of the split: neither trained nor judged on";

/** One row of labels.csv that may become a record. */
interface Row {
  readonly path: string;
  readonly modality: Modality;
  readonly group: string;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Opens the folder: reads `labels.csv`, makes sure that every file it names is there, and splits by group and class.
 * No picture is decoded yet. A row that names a folder with several DICOM series stands for each that is a volume, `FOLDER#1`,
 * `FOLDER#2`…, with the same labels; a row may name one of them by itself. Records are in the order of their paths; a record's id is its path. A file without a group
 * is a group of its own: nothing then says that two files are of the same patient, which the table should mention.
 *
 * Throws an `InputError` of one line where `labels.csv` is missing, lacks a column, or names an unknown modality, the
 * same path twice or a file that is not there.
 */
export function openFolder(root: string, options: FolderOptions): Dataset {
  const random = new Random(options.split.seed);
  const rows = limited(readRows(root, options), options.limitPerClass, random.fork("limit"));
  const splitOf = splitGroups(
    rows.map((row) => ({ ...row, stratum: stratumOf(row) })),
    options.split,
    random.fork("split"),
  );

  const records: DataRecord[] = [];
  const skipped: SkippedFile[] = [];
  for (const { path, modality, group, labels } of rows.flatMap((row) => eachSeries(root, row, skipped))) {
    const split = splitOf.get(group);
    if (split === undefined || (split === "train" && modality === UNSEEN_MODALITY && !options.ceiling)) {
      skipped.push({ path, reason: UNSEEN_IN_TRAIN });
      continue;
    }
    records.push({ id: path, modality, kind: likelyKind(join(root, path)), group, split, labels });
  }
  return {
    name: options.name,
    records,
    skipped,
    root,
    read: readRecord(root),
  };
}

/** A row for each volume in its folder; single slices and copies beside them, such as scouts, are skipped and said. */
function eachSeries(root: string, row: Row, skipped: SkippedFile[]): Row[] {
  const folder = join(root, row.path);
  if (!isFolder(folder)) return [row];
  const series = splitSeries(filesIn(folder));
  const volumes = series.filter(({ volume }) => volume);
  if (volumes.length === 0 || series.length === 1) return [row];
  const left = series.filter(({ volume }) => !volume).flatMap(({ paths }) => paths).length;
  if (left > 0)
    skipped.push({ path: row.path, reason: `${left} DICOM files beside its ${volumes.length} series, of no volume` });
  return volumes.map((_, v) => ({ ...row, path: `${row.path}#${v + 1}` }));
}

/** Reads records of the folder `root`. */
export function readRecord(root: string): (record: DataRecord, options?: ReadOptions) => Promise<Decoded> {
  return async ({ id }, options) => readFile(join(root, id), options);
}

const stratumOf = (row: Row): string => `${row.modality}/${row.labels.class}`;

/** Rows in the order of their paths, checked against the folder. */
function readRows(root: string, options: FolderOptions): Row[] {
  const file = join(root, "labels.csv");
  if (!existsSync(file)) throw new InputError(`${file}: no such file; a folder of data needs a labels.csv`);
  const { header, table } = parseTable(file, csvText(readBytes(file)));

  const groupColumn = options.group ?? "group";
  const derive = options.derive ?? {};
  const labelColumns =
    options.labels?.filter((column) => !(column in derive)) ??
    header.filter((column) => !["path", "modality", groupColumn].includes(column));
  const sources = Object.values(derive).map(({ from }) => from);
  for (const column of ["path", "modality", "class", groupColumn, ...labelColumns, ...sources]) {
    if (!header.includes(column)) {
      throw new InputError(`${file}: expected a column "${column}", got ${header.join(", ") || "none"}`);
    }
  }

  const rows = new Map<string, Row>();
  for (const { line, fields } of table) {
    if (fields.every((field) => field.trim() === "")) continue; // a spreadsheet's empty rows
    if (fields.length < header.length || fields.slice(header.length).some((field) => field !== "")) {
      throw new InputError(`${file}:${line}: expected ${header.length} fields, got ${fields.length}`);
    }
    const value = (column: string): string => fields[header.indexOf(column)];
    const stated = value("path");
    const path = pathInside(root, stated);
    if (path === null) throw new InputError(`${file}:${line}: expected a path inside the folder, got "${stated}"`);
    if (!isWanted(path, options)) continue;
    if (rows.has(path)) throw new InputError(`${file}:${line}: ${path} is listed twice`);
    if (!isThere(root, path)) throw new InputError(`${file}:${line}: ${path}: no such file or folder`);
    const modality = MODALITIES.find((known) => known === value("modality"));
    if (modality === undefined) {
      throw new InputError(`${file}:${line}: expected one of ${MODALITIES.join(", ")}, got "${value("modality")}"`);
    }
    const labels = Object.fromEntries(["class", ...labelColumns].map((column) => [column, value(column)]));
    for (const [column, { from, values }] of Object.entries(derive)) labels[column] = values[value(from)] ?? "";
    rows.set(path, { path, modality, group: value(groupColumn) || path, labels });
  }
  if (rows.size === 0) throw new InputError(`${file}: expected at least one row to keep, got none`);
  return [...rows.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

const isThere = (root: string, path: string): boolean =>
  existsSync(join(root, path)) || seriesAddress(join(root, path)) !== null;

/**
 * A path of labels.csv as one below `root`, or null where it leads out of it: `./a.png` and `/data/set/a.png` are `a.png` in
 * `/data/set`. Where there is no such file, one with Windows' separators or with accents composed the other way (as archives
 * made on a Mac have them) is taken.
 */
function pathInside(root: string, stated: string): string | null {
  const spellings = [stated, stated.replaceAll("\\", "/")].flatMap((one) => [
    one,
    one.normalize("NFC"),
    one.normalize("NFD"),
  ]);
  const paths = spellings.map((one) => {
    const below = isAbsolute(one) ? relative(resolve(root), one) : normalize(one).replace(/\/$/, "");
    return stated === "" || below === "" || below === "." || /^\.\.(\/|$)/.test(below) ? null : below;
  });
  if (paths[0] === null) return null;
  return paths.find((path) => path !== null && isThere(root, path)) ?? paths[0];
}

function parseTable(file: string, text: string): { header: string[]; table: ReturnType<typeof parseCsv> } {
  try {
    const [header, ...table] = parseCsv(text);
    const columns = (header?.fields ?? []).map((column) => column.trim());
    while (columns.at(-1) === "") columns.pop(); // a spreadsheet's empty columns
    return { header: columns, table };
  } catch (error) {
    throw new InputError(`${file}: ${(error as Error).message}`);
  }
}

function isWanted(path: string, { include, exclude }: FolderOptions): boolean {
  const startsWithOneOf = (prefixes: readonly string[]) => prefixes.some((prefix) => path.startsWith(prefix));
  return (include === undefined || startsWithOneOf(include)) && !(exclude !== undefined && startsWithOneOf(exclude));
}

/** At most `limit` rows of each modality and class, each as likely to stay as the others; order is kept. */
function limited(rows: Row[], limit: number | undefined, random: Random): Row[] {
  if (limit === undefined) return rows;
  const strata = new Map<string, number[]>();
  rows.forEach((row, i) => {
    const members = strata.get(stratumOf(row));
    if (members === undefined) strata.set(stratumOf(row), [i]);
    else members.push(i);
  });
  const kept = new Set<number>();
  for (const [stratum, members] of strata) {
    const order = random.fork(stratum).permutation(members.length);
    for (const chosen of order.subarray(0, limit)) kept.add(members[chosen]);
  }
  return rows.filter((_, i) => kept.has(i));
}
