import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { loadCatalog, parseCatalog } from "../src/datasets/catalog.js";
import type { Catalog } from "../src/datasets/catalog.js";
import { anywhere, openDataset } from "../src/datasets/open.js";
import { prepareAll } from "../src/transforms/prepare.js";
import { InputError, MODALITIES, SPLITS } from "../src/types.js";

const folder = () => mkdtempSync(join(tmpdir(), "m3ret-open-"));

test("a folder with labels.csv is opened by its path without an entry", async () => {
  const root = folder();
  writeFileSync(join(root, "labels.csv"), "path,modality,class,group\nx.png,ct,a,\n");
  writeFileSync(join(root, "x.png"), "");
  const dataset = await openDataset(root, { catalog: parseCatalog("datasets: {}\n", "datasets.yaml"), cacheDir: root });
  expect(dataset.records.map(({ id }) => id)).toEqual(["x.png"]);
  expect(dataset.entry).toMatchObject({ kind: "folder", licence: "not stated" });
  // Notebooks run in another working folder: there, too, the name means this folder. Listed names stay as they are.
  expect(anywhere(loadCatalog(), relative(process.cwd(), root))).toBe(root);
  expect(anywhere(loadCatalog(), "phantom")).toBe("phantom");
});

test("a name that is neither an entry nor a folder is refused with what there is", async () => {
  const opened = openDataset("nothing", { catalog: loadCatalog(), cacheDir: folder() });
  await expect(opened).rejects.toThrow(
    'unknown data set "nothing"; datasets.yaml has: phantom, phantom-smoke, realdata',
  );
  await expect(opened).rejects.toThrow(InputError);
});

test("the phantoms of the catalogue have its labels, patients on one side only, and MRI never to train on", async () => {
  const usual = loadCatalog();
  const smoke = usual.datasets["phantom-smoke"];
  // The same entry with fewer patients and smaller pictures, so that the test is quick.
  const catalog = { ...usual, datasets: { few: { ...smoke, patients: 16, size: 16, depth: 4 } } } as Catalog;
  const cacheDir = folder();
  const dataset = await openDataset("few", { catalog, cacheDir, workers: 0 });
  expect(new Set(dataset.records.map(({ modality }) => modality))).toEqual(new Set(MODALITIES));
  const sides = new Map<string, Set<string>>();
  for (const { group, split, modality, labels } of dataset.records) {
    sides.set(group, (sides.get(group) ?? new Set()).add(split));
    if (modality === "mri") expect(split).not.toBe("train");
    expect(Object.keys(labels).sort()).toEqual(Object.keys(smoke.labels).sort());
  }
  expect(sides.size).toBe(16);
  expect([...sides.values()].every((seen) => seen.size === 1)).toBe(true);
  expect(new Set([...sides.values()].map((seen) => [...seen][0]))).toEqual(new Set(SPLITS));

  const { samples, skipped } = await prepareAll(dataset, smoke.preprocessing, { splits: ["query"] });
  expect(skipped).toEqual([]);
  for (const { pixels } of samples) {
    expect(pixels.every((x) => x >= 0 && x <= 1)).toBe(true);
    expect(pixels.some((x) => x !== pixels[0])).toBe(true);
  }
});
