import { join } from "node:path";
import { expect, test } from "vitest";
import { PRIMARY } from "../src/claims.js";
import type { EmbeddingSet } from "../src/embeddings.js";
import type { NamedEmbeddings } from "../src/experiment.js";
import { growthFigure, growthReadings, loadGrowth, type GrowthPoint } from "../src/growth.js";
import { judge } from "../src/judge.js";
import { alignmentFigure, alignmentOf, contestants, fewShotFigure, probesOf } from "../src/measures.js";
import { METHOD_NAMES, presetOf } from "../src/presets.js";
import { Random } from "../src/random.js";
import { runExperiment } from "../src/run.js";
import { MODALITIES, type Modality, type Split } from "../src/types.js";
import { cache } from "./cliFixture.js";
import { scratch } from "./helpers.js";
import { setOf } from "./sets.js";

const options = { label: "region", crossModalLabel: "region", dataSet: "sets", seed: 7, rounds: 50 };

/** Patients with all five modalities in four regions; `signal` is how well vectors tell the region, whatever the modality. */
function patients(signal: number): EmbeddingSet {
  const random = new Random(`growth ${signal}`);
  const rows: number[][] = [];
  const notes = { region: [] as string[], groups: [] as string[], modalities: [] as Modality[] };
  const splits: Split[] = [];
  for (let p = 0; p < 48; p++) {
    for (const modality of MODALITIES) {
      rows.push(Array.from({ length: 10 }, (_, t) => (t === p % 4 ? signal : 0) + random.normal()));
      notes.region.push(`region ${p % 4}`);
      notes.groups.push(`p${p}`);
      notes.modalities.push(modality);
      splits.push(p < 24 ? "gallery" : "query");
    }
  }
  return { ...setOf(rows, notes), splits };
}

test("a reading at the end of a run is what the tables say, and chance is the share of right answers in the gallery", () => {
  const set = patients(2);
  const readings = growthReadings(set, options);
  expect(readings.map(({ panel }) => panel.replace("<br>", " "))).toEqual([
    "Recall@1 within",
    "Recall@1 across",
    "Recall@1 in MRI",
    "debiased CKA X-ray, CT",
    "gap X-ray, CT",
  ]);
  const named = { name: "MAE, CLS", role: "trained", pooling: "cls", variant: "plain", set } as const;
  const judgement = judge([named], { ...options, data: "sets", ks: [1] });
  const mean = (of: readonly { recallAtK: Readonly<Record<string, { value: number }>> }[]) =>
    of.reduce((sum, row) => sum + row.recallAtK["1"].value, 0) / of.length;
  expect(readings[0].value).toBeCloseTo(mean(judgement.perModality.rows), 12);
  expect(readings[1].value).toBeCloseTo(
    mean(judgement.crossModal.rows.filter(({ variant }) => variant === "plain")),
    12,
  );
  expect(readings[2].value).toBeCloseTo(judgement.mri.rows[0].recallAtK["1"].value, 12);
  for (const { chance } of readings.slice(0, 3)) expect(chance).toBeCloseTo(0.25, 12);
});

test("growth is drawn against the step beside chance and the untrained encoder, and needs two encoders", () => {
  const growth = [0, 10, 20].map((step): GrowthPoint => ({ method: "mae", step, set: patients(step / 10) }));
  const untrained = {
    name: "untrained, mean, whitened",
    role: "untrained",
    pooling: "mean",
    variant: "whitened",
    set: patients(0),
  } as const;
  const figure = growthFigure(growth, "mae", untrained, options);
  const within = figure.numbers.filter(({ panel, x }) => panel === "Recall@1 within" && x !== null);
  expect(within.map(({ x }) => x)).toEqual([0, 10, 20]);
  expect(Number(within[2].value)).toBeGreaterThan(Number(within[0].value) + 0.2);
  expect(figure.caption).toMatch(/seed 7; bars: 95 % intervals; dashed: chance, untrained, mean, whitened\.$/);
  expect(() => growthFigure(growth, "simdino", untrained, options)).toThrow("the run kept 0 of its encoders");
});

test("a run leaves the growth of both methods, and measures of alignment and of MRI", async () => {
  const cacheDir = process.env.M3RET_CACHE ?? cache;
  const run = await runExperiment({ preset: "smoke", seed: 7, runs: scratch(), cacheDir });
  const growth = loadGrowth(run.folder, run.embeddings);
  const steps = (method: "mae" | "simdino") =>
    growth.filter((point) => point.method === method).map(({ step }) => step);
  const { mae, simdino } = presetOf("smoke");
  expect(steps("mae")).toEqual([0, 1, 3, 5, 10, mae.steps]);
  expect(steps("simdino")).toEqual([0, 1, 3, 5, simdino.steps]);
  const end = growth.filter((point) => point.method === "mae").at(-1)!;
  expect(end.set).toBe(run.embeddings.find(({ name }) => name === PRIMARY.MAE)!.set);
  expect(loadGrowth(join(run.folder, "elsewhere"), run.embeddings)).toEqual([]);
  expect(growth[0].set.ids).toEqual(end.set.ids);

  const shown = contestants(run.embeddings);
  expect(shown.filter(({ role }) => role === "trained").map(({ name }) => name)).toEqual(Object.values(PRIMARY));
  const about = { dataSet: "phantom-smoke", seed: 7 };
  const rows = alignmentOf(shown, {
    label: "region",
    seed: 7,
    rounds: 19,
    bootstrapRounds: 20,
    measures: ["debiased CKA"],
  });
  expect(rows.map(({ encoder }) => encoder)).toEqual(shown.map(({ name }) => name));
  expect(alignmentFigure(rows, "debiased CKA", about).numbers).toHaveLength(shown.length);
  const probes = probesOf(shown, { label: "region", seed: 7, bootstrapRounds: 20, draws: 3 });
  expect(probes.map(({ name }) => name)).toEqual(shown.map(({ name }) => name));
  expect(fewShotFigure(probes, about).caption).toContain("query rows of");
  const posing: NamedEmbeddings = { ...shown[0], set: { ...shown[0].set, meta: { ceiling: "ceiling: saw MRI" } } };
  expect(() => probesOf([posing], { label: "region", seed: 7 })).toThrow('expected the role "ceiling"');
  expect(METHOD_NAMES).toEqual({ mae: "MAE", simdino: "SimDINO" });
}, 120_000);
