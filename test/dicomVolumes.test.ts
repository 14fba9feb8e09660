/** Displays, frame order, tilt, repeated and gzipped slices (test/reference/dicomVolumes.py). */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { unlistedFolder } from "../src/datasets/catalog.js";
import { readDicom } from "../src/datasets/dicom.js";
import { readDicomSeries } from "../src/datasets/dicomSeries.js";
import { inspect } from "../src/datasets/inspect.js";
import { readFile } from "../src/datasets/read.js";
import { prepareOne, prepareSample } from "../src/transforms/prepare.js";
import { straightened } from "../src/transforms/straighten.js";
import { showAs } from "../src/transforms/voi.js";
import type { Decoded, Shape4 } from "../src/types.js";
import { inputErrorOf, noRealdata, realdata, whereRealdata } from "./readersFixture.js";

const folder = fileURLToPath(new URL("./fixtures/dicomVolumes/", import.meta.url));
const file = (name: string) => `${folder}${name}.dcm`;

describe("a display", () => {
  const reference = JSON.parse(readFileSync(`${folder}expected.json`, "utf8")) as Record<string, readonly number[]>;

  test.each(Object.entries(reference))("%s shows what pydicom's apply_voi_lut does", async (name, values) => {
    const { pixels, voi } = await readDicom(file(name));
    if (!voi) throw new Error("no display");
    showAs(pixels, voi).forEach((value, i) => expect(Math.abs(value - values[i]), `${i}`).toBeLessThanOrEqual(1e-6));
  });

  test("leaves the pixels that are read as they are, and what is no number too", async () => {
    const [table, window] = await Promise.all(["table", "window_linear"].map((name) => readDicom(file(name))));
    expect(Math.max(...table.pixels)).toBeGreaterThan(3500);
    expect(table.voi && "table" in table.voi).toBe(true);
    expect(window.voi).toEqual({ centre: 40, width: 400, curve: "linear" });
    for (const { voi } of [table, window]) expect(voi && showAs(Float32Array.of(NaN, 40), voi)[0]).toBeNaN();
  });

  test("table comes before percentiles, a Hounsfield window ignores it, and the rule voi takes a window too", async () => {
    const { preprocessing } = unlistedFolder("x");
    const prepared = async (name: string, modality: "xray" | "ct", rule?: object) => {
      const decoded = await readDicom(file(name));
      const intensity = { ...preprocessing.intensity, ...(rule && { [modality]: rule }) };
      const settings = { ...preprocessing, intensity, size: { ...preprocessing.size, image: [1, 5, 6] as const } };
      const record = { id: "x", group: "x", split: "query", kind: "image", labels: {}, modality } as const;
      return {
        sample: prepareSample(record, { ...decoded, modality }, settings).pixels.subarray(0, 30),
        shown: decoded.voi ? showAs(decoded.pixels, decoded.voi) : null,
        plain: prepareSample(record, { ...decoded, modality, voi: null }, settings).pixels.subarray(0, 30),
      };
    };
    const close = (a: Float32Array, b: ArrayLike<number>) => a.every((x, i) => Math.abs(x - b[i]) < 1e-6);
    const byTable = await prepared("table", "xray", { percentiles: [0, 100] });
    const shown = byTable.shown ?? new Float32Array(30);
    const [low, high] = [Math.min(...shown), Math.max(...shown)];
    expect(
      close(
        byTable.sample,
        shown.map((x) => (x - low) / (high - low)),
      ),
    ).toBe(true);
    expect(byTable.sample).not.toEqual(byTable.plain);
    const ct = await prepared("table_rescaled", "ct");
    expect(ct.sample).toEqual(ct.plain);
    for (const name of ["table", "window_linear"]) {
      const { sample, shown } = await prepared(name, "xray", { voi: [0.5, 99.5] });
      expect(close(sample, shown ?? []), name).toBe(true);
    }
  });

  test("table that is damaged is left out, and said", async () => {
    const bytes = readFileSync(file("table"));
    const at = bytes.indexOf(Buffer.from([0x28, 0, 0x02, 0x30])); // LUTDescriptor
    bytes.writeUInt16LE(60000, at + 8); // more entries than there are
    const path = join(mkdtempSync(join(tmpdir(), "m3ret-volumes-")), "a.dcm");
    writeFileSync(path, bytes);
    const { voi, warnings, shape } = await readDicom(path);
    expect({ voi, warnings, shape }).toEqual({
      voi: null,
      warnings: ["the VOI look-up table is damaged and was left out"],
      shape: [1, 1, 5, 6],
    });
  });
});

