import { copyFileSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { MONOCHROME1_WARNING, readDicom } from "../src/datasets/dicom.js";
import { readDicomSeries } from "../src/datasets/dicomSeries.js";
import { lettersOf } from "../src/datasets/dicomGeometry.js";
import { Random } from "../src/random.js";
import { expectAsReference, fixture, inputErrorOf, noRealdata, realdata, referenced } from "./readersFixture.js";
import { whereRealdata } from "./readersFixture.js";

const scratch = (): string => mkdtempSync(join(tmpdir(), "m3ret-dicom-"));

const series = ["series", "series_gap", "series_mixed", "series_numbered"];

describe("one file", () => {
  test.each(referenced(".dcm"))("%s has the values that pydicom reads", async (name) => {
    expectAsReference(name, await readDicom(fixture(name)));
  });

  test("every byte order and header gives the same slice", async () => {
    const names = referenced(".dcm").filter((name) => /^(ct|bare)_/.test(name));
    expect(names.length).toBe(6);
    const slices = await Promise.all(names.map((name) => readDicom(fixture(name))));
    for (const slice of slices) expect(slice.pixels).toEqual(slices[0].pixels);
  });

  test("rescale puts a stored value at value × slope + intercept", async () => {
    const bytes = readFileSync(fixture("ct_explicit.dcm"));
    const path = join(scratch(), "ct.dcm");
    bytes.writeInt16LE(512, bytes.length - 2); // the last cell of the last row
    writeFileSync(path, bytes);
    expect((await readDicom(path)).pixels.at(-1)).toBe(512 * 2 - 1024);
  });

  test("MONOCHROME1 is said and not inverted", async () => {
    expect((await readDicom(fixture("mono1.dcm"))).warnings).toContain(MONOCHROME1_WARNING);
    expect((await readDicom(fixture("byte.dcm"))).warnings).not.toContain(MONOCHROME1_WARNING);
  });

  test("planes and pixels in turn are the same colours", async () => {
    const [a, b] = await Promise.all(["rgb.dcm", "rgb_planar.dcm"].map((name) => readDicom(fixture(name))));
    expect(b.pixels).toEqual(a.pixels);
  });

  test("frames in RLE are those of the file they were made from", async () => {
    const [packed, plain] = await Promise.all(["rle.dcm", "stack.dcm"].map((name) => readDicom(fixture(name))));
    expect(packed).toEqual(plain);
  });

  test("a file without preamble says how it was recognised", async () => {
    expect((await readDicom(fixture("bare_implicit.dcm"))).warnings.join()).toMatch(/no meta header/);
  });
});

describe("orientation letters", () => {
  const plane = (row: [number, number, number], column: [number, number, number]) => ({
    row,
    column,
    normal: [
      row[1] * column[2] - row[2] * column[1],
      row[2] * column[0] - row[0] * column[2],
      row[0] * column[1] - row[1] * column[0],
    ] as const,
  });

  test("of the three usual planes are those of a radiology textbook", () => {
    expect(lettersOf(plane([1, 0, 0], [0, 1, 0]))).toBe("LPS"); // axial
    expect(lettersOf(plane([1, 0, 0], [0, 0, -1]))).toBe("LIP"); // coronal
    expect(lettersOf(plane([0, 1, 0], [0, 0, -1]))).toBe("PIR"); // sagittal
  });

  test("turn the last letter when slices run the other way", () => {
    expect(lettersOf(plane([1, 0, 0], [0, 1, 0]), false)).toBe("LPI");
  });
});

describe("a folder of slices", () => {
  test.each(series)("%s is the volume that its positions make", async (name) => {
    expectAsReference(name, await readDicomSeries(fixture(name)));
  });

  test("file names do not matter", async () => {
    const folder = scratch();
    const names = readdirSync(fixture("series")).filter((name) => name.endsWith(".dcm"));
    names.forEach((name, i) => copyFileSync(join(fixture("series"), name), join(folder, `${(i * 3) % names.length}`)));
    expect((await readDicomSeries(folder)).pixels).toEqual((await readDicomSeries(fixture("series"))).pixels);
  });

  test("what is odd about a series is said in millimetres and counts", async () => {
    const warnings = async (name: string) => (await readDicomSeries(fixture(name))).warnings.join("\n");
    expect(await warnings("series")).toBe("1 files in the folder are not DICOM images and were left out");
    expect(await warnings("series_gap")).toMatch(/not equally spaced: gaps of 2 to 4 mm, 2 mm \(the median\)/);
    expect(await warnings("series_mixed")).toMatch(/2 series in one folder: the largest \(3 of 4 files\)/);
    expect(await warnings("series_numbered")).toMatch(/positions are missing: .* instance numbers/);
  });

  test("two slices at one position are one slice, and that is said", async () => {
    const folder = scratch();
    for (const name of ["a", "b", "c"]) copyFileSync(fixture(`series_gap/${name}.dcm`), join(folder, name));
    copyFileSync(fixture("series_gap/b.dcm"), join(folder, "again"));
    const { shape, warnings } = await readDicomSeries(folder);
    expect(shape).toEqual([1, 3, 3, 4]);
    expect(warnings.join()).toMatch(/4 slices at 3 positions/);
  });

  test("slices of two sizes are refused", async () => {
    expect(await inputErrorOf(readDicomSeries(fixture("series_sizes")))).toMatch(/one size, got 3×4, 3×5$/);
  });

  test("a folder without slices is refused", async () => {
    expect(await inputErrorOf(readDicomSeries(scratch()))).toMatch(/expected a folder with DICOM slices/);
  });
});

describe("a file that cannot be read", () => {
  test("is refused by name when it holds a video stream, and by number when its compression is unknown", async () => {
    const withSyntax = (uid: string): string => {
      const bytes = readFileSync(fixture("rle.dcm"));
      const at = bytes.indexOf("1.2.840.10008.1.2.5\0", 0, "latin1");
      bytes.write(uid.padEnd(20, "\0"), at, "latin1");
      const path = join(scratch(), "other.dcm");
      writeFileSync(path, bytes);
      return path;
    };
    expect(await inputErrorOf(readDicom(withSyntax("1.2.840.10008.1.2.9")))).toMatch(
      /unknown .* 1\.2\.840\.10008\.1\.2\.9 /,
    );
    const mpeg = withSyntax("1.2.840.10008.1.2.7");
    const bytes = readFileSync(mpeg);
    const meta = bytes.indexOf("\x02\0\x10\0UI", 0, "latin1");
    const longer = Buffer.concat([
      bytes.subarray(0, meta + 6),
      Buffer.from([24, 0]),
      Buffer.from("1.2.840.10008.1.2.4.102\0", "latin1"),
      bytes.subarray(meta + 28),
    ]);
    writeFileSync(mpeg, longer);
    expect(await inputErrorOf(readDicom(mpeg))).toMatch(
      /MPEG-4 AVC \(1\.2\.840\.10008\.1\.2\.4\.102\) is not supported/,
    );
  });

  test("is refused when it has no pixels", async () => {
    expect(await inputErrorOf(readDicom(fixture("report.dcm")))).toMatch(/without pixel data \(modality SR\)$/);
  });

  test("is refused when it is cut anywhere", async () => {
    const folder = scratch();
    for (const name of [
      "ct_implicit.dcm",
      "ct_explicit.dcm",
      "ct_big_endian.dcm",
      "ct_deflated.dcm",
      "bare_implicit.dcm",
    ]) {
      const bytes = readFileSync(fixture(name));
      for (let end = 0; end < bytes.length; end += 7) {
        const path = join(folder, "cut.dcm");
        writeFileSync(path, bytes.subarray(0, end));
        expect(await inputErrorOf(readDicom(path))).toContain(`${path}: `);
      }
    }
  });

  test("never shows who the patient is, even when damage moves the name into another tag", async () => {
    const folder = scratch();
    const random = new Random(11);
    const names = readdirSync(fixture("")).filter((name) => name.endsWith(".dcm"));
    const bytesOf = new Map(names.map((name) => [name, readFileSync(fixture(name))]));
    let refused = 0;
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(bytesOf.get(random.pick(names)) ?? []);
      for (let i = 0; i <= random.int(4); i++)
        bytes[132 + random.int(Math.min(600, bytes.length - 132))] = random.int(256);
      const path = join(folder, "damaged.dcm");
      writeFileSync(path, bytes);
      const said = await readDicom(path).then(
        ({ warnings }) => warnings.join(),
        (error: Error) => {
          refused++;
          expect(error.name, error.stack).toBe("InputError");
          return error.message;
        },
      );
      expect(said).not.toMatch(/Nobody|SECRET|\n/);
    }
    expect(refused).toBeGreaterThan(100);
  });

  test("has a transfer syntax that is not shown when it swallowed the patient's name", async () => {
    const bytes = readFileSync(fixture("ct_explicit.dcm"));
    const at = bytes.indexOf("\x02\0\x10\0UI", 0, "latin1");
    const rows = bytes.indexOf("\x28\0\x10\0US", 0, "latin1");
    bytes.writeUInt16LE(rows - at - 8, at + 6);
    expect(bytes.subarray(at + 8, rows).includes("Nobody")).toBe(true);
    const path = join(scratch(), "swallowed.dcm");
    writeFileSync(path, bytes);
    expect(await inputErrorOf(readDicom(path))).toBe(`${path}: damaged DICOM file: its transfer syntax is not a UID`);
  });
});

describe.skipIf(noRealdata)(`real files${whereRealdata}`, () => {
  test("a head CT on a tilted gantry is a volume in Hounsfield units, and the tilt is said", async () => {
    const { shape, spacingMm, orientation, modality, pixels, warnings } = await readDicomSeries(
      join(realdata, "ct/ge_head_tilted_series"),
    );
    expect({ shape, orientation, modality }).toEqual({ shape: [1, 8, 512, 512], orientation: "LPS", modality: "ct" });
    expect(spacingMm?.[1]).toBeCloseTo(0.488, 3);
    expect(warnings.join()).toMatch(/tilted gantry/);
    expect(pixels.reduce((low, hu) => Math.min(low, hu), Infinity)).toBeLessThan(-900); // air
  });
});
