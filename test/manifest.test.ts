import { closeSync, mkdtempSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openManifest, writeManifest, type Manifest, type ManifestRow } from "../src/datasets/manifest.js";
import { mixture, strataOf, type MixtureBatch, type Stratum } from "../src/datasets/mixture.js";
import { permutation } from "../src/datasets/permutation.js";
import { Random } from "../src/random.js";
import { InputError, MODALITIES } from "../src/types.js";

const folder = mkdtempSync(join(tmpdir(), "m3ret-manifest-"));
const opened: Manifest[] = [];
const openIt = (...files: string[]) => {
  const manifest = openManifest(...files);
  opened.push(manifest);
  return manifest;
};
afterAll(() => opened.forEach((manifest) => manifest.close()));

const row = (i: number): ManifestRow => ({
  modality: MODALITIES[i % 7 < 3 ? 0 : i % 7 < 4 ? 1 : i % 7 < 5 ? 2 : i % 7 < 6 ? 3 : 4],
  kind: "image",
  split: i % 10 < 8 ? "train" : i % 10 < 9 ? "gallery" : "query",
  path: `images_${String(i % 12).padStart(3, "0")}/images/${String(i).padStart(8, "0")}_000.png`,
  group: `set/patient ${Math.floor(i / 4)}`,
  labels: { finding: i % 3 === 0 ? "No Finding" : "Effusion|Infiltration", view: i % 2 === 0 ? "PA" : "AP" },
});
function* rows(n: number) {
  for (let i = 0; i < n; i++) yield row(i);
}

/** As many strata as sizes: rows are numbered through. */
function strataOfSizes(sizes: Record<string, number>, shares?: Record<string, number>): Stratum[] {
  let first = 0;
  return Object.entries(sizes).map(([name, size]) => {
    first += size;
    return { name, rows: Uint32Array.from({ length: size }, (_, i) => first - size + i), share: shares?.[name] };
  });
}

function take(batches: Iterable<MixtureBatch>, n: number): MixtureBatch[] {
  const taken: MixtureBatch[] = [];
  for (const batch of batches) {
    taken.push(batch);
    if (taken.length >= n) break;
  }
  return taken;
}

const PAPER = 867_653; // samples of the paper's pretraining set

test(`a manifest of ${PAPER} rows gives its first batch within 5 s and 1 GB`, { timeout: 60_000 }, () => {
  const file = join(folder, "paper.jsonl");
  expect(writeManifest(file, "paper", folder, rows(PAPER))).toBe(PAPER);
  const before = process.memoryUsage().rss;
  const started = performance.now();
  const manifest = openIt(file);
  const shares = { xray: 4, ultrasound: 1, endoscopy: 2, ct: 3 };
  const { strata, leftOut } = strataOf(manifest, shares);
  const run = mixture(strata, { seed: 7, batchSize: 64 });
  const [first] = take(run.from({ epoch: 0, position: 0 }), 1);
  const samples = [...first.rows].map((index) => manifest.row(index));
  const seconds = (performance.now() - started) / 1000;
  const megabytes = (process.memoryUsage().rss - before) / 2 ** 20;
  console.log(`first batch of ${PAPER} rows after ${seconds.toFixed(2)} s, ${megabytes.toFixed(0)} MiB more resident`);
  expect(manifest.length).toBe(PAPER);
  const mri = [...rows(PAPER)].filter(({ modality }) => modality === "mri").length;
  const judged = [...rows(PAPER)].filter(({ modality, split }) => modality !== "mri" && split !== "train").length;
  expect(leftOut).toEqual({ mri, judged, withoutShare: 0 });
  expect(samples).toHaveLength(64);
  for (const { modality, split } of samples) {
    expect(`${modality} image`).toBe(first.stratum);
    expect(split).toBe("train");
  }
  expect(seconds).toBeLessThan(5);
  expect(process.memoryUsage().rss).toBeLessThan(2 ** 30);
});

