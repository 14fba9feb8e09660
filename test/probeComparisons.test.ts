import { expect, test } from "vitest";
import { probeRows, whyNoProbe } from "../src/analysis/probe.js";
import { probeTable, type ProbeResult } from "../src/analysis/probeTable.js";
import type { Role } from "../src/analysis/tables.js";
import { embeddingSet, type EmbeddingSet } from "../src/embeddings.js";
import { compareProbes, fewShotFigure, probesOf } from "../src/measures.js";
import { Random } from "../src/random.js";
import { pairedTest } from "../src/retrieval/significance.js";
import type { Split } from "../src/types.js";

/** MRI of patients with one or two pictures each and classes of uneven size; `noise` 0.3 is easy, 30 is chance. */
function mri(noise: number, seed: number): EmbeddingSet {
  const random = new Random(seed);
  const sizes = { head: 18, knee: 9, spine: 6 };
  const rows = (["gallery", "query"] as Split[]).flatMap((split) =>
    Object.entries(sizes).flatMap(([region, n]) =>
      Array.from({ length: n }, (_, i) => ({
        split,
        region,
        group: `${split} ${region} ${i - (i % 3 === 2 ? 1 : 0)}`,
      })),
    ),
  );
  const names = Object.keys(sizes);
  const vectors = rows.flatMap(({ region }) => names.map((one) => Number(one === region) + noise * random.normal()));
  const notes = rows.map(({ group, region }, i) => {
    return { id: `${i}`, group, modality: "mri" as const, labels: { region } };
  });
  return embeddingSet(
    Float32Array.from(vectors),
    notes,
    rows.map(({ split }) => split),
  );
}

const options = { label: "region", seed: 7, bootstrapRounds: 100, draws: 5 };
const named = (name: string, role: Role, set: EmbeddingSet) => ({
  ...{ name, role, set },
  variant: "plain" as const,
  pooling: "mean" as const,
});
const good = mri(0.2, 1);
const bad = mri(30, 2);
const probes = probesOf(
  [
    named("raw pixels", "pixels", bad),
    named("untrained, mean", "untrained", bad),
    named("MAE, mean", "trained", good),
    named("SimDINO, mean", "trained", bad),
  ],
  options,
);
const rounds = 100;
const tests = compareProbes(probes, { seed: 7, rounds });

test("what each row scored has the balanced accuracy for its mean, however uneven the classes", () => {
  const { report, outcomes } = probeRows(mri(0.7, 3), options);
  const mean = (values: Float64Array) => values.reduce((sum, x) => sum + x, 0) / values.length;
  expect(mean(outcomes.linear)).toBeCloseTo(report.linear.balancedAccuracy.value, 12);
  expect(mean(outcomes.knn)).toBeCloseTo(report.knn.balancedAccuracy.value, 12);
  expect(report.linear.balancedAccuracy.value).toBeLessThan(1);
  expect(report.fewShot.length).toBeGreaterThan(1);
  report.fewShot.forEach(({ shots, balancedAccuracy }, i) => {
    expect(outcomes.fewShot[i].shots).toBe(shots);
    expect(mean(outcomes.fewShot[i].values)).toBeCloseTo(balancedAccuracy.value, 12);
  });
});

test("trained encoders are tested against their twin and pixels, on linear probe and k-NN, Holm over all of them", () => {
  expect(tests.table).toHaveLength(2 * 2 * 2); // columns, trained encoders, baselines
  for (const { encoder, family, verdict, adjusted, p, metric, baseline } of tests.table) {
    expect([family, metric]).toEqual([4, "balancedAccuracy"]);
    expect(adjusted).toBeGreaterThanOrEqual(p);
    expect(verdict, `${encoder} against ${baseline}`).toBe(encoder === "MAE, mean" ? "above" : "not told apart");
  }
  // The very same vectors as its rivals': no row differs.
  const same = tests.table.filter(({ encoder }) => encoder === "SimDINO, mean");
  expect(same.map(({ p, informative, difference }) => [p, informative, difference.value])).toEqual([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]); // prettier-ignore
});

test("a probe's comparison is the paired test by patients of what its rows scored", () => {
  const [one] = tests.table;
  const outcomesOf = (name: string) => probes.find((probe) => probe.name === name)!.outcomes!;
  const [ours, theirs] = [outcomesOf(one.encoder), outcomesOf(one.against)];
  const random = new Random(7).fork("probes, paired").fork(one.column);
  const again = pairedTest(ours.linear, theirs.linear, ours.groups, { random });
  expect([one.column, one.p, one.n, one.groups]).toEqual(["linear: balanced accuracy", again.p, again.n, again.groups]);
  expect(one.difference.value).toBeCloseTo(again.difference.value, 12);
  expect(one.groups).toBeLessThan(one.n); // some patients have two pictures
});

test("few shots are a family of their own, and table, remarks and caption say what was found", () => {
  const shots = probes[0].report.fewShot.length;
  expect(tests.fewShot).toHaveLength(shots * 2 * 2);
  expect(new Set(tests.fewShot.map(({ family }) => family))).toEqual(new Set([shots * 2]));
  const table = probeTable(probes, { data: "made up", seed: 7, comparisons: tests.table });
  const row = table.rows.find(({ name }) => name === "MAE, mean")!;
  expect(row.cells.map((cell) => cell!.marks.includes("†"))).toEqual([false, true, false, true]); // AUROC is not tested
  expect(table.remarks![0]).toMatch(/against the untrained encoder .* Holm over 4: above in 2 .* below in 0/);
  const figure = fewShotFigure(probes, { dataSet: "made up", seed: 7 }, tests.fewShot);
  expect(figure.caption).toMatch(/paired test against raw pixels of the same variant, Holm over \d+: above in/);
  expect(probeTable(probes, { data: "made up", seed: 7 }).remarks).toBeUndefined();
});

test("a column of label sets has no one class to probe, and that is said", () => {
  const set = { ...good, meta: { labelSets: "region" } };
  expect(whyNoProbe(set, options)).toBe("region holds label sets, and a probe has one class for each picture");
});

test("a report alone cannot be tested", () => {
  const bare: ProbeResult[] = probes.map(({ name, role, variant, report }) => ({ name, role, variant, report }));
  expect(() => compareProbes(bare, { seed: 7, rounds })).toThrow("got the report alone");
});
