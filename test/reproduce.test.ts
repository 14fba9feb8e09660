import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { JSDOM } from "jsdom";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import type { ResultRow } from "../src/judge.js";
import type { Results } from "../src/reproduce.js";
import { MODALITIES, PRETRAIN_MODALITIES, type Modality } from "../src/types.js";
import { cache, m3ret, m3retJson, newFolder, packageRoot, start, until, workFolder } from "./cliFixture.js";
import { noRealdata, realdata, whereRealdata } from "./readersFixture.js";

const work = workFolder();
afterAll(work.remove);

interface Reproduced {
  readonly out: string;
  readonly runs: string;
  readonly results: Results;
}

async function reproduce(...more: string[]): Promise<Reproduced> {
  const here = newFolder(work.path);
  const [out, runs] = [join(here, "figures"), join(here, "runs")];
  const where = ["--out", out, "--runs", runs, "--cache", cache];
  const results = await m3retJson<Results>(["reproduce", "--preset", "smoke", "--no-notebooks", ...where, ...more]);
  return { out, runs, results };
}

/** What the log says of a run, without its times. */
function losses({ results }: Reproduced, method: "mae" | "simdino"): unknown[] {
  const lines = readFileSync(join(results.encoders[method].folder, "log.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => {
    const { step, loss, gradientNorm, bucket } = JSON.parse(line) as Record<string, unknown>;
    return { step, loss, gradientNorm, bucket };
  });
}

const directions = (rows: readonly ResultRow[]) => new Set(rows.map(({ from, to }) => `${from} ${to}`));
const encoders = (rows: readonly ResultRow[]) => new Set(rows.map(({ encoder }) => encoder));

/** Baselines and both methods, with both poolings. The network for photographs is optional, and here it is installed. */
const NAMES = [
  "MAE, CLS",
  "MAE, mean",
  "SimDINO, CLS",
  "SimDINO, mean",
  "HOG",
  "natural images, MobileNetV3",
  "raw pixels",
  "untrained, CLS",
  "untrained, mean",
];
const HISTOGRAM = "intensity histogram"; // it has nothing to whiten that would mean anything
const centred = [...NAMES, HISTOGRAM].map((name) => `${name}, centred`);
const plainAndWhitened = [...NAMES.flatMap((name) => [name, `${name}, whitened`]), HISTOGRAM];

/** Each number of a row stands inside its interval, and beside what chance would give. */
function expectHonest(row: ResultRow): void {
  const { n, chance, recallAtK, mAP, mrr, encoder, from, to } = row;
  const name = `${encoder}: ${from} → ${to}`;
  expect(n.query > 0 && n.gallery > 0, name).toBe(true);
  expect(Object.keys(recallAtK), name).toEqual(["1", "5"]);
  for (const { value, low, high } of [...Object.values(recallAtK), mAP, mrr]) {
    expect(0 <= low && low <= value && value <= high && high <= 1, name).toBe(true);
  }
  expect(recallAtK["5"].value, name).toBeGreaterThanOrEqual(recallAtK["1"].value);
  expect(0 < chance["1"] && chance["1"] < chance["5"] && chance["5"] <= 1, name).toBe(true);
}

