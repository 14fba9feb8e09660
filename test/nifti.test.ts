import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { readNifti } from "../src/datasets/nifti.js";
import { closestAxes, orientationLetters } from "../src/datasets/orientation.js";
import { Random } from "../src/random.js";
import { expectAsReference, fixture, inputErrorOf, referenced } from "./readersFixture.js";

const scratch = mkdtempSync(join(tmpdir(), "m3ret-nifti-"));

const write = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(join(scratch, name), bytes);
  return join(scratch, name);
};

test.each(referenced(".nii", ".nii.gz"))("%s has the voxels that nibabel reads, turned to RAS", async (name) => {
  expectAsReference(name, await readNifti(fixture(name)));
});

test("a stored 10 with slope 2 and intercept −3 is 17", async () => {
  const bytes = gunzipSync(readFileSync(fixture("scaled.nii.gz")));
  bytes.writeInt16LE(10, 352);
  expect((await readNifti(write("ten.nii", bytes))).pixels[0]).toBe(17);
});

test("a CIFTI-2 file, whose matrix is no volume, is refused by name", async () => {
  const bytes = gunzipSync(readFileSync(fixture("nifti2.nii.gz")));
  bytes.writeInt32LE(3001, 504); // intent_code: dense connectivity
  expect(await inputErrorOf(readNifti(write("x.dconn.nii", bytes)))).toMatch(
    /: expected a NIfTI volume, got a CIFTI-2 file/,
  );
});

test("slope 0 in a header means no scaling", async () => {
  const unscaled = await readNifti(fixture("slope0.nii"));
  const scaled = await readNifti(fixture("scaled.nii.gz")); // the same stored numbers
  expect(scaled.pixels).toEqual(unscaled.pixels.map((stored) => 2 * stored - 3));
});

test("a mirrored affine mirrors the voxels along W and nothing else", async () => {
  const mirrored = await readNifti(fixture("las.nii"));
  const plain = await readNifti(fixture("slope0.nii")); // the same stored numbers, RAS
  const [, depth, height, width] = plain.shape;
  for (let row = 0; row < depth * height; row++) {
    const line = plain.pixels.slice(row * width, (row + 1) * width);
    expect(mirrored.pixels.slice(row * width, (row + 1) * width)).toEqual(line.reverse());
  }
});

/** A NIfTI-1 file of int16 whose voxel (x, y, z) of the world's grid holds x + 5 y + 15 z, stored along other axes. */
function inOrder(order: readonly number[], signs: readonly number[], slope: number): Buffer {
  const world = [5, 3, 37]; // more planes than are turned together, whichever axis they lie along
  const extents = order.map((axis) => world[axis]);
  const bytes = Buffer.alloc(352 + 2 * 5 * 3 * 37);
  bytes.writeInt32LE(348, 0);
  [3, ...extents, 1, 1, 1, 1].forEach((extent, i) => bytes.writeInt16LE(extent, 40 + 2 * i));
  bytes.writeInt16LE(4, 70); // int16
  bytes.writeInt16LE(16, 72);
  bytes.writeFloatLE(352, 108);
  bytes.writeFloatLE(slope, 112);
  bytes.writeInt16LE(1, 254); // sform
  order.forEach((axis, stored) => bytes.writeFloatLE(signs[stored], 280 + 16 * axis + 4 * stored));
  bytes.write("n+1", 344, "latin1");
  const steps = [1, 5, 15];
  for (let k = 0, at = 352; k < extents[2]; k++)
    for (let j = 0; j < extents[1]; j++)
      for (let i = 0; i < extents[0]; i++, at += 2) {
        const value = [i, j, k].reduce((sum, index, stored) => {
          const forward = signs[stored] > 0 ? index : extents[stored] - 1 - index;
          return sum + forward * steps[order[stored]];
        }, 0);
        bytes.writeInt16LE(value, at);
      }
  return bytes;
}