describe("frames of an enhanced file", () => {
  /** Frame i of the fixtures is all of the value 100 + i. */
  const framesOf = ({ pixels, shape: [, d, h, w] }: Decoded) =>
    Array.from({ length: d }, (_, f) => pixels[f * h * w] - 100);

  test("are sorted by position", async () => {
    const read = await readDicom(file("shuffled"));
    expect(framesOf(read)).toEqual([1, 3, 0, 2]);
    expect(read).toMatchObject({ spacingMm: [3, 0.5, 0.25], orientation: "LPS" });
    expect(read.warnings.join()).toBe("frames are not stored in the order of their positions: they were sorted");
  });

  test("that go downwards stay, and the orientation says so", async () => {
    const read = await readDicom(file("downwards"));
    expect(framesOf(read)).toEqual([0, 1, 2, 3]);
    expect(read).toMatchObject({ spacingMm: [3, 0.5, 0.25], orientation: "LPI", warnings: [] });
  });

  test("that share positions are volumes, by temporal position or dimension index, and one can be asked for", async () => {
    const read = await readDicom(file("times"));
    expect(framesOf(read)).toEqual([1, 3, 5, 0, 2, 4]);
    expect(read.spacingMm).toEqual([3, 0.5, 0.25]);
    expect(read.warnings.join("; ")).toBe(
      "frames are not stored in the order of their positions: they were sorted; " +
        "6 frames at 3 positions: 2 volumes follow each other (option volume: 0 to 1)",
    );
    expect(framesOf(await readDicom(file("times"), { volume: 1 }))).toEqual([0, 2, 4]);
    expect(framesOf(await readDicom(file("dimensions")))).toEqual([3, 1, 2, 0]);
    expect(await inputErrorOf(readFile(file("times"), { dicom: { volume: 2 } }))).toMatch(
      /expected a volume from 0 to 1, got 2$/,
    );
  });

  test("become samples as one volume, not as all of them in a pile", async () => {
    const { preprocessing } = unlistedFolder("x");
    const record = {
      id: "times.dcm",
      group: "x",
      split: "query",
      modality: "mri",
      kind: "volume",
      labels: {},
    } as const;
    const settings = {
      ...preprocessing,
      intensity: { ...preprocessing.intensity, mri: { range: [100, 105] } },
      size: { ...preprocessing.size, volume: [3, 3, 4] },
    } as const;
    const sample = await prepareOne({ read: (_, options) => readFile(file("times"), options) }, record, settings);
    if (!("pixels" in sample)) throw new Error(sample.reason);
    [1, 3, 5].forEach((frame, d) => expect(sample.pixels[d * 12 + 5]).toBeCloseTo(frame / 5, 6));
  });

  test("that come unequally often make no volumes, which is said", async () => {
    const read = await readDicom(file("uneven"));
    expect(read.shape[1]).toBe(4);
    expect(read.warnings.join()).toMatch(/4 frames at 3 positions, not equally often at each: they make no volumes/);
  });
});

