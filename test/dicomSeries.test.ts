/** A disc, a folder, a series: which files make which volume. */
import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readDicomDir, readDicomSeries } from "../src/datasets/dicomSeries.js";
import { filesIn, splitSeries } from "../src/datasets/dicomSlices.js";
import { readFile } from "../src/datasets/read.js";
import { fixture, inputErrorOf, noRealdata, realdata, whereRealdata } from "./readersFixture.js";

const disc = fileURLToPath(new URL("./fixtures/dicomDir/", import.meta.url));
const scratch = (): string => mkdtempSync(join(tmpdir(), "m3ret-series-"));

function copyOfDisc(): string {
  const folder = scratch();
  cpSync(disc, folder, { recursive: true });
  return folder;
}

describe("a DICOMDIR", () => {
  test("is the largest series that it names, as its folder would be", async () => {
    const { pixels, shape, spacingMm, warnings } = await readFile(join(disc, "DICOMDIR"));
    const folder = await readDicomSeries(fixture("series"));
    expect({ pixels, shape, spacingMm }).toEqual({
      pixels: folder.pixels,
      shape: folder.shape,
      spacingMm: folder.spacingMm,
    });
    expect(warnings.join()).toMatch(/2 series in one DICOMDIR: the largest \(\d of \d files\) was read/);
  });

  test("says how many of its files are missing, and does not name them", async () => {
    const folder = copyOfDisc();
    const { paths } = splitSeries(filesIn(join(folder, "PT000000", "ST000000", "SE000001")))[0];
    rmSync(paths[0]);
    expect((await readDicomDir(join(folder, "DICOMDIR"))).warnings[0]).toBe(
      "1 files that the DICOMDIR names are not there",
    );
  });

  test("never leads out of its folder", async () => {
    const folder = copyOfDisc();
    const bytes = readFileSync(join(folder, "DICOMDIR"));
    for (let at = bytes.indexOf("PT000000"); at >= 0; at = bytes.indexOf("PT000000", at)) bytes.write("..\\..\\..", at);
    writeFileSync(join(folder, "DICOMDIR"), bytes);
    expect(await inputErrorOf(readDicomDir(join(folder, "DICOMDIR")))).toMatch(
      /with images beside it, got \d names and no/,
    );
  });

  test("without any file beside it is refused", async () => {
    const folder = scratch();
    copyFileSync(join(disc, "DICOMDIR"), join(folder, "DICOMDIR"));
    expect(await inputErrorOf(readFile(join(folder, "DICOMDIR")))).toMatch(/got \d names and no image among them$/);
  });
});

describe("splitting files", () => {
  test("puts each file in one series, in the order of its slices", () => {
    const files = [...filesIn(fixture("series")), ...filesIn(fixture("series_gap")), fixture("report.dcm")];
    const parts = splitSeries([...files].reverse());
    const paths = parts.flatMap((part) => part.paths);
    expect(new Set(paths).size).toBe(paths.length);
    expect(paths).not.toContain(fixture("report.dcm"));
    expect(parts.every(({ modality }) => modality === "ct")).toBe(true);
  });

  test("gives away no UID and nothing else of the header", () => {
    const parts = splitSeries(filesIn(fixture("series_mixed")));
    expect(parts.length).toBe(2);
    for (const part of parts) expect(Object.keys(part).sort()).toEqual(["modality", "paths", "volume"]);
  });
});

test("a stack between whose slices is a distance says nothing of the thickness that its slices lack", async () => {
  const folder = scratch();
  for (const [i, path] of filesIn(fixture("series")).entries()) {
    const bytes = readFileSync(path);
    const at = bytes.indexOf("\x18\0\x50\0DS", 0, "latin1"); // SliceThickness, which becomes another element
    if (at > 0) bytes[at + 2]++;
    writeFileSync(join(folder, `${i}.dcm`), bytes);
  }
  expect((await readFile(join(folder, "0.dcm"))).warnings.join()).toMatch(/slice thickness is not given/);
  const { warnings, spacingMm } = await readFile(folder);
  expect(warnings.join()).not.toMatch(/thickness/);
  expect(spacingMm).toEqual((await readFile(fixture("series"))).spacingMm);
});

test("mosaics are pictures of their own, each with a warning, and never slices of one volume", async () => {
  const folder = scratch();
  const imageType = Buffer.from("\x08\0\x08\0CS\x10\0ORIGINAL\\MOSAIC ", "latin1"); // ImageType, explicit little endian
  for (const [i, path] of filesIn(fixture("series")).entries()) {
    const bytes = readFileSync(path);
    const at = bytes.indexOf("\x08\0\x16\0UI", 0, "latin1"); // SOPClassUID, the first of group 0008
    writeFileSync(join(folder, `${i}.dcm`), Buffer.concat([bytes.subarray(0, at), imageType, bytes.subarray(at)]));
  }
  expect((await readFile(join(folder, "0.dcm"))).warnings[0]).toMatch(/^a Siemens mosaic: /);
  expect(splitSeries(filesIn(folder)).filter(({ volume }) => volume)).toEqual([]);
  expect(splitSeries(filesIn(fixture("series"))).filter(({ volume }) => volume)).toHaveLength(1);
});

test("a gap of twice the usual distance is said to be a missing slice", async () => {
  expect((await readDicomSeries(fixture("series_gap"))).warnings.join()).toMatch(
    /the median\) is used; 1 seem to be missing/,
  );
});

describe.skipIf(noRealdata)(`real discs${whereRealdata}`, () => {
  const folder = join(realdata, "dicom-conformance/dicomdir");
  const variants = ["DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-nopatient", "DICOMDIR-reordered"];

  test.each(variants)("%s is the same volume as DICOMDIR", async (name) => {
    const [one, other] = await Promise.all(["DICOMDIR", name].map((file) => readFile(join(folder, file))));
    expect(one.shape).toEqual([1, 5, 16, 16]);
    expect(other.shape).toEqual(one.shape);
    expect(other.pixels).toEqual(one.pixels);
  });

  test("DICOMDIR-nooffset, whose items are longer than the file, is refused", async () => {
    expect(await inputErrorOf(readFile(join(folder, "DICOMDIR-nooffset")))).toMatch(/damaged DICOM file/);
  });

  test("DICOMDIR-empty.dcm names nothing", async () => {
    expect(await inputErrorOf(readFile(join(folder, "DICOMDIR-empty.dcm")))).toMatch(/DICOMDIR/);
  });
});
