/** Real DICOM files against what pydicom reads in them (test/reference/dicomConformance.py). */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readDicom } from "../src/datasets/dicom.js";
import { statisticsOf } from "../src/datasets/inspect.js";
import { inputErrorOf, noRealdata, realdata, whereRealdata } from "./readersFixture.js";

interface Row {
  readonly undecoded?: string;
  readonly shape: readonly number[];
  readonly lossy: boolean;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly std: number;
  readonly sha256?: string;
  readonly at?: readonly number[];
  readonly values?: readonly number[];
  readonly pixelSpacingMm?: readonly number[];
  readonly orientation?: string | null;
}

const reference = JSON.parse(
  readFileSync(new URL("./fixtures/dicomConformance.json", import.meta.url), "utf8"),
) as Readonly<Record<string, Row>>;

/** Files that pydicom with its plugins reads and we refuse, and why. */
const REFUSED: Readonly<Record<string, string>> = {
  // An end mark was written over the width in the codestream. gdcm reports the failure and hands back memory it never wrote:
  // values from −17875 to 32549 of a picture whose sound copy has −30 to 245.
  "malformed/dicom/JPEG2000-embedded-sequence-delimiter.dcm": "the compressed data say 1024 × 3722445056 × 1",
};

/** Files that pydicom with its plugins cannot read: why we refuse them, or what DCMTK reads (dcmdjpeg 3.6.7, less 1024). */
const ONLY_HERE: Readonly<Record<string, string | { min: number; max: number; mean: number; std: number }>> = {
  // 12-bit JPEG in fragments without an offset table: gdcm stops at the second fragment.
  "dicom-conformance/dicomParser/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": {
    min: -14,
    max: 1199,
    mean: 379.041732788086,
    std: 508.3377547995257,
  },
  "malformed/dicom/MR_truncated.dcm": "truncated",
  "malformed/dicom/badVR.dcm": "number of frames is not a whole number",
};

const decodedThere = Object.entries(reference).filter(([, row]) => row.undecoded === undefined);

describe.skipIf(noRealdata)(`real DICOM files${whereRealdata}`, () => {
  test.each(decodedThere.filter(([name]) => !(name in REFUSED)))(
    "%s has the values that pydicom reads",
    async (name, row) => {
      const { pixels, shape, orientation, spacingMm, kind } = await readDicom(join(realdata, name));
      expect(shape).toEqual(row.shape);
      const ours = statisticsOf(pixels);
      const scale = Math.max(Math.abs(row.min), Math.abs(row.max), 1);
      if (row.sha256 !== undefined) {
        const said = {
          min: ours.min,
          max: ours.max,
          sha256: createHash("sha256")
            .update(new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength))
            .digest("hex"),
        };
        expect(said).toEqual({ min: row.min, max: row.max, sha256: row.sha256 });
      } else {
        const off = (row.at ?? []).map((at, i) => Math.abs(pixels[at] - (row.values?.[i] ?? NaN)));
        expect(Math.max(...off)).toBeLessThanOrEqual(2);
        expect(off.filter((x) => x > 1).length).toBe(0);
        expect(Math.abs(ours.mean - row.mean)).toBeLessThanOrEqual(0.5);
        expect(Math.abs(ours.std - row.std)).toBeLessThanOrEqual(0.5);
      }
      expect(Math.abs(ours.mean - row.mean)).toBeLessThanOrEqual((row.lossy ? 1e-2 : 1e-6) * scale);
      if (row.orientation !== undefined) expect(orientation).toBe(row.orientation);
      if (row.pixelSpacingMm !== undefined && kind !== "video")
        row.pixelSpacingMm.forEach((mm, i) => expect(spacingMm?.[i + 1]).toBeCloseTo(mm, 6));
    },
  );

  test.each(Object.entries(REFUSED))("%s is refused", async (name, reason) => {
    expect(await inputErrorOf(readDicom(join(realdata, name)))).toContain(reason);
  });

  test("what pydicom cannot read is read or refused in one line", async () => {
    const names = Object.keys(reference).filter((name) => reference[name].undecoded !== undefined);
    expect(names.sort()).toEqual(Object.keys(ONLY_HERE).sort());
    for (const [name, expected] of Object.entries(ONLY_HERE)) {
      const path = join(realdata, name);
      if (typeof expected === "string") expect(await inputErrorOf(readDicom(path))).toContain(expected);
      else {
        const ours = statisticsOf((await readDicom(path)).pixels);
        for (const key of ["min", "max", "mean", "std"] as const) expect(ours[key]).toBeCloseTo(expected[key], 3);
      }
    }
  });
});
