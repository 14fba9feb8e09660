import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync, type Zippable } from "fflate";
import { dump } from "npyjs";
import { describe, expect, test } from "vitest";
import { parseCatalog } from "../src/datasets/catalog.js";
import { openMedmnist } from "../src/datasets/medmnist.js";
import { MEDMNIST, setOfFile } from "../src/datasets/medmnistSets.js";
import { openRows } from "../src/datasets/npzRows.js";
import { openDataset } from "../src/datasets/open.js";
import { Random } from "../src/random.js";
import { prepareAll } from "../src/transforms/prepare.js";
import type { Modality } from "../src/types.js";
import { inputErrorOf, noRealdata, realdata, whereRealdata } from "./readersFixture.js";

const folder = (): string => mkdtempSync(join(tmpdir(), "m3ret-medmnist-"));

const COUNTS = { train: 7, val: 3, test: 4 };

/** A file as the published ones are, with few pictures; what is drawn is returned too. */
function makeSet(path: string, set: string, side: number, packed = true) {
  const { dimensions, channels, multiLabel, classes } = MEDMNIST[set];
  const random = new Random(`${set} ${side}`);
  const files: Zippable = {};
  const arrays: Record<string, Uint8Array> = {};
  const put = (name: string, shape: number[], draw: () => number): void => {
    const data = Uint8Array.from({ length: shape.reduce((a, b) => a * b, 1) }, draw);
    arrays[name] = data;
    files[`${name}.npy`] = [new Uint8Array(dump(data, shape)), { level: packed ? 6 : 0 }];
  };
  for (const [part, n] of Object.entries(COUNTS)) {
    const shape = dimensions === 3 ? [n, side, side, side] : channels === 3 ? [n, side, side, 3] : [n, side, side];
    put(`${part}_images`, shape, () => random.int(256));
    put(`${part}_labels`, [n, multiLabel ? classes.length : 1], () => random.int(multiLabel ? 2 : classes.length));
  }
  writeFileSync(path, zipSync(files));
  return arrays;
}

/** Ours, or what a person has chosen where the set is none of ours. */
const modalityOf = (set: string): Modality => MEDMNIST[set].modality ?? "endoscopy";

const entryFor = (set: string, path: string): string =>
  `datasets:
  mine:
    kind: medmnist
    title: a set
    source: made by a test
    licence: MIT
    modalities: [${modalityOf(set)}]
    group: none
    labels: { class: what it shows }
    retrievalLabel: class
    path: ${path}
`;

test("there are twelve sets of pictures and six of volumes", () => {
  const sets = Object.values(MEDMNIST);
  expect(sets.filter(({ dimensions }) => dimensions === 2).length).toBe(12);
  expect(sets.filter(({ dimensions }) => dimensions === 3).length).toBe(6);
  // Classes as the paper's Table 2 counts them.
  expect(Object.values(MEDMNIST).map(({ classes }) => classes.length)).toEqual([
    9, 14, 7, 4, 2, 5, 2, 8, 8, 11, 11, 11, 11, 2, 2, 3, 2, 2,
  ]);
  expect(setOfFile("organmnist3d_64.npz")).toBe("organmnist3d");
  expect(setOfFile("PneumoniaMNIST_224.npz")).toBe("pneumoniamnist");
  expect(setOfFile("mnist.npz")).toBeUndefined();
});

test.each(Object.keys(MEDMNIST))("%s opens by the catalogue, with its splits, names and pixels", async (set) => {
  const { dimensions, channels, classes, multiLabel, published } = MEDMNIST[set];
  const root = folder();
  const path = join(root, `${set}_64.npz`);
  const side = dimensions === 3 ? 8 : 64;
  const arrays = makeSet(path, set, side);
  const catalog = parseCatalog(entryFor(set, path), join(root, "datasets.yaml"));
  const dataset = await openDataset("mine", { catalog, cacheDir: root });
  const mri = modalityOf(set) === "mri";
  const of = (split: string) => dataset.records.filter((record) => record.split === split);
  expect([of("train").length, of("gallery").length, of("query").length]).toEqual([mri ? 0 : 7, 3, 4]);
  expect(dataset.skipped.length).toBe(mri ? 1 : 0);
  expect(new Set(dataset.records.map(({ group }) => group)).size).toBe(dataset.records.length);

  const record = of("query")[2];
  const image = arrays.test_images.length / COUNTS.test;
  const { pixels, shape, kind } = await dataset.read(record);
  expect(kind).toBe(dimensions === 3 ? "volume" : "image");
  expect(shape).toEqual([channels, dimensions === 3 ? side : 1, side, side]);
  for (const [c, at] of [
    [0, 0],
    [channels - 1, 5],
    [channels - 1, image / channels - 1],
  ]) {
    expect(pixels[(c * image) / channels + at]).toBe(arrays.test_images[2 * image + at * channels + c]);
  }
  const columns = multiLabel ? classes.length : 1;
  const row = arrays.test_labels.subarray(2 * columns, 3 * columns);
  if (multiLabel) {
    const found = classes.filter((_, i) => row[i] === 1);
    expect(record.labels.class).toBe(found.join("|") || "none");
    for (const [i, name] of classes.entries()) expect(record.labels[name]).toBe(row[i] === 1 ? "yes" : "no");
  } else expect(record.labels.class).toBe(classes[row[0]]);
  expect(record.labels.source).toBe(published);
});

