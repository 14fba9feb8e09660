import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inspect, statisticsOf, type InspectedFile } from "../src/datasets/inspect.js";
import { readFile } from "../src/datasets/read.js";
import { sizeOf } from "../src/types.js";
import { fixture, inputErrorOf, noRealdata, realdata, reference, whereRealdata } from "./readersFixture.js";

const scratch = (): string => mkdtempSync(join(tmpdir(), "m3ret-inspect-"));

async function inspected(...paths: string[]): Promise<InspectedFile[]> {
  const rows: InspectedFile[] = [];
  for await (const row of inspect(paths)) rows.push(row);
  return rows;
}

describe("readFile", () => {
  test("goes by content and never by name", async () => {
    const folder = scratch();
    for (const name of ["grey8.png", "grey.jpg", "ct_implicit.dcm", "bare_explicit.dcm", "scaled.nii.gz", "i2.nii"]) {
      const disguised = join(folder, name.replace(".", "_") + ".txt");
      cpSync(fixture(name), disguised);
      expect((await readFile(disguised)).shape, name).toEqual(reference[name].shape);
    }
  });

  test("says in one line what came instead", async () => {
    const folder = scratch();
    const cases: [name: string, bytes: Uint8Array | string, said: string][] = [
      ["a.dcm", "Dear doctor,\n", "expected a DICOM file, got a text file"],
      ["a.nii.gz", "", "expected a NIfTI file, got an empty file"],
      ["a.nii.gz", Uint8Array.of(0x1f, 0x8b, 8, 0), "damaged or truncated gzip file: it ends too early"],
      ["a.png", "%PDF-1.4\0", "expected a PNG or JPEG file, got a PDF file"],
      [
        "a",
        "\x01\x02\x03\0\0",
        "expected a picture, a video, a DICOM or a NIfTI file, got a binary file of unknown kind",
      ],
      ["a.csv", "BMI,age\n22,33\n", "expected a picture, a video, a DICOM or a NIfTI file, got a text file"],
    ];
    for (const [name, bytes, said] of cases) {
      writeFileSync(join(folder, name), bytes);
      expect(await inputErrorOf(readFile(join(folder, name)))).toBe(`${join(folder, name)}: ${said}`);
    }
    expect(await inputErrorOf(readFile("/nowhere/a.png"))).toBe("/nowhere/a.png: no such file or folder");
    expect(await inputErrorOf(readFile(join(folder, "a.csv/b")))).toContain("a.csv/b: expected a folder, got a file");
  });
});

describe("inspect", () => {
  test("gives the reference's statistics in stored units", async () => {
    const [row] = await inspected(fixture("ct_big_endian.dcm"));
    const { min, max, mean, std } = reference["ct_big_endian.dcm"];
    expect(row).toMatchObject({ ok: true, kind: "image", modality: "ct", shape: [1, 5, 6], channels: 1, min, max });
    expect(row).toMatchObject({ dtype: "int16", orientation: "LPS", spacingMm: [2.5, 0.7, 0.8], warnings: [] });
    if (!row.ok) throw new Error(row.error);
    expect(row.mean).toBeCloseTo(mean, 6);
    expect(row.std).toBeCloseTo(std, 6);
  });

  test("leaves NaN and infinity out of the statistics, and counts them", async () => {
    const [row] = await inspected(fixture("holes.nii"));
    if (!row.ok) throw new Error(row.error);
    expect(row.warnings.join()).toBe("3 values are NaN or infinite and are left out of the statistics");
    expect(row.mean).toBeCloseTo(reference["holes.nii"].mean, 6);
  });

  test("reports a folder with one series as one row, and the other files in it by themselves", async () => {
    const rows = await inspected(fixture("series"));
    expect(rows.map((row) => [row.path, row.ok])).toEqual([
      [fixture("series"), true],
      [join(fixture("series"), "notes.txt"), false],
    ]);
  });

  test("walks any other folder and loses no file", async () => {
    const rows = await inspected(fixture(""));
    const files = readdirSync(fixture(""), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const alone = files.filter(
      ({ parentPath, name }) =>
        !(/\/series(_gap|_numbered|_mixed)?$/.test(parentPath) && name.endsWith(".dcm") && name !== "x.dcm"),
    );
    expect(rows.length).toBe(alone.length + 4);
    expect(new Set(rows.map((row) => row.path)).size).toBe(rows.length);
  });

  test("does not follow a link in circles", async () => {
    const folder = scratch();
    mkdirSync(join(folder, "inner"));
    cpSync(fixture("grey8.png"), join(folder, "inner/grey8.png"));
    symlinkSync(folder, join(folder, "inner/up"));
    expect((await inspected(folder)).map((row) => row.path)).toEqual([join(folder, "inner/grey8.png")]);
  });

  test("reports what is missing as a row and goes on", async () => {
    const rows = await inspected("/nowhere", fixture("grey8.png"));
    expect(rows[0]).toEqual({ path: "/nowhere", ok: false, error: "/nowhere: no such file or folder" });
    expect(rows[1].ok).toBe(true);
  });
});

test("the deviation of small waves on a large mean survives", () => {
  const { mean, std } = statisticsOf(Float32Array.of(4096, 4097, 4098, 4099));
  expect(mean).toBe(4097.5);
  expect(std).toBeCloseTo(Math.sqrt(1.25), 12);
});

describe.skipIf(noRealdata)(`real files${whereRealdata}`, () => {
  const readable = noRealdata
    ? []
    : readFileSync(join(realdata, "labels.csv"), "utf8")
        .split("\n")
        .slice(1)
        .map((line) => line.split(",")[0])
        .filter((path) => /\.(png|jpe?g|dcm|nii|nii\.gz)$/.test(path));

  test("200 of the listed files read, or are compressed DICOM and say so", async () => {
    const step = readable.length / 200;
    const sample = Array.from({ length: 200 }, (_, i) => readable[Math.floor(i * step)]);
    for await (const row of inspect(sample.map((path) => join(realdata, path)))) {
      if (row.ok) {
        expect(sizeOf(row.shape), row.path).toBeGreaterThan(0);
        expect(row.std, row.path).toBeGreaterThan(0);
        expect(row.min <= row.mean && row.mean <= row.max, row.path).toBe(true);
      } else {
        expect(row.error).toMatch(/\.dcm: compressed DICOM, /);
      }
    }
  });

  test("every malformed file reads or is refused in one line", async () => {
    const rows = await inspected(join(realdata, "malformed"));
    expect(rows.length).toBeGreaterThan(20);
    for (const row of rows) {
      if (row.ok) expect(Number.isFinite(row.mean), row.path).toBe(true);
      else expect(row.error).toMatch(new RegExp(`^${row.path}: [^\n]+$`));
    }
  });

  test("every conformance file reads or is refused in one line that names it", async () => {
    for await (const row of inspect(["dicom-conformance", "nifti-conformance"].map((name) => join(realdata, name)))) {
      if (!row.ok) expect(row.error).toMatch(new RegExp(`^${row.path}: [^\n]+$`));
    }
  });
});
