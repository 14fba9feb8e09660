/** Preparing files in worker threads. Workers run compiled files, so this tests `dist`, as a user has it. */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { unlistedFolder, type Preprocessing } from "../src/datasets/catalog.js";
import type { Dataset } from "../src/datasets/dataset.js";
import { openFolder } from "../src/datasets/folder.js";
import { prepareAll } from "../src/transforms/prepare.js";
import type { prepareInWorkers as InWorkers } from "../src/transforms/prepareWorkers.js";
import { worthWorkers as worthWorkersAsSource } from "../src/transforms/prepareWorkers.js";
import type { Sample } from "../src/types.js";
import { scratch } from "./helpers.js";
import { fixture, referenced } from "./readersFixture.js";

const at = (name: string) => new URL(`../dist/transforms/${name}.js`, import.meta.url);
if (!existsSync(at("prepare"))) throw new Error(`${fileURLToPath(at("prepare"))} is not there: npm run build makes it`);
const compiled = (await import(at("prepare").href)) as { prepareAll: typeof prepareAll };
const { prepareInWorkers, worthWorkers } = (await import(at("prepareWorkers").href)) as {
  prepareInWorkers: typeof InWorkers;
  worthWorkers: typeof worthWorkersAsSource;
};

const preprocessing: Preprocessing = {
  ...unlistedFolder("x").preprocessing,
  size: { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] },
};

const BROKEN = ["d05.png", "d11.nii"];

/** Every fixture of the readers three times, and two files that nobody can read. */
let dataset: Dataset;
beforeAll(() => {
  const root = scratch();
  const names = referenced(".png", ".jpg", ".nii", ".nii.gz", ".dcm");
  expect(names.length).toBeGreaterThan(8);
  const rows = ["path,modality,class,group"];
  for (let i = 0; i < 3; i++) {
    for (const name of names) {
      const path = `${i}/${name}`;
      mkdirSync(join(root, path, ".."), { recursive: true });
      copyFileSync(fixture(name), join(root, path));
      rows.push(`${path},ct,a,g${rows.length}`);
    }
  }
  for (const path of BROKEN) {
    writeFileSync(join(root, path), "this is no picture");
    rows.push(`${path},ct,a,g${rows.length}`);
  }
  writeFileSync(join(root, "labels.csv"), rows.join("\n"));
  dataset = openFolder(root, { name: "copies", split: { train: 0.5, gallery: 0.25, query: 0.25, seed: 1 } });
});

test.each([1, 2])(
  "%i workers prepare what this thread prepares, in its order, and skip what it skips",
  async (workers) => {
    const seen: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => void seen.push(done / total);
    const here = await prepareAll(dataset, preprocessing);
    const there = await compiled.prepareAll(dataset, preprocessing, { workers, onProgress });
    expect(here.samples.length).toBeGreaterThan(20);
    const named = ({ id, shape, grey, kind, modality, group, labels }: Sample) =>
      JSON.stringify({ id, shape, grey, kind, modality, group, labels });
    expect(there.samples.map(named)).toEqual(here.samples.map(named));
    there.samples.forEach(({ id, pixels }, i) => {
      expect(Buffer.from(pixels.buffer).equals(Buffer.from(here.samples[i].pixels.buffer)), id).toBe(true);
    });
    expect(there.skipped).toEqual(here.skipped);
    expect(there.skipped.map(({ path }) => path)).toEqual(expect.arrayContaining(BROKEN));
    const count = dataset.records.length;
    expect(seen).toEqual(Array.from({ length: count }, (_, i) => (i + 1) / count));
  },
);

test("splits, modalities and limits choose the same files for workers", async () => {
  const options = { splits: ["train"], limit: 5 } as const;
  const ids = async ({ samples, skipped }: Awaited<ReturnType<typeof prepareAll>>) => [
    samples.map(({ id }) => id),
    skipped,
  ];
  expect(await ids(await compiled.prepareAll(dataset, preprocessing, { ...options, workers: 2 }))).toEqual(
    await ids(await prepareAll(dataset, preprocessing, options)),
  );
});

test("workers are worth their start where they save two seconds, and only for files of a folder", () => {
  const folder = { root: "somewhere" };
  expect(worthWorkers(folder, 600, 10, 1000)).toBe(true); // a minute to go
  expect(worthWorkers(folder, 600, 10, 40)).toBe(false); // 1.8 s to go
  expect(worthWorkers(folder, 100, 1, 1000)).toBe(false); // it is not known yet
  expect(worthWorkers(folder, 600, 0, 1000)).toBe(true); // the first file takes long
  expect(worthWorkers({}, 600, 10, 1000)).toBe(false);
  expect(worthWorkersAsSource(folder, 600, 10, 1000)).toBe(false); // as TypeScript
});

describe("one clear error", () => {
  const job = (body: string) => {
    const entry = join(scratch(), "worker.mjs");
    writeFileSync(entry, `import { parentPort } from "node:worker_threads";\n${body}`);
    const { records } = dataset;
    return { root: "x", preprocessing, records, workers: 2, entry: pathToFileURL(entry) };
  };

  test.each([
    [
      "ends",
      `parentPort.on("message", () => process.exit(3));`,
      /^a worker thread .* \(at [^)]+\): it ended with code 3$/,
    ],
    ["throws", `parentPort.on("message", () => { throw new Error("no\\nmore"); });`, /^a worker thread .*: no$/],
    ["does not start", `import "./nowhere.js";`, /^a worker thread .*: Cannot find module/],
  ])("where a worker %s, naming the files that it had", async (_, body, says) => {
    await expect(prepareInWorkers(job(body), () => {})).rejects.toThrow(says);
  });

  test("where whoever takes the results throws", async () => {
    const body = `parentPort.on("message", ({ index }) => parentPort.postMessage({ index, result: { path: "", reason: "" } }));`;
    const take = () => {
      throw new Error("enough");
    };
    await expect(prepareInWorkers(job(body), take)).rejects.toThrow("enough");
  });

  test("where workers are asked for data that are no files", async () => {
    const { name, records, skipped } = dataset;
    const generated: Dataset = { name, records, skipped, read: () => Promise.reject(new Error("not asked")) };
    await expect(prepareAll(generated, preprocessing, { workers: 2 })).rejects.toThrow(
      "copies: worker threads read files of a folder, and it is none",
    );
  });
});
