/** Files are written whole or not at all: to a temporary name beside the target, then renamed. They are read in parts or whole. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
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
export function removeEmpty(inner: string, outer: string): void {
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

/** Whether a process of this machine is there: what another left behind under its number may be removed or taken over. */
export function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0); // asks, and sends nothing
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // somebody else's
  }
}

/** The whole file, or an `InputError` that names it. */
export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw systemError(path, error);
  }
}

/**
 * `length` bytes of a file from `from` on, fewer where it ends before, or an `InputError` that names it. A pipe or a device is
 * refused: it has no end, and opening it may wait for ever.
 */
export function readRange(path: string, from: number, length: number): Uint8Array {
  try {
    const found = statSync(path);
    if (!found.isFile() && !found.isDirectory()) throw new InputError(`${path}: expected a file, got a pipe or device`);
    const file = openSync(path, "r");
    try {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, found.size - from)));
      let at = 0;
      while (at < bytes.length) {
        const got = readSync(file, bytes, at, Math.min(bytes.length - at, 2 ** 30), from + at);
        if (got === 0) break;
        at += got;
      }
      return bytes.subarray(0, at);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw error instanceof InputError ? error : systemError(path, error);
  }
}

/** All `length` bytes from `from` on, read beside other work; an `InputError` that says `endsEarly` where the file is shorter. */
export async function readPart(path: string, from: number, length: number, endsEarly: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  try {
    const file = await open(path, "r");
    try {
      for (let at = 0; at < length;) {
        const { bytesRead } = await file.read(bytes, at, length - at, from + at);
        if (bytesRead === 0) throw new Error(endsEarly);
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    throw systemError(path, error);
  }
  return bytes;
}

/** The version of this package. The file is `src/files.ts` or `dist/files.js`: both are one folder below it. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
