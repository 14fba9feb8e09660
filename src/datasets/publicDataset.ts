/** A public set that lies on this machine, fetched or put there by a person, as a data set like any other. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { InputError, type OnProgress } from "../types.js";
import type { Dataset, SkippedFile } from "./dataset.js";
import { readRecord } from "./folder.js";
import { manifestRows } from "./manifestRows.js";
import { openMedmnist } from "./medmnist.js";
import { setOfFile } from "./medmnistSets.js";
import { missingFrom, publicFolder, whatToDo, type PublicSet } from "./publicSets.js";

export interface OpenPublicOptions {
  /** Instead of `publicFolder`. */
  readonly root?: string;
  /** Of the split, where the publisher has none. */
  readonly seed?: number;
  readonly cacheDir: string;
  readonly onProgress?: OnProgress;
}

/**
 * The files of a set as records, by the rules of its entry: labels, patients, and the publisher's split or ours. A file
 * without a patient is a group of its own. Nothing is decoded. The sets of MedMNIST are opened as their npz files are.
 *
 * @throws InputError of one line where the set is not here (how to get it), its folder lacks the layout, or the catalogue
 *   has no rules for its files
 */
export function openPublic(name: string, set: PublicSet, options: OpenPublicOptions): Dataset {
  const { seed, cacheDir, onProgress } = options;
  const folder = publicFolderOf(name, set, options.root);
  const npz = npzOf(set);
  if (npz !== undefined) {
    return openMedmnist(join(folder, npz), { name, modality: set.modalities[0], cacheDir });
  }
  const skipped: SkippedFile[] = [];
  const rows = manifestRows(name, set, folder, (file) => skipped.push(file), { seed, onProgress });
  const records = rows.map(({ path, group, ...row }) => ({ id: path, group: group || path, ...row }));
  return { name, records, skipped, root: folder, read: readRecord(folder) };
}

/** The one npz file of a MedMNIST set. */
function npzOf({ layout: [file] }: PublicSet): string | undefined {
  return file?.endsWith(".npz") && setOfFile(file) !== undefined ? file : undefined;
}

/** The folder of a set, which has the layout that the catalogue expects; one line that says how to get it where it has not. */
export function publicFolderOf(name: string, set: PublicSet, root?: string): string {
  const folder = root ?? publicFolder(name);
  if (!existsSync(folder)) {
    const how = set.files.length > 0 ? `m3ret fetch ${name} brings it` : whatToDo(name, set);
    throw new InputError(`${folder}: no such folder; ${how} (M3RET_PUBLIC names the folder of all public sets)`);
  }
  const missing = missingFrom(folder, set.layout);
  if (missing.length > 0) throw new InputError(`${folder}: expected files as ${missing.join(", ")}, found none`);
  return folder;
}
