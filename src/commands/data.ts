/** `m3ret datasets` and `m3ret inspect`. */
import type { Command } from "commander";
import { loadCatalog } from "../datasets/catalog.js";
import type { DataRecord } from "../datasets/dataset.js";
import { inspect, type InspectedFile } from "../datasets/inspect.js";
import { openDataset } from "../datasets/open.js";
import { defaultCacheDir } from "../experiment.js";
import { InputError, MODALITIES, SPLITS, type Modality, type Split } from "../types.js";
import { answer, dataOptions, jsonOption, withProgress } from "./shared.js";

interface DatasetsOptions {
  readonly json?: boolean;
  readonly catalog?: string;
  readonly cache?: string;
}

export function addDataCommands(m3ret: Command): void {
  dataOptions(m3ret.command("datasets").argument("[NAME]", "show one entry, with counts per modality and split"))
    .description("list the data sets of datasets.yaml")
    .addOption(jsonOption())
    .action(async (name: string | undefined, options: DatasetsOptions) =>
      name === undefined ? listDatasets(options) : showDataset(name, options),
    );
  m3ret
    .command("inspect")
    .argument("<PATH...>", "image, DICOM or NIfTI files, or folders of them")
    .description("decode files and report kind, modality, shape, spacing, orientation and statistics")
    .addOption(jsonOption())
    .action(inspectPaths);
}

function listDatasets({ json, catalog }: DatasetsOptions): void {
  const { datasets } = loadCatalog(catalog);
  const list = Object.entries(datasets).map(([name, { kind, title, licence, modalities }]) => ({
    name,
    kind,
    title,
    licence,
    modalities,
  }));
  answer(json, { datasets: list }, () =>
    list.map(({ name, kind, title }) => `${name.padEnd(16)}${kind.padEnd(9)}${title}`).join("\n"),
  );
}

type Counts = Readonly<Record<Modality, Readonly<Record<Split, number>>>>;

function countRecords(records: readonly DataRecord[]): Counts {
  const counts = Object.fromEntries(MODALITIES.map((m) => [m, { train: 0, gallery: 0, query: 0 }])) as Record<
    Modality,
    Record<Split, number>
  >;
  for (const { modality, split } of records) counts[modality][split]++;
  return counts;
}

async function showDataset(name: string, { json, catalog: file, cache }: DatasetsOptions): Promise<void> {
  const catalog = loadCatalog(file);
  const cacheDir = cache ?? defaultCacheDir();
  const { entry, records, skipped } = await withProgress((onProgress) =>
    openDataset(name, { catalog, cacheDir, onProgress }),
  );
  const counts = countRecords(records);
  answer(json, { name, entry, counts, skipped }, () => {
    const header = ["", ...SPLITS].map((cell) => cell.padEnd(12)).join("");
    const rows = MODALITIES.map((m) => [m, ...SPLITS.map((s) => String(counts[m][s]))]);
    const table = rows.map((row) =>
      row
        .map((cell) => cell.padEnd(12))
        .join("")
        .trimEnd(),
    );
    const facts = [`${name}: ${entry.title}`, `source: ${entry.source}`, `licence: ${entry.licence}`];
    const labels = Object.entries(entry.labels).map(([column, meaning]) => `label ${column}: ${meaning}`);
    const lost = skipped.length > 0 ? [`skipped: ${skipped.length} files; the first: ${skipped[0].reason}`] : [];
    return [...facts, ...labels, "", header.trimEnd(), ...table, ...lost].join("\n");
  });
}

async function inspectPaths(paths: readonly string[], { json }: { json?: boolean }): Promise<void> {
  const files: InspectedFile[] = [];
  let said = 0;
  for await (const file of inspect(paths)) {
    files.push(file);
    // What cannot be read has its line among the others; where there are no others, the error at the end says it.
    if (json || !files.some(({ ok }) => ok)) continue;
    for (; said < files.length; said++) process.stdout.write(describe(files[said]) + "\n");
  }
  if (json) answer(json, { files }, () => "");
  if (!files.some(({ ok }) => ok)) throw new InputError(noneOf(paths, files));
}

/** Why there is nothing to describe. */
function noneOf(paths: readonly string[], files: readonly InspectedFile[]): string {
  const [first] = files;
  if (first === undefined || first.ok) return `${paths.join(", ")}: expected at least one file, found none`;
  return files.length === 1
    ? first.error
    : `none of ${files.length} files can be read (--json lists why); the first: ${first.error}`;
}

function describe(file: InspectedFile): string {
  if (!file.ok) return file.error; // it names the file
  const number = (x: number) => String(Number(x.toPrecision(5)));
  const { path, kind, modality, shape, channels, spacingMm, orientation, dtype, min, max, mean, std, warnings } = file;
  const lines = [
    path,
    `  ${kind}${modality ? ` (${modality})` : ""}, [D, H, W] = [${shape.join(", ")}], ${channels} channel${channels === 1 ? "" : "s"}, ${dtype}`,
    `  spacing ${spacingMm ? `${spacingMm.map(number).join(" × ")} mm` : "unknown"}, orientation ${orientation ?? "unknown"}`,
    `  min ${number(min)}, max ${number(max)}, mean ${number(mean)}, std ${number(std)}`,
    ...warnings.map((warning) => `  warning: ${warning}`),
  ];
  return lines.join("\n");
}
