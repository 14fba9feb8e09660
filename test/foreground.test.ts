import { expect, test } from "vitest";
import { entryOf, loadCatalog, parseCatalog, type Preprocessing } from "../src/datasets/catalog.js";
import type { DataRecord } from "../src/datasets/dataset.js";
import { choose } from "../src/datasets/video.js";
import { Random } from "../src/random.js";
import { atSpacing, cutOut, foregroundBox } from "../src/transforms/foreground.js";
import { prepareOne, prepareSample } from "../src/transforms/prepare.js";
import { InputError, KINDS, MODALITIES, sizeOf, type Decoded, type Shape3, type Shape4 } from "../src/types.js";

const catalog = loadCatalog(new URL("../datasets.yaml", import.meta.url).pathname);
const usual = catalog.public["totalsegmentator"].preprocessing;
const record: DataRecord = { id: "a", modality: "ct", kind: "volume", group: "a", split: "train", labels: {} };

function decoded(pixels: Float32Array, shape: Shape4, more: Partial<Decoded> = {}): Decoded {
  const rest = { modality: null, spacingMm: null, orientation: null, dtype: "float32", warnings: [] };
  return { pixels, shape, kind: "volume", ...rest, ...more };
}

/** A ball of 1 on 0 with its centre in the middle; sides in mm. */
function ball(shape: Shape3, mm: Shape3, radius: number): Float32Array {
  const [, h, w] = shape;
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
    const at = [Math.floor(i / (h * w)), Math.floor(i / w) % h, i % w];
    return Math.hypot(...at.map((n, axis) => (n + 0.5 - shape[axis] / 2) * mm[axis])) < radius ? 1 : 0;
  });
}

test("the foreground is the smallest box around what is bright, with its margin and within the picture", () => {
  const row = Float32Array.of(0, 0, 0.5, 0, 0);
  const all = { above: 0.1, alongDepth: true };
  expect(foregroundBox(row, [1, 1, 1, 5], { ...all, margin: 1 })).toEqual({ start: [0, 0, 1], extent: [1, 1, 3] });
  expect(foregroundBox(row, [1, 1, 1, 5], { ...all, margin: 9 })).toEqual({ start: [0, 0, 0], extent: [1, 1, 5] });
  expect(foregroundBox(row, [1, 1, 1, 5], { ...all, above: 0.5, margin: 0 }).extent).toEqual([1, 1, 5]); // nothing is brighter
  const random = new Random(7);
  for (let round = 0; round < 50; round++) {
    const shape: Shape4 = [1 + 2 * random.int(2), 1 + random.int(5), 1 + random.int(6), 1 + random.int(7)];
    const pixels = Float32Array.from({ length: sizeOf(shape) }, () => (random.chance(0.05) ? 1 : 0));
    const box = foregroundBox(pixels, shape, { ...all, margin: 0 });
    const cut = cutOut(pixels, shape, box);
    const sum = (of: Float32Array) => of.reduce((total, x) => total + x, 0);
    expect(sum(cut.pixels), "nothing bright is cut away").toBe(sum(pixels));
    if (sum(pixels) === 0) continue;
    const again = foregroundBox(cut.pixels, cut.shape, { ...all, margin: 0 });
    expect(again, "and nothing dark is left around it").toEqual({ start: [0, 0, 0], extent: cut.shape.slice(1) });
    const flat = foregroundBox(pixels, shape, { ...all, margin: 0, alongDepth: false });
    expect(flat.extent[0]).toBe(shape[1]);
  }
});

test("at a spacing, the grid of a volume that has that spacing already is the volume, cut or padded about its centre", () => {
  const shape: Shape4 = [1, 4, 6, 6];
  const pixels = Float32Array.from({ length: 4 * 36 }, (_, i) => i);
  const mm: Shape3 = [5, 1, 1];
  expect(atSpacing(pixels, shape, mm, mm, [4, 6, 6])).toEqual(pixels);
  const padded = atSpacing(pixels, shape, mm, mm, [6, 8, 8]);
  expect(cutOut(padded, [1, 6, 8, 8], { start: [1, 1, 1], extent: [4, 6, 6] }).pixels).toEqual(pixels);
  expect(padded.reduce((sum, x) => sum + x, 0)).toBe(pixels.reduce((sum, x) => sum + x, 0)); // black around it
  const cut = cutOut(pixels, shape, { start: [1, 1, 1], extent: [2, 4, 4] });
  expect(atSpacing(pixels, shape, mm, mm, [2, 4, 4])).toEqual(cut.pixels);
});

test("4 slices 5 mm apart are 8 at 2.5 mm: the same line, between 4 black slices on each side where there is room", () => {
  const line = Float32Array.of(1, 2, 3, 4);
  const dense = atSpacing(line, [1, 4, 1, 1], [5, 1, 1], [2.5, 1, 1], [8, 1, 1]);
  [1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4].forEach((x, i) => expect(dense[i]).toBeCloseTo(x, 6));
  const roomy = atSpacing(line, [1, 4, 1, 1], [5, 1, 1], [2.5, 1, 1], [16, 1, 1]);
  expect([...roomy]).toEqual([0, 0, 0, 0, ...dense, 0, 0, 0, 0]);
});

