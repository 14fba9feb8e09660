/** Batches from files that are read on the way. Worker threads run compiled files, so they are tested from `dist`. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadCatalog, type Preprocessing } from "../src/datasets/catalog.js";
import { openManifest, writeManifest, type Manifest, type ManifestRow } from "../src/datasets/manifest.js";
import { encoderConfig } from "../src/encoder/config.js";
import { Random } from "../src/random.js";
import { collateBy, type Collation } from "../src/trainers/collate.js";
import type { LoaderOptions } from "../src/trainers/loader.js";
import type { Batch } from "../src/trainers/objective.js";
import { streamFeed, type StreamOptions } from "../src/trainers/stream.js";
import type { UnreadFile } from "../src/trainers/streamBatch.js";
import type * as compiledStream from "../src/trainers/stream.js";
import { STANDARD } from "../src/transforms/views.js";
import { InputError, MODALITIES, SPLITS } from "../src/types.js";

const compiled = (await import(new URL("../dist/trainers/stream.js", import.meta.url).href)) as typeof compiledStream;
const folder = mkdtempSync(join(tmpdir(), "m3ret-stream-"));
const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] } as const;
const usual = loadCatalog(new URL("../datasets.yaml", import.meta.url).pathname).public.busi.preprocessing;
const preprocessing: Record<string, Preprocessing> = { ours: { ...usual, size } };
const encoder = { ...encoderConfig("nano", [2, 8, 8]), width: 24, depth: 2, heads: 2 };
const spec: Collation = {
  method: "mae",
  encoder,
  view: { scale: [1, 1], ratio: [1, 1], size },
  maskRatio: 0.75,
};

/** Every picture is of one shade, 2 n for row n: what a batch holds tells which files it is of. */
const ROWS: ManifestRow[] = Array.from({ length: 100 }, (_, n) => ({
  modality: MODALITIES[n % 5],
  kind: "image",
  split: SPLITS[n % 7 === 0 ? 1 : n % 11 === 0 ? 2 : 0],
  path: `${MODALITIES[n % 5]}/${n}.png`,
  group: "",
  labels: {},
}));
const BROKEN = [12, 26, 51, 3];
const trained = ROWS.flatMap(({ modality, split }, n) => (modality !== "mri" && split === "train" ? [n] : []));

let manifest: Manifest;
beforeAll(async () => {
  for (const [n, { path }] of ROWS.entries()) {
    const raw = { width: 8, height: 8, channels: 1 } as const;
    const png = await sharp(new Uint8Array(64).fill(2 * n), { raw })
      .toColourspace("b-w")
      .png()
      .toBuffer();
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), BROKEN.includes(n) ? png.subarray(0, 20) : png);
  }
  writeManifest(join(folder, "ours.jsonl"), "ours", folder, ROWS);
  manifest = openManifest(join(folder, "ours.jsonl"));
});
afterAll(() => manifest.close());

/** The number of each picture in a batch, from its first visible token. */
function numbersIn({ arrays: { visible } }: Batch): number[] {
  const [b, v, p] = visible.shape;
  return Array.from({ length: b }, (_, i) => {
    const shade = visible.data[i * v * p] * STANDARD.deviation + STANDARD.mean;
    return Math.round((shade * 255) / 2);
  });
}

interface Taken {
  readonly batches: Batch[];
  readonly unread: (UnreadFile & { step: number })[];
}

/** Batches of steps `from` to `to`, copied, because their memory is used again. */
async function take(
  from: number,
  to: number,
  options: Partial<StreamOptions> = {},
  loading: LoaderOptions = { workers: 0 },
): Promise<Taken> {
  const unread: Taken["unread"] = [];
  const make = loading.workers === 0 ? streamFeed : compiled.streamFeed;
  const onUnread = (file: UnreadFile, step: number) => unread.push({ ...file, step });
  const feed = make(manifest, { batchSize: 6, seed: 7, preprocessing, onUnread, ...options });
  const source = feed.open(collateBy(spec), { root: new Random(7), from, to }, loading);
  const batches: Batch[] = [];
  try {
    for (let step = from; step < to; step++) batches.push(structuredClone(await source.next()));
  } finally {
    await source.close();
  }
  return { batches, unread };
}

test("an epoch shows every file that is trained on and can be read, and none of MRI, gallery or query", async () => {
  const feed = streamFeed(manifest, { batchSize: 6, seed: 7, preprocessing });
  const { batches, unread } = await take(0, feed.mixture.batches);
  const readable = trained.filter((n) => !BROKEN.includes(n));
  const seen = batches.flatMap(numbersIn);
  expect(new Set(seen)).toEqual(new Set(readable));
  for (const batch of batches) {
    const of = new Set(numbersIn(batch).map((n) => ROWS[n].modality));
    expect(of.size, "modalities in one batch").toBe(1);
    expect(numbersIn(batch)).toHaveLength(6); // also where a stratum's rows ran out, or could not be read
  }
  expect(new Set(unread.map(({ path }) => path))).toEqual(
    new Set(BROKEN.filter((n) => trained.includes(n)).map((n) => ROWS[n].path)),
  );
  for (const { reason, set } of unread) {
    expect(set).toBe("ours");
    expect(reason).toMatch(/^(xray|ultrasound|endoscopy|ct)\/\d+\.png: .*PNG/);
  }
  const order = numbersIn((await take(feed.mixture.batches, feed.mixture.batches + 1)).batches[0]);
  expect(order).not.toEqual(numbersIn(batches[0]));
});

test("batches from worker threads are those of this thread, bit for bit, and so is what was passed over", async () => {
  const here = await take(0, 16);
  for (const workers of [1, 2]) expect(await take(0, 16, {}, { workers })).toEqual(here);
});

