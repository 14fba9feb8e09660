import { expect, test } from "vitest";
import { pairedTest } from "../src/retrieval/significance.js";
import { Random } from "../src/random.js";
import { mixedAgainstSingle, mixedFigure, mixedMarkdown, mixedWords } from "../src/sweeps/mixed.js";
import type { PointResult } from "../src/sweeps/point.js";
import type { Modality } from "../src/types.js";

const N = 40;
const READING = "trained, mean";

/** A point that answers the first `right` of 40 queries of each modality at rank 1, and the others at rank 3. */
function point(
  seed: number,
  modalities: readonly Modality[] | undefined,
  right: Partial<Record<Modality, number>>,
  method: "mae" | "simdino" = "mae",
) {
  const asked: Modality[] = ["xray", "ct"];
  const roles = { trained: right, untrained: { xray: 10, ct: 10 }, pixels: { xray: 5, ct: 12 } };
  const ranked = {
    patients: Object.fromEntries(asked.map((m) => [`label ${m} ${m}`, Array.from({ length: N }, (_, i) => `p${i}`)])),
    rows: Object.entries(roles).flatMap(([role, of]) =>
      asked.map((m) => ({
        ...{ role, pooling: role === "pixels" ? "none" : "mean", variant: "plain", task: "label", from: m, to: m },
        ranks: Array.from({ length: N }, (_, i) => (i < ((of as Partial<Record<Modality, number>>)[m] ?? 0) ? 1 : 3)),
      })),
    ),
  };
  const setting = modalities ? `${modalities.join()} alone` : "base";
  const rows = asked.map((m) => ({ from: m, to: m, chance: { 1: 0.125 } }));
  return {
    ...{ id: `${method}-s${seed}-${setting}`, setting, isBase: modalities === undefined },
    variant: { method, seed, modalities },
    resolved: { dataSeed: seed },
    training: { steps: modalities ? 450 : 1800 },
    rows: { perModality: rows, crossModal: [], pairs: [], mri: [] },
    ranked,
  } as unknown as PointResult;
}

const results = [
  point(7, undefined, { xray: 30, ct: 20 }),
  point(17, undefined, { xray: 32, ct: 25 }),
  point(7, ["xray"], { xray: 20, ct: 0 }),
  point(17, ["xray"], { xray: 20, ct: 0 }),
  point(7, ["ct"], { xray: 0, ct: 21 }),
];
const options = { seed: 7, rounds: 200, reading: () => READING };
const rows = mixedAgainstSingle(results, options);

test("each run on one modality meets the mixed run of its seed, on that modality alone", () => {
  expect(rows.map(({ modality, seeds, queries, patients }) => [modality, seeds, queries, patients])).toEqual([
    ["xray", [7, 17], 2 * N, 2 * N],
    ["ct", [7], N, N], // seed 17 has no run on CT: the mixed run of that seed does not count
  ]);
  const [xray, ct] = rows;
  expect([xray.mixed[0], xray.alone[0], xray.untrained[0], xray.pixels[0]]).toEqual([0.775, 0.5, 0.25, 0.125]);
  expect([ct.mixed[0], ct.alone[0], ct.pixels[0], ct.chance]).toEqual([0.5, 0.525, 0.3, 0.125]);
  expect(xray.perSeed).toEqual([0.25, 0.3]);
  expect(xray.overSeeds).toEqual([expect.closeTo(0.275 - 12.7062 * 0.025, 3), expect.closeTo(0.275 + 12.7062 * 0.025, 3)]); // prettier-ignore
  expect([ct.perSeed.length, ct.overSeeds]).toEqual([1, null]);
});

test("two methods on one modality are two rows, each beside its own mixed run", () => {
  const both = [
    ...results,
    point(7, undefined, { xray: 36, ct: 38 }, "simdino"),
    point(7, ["xray"], { xray: 28, ct: 0 }, "simdino"),
  ];
  const found = mixedAgainstSingle(both, options);
  expect(found.map(({ method, modality, mixed, alone }) => [method, modality, mixed[0], alone[0]])).toEqual([
    ["mae", "xray", 0.775, 0.5],
    ["mae", "ct", 0.5, 0.525],
    ["simdino", "xray", 0.9, 0.7],
  ]);
});

test("the difference is tested in pairs over patients, those of two seeds being two people, with Holm's correction", () => {
  const [{ comparison }, { comparison: ct }] = rows;
  expect(comparison.difference.value).toBeCloseTo(0.275, 12);
  const won = [...new Array<number>(22).fill(1), ...new Array<number>(2 * N - 22).fill(0)];
  const { p } = pairedTest(won, won.map(() => 0), won.map((_, i) => `${i}`), { random: new Random(1) }); // prettier-ignore
  expect(comparison.p).toBeCloseTo(p, 12); // 22 patients won and none lost: 2 / 2²²
  expect([comparison.family, comparison.verdict, comparison.adjusted]).toEqual([2, "above", 2 * p]);
  expect([ct.p, ct.verdict]).toEqual([1, "not told apart"]); // one patient lost
});

test("table, words and figure are made from these numbers", () => {
  const table = mixedMarkdown(rows, { data: "made up" });
  expect(table).toMatch(
    /\| MAE \| xray \| 7, 17 \| 80 \| 0\.125 \| 0\.125 \[.*\| \+0\.275 \[.*\| < 0\.001 \| above \|/,
  );
  expect(table).toContain(
    "made up, seeds 7, 17, 40 queries a seed; read as MAE: trained, mean; steps: MAE 1800 mixed, 450 alone",
  );
  expect(mixedWords(rows)).toMatch(
    /higher than the same method on that modality alone in 1 of 2; .*above in 1 .*below in 0/,
  );
  const { caption, numbers } = mixedFigure(rows, { data: "made up" });
  expect(caption).toMatch(/from the same method on that modality alone.* 80 queries, 2 seeds/);
  expect(numbers.map(({ label }) => label)).toEqual(["X-ray", "CT"]);
});

test("a sweep without single-modality runs has nothing to show, and says so", () => {
  expect(mixedAgainstSingle(results.slice(0, 2), options)).toEqual([]);
  expect(() => mixedMarkdown([], { data: "made up" })).toThrow("expected a run of one modality, got none");
});
