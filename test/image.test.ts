import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { readImage } from "../src/datasets/image.js";
import { readFile } from "../src/datasets/read.js";
import { Random } from "../src/random.js";
import { expectAsReference, fixture, inputErrorOf, referenced } from "./readersFixture.js";

const scratch = mkdtempSync(join(tmpdir(), "m3ret-image-"));

const write = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(join(scratch, name), bytes);
  return join(scratch, name);
};

/** Made by test/reference/mediaImages.py and mediaRare.py, with what Pillow and tifffile read in them. */
type Images = Record<string, { shape: number[]; dtype: string; kind: string; pixels: number[] }>;
const media = (name: string): string => fileURLToPath(new URL(`./fixtures/media/${name}`, import.meta.url));
const rare = (name: string): string => fileURLToPath(new URL(`./fixtures/mediaRare/${name}`, import.meta.url));
const unseen = (name: string): string => fileURLToPath(new URL(`./fixtures/unseen/images/${name}`, import.meta.url));
const images = JSON.parse(readFileSync(media("images.json"), "utf8")) as Images;
const rareImages = JSON.parse(readFileSync(rare("images.json"), "utf8")) as Images;

/** Decoders of lossy formats differ in the last digit of an inverse cosine transform or a colour conversion. */
const lossy = (name: string): number => (/\.jpg$|smooth|jpeg/.test(name) ? 3 : 0);

test.each(Object.keys(images))("%s has the pixels that Pillow or tifffile reads", async (name) => {
  const { shape, dtype, kind, pixels } = images[name];
  const decoded = await readFile(media(name));
  expect(decoded).toMatchObject({ shape, dtype, kind, modality: null, spacingMm: null });
  expect(decoded.pixels.length).toBe(pixels.length);
  const over = pixels.filter((value, i) => {
    return Math.abs(decoded.pixels[i] - value) > lossy(name) + 1e-6 * (1 + Math.abs(value));
  });
  expect(over).toEqual([]);
});

test.each(referenced(".png", ".jpg").filter((name) => !["rgba8.png", "rotated.jpg"].includes(name)))(
  "%s has the pixels that Pillow reads",
  async (name) => {
    const decoded = await readImage(fixture(name));
    expectAsReference(name, decoded);
    expect(decoded).toMatchObject({ kind: "image", modality: null, spacingMm: null, orientation: null });
  },
);

test("a photograph that lies on its side is turned, and says so", async () => {
  const { shape, warnings } = await readImage(fixture("rotated.jpg"));
  expect(shape).toEqual([3, 1, 24, 16]);
  expect(warnings).toEqual(["turned as EXIF orientation 6 says"]);
});

test("what is transparent is put on black and said; a plain picture says nothing", async () => {
  const { warnings } = await readImage(media("alpha.png"));
  expect(warnings).toEqual(["what is transparent was put on black (alpha)"]);
  expect((await readImage(fixture("rgb8.png"))).warnings).toEqual([]);
  expect((await readImage(media("cmyk.jpg"))).warnings.join()).toMatch(/CMYK was converted to RGB/);
});

test("pages are a volume where they are grey and alike, and otherwise only when asked for", async () => {
  const stack = await readImage(media("stack_u16.tif"));
  expect(stack.warnings).toEqual(["4 pages were read as the slices of a volume"]);
  const first = await readImage(media("stack_u16.tif"), { pages: "first" });
  expect(first).toMatchObject({ shape: [1, 1, 5, 7], kind: "image", warnings: ["page 1 of 4 was read"] });
  expect(first.pixels).toEqual(stack.pixels.slice(0, 35));

  const unlike = await readImage(media("unlike_pages.tif"));
  expect(unlike).toMatchObject({ shape: [1, 1, 5, 7], kind: "image" });
  expect(unlike.warnings).toEqual(["page 1 of 2 was read: pages differ in size or type"]);
  expect(await inputErrorOf(readImage(media("unlike_pages.tif"), { pages: "volume" }))).toMatch(
    /expected 2 pages of one size and type for a volume/,
  );

  const colour = await readImage(media("colour_pages.tif"));
  expect(colour.warnings).toEqual(["page 1 of 3 was read: pages in colour are no clear volume"]);
  const asked = await readImage(media("colour_pages.tif"), { pages: "volume" });
  expect(asked).toMatchObject({ shape: [3, 3, 5, 7], kind: "volume" });
  expect([...asked.pixels.subarray(0, 35)]).toEqual([...colour.pixels.subarray(0, 35)]);
});

