/**
 * How many frames a container says that it holds, from its tables: one run of ffmpeg less. It may be wrong, and then costs
 * time and nothing else, because frames are counted as they come.
 */
import { statSync } from "node:fs";
import { readBytes, readRange } from "../files.js";
import type { Format } from "./sniff.js";

/** Tables and MPEG files larger than this are not read. */
const MOST = 2 ** 26;

/** Null where the container is of another kind, damaged, or does not say. `head` is the first bytes of the file. */
export function statedFrames(path: string, format: Format | null, head: Uint8Array): number | null {
  const { size } = statSync(path);
  try {
    if (format === "avi") return ofAvi(head);
    if (format === "mov") return ofMov(path, size);
    return (format === "mpeg" || format === "mpegvideo") && size <= MOST ? ofMpeg(readBytes(path)) : null;
  } catch (error) {
    if (error instanceof RangeError) return null; // a table that ends early
    throw error;
  }
}

/** AVI: `strh` of the first video stream, dwLength. */
function ofAvi(head: Uint8Array): number | null {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  for (let at = bytes.indexOf("strh"); at >= 0; at = bytes.indexOf("strh", at + 4)) {
    if (bytes.toString("latin1", at + 8, at + 12) === "vids") return bytes.readUInt32LE(at + 8 + 32) || null;
  }
  return null;
}

/** MPEG-1 and 2, also in a program stream: every picture begins with 00 00 01 00, which nothing else may hold. */
function ofMpeg(bytes: Uint8Array): number | null {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = Buffer.from([0, 0, 1, 0]);
  let count = 0;
  for (let at = buffer.indexOf(start); at >= 0; at = buffer.indexOf(start, at + 4)) count++;
  return count || null;
}

/** MP4 and MOV (ISO 14496-12): moov / trak / mdia / minf / stbl / stsz, sample_count, of the first track with a `vmhd`. */
function ofMov(path: string, size: number): number | null {
  for (let at = 0; at + 16 <= size;) {
    const box = Buffer.from(readRange(path, at, 16));
    const short = box.readUInt32BE(0);
    const length = short === 1 ? Number(box.readBigUInt64BE(8)) : short === 0 ? size - at : short;
    if (length < 8) return null;
    if (box.toString("latin1", 4, 8) === "moov") {
      if (length > MOST) return null;
      const moov = Buffer.from(readRange(path, at + 8, length - 8));
      const video = boxes(moov, "trak").find((trak) => within(trak, "mdia", "minf", "vmhd") !== null);
      return (video && within(video, "mdia", "minf", "stbl", "stsz")?.readUInt32BE(8)) || null;
    }
    at += length;
  }
  return null;
}

/** What the boxes of one name hold. */
function boxes(bytes: Buffer, name: string): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const length = bytes.readUInt32BE(at);
    if (length < 8) break;
    if (bytes.toString("latin1", at + 4, at + 8) === name) found.push(bytes.subarray(at + 8, at + length));
    at += length;
  }
  return found;
}

/** What the first box at the end of a path of names holds. */
function within(bytes: Buffer, ...names: readonly string[]): Buffer | null {
  let inside: Buffer | undefined = bytes;
  for (const name of names) inside = inside && boxes(inside, name)[0];
  return inside ?? null;
}
