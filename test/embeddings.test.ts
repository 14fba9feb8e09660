import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  centrePerModality,
  loadAttachment,
  loadEmbeddings,
  normalise,
  pixelEmbeddings,
  saveEmbeddings,
  selectRows,
  takeRows,
  type EmbeddingSet,
} from "../src/embeddings.js";
import { writeNpz } from "../src/npz.js";
import { Random } from "../src/random.js";
import type { Sample } from "../src/types.js";
import { randomSet, setOf } from "./sets.js";

const folder = (): string => mkdtempSync(join(tmpdir(), "m3ret-embeddings-"));
const row = (set: EmbeddingSet, i: number): number[] => Array.from(set.vectors.subarray(i * set.d, (i + 1) * set.d));

test("normalised rows have length 1, and a zero row stays zero and is counted", () => {
  const unit = normalise(setOf([[3, 4], [0, 0], [-1e-20, 0]])); // prettier-ignore
  expect(row(unit, 0)).toEqual([Math.fround(0.6), Math.fround(0.8)]);
  expect(row(unit, 1)).toEqual([0, 0]);
  expect(row(unit, 2)[0]).toBeCloseTo(-1, 6);
  expect(unit.meta.zeroRows).toBe(1);
  expect(normalise(setOf([[1, 1]])).meta).toEqual({});
});

test("selecting rows takes every list along", () => {
  const set = setOf([[1], [2], [3]], { region: ["a", "b", "c"], modalities: ["ct", "xray", "mri"] });
  const kept = selectRows(set, (i) => i !== 1);
  expect(Array.from(kept.vectors)).toEqual([1, 3]);
  expect([kept.ids, kept.modalities, kept.labels.region]).toEqual([
    ["s0", "s2"],
    ["ct", "mri"],
    ["a", "c"],
  ]);
  expect(takeRows(set, [2, 0]).ids).toEqual(["s2", "s0"]);
});

test("after centring, the rows of each modality have mean zero before their last normalisation", () => {
  // Two modalities that differ by an offset only: centred, their rows coincide.
  const shape = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // prettier-ignore
  const offset = shape.map(([x, y]) => [x, y, 5]);
  const other = shape.map(([x, y]) => [x, y, -5]);
  const set = setOf([...offset, ...other], {
    modalities: [...offset.map(() => "ct" as const), ...other.map(() => "xray" as const)],
  });
  const centred = centrePerModality(set);
  for (let i = 0; i < 4; i++) {
    row(centred, i).forEach((value, t) => expect(value).toBeCloseTo([...shape[i], 0][t], 5));
    row(centred, i + 4).forEach((value, t) => expect(value).toBeCloseTo(row(centred, i)[t], 5));
  }
  expect(centred.meta.centred).toBe("per modality");
});

test("a set read back from its file is the set, also in scripts beyond 16 bits", () => {
  const path = join(folder(), "deep/set.npz");
  const made = randomSet(50, 7, new Random(1));
  const set: EmbeddingSet = {
    ...made,
    ids: made.ids.map((id, i) => (i % 2 === 0 ? id : `🫁 肺 ${id}`)),
    splits: made.ids.map(() => "query" as const),
    meta: { encoder: "simdino", seed: 7, note: "ε ≤ 0.1" },
  };
  saveEmbeddings(path, set, { graph: Uint8Array.from([1, 2, 255]) });
  expect(loadEmbeddings(path)).toEqual(set);
  expect(loadAttachment(path, "graph")).toEqual(Uint8Array.from([1, 2, 255]));
  expect(loadAttachment(path, "other")).toBeNull();
  expect(readdirSync(join(path, ".."))).toEqual(["set.npz"]);
});

test("the same set gives the same bytes, and an empty set can be stored", () => {
  const dir = folder();
  const set = randomSet(5, 3, new Random(2));
  saveEmbeddings(join(dir, "a.npz"), set);
  saveEmbeddings(join(dir, "b.npz"), set);
  expect(readFileSync(join(dir, "a.npz"))).toEqual(readFileSync(join(dir, "b.npz")));
  saveEmbeddings(
    join(dir, "none.npz"),
    selectRows(set, () => false),
  );
  expect(loadEmbeddings(join(dir, "none.npz")).n).toBe(0);
});

test("ten thousand long names survive (a spread of them would overflow the stack)", () => {
  const path = join(folder(), "many.npz");
  const ids = Array.from({ length: 10_000 }, (_, i) => `${i}-`.padEnd(60, "x"));
  const set = { ...randomSet(10_000, 1, new Random(3)), ids, groups: ids };
  saveEmbeddings(path, set);
  expect(loadEmbeddings(path).ids).toEqual(ids);
});

test("a file made by numpy opens: float64, numbers as text, labels without a prefix", () => {
  const set = loadEmbeddings("test/fixtures/embeddings-numpy.npz"); // test/reference/retrieval.py
  expect([set.n, set.d]).toEqual([4, 3]);
  expect(row(set, 3)).toEqual([9 / 8, 10 / 8, 11 / 8]);
  expect(set.ids).toEqual(["a", "ß", "日本", "🫁"]);
  expect(set.groups).toEqual(["1", "1", "2", "3"]);
  expect(set.modalities).toEqual(["xray", "ct", "ct", "mri"]);
  expect(set.splits).toEqual(["query", "query", "gallery", "gallery"]);
  expect(set.labels).toEqual({
    region: ["chest", "chest", "abdomen", ""],
    finding: ["true", "false", "false", "true"],
  });
  expect(set.meta).toEqual({ encoder: "made by numpy", seed: 7 });
});

