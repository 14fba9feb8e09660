/** DICOMDIR: the index of a DICOM disc (PS3.3, annex F; PS3.10, 8.6). */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { InputError } from "../types.js";
import { guarded, parseDicom } from "./dicomFile.js";

const STORAGE_CLASS = "1.2.840.10008.1.3.10"; // Media Storage Directory Storage, in the meta header of every DICOMDIR

/** True for the bytes of an index: it says so in its meta header, and holds records and no pixels. */
export function isDicomDir(bytes: Uint8Array, path: string): boolean {
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024)).includes(STORAGE_CLASS)) return false;
  const { data, pixels } = parseDicom(bytes, path);
  return pixels === null && data.elements.x00041220 !== undefined;
}

/**
 * The files that the records of an index name, in its order, each once. A file ID is up to eight components of up to eight
 * characters; one that is no such thing, or has no file beside the index (in capitals or small letters), counts as missing.
 */
export function filesOfDirectory(bytes: Uint8Array, path: string): { paths: string[]; missing: number } {
  return guarded(path, () => {
    const records = parseDicom(bytes, path).data.elements.x00041220;
    if (records === undefined)
      throw new InputError(`${path}: expected a DICOMDIR (an index of files), got another object`);
    const paths = new Set<string>();
    let missing = 0;
    for (const { dataSet } of records.items ?? []) {
      const id = dataSet?.string("x00041500");
      if (id === undefined) continue; // a patient, a study, a series
      const found = fileBeside(path, id);
      if (found === null) missing++;
      else paths.add(found);
    }
    return { paths: [...paths], missing };
  });
}

function fileBeside(index: string, id: string): string | null {
  const parts = id.split("\\").map((part) => part.trim());
  // Nothing that leads out of the folder: the standard allows A-Z, 0-9 and _, writers add small letters, dots and dashes.
  if (parts.length > 8 || !parts.every((part) => /^[\w-][\w.-]{0,63}$/.test(part))) return null;
  const spellings = [parts, parts.map((part) => part.toLowerCase())];
  return spellings.map((names) => join(dirname(index), ...names)).find((path) => existsSync(path)) ?? null;
}
