/**
 * Plain PNG pictures, decoded in this thread: libvips gives the same values, and its way to other threads and back leaves cores idle
 * between small pictures. No package does it: those there are unpack in JavaScript, or give four channels, multiplied by alpha.
 */
import { crc32, inflateSync } from "node:zlib";
import type { PictureHeader } from "./imageHeader.js";

/** Beyond it libvips is as fast: it undoes filters by many bytes at once. */
const MOST_PIXELS = 2 ** 20;

const [IHDR, IDAT, IEND] = [0x49484452, 0x49444154, 0x49454e44];

/**
 * The samples of a PNG of 8 bits without palette, alpha or interlacing, pixel by pixel; null where it is another or a large one, and
 * where anything is wrong with it: libvips then says what.
 */
export function decodePlainPng(bytes: Uint8Array, { width, height, plainPng }: PictureHeader): Uint8Array | null {
  if (!plainPng || width * height > MOST_PIXELS) return null;
  const bands = bytes[25] === 0 ? 1 : 3;
  const row = width * bands;
  const packed = pixelChunks(bytes);
  if (packed === null) return null;
  try {
    const length = height * (row + 1);
    const lines = inflateSync(packed, { chunkSize: Math.max(64, length), maxOutputLength: length });
    return lines.length === length && unfilter(lines, row, height, bands) ? lines.subarray(0, height * row) : null;
  } catch {
    return null;
  }
}

/** What the IDAT chunks hold; null unless they follow each other, are whole, and come before the end. */
function pixelChunks(bytes: Uint8Array): Uint8Array | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Uint8Array[] = [];
  let after = false;
  for (let at = 8; at + 12 <= bytes.length;) {
    const [length, type] = [view.getUint32(at), view.getUint32(at + 4)];
    const end = at + 8 + length;
    if (end + 4 > bytes.length) return null;
    if (type === IEND) return parts.length === 1 ? parts[0] : parts.length === 0 ? null : Buffer.concat(parts);
    if ((type === IHDR || type === IDAT) && crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) return null;
    if (type === IDAT && after) return null;
    if (type === IDAT) parts.push(bytes.subarray(at + 8, end));
    else after = parts.length > 0;
    at = end + 4;
  }
  return null;
}

/**
 * Undoes the filters of PNG (ISO 15948, 9) in place. Each line begins with the number of its filter, and is moved to where it would be
 * without; a, b and c are the bytes to the left, above, and above to the left, of the pixel before or the line before.
 *
 *     0  x      1  x + a      2  x + b      3  x + ⌊(a + b) / 2⌋      4  x + the one of a, b, c that is nearest to a + b − c
 *
 * @returns false where a filter has another number
 */
function unfilter(lines: Uint8Array, row: number, height: number, bands: number): boolean {
  const above = new Uint8Array(row); // the line before the first
  for (let y = 0; y < height; y++) {
    const [from, to] = [y * (row + 1) + 1, y * row];
    const filter = lines[from - 1];
    lines.copyWithin(to, from, from + row);
    const line = lines.subarray(to, to + row);
    const before = y === 0 ? above : lines.subarray(to - row, to);
    if (filter === 1) {
      for (let i = bands; i < row; i++) line[i] += line[i - bands];
    } else if (filter === 2) {
      for (let i = 0; i < row; i++) line[i] += before[i];
    } else if (filter === 3) {
      for (let i = 0; i < bands; i++) line[i] += before[i] >> 1;
      for (let i = bands; i < row; i++) line[i] += (line[i - bands] + before[i]) >> 1;
    } else if (filter === 4) paeth(line, before, bands);
    else if (filter !== 0) return false;
  }
  return true;
}

function paeth(line: Uint8Array, before: Uint8Array, bands: number): void {
  for (let band = 0; band < bands; band++) {
    let [a, c] = [0, 0];
    for (let i = band; i < line.length; i += bands) {
      const b = before[i];
      const [fromA, fromB] = [Math.abs(b - c), Math.abs(a - c)];
      const fromC = Math.abs(a + b - 2 * c);
      const nearest = fromA <= fromB && fromA <= fromC ? a : fromB <= fromC ? b : c;
      a = line[i] = (line[i] + nearest) & 255;
      c = b;
    }
  }
}