test("an animated WebP file is a video", async () => {
  const { shape, kind, pixels } = await readFile(media("moving.webp"));
  expect({ shape, kind }).toEqual({ shape: [3, 3, 9, 14], kind: "video" });
  expect([0, 1, 2].map((f) => pixels[f * 126])).toEqual([10, 100, 200]);
});

test("a picture of 65,535 x 65,535 pixels is refused before it is decoded, with the limit named", async () => {
  const png = readFileSync(media("bits.png"));
  png.writeUInt32BE(65535, 16);
  png.writeUInt32BE(65535, 20);
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  const bmp = readFileSync(media("grey.bmp"));
  bmp.writeInt32LE(65535, 18);
  bmp.writeInt32LE(65535, 22);
  for (const [name, bytes] of [
    ["huge.png", png],
    ["huge.bmp", bmp],
  ] as const) {
    const path = write(name, bytes);
    const said = `${path}: 65535 x 65535 pixels are over the limit maxPixels, 134217728`;
    expect(await inputErrorOf(readImage(path))).toBe(said);
  }
  expect(await inputErrorOf(readImage(media("stack_u16.tif"), { maxPixels: 100 }))).toMatch(
    /7 x 5 x 4 pixels are over the limit maxPixels, 100$/,
  );
});

test("half a picture is an error, not half a picture of grey", async () => {
  const names = ["grey.jpg", "rgb16.png", "rotated.jpg"].map(fixture);
  for (const name of [...names, ...["colour.bmp", "u16.tif", "lzw.tif", "alpha.webp", "still.gif"].map(media)]) {
    const bytes = readFileSync(name);
    const path = write(`half-${name.split("/").at(-1)}`, bytes.subarray(0, Math.floor((bytes.length * 3) / 4)));
    expect(await inputErrorOf(readImage(path))).toContain(`${path}: damaged or truncated`);
  }
});

test("cut and damaged pictures are pictures or one line", async () => {
  const random = new Random(9);
  for (const name of Object.keys(images)) {
    const bytes = readFileSync(media(name));
    for (let i = 0; i < 8; i++) {
      const hurt = Uint8Array.from(bytes.subarray(0, i < 4 ? random.int(bytes.length) : bytes.length));
      if (i >= 4) for (let k = 0; k < 1 + 3 * i; k++) hurt[random.int(hurt.length)] ^= 1 << random.int(8);
      const path = write(`hurt-${i}-${name}`, hurt);
      const result = await readFile(path).then(
        ({ pixels, shape }) => {
          expect(pixels.length, path).toBe(shape.reduce((a, b) => a * b, 1));
        },
        (error: unknown) => error as Error,
      );
      if (result === undefined) continue;
      expect(result.name, `${path} ${result.stack}`).toBe("InputError");
      expect(result.message).toMatch(new RegExp(`^${path}: [^\n]+$`));
    }
  }
});

test.each(Object.keys(rareImages))("%s has the pixels that Pillow or tifffile reads, bit for bit", async (name) => {
  const { shape, dtype, kind, pixels } = rareImages[name];
  const decoded = await readFile(rare(name));
  expect(decoded).toMatchObject({ shape, dtype, kind });
  expect(decoded.pixels).toEqual(Float32Array.from(pixels));
});

test("the limit of pixels holds for types that are decoded here", async () => {
  expect((await readImage(rare("f64.tif"), { maxPixels: 35 })).shape).toEqual([1, 1, 5, 7]);
  expect(await inputErrorOf(readImage(rare("f64.tif"), { maxPixels: 34 }))).toMatch(
    /7 x 5 pixels are over the limit maxPixels, 34$/,
  );
});

test("a TIFF file of 64 bits in a compression for pictures, or with five channels, is refused by name", async () => {
  const changed = (tag: number, value: number): Buffer => {
    const bytes = readFileSync(rare("f64_rgb.tif"));
    const entries = bytes.readUInt32LE(4);
    for (let at = entries + 2, i = 0; i < bytes.readUInt16LE(entries); i++, at += 12) {
      if (bytes.readUInt16LE(at) === tag) bytes.writeUInt16LE(value, at + 8);
    }
    return bytes;
  };
  expect(await inputErrorOf(readImage(write("p.tif", changed(259, 7))))).toMatch(
    /p.tif: TIFF file: float64 in compression 7 is not supported; expected none, LZW/,
  );
  expect(await inputErrorOf(readImage(write("a.tif", changed(277, 5))))).toMatch(
    /float64 with .* 5 channels is not supported; expected/,
  );
});

