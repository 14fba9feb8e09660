/** The two files of a NIfTI or Analyze pair: `scan.hdr` and `scan.img`, each perhaps with `.gz`, in either case. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { InputError } from "../types.js";

const NAME = /\.(hdr|img)(\.gz)?$/i;

/** For `scan.img` the `scan.hdr` beside it; null where the name is another or no header is there. */
export function headerBeside(path: string): string | null {
  return NAME.exec(path)?.[1].toLowerCase() === "img" ? partner(path, "hdr") : null;
}

/** For `scan.hdr` the `scan.img` beside it. Throws an `InputError` that says what was looked for. */
export function voxelsBeside(path: string, format: string): string {
  const found = partner(path, "img");
  if (found !== null) return found;
  const stem = basename(path).replace(NAME, "");
  throw new InputError(
    `${path}: header of a ${format} .hdr/.img pair, without its voxels: expected ${stem}.img or ${stem}.img.gz beside it`,
  );
}

/** The other file with the same ending in `.gz` first, as pairs are written, then without or with it. */
function partner(path: string, kind: "hdr" | "img"): string | null {
  const stem = path.replace(NAME, "");
  const gzip = /\.gz$/i.test(path) ? [".gz", ""] : ["", ".gz"];
  const names = gzip.flatMap((end) => [kind + end, (kind + end).toUpperCase()]).map((ending) => `${stem}.${ending}`);
  return names.find((name) => name !== path && existsSync(name)) ?? null;
}
