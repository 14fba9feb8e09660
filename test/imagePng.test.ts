/** Plain PNG pictures that are decoded without libvips, against libvips. */
import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";
import { expect, test } from "vitest";
import { pictureHeader } from "../src/datasets/imageHeader.js";
import { decodePlainPng } from "../src/datasets/imagePng.js";
import { Random } from "../src/random.js";

const MARK = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(4), Buffer.from(type), data, Buffer.alloc(4)]);
  bytes.writeUInt32BE(data.length, 0);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

/** Lines of chance, each with the next of the five filters, in so many IDAT chunks. */
function png(width: number, height: number, bands: 1 | 3, seed: number, { chunks = 1, lines = height } = {}): Buffer {
  const random = new Random(seed);
  const row = width * bands + 1;
  const data = Uint8Array.from({ length: lines * row }, (_, i) =>
    i % row === 0 ? Math.floor(i / row) % 5 : random.int(256),
  );
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, bands === 1 ? 0 : 2, 0, 0, 0]);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const packed = deflateSync(data);
  const part = Math.ceil(packed.length / chunks);
  const parts = Array.from({ length: chunks }, (_, i) => chunk("IDAT", packed.subarray(i * part, (i + 1) * part)));
  const note = chunk("tEXt", Buffer.from("Comment\0of no use"));
  return Buffer.concat([Buffer.from(MARK), chunk("IHDR", header), note, ...parts, chunk("IEND", Buffer.alloc(0))]);
}

const ours = (bytes: Uint8Array): Uint8Array | null => {
  const header = pictureHeader(bytes, "png"); // null where it is damaged itself
  return header && decodePlainPng(bytes, header);
};
const libvips = (bytes: Uint8Array, bands: 1 | 3) =>
  sharp(bytes, { failOn: "error" })
    .toColourspace(bands === 1 ? "b-w" : "srgb")
    .raw()
    .toBuffer();

test.each([
  [1, 37, 23],
  [3, 37, 23],
  [3, 1, 40],
  [1, 300, 1],
] as const)("%d bands of %d × %d pixels, with every filter, are those of libvips", async (bands, width, height) => {
  for (const chunks of [1, 3]) {
    const bytes = png(width, height, bands, 1, { chunks });
    const samples = ours(bytes);
    expect(samples).toHaveLength(width * height * bands);
    expect(Buffer.compare(samples!, await libvips(bytes, bands))).toBe(0);
  }
});

test("a byte that is changed in the pixels' chunks, or is missing, is left to libvips", () => {
  const bytes = png(20, 20, 3, 2);
  const random = new Random(3);
  const start = bytes.indexOf("IDAT");
  for (let round = 0; round < 200; round++) {
    const changed = Buffer.from(bytes);
    changed[start + random.int(bytes.length - 12 - start)] ^= 1 + random.int(255);
    expect(ours(changed)).toBeNull();
    expect(ours(bytes.subarray(0, bytes.length - 1 - random.int(bytes.length - start)))).toBeNull();
  }
});

test("a line too few or too many is left to libvips", () => {
  expect(ours(png(20, 20, 1, 4))).not.toBeNull();
  expect(ours(png(20, 20, 1, 4, { lines: 19 }))).toBeNull();
  expect(ours(png(20, 20, 1, 4, { lines: 21 }))).toBeNull();
});
