/** `m3ret fetch`: a public set from the web to a folder, or a look at a folder that a person filled. */
import { resolve } from "node:path";
import type { Command } from "commander";
import { loadCatalog } from "../datasets/catalog.js";
import { fetchSet } from "../datasets/fetchSet.js";
import { missingFrom, publicFolder, publicSetOf } from "../datasets/publicSets.js";
import { InputError } from "../types.js";
import { answer, jsonOption, positiveInteger, requireFolder, withProgress } from "./shared.js";

interface FetchOptions {
  readonly to?: string;
  readonly check?: string;
  readonly jobs: number;
  readonly acceptLicence?: boolean;
  readonly maxBytes?: number;
  readonly unpackMaxBytes?: number;
  readonly unpackMaxEntries?: number;
  readonly unpackMaxRatio?: number;
  readonly stallSeconds: number;
  readonly catalog?: string;
  readonly json?: boolean;
}

export function addFetch(m3ret: Command): void {
  m3ret
    .command("fetch")
    .argument("<NAME>", "a public set of datasets.yaml (m3ret datasets lists them)")
    .description("download an open set, resumed and checked; or say what a person has to do for another")
    .option("--to <FOLDER>", "where to (default: NAME in M3RET_PUBLIC, or in ./data)")
    .option("--check <FOLDER>", "download nothing; check that a folder has the layout of the set")
    .option("--jobs <N>", "files at a time", positiveInteger("jobs"), 3)
    .option("--accept-licence", "you have read the licence of the set and agree to it")
    .option("--max-bytes <N>", "refuse a file of more bytes (default: 1 TiB)", positiveInteger("max-bytes"))
    .option(
      "--unpack-max-bytes <N>",
      "of all files in an archive (default: 2 TiB)",
      positiveInteger("unpack-max-bytes"),
    )
    .option("--unpack-max-entries <N>", "in an archive (default: 2,000,000)", positiveInteger("unpack-max-entries"))
    .option("--unpack-max-ratio <N>", "unpacked over packed (default: 1000)", positiveInteger("unpack-max-ratio"))
    .option("--stall-seconds <N>", "ask again when nothing came for so long", positiveInteger("stall-seconds"), 60)
    .option("--catalog <FILE>", "a datasets.yaml of your own")
    .addOption(jsonOption())
    .action(fetchOrCheck);
}

async function fetchOrCheck(name: string, options: FetchOptions): Promise<void> {
  const { json, check, jobs, acceptLicence, maxBytes, stallSeconds } = options;
  const catalog = loadCatalog(options.catalog);
  const set = publicSetOf(catalog, name);
  if (check !== undefined) {
    const missing = missingFrom(check, set.layout);
    if (missing.length > 0) throw new InputError(`${check}: expected files as ${missing.join(", ")}, found none`);
    const what = set.layout.length > 0 ? "has the layout of" : "cannot be checked: the catalogue has no layout of";
    return answer(
      json,
      { name, folder: resolve(check), layout: set.layout, missing },
      () => `${check} ${what} ${name}`,
    );
  }
  const folder = options.to ?? publicFolder(name);
  if (set.files.length > 0) requireFolder("--to", folder, set.bytes ?? 0);
  const notes: string[] = [];
  const limits = {
    maxBytes: options.unpackMaxBytes,
    maxEntries: options.unpackMaxEntries,
    maxRatio: options.unpackMaxRatio,
  };
  const fetched = await withProgress((onProgress) =>
    fetchSet(name, set, folder, {
      jobs,
      acceptLicence,
      maxBytes,
      unpackLimits: Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== undefined)),
      stallMs: 1000 * stallSeconds,
      onProgress,
      onNote: (note) => notes.push(note),
    }),
  );
  if (fetched.missing.length > 0) {
    throw new InputError(`${folder}: fetched, but expected files as ${fetched.missing.join(", ")}, found none`);
  }
  answer(json, { name, licence: set.licence, ...fetched, notes }, ({ files, unpacked }) =>
    [
      `${name}: ${set.title}`,
      `licence: ${set.licence}`,
      ...files.map(({ name: file, bytes, sha256, status }) => `${status} ${file}, ${bytes} bytes, sha256 ${sha256}`),
      ...unpacked.map((into) => `unpacked ${into}`),
      ...notes.map((note) => `note: ${note}`),
      folder === publicFolder(name)
        ? `next: m3ret pretrain --data ${name}, m3ret embed --data ${name}, or m3ret manifest ${name} --out ${name}.jsonl`
        : `next: m3ret manifest ${name} --folder ${folder} --out ${name}.jsonl`,
    ].join("\n"),
  );
}