test("a file of embeddings alone opens: ids name the file, and meta says that there are no groups", () => {
  const path = join(folder(), "bare.npz");
  writeNpz(path, { embeddings: { data: Float32Array.from([1, 2]), shape: [2, 1] } });
  const set = loadEmbeddings(path);
  expect(set.ids).toEqual([`${path}#0`, `${path}#1`]);
  expect(set.groups).toEqual(set.ids);
  expect([set.modalities, set.splits, set.labels]).toEqual([[], [], {}]);
  expect(set.meta.note).toMatch(/every id is its own group/);
});

const python = process.env.M3RET_PYTHON ?? "python3";
const hasNumpy = ((): boolean => {
  try {
    execFileSync(python, ["-c", "import numpy"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

test.skipIf(!hasNumpy)(`numpy reads what we write (skipped where ${python} has no numpy)`, () => {
  const path = join(folder(), "ours.npz");
  const set = setOf([[1.5, -2], [0.25, 8]], { region: ["chest", "肺🫁"], modalities: ["ct", "xray"] }); // prettier-ignore
  saveEmbeddings(path, { ...set, meta: { seed: 7 } });
  const script = `
import json, sys, numpy as np
z = np.load(sys.argv[1])
print(json.dumps({"dtype": str(z["embeddings"].dtype), "embeddings": z["embeddings"].tolist(), "ids": z["ids"].tolist(),
  "modality": z["modality"].tolist(), "region": z["label_region"].tolist(), "meta": json.loads(str(z["meta"])),
  "chest": z["embeddings"][z["label_region"] == "chest"].tolist()}))`;
  expect(JSON.parse(execFileSync(python, ["-c", script, path], { encoding: "utf8" }))).toEqual({
    dtype: "float32",
    embeddings: [[1.5, -2], [0.25, 8]], // prettier-ignore
    ids: ["s0", "s1"],
    modality: ["ct", "xray"],
    region: ["chest", "肺🫁"],
    meta: { seed: 7 },
    chest: [[1.5, -2]],
  });
});

test("a wrong file is refused in one line that names it", () => {
  const dir = folder();
  const file = (name: string): string => join(dir, name);
  const floats = (values: readonly number[], shape: readonly number[]) => ({ data: Float32Array.from(values), shape });
  writeFileSync(file("text.npz"), "not a zip");
  writeNpz(file("other.npz"), { x: floats([1], [1]) });
  writeNpz(file("flat.npz"), { embeddings: floats([1, 2], [2]) });
  writeNpz(file("ids.npz"), { embeddings: floats([1, 2], [2, 1]), ids: { data: ["a"], shape: [1] } });
  writeNpz(file("modality.npz"), { embeddings: floats([1], [1, 1]), modality: { data: ["pet"], shape: [1] } });
  writeNpz(file("nan.npz"), { embeddings: floats([1, 2, 3, NaN], [2, 2]), ids: { data: ["a", "b"], shape: [2] } });
  writeNpz(file("meta.npz"), { embeddings: floats([1], [1, 1]), meta: { data: ["{"], shape: [] } });
  const whole = readFileSync(file("nan.npz"));
  writeFileSync(file("cut.npz"), whole.subarray(0, whole.length / 2));
  for (const [name, said] of [
    ["text", "expected an .npz file (a zip of .npy arrays), got something else or a cut file"],
    ["cut", "expected an .npz file (a zip of .npy arrays), got something else or a cut file"],
    ["other", "expected an array named embeddings, got x"],
    ["flat", "expected embeddings to be numbers [n, d], got numbers [2]"],
    ["ids", "expected ids of shape [2], got [1]"],
    ["modality", 'expected modality to be one of xray, ultrasound, endoscopy, ct, mri, got "pet"'],
    ["nan", "expected finite numbers, got NaN in row 1 (b), dimension 1"],
    ["meta", "expected meta to be one string holding a JSON object"],
  ]) {
    expect(() => loadEmbeddings(file(`${name}.npz`))).toThrow(new RegExp(`^${escape(file(`${name}.npz: ${said}`))}$`));
  }
  expect(() => loadEmbeddings(file("absent.npz"))).toThrow(/absent.npz: no such file or folder$/);
});

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function sample(shape: Sample["shape"], pixel: (c: number, z: number, y: number, x: number) => number): Sample {
  const [channels, depth, height, width] = shape;
  const pixels = new Float32Array(channels * depth * height * width);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let z = 0; z < depth; z++) {
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) pixels[at++] = pixel(c, z, y, x);
    }
  }
  return {
    id: "a",
    pixels,
    shape,
    grey: false,
    kind: "volume",
    modality: "ct",
    group: "p",
    labels: { region: "chest" },
  };
}

test("raw pixels of a flat sample are flat at any size, also where side does not divide it", () => {
  for (const shape of [
    [3, 1, 7, 10],
    [3, 5, 32, 32],
    [3, 2, 3, 4],
  ] as const) {
    const set = pixelEmbeddings([sample(shape, () => 0.5)], 8, "gallery");
    expect([set.n, set.d, set.splits]).toEqual([1, 64, ["gallery"]]);
    for (const value of set.vectors) expect(value).toBeCloseTo(0.5, 6);
  }
});

test("raw pixels are means over channels, slices and the area of each cell", () => {
  const set = pixelEmbeddings([sample([3, 2, 4, 4], (c, z, y, x) => (c + z) / 4 + y * 10 + x)], 2);
  // Mean of c is 1 and of z 1/2: 0.375. Of y and x: 0.5 and 2.5.
  expect(Array.from(set.vectors)).toEqual([5.875, 7.875, 25.875, 27.875]);
});

test("raw pixels keep the mean of the picture when cells cut through pixels", () => {
  const random = new Random(5);
  const picture = sample([3, 1, 7, 9], () => random.uniform());
  const mean = (values: Float32Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(mean(pixelEmbeddings([picture], 4).vectors)).toBeCloseTo(mean(picture.pixels), 6);
});