test("pictures become samples, grey or in colour", async () => {
  const root = folder();
  for (const set of ["pathmnist", "nodulemnist3d"]) {
    const path = join(root, `${set}.npz`);
    makeSet(path, set, 28);
    const catalog = parseCatalog(entryFor(set, path), join(root, "datasets.yaml"));
    const dataset = await openDataset("mine", { catalog, cacheDir: root });
    const { samples, skipped } = await prepareAll(dataset, dataset.entry.preprocessing);
    expect(skipped).toEqual([]);
    expect(samples.length).toBe(14);
    expect(samples[0].shape).toEqual([3, set === "pathmnist" ? 1 : 16, 64, 64]);
    expect(samples[0].grey).toBe(set !== "pathmnist");
  }
});

test("rows are the same from the file, from memory and from the cache, which is made once", async () => {
  const root = folder();
  const wanted = makeSet(join(root, "packed.npz"), "bloodmnist", 28).train_images;
  makeSet(join(root, "stored.npz"), "bloodmnist", 28, false);
  const size = 28 * 28 * 3;
  for (const [file, inMemory] of [
    ["stored.npz", 0],
    ["packed.npz", 2 ** 20],
    ["packed.npz", 0],
    ["packed.npz", 0],
  ] as const) {
    const rows = openRows(join(root, file), "train_images", { cacheDir: join(root, "cache"), inMemory });
    expect(rows.shape).toEqual([7, 28, 28, 3]);
    const order = [6, 0, 3];
    const read = await Promise.all(order.map((i) => rows.row(i)));
    order.forEach((i, k) => expect(read[k]).toEqual(wanted.subarray(i * size, (i + 1) * size)));
  }
  const cached = readdirSync(join(root, "cache/npz"));
  expect(cached).toEqual([expect.stringMatching(/^train_images-[0-9a-f]{8}-\d+\.npy$/)]);
});

test("a packed array that is damaged is refused, from memory and on its way to the cache, and leaves nothing", async () => {
  const root = folder();
  const path = join(root, "bloodmnist.npz");
  makeSet(path, "bloodmnist", 28);
  const bytes = readFileSync(path);
  bytes[3000] ^= 4; // among the packed training pictures
  writeFileSync(path, bytes);
  for (const inMemory of [2 ** 20, 0]) {
    const cacheDir = join(root, "cache");
    const options = { name: "x", modality: "endoscopy", cacheDir, inMemory } as const;
    const dataset = openMedmnist(path, options);
    const message = await inputErrorOf(dataset.read(dataset.records[0]));
    expect(message).toMatch(/bloodmnist.npz: cannot read the array train_images: /);
    if (inMemory === 0) expect(readdirSync(join(cacheDir, "npz"))).toEqual([]);
  }
});

test("what is no such set is refused in one line", async () => {
  const root = folder();
  const opened = (file: string, modality: Modality, set?: string) =>
    inputErrorOf(
      Promise.resolve().then(() => openMedmnist(join(root, file), { name: "x", modality, set, cacheDir: root })),
    );
  makeSet(join(root, "chestmnist.npz"), "chestmnist", 28);
  makeSet(join(root, "other.npz"), "pathmnist", 28);
  expect(await opened("chestmnist.npz", "ct")).toMatch(/chestmnist is xray \(chest X-ray\), got modality ct$/);
  expect(await opened("other.npz", "ct")).toMatch(
    /expected one of the MedMNIST sets pathmnist, .*a name that begins with none/,
  );
  expect(await opened("other.npz", "ct", "organamnist")).toMatch(
    /expected train_images of shape \[n, s, s\], got \[7, 28, 28, 3\]$/,
  );
  expect(await opened("chestmnist.npz", "xray", "pneumoniamnist")).toMatch(
    /cannot read the array train_labels: expected shape \[7, 1\], got \[7, 14\]$/,
  );
  makeSet(join(root, "dermamnist.npz"), "pathmnist", 28); // nine classes, where this set has seven
  expect(await opened("dermamnist.npz", "endoscopy")).toMatch(/expected labels from 0 to 6, got [78]$/);
  writeFileSync(join(root, "octmnist.npz"), "no zip");
  expect(await opened("octmnist.npz", "endoscopy")).toMatch(/octmnist.npz: expected an .npz file/);
  expect(await opened("breastmnist.npz", "ultrasound")).toMatch(/breastmnist.npz: no such file or folder$/);
});

describe.skipIf(noRealdata)(`a real set${whereRealdata}`, () => {
  test("PneumoniaMNIST has the counts and the means that numpy gives", async () => {
    const path = join(realdata, "xray/pneumoniamnist_balanced.npz");
    const dataset = openMedmnist(path, { name: "pneumonia", modality: "xray", cacheDir: folder() });
    const expected = JSON.parse(readFileSync(new URL("./fixtures/media/pneumonia.json", import.meta.url), "utf8")) as {
      counts: Record<string, Record<string, number>>;
      means: Record<string, number>;
    };
    const counts: Record<string, Record<string, number>> = { train: {}, gallery: {}, query: {} };
    for (const { split, labels } of dataset.records) {
      counts[split][labels.class] = (counts[split][labels.class] ?? 0) + 1;
    }
    expect(counts).toEqual(expected.counts);
    for (const [id, mean] of Object.entries(expected.means)) {
      const { pixels, shape } = await dataset.read(dataset.records.find((record) => record.id === id)!);
      expect(shape).toEqual([1, 1, 28, 28]);
      expect(pixels.reduce((sum, x) => sum + x, 0) / 784).toBeCloseTo(mean, 4);
    }
  });
});
