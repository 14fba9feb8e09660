/**
 * The safetensors format (Hugging Face, Apache-2.0 specification): eight bytes of header length, a JSON header, raw
 * little-endian numbers. No npm package writes it, so these are our own few lines; only F32 is needed here.
 */
import { readBytes, writeAtomic } from "../files.js";
import { InputError, sizeOf } from "../types.js";
import { array, type Array32, type NamedArrays } from "./arrays.js";

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** Writes arrays and string metadata atomically. `{ w: [2] }` makes a file of 8 + header + 8 bytes. */
export function saveSafetensors(path: string, arrays: NamedArrays, metadata: Readonly<Record<string, string>>): void {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const [name, { shape, data }] of Object.entries(arrays)) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const bodies = Object.values(arrays).map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  writeAtomic(path, length, padded, ...bodies);
}

/** @throws InputError naming the file where it is not safetensors, is cut short, or holds other than F32 */
export function loadSafetensors(path: string): { arrays: NamedArrays; metadata: Record<string, string> } {
  const bytes = Buffer.from(readBytes(path));
  const bad = (what: string) => new InputError(`${path}: expected a safetensors file of float32 arrays, got ${what}`);
  if (bytes.length < 8) throw bad(`${bytes.length} bytes`);
  const headerLength = Number(bytes.readBigUInt64LE());
  if (headerLength > bytes.length - 8) throw bad("a header that is longer than the file");
  let header: { __metadata__?: Record<string, string> } | null;
  try {
    header = JSON.parse(bytes.toString("utf8", 8, 8 + headerLength));
  } catch {
    throw bad("a header that is not JSON");
  }
  if (typeof header !== "object" || header === null) throw bad("a header that is no object");
  const arrays: Record<string, Array32> = {};
  const { __metadata__: metadata = {}, ...entries } = header;
  for (const [name, entry] of Object.entries(entries as Record<string, HeaderEntry>)) {
    const { shape, data_offsets: offsets } = entry ?? {};
    if (!Array.isArray(shape) || !Array.isArray(offsets)) throw bad(`${name} without a shape or a place`);
    if (entry.dtype !== "F32") throw bad(`${entry.dtype} in ${name}`);
    const [from, to] = entry.data_offsets;
    const body = bytes.subarray(8 + headerLength + from, 8 + headerLength + to);
    if (body.length !== 4 * sizeOf(entry.shape)) throw bad(`${body.length} bytes of ${name}, shape [${entry.shape}]`);
    const data = new Float32Array(sizeOf(entry.shape)); // copied, because the file's offset need not be aligned
    new Uint8Array(data.buffer).set(body);
    arrays[name] = array(entry.shape, data);
  }
  return { arrays, metadata };
}
