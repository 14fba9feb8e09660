/** `datasets.yaml`: what can be loaded, where it is from, who is on which side, and how its values become pictures. */
import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseDocument } from "yaml";
import type { z } from "zod";
import { readBytes } from "../files.js";
import { InputError, MODALITIES } from "../types.js";
import { entry, schema } from "./catalogSchema.js";
import type { Catalog, Entry, FolderEntry, MedmnistEntry, PublicEntry } from "./catalogTypes.js";
import { locate, type EncoderEntry } from "./encoderEntry.js";
import { MEDMNIST, setOfFile } from "./medmnistSets.js";
import { retrievalLabelOf, type PublicSet } from "./publicSets.js";
import { holdsLabelSet } from "./recordRules.js";

export type * from "./catalogTypes.js";
export { isOrientation, sizes } from "./catalogSchema.js";

/**
 * Reads the catalogue at `catalogPath`. Throws an `InputError` of one line that names the file and the key.
 */
export function loadCatalog(file?: string): Catalog {
  const found = catalogPath(file);
  return parseCatalog(Buffer.from(readBytes(found)).toString("utf8"), found);
}

/**
 * Where the catalogue is: the named file, or else the one that M3RET_CATALOG names (`m3ret reproduce` and `m3ret notebooks` name theirs to
 * the notebooks, which have another working folder), or else `datasets.yaml` in the working folder, or else the one that
 * comes with the package.
 */
export function catalogPath(file: string | undefined = process.env.M3RET_CATALOG || undefined): string {
  if (file !== undefined) return resolve(file);
  const own = resolve("datasets.yaml");
  return existsSync(own) ? own : packaged();
}

/** This file is `src/datasets/catalog.ts` or `dist/datasets/catalog.js`: both are two folders below the package. */
function packaged(): string {
  return fileURLToPath(new URL("../../datasets.yaml", import.meta.url));
}

/** As `loadCatalog`, from text that has been read; `file` is what errors name. */
export function parseCatalog(yaml: string, file: string): Catalog {
  const document = parseDocument(yaml, { logLevel: "error" }); // its warnings would go to the terminal
  const [broken] = document.errors;
  if (broken !== undefined) throw new InputError(`${file}: ${broken.message.split("\n")[0].replace(/:$/, "")}`);

  const parsed = schema.safeParse(plainOf(document, file));
  if (!parsed.success) throw new InputError(`${file}: ${firstIssue(parsed.error)}`);
  return { file, datasets: parsed.data.datasets, public: parsed.data.public, encoders: parsed.data.encoders };
}

/** Throws where an alias (`*name`) has no anchor (`&name`) before it. */
function plainOf(document: ReturnType<typeof parseDocument>, file: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new InputError(`${file}: ${(error as Error).message.split("\n")[0]}`);
  }
}

/** `datasets.phantom.size: Invalid input: expected number, received string (and 2 more)` */
function firstIssue(error: z.ZodError): string {
  const [{ path, message }] = error.issues;
  const more = error.issues.length > 1 ? ` (and ${error.issues.length - 1} more)` : "";
  const where = path.length > 0 ? `${path.join(".")}: ` : "";
  return `${where}${message.split("\n")[0]}${more}`;
}

/** The entry of that name, public sets among them. Throws `unknown data set "x"; datasets.yaml has: …`. */
export function entryOf(catalog: Catalog, name: string): Entry {
  if (Object.hasOwn(catalog.datasets, name)) return catalog.datasets[name];
  if (Object.hasOwn(catalog.public, name)) return publicEntry(catalog.public[name]);
  const known = Object.keys(catalog.datasets).join(", ");
  const others = Object.keys(catalog.public).length;
  const more = others > 0 ? ` and ${others} public sets (m3ret datasets lists them)` : "";
  throw new InputError(`unknown data set "${name}"; ${basename(catalog.file)} has: ${known}${more}`);
}

/** A public set with what the entries of `datasets` have: labels, and what they are judged by. */
function publicEntry(set: PublicSet): PublicEntry {
  const { title, home, licence, modalities, preprocessing } = set;
  return {
    ...{ kind: "public", set, title, source: home, licence, modalities, preprocessing },
    group: set.patient ?? "not published: each file counts as its own",
    labels: { ...set.labels, ...(set.region === "several" ? {} : { region: "part of the body" }) },
    retrievalLabel: retrievalLabelOf(set),
    ...("region" in (set.records?.labels ?? {}) || set.region !== "several" ? { crossModalLabel: "region" } : {}),
  };
}

/**
 * The label columns in which a picture may have several labels at once, with `LABEL_SEPARATOR` between: those that an entry names,
 * those of a public set whose rule finds several (`holdsLabelSet`), and `class` of MedMNIST's multi-label set.
 */
export function labelSetsOf(entry: Entry): readonly string[] {
  const named = entry.labelSets ?? [];
  if (entry.kind === "medmnist") {
    const set = entry.set ?? setOfFile(basename(entry.path));
    return set !== undefined && MEDMNIST[set]?.multiLabel ? ["class", ...named] : named;
  }
  if (entry.kind !== "public") return named;
  const npz = entry.set.layout.map((file) => setOfFile(file)).find((set) => set !== undefined);
  if (npz !== undefined) return MEDMNIST[npz].multiLabel ? ["class"] : [];
  return Object.entries(entry.set.records?.labels ?? {}).flatMap(([column, rule]) =>
    holdsLabelSet(rule) ? [column] : [],
  );
}

/**
 * An entry for a folder that the catalogue does not list, with the defaults of the format: what
 * `m3ret embed --data FOLDER` uses.
 */
export function unlistedFolder(path: string): FolderEntry {
  const parsed = entry.parse({
    kind: "folder",
    title: path,
    source: path,
    licence: "not stated",
    modalities: MODALITIES,
    group: "group",
    labels: { class: "the column class of labels.csv" },
    retrievalLabel: "class",
    path,
  });
  if (parsed.kind !== "folder") throw new Error("an entry of kind folder was parsed as another kind");
  return parsed;
}

/** The folder of an entry. Throws an `InputError` that says what to set or to correct where it is not there. */
export function folderOf(catalog: Catalog, name: string, { path }: FolderEntry): string {
  return locate(catalog.file, path, `data set "${name}"`, "folder");
}

/** The npz file of an entry, found as folders are. */
export function medmnistFile(catalog: Catalog, name: string, { path }: MedmnistEntry): string {
  return locate(catalog.file, path, `data set "${name}"`, "file");
}

/** Whether the file of an entry of `encoders` is on this machine. */
export function hasEncoderFile(catalog: Catalog, name: string): boolean {
  try {
    return existsSync(encoderFile(catalog, name, catalog.encoders[name]));
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

/** The file of an entry of `encoders`, found as folders are. */
export function encoderFile(catalog: Catalog, name: string, { file, get }: EncoderEntry): string {
  try {
    return locate(catalog.file, file, `encoder "${name}"`, "file");
  } catch (error) {
    if (get === undefined || !(error instanceof InputError)) throw error;
    throw new InputError(`${error.message}; to get it: ${get}`);
  }
}
