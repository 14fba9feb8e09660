import { expect, test } from "vitest";
import { unlistedFolder } from "../src/datasets/catalog.js";
import type { Preprocessing } from "../src/datasets/catalog.js";
import type { DataRecord, Dataset } from "../src/datasets/dataset.js";
import { MONOCHROME1_WARNING } from "../src/datasets/dicom.js";
import { Random } from "../src/random.js";
import { reorient } from "../src/transforms/orient.js";
import { prepareAll, prepareSample } from "../src/transforms/prepare.js";
import type { Decoded, Kind, Modality, Shape4 } from "../src/types.js";
import { InputError, MODALITIES, sizeOf } from "../src/types.js";

const usual: Preprocessing = {
  ...unlistedFolder("x").preprocessing,
  size: { image: [1, 8, 8], video: [4, 8, 8], volume: [4, 8, 8] },
};

const record = (modality: Modality, id: string = modality): DataRecord => ({
  id,
  modality,
  kind: "image",
  group: `patient of ${id}`,
  split: "query",
  labels: { class: "a" },
});

const decoded = (kind: Kind, shape: Shape4, value: (i: number) => number, more: Partial<Decoded> = {}): Decoded => ({
  pixels: Float32Array.from({ length: sizeOf(shape) }, (_, i) => value(i)),
  shape,
  kind,
  modality: null,
  spacingMm: null,
  orientation: null,
  dtype: "int16",
  warnings: [],
  ...more,
});

const counted = (i: number) => i;

test("every modality and kind takes the same form: three channels in [0, 1] at the size of the kind", () => {
  const random = new Random(1);
  const forms: [Kind, Shape4][] = [
    ["image", [1, 1, 12, 10]],
    ["image", [3, 1, 9, 9]],
    ["video", [3, 9, 6, 7]],
    ["volume", [1, 3, 20, 16]],
  ];
  for (const modality of MODALITIES) {
    for (const [kind, shape] of forms) {
      const sample = prepareSample(
        record(modality),
        decoded(kind, shape, () => random.normal(0, 500)),
        usual,
      );
      expect(sample.shape).toEqual([3, ...usual.size[kind]]);
      expect(sample.pixels).toHaveLength(sizeOf(sample.shape));
      expect(sample.pixels.every((x) => x >= 0 && x <= 1)).toBe(true);
      expect(sample).toMatchObject({ kind, modality, group: `patient of ${modality}`, labels: { class: "a" } });
      expect(sample.grey).toBe(shape[0] === 1);
    }
  }
});

test("a colour file that holds a grey picture is grey, one coloured pixel is enough to be colour", () => {
  const plane = (i: number) => i % 64;
  expect(prepareSample(record("xray"), decoded("image", [3, 1, 8, 8], plane), usual).grey).toBe(true);
  const spot = (i: number) => (i === 100 ? 99 : i % 64);
  expect(prepareSample(record("xray"), decoded("image", [3, 1, 8, 8], spot), usual).grey).toBe(false);
});

test("water is in the middle of the CT window, and the same numbers stored as 8 bits are shades of grey", () => {
  const stored = (dtype: string, value: number) =>
    prepareSample(
      record("ct"),
      decoded("image", [1, 1, 8, 8], () => value, { dtype }),
      usual,
    ).pixels[0];
  expect(stored("int16", 0)).toBeCloseTo(0.5, 6);
  expect(stored("int16", 51)).toBeCloseTo(0.5255, 6);
  expect(stored("uint8", 51)).toBeCloseTo(0.2, 6);
  expect(stored("uint8", -500)).toBeCloseTo(0.25, 6); // 8 bits that a header rescales to Hounsfield units
});

test("a MONOCHROME1 radiograph comes out as its MONOCHROME2 twin", () => {
  const twin = prepareSample(record("xray"), decoded("image", [1, 1, 8, 8], counted), usual);
  const inverted = decoded("image", [1, 1, 8, 8], (i) => 63 - i, { warnings: [MONOCHROME1_WARNING] });
  prepareSample(record("xray"), inverted, usual).pixels.forEach((x, i) => expect(x).toBeCloseTo(twin.pixels[i], 6));
});

test("what is not a number becomes black and spoils nothing beside it", () => {
  const holes = (i: number) => (i % 8 < 2 ? NaN : 100 + (i % 8));
  const { pixels } = prepareSample(record("mri"), decoded("image", [1, 1, 8, 8], holes), usual);
  expect(pixels.every(Number.isFinite)).toBe(true);
  expect([pixels[0], pixels[1], pixels[7]]).toEqual([0, 0, 1]);
});

test("a file that says it is MRI is refused as CT", () => {
  const lying = decoded("image", [1, 1, 8, 8], counted, { modality: "mri" });
  expect(() => prepareSample(record("ct"), lying, usual)).toThrow("ct: expected ct, but the file says that it is mri");
});