describe("a series", () => {
  const firstOf = ({ pixels, shape: [, d, h, w] }: Decoded) => Array.from({ length: d }, (_, f) => pixels[f * h * w]);

  test("with several slices at each position is its first volume in time, or the one asked for", async () => {
    const read = await readDicomSeries(`${folder}repeated`);
    expect(firstOf(read)).toEqual([13, 14, 15]);
    expect(read.warnings.join()).toMatch(/6 slices at 3 positions: .* was read \(option volume: 0 to 1\)$/);
    expect(firstOf(await readDicomSeries(`${folder}repeated`, { volume: 1 }))).toEqual([10, 11, 12]);
    expect(await inputErrorOf(readDicomSeries(`${folder}repeated`, { volume: 5 }))).toMatch(/from 0 to 1, got 5$/);
  });

  test("beside others in a folder is a row of its own, and what is no volume is a file", async () => {
    const rows: string[] = [];
    for await (const row of inspect([`${folder}two_series`])) {
      rows.push(`${row.path.slice(folder.length)} ${row.ok ? row.shape.join("x") : row.error}`);
    }
    expect(rows).toEqual(["two_series#1 3x4x5", "two_series#2 4x6x7", "two_series/740.dcm 1x4x5"]);
    expect((await readFile(`${folder}two_series#2`)).spacingMm).toEqual([3, 0.5, 0.5]);
    expect(await inputErrorOf(readFile(`${folder}two_series#3`))).toMatch(/expected a series from 1 to 2, got 3$/);
  });

  test("of gzipped slices is the same volume", async () => {
    const [plain, gzipped] = await Promise.all(
      ["tilted_series", "gzipped"].map((name) => readDicomSeries(folder + name)),
    );
    expect(gzipped).toEqual(plain);
    expect((await readDicomSeries(`${folder}gzipped`)).shape).toEqual([1, 5, 9, 5]);
  });
});

describe("a gzipped DICOM file", () => {
  test("is read under any name, and refused beyond the limit, which is named", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "m3ret-volumes-")), "a.bin");
    writeFileSync(path, gzipSync(readFileSync(file("table"))));
    expect(await readFile(path)).toEqual(await readFile(file("table")));
    expect(await inputErrorOf(readFile(path, { dicom: { maxBytes: 1000 } }))).toBe(
      `${path}: the gzip file unpacks to more than the limit of 1000 bytes (option maxBytes)`,
    );
    const bomb = join(mkdtempSync(join(tmpdir(), "m3ret-volumes-")), "bomb.dcm.gz");
    writeFileSync(bomb, gzipSync(Buffer.concat([readFileSync(file("table")), Buffer.alloc(2 ** 25)])));
    expect(await inputErrorOf(readFile(bomb, { dicom: { maxBytes: 2 ** 24 } }))).toMatch(/limit of 16777216 bytes/);
    writeFileSync(bomb, gzipSync(readFileSync(file("table"))).subarray(0, 3000));
    expect(await inputErrorOf(readFile(bomb))).toMatch(/damaged or truncated gzip file: it ends too early$/);
  });
});

