/**
 * Prepared samples on disk, so that the second epoch decodes nothing. Their size, 4 bytes a number, one channel of what is
 * grey: 0.2 MB for a picture of 224 × 224 in grey, 6.4 MB for a volume of 32 slices of it.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Preprocessing } from "../datasets/catalog.js";
import { systemError } from "../files.js";
import { KINDS, sizeOf, type Modality, type Shape4 } from "../types.js";
import { withoutRepeats } from "./crop.js";
import type { ViewSource } from "./views.js";

/** Raised when preparation changes what comes out: older files are then not found. */
const VERSION = 1;
const MAGIC = 0x7072_6570; // "prep"
const HEADER = 7;

/**
 * The file of a sample: named by where its source is, how large it was and when it was written, its modality, and the rules
 * it was prepared by. A source or rule that changes leads to another name. Of a folder (a DICOM series) only changes of its
 * list of files are noticed.
 */
export function preparedPath(folder: string, source: string, modality: Modality, preprocessing: Preprocessing): string {
  const { size, mtimeMs } = statSync(source);
  const facts = JSON.stringify([VERSION, resolve(source), size, mtimeMs, modality, preprocessing]);
  const name = createHash("sha256").update(facts).digest("hex").slice(0, 40);
  return join(folder, name.slice(0, 2), `${name}.f32`);
}

/** The sample in that file, or null where there is none, or one that is not whole. */
export function readPrepared(path: string): ViewSource | null {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return null;
  }
  const { buffer, byteOffset, byteLength } = bytes;
  if (byteLength < 4 * HEADER) return null;
  // A small file may start anywhere in a buffer that Node shares between files: a copy starts at 0.
  const memory = byteOffset % 4 === 0 ? buffer : Uint8Array.from(bytes).buffer;
  const start = byteOffset % 4 === 0 ? byteOffset : 0;
  const [magic, kind, grey, ...shape] = new Int32Array(memory, start, HEADER);
  const count = sizeOf(grey ? shape.slice(1) : shape);
  if (magic !== MAGIC || byteLength !== 4 * (HEADER + count) || KINDS[kind] === undefined) return null;
  const pixels = new Float32Array(memory, start + 4 * HEADER, count);
  return { pixels, shape: shape as unknown as Shape4, grey: grey === 1, kind: KINDS[kind] };
}

/** Writes a sample, whole or not at all, and says how many bytes. Two threads may write the same one. */
export function writePrepared(path: string, sample: ViewSource, writer: number): number {
  const { pixels } = withoutRepeats(sample);
  const header = Int32Array.of(MAGIC, KINDS.indexOf(sample.kind), sample.grey ? 1 : 0, ...sample.shape);
  const bytes = Buffer.concat([bytesOf(header), bytesOf(pixels)]);
  const temporary = `${path}.${process.pid}-${writer}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    // Not synchronised with the disk: after a power cut a file may be short, and is then made again.
    writeFileSync(temporary, bytes);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw systemError(path, error);
  }
  return bytes.length;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array | Float32Array) =>
  Buffer.from(buffer, byteOffset, byteLength);
