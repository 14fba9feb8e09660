/** The tables of a public set: what they say of a picture. */
import { basename, join } from "node:path";
import { readBytes } from "../files.js";
import { InputError } from "../types.js";
import { csvRows, csvText } from "./csv.js";
import { gunzipped, isGzip } from "./dicomFile.js";
import type { RecordRules, TableRules, ValueRule } from "./recordRules.js";
import { globToRegExp, walk } from "./walk.js";

/** Why a value is missing: the file goes to quarantine with it. */
export class NoValue extends Error {}

/** The rows of a picture, of all tables: columns that rules ask for, to values. */
export type PictureRows = readonly ReadonlyMap<string, string>[];

/** What the first row says that has the column. */
export function columnOf(rows: PictureRows, column: string): string | undefined {
  return rows.find((row) => row.has(column))?.get(column);
}

/** The flags that more than half of the rows with that column say are `is`: "" is not a number. */
export function flagsOf(rows: PictureRows, flags: readonly string[], is: number): string[] {
  return flags.filter((flag) => {
    const said = rows.map((row) => row.get(flag)).filter((value) => value !== undefined);
    return 2 * said.filter((value) => value !== "" && Number(value) === is).length > said.length;
  });
}

/** `images/a.b.png` and `a.b` are the same picture: the name without folders and without a picture's ending. */
export function stem(path: string): string {
  return basename(path.trim()).replace(/\.(png|jpe?g|dcm|dicom|avi|mp4|nii|nii\.gz)$/i, "");
}

/**
 * Reads the tables of a set. What comes back throws a `NoValue` where one of them lacks a picture.
 *
 * @throws InputError where a table is not there, is damaged, or none of them has a column that a rule asks for
 */
export function tablesOf(rules: RecordRules, folder: string): (path: string) => PictureRows {
  const asked = (rule: ValueRule | undefined) => [...(rule?.column === undefined ? [] : [rule.column]), ...(rule?.flags ?? [])]; // prettier-ignore
  const columns = new Set([...Object.values(rules.labels), rules.group, rules.modality, rules.split].flatMap(asked));
  const found = firstMatches(
    folder,
    (rules.table ?? []).flatMap(({ file }) => file),
  );
  const seen = new Set<string>();
  const tables = (rules.table ?? []).map((table) => {
    const capture = captureOf(table);
    const files = table.file.map((pattern) => {
      const file = found.get(pattern);
      if (file === undefined) throw new InputError(`${folder}: expected a table ${pattern}, found none`);
      return readTable(join(folder, file), table.key, capture, columns);
    });
    for (const { names } of files) for (const name of names) seen.add(name);
    return { table, capture, files, named: table.file.map((pattern) => found.get(pattern)!).join(" or ") };
  });
  for (const column of columns) {
    if (tables.length > 0 && !seen.has(column)) {
      const where = tables.flatMap(({ files }) => files.map(({ path }) => path)).join(", ");
      throw new InputError(`${where}: expected a column "${column}", got ${[...seen].join(", ")}`);
    }
  }
  return (path) =>
    tables.flatMap(({ table, capture, files, named }) => {
      const key = capture(path) ?? (table.match === undefined ? stem(path) : "");
      const rows = files.flatMap(({ byKey }) => byKey.get(key) ?? []);
      if (rows.length === 0) throw new NoValue(`not in the table ${named}`);
      return rows;
    });
}

interface Table {
  readonly path: string;
  readonly names: readonly string[];
  readonly byKey: ReadonlyMap<string, PictureRows>;
}

/** Only the columns that are asked for stay: a table of 377,110 rows has reports of a page in some of the others. */
function readTable(path: string, keyed: string, capture: Capture, columns: ReadonlySet<string>): Table {
  const bytes = readBytes(path);
  const rows = csvRows(csvText(isGzip(bytes) ? gunzipped(bytes, path) : bytes));
  try {
    const header = rows.next();
    const names = header.done ? [] : header.value.fields.map((name) => name.trim());
    const key = names.indexOf(keyed);
    if (key < 0) throw new InputError(`${path}: expected a column "${keyed}", got ${names.join(", ")}`);
    const kept = names.flatMap((name, at) => (columns.has(name) ? [{ name, at }] : []));
    const byKey = new Map<string, ReadonlyMap<string, string>[]>();
    for (const { fields } of rows) {
      const name = fields[key] ?? "";
      const id = capture(name) ?? stem(name);
      const row = new Map(kept.map(({ name, at }) => [name, (fields[at] ?? "").trim()]));
      const others = byKey.get(id);
      if (others === undefined) byKey.set(id, [row]);
      else others.push(row);
    }
    return { path, names, byKey };
  } catch (error) {
    throw error instanceof InputError ? error : new InputError(`${path}: ${(error as Error).message}`);
  }
}

type Capture = (text: string) => string | undefined;

function captureOf({ match }: TableRules): Capture {
  if (match === undefined) return () => undefined;
  const expression = new RegExp(match);
  return (text) => expression.exec(text)?.[1];
}

/** The first file that each pattern matches, in the order of the walk; a pattern without any is not in the map. */
export function firstMatches(folder: string, patterns: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const wanted = new Map(patterns.map((pattern) => [pattern, globToRegExp(pattern)]));
  if (wanted.size === 0) return found;
  for (const path of walk(folder)) {
    for (const [pattern, expression] of wanted) {
      if (!expression.test(path)) continue;
      found.set(pattern, path);
      wanted.delete(pattern);
    }
    if (wanted.size === 0) break;
  }
  return found;
}
