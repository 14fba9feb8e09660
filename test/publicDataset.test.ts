/** Public sets on this machine as data sets: their labels, patients and splits. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { entryOf, loadCatalog } from "../src/datasets/catalog.js";
import type { DataRecord } from "../src/datasets/dataset.js";
import { openDataset } from "../src/datasets/open.js";
import { splitPublic, type SplitRow } from "../src/datasets/publicSplit.js";
import { retrievalLabelOf } from "../src/datasets/publicSets.js";
import { stackSets } from "../src/embeddings.js";
import { startEngine } from "../src/engine/engine.js";
import { embedEvaluation, evaluationParts, loadData, untrainedEncoder } from "../src/experiment.js";
import { writeNpz } from "../src/npz.js";
import { presetOf } from "../src/presets.js";
import { prepareAll } from "../src/transforms/prepare.js";
import { Random } from "../src/random.js";
import { InputError, type Split } from "../src/types.js";
import { amos22, busi, chestXray14, hyperKvasir, lidcIdri, totalSegmentator } from "./standIns.js";

const data = mkdtempSync(join(tmpdir(), "m3ret-public-"));
const catalog = loadCatalog(new URL("../datasets.yaml", import.meta.url).pathname);
const open = (name: string, seed?: number) => openDataset(name, { catalog, cacheDir: data, seed });

beforeAll(async () => {
  vi.stubEnv("M3RET_PUBLIC", data);
  await chestXray14(join(data, "chestxray14"));
  await hyperKvasir(join(data, "hyperkvasir"));
  await busi(join(data, "busi"));
  totalSegmentator(join(data, "totalsegmentator"));
  lidcIdri(join(data, "lidc-idri"));
  amos22(join(data, "amos22"));
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(data, { recursive: true });
});

/** Groups by side; every group must be on one. */
function sidesOf(records: readonly DataRecord[]): Record<Split, Set<string>> {
  const sides: Record<Split, Set<string>> = { train: new Set(), gallery: new Set(), query: new Set() };
  for (const { group, split } of records) sides[split].add(group);
  const all = Object.values(sides).flatMap((groups) => [...groups]);
  expect(new Set(all).size, "groups on one side only").toBe(all.length);
  return sides;
}

test("a set opens by its name, split by patient as its publisher says; test patients are half gallery, half queries", async () => {
  const { records, entry } = await open("chestxray14");
  const sides = sidesOf(records);
  const numbers = (groups: Set<string>) => [...groups].map((group) => Number(group.split("/")[1]));
  expect(numbers(sides.train).every((patient) => patient % 4 !== 0)).toBe(true);
  expect([...numbers(sides.gallery), ...numbers(sides.query)].sort((a, b) => a - b)).toEqual([4, 8, 12, 16, 20]);
  expect(Math.abs(sides.gallery.size - sides.query.size)).toBe(1);
  expect(entry).toMatchObject({ kind: "public", retrievalLabel: "finding", crossModalLabel: "region" });
  expect(records[0].labels).toEqual({ region: "chest", finding: "No Finding", view: "PA" });
});

test("train, val and test in a table become train, gallery and query", async () => {
  const { records } = await open("totalsegmentator");
  expect(records.map(({ split }) => split).join()).toBe(
    [...Array<string>(8).fill("train"), "gallery", "gallery", "query", "query"].join(),
  );
});

test("where the publisher has no split, ours has every class on every side, and another seed draws another", async () => {
  const { records } = await open("busi");
  expect(records).toHaveLength(30); // no masks
  for (const finding of ["benign", "malignant", "normal"]) {
    const sides = sidesOf(records.filter(({ labels }) => labels.finding === finding));
    expect(Object.values(sides).map(({ size }) => size)).toEqual([6, 2, 2]);
  }
  const other = (await open("busi", 8)).records;
  expect(other.map(({ split }) => split)).not.toEqual(records.map(({ split }) => split));
});

test("MRI of a set is on the judged sides alone, also where the publisher trains on it", async () => {
  const { records } = await open("amos22");
  const mri = records.filter(({ modality }) => modality === "mri");
  expect(mri).toHaveLength(2);
  expect(mri.some(({ split }) => split === "train")).toBe(false);
  expect(records.filter(({ modality }) => modality === "ct").every(({ split }) => split === "train")).toBe(true);
});

test("every record is read and prepared as its kind: pictures, videos, NIfTI volumes, DICOM series", async () => {
  for (const [name, kinds] of [
    ["hyperkvasir", { image: 40, video: 6 }],
    ["totalsegmentator", { volume: 12 }],
    ["lidc-idri", { volume: 5 }],
  ] as const) {
    const dataset = await open(name);
    const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] } as const;
    const { samples, skipped } = await prepareAll(dataset, { ...dataset.entry.preprocessing, size });
    expect(skipped).toEqual([]);
    const counts: Record<string, number> = {};
    for (const { kind } of samples) counts[kind] = (counts[kind] ?? 0) + 1;
    expect(counts, name).toEqual(kinds);
    expect(samples.map(({ kind }) => kind)).toEqual(dataset.records.map(({ kind }) => kind));
  }
});