test("rows come back as they were written, from one manifest and from several", () => {
  const [a, b] = [join(folder, "a.jsonl"), join(folder, "b.jsonl")];
  writeManifest(a, "a", join(folder, "data"), rows(10));
  writeManifest(b, "b", folder, [{ ...row(3), path: "ümläut/x.dcm" }]);
  const manifest = openIt(a, b);
  expect(manifest.length).toBe(11);
  expect(manifest.sets).toEqual(["a", "b"]);
  expect(manifest.row(9)).toEqual({ ...row(9), set: "a", root: join(folder, "data") });
  expect(manifest.row(10)).toMatchObject({ path: "ümläut/x.dcm", set: "b", root: folder });
  expect([...manifest.setOf]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  expect(readFileSync(a, "utf8").split("\n")[0]).toBe('{"manifest":1,"set":"a","root":"data"}');
});

test("lines that cross the chunks of reading are put together", () => {
  const file = join(folder, "long.jsonl");
  const long = "x".repeat(3_000_000);
  writeManifest(
    file,
    "long",
    folder,
    [0, 1, 2, 3].map((i) => ({ ...row(i), labels: { text: long + i } })),
  );
  const manifest = openIt(file);
  expect([0, 1, 2, 3].map((i) => manifest.row(i).labels.text.at(-1))).toEqual(["0", "1", "2", "3"]);
});

test("what is no manifest is refused with file and line", () => {
  const header = '{"manifest":1,"set":"a","root":"."}\n';
  const file = join(folder, "bad.jsonl");
  const refusal = (text: string, then: (manifest: Manifest) => unknown = () => undefined) => {
    writeFileSync(file, text);
    try {
      then(openIt(file));
    } catch (error) {
      expect(error).toBeInstanceOf(InputError);
      return (error as Error).message.replace(`${file}`, "FILE");
    }
    throw new Error("accepted");
  };
  expect(refusal("")).toBe("FILE: expected a manifest, got an empty file");
  expect(refusal('{"a":1}\n')).toContain('FILE:1: expected {"manifest":1');
  expect(refusal(`${header}{"modality":"pet","path":"a","group":"","labels":{}}\n`)).toContain(
    "FILE:2: expected a modality",
  );
  expect(refusal(`${header}{"modality":"ct","path":"a"`)).toBe("FILE:2: the last line does not end: the file was cut");
  const lazily = (manifest: Manifest) => manifest.row(0);
  expect(refusal(`${header}{"modality":"ct","path":"../a","group":"","labels":{}}\n`, lazily)).toContain(
    "inside the folder",
  );
  expect(refusal(`${header}{"modality":"ct","path":"a"}\n`, lazily)).toContain("a group and labels");
  // Another order of keys, and a line that says neither kind nor side.
  writeFileSync(file, `${header}{"path":"a.nii.gz","group":"","labels":{},"modality":"ct"}\n`);
  expect(openIt(file).row(0)).toMatchObject({ modality: "ct", kind: "volume", split: "train" });
  expect(refusal(`${header}{"modality":"ct","kind":"film","path":"a","group":"","labels":{}}\n`)).toContain(
    "a kind of",
  );
  expect(refusal(`${header}{"modality":"ct","split":"val","path":"a","group":"","labels":{}}\n`)).toContain(
    "a split of",
  );
  expect(() => openManifest(join(folder, "nowhere"))).toThrow("no such file");
});

test("a permutation by index has every number once, whatever the size, and no favourite place", () => {
  for (const n of [1, 2, 3, 5, 64, 1000, 4097]) {
    const order = permutation(n, new Random(n));
    expect(new Set(Array.from({ length: n }, (_, i) => order(i))).size, String(n)).toBe(n);
  }
  // Where the first of 8 lands, over 8,000 seeds: χ² with 7 degrees of freedom is above 24.3 once in a thousand.
  const landed = new Array<number>(8).fill(0);
  for (let seed = 0; seed < 8000; seed++) landed[permutation(8, new Random(seed))(0)]++;
  expect(landed.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(24.3);
  expect(() => permutation(0, new Random(1))).toThrow(RangeError);
});

test("without shares an epoch has every row once, in batches of one stratum, and the next epoch another order", () => {
  const run = mixture(strataOfSizes({ xray: 103, ct: 41 }), { seed: 7, batchSize: 10 });
  expect(run.batches).toBe(11 + 5);
  const [first, second] = [0, 1].map((epoch) => take(run.from({ epoch, position: 0 }), run.batches));
  for (const batches of [first, second]) {
    const all = batches.flatMap((batch) => [...batch.rows]);
    expect([...all].sort((a, b) => a - b)).toEqual(Array.from({ length: 144 }, (_, i) => i));
    for (const { stratum, rows } of batches) for (const r of rows) expect(r < 103).toBe(stratum === "xray");
  }
  expect(first.flatMap(({ rows }) => [...rows])).not.toEqual(second.flatMap(({ rows }) => [...rows]));
});

test("shares are kept to the batch, and rows of a small stratum come round equally often", () => {
  const strata = strataOfSizes({ xray: 1000, ct: 30 }, { xray: 3, ct: 1 });
  const run = mixture(strata, { seed: 7, batchSize: 8, batches: 100 });
  expect(run.plan.map(({ name, batches }) => [name, batches])).toEqual([
    ["xray", 75],
    ["ct", 25],
  ]);
  const epoch = take(run.from({ epoch: 0, position: 0 }), 100);
  const seen = new Map<number, number>();
  for (const { rows } of epoch) for (const r of rows) seen.set(r, (seen.get(r) ?? 0) + 1);
  const ofCt = Array.from({ length: 30 }, (_, i) => seen.get(1000 + i) ?? 0);
  expect(ofCt.reduce((a, b) => a + b, 0)).toBe(200);
  expect(Math.max(...ofCt) - Math.min(...ofCt)).toBeLessThanOrEqual(1);
  expect(Math.max(...Array.from({ length: 1000 }, (_, i) => seen.get(i) ?? 0))).toBe(1);
});

test("a run that is resumed in the middle of an epoch goes on exactly", () => {
  const strata = strataOfSizes({ xray: 500, ct: 77 }, { xray: 2, ct: 1 });
  const straight = take(mixture(strata, { seed: 7, batchSize: 4 }).from({ epoch: 0, position: 0 }), 400);
  const stopped = straight[222].next;
  expect(stopped.epoch).toBe(1);
  const state = JSON.parse(JSON.stringify(stopped)) as typeof stopped;
  const resumed = take(mixture(strata, { seed: 7, batchSize: 4 }).from(state), 177);
  expect(resumed).toEqual(straight.slice(223));
});

test("shards are disjoint, complete, and equal to within one batch", () => {
  const run = mixture(strataOfSizes({ xray: 500, ct: 77 }), { seed: 7, batchSize: 4 });
  for (const of of [1, 2, 3, 7, 16]) {
    const parts = Array.from({ length: of }, (_, index) => {
      const positions: number[] = [];
      for (const { epoch, position } of run.from({ epoch: 0, position: 0 }, { index, of })) {
        if (epoch > 0) break;
        positions.push(position);
      }
      return positions;
    });
    const all = parts.flat().sort((a, b) => a - b);
    expect(all).toEqual(Array.from({ length: run.batches }, (_, i) => i));
    const sizes = parts.map(({ length }) => length);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  }
});

test("MRI is left out of what is trained on, and refused where it is asked for; so are gallery and query", () => {
  const file = join(folder, "mri.jsonl");
  writeManifest(file, "mri", folder, rows(70));
  const manifest = openIt(file);
  const { strata, leftOut } = strataOf(manifest);
  expect(strata.map(({ name }) => name)).toEqual(["xray image", "ultrasound image", "endoscopy image", "ct image"]);
  for (const { rows } of strata) for (const i of rows) expect(manifest.row(i).split).toBe("train");
  expect(leftOut).toEqual({ mri: 10, judged: 12, withoutShare: 0 });
  expect(strataOf(manifest, { ct: 1 }).leftOut.withoutShare).toBe(
    48 - strataOf(manifest, { ct: 1 }).strata[0].rows.length,
  );
  expect(() => strataOf(manifest, { ct: 1, mri: 1 })).toThrow("MRI never enters pretraining");
  const only = join(folder, "ct.jsonl");
  writeManifest(only, "only", folder, [{ ...row(0), modality: "ct" }]);
  expect(() => strataOf(openIt(only), { xray: 1, ct: 1 })).toThrow("only: a share of xray, but no file of it");
  const text = openSync(join(folder, "one.jsonl"), "w");
  writeSync(text, '{"manifest":1,"set":"x","root":"."}\n{"modality":"mri","path":"a","group":"","labels":{}}\n');
  closeSync(text);
  expect(() => strataOf(openIt(join(folder, "one.jsonl")))).toThrow("nothing to train on");
});

test("a batch has one kind: a modality's share is divided as its files are, or kind by kind as the recipe says", () => {
  const file = join(folder, "kinds.jsonl");
  const kinds = ["image", "image", "image", "video"] as const;
  writeManifest(
    file,
    "kinds",
    folder,
    kinds.map((kind, i) => ({ ...row(i), kind, modality: "endoscopy", split: "train", path: String(i) })),
  );
  const shares = (of: Parameters<typeof strataOf>[1]) =>
    strataOf(openIt(file), of).strata.map((s) => [s.name, s.share]);
  expect(shares({ endoscopy: 20 })).toEqual([
    ["endoscopy image", 15],
    ["endoscopy video", 5],
  ]);
  expect(shares({ endoscopy: { image: 1, video: 3 } })).toEqual([
    ["endoscopy image", 1],
    ["endoscopy video", 3],
  ]);
  expect(shares({ endoscopy: { video: 3 } })).toEqual([["endoscopy video", 3]]);
  expect(() => shares({ endoscopy: { volume: 1 } })).toThrow("a share of endoscopy volume, but no file of it");
});

test("manifests that were split with different seeds are not mixed: a patient would be on both sides", () => {
  const [a, b] = [join(folder, "s7.jsonl"), join(folder, "s8.jsonl")];
  writeManifest(a, "a", folder, rows(2), 7);
  writeManifest(b, "b", folder, rows(2), 8);
  expect(openIt(a).splitSeed).toBe(7);
  expect(() => openIt(a, b)).toThrow("expected manifests split with one seed, got 7 and 8");
});