test("any order of axes and any mirroring comes out in one order, scaled or not", async () => {
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]; // prettier-ignore
  for (const order of orders) {
    for (let mirrored = 0; mirrored < 8; mirrored++) {
      const signs = [0, 1, 2].map((axis) => ((mirrored >> axis) & 1 ? -1 : 1));
      for (const slope of [0, 3]) {
        const { pixels, shape } = await readNifti(write("order.nii", inOrder(order, signs, slope)));
        expect(shape).toEqual([1, 37, 3, 5]);
        const wanted = Float32Array.from({ length: pixels.length }, (_, i) => i * (slope || 1));
        expect(pixels, `${order.join()} ${signs.join()} × ${slope}`).toEqual(wanted);
      }
    }
  }
});

test("a gzip file of several members is one file", async () => {
  const plain = inOrder([0, 1, 2], [1, 1, 1], 0);
  const members = [plain.subarray(0, 700), plain.subarray(700)].map((part) => gzipSync(part));
  const { pixels } = await readNifti(write("members.nii.gz", Buffer.concat(members)));
  expect(pixels).toEqual(Float32Array.from({ length: 5 * 3 * 37 }, (_, i) => i));
});

test("what was left out or is unknown is said", async () => {
  const warnings = async (name: string) => (await readNifti(fixture(name))).warnings.join("\n");
  expect(await warnings("four.nii")).toBe(
    "4D file of 4×3×5×2: the first of 2 volumes was read (option volume: 0 to 1)",
  );
  expect(await warnings("no_affine.nii")).toMatch(/no affine/);
  expect(await warnings("las.nii")).toBe("");
});

describe("a file that cannot be read", () => {
  test("is refused by its datatype", async () => {
    expect(await inputErrorOf(readNifti(fixture("complex.nii")))).toMatch(/datatype 32 \(complex64\) is not supported/);
  });

  test("is refused as half of a pair", async () => {
    expect(await inputErrorOf(readNifti(fixture("pair.hdr")))).toMatch(/\.hdr\/\.img pair/);
  });

  test("is refused when it is cut anywhere, zipped or not", async () => {
    const zipped = readFileSync(fixture("scaled.nii.gz"));
    const whole = gunzipSync(zipped);
    for (let end = 0; end < whole.length; end += 3) {
      const path = write("cut.nii", whole.subarray(0, end));
      expect(await inputErrorOf(readNifti(path))).toContain(`${path}: `);
    }
    for (let end = 0; end < zipped.length; end++) {
      const path = write("cut.nii.gz", zipped.subarray(0, end));
      expect(await inputErrorOf(readNifti(path))).toContain(`${path}: `);
    }
  });

  test("is refused when its dimensions are nonsense, before any memory is taken", async () => {
    const bytes = readFileSync(fixture("slope0.nii"));
    for (const [rank, extent] of [
      [3, 0],
      [3, -4],
      [0, 4],
      [9, 4],
      [3, 32767],
    ]) {
      const wrong = Buffer.from(bytes);
      wrong.writeInt16LE(rank, 40);
      for (const at of [42, 44, 46]) wrong.writeInt16LE(extent, at);
      expect(await inputErrorOf(readNifti(write("wrong.nii", wrong)))).toMatch(/NIfTI dim|above the limit/);
    }
  });

  test("is named when it is empty, inside gzip too", async () => {
    expect(await inputErrorOf(readNifti(write("none.nii", "")))).toMatch(/got an empty file$/);
    expect(await inputErrorOf(readNifti(write("none.nii.gz", "")))).toMatch(/got an empty file$/);
    expect(await inputErrorOf(readNifti(write("none2.nii.gz", gzipSync(""))))).toMatch(/got an empty file$/);
  });
});