test("a set that is not here says in one line how to get it, by fetch or by a person", async () => {
  const said = async (name: string) => {
    const error = await open(name).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InputError);
    return (error as Error).message;
  };
  expect(await said("kvasir-v2")).toBe(
    `${join(data, "kvasir-v2")}: no such folder; m3ret fetch kvasir-v2 brings it (M3RET_PUBLIC names the folder of all public sets)`,
  );
  expect(await said("mura")).toMatch(/^[^\n]*access is agreement[^\n]*ask for access on the home page[^\n]*$/);
});

test("a MedMNIST set opens by its name from its npz file, with the splits that are in it", async () => {
  mkdirSync(join(data, "medmnist-pneumoniamnist"));
  const images = (n: number) => ({ shape: [n, 28, 28], data: new Uint8Array(n * 784).map((_, i) => i % 251) });
  const labels = (n: number) => ({ shape: [n, 1], data: new Uint8Array(n).map((_, i) => i % 2) });
  const counts = { train: 6, val: 3, test: 2 };
  const arrays = Object.entries(counts).flatMap(([part, n]) => [
    [`${part}_images`, images(n)],
    [`${part}_labels`, labels(n)],
  ]);
  writeNpz(join(data, "medmnist-pneumoniamnist", "pneumoniamnist.npz"), Object.fromEntries(arrays));
  const { records, entry } = await open("medmnist-pneumoniamnist");
  expect(records.map(({ split }) => split).join()).toBe(
    [...Array<string>(6).fill("train"), ...Array<string>(3).fill("gallery"), "query", "query"].join(),
  );
  expect(records[1].labels[entry.retrievalLabel]).toBe("pneumonia");
});

test("a set larger than the memory it may take is refused before a file is read, and the line says how to go on", async () => {
  const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] } as const;
  const options = { cacheDir: data, size, catalogFile: catalog.file };
  const { train, gallery, query } = await loadData("busi", options);
  const needed = 3 * 4 * 256 * (train.length + gallery.length + query.length);
  expect((await loadData("busi", { ...options, memory: needed })).train).toHaveLength(train.length);
  await expect(loadData("busi", { ...options, memory: needed - 1 })).rejects.toThrow(
    /^busi: its \d+ samples need [\d.e-]+ GB of memory, and [\d.e-]+ GB may be used for them; m3ret manifest busi .* m3ret pretrain --data busi --manifest files.jsonl .*$/,
  );
});

test("a set is embedded part by part to the same rows as in one piece, without reading what is trained on", async () => {
  const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] } as const;
  const options = { cacheDir: data, size, catalogFile: catalog.file };
  const encoder = untrainedEncoder(presetOf("smoke"), 7);
  const engine = await startEngine("eager");
  const whole = (await embedEvaluation("u", "untrained", encoder, await loadData("busi", options), { engine })).find(
    ({ pooling, variant }) => pooling === "mean" && variant === "plain",
  )!.set;
  const sets = [];
  for await (const part of evaluationParts("busi", options, 3 * 12 * 256)) {
    expect(part.train).toEqual([]);
    expect(part.gallery.length + part.query.length).toBeLessThanOrEqual(3);
    const [, both] = await embedEvaluation("u", "untrained", encoder, part, { engine });
    sets.push(both.set);
  }
  expect(sets.length).toBe(4);
  const { vectors, ...rest } = stackSets(sets);
  const { vectors: expected, ...notes } = whole;
  expect(rest).toEqual(notes);
  vectors.forEach((x, i) => expect(Math.abs(x - expected[i])).toBeLessThan(1e-4));
});

test("whom the publisher has on two sides is never trained on", () => {
  const row = (group: string, official: SplitRow["official"]): SplitRow => {
    return { group, official, modality: "ct", label: "a" };
  };
  const rows = [row("a", "train"), row("a", "test"), row("b", "train"), row("c", "gallery"), row("c", "train")];
  const sides = splitPublic([...rows, row("d", "query"), row("d", "gallery")], new Random(7));
  expect(sides.get("a")).not.toBe("train");
  expect([sides.get("b"), sides.get("c")]).toEqual(["train", "gallery"]);
  expect(sides.get("d")).not.toBe("train");
});

test("combinations of findings that few patients have do not all go to train", () => {
  const rows = Array.from({ length: 300 }, (_, i): SplitRow => {
    return { group: `p${i}`, official: null, modality: "xray", label: `findings ${i}` };
  });
  const sides = [...splitPublic(rows, new Random(7)).values()];
  expect(sides.filter((side) => side === "train")).toHaveLength(180);
  expect(sides.filter((side) => side === "query")).toHaveLength(60);
});

test("every public set that can be listed is judged by a label that it has", () => {
  for (const [name, set] of Object.entries(catalog.public)) {
    if (set.records === undefined) continue;
    expect(Object.keys(entryOf(catalog, name).labels).concat("region"), name).toContain(retrievalLabelOf(set));
  }
});
