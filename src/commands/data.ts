/** `m3ret datasets` and `m3ret inspect`. */
import { Option, type Command } from "commander";
import { loadCatalog, type Catalog, type IntensityRule } from "../datasets/catalog.js";
import type { DataRecord } from "../datasets/dataset.js";
import type { ImageOptions } from "../datasets/image.js";
import { inspect, type InspectedFile } from "../datasets/inspect.js";
import { openDataset } from "../datasets/open.js";
import { ACCESS, isPresent, publicFolder, type Access } from "../datasets/publicSets.js";
import type { ReadOptions } from "../datasets/read.js";
import { defaultCacheDir } from "../experiment.js";
import { InputError, MODALITIES, SPLITS, type Modality, type Split } from "../types.js";
import { answer, dataOptions, jsonOption, positiveInteger, wholeNumber, withProgress } from "./shared.js";

interface DatasetsOptions {
  readonly json?: boolean;
  readonly catalog?: string;
  readonly cache?: string;
  readonly modality?: Modality;
  readonly access?: Access;
}

export function addDataCommands(m3ret: Command): void {
  dataOptions(m3ret.command("datasets").argument("[NAME]", "show one entry, with counts per modality and split"))
    .description("list the data sets of datasets.yaml, and the public sets that m3ret fetch knows")
    .addOption(new Option("--modality <NAME>", "only sets with this modality").choices(MODALITIES))
    .addOption(new Option("--access <KIND>", "only public sets that are got this way").choices(ACCESS))
    .addOption(jsonOption())
    .action(async (name: string | undefined, options: DatasetsOptions) =>
      name === undefined ? listDatasets(options) : showDataset(name, options),
    );
  m3ret
    .command("inspect")
    .argument(
      "<PATH...>",
      "image, video, DICOM or NIfTI files, folders of them, or FOLDER#2 for its second DICOM series",
    )
    .description("decode files and report kind, modality, shape, spacing, orientation and statistics")
    .option("--volume <N>", "which volume, from 0, of a file or series that holds several", wholeNumber("volume"))
    .addOption(new Option("--pages <HOW>", "what several pages of a picture are").choices(["first", "volume"]))
    .option("--max-bytes <N>", "what a gzip file may unpack to, and a volume take", positiveInteger("max-bytes"))
    .option("--max-pixels <N>", "of a picture, or of a frame of a video", positiveInteger("max-pixels"))
    .option("--max-values <N>", "numbers that a whole video may hold", positiveInteger("max-values"))
    .option("--max-memory <N>", "bytes that the process which decodes videos may take", positiveInteger("max-memory"))
    .option("--max-seconds <N>", "that decoding one file may take", positiveInteger("max-seconds"))
    .addOption(jsonOption())
    .action(inspectPaths);
}

/** What the readers' messages call by the same names: `maxBytes` is --max-bytes. */
interface InspectOptions {
  readonly json?: boolean;
  readonly volume?: number;
  readonly pages?: ImageOptions["pages"];
  readonly maxBytes?: number;
  readonly maxPixels?: number;
  readonly maxValues?: number;
  readonly maxSeconds?: number;
  readonly maxMemory?: number;
}

/** Each reader takes what concerns it. */
function readOptions(options: InspectOptions): ReadOptions {
  const { volume, pages, maxBytes, maxPixels, maxValues, maxSeconds, maxMemory } = options;
  return {
    nifti: { volume, maxBytes },
    dicom: { volume, maxBytes },
    image: { pages, maxPixels, maxSeconds },
    video: { maxPixels, maxValues, maxSeconds, maxMemory },
  };
}