test("run-length codes may jump over pixels, which stay of colour 0", async () => {
  const bytes = readFileSync(rare("rle8_grey.bmp"));
  const start = bytes.readUInt32LE(10);
  bytes.writeInt32LE(6, 18);
  bytes.writeInt32LE(3, 22);
  const codes = [2, 9, 0, 2, 1, 1, 2, 8, 0, 0, 0, 3, 5, 6, 7, 0, 0, 1]; // jumps one further and one up
  const { pixels } = await readImage(write("jump.bmp", Buffer.concat([bytes.subarray(0, start), Buffer.from(codes)])));
  expect([...pixels]).toEqual([5, 6, 7, 0, 0, 0, 0, 0, 0, 8, 8, 0, 9, 9, 0, 0, 0, 0]);
});

test("an odd number of pixels of four bits keeps its last one", async () => {
  const bytes = readFileSync(rare("rle4.bmp"));
  const start = bytes.readUInt32LE(10);
  bytes.writeInt32LE(6, 18);
  bytes.writeInt32LE(1, 22);
  const line = async (...codes: number[]) =>
    (await readImage(write("odd.bmp", Buffer.concat([bytes.subarray(0, start), Buffer.from([...codes, 0, 1])]))))
      .pixels;
  expect(await line(0, 5, 0x12, 0x34, 0x50, 0)).toEqual(await line(2, 0x12, 2, 0x34, 1, 0x50));
});

test("run-length codes that end early, or go outside the picture, are refused or cut, never written elsewhere", async () => {
  const bytes = readFileSync(rare("rle8.bmp"));
  expect(await inputErrorOf(readImage(write("cut.bmp", bytes.subarray(0, bytes.length - 100))))).toMatch(
    /damaged or truncated BMP file: it ends too early$/,
  );
  const start = bytes.readUInt32LE(10);
  const codes = (...list: number[]) => Buffer.concat([bytes.subarray(0, start), Buffer.from(list)]);
  const dark = (await readImage(write("none.bmp", codes(0, 1)))).pixels;
  expect((await readImage(write("up.bmp", codes(0, 2, 0, 255, 9, 9, 0, 1)))).pixels).toEqual(dark);
  expect((await readImage(write("right.bmp", codes(0, 2, 255, 0, 9, 9, 0, 3, 7, 7, 7, 0, 0, 1)))).pixels).toEqual(dark);
});

test("a text file called .png is named with what it is", async () => {
  const path = write("notes.png", "these are notes\n");
  expect(await inputErrorOf(readFile(path))).toBe(`${path}: expected a PNG or JPEG file, got a text file`);
});

/** A bitmap of version 4 with one row of pixels of 16 or 32 bits. */
function bitmapOf(bits: 16 | 32, masks: readonly number[], pixels: readonly number[]): Buffer {
  const bytes = Buffer.alloc(122 + 4 * pixels.length);
  bytes.write("BM", "latin1");
  for (const [at, value] of [[10, 122], [14, 108], [18, pixels.length], [22, 1], [30, 3]]) bytes.writeUInt32LE(value, at); // prettier-ignore
  bytes.writeUInt16LE(bits, 28);
  masks.forEach((mask, i) => bytes.writeUInt32LE(mask, 54 + 4 * i));
  pixels.forEach((pixel, i) => bytes.writeUIntLE(pixel, 122 + (bits / 8) * i, bits / 8));
  return bytes;
}

test("fields of five and six bits in a bitmap are stretched and rounded down, as Pillow does", async () => {
  const bytes = bitmapOf(16, [0xf800, 0x7e0, 0x1f, 0], [0xffff, (16 << 11) | (33 << 5) | 7]);
  expect([...(await readImage(write("565.bmp", bytes))).pixels]).toEqual([255, 131, 255, 133, 255, 57]);
});

test("alpha that is 0 in every pixel of a bitmap is no alpha", async () => {
  const masks = [0xff0000, 0xff00, 0xff, 0xff000000];
  const unused = await readImage(write("unused.bmp", bitmapOf(32, masks, [0x102030, 0x405060])));
  expect([unused.shape, [...unused.pixels], unused.warnings]).toEqual([[3, 1, 1, 2], [16, 64, 32, 80, 48, 96], []]);
  const used = await readImage(write("used.bmp", bitmapOf(32, masks, [0x102030, 0xff405060])));
  expect([[...used.pixels], used.warnings.length]).toEqual([[0, 64, 0, 80, 0, 96], 1]);
});

