/** Files are written whole or not at all: to a temporary name beside the target, then renamed. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { InputError } from "./types.js";

type Chunk = string | Uint8Array;

/** One line for what the operating system said, with the path it was about. */
export function systemError(path: string, error: unknown): InputError {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  const said: Record<string, string> = {
    ENOENT: "no such file or folder",
    EACCES: "permission denied",
    EISDIR: "expected a file, got a folder",
    EEXIST: "expected a folder, got a file",
    ENOTDIR: "expected a folder, got a file",
    ENOSPC: "no space left on the device",
    EROFS: "the file system is read-only",
  };
  const reason = said[code] ?? (error instanceof Error ? error.message : String(error));
  return new InputError(`${path}: ${reason.split("\n")[0]}`);
}

/**
 * Writes chunks to `path`, atomically: a reader sees the old file or the new one, and a full disk leaves the old one
 * and no remains. Folders on the way are made, and removed again where it fails. Throws an `InputError` that names the path.
 */
export function writeAtomic(path: string, ...chunks: readonly Chunk[]): void {
  const temporary = `${path}.${process.pid}.tmp`;
  let made: string | undefined; // the first folder on the way that was not there
  try {
    made = mkdirSync(dirname(path), { recursive: true });
    const file = openSync(temporary, "w");
    try {
      for (const chunk of chunks) {
        const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
        for (let at = 0; at < bytes.byteLength;) at += writeSync(file, bytes, at);
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    if (existsSync(temporary)) rmSync(temporary);
    if (made !== undefined) removeEmpty(dirname(path), made);
    throw systemError(path, error);
  }
}

/** Removes empty folders from `inner` up to `outer`; what somebody else has put something into stays. */
function removeEmpty(inner: string, outer: string): void {
  try {
    for (let at = resolve(inner); at.length >= resolve(outer).length; at = dirname(at)) rmdirSync(at);
  } catch {
    // Not empty: it is in use.
  }
}

/** Removes what killed processes left of `writeAtomic` in a folder that nobody else writes to now. */
export function sweepTemporary(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) if (/\.\d+\.tmp$/.test(name)) rmSync(join(folder, name), { force: true });
}

/** The whole file, or an `InputError` that names it. */
export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw systemError(path, error);
  }
}

/** The version of this package. The file is `src/files.ts` or `dist/files.js`: both are one folder below it. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
