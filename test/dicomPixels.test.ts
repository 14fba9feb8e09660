/** What pixels may be in DICOM, against pydicom (test/reference/dicomPixels.py). */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unlistedFolder } from "../src/datasets/catalog.js";
import { readDicom } from "../src/datasets/dicom.js";
import { unpacked } from "../src/datasets/dicomSamples.js";
import { prepareSample } from "../src/transforms/prepare.js";

const folder = fileURLToPath(new URL("./fixtures/dicomPixels/", import.meta.url));
const reference = JSON.parse(readFileSync(`${folder}expected.json`, "utf8")) as Readonly<
  Record<string, { readonly shape: readonly number[]; readonly values: readonly number[] }>
>;

const read = (name: string) => readDicom(`${folder}${name}.dcm`);

describe("stored values, units and colour", () => {
  test.each(Object.entries(reference))("%s is what pydicom reads", async (name, { shape, values }) => {
    const decoded = await read(name);
    expect(decoded.shape).toEqual(shape);
    expect(decoded.pixels).toEqual(Float32Array.from(values));
  });
});

test("frames of an enhanced file have their own rescale, their own positions and shared spacing", async () => {
  const { kind, modality, spacingMm, orientation } = await read("enhanced");
  expect({ kind, modality, spacingMm, orientation }).toEqual({
    kind: "volume",
    modality: "mri",
    spacingMm: [2.5, 0.5, 0.25], // from the positions, not from SpacingBetweenSlices, which says 2
    orientation: "LPS",
  });
});

test("padding is named in units, and its values are left as they are", async () => {
  const { padding, pixels } = await read("padding");
  expect(padding).toEqual([-2000 * 2 - 1000, -1500 * 2 - 1000]);
  expect(pixels.every(Number.isFinite)).toBe(true);
  expect(pixels.some((value) => value >= -5000 && value <= -4000)).toBe(true);
  expect((await read("overlay")).padding).toBeNull();
});

test("only a table that does not fit is complained of", async () => {
  const warnings = async (name: string) => (await read(name)).warnings.join();
  expect(await warnings("wrong_table")).toMatch(/offset table does not fit/);
  for (const name of ["one_each", "extended_table", "fragments_basic_table", "fragments_no_table"])
    expect(await warnings(name)).not.toMatch(/offset table/);
});

test("padding is outside the picture: it becomes black, and no percentile counts it", async () => {
  const decoded = await read("padding");
  const [low, high] = decoded.padding ?? [NaN, NaN];
  const { preprocessing } = unlistedFolder("x");
  const record = { id: "x", group: "x", split: "query", modality: "mri", kind: "image", labels: {} } as const;
  const [, , height, width] = decoded.shape;
  const settings = { ...preprocessing, size: { ...preprocessing.size, image: [1, height, width] as const } };
  const { pixels } = prepareSample(record, decoded, settings);
  const without = Float32Array.from(decoded.pixels, (value) => (value >= low && value <= high ? NaN : value));
  expect(without.some(Number.isNaN)).toBe(true);
  expect(pixels).toEqual(prepareSample(record, { ...decoded, pixels: without, padding: null }, settings).pixels);
  without.forEach((value, i) => Number.isNaN(value) && expect(pixels[i]).toBe(0));
});

test("samples of any width follow each other from the lowest bit", () => {
  expect([...unpacked(Uint8Array.of(0b1101), 1, 0, 3)]).toEqual([1, 0, 1]);
  expect([...unpacked(Uint8Array.of(0x21, 0x43, 0x65), 12, 0, 2)]).toEqual([0x321, 0x654]);
  expect([...unpacked(Uint8Array.of(0x21, 0x43, 0x65), 12, 1, 1)]).toEqual([0x654]);
  expect([...unpacked(Uint8Array.of(255, 255, 255, 255), 32, 0, 1)]).toEqual([2 ** 32 - 1]);
});