test("another volume is read by its number, and one that is not there is refused", async () => {
  const stored = readFileSync(fixture("four.nii"));
  const second = await readNifti(fixture("four.nii"), { volume: 1 });
  expect(second.warnings).toEqual([]);
  expect(second.pixels[3]).toBe(stored.readInt16LE(352 + 2 * 60)); // stored from right to left, four in a row
  for (const volume of [2, -1, 0.5, NaN]) {
    expect(await inputErrorOf(readNifti(fixture("four.nii"), { volume }))).toMatch(
      /expected a volume from 0 to 1 .*, got/,
    );
  }
});

test("a damaged header extension in a gzip file does not stop the reader (found by fuzzing)", async () => {
  const plain = gunzipSync(readFileSync(fixture("scaled.nii.gz")));
  const odd = Buffer.concat([
    plain.subarray(0, 348),
    Buffer.from([1, 0, 0, 0]),
    Buffer.alloc(64, 0xff),
    plain.subarray(352),
  ]);
  odd.writeFloatLE(416, 108);
  const { pixels } = await readNifti(write("extension.nii.gz", gzipSync(odd)));
  expect(pixels).toEqual((await readNifti(fixture("scaled.nii.gz"))).pixels);
});

describe("limits", () => {
  test("a gzip file that expands beyond the limit is refused, and one within it is read", async () => {
    const whole = gunzipSync(readFileSync(fixture("scaled.nii.gz")));
    const long = write("long.nii.gz", gzipSync(Buffer.concat([whole, Buffer.alloc(5_000_000)])));
    expect(await inputErrorOf(readNifti(long, { maxBytes: 1_000_000 }))).toMatch(
      /expands beyond the limit of 1000000 bytes \(option maxBytes\)$/,
    );
    expect((await readNifti(long, { maxBytes: 6_000_000 })).pixels.length).toBe(60);
  });

  test("a volume larger than the limit is refused before it is read", async () => {
    expect(await inputErrorOf(readNifti(fixture("f8.nii"), { maxBytes: 479 }))).toMatch(
      /takes 480 bytes, above the limit/,
    );
    expect((await readNifti(fixture("f8.nii"), { maxBytes: 480 })).pixels.length).toBe(60);
  });

  test("integers that float32 cannot hold are counted", async () => {
    const bytes = Buffer.from(readFileSync(fixture("i4.nii")));
    for (let at = 352; at < bytes.length; at += 4) bytes.writeInt32LE(at === 352 ? 16_777_217 : 16_777_216, at);
    const { warnings } = await readNifti(write("rounded.nii", bytes));
    expect(warnings).toEqual(["1 values of int32 were rounded to float32 (24 bits)"]);
  });
});

describe("the closest axes", () => {
  test("of a permutation with signs are exactly it, at any length and under a small turn", () => {
    const random = new Random(3);
    for (let round = 0; round < 200; round++) {
      const worlds = random.permutation(3);
      const signs = [0, 1, 2].map(() => (random.chance(0.5) ? 1 : -1));
      const column = (i: number): [number, number, number] => {
        const length = random.uniform(0.1, 9);
        const v = [0, 1, 2].map((w) => length * ((w === worlds[i] ? signs[i] : 0) + random.uniform(-0.2, 0.2)));
        return [v[0], v[1], v[2]];
      };
      const found = closestAxes([column(0), column(1), column(2)]);
      expect(found).toEqual([0, 1, 2].map((i) => ({ world: worlds[i], sign: signs[i] })));
    }
  });

  test("of axes that do not span space are none", () => {
    expect(closestAxes([[1, 0, 0], [2, 0, 0], [0, 0, 1]])).toBeNull(); // prettier-ignore
    expect(closestAxes([[1, 0, 0], [0, 0, 0], [0, 0, 1]])).toBeNull(); // prettier-ignore
    expect(closestAxes([[1, 0, 0], [0, NaN, 0], [0, 0, 1]])).toBeNull(); // prettier-ignore
  });

  test("spell RAS for the identity", () => {
    expect(orientationLetters(closestAxes([[1, 0, 0], [0, 1, 0], [0, 0, 1]]) ?? [])).toBe("RAS"); // prettier-ignore
  });
});