test("pixels twice as high as wide are shown in proportion", () => {
  const stretched = decoded("image", [1, 1, 4, 8], (i) => i, { spacingMm: [1, 2, 1] });
  const { pixels } = prepareSample(record("xray"), stretched, usual);
  expect(pixels.subarray(8, 64).every((x) => x > 0)).toBe(true); // it fills the square: no black band
});

test("of eight frames, four are kept, unblended", () => {
  const clip = decoded("video", [1, 8, 8, 8], (i) => Math.floor(i / 64), { dtype: "uint8" });
  const { pixels } = prepareSample(record("endoscopy"), clip, usual);
  const frames = [0, 1, 2, 3].map((z) => Math.round(255 * pixels[z * 64]));
  expect(frames).toEqual([1, 3, 5, 7]);
});

test("turning a volume and turning it back is no change, whichever way it lay", () => {
  const shape: Shape4 = [2, 2, 3, 4];
  const pixels = Float32Array.from({ length: sizeOf(shape) }, (_, i) => i);
  for (const to of ["RAS", "LPS", "SAL", "ILP", "PIR", "ASR"]) {
    const there = reorient(pixels, shape, "LPS", to);
    expect(reorient(there.pixels, there.shape, to, "LPS")).toMatchObject({ pixels, shape });
  }
  expect(() => reorient(pixels, shape, "LPS", "LRS")).toThrow(InputError);
});

test("from RAS to LPS width and height are mirrored; a coronal stack becomes axial with its spacing", () => {
  const flat = reorient(new Float32Array([1, 2, 3, 4, 5, 6]), [1, 1, 2, 3], "RAS", "LPS");
  expect([...flat.pixels]).toEqual([6, 5, 4, 3, 2, 1]);
  // Coronal: W to the left, H downwards, D backwards.
  const coronal = reorient(
    new Float32Array(24).map((_, i) => i),
    [1, 2, 3, 4],
    "LIP",
    "LPS",
  );
  expect(coronal.shape).toEqual([1, 3, 2, 4]);
  expect(coronal.axes).toEqual([1, 0, 2]);
  expect(coronal.pixels[0]).toBe(8); // lowest (H = 2), frontmost (D = 0), rightmost (W = 0)
});

test("two volumes of one body, stored RAS and LPS, come out the same", () => {
  const shape: Shape4 = [1, 4, 8, 8];
  const lps = decoded("volume", shape, (i) => (i * 37) % 101, { orientation: "LPS", spacingMm: [3, 1, 1] });
  const { pixels } = reorient(lps.pixels, shape, "LPS", "RAS");
  const ras: Decoded = { ...lps, pixels, orientation: "RAS" };
  const turned = { ...usual, orientation: "LPS" };
  expect(prepareSample(record("mri"), ras, turned).pixels).toEqual(prepareSample(record("mri"), lps, turned).pixels);
  expect(prepareSample(record("mri"), ras, usual).pixels).not.toEqual(prepareSample(record("mri"), lps, usual).pixels);
});

/** Twenty images, of which those named cannot be read. */
const dataset = (broken: readonly string[]): Dataset => ({
  name: "twenty",
  records: Array.from({ length: 20 }, (_, i) => ({
    ...record(i < 10 ? "ct" : "xray", `${i}`),
    split: i % 2 ? "train" : "query",
  })),
  skipped: [{ path: "early", reason: "was never there" }],
  read: async ({ id }) => {
    await new Promise((resolve) => setTimeout(resolve, (Number(id) * 7) % 5));
    if (broken.includes(id)) throw new InputError(`${id}: broken\nmore`);
    return decoded("image", [1, 1, 8, 8], (i) => i + Number(id));
  },
});

test("everything is prepared in the order of its records, and what cannot be read is named", async () => {
  const seen: number[] = [];
  const onProgress = ({ done, total }: { done: number; total: number }) => void seen.push(done / total);
  const { samples, skipped } = await prepareAll(dataset(["3", "11"]), usual, { onProgress });
  expect(samples.map(({ id }) => Number(id))).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19]);
  expect(skipped).toEqual([
    { path: "early", reason: "was never there" },
    { path: "3", reason: "3: broken\\nmore" },
    { path: "11", reason: "11: broken\\nmore" },
  ]);
  expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => (i + 1) / 20));
});

test("splits and modalities are chosen, and a limit is spread over the list", async () => {
  const chosen = await prepareAll(dataset([]), usual, { splits: ["train"], modalities: ["xray"] });
  expect(chosen.samples.map(({ id }) => id)).toEqual(["11", "13", "15", "17", "19"]);
  const few = await prepareAll(dataset([]), usual, { limit: 4 });
  expect(few.samples.map(({ id }) => id)).toEqual(["0", "5", "10", "15"]);
});

test("when nothing can be read, that is an error and not an empty table", async () => {
  const all = Array.from({ length: 20 }, (_, i) => `${i}`);
  await expect(prepareAll(dataset(all), usual)).rejects.toThrow(
    "none of the 20 files of twenty could be read; the first: 0: broken",
  );
});