function listDatasets({ json, catalog: file, modality, access }: DatasetsOptions): void {
  const catalog = loadCatalog(file);
  const wanted = (set: { modalities: readonly Modality[] }) => !modality || set.modalities.includes(modality);
  const ours = Object.entries(catalog.datasets).filter(([, entry]) => access === undefined && wanted(entry));
  const list = ours.map(([name, { kind, title, licence, modalities }]) => ({ name, kind, title, licence, modalities }));
  const theirs = Object.entries(catalog.public).filter(([, set]) => (!access || set.access === access) && wanted(set));
  const published = theirs.map(([name, set]) => {
    const { title, licence, modalities, home, bytes = null, count, files, unverified } = set;
    const facts = { name, title, access: set.access, modalities, licence, home, bytes, count };
    return {
      ...facts,
      unverified: unverified?.facts ?? [],
      fetchable: files.length > 0,
      present: isPresent(catalog, name),
    };
  });
  answer(json, { datasets: list, public: published }, () => {
    const lines = list.map(({ name, kind, title }) => `${name.padEnd(16)}${kind.padEnd(9)}${title}`);
    if (published.length === 0) return lines.join("\n");
    const header = ["public set", "access", "modality", "size", "here", "licence"];
    const rows = published.map((set) => [
      set.name,
      set.fetchable ? `${set.access}, fetch` : set.access,
      set.modalities.join("+"),
      set.bytes === null ? "unknown" : aboutBytes(set.bytes) + (set.unverified.includes("bytes") ? " ?" : ""),
      set.present ? "yes" : "no",
      set.licence + (set.unverified.includes("licence") ? " ?" : ""),
    ]);
    const widths = header.map((_, c) => Math.max(...[header, ...rows].map((row) => row[c].length)) + 2);
    const table = [header, ...rows].map((row) =>
      row
        .map((cell, c) => cell.padEnd(widths[c]))
        .join("")
        .trimEnd(),
    );
    const marked = published.some(({ unverified }) => unverified.length > 0);
    const note = marked ? ["", "?  not made sure of: m3ret datasets NAME says what, and why"] : [];
    return [...lines, ...(lines.length > 0 ? [""] : []), ...table, ...note].join("\n");
  });
}

/** Two digits, because the catalogue's sizes are approximate: 45e9 is "about 45 GB". */
function aboutBytes(bytes: number): string {
  const [unit, size] = bytes >= 1e12 ? ["TB", 1e12] : bytes >= 1e9 ? ["GB", 1e9] : ["MB", 1e6];
  return `about ${Number((bytes / Number(size)).toPrecision(2))} ${unit}`;
}

/** Everything that the catalogue says of a public set. */
function showPublic(name: string, catalog: Catalog, json: boolean | undefined): void {
  const set = catalog.public[name];
  const present = isPresent(catalog, name);
  answer(json, { name, public: set, folder: publicFolder(name), present }, () => {
    const pairs = (record: Readonly<Record<string, unknown>>) =>
      Object.entries(record).map(([key, value]) => `${key}: ${String(value)}`);
    const facts: [string, string | undefined][] = [
      ["home", set.home],
      ["licence", set.licence],
      ["access", set.access],
      ["modality", set.modalities.join(", ")],
      ["region", set.region],
      ["size", set.bytes === undefined ? "unknown" : aboutBytes(set.bytes)],
      ["count", pairs(set.count).join(", ") || "unknown"],
      ["patient", set.patient ?? "unknown"],
      ["splits", set.splits ?? "unknown"],
      ["layout", set.layout.join("  ") || "unknown"],
      ...set.modalities.map((modality): [string, string] => [
        `intensity of ${modality}`,
        ruleText(set.preprocessing.intensity[modality]),
      ]),
      ["caution", set.caution],
      ["checked", set.checked],
      ["not made sure of", set.unverified && `${set.unverified.facts.join(", ")}: ${set.unverified.why}`],
      ["steps", set.files.length > 0 ? `m3ret fetch ${name}` : set.steps],
      ["here", present ? publicFolder(name) : `no; looked for in ${publicFolder(name)}`],
    ];
    const said = facts.flatMap(([key, value]) => (value === undefined ? [] : [`${key}: ${value}`]));
    return [`${name}: ${set.title}`, ...said, ...pairs(set.labels).map((label) => `label ${label}`)].join("\n");
  });
}

/** `windowHu -1000, 1000 (ours: …)` */
function ruleText({ source, ...rule }: IntensityRule): string {
  const said = Object.entries(rule).map(([name, numbers]) => `${name} ${(numbers as readonly number[]).join(", ")}`);
  return `${said.join()}${source === undefined ? "" : ` (${source})`}`;
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
  if (Object.hasOwn(catalog.public, name)) return showPublic(name, catalog, json);
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

async function inspectPaths(paths: readonly string[], options: InspectOptions): Promise<void> {
  const { json } = options;
  const files: InspectedFile[] = [];
  let said = 0;
  for await (const file of inspect(paths, readOptions(options))) {
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
