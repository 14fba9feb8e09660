import { expect, test } from "vitest";
import { collect, type Collected } from "../src/sweeps/collect.js";
import type { PointResult } from "../src/sweeps/point.js";
import { ceilingMarkdown, readingsMarkdown, readingTables } from "../src/sweeps/readingTables.js";
import type { Sweep } from "../src/sweeps/sweepFile.js";
import { readCollected } from "../src/sweeps/read.js";

const N = 20;
const QUESTIONS = [
  { task: "label", from: "xray", to: "xray" },
  { task: "label", from: "xray", to: "ct" },
  { task: "pair", from: "xray", to: "ct" },
] as const;

/** Who finds `right` of 20 answers at rank 1, and the others at rank 5. */
const READERS = [
  { role: "trained", pooling: "cls", variant: "plain" },
  { role: "trained", pooling: "mean", variant: "whitened" },
  { role: "trained", pooling: "mean", variant: "centred" },
  { role: "untrained", pooling: "cls", variant: "plain" },
  { role: "untrained", pooling: "mean", variant: "whitened" },
  { role: "untrained", pooling: "mean", variant: "centred" },
  { role: "pixels", pooling: "none", variant: "plain" },
  { role: "pixels", pooling: "none", variant: "whitened" },
  { role: "pixels", pooling: "none", variant: "centred" },
] as const;

function point(seed: number, right: Readonly<Record<string, number>>): PointResult {
  const chance = { from: "xray", to: "xray", chance: { 1: 0.125 }, recallAtK: { 1: {}, 10: {} } };
  const across = { ...chance, to: "ct" };
  return {
    ...{ sweep: "s", id: `mae-s${seed}`, setting: "mae", label: "base", isBase: true },
    variant: { method: "mae", preset: "smoke", data: "made up", seed },
    resolved: { dataSeed: seed },
    ...{ versions: {}, commit: "c", dirty: false, machine: { cpu: "cpu", cores: 2, node: "v20" }, engine: "e" },
    ...{ finished: "2026-01-01", seconds: 1, parameters: 10 },
    data: { name: "made up", title: "t", label: "region", crossModalLabel: "region", hash: "h".repeat(64), counts: {} },
    training: { steps: 1800, batchSize: 4, samples: 8, patients: 4, lastLoss: 1, warnings: 0 },
    rows: {
      perModality: [chance],
      crossModal: [across],
      mri: [],
      pairs: [{ ...across, chance: { 1: 0.05, 10: 0.5 } }],
    },
    ranked: {
      patients: Object.fromEntries(
        QUESTIONS.map(({ task, from, to }) => [`${task} ${from} ${to}`, Array.from({ length: N }, (_, i) => `p${i}`)]),
      ),
      rows: QUESTIONS.flatMap((question) =>
        READERS.map((reader) => ({
          ...{ ...question, ...reader },
          ranks: Array.from({ length: N }, (_, i) => (i < right[reader.role] ? 1 : 5)),
        })),
      ),
    },
  } as unknown as PointResult;
}

const sweep = { name: "s", title: "t", about: "a", file: "s.yaml", preset: "smoke", seeds: [7, 17], points: [] };
const gather = (...results: PointResult[]) => collect(sweep as unknown as Sweep, results, { rounds: 20 });
const two = gather(
  point(7, { trained: 10, untrained: 4, pixels: 2 }),
  point(17, { trained: 12, untrained: 4, pixels: 2 }),
);

test("the base of a sweep is shown in every reading, with Student's interval over seeds", () => {
  const [values] = readingTables(two);
  const names = [...values.markdown.matchAll(/^\| ([^|]+) \|/gm)].map(([, name]) => name);
  expect(names).toEqual([
    ...["read as", "chance", "raw pixels", "raw pixels, whitened", "raw pixels, centred"],
    ...["untrained, cls", "untrained, mean, whitened", "untrained, mean, centred"],
    ...["MAE, cls", "MAE, mean, whitened", "MAE, mean, centred"],
  ]);
  // 10 and 12 of 20: 0.55 ± 12.7062 · 0.05 reaches beyond what a share can be.
  expect(values.markdown).toMatch(/\| MAE, mean, centred \| 0\.550 \[0\.00, 1\.00\] \|/);
  expect(values.markdown).toMatch(/\| untrained, cls \| 0\.200 \[0\.20, 0\.20\] \|/);
  expect(values.markdown).toContain("20 queries a seed; made up, seeds 7, 17; steps: MAE 1,800. Mean over seeds");
});

test("and question by question: each modality, each direction, and exact pairs at 1 and at their largest K", () => {
  const text = readingsMarkdown(two);
  expect(text).toContain("| read as | xray |");
  expect(text).toContain("| read as | xray → ct |");
  expect(text).toContain("| read as | xray → ct @1 | xray → ct @10 |");
  expect(text).toMatch(/\| chance \| 0\.050 \| 0\.500 \|/);
  expect(text).toMatch(/\| MAE, cls \| 0\.550 \[0\.00, 1\.00\] \| 1\.000 \[1\.00, 1\.00\] \|/);
  expect(text).toMatch(/less raw pixels, treated alike\n\n[^]*\| MAE, mean, centred \| \+0\.450 \[/);
});

test("one seed has values and no interval over seeds, and a file of before has no questions", () => {
  const one = readingTables(gather(point(7, { trained: 10, untrained: 4, pixels: 2 })));
  expect(one[0].markdown).toMatch(/\| MAE, cls \| 0\.500 \| 0\.500 \| 1\.000 \|/);
  expect(one[0].markdown).toContain("One seed: nothing is known of another");
  const before: Collected = JSON.parse(JSON.stringify({ ...two, chances: undefined })) as Collected;
  expect(readingTables(before).map(({ title }) => title)).toEqual([
    "Every reading",
    "Every reading less the untrained encoder, read alike",
    "Every reading less raw pixels, treated alike",
  ]);
  expect(readingTables({ ...two, settings: [] })).toEqual([]);
});

test("what being allowed MRI was worth stands beside what was not, and a sweep without a ceiling says nothing", () => {
  expect(ceilingMarkdown(two)).toBe("");
  const seeds = readCollected("figures/sweeps/seeds.json")!;
  const ceiling = seeds.settings.find(({ role }) => role === "ceiling")!;
  const text = ceilingMarkdown(seeds);
  const read = seeds.primary.mae.replace("trained, ", "");
  const names = [...text.matchAll(/^\| ([^|]+) \|/gm)].map(([, name]) => name);
  expect(names[1]).toBe("chance");
  expect(names.slice(-3)).toEqual([`untrained, ${read}`, `MAE, ${read}`, `MAE, ${read}: ${ceiling.label}`]);
  const values = ceiling.measured.perSeed[`ceiling, ${read}`].mri;
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  expect(text).toContain(`| MAE, ${read}: ${ceiling.label} | ${mean.toFixed(3)} [`);
  expect(text).toMatch(/The ceiling less its method: mri [+−]\d/);
});
