/** From a folder and the rules of its catalogue entry to rows of a manifest; what cannot become a row goes to quarantine. */
import { statSync } from "node:fs";
import { basename, join } from "node:path";
import { readBytes, writeAtomic } from "../files.js";
import { InputError, MODALITIES } from "../types.js";
import { parseCsv } from "./csv.js";
import type { SkippedFile } from "./dataset.js";
import type { ManifestRow } from "./manifest.js";
import type { PublicSet, RecordRules, ValueRule } from "./publicSets.js";
import { globToRegExp, walk } from "./walk.js";

/** Why a value is missing: the file goes to quarantine with it. */
class NoValue extends Error {}

/**
 * Rows of the files of a set, in the order of their paths. A file that is empty, that the table lacks, or whose modality
 * no rule gives is told to `quarantine`, and the others go on.
 *
 * @throws InputError where the entry has no rules, the table is missing or lacks a column, or no file matches
 */
export function* manifestRows(
  name: string,
  set: PublicSet,
  folder: string,
  quarantine: (file: SkippedFile) => void,
): Generator<ManifestRow> {
  const { records } = set;
  if (records === undefined) throw new InputError(`${name}: the catalogue has no rules for its files (records:)`);
  const wanted = records.files.map(globToRegExp);
  const unwanted = (records.exclude ?? []).map(globToRegExp);
  const lookUp = tableOf(records, folder);
  let matched = 0;
  for (const path of walk(folder)) {
    if (!wanted.some((pattern) => pattern.test(path)) || unwanted.some((pattern) => pattern.test(path))) continue;
    matched++;
    try {
      if (statSync(join(folder, path)).size === 0) throw new NoValue("expected a picture, got an empty file");
      const columns = lookUp(path);
      const value = (what: string, rule: ValueRule) => valueOf(what, rule, path, columns);
      const said = records.modality ? value("modality", records.modality) : set.modalities[0];
      const modality = MODALITIES.find((known) => known === said);
      if (modality === undefined)
        throw new NoValue(`expected one of ${MODALITIES.join(", ")} as modality, got "${said}"`);
      const patient = records.group ? value("group", records.group) : "";
      const labels = Object.entries(records.labels).map(([column, rule]) => [column, value(column, rule)]);
      const region: Record<string, string> = set.region === "several" ? {} : { region: set.region };
      // The set's name stands before the patient's: number 7 of two sets are two people.
      yield {
        ...{ modality, path, group: patient === "" ? "" : `${name}/${patient}` },
        labels: { ...region, ...(Object.fromEntries(labels) as Record<string, string>) },
      };
    } catch (error) {
      if (!(error instanceof NoValue)) throw error;
      quarantine({ path, reason: error.message });
    }
  }
  if (matched === 0) throw new InputError(`${folder}: expected files as ${records.files.join(", ")}, found none`);
}

/** A label that a path does not have is ""; a modality or a column that is not there is a reason for quarantine. */
function valueOf(what: string, rule: ValueRule, path: string, columns: ReadonlyMap<string, string>): string {
  const raw =
    rule.value ??
    (rule.column === undefined ? new RegExp(rule.match ?? "").exec(path)?.[1] : columns.get(rule.column)) ??
    (what === "modality" ? undefined : "");
  if (raw === undefined) throw new NoValue("no rule gives its modality");
  return rule.map?.[raw] ?? raw;
}

/** Columns of the table by the path of a picture: its key may have folders or an ending, or neither. */
function tableOf(records: RecordRules, folder: string): (path: string) => ReadonlyMap<string, string> {
  const { table } = records;
  if (table === undefined) return () => new Map();
  const pattern = globToRegExp(table.file);
  let file: string | undefined;
  for (const path of walk(folder)) {
    if (!pattern.test(path)) continue;
    file = path;
    break;
  }
  if (file === undefined) throw new InputError(`${folder}: expected a table ${table.file}, found none`);
  const text = Buffer.from(readBytes(join(folder, file))).toString("utf8");
  // Some publishers write CSV with semicolons: a header without any comma says so.
  const line = text.slice(0, text.indexOf("\n"));
  const [header, ...rows] = parseCsv(!line.includes(",") && line.includes(";") ? text.replaceAll(";", ",") : text);
  const names = header.fields.map((name) => name.trim());
  const rules = [...Object.values(records.labels), records.group, records.modality];
  for (const column of [table.key, ...rules.map((rule) => rule?.column)]) {
    if (column !== undefined && !names.includes(column)) {
      throw new InputError(`${join(folder, file)}: expected a column "${column}", got ${names.join(", ")}`);
    }
  }
  const key = names.indexOf(table.key);
  const byKey = new Map(rows.map(({ fields }) => [stem(fields[key] ?? ""), fields]));
  return (path) => {
    const fields = byKey.get(stem(path));
    if (fields === undefined) throw new NoValue(`not in the table ${file}`);
    return new Map(names.map((name, i) => [name, (fields[i] ?? "").trim()]));
  };
}

/** `images/a.b.png` and `a.b` are the same picture: the name without folders and without a picture's ending. */
function stem(path: string): string {
  return basename(path.trim()).replace(/\.(png|jpe?g|dcm|dicom|avi|mp4|nii|nii\.gz)$/i, "");
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