test("Netpbm pictures, packed or as text, are read as Pillow reads them, and never past their end", async () => {
  const of = async (header: string, ...bytes: number[]) => {
    const { shape, pixels, dtype } = await readFile(
      write("a.pnm", Buffer.concat([Buffer.from(header), Buffer.from(bytes)])),
    );
    return [shape, [...pixels], dtype];
  };
  expect(await of("P5\n# MIAS\n3 1\n255\n", 0, 7, 255)).toEqual([[1, 1, 1, 3], [0, 7, 255], "uint8"]);
  expect(await of("P5 2 1 65535\n", 1, 2, 255, 255)).toEqual([[1, 1, 1, 2], [258, 65535], "uint16"]);
  expect(await of("P5 2 1 4095\n", 0, 1, 15, 255)).toEqual([[1, 1, 1, 2], [16, 65535], "uint16"]);
  expect(await of("P6 1 2 255\n", 1, 2, 3, 4, 5, 6)).toEqual([[3, 1, 2, 1], [1, 4, 2, 5, 3, 6], "uint8"]);
  expect(await of("P4 9 1\n", 0b10100000, 0x80)).toEqual([[1, 1, 1, 9], [0, 255, 0, 255, 255, 255, 255, 255, 0], "uint8"]); // prettier-ignore
  expect(await of("P1\n3 1\n1 0# a comment\n1")).toEqual([[1, 1, 1, 3], [0, 255, 0], "uint8"]);
  expect(await of("P2 3 1 15 0 7\n# 9\n15\n")).toEqual([[1, 1, 1, 3], [0, 119, 255], "uint8"]);
  expect(await of("P3 1 1 255\n9 8 7")).toEqual([[3, 1, 1, 1], [9, 8, 7], "uint8"]);
  for (const cut of [
    "P5 3 1 255\nab",
    "P2 3 1 255\n1 234 ",
    "P1 5 1\n1010",
    "P6 9999 9999 255\n",
    "P2 9999 9999 255\n",
  ])
    expect(await inputErrorOf(readFile(write("cut.pgm", cut)))).toMatch(/cut\.pgm: .*it ends too early$/);
  expect(await inputErrorOf(readFile(write("big.pgm", "P5 65535 65535 255\n")))).toMatch(/over the limit maxPixels/);
  expect(await inputErrorOf(readFile(write("over.pgm", "P2 1 1 9\n10")))).toMatch(
    /a value of 10, over the largest, 9$/,
  );
  expect(await inputErrorOf(readFile(write("note.txt", "P2 patients of 12")))).toMatch(/got a text file$/);
});

test("an animated PNG says that its first picture was read", async () => {
  const chunk = (name: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    return Buffer.concat([
      Buffer.from(Uint32Array.of(data.length).buffer).swap32(),
      body,
      Buffer.from(Uint32Array.of(crc32(body)).buffer).swap32(),
    ]);
  };
  const bytes = readFileSync(fixture("grey8.png"));
  const moving = Buffer.concat([bytes.subarray(0, 33), chunk("acTL", Buffer.from([0, 0, 0, 5, 0, 0, 0, 0])), bytes.subarray(33)]); // prettier-ignore
  expect((await readImage(write("moving.png", moving))).warnings).toEqual(["picture 1 of 5 was read: an animated PNG"]);
  expect((await readImage(fixture("grey8.png"))).warnings).toEqual([]);
});

test("a TIFF file whose JPEG is of the old style is refused by name, and not decoded to something else", async () => {
  const bytes = readFileSync(unseen("lzma.tif"));
  const at = bytes.indexOf(Buffer.from([0x03, 0x01, 3, 0, 1, 0, 0, 0])); // the entry of tag 259, Compression
  bytes.writeUInt16LE(6, at + 8);
  expect(await inputErrorOf(readImage(write("old.tif", bytes)))).toMatch(
    /: TIFF file: compression 6 \(JPEG of the old style\) is not supported/,
  );
});

test("a bitmap whose palette is shorter than its colours is black there and says so; pixels never begin in the palette", async () => {
  const bytes = Buffer.alloc(54 + 8 + 4);
  bytes.write("BM", "latin1");
  for (const [at, value] of [[10, 54], [14, 40], [18, 3], [22, 1], [46, 2]]) bytes.writeUInt32LE(value, at); // prettier-ignore
  bytes.writeUInt16LE(8, 28);
  bytes.set([10, 20, 30, 0, 40, 50, 60, 0, 0, 1, 2], 54); // colours in order B, G, R; then pixels 0, 1 and 2
  const { pixels, warnings } = await readImage(write("short.bmp", bytes));
  expect([...pixels]).toEqual([30, 60, 0, 20, 50, 0, 10, 40, 0]);
  expect(warnings).toEqual(["1 pixels of colours that the palette lacks are black"]);
});
