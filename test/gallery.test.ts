import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { pictureOf } from "../src/analysis/contactSheet.js";
import { drawGallery, galleryRows, saveGallery } from "../src/analysis/gallery.js";
import { embeddingSet } from "../src/embeddings.js";
import type { Modality, Sample, Split } from "../src/types.js";

/** Unit vectors of the plane by their angle in degrees. */
const rows: [id: string, split: Split, modality: Modality, label: string, degrees: number][] = [
  ["g-chest", "gallery", "ct", "chest", 0],
  ["g-head", "gallery", "ct", "head", 90],
  ["g-knee", "gallery", "ct", "knee", 180],
  ["g-own", "gallery", "ct", "chest", 11], // of the patient who asks first
  ["q-own", "query", "ct", "chest", 10],
  ["q-slight", "query", "ct", "chest", 60], // head is nearer, by little
  ["q-gross", "query", "ct", "chest", 88], // head is nearer, by much
  ["q-none", "query", "ct", "hand", 0], // no hand in the gallery
  ["x-chest", "query", "xray", "chest", 5],
];
const samples = rows.map(([id, , modality, label]) => {
  const group = id.endsWith("own") ? "own" : id;
  return { id, modality, group, kind: "image", labels: { region: label }, pixels: [], shape: [3, 1, 1, 1] };
}) as unknown as Sample[];
const vectors = Float32Array.from(
  rows.flatMap(([, , , , d]) => [Math.cos((d * Math.PI) / 180), Math.sin((d * Math.PI) / 180)]),
);
const set = embeddingSet(
  vectors,
  samples,
  rows.map(([, split]) => split),
  { encoder: "by hand", pooling: "cls", data: "x" },
);

test("the nearest come first, hits are of the query's label, and nobody finds the own patient", () => {
  const [first] = galleryRows(set, { label: "region", rule: "first", k: 2, modalities: ["ct"] });
  expect(first.id).toBe("q-own");
  expect(first.matches.map(({ id, hit }) => [id, hit])).toEqual([
    ["g-chest", true],
    ["g-head", false],
  ]);
  expect(first.matches[0].cosine).toBeCloseTo(Math.cos(Math.PI / 18), 5);
  expect(first.lead).toBe(0);
});

test("confident misses are wrong at rank 1, the largest lead first, and could have been right", () => {
  const missed = galleryRows(set, { label: "region", rule: "confident misses", perModality: 5 });
  expect(missed.map(({ id }) => id)).toEqual(["q-gross", "q-slight"]);
  const angle = (degrees: number) => Math.cos((degrees * Math.PI) / 180);
  expect(missed[0].lead).toBeCloseTo(angle(2) - angle(77), 5);
});

test("a query may look into another modality, and is left out where nothing could answer it", () => {
  const into = galleryRows(set, { label: "region", rule: "first", to: "ct", perModality: 9 });
  expect(into.map(({ from, to, id }) => `${from} ${to} ${id}`)).toEqual([
    "xray ct x-chest",
    "ct ct q-own",
    "ct ct q-slight",
    "ct ct q-gross",
  ]);
  expect(galleryRows(set, { label: "region", rule: "first", to: "mri" })).toEqual([]);
});

test("a gallery is drawn with a mark under every match, and its caption counts them", async () => {
  const chosen = galleryRows(set, { label: "region", rule: "first", k: 3, modalities: ["ct"] });
  const read = async () => pictureOf(new Float32Array(300).fill(0.5), [3, 1, 10, 10], "image");
  const about = { label: "region", rule: "first", encoder: "by hand", dataSet: "the plane", seed: 7 } as const;
  const gallery = await drawGallery(chosen, read, about);
  expect(gallery.caption).toContain("1 of 3 shown are hits");
  expect(gallery.caption).toMatch(/the plane, seed 7\.$/);
  expect(gallery.numbers).toHaveLength(3);
  // Hit and miss differ without colour: a whole frame has more ink than a dashed one.
  const { data, info } = await sharp(gallery.png).greyscale().raw().toBuffer({ resolveWithObject: true });
  const inkAbove = (column: number) => {
    let dark = 0;
    for (let x = 0; x < 112; x++) if (data[32 * info.width + 108 + 112 + 34 + column * 124 + x] < 200) dark++;
    return dark;
  };
  expect(inkAbove(0)).toBeGreaterThan(105);
  expect(inkAbove(1)).toBeGreaterThan(40);
  expect(inkAbove(1)).toBeLessThan(90);
  const path = join(mkdtempSync(join(tmpdir(), "m3ret-gallery-")), "g");
  saveGallery(gallery, path);
  expect(JSON.parse(readFileSync(`${path}.json`, "utf8"))).toMatchObject({ seed: 7, numbers: gallery.numbers });
  await expect(drawGallery([], read, about)).rejects.toThrow('no query follows the rule "first"');
});
