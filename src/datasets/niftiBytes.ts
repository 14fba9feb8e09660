/** Parts of files that may be gzipped: small files are unpacked at once, large ones without ever holding the whole. */
import { createReadStream, statSync } from "node:fs";
import { promisify } from "node:util";
import { isMainThread } from "node:worker_threads";
import { constants, createGunzip, gunzip, gunzipSync, type ZlibOptions } from "node:zlib";
import { readBytes, readRange, systemError } from "../files.js";
import { InputError } from "../types.js";
import { HEAD, readHead } from "./sniff.js";

/** What a gzip file may expand to, and one sample may take in memory, unless `maxBytes` says otherwise: 4 GiB. */
export const MAX_BYTES = 2 ** 32;

/** Files up to this size, packed and unpacked, are unpacked in one piece: three times as fast as in a stream of pieces. */
const AT_ONCE = 2 ** 26;

/** Packed bytes that hold any header, and unpacked bytes that show what a file is. */
const [FEW_PACKED, ENOUGH] = [2048, 1024];

/** Whether bytes start with the mark of gzip. */
const isGzip = ([first, second]: Uint8Array): boolean => first === 0x1f && second === 0x8b;

/**
 * The first bytes of a file, or of what it holds where it is gzipped.
 *
 * @param head of the file as it lies on the disk, where it has been read already
 */
export async function unpackedHead(path: string, head: Uint8Array = readHead(path)): Promise<Uint8Array> {
  return isGzip(head) ? (headOfFew(head) ?? gunzippedRange(path, 0, HEAD, HEAD)) : head;
}

/** What the first bytes of a gzip file unpack to; null where they are damaged, or too few to tell. */
function headOfFew(head: Uint8Array): Uint8Array | null {
  try {
    const unpacked = gunzipSync(head.subarray(0, FEW_PACKED), { finishFlush: constants.Z_SYNC_FLUSH });
    return unpacked.length < ENOUGH ? null : unpacked.subarray(0, HEAD);
  } catch {
    return null; // the stream finds the damage again, and names it
  }
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
  if (!isGzip(readRange(path, 0, 2))) return readRange(path, from, length);
  const whole = await gunzippedAtOnce(path, Math.min(maxBytes, AT_ONCE));
  return whole?.subarray(from, from + length) ?? gunzippedRange(path, from, length, Infinity, maxBytes);
}

/**
 * All that a gzip file holds, its checksum compared; null where that is more than `atMost` bytes, where the last four bytes do
 * not tell its length (RFC 1952, ISIZE: of the last of several members), or where it is damaged, which the stream names.
 */
async function gunzippedAtOnce(path: string, atMost: number): Promise<Uint8Array | null> {
  if (statSync(path).size > AT_ONCE) return null;
  const { buffer, byteOffset, byteLength } = readBytes(path);
  const packed = Buffer.from(buffer, byteOffset, byteLength);
  const length = packed.length < 18 ? 0 : packed.readUInt32LE(packed.length - 4);
  if (length < 64 || length > atMost) return null; // zlib's pieces have 64 bytes at least
  try {
    const how = { chunkSize: length, maxOutputLength: length };
    // In a worker thread, nobody waits for it, and going to another thread and back leaves cores idle in between.
    return isMainThread ? await unpackAll(packed, how) : gunzipSync(packed, how);
  } catch {
    return null;
  }
}

const unpackAll = promisify<Buffer, ZlibOptions, Buffer>(gunzip);

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
