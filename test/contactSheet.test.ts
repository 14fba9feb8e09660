import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { contactSheet, displayWindow, patientRows } from "../src/analysis/contactSheet.js";
import type { DataRecord, Dataset } from "../src/datasets/dataset.js";
import { InputError, type Decoded, type Modality } from "../src/types.js";

function grey(value: number, others: Partial<Decoded> = {}): Decoded {
  const pixels = new Float32Array(64).fill(value);
  const base = { kind: "image", modality: "xray", spacingMm: null, orientation: null, dtype: "uint8" } as const;
  return { ...base, pixels, shape: [1, 1, 8, 8], warnings: [], ...others };
}

async function pixelsOf(
  png: Uint8Array,
): Promise<{ at(x: number, y: number): number[]; width: number; height: number }> {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number): number[] => [
    ...data.subarray(3 * (y * info.width + x), 3 * (y * info.width + x) + 3),
  ];
  return { at, width: info.width, height: info.height };
}

describe("contact sheet", () => {
  it("puts each picture where its row and column say", async () => {
    const [tile, gap] = [90, 5];
    const png = await contactSheet(
      [
        [grey(255), grey(0)],
        [grey(128), grey(64)],
      ],
      { tile },
    );
    const { at, width, height } = await pixelsOf(png);
    const middle = (row: number, column: number): number => {
      const left = 2 * gap + column * (tile + gap) + tile / 2;
      return at(left, 2 * gap + row * (tile + gap) + tile / 2)[0];
    };
    expect([middle(0, 0), middle(0, 1), middle(1, 0), middle(1, 1)]).toEqual([255, 0, 128, 64]);
    expect([width, height]).toEqual([2 * gap + 2 * (tile + gap) + gap, 2 * gap + 2 * (tile + gap) + gap]);
  });

  it("grows by room for titles when there are some", async () => {
    const bare = await pixelsOf(await contactSheet([[grey(9)]]));
    const titled = await pixelsOf(
      await contactSheet([[grey(9)]], {
        title: "Five",
        columnTitles: ["X-ray"],
        rowTitles: ["chest"],
        rowNotes: ["mass"],
      }),
    );
    expect(titled.width).toBeGreaterThan(bare.width);
    expect(titled.height).toBeGreaterThan(bare.height);
  });

  it("shows colour as it is, and a video with a strip of its frames", async () => {
    const plane = 4 * 64;
    const pixels = Float32Array.from({ length: 3 * plane }, (_, i) => (i < plane ? 200 : 40)); // red
    const video = grey(0, { pixels, shape: [3, 4, 8, 8], kind: "video", modality: "endoscopy" });
    const { at } = await pixelsOf(await contactSheet([[video]], { tile: 90 }));
    expect(at(10 + 45, 10 + 30)).toEqual([200, 40, 40]);
    expect(at(10 + 12, 10 + 78)).toEqual([200, 40, 40]);
    expect(at(10 + 3, 10 + 30)).toEqual([0, 0, 0]); // beside the main frame
  });

  it("chooses a window by what the numbers mean", () => {
    expect(displayWindow(grey(0, { modality: "ct", dtype: "int16" }))).toEqual({ low: -250, high: 500 });
    expect(displayWindow(grey(0))).toEqual({ low: 0, high: 255 });
    const ramp = Float32Array.from({ length: 1000 }, (_, i) => i);
    const mri = grey(0, { modality: "mri", dtype: "uint16", pixels: ramp, shape: [1, 10, 10, 10] });
    expect(displayWindow(mri)).toEqual({ low: 5, high: 995 });
  });

  it("has nothing to draw without pictures, and says so", async () => {
    await expect(contactSheet([])).rejects.toThrow(InputError);
  });
});

describe("patient rows", () => {
  const record = (group: string, modality: Modality, region: string, finding: string, size: string): DataRecord => ({
    id: `${group}-${modality}`,
    modality,
    kind: "image",
    group,
    split: "query",
    labels: { region, finding, size },
  });
  const records = [
    record("a", "xray", "hand", "fracture", "small"),
    record("b", "xray", "hand", "none", "none"),
    record("b", "ct", "hand", "none", "none"),
    record("c", "xray", "hand", "none", "none"),
    record("c", "ct", "hand", "none", "none"),
    record("d", "ct", "head", "meningioma", "large"),
    record("d", "xray", "head", "meningioma", "large"),
  ];
  const read = async (r: DataRecord): Promise<Decoded> => grey(1, { modality: r.modality });
  const dataset: Dataset = { name: "fake", records, skipped: [], read };

  it("takes groups that have every modality, other regions first", async () => {
    const { groups, rows, titles, notes } = await patientRows(dataset, ["xray", "ct"], { count: 3 });
    expect(groups).toEqual(["b", "d", "c"]);
    expect(titles).toEqual(["hand", "head", "hand"]);
    expect(notes).toEqual(["no finding", "large meningioma", "no finding"]);
    expect(rows.map((row) => row.map((d) => d.modality))).toEqual([
      ["xray", "ct"],
      ["xray", "ct"],
      ["xray", "ct"],
    ]);
  });

  it("names the group that lacks a modality", async () => {
    await expect(patientRows(dataset, ["xray", "ct"], { groups: ["a"] })).rejects.toThrow(
      "group 0 of those asked for has no ct",
    );
    await expect(patientRows(dataset, ["mri"])).rejects.toThrow(InputError);
  });
});
