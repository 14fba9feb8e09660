/** Batches from worker threads. Workers run compiled files, so this tests `dist`, as a user has it. */
import { execFile } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { encoderConfig } from "../src/encoder/config.js";
import { Random } from "../src/random.js";
import { drawStep, planBatches, type Steps } from "../src/trainers/batches.js";
import { collate, collateBy, type Collate, type Collation } from "../src/trainers/collate.js";
import type { BatchSource, LoaderOptions } from "../src/trainers/loader.js";
import { openBatches as openFromSources } from "../src/trainers/loader.js";
import { train } from "../src/trainers/loop.js";
import { mae } from "../src/trainers/mae.js";
import type { Batch } from "../src/trainers/objective.js";
import { pretrain, readLog } from "../src/trainers/pretrain.js";
import { sharePictures } from "../src/trainers/sharePictures.js";
import { PRETRAIN_MODALITIES, type Kind, type Sample, type Shape3 } from "../src/types.js";
import { barSample, barSamples, scratch } from "./helpers.js";

const compiled = new URL("../dist/trainers/loader.js", import.meta.url);
if (!existsSync(compiled)) throw new Error(`${fileURLToPath(compiled)} is not there: build it first (npm run build)`);
const { openBatches } = (await import(compiled.href)) as { openBatches: typeof openFromSources };

const encoder = { ...encoderConfig("nano", [2, 4, 4]), width: 24, depth: 2, heads: 2 };
const size: Record<Kind, Shape3> = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] };
const small: Record<Kind, Shape3> = { image: [1, 8, 8], video: [2, 8, 8], volume: [2, 8, 8] };
const SPECS: Record<Collation["method"], Collation> = {
  mae: { method: "mae", encoder, view: { scale: [0.5, 1], size }, maskRatio: 0.75 },
  simdino: {
    method: "simdino",
    encoder,
    views: {
      globals: { count: 2, scale: [0.5, 1], size },
      locals: { count: 2, scale: [0.1, 0.4], size: small },
      flip: 0.5,
      jitter: { brightness: 0.2, contrast: 0.2, gamma: 0.2, chance: 0.8 },
      blur: { chance: 0.3, sigma: [0.3, 1.2] },
    },
  },
};

/** Images, volumes and videos; every third in colour. */
const samples: Sample[] = Array.from({ length: 24 }, (_, i) => {
  const kind = (["image", "volume", "video"] as const)[i % 3];
  const sample = barSample(PRETRAIN_MODALITIES[i % 3], kind, size[kind], i);
  if (i % 2) return sample;
  return { ...sample, grey: false, pixels: sample.pixels.map((x, at) => (at % 7 ? x : 0)) };
});

const stepsOf = (from: number, to: number): Steps => ({
  plan: planBatches(samples, { batchSize: 8 }),
  root: new Random(7),
  from,
  to,
});

/** `toEqual`, and quick: the bytes of the arrays are compared as they are. */
function expectSame(got: Batch, wanted: Batch): void {
  const form = ({ bucket, grids, arrays }: Batch) => ({
    bucket,
    grids,
    arrays: Object.entries(arrays).map(([name, { shape, data }]) => [name, shape, data.constructor.name]),
  });
  expect(form(got)).toEqual(form(wanted));
  for (const [name, { data }] of Object.entries(wanted.arrays)) {
    const [ours, theirs] = [got.arrays[name].data, data].map((of) =>
      Buffer.from(of.buffer, of.byteOffset, of.byteLength),
    );
    expect(ours.equals(theirs), `${name} of ${got.bucket}`).toBe(true);
  }
}

/** What the step's batch must be: the definition, in this thread. */
function expected(spec: Collation, step: number): Batch {
  const { places, random } = drawStep(stepsOf(0, 0), step);
  const members = Array.from(places, (place) => samples[place]);
  return collate(spec, members, random);
}