describe("m3ret reproduce --preset smoke", () => {
  let first: Reproduced;
  let again: Reproduced;
  let other: Reproduced;

  beforeAll(async () => {
    [first, again, other] = await Promise.all([reproduce(), reproduce(), reproduce("--seed", "8")]);
  }, 300_000);

  test("ends in order on Ctrl-C while it judges, and goes on from there to the same numbers", async () => {
    const here = newFolder(work.path);
    const [out, runs] = [join(here, "figures"), join(here, "runs")];
    cpSync(again.runs, runs, { recursive: true });
    const embedded = join(runs, "smoke-phantom-smoke-s7", "embeddings", "index.json"); // the last file before judging
    rmSync(embedded);
    const command = ["reproduce", "--preset", "smoke", "--resume", "--out", out, "--runs", runs, "--cache", cache];
    const run = start(command); // with notebooks: a kernel is at work
    await until(() => existsSync(embedded), run);
    run.process.kill("SIGINT");
    const { code, stderr } = await run.finished;
    expect(code, stderr).toBe(130);
    expect(stderr).toMatch(/^stopped after training; --resume goes on$/m);
    expect(existsSync(join(out, "results.json"))).toBe(false);
    const { tables } = await m3retJson<Results>([...command, "--no-notebooks"]);
    expect(tables).toEqual(again.results.tables);
  });

  test("writes into results.json what it prints with --json", () => {
    expect(JSON.parse(readFileSync(join(first.out, "results.json"), "utf8"))).toEqual(first.results);
    expect(first.results).toMatchObject({ preset: "smoke", seed: 7, notebooks: [], unasked: [] });
  });

  test("trains both methods, whose loss is in the log for every step", () => {
    const { mae, simdino } = first.results.encoders;
    expect(mae).toMatchObject({ method: "MAE", steps: 20, batchSize: 16 });
    expect(simdino).toMatchObject({ method: "SimDINO", steps: 10, batchSize: 16 });
    for (const method of ["mae", "simdino"] as const) {
      const { steps, firstLoss, lastLoss } = first.results.encoders[method];
      expect(losses(first, method)).toHaveLength(steps);
      expect([firstLoss, lastLoss].every(Number.isFinite)).toBe(true);
    }
    expect(mae.lastLoss).toBeLessThan(mae.firstLoss);
  });

  test("never trains on MRI, and judges on all five modalities", () => {
    const { counts } = first.results.data;
    for (const modality of MODALITIES) {
      const { train, gallery, query } = counts[modality]!;
      expect(gallery > 0 && query > 0, modality).toBe(true);
      expect(train > 0, modality).toBe(modality !== "mri");
    }
    for (const method of ["mae", "simdino"] as const)
      expect(JSON.stringify(losses(first, method))).not.toContain("mri");
  });

  test("compares both methods with raw pixels, an untrained encoder and chance, within each modality", () => {
    const { perModality } = first.results.tables;
    expect(directions(perModality)).toEqual(new Set(PRETRAIN_MODALITIES.map((m) => `${m} ${m}`)));
    expect(encoders(perModality)).toEqual(new Set(plainAndWhitened));
    expect(perModality).toHaveLength(4 * plainAndWhitened.length);
    perModality.forEach(expectHonest);
  });

  test("asks every modality for every other, and X-ray and CT for the same patient", () => {
    const { crossModal, pairs } = first.results.tables;
    const others = (from: Modality) => PRETRAIN_MODALITIES.filter((to) => to !== from).map((to) => `${from} ${to}`);
    expect(directions(crossModal)).toEqual(new Set(PRETRAIN_MODALITIES.flatMap(others)));
    expect(directions(pairs)).toEqual(new Set(["xray ct", "ct xray"]));
    for (const rows of [crossModal, pairs]) {
      expect(encoders(rows)).toEqual(new Set([...plainAndWhitened, ...centred]));
      rows.forEach(expectHonest);
    }
  });

  test("asks every modality, and all of them, for the pooled gallery", () => {
    const { pooled } = first.results.tables;
    const { counts } = first.results.data;
    const galleryOfAll = PRETRAIN_MODALITIES.reduce((sum, m) => sum + counts[m]!.gallery, 0);
    const asking = [...PRETRAIN_MODALITIES, "all"].map((from) => `${from} all`);
    expect(new Set(pooled.map(({ from, to }) => `${from} ${to}`))).toEqual(new Set(asking));
    for (const { n, chance, recallAtK } of pooled) {
      expect(n.gallery).toBe(galleryOfAll);
      expect(recallAtK["1"].low).toBeLessThanOrEqual(recallAtK["1"].value);
      expect(chance["1"]).toBeLessThan(0.2);
    }
  });

  test("asks the gallery from train with every encoder: within, across, and from MRI, which is not in it", () => {
    const { data, tables } = first.results;
    const { trainGallery } = tables;
    const into = (to: Modality) => [...PRETRAIN_MODALITIES, "mri"].map((from) => `${from} ${to}`);
    expect(directions(trainGallery)).toEqual(new Set(PRETRAIN_MODALITIES.flatMap(into)));
    expect(encoders(trainGallery)).toEqual(new Set(plainAndWhitened));
    trainGallery.forEach(expectHonest);
    for (const { from, to, n } of trainGallery) {
      expect(n).toMatchObject({ query: data.counts[from]!.query, gallery: data.counts[to]!.train, ownGroupPairs: 0 });
    }
  });

  test("stores the rules of every question by name and version, and every row names its own", () => {
    const { protocols, tables } = first.results;
    const names = [
      "within-modality",
      "pooled",
      "cross-modal",
      "exact-pairs",
      "train-gallery",
      "train-gallery-cross-modal",
    ];
    expect(new Set(Object.keys(protocols))).toEqual(new Set(names.map((name) => `${name}@1`)));
    for (const row of Object.values(tables).flat()) {
      const { relevance, label, ks } = protocols[row.rules];
      expect([relevance === "group" ? "group" : label, ks.map(String)]).toEqual([
        row.label,
        Object.keys(row.recallAtK),
      ]);
    }
  });

  test("compares every trained row with its untrained twin and with raw pixels, at every K", () => {
    const { comparisons } = first.results;
    const trained = 2 * 2 * 2; // methods, poolings, plain and whitened
    expect(comparisons.perModality).toHaveLength(2 * 2 * trained * PRETRAIN_MODALITIES.length); // baselines, K = 1 and 5
    for (const { encoder, against, baseline, p, adjusted, family } of Object.values(comparisons).flat()) {
      expect(against).toBe(
        encoder.replace(/^(MAE|SimDINO)(, CLS|, mean)/, baseline === "pixels" ? "raw pixels" : "untrained$2"),
      );
      expect(adjusted).toBeGreaterThanOrEqual(p);
      expect(adjusted).toBeLessThanOrEqual(Math.min(1, family * p) + 1e-12);
    }
  });

  test("writes every table as LaTeX, CSV and Markdown, and the paired tests", () => {
    const { tableFiles } = first.results;
    const names = new Set(
      tableFiles.filter((file) => !file.includes("paired")).map((file) => file.replace(/\.\w+$/, "")),
    );
    for (const name of names) {
      for (const ending of ["tex", "csv", "md"]) expect(tableFiles).toContain(`${name}.${ending}`);
    }
    expect([...names]).toEqual(
      expect.arrayContaining([
        ...["within-recall-1", "within-recall-1-macro", "pooled-map", "mri-mrr"],
        ...["train-gallery-recall-1", "train-gallery-cross-modal-recall-1"],
      ]),
    );
    for (const file of tableFiles)
      expect(readFileSync(join(first.out, "tables", file), "utf8").length, file).toBeGreaterThan(100);
    expect(readFileSync(join(first.out, "tables", "within-recall-1.tex"), "utf8")).toContain(
      "protocol within-modality@1",
    );
  });

  test("has MRI in the rows of MRI, against itself and all that was seen, and in no others", () => {
    const { mri, trainGallery, ...seen } = first.results.tables;
    expect(trainGallery.map(({ to }) => to)).not.toContain("mri");
    expect(directions(mri)).toEqual(new Set(["mri", ...PRETRAIN_MODALITIES].map((to) => `mri ${to}`)));
    expect(encoders(mri)).toEqual(new Set(plainAndWhitened));
    mri.forEach(expectHonest);
    for (const row of Object.values(seen).flat()) expect([row.from, row.to]).not.toContain("mri");
  });

  test("gives every claim of every method a verdict with its numbers", () => {
    const { claims } = first.results;
    expect(claims).toHaveLength(10);
    for (const { claim, verdict, measured } of claims) {
      expect(claim).toMatch(/^(MAE|SimDINO): /);
      expect(["yes", "partly", "no"]).toContain(verdict);
      expect(measured).toMatch(/^Recall@[15][ :].*chance 0\.\d\d/);
    }
  });

  test("draws every figure that it lists, four times: svg that parses, png, html that needs no network, numbers", () => {
    const { figures } = first.results;
    const drawn = figures.filter((file) => !/^(print|gallery|viewer)/.test(file));
    const names = [...new Set(drawn.map((file) => file.replace(/\.\w+$/, "")))];
    expect(names).toEqual(expect.arrayContaining(["loss-mae", "loss-simdino", "recall-by-modality", "mri-transfer"]));
    expect(names).toEqual(
      expect.arrayContaining(["alignment-xray-ct", "growth-mae", "growth-simdino", "mri-few-shot"]),
    );
    expect(names.filter((name) => name.startsWith("umap-"))).toHaveLength(6);
    expect(drawn).toHaveLength(4 * names.length);
    for (const name of names) {
      const read = (ending: string) => readFileSync(join(first.out, `${name}.${ending}`));
      const svg = read("svg").toString("utf8");
      expect(svg.startsWith("<svg"), name).toBe(true);
      const { documentElement } = new JSDOM(svg, { contentType: "image/svg+xml" }).window.document; // throws on bad XML
      expect(documentElement.querySelectorAll("path, rect, text").length, name).toBeGreaterThan(10);
      expect([...read("png").subarray(0, 4)], name).toEqual([0x89, 0x50, 0x4e, 0x47]);
      const html = read("html").toString("utf8");
      expect(html, name).toMatch(/^<!doctype html>/i);
      expect(html, name).not.toMatch(/<(script|link)[^>]+(src|href)="(https?:)?\/\//);
      expect(JSON.parse(read("json").toString("utf8")), name).toMatchObject({ seed: 7 });
    }
  });

  test("sets every figure for one and for two columns of a paper, and draws what was retrieved", () => {
    const { figures } = first.results;
    const names = new Set(figures.filter((file) => /^[^/]+\.html$/.test(file)).map((file) => file.slice(0, -5)));
    for (const name of names) {
      for (const [column, points] of Object.entries({ single: 252, double: 515.25 })) {
        const pdf = readFileSync(join(first.out, "print", `${name}-${column}.pdf`), "latin1");
        expect(pdf, name).toMatch(new RegExp(`/MediaBox \\[0 0 ${points} `));
      }
    }
    const galleries = figures.filter((file) => /^gallery.*png$/.test(file));
    expect(galleries.length).toBeGreaterThanOrEqual(4);
    for (const png of galleries) {
      const { caption, numbers } = JSON.parse(readFileSync(join(first.out, png.replace("png", "json")), "utf8"));
      expect(caption).toMatch(/seed 7/);
      expect(numbers.every(({ asked, got, hit }: Record<string, unknown>) => hit === (asked === got ? 1 : 0))).toBe(
        true,
      );
    }
  });

  test("twice with the same seed gives the same losses, vectors, tables and pictures, bit for bit", () => {
    for (const method of ["mae", "simdino"] as const) expect(losses(again, method)).toEqual(losses(first, method));
    expect(again.results.tables).toEqual(first.results.tables);
    expect(again.results.claims).toEqual(first.results.claims);
    for (const name of ["raw-pixels", "untrained-cls", "mae-mean", "simdino-cls"]) {
      const [a, b] = [first, again].map(({ runs }) =>
        readFileSync(join(runs, "smoke-phantom-smoke-s7", "embeddings", `${name}.npz`)),
      );
      expect(a.equals(b), name).toBe(true);
    }
    for (const svg of first.results.figures.filter((file) => file.endsWith(".svg"))) {
      const [a, b] = [first, again].map(({ out }) => readFileSync(join(out, svg), "utf8"));
      expect(a === b, svg).toBe(true);
    }
  });

  test("with another seed gives other losses and other tables", () => {
    expect(other.results.seed).toBe(8);
    for (const method of ["mae", "simdino"] as const) expect(losses(other, method)).not.toEqual(losses(first, method));
    expect(other.results.tables.perModality).not.toEqual(first.results.tables.perModality);
  });

  test("--resume uses a run that is complete, and gives its tables again", async () => {
    const where = ["--out", join(work.path, "resumed"), "--runs", first.runs, "--cache", cache, "--resume"];
    const args = ["reproduce", "--preset", "smoke", "--no-notebooks", ...where];
    const { code, stdout, stderr } = await m3ret(args);
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain("pretrain");
    for (const part of ["Retrieval within each modality", "chance", "raw pixels", "untrained", "The paper's claims"]) {
      expect(stdout).toContain(part);
    }
    const results = JSON.parse(readFileSync(join(work.path, "resumed", "results.json"), "utf8")) as Results;
    expect(results.tables).toEqual(first.results.tables);
  });
});

/** The catalogue's entry of real files, with a few files of each class and small pictures, so that a test has time for it. */
function fewRealFiles(): string {
  type Settings = Record<string, unknown> & { preprocessing: Record<string, unknown> };
  const source = parse(readFileSync(join(packageRoot, "datasets.yaml"), "utf8")) as {
    datasets: { realdata: Settings };
  };
  const { realdata: entry } = source.datasets;
  const size = { image: [1, 32, 32], video: [8, 32, 32], volume: [8, 32, 32] };
  const few = { ...entry, limitPerClass: 8, preprocessing: { ...entry.preprocessing, size } };
  const file = join(work.path, "datasets.yaml");
  writeFileSync(file, stringify({ datasets: { realdata: { ...few, path: realdata } } }));
  return file;
}

describe.skipIf(noRealdata)(`m3ret reproduce --data realdata${whereRealdata}`, () => {
  test("trains on real X-ray, ultrasound, endoscopy and CT, never on MRI, and judges MRI too", async () => {
    const { results } = await reproduce("--data", "realdata", "--catalog", fewRealFiles());
    const { counts, skipped, name } = results.data;
    expect(name).toBe("realdata");
    for (const modality of MODALITIES) {
      const { train, gallery, query } = counts[modality]!;
      expect(gallery > 0 && query > 0, modality).toBe(true);
      expect(train > 0, modality).toBe(modality !== "mri");
    }
    const { perModality, mri } = results.tables;
    expect(directions(perModality)).toEqual(new Set(PRETRAIN_MODALITIES.map((m) => `${m} ${m}`)));
    expect(directions(mri)).toContain("mri mri");
    for (const rows of [perModality, mri]) expect(encoders(rows)).toEqual(new Set(plainAndWhitened));

    expect(skipped).toEqual([]); // every labelled file is read, whatever its format
  });
});
