/** Parts of files that may be gzipped, without ever holding the whole. */
import { closeSync, createReadStream, openSync, readSync, statSync } from "node:fs";
import { createGunzip } from "node:zlib";
import { systemError } from "../files.js";
import { InputError } from "../types.js";

/** What a gzip file may expand to, and one sample may take in memory, unless `maxBytes` says otherwise: 4 GiB. */
export const MAX_BYTES = 2 ** 32;

const HEAD = 4096;

/** The first bytes of a file as they lie on the disk, at most 4,096: enough for every mark that `contentOf` knows. */
function headOf(path: string): Uint8Array {
  return rangeOnDisk(path, 0, HEAD);
}

/** Whether the file starts with the mark of gzip. */
function isGzip(path: string): boolean {
  const [first, second] = rangeOnDisk(path, 0, 2);
  return first === 0x1f && second === 0x8b;
}

/** The first bytes of a file, or of what it holds where it is gzipped. */
export async function unpackedHead(path: string): Promise<Uint8Array> {
  return isGzip(path) ? gunzippedRange(path, 0, HEAD, HEAD) : headOf(path);
}

/**
 * `length` bytes from `from` on of a file, or of what it holds where it is gzipped; fewer where it ends before. A gzip
 * file is unpacked to its end, so that damage anywhere is found, and never beyond `maxBytes`; only the range is kept.
 *
 * @throws `InputError`, one line, where the file cannot be read, is damaged, or expands beyond `maxBytes`
 */
export async function unpackedRange(
  path: string,
  from: number,
  length: number,
  maxBytes: number = MAX_BYTES,
): Promise<Uint8Array> {
  return isGzip(path) ? gunzippedRange(path, from, length, Infinity, maxBytes) : rangeOnDisk(path, from, length);
}

function rangeOnDisk(path: string, from: number, length: number): Uint8Array {
  try {
    const found = statSync(path);
    // A pipe or a device has no end, and opening it may wait for ever.
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

/** Stops as soon as `enough` bytes came out; else unpacks to the end. */
async function gunzippedRange(
  path: string,
  from: number,
  length: number,
  enough: number,
  maxBytes = MAX_BYTES,
): Promise<Uint8Array> {
  const kept: Uint8Array[] = [];
  let total = 0;
  const file = createReadStream(path);
  const unpacked = createGunzip({ chunkSize: 2 ** 17 });
  file.on("error", (error) => unpacked.destroy(systemError(path, error)));
  file.pipe(unpacked);
  try {
    for await (const piece of unpacked) {
      const chunk = piece as Buffer;
      const part = chunk.subarray(Math.max(0, from - total), Math.max(0, from + length - total));
      if (part.length > 0) kept.push(part);
      total += chunk.length;
      if (total >= enough) break;
      if (total > maxBytes) throw tooLarge(path, maxBytes);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    const said = error instanceof Error ? error.message : String(error);
    const reason = said === "unexpected end of file" ? "it ends too early" : said;
    throw new InputError(`${path}: damaged or truncated gzip file: ${reason}`);
  } finally {
    file.destroy();
    unpacked.destroy();
  }
  return kept.length === 1 ? kept[0] : Buffer.concat(kept);
}

const tooLarge = (path: string, maxBytes: number): InputError =>
  new InputError(`${path}: the gzip file expands beyond the limit of ${maxBytes} bytes (option maxBytes)`);
