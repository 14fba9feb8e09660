import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readImage } from "../src/datasets/image.js";
import { expectAsReference, fixture, inputErrorOf, referenced } from "./readersFixture.js";

const scratch = mkdtempSync(join(tmpdir(), "m3ret-image-"));

const write = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(join(scratch, name), bytes);
  return join(scratch, name);
};

test.each(referenced(".png", ".jpg"))("%s has the pixels that Pillow reads", async (name) => {
  const decoded = await readImage(fixture(name));
  expectAsReference(name, decoded);
  expect(decoded).toMatchObject({ kind: "image", modality: null, spacingMm: null, orientation: null });
});

test("a rotated photograph keeps its stored pixels, and says so", async () => {
  const { shape, warnings } = await readImage(fixture("rotated.jpg"));
  expect(shape).toEqual([3, 1, 16, 24]);
  expect(warnings.join()).toMatch(/EXIF orientation 6 was not applied/);
});

test("dropped transparency is said, and a plain picture says nothing", async () => {
  expect((await readImage(fixture("rgba8.png"))).warnings.join()).toMatch(/alpha/);
  expect((await readImage(fixture("rgb8.png"))).warnings).toEqual([]);
});

test("half a picture is an error, not half a picture of grey", async () => {
  for (const name of ["grey.jpg", "rgb16.png", "rotated.jpg"]) {
    const bytes = readFileSync(fixture(name));
    const path = write(`half-${name}`, bytes.subarray(0, bytes.length - Math.ceil(bytes.length / 4)));
    expect(await inputErrorOf(readImage(path))).toContain(`${path}: damaged or truncated`);
  }
});

test("a text file called .png is named with what it is", async () => {
  const path = write("notes.png", "these are notes\n");
  expect(await inputErrorOf(readImage(path))).toBe(`${path}: expected a PNG or JPEG file, got a text file`);
});