test("a ball has one volume in millimetres, whatever the spacing of the file that it is in", () => {
  const to: Shape3 = [2, 2, 2];
  const size: Shape3 = [31, 32, 33];
  const volumes = (
    [
      [1, 1, 1],
      [4, 1, 1],
      [2, 1.5, 0.8],
      [3, 3, 3],
    ] as const
  ).map((mm) => {
    const shape = mm.map((step) => Math.round(80 / step)) as unknown as Shape3;
    const out = atSpacing(ball(shape, mm, 24), [1, ...shape], mm, to, size);
    return out.reduce((sum, x) => sum + x, 0) * 8;
  });
  const exact = (4 / 3) * Math.PI * 24 ** 3;
  for (const volume of volumes) expect(Math.abs(volume / exact - 1)).toBeLessThan(0.04);
});

test("an entry chooses spacing and foreground; a volume that does not know its spacing is then refused by its name", async () => {
  const size = { image: [1, 8, 8], video: [8, 8, 8], volume: [8, 8, 8] } as const;
  const rules: Preprocessing = { ...usual, size, orientation: undefined, spacingMm: [2, 2, 2] };
  const shape: Shape4 = [1, 16, 16, 16];
  const hu = ball([16, 16, 16], [1, 1, 1], 4).map((x) => (x ? 1000 : -1000));
  const sample = prepareSample(record, decoded(hu, shape, { spacingMm: [1, 1, 1] }), rules);
  const bright = (pixels: Float32Array) => pixels.filter((x) => x > 0.5).length / 3;
  expect(bright(sample.pixels)).toBeGreaterThan(20); // 4/3 π 2³ = 33.5 voxels of 2 mm
  expect(bright(sample.pixels)).toBeLessThan(45);
  const cropped = { ...rules, spacingMm: undefined, foreground: { above: 0.5, margin: 0 }, fit: "stretch" } as const;
  const filled = prepareSample(record, decoded(hu, shape, { spacingMm: [1, 1, 1] }), cropped);
  expect(bright(filled.pixels) / 512).toBeGreaterThan(0.45); // a ball fills π/6 of the box around it
  expect(await prepareOne({ read: async () => decoded(hu, shape) }, record, rules)).toEqual({
    path: "a",
    reason: "expected a volume that knows its spacing, which spacingMm asks for, got none",
  });
  const yaml = (preprocessing: string) => () =>
    parseCatalog(
      `datasets: {}\npublic:\n  x: { title: t, home: "https://a.b/", licence: l, access: open, modalities: [ct], region: chest, steps: s, preprocessing: { ${preprocessing} } }\n`,
      "datasets.yaml",
    );
  expect(yaml("spacingMm: [1, 0, 1]")).toThrow(InputError);
  expect(yaml("foreground: { above: 2 }")).toThrow("public.x.preprocessing.foreground.above");
  expect(yaml("clip: { stride: 0 }")).toThrow("public.x.preprocessing.clip.stride");
  expect(yaml("spacingMm: [3, 1.5, 1.5], foreground: { above: 0.1 }, clip: { stride: 2 }")).not.toThrow();
});

test("frames are spread over the video, or a clip of frames so far apart, drawn by its name as the reader of videos draws it", () => {
  const frames = Float32Array.from({ length: 50 }, (_, i) => i / 50);
  const video = decoded(frames, [1, 50, 1, 1], { kind: "video" });
  const size = { image: [1, 1, 1], video: [5, 1, 1], volume: [5, 1, 1] } as const;
  const unit = { ...usual, size, intensity: { ...usual.intensity, ct: { range: [0, 1] as const } } };
  const shown = (rules: Preprocessing, id = "a") => {
    const { pixels } = prepareSample({ ...record, id, kind: "video" }, video, rules);
    return [...pixels.subarray(0, 5)].map((x) => Math.round(x * 50));
  };
  expect(shown(unit)).toEqual([5, 15, 25, 35, 45]);
  const starts = new Set<number>();
  for (const stride of [1, 2, 3, 4]) {
    for (let i = 0; i < 40; i++) {
      const id = `video ${i}`;
      const got = shown({ ...unit, clip: { stride } }, id);
      expect(got).toEqual([0, 1, 2, 3, 4].map((n) => got[0] + n * stride));
      const reader = choose(50, { clip: { frames: 5, stride, random: new Random(`clip ${id}`) } });
      expect(reader.select).toContain(`between(n,${got[0]},`);
      if (stride === 4) starts.add(got[0]);
    }
  }
  expect(starts.size).toBeGreaterThan(15);
  expect(Math.max(...starts)).toBeLessThanOrEqual(33);
  expect(
    shown({ ...unit, clip: { stride: 100 } }, "long")[4] - shown({ ...unit, clip: { stride: 100 } }, "long")[0],
  ).toBe(48);
});

test("every default of intensity says where its numbers are from, in the file and where an entry has none", () => {
  const entries = [...Object.keys(catalog.datasets), ...Object.keys(catalog.public)].map((name) =>
    entryOf(catalog, name),
  );
  for (const { title, preprocessing } of entries) {
    for (const key of [...MODALITIES, "uint8"] as const) {
      expect(preprocessing.intensity[key].source?.length, `${title}: ${key}`).toBeGreaterThan(10);
    }
    for (const kind of KINDS) expect(preprocessing.size[kind]).toHaveLength(3);
  }
});