test("a run that goes on in the middle of an epoch gets the batches that it would have had", async () => {
  const whole = await take(0, 20);
  const { batches, unread } = await take(11, 20, {}, { workers: 2 });
  expect(batches).toEqual(whole.batches.slice(11));
  expect(unread).toEqual(whole.unread.filter(({ step }) => step >= 11));
});

test("ranks share the steps of one run: rank r of 3 has batch 3 s + r", async () => {
  const whole = await take(0, 9);
  for (const index of [0, 1, 2]) {
    const { batches } = await take(0, 3, { shard: { index, of: 3 } }, { workers: index });
    expect(batches).toEqual([0, 1, 2].map((s) => whole.batches[3 * s + index]));
  }
});

test("shares are kept: three quarters of the batches are X-rays where the recipe says so", async () => {
  const { batches } = await take(0, 12, { shares: { xray: 3, ct: 1 } });
  const epoch = streamFeed(manifest, { batchSize: 6, seed: 7, preprocessing, shares: { xray: 3, ct: 1 } }).mixture;
  const all =
    epoch.batches <= 12
      ? batches.slice(0, epoch.batches)
      : (await take(0, epoch.batches, { shares: { xray: 3, ct: 1 } })).batches;
  const xrays = all.filter((batch) => ROWS[numbersIn(batch)[0]].modality === "xray").length;
  expect(Math.abs(xrays / all.length - 0.75)).toBeLessThanOrEqual(1 / all.length);
});

test("prepared samples are kept, found again, made anew where the file has changed or the copy is cut, and change nothing", async () => {
  const prepared = mkdtempSync(join(tmpdir(), "m3ret-prepared-"));
  const plain = await take(0, 16);
  const kept = () =>
    readdirSync(prepared, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".f32"));
  expect(await take(0, 16, { prepared }, { workers: 2 })).toEqual(plain);
  const first = kept();
  expect(first.length).toBeGreaterThan(40);
  expect(readFileSync(join(prepared, first[0])).length).toBe(4 * (7 + 16 * 16)); // one channel of what is grey
  truncateSync(join(prepared, first[0]), 100);
  expect(await take(0, 16, { prepared })).toEqual(plain);
  expect(readFileSync(join(prepared, first[0])).length).toBe(4 * (7 + 16 * 16));
  expect(kept()).toEqual(first);
  for (const n of trained) utimesSync(join(folder, ROWS[n].path), 1, 1 + n);
  expect(await take(0, 16, { prepared })).toEqual(plain);
  expect(kept().length).toBe(2 * first.length);
  rmSync(prepared, { recursive: true });
  // Where nothing can be written the run goes on, and says why.
  writeFileSync(prepared, "a file in the place of the folder");
  expect(await take(0, 16, { prepared }, { workers: 1 })).toEqual(plain);
  const feed = streamFeed(manifest, { batchSize: 6, seed: 7, preprocessing, prepared });
  const source = feed.open(collateBy(spec), { root: new Random(7), from: 0, to: 1 }, { workers: 0 });
  await source.next();
  expect(feed.prepared).toMatchObject({ written: 0, bytes: 0 });
  expect(feed.prepared.stopped).toContain(prepared);
});

test("a file of another kind than the manifest says is passed over, and the report says what corrects it", async () => {
  const file = join(folder, "wrong.jsonl");
  const rows = ROWS.slice(0, 20).map((row, i) => ({ ...row, kind: i === 5 ? ("volume" as const) : row.kind }));
  writeManifest(file, "ours", folder, rows);
  const wrong = openManifest(file);
  const feed = streamFeed(wrong, { batchSize: 2, seed: 7, preprocessing, shares: { xray: { volume: 1 } } });
  const source = feed.open(collateBy(spec), { root: new Random(7), from: 0, to: 1 }, { workers: 0 });
  await expect(source.next()).rejects.toThrow(
    /^none of 18 files tried of xray volume could be read; the last: ours: xray\/5.png: expected volume, as the manifest says, got image; m3ret manifest --check corrects it$/,
  );
  wrong.close();
});

test("where nothing can be read the run ends with one clear line, from worker threads too", async () => {
  const file = join(folder, "gone.jsonl");
  writeManifest(file, "ours", join(folder, "gone"), ROWS);
  const gone = openManifest(file);
  for (const workers of [0, 1]) {
    const make = workers === 0 ? streamFeed : compiled.streamFeed;
    const feed = make(gone, { batchSize: 2, seed: 7, preprocessing });
    const source = feed.open(collateBy(spec), { root: new Random(7), from: 0, to: 3 }, { workers });
    const said = await source.next().then(
      () => "a batch",
      (error: Error) => `${error.name}: ${error.message}`,
    );
    await source.close();
    expect(said).toMatch(
      /^InputError: none of 18 files tried of \w+ image could be read; the last: ours: .*no such file/,
    );
    expect(said).not.toContain("\n");
  }
  gone.close();
});

test("sets that are prepared to different sizes are refused: a batch has one shape", () => {
  const file = join(folder, "others.jsonl");
  writeManifest(file, "others", folder, ROWS);
  const both = openManifest(join(folder, "ours.jsonl"), file);
  const sizes = { ...preprocessing, others: { ...usual, size: { ...size, video: [8, 16, 16] as const } } };
  const open = () => streamFeed(both, { batchSize: 2, seed: 7, preprocessing: sizes });
  expect(open).toThrow(InputError);
  expect(open).toThrow(
    "others: expected videos of 4 × 16 × 16, as ours has, got 8 × 16 × 16; size: in the recipe sets both",
  );
  both.close();
});
