/** Parts of files that may be gzipped, without ever holding the whole. */
import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import { readRange, systemError } from "../files.js";
import { InputError } from "../types.js";
import { HEAD, readHead } from "./sniff.js";

/** What a gzip file may expand to, and one sample may take in memory, unless `maxBytes` says otherwise: 4 GiB. */
export const MAX_BYTES = 2 ** 32;

/** Whether bytes start with the mark of gzip. */
const isGzip = ([first, second]: Uint8Array): boolean => first === 0x1f && second === 0x8b;

/**
 * The first bytes of a file, or of what it holds where it is gzipped.
 *
 * @param head of the file as it lies on the disk, where it has been read already
 */
export async function unpackedHead(path: string, head: Uint8Array = readHead(path)): Promise<Uint8Array> {
  return isGzip(head) ? gunzippedRange(path, 0, HEAD, HEAD) : head;
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
  const gzipped = isGzip(readRange(path, 0, 2));
  return gzipped ? gunzippedRange(path, from, length, Infinity, maxBytes) : readRange(path, from, length);
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