async function withSource<T>(
  collate: Collate,
  steps: Steps,
  options: LoaderOptions,
  use: (source: BatchSource) => Promise<T>,
): Promise<T> {
  const source = openBatches(collate, samples, steps, options);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(Object.entries(SPECS))("%s", (_, spec) => {
  test.each([1, 2])("batches from %i workers are those of this thread, bit for bit", (workers) =>
    withSource(collateBy(spec), stepsOf(0, 20), { workers }, async (source) => {
      expect(source.madeBy).toBe(workers === 1 ? "1 worker thread" : "2 worker threads");
      const buckets = new Set<string>();
      for (let step = 0; step < 20; step++) {
        const batch = await source.next(); // its memory was in use before, from step 3 or so on
        expectSame(batch, expected(spec, step));
        buckets.add(batch.bucket);
      }
      expect(buckets.size).toBeGreaterThan(1);
      await expect(source.next()).rejects.toThrow(/no batch for step 20/);
    }),
  );

  test("a run that goes on in the middle gets the batches that it would have had", () =>
    withSource(collateBy(spec), stepsOf(11, 14), { workers: 2 }, async (source) => {
      for (let step = 11; step < 14; step++) expectSame(await source.next(), expected(spec, step));
    }));
});

test("pixels are copied once to shared memory, one channel of what is grey", () => {
  const shared = sharePictures(samples);
  const channel = (i: number) => samples[i].pixels.length / 3;
  expect(new Set(shared.map(({ pixels }) => pixels.buffer)).size).toBe(1);
  expect(shared[0].pixels.buffer).toBeInstanceOf(SharedArrayBuffer);
  shared.forEach(({ pixels, grey, shape, kind }, i) => {
    expect(pixels).toEqual(samples[i].pixels.subarray(0, grey ? channel(i) : undefined));
    expect({ grey, shape, kind }).toMatchObject({ grey: samples[i].grey, shape: samples[i].shape, kind });
  });
});

/** A worker of our own. `spec.made` counts questions, in memory that both threads see. */
function worker(body: string): URL {
  const path = join(scratch(), "worker.mjs");
  writeFileSync(path, `import { parentPort, workerData } from "node:worker_threads";\n${body}`);
  return pathToFileURL(path);
}

const counting = (bytes: number) =>
  worker(`parentPort.on("message", ({ step, memory }) => {
    Atomics.add(workerData.spec.made, 0, 1);
    const data = new Float32Array(memory ?? new ArrayBuffer(${bytes}));
    parentPort.postMessage({ step, batch: { bucket: String(step), arrays: { data: { shape: [1], data } }, grids: {} } }, [data.buffer]);
  });`);

function counted(): { collate: Collate; made: Int32Array } {
  const made = new Int32Array(new SharedArrayBuffer(4));
  const spec = { method: "mae", made } as unknown as Collation;
  return { made, collate: collateBy(spec) };
}

/** How many are made once nothing more comes; waits for `least` of them. */
async function settled(made: Int32Array, least: number): Promise<number> {
  for (let i = 0; i < 1000 && made[0] < least; i++) await pause(10);
  await pause(40);
  return made[0];
}

describe("how far ahead", () => {
  test.each([
    [2, 1],
    [3, 1],
    [4, 2],
  ])("never more than %i batches exist, and that many are made ahead", async (prefetch, workers) => {
    const { collate, made } = counted();
    await withSource(collate, stepsOf(0, 9), { prefetch, workers, entry: counting(64) }, async (source) => {
      for (let taken = 1; taken <= 9; taken++) {
        expect((await source.next()).bucket).toBe(String(taken - 1));
        // The first batch tells how large they are; until then two are made.
        const most = taken === 1 ? 2 : Math.min(9, taken - 1 + prefetch);
        expect(await settled(made, most)).toBe(most);
      }
    });
  });

  test("batches of 600 MB are made one ahead, whatever was asked", async () => {
    const { collate, made } = counted();
    await withSource(collate, stepsOf(0, 9), { prefetch: 5, workers: 2, entry: counting(6e8) }, async (source) => {
      for (let taken = 1; taken <= 3; taken++) {
        await source.next();
        expect(await settled(made, taken + 1)).toBe(taken + 1);
      }
    });
  }, 30_000);

  test("a batch that takes long does not let later ones overtake it", async () => {
    const slow = worker(`parentPort.on("message", ({ step }) => {
      const data = new Float32Array(1).fill(step);
      const batch = { bucket: String(step), arrays: { data: { shape: [1], data } }, grids: {} };
      setTimeout(() => parentPort.postMessage({ step, batch }), step % 2 ? 0 : 60);
    });`);
    await withSource(collateBy(SPECS.mae), stepsOf(0, 6), { workers: 2, entry: slow }, async (source) => {
      for (let step = 0; step < 6; step++) expect((await source.next()).bucket).toBe(String(step));
    });
  });
});

describe("one clear error", () => {
  test("where a batch cannot be made of the input, when its step comes", async () => {
    const spec: Collation = { ...SPECS.mae, encoder: { channels: 3, patch: [1, 5, 5] } } as Collation;
    await withSource(collateBy(spec), stepsOf(0, 5), { workers: 1 }, async (source) => {
      const error = await source.next().catch((thrown: unknown) => thrown as Error);
      expect(error).toMatchObject({ name: "InputError" });
      expect((error as Error).message).toMatch(/^a picture of .* cannot be cut into patches of \[1, 5, 5\]: [^\n]*$/);
    });
  });

  test("where making it fails otherwise, with the place in the worker", async () => {
    const spec = { ...SPECS.mae, view: { scale: [0.5, 1], size: {} } } as unknown as Collation;
    await withSource(collateBy(spec), stepsOf(3, 5), { workers: 1 }, async (source) => {
      const error = (await source.next().catch((thrown: unknown) => thrown)) as Error;
      expect(error.message).toMatch(/^the batch of step 3 cannot be made: /);
      expect(error.stack).toContain("collate");
    });
  });

  test.each([
    ["ends", `parentPort.on("message", () => process.exit(3));`, /a worker thread .* failed: it ended with code 3$/],
    ["throws", `parentPort.on("message", () => { throw new Error("no\\nmore"); });`, /a worker thread .* failed: no$/],
    ["does not start", `import "./nowhere.js";`, /a worker thread .* failed: Cannot find module/],
  ])("where a worker %s", (_, body, says) =>
    withSource(collateBy(SPECS.mae), stepsOf(0, 5), { workers: 2, entry: worker(body) }, async (source) => {
      await expect(source.next()).rejects.toThrow(says);
      await expect(source.next()).rejects.toThrow(says);
    }),
  );

  test("where MRI or a sample that lacks pixels is among the samples: no worker sees it", () => {
    const mri = [...barSamples(4), barSample("mri", "volume", [4, 16, 16], 0)];
    expect(() => planBatches(mri, { batchSize: 2 })).toThrow(/MRI never enters pretraining/);
    const [first, ...rest] = barSamples(4);
    const short = { ...first, id: "short", pixels: first.pixels.subarray(1) };
    expect(() => planBatches([...rest, short], { batchSize: 2 })).toThrow(
      /^short: expected 768 pixels, which is \[3,1,16,16\], got 767$/,
    );
  });
});

describe("who makes the batches is said", () => {
  const own: Collate = (members, random) => collate(SPECS.mae, members, random);

  test.each<[string, Collate, LoaderOptions]>([
    ["a collation of one's own cannot leave it", own, {}],
    ["no workers were asked for", collateBy(SPECS.mae), { workers: 0 }],
  ])("training thread (%s)", (why, collate, options) =>
    withSource(collate, stepsOf(2, 5), options, async (source) => {
      expect(source.madeBy).toBe(`training thread (${why})`);
      for (let step = 2; step < 5; step++) expectSame(await source.next(), expected(SPECS.mae, step));
    }),
  );

  test("as TypeScript the training thread does it", () => {
    const { madeBy } = openFromSources(collateBy(SPECS.mae), samples, stepsOf(0, 2));
    expect(madeBy).toBe("training thread (worker threads need compiled files)");
  });

  test("in every event and line of the log, with the wait in seconds and as a share of the step", async () => {
    const folder = scratch();
    const objective = mae({ encoder, view: { scale: [0.5, 1], size }, learningRate: 1e-3 });
    const random = new Random(7);
    const run = pretrain(objective, barSamples(8), { folder, steps: 2, batchSize: 4, random, settings: {} });
    for await (const { inputSeconds, inputShare, secondsPerStep, inputBy } of run) {
      expect(inputShare).toBeGreaterThan(0);
      expect(inputShare).toBeLessThan(1);
      expect(inputSeconds / secondsPerStep).toBeCloseTo(inputShare, 6);
      expect(inputBy).toBe("training thread (worker threads need compiled files)");
    }
    for (const line of readLog(folder)) {
      expect(line.inputSeconds / line.secondsPerStep).toBeCloseTo(line.inputShare, 6);
      expect(line.inputBy).toMatch(/^training thread/);
    }
    const events = train(objective, barSamples(8), { steps: 1, batchSize: 4, random, workers: 0 });
    for await (const { inputBy } of events) expect(inputBy).toBe("training thread (no workers were asked for)");
  });
});

/** Runs a program beside the compiled library, to its own end. It gets what `train` needs. */
async function program(body: string): Promise<string> {
  const path = join(scratch(), "program.mjs");
  writeFileSync(
    path,
    `import { mae, train, Random, encoderConfig } from ${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)};
    const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] };
    const objective = mae({ encoder: encoderConfig("nano", [2, 4, 4]), view: { scale: [0.5, 1], size }, learningRate: 1e-3 });
    const pixels = new Float32Array(768).map((_, i) => (i % 9) / 9);
    const samples = Array.from({ length: 8 }, (_, i) => (
      { id: "s" + i, pixels, shape: [3, 1, 16, 16], grey: true, kind: "image", modality: "xray", group: "g" + i, labels: {} }));
    const steps = train(objective, samples, { steps: 1000, batchSize: 4, random: new Random(1), workers: 2 });
    ${body}`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [path], { timeout: 60_000 });
  return stdout.trim();
}

describe("worker threads end", () => {
  test("when the loop is left, and nothing keeps the program running", async () => {
    const said = await program(`
      for await (const { step, inputBy } of steps) if (step === 3) { console.log(inputBy); break; }
      console.log(process.getActiveResourcesInfo().filter((name) => /worker|messageport/i.test(name)).length);`);
    expect(said.split("\n")).toEqual(["2 worker threads", "0"]);
  });

  test("when the loop's body throws", async () => {
    const said = await program(`
      try { for await (const event of steps) throw new Error("enough at " + event.step); }
      catch (error) { console.log(error.message, process.getActiveResourcesInfo().includes("Worker")); }`);
    expect(said).toBe("enough at 0 false");
  });

  test("with the program, where somebody took one step and forgot the rest", async () => {
    expect(await program(`console.log((await steps.next()).value.step);`)).toBe("0");
  });
});
