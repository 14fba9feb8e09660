/** From a name in the catalogue to records that can be read. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { UNSEEN_MODALITY, type OnProgress } from "../types.js";
import { entryOf, folderOf, medmnistFile, unlistedFolder } from "./catalog.js";
import type { Catalog, Entry, FolderEntry, MedmnistEntry, PhantomEntry } from "./catalog.js";
import type { Dataset } from "./dataset.js";
import { openFolder } from "./folder.js";
import { openMedmnist } from "./medmnist.js";
import { openPhantom } from "./phantom.js";
import { openPublic } from "./publicDataset.js";

export interface OpenOptions {
  readonly catalog: Catalog;
  /** Where generated pictures are kept between runs. */
  readonly cacheDir: string;
  /** Instead of the seed in the catalogue: other virtual patients, or another split of the same files. */
  readonly seed?: number;
  /** Instead of the folder in the catalogue. */
  readonly root?: string;
  /**
   * For a ceiling alone: MRI on the training side of the split is among the records. Of phantoms that is all there is,
   * because nothing else of their patients changes.
   */
  readonly ceiling?: true;
  /** Worker threads that make phantoms. */
  readonly workers?: number;
  readonly onProgress?: OnProgress;
}

export type OpenDataset = Dataset & { readonly entry: Entry };

/**
 * Opens a data set by its name in the catalogue, public sets that are on this machine among them. A folder with a `labels.csv` that has no entry can be opened by its
 * path, with the defaults of the catalogue's format.
 *
 * Throws an `InputError` where the name is unknown, or where the folder of an entry is absent, saying how to set it.
 */
export async function openDataset(name: string, options: OpenOptions): Promise<OpenDataset> {
  const entry = entryFor(options.catalog, name);
  const dataset = await opened(name, entry, options);
  return {
    name: dataset.name,
    records: dataset.records,
    skipped: dataset.skipped,
    root: dataset.root,
    entry,
    read: (record, options) => dataset.read(record, options),
  };
}

/** The entry of that name, or one with the format's defaults for the path of a folder with a `labels.csv`. Throws as `entryOf`. */
export function entryFor(catalog: Catalog, name: string): Entry {
  const listed = Object.hasOwn(catalog.datasets, name);
  return !listed && existsSync(join(name, "labels.csv")) ? unlistedFolder(resolve(name)) : entryOf(catalog, name);
}

/** A data set's name as every working folder understands it: the path of a folder that is not listed becomes absolute. */
export function anywhere(catalog: Catalog, name: string): string {
  return !Object.hasOwn(catalog.datasets, name) && existsSync(join(name, "labels.csv")) ? resolve(name) : name;
}

async function opened(name: string, entry: Entry, options: OpenOptions): Promise<Dataset> {
  switch (entry.kind) {
    case "phantom":
      return phantom(name, entry, options);
    case "folder":
      return folder(name, entry, options);
    case "medmnist":
      return medmnist(name, entry, options);
    case "public":
      return openPublic(name, entry.set, options);
  }
}

function phantom(name: string, entry: PhantomEntry, options: OpenOptions): Promise<Dataset> {
  const { patients, size, depth, ctPlane, split } = entry;
  const seed = options.seed ?? entry.seed;
  const { cacheDir, workers, ceiling, onProgress } = options;
  const modalities = ceiling ? entry.modalities.filter((m) => m === UNSEEN_MODALITY) : entry.modalities;
  return openPhantom(
    name,
    { patients, seed, size, depth, ctPlane, modalities, splits: split, ceiling },
    { cacheDir, workers, onProgress },
  );
}

function folder(name: string, entry: FolderEntry, { catalog, seed, root, ceiling }: OpenOptions): Dataset {
  const { group, labels, limitPerClass, include, exclude, derive } = entry;
  return openFolder(root ?? folderOf(catalog, name, entry), {
    name,
    split: { ...entry.split, seed: seed ?? entry.split.seed },
    group,
    labels: Object.keys(labels),
    limitPerClass,
    include,
    exclude,
    derive,
    ceiling,
  });
}

function medmnist(name: string, entry: MedmnistEntry, { catalog, cacheDir, root }: OpenOptions): Dataset {
  const [modality] = entry.modalities;
  return openMedmnist(root ?? medmnistFile(catalog, name, entry), { name, set: entry.set, modality, cacheDir });
}