describe("a tilted gantry", () => {
  test("is told from the positions, in a series and in an enhanced file", async () => {
    const slide = -3 * 0.258819; // mm along the columns, which lean 15 degrees towards the feet
    for (const read of [await readDicomSeries(`${folder}tilted_series`), await readDicom(file("tilted"))]) {
      expect(read.slidMm?.length).toBe(5);
      read.slidMm?.forEach(([h, w], d) => {
        expect(h).toBeCloseTo((d - 2) * -slide, 4);
        expect(w).toBeCloseTo(0, 6);
      });
      expect(read.spacingMm?.[0]).toBeCloseTo(3 * 0.9659258, 5);
      expect(read.warnings.join()).toMatch(/shifted sideways by 0.776 mm each \(a tilted gantry\): here as stored/);
    }
    expect((await readDicom(file("shuffled"))).slidMm).toBeNull();
    const far = await readDicom(file("far"));
    expect(far.slidMm).toBeNull();
    expect(far.warnings.join()).toMatch(/sideways by more than half of their size: left as they are stored$/);
  });

  /** A smooth body in mm, sampled on slices that slide. */
  const spacingMm = [2, 0.8, 0.5] as const;
  const shape: Shape4 = [1, 9, 40, 48];
  const body = (d: number, y: number, x: number) =>
    Math.sin(d / 5) + Math.cos(y / 4 + 0.3 * Math.sin(x / 5)) + 0.01 * x * y;
  const scanned = (slidMm: readonly (readonly [number, number])[]) => {
    const pixels = new Float32Array(9 * 40 * 48);
    for (let d = 0, i = 0; d < 9; d++)
      for (let y = 0; y < 40; y++)
        for (let x = 0; x < 48; x++, i++) pixels[i] = body(2 * d, 0.8 * y + slidMm[d][0], 0.5 * x + slidMm[d][1]);
    return pixels;
  };

  test("is undone to the error of linear interpolation, and what was never scanned is no number", () => {
    const slidMm = Array.from({ length: 9 }, (_, d) => [(d - 4) * 1.3, (d - 4) * -0.35] as const);
    const straight = scanned(slidMm.map(() => [0, 0]));
    const sheared = scanned(slidMm);
    const mended = straightened(sheared, shape, { slidMm, spacingMm });
    const error = (pixels: Float32Array) => {
      const off = Array.from(pixels, (x, i) => Math.abs(x - straight[i])).filter(Number.isFinite);
      return { most: Math.max(...off), counted: off.length / pixels.length };
    };
    expect(error(sheared).most).toBeGreaterThan(0.5);
    // Linear: h²/8 · |f″| in each direction, with |f″| below 0.11 and steps of 0.8 and 0.5 mm.
    expect(error(mended).most).toBeLessThan(0.013);
    expect(error(mended).counted).toBeGreaterThan(0.85);
    expect(mended.some(Number.isNaN)).toBe(true);
    expect(mended.subarray(4 * 40 * 48, 5 * 40 * 48)).toEqual(sheared.subarray(4 * 40 * 48, 5 * 40 * 48));
  });

  test("by whole pixels moves them unchanged", () => {
    const slidMm = [[0.8, 0] as const, [0, -0.5] as const];
    const pixels = Float32Array.from({ length: 12 }, (_, i) => i);
    const mended = straightened(pixels, [1, 2, 2, 3], { slidMm, spacingMm });
    expect([...mended]).toEqual([NaN, NaN, NaN, 0, 1, 2, 7, 8, NaN, 10, 11, NaN]);
  });

  test("is straight in a sample unless that is switched off", async () => {
    const slidMm = Array.from({ length: 9 }, (_, d) => [(d - 4) * 1.3, 0] as const);
    const decoded: Decoded = {
      ...(await readDicom(file("tilted"))),
      pixels: scanned(slidMm),
      shape,
      spacingMm,
      slidMm,
    };
    const { preprocessing } = unlistedFolder("x");
    const settings = {
      ...preprocessing,
      fit: "stretch",
      intensity: { ...preprocessing.intensity, ct: { range: [-3, 12] } },
      size: { ...preprocessing.size, volume: [9, 40, 48] },
    } as const;
    const record = { id: "x", group: "x", split: "query", modality: "ct", kind: "volume", labels: {} } as const;
    const sample = (straighten?: boolean) => prepareSample(record, decoded, { ...settings, straighten }).pixels;
    const expected = straightened(decoded.pixels, shape, decoded).map((x) => (Number.isNaN(x) ? 0 : (x + 3) / 15));
    sample()
      .subarray(0, expected.length)
      .forEach((x, i) => expect(Math.abs(x - expected[i])).toBeLessThan(1e-5));
    expect(sample(false)[0]).toBeCloseTo((decoded.pixels[0] + 3) / 15, 5);
  });

  test.skipIf(noRealdata)(
    `of a real head: neighbouring slices are more alike once straight${whereRealdata}`,
    async () => {
      const decoded = await readFile(join(realdata, "ct/ge_head_tilted_series"));
      const [, depth, height, width] = decoded.shape;
      const plane = height * width;
      const likeness = (pixels: Float32Array): number => {
        let sum = 0;
        for (let d = 1; d < depth; d++) {
          const [a, b] = [pixels.subarray((d - 1) * plane, d * plane), pixels.subarray(d * plane, (d + 1) * plane)];
          let [n, sa, sb, saa, sbb, sab] = [0, 0, 0, 0, 0, 0];
          for (let i = 0; i < plane; i++) {
            const [x, y] = [a[i], b[i]];
            if (!(x > -1100 && y > -1100)) continue; // outside the scan
            n++;
            sa += x;
            sb += y;
            saa += x * x;
            sbb += y * y;
            sab += x * y;
          }
          sum += (sab - (sa * sb) / n) / Math.sqrt((saa - (sa * sa) / n) * (sbb - (sb * sb) / n));
        }
        return sum / (depth - 1);
      };
      const before = likeness(decoded.pixels);
      expect(likeness(straightened(decoded.pixels, decoded.shape, decoded))).toBeGreaterThan(before + 0.003);
      expect(decoded.slidMm?.[0][0]).toBeCloseTo(5.381, 3);
    },
  );
});
