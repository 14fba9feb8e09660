/** What nibabel reads in small files of every kind, and in real ones (made by test/reference/niftiConformance.py). */
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { inspect, statisticsOf, type InspectedFile } from "../src/datasets/inspect.js";
import { readNifti } from "../src/datasets/nifti.js";
import { unpackedHead } from "../src/datasets/niftiBytes.js";
import { parseHeader } from "../src/datasets/niftiHeader.js";
import { closestAxes, orientationLetters } from "../src/datasets/orientation.js";
import { readFile } from "../src/datasets/read.js";
import { sizeOf } from "../src/types.js";
import { inputErrorOf, noRealdata, realdata, whereRealdata } from "./readersFixture.js";

interface Expected {
  readonly storedShape: readonly number[];
  readonly zooms: readonly number[];
  readonly codes: string;
  readonly volume: number;
  readonly shape: readonly number[];
  readonly spacing: readonly number[];
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly std: number;
  readonly voxels: readonly (readonly [readonly number[], number | null])[];
}

const fixtures = fileURLToPath(new URL("./fixtures/", import.meta.url));
const load = (name: string): Record<string, Expected | null> =>
  JSON.parse(readFileSync(fixtures + name, "utf8")) as Record<string, Expected | null>;

async function expectAsNibabel(path: string, expected: Expected): Promise<void> {
  const header = parseHeader(await unpackedHead(path), path);
  expect(header.extents).toEqual(expected.storedShape);
  expect(orientationLetters(closestAxes(header.axes) ?? [])).toBe(expected.codes);
  header.sizesMm?.forEach((mm, i) => expect(mm).toBeCloseTo(expected.zooms[i], 4));

  const decoded = await readNifti(path, expected.volume > 0 ? { volume: expected.volume } : {});
  expect(decoded.shape).toEqual(expected.shape);
  expect(decoded.pixels.length).toBe(sizeOf(expected.shape));
  expect(decoded.orientation).toBe("RAS");
  expected.spacing.forEach((mm, i) => expect(decoded.spacingMm?.[i]).toBeCloseTo(mm, 4));
  const [, depth, height, width] = decoded.shape;
  for (const [[c, d, h, w], value] of expected.voxels) {
    const ours = decoded.pixels[((c * depth + d) * height + h) * width + w];
    if (value === null) expect(ours).toBeNaN();
    else expect(Math.abs(ours - value), [c, d, h, w].join()).toBeLessThanOrEqual(1e-6 * Math.abs(value));
  }
  const ours = statisticsOf(decoded.pixels);
  const scale = Math.max(Math.abs(expected.min), Math.abs(expected.max));
  for (const key of ["min", "max", "mean", "std"] as const) {
    expect(Math.abs(ours[key] - expected[key]), key).toBeLessThanOrEqual(1e-6 * scale);
  }
}

describe("every datatype, byte order and format is read as nibabel reads it", () => {
  const expected = load("nifti/expected.json");
  test.each(Object.keys(expected))("%s", async (name) => {
    await expectAsNibabel(fixtures + "nifti/" + name.split(" ")[0], expected[name] as Expected);
  });
});

test("a pair is the same by the name of either file", async () => {
  for (const name of ["pair_be.hdr", "pair2_le.hdr.gz", "analyze_f4_be.hdr"]) {
    const header = fixtures + "nifti/" + name;
    expect(await readFile(header.replace(".hdr", ".img"))).toEqual(await readFile(header));
  }
});

test("a folder shows a pair as one row, that of its header", async () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-pairs-"));
  for (const name of ["pair_le.hdr", "pair_le.img", "spm_le.hdr", "spm_le.img"]) {
    cpSync(fixtures + "nifti/" + name, join(folder, name));
  }
  writeFileSync(join(folder, "spm_le.mat"), "");
  const rows: InspectedFile[] = [];
  for await (const row of inspect([folder])) rows.push(row);
  const ofPairs = rows.filter((row) => row.ok);
  expect(ofPairs.map((row) => row.path)).toEqual(["pair_le.hdr", "spm_le.hdr"].map((name) => join(folder, name)));
  expect(ofPairs[1].ok && ofPairs[1].warnings.join()).toMatch(
    /the \.mat file beside it, .* was not used: it holds neither mat nor M/,
  );
});

test("what is assumed of an Analyze file is said", async () => {
  const warnings = async (name: string) => (await readNifti(fixtures + "nifti/" + name)).warnings.join("\n");
  expect(await warnings("analyze_i2_le.hdr")).toMatch(/^an Analyze 7.5 header holds no orientation: assumed, [^\n]*$/);
  expect(await warnings("spm_be.hdr")).toMatch(/scaled by 0.25 and 0: funused1 and funused2 were taken/);
  expect(await warnings("range_le.hdr")).toMatch(/glmin…glmax \(-100…900\) become cal_min…cal_max \(0…1\)/);
});

describe.skipIf(noRealdata)(`real files are read as nibabel reads them${whereRealdata}`, () => {
  const expected = load("niftiConformance.json");
  test.each(Object.keys(expected))("%s", async (name) => {
    const path = join(realdata, name.split(" ")[0]);
    const wanted = expected[name];
    if (wanted === null) expect(await inputErrorOf(readFile(path))).toMatch(/without its voxels: expected air2?\.img/);
    else await expectAsNibabel(path, wanted);
  });

  test("a FreeSurfer file is refused by name", async () => {
    const path = join(realdata, "nifti-conformance/nibabel/test.mgz");
    expect(await inputErrorOf(readFile(path))).toMatch(/got a FreeSurfer \.mgh\/\.mgz volume/);
  });
});
