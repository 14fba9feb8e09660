import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Random } from "../src/random.js";
import { bootstrap, bootstrapMean, drawGroups, exactAtEnds, quantile, quantileOf } from "../src/retrieval/bootstrap.js";
import { evaluateRetrieval } from "../src/retrieval/protocol.js";
import {
  averagePrecision,
  chanceAveragePrecision,
  chancePrecision,
  chanceRecallAtK,
  chanceReciprocalRank,
  firstRank,
  precisionAtK,
  recallAtK,
  reciprocalRank,
} from "../src/retrieval/recall.js";
import { exactSearch } from "../src/retrieval/search.js";
import { setOf } from "./sets.js";

test("metrics of a ranking, by hand", () => {
  const ranked = Uint8Array.from([0, 1, 0, 1]);
  expect([1, 2, 4, 9].map((k) => recallAtK(ranked, k))).toEqual([0, 1, 1, 1]);
  expect([1, 2, 4, 9].map((k) => precisionAtK(ranked, k))).toEqual([0, 1 / 2, 1 / 2, 1 / 2]);
  expect(averagePrecision(ranked)).toBe((1 / 2 + 2 / 4) / 2);
  expect([firstRank(ranked), reciprocalRank(ranked)]).toEqual([2, 1 / 2]);
  expect([firstRank([0, 0]), reciprocalRank([0, 0]), averagePrecision([0, 0]), recallAtK([], 1), precisionAtK([], 1)]) // prettier-ignore
    .toEqual([Infinity, 0, 0, 0, 0]);
});

interface Fixture {
  ks: number[];
  query: { vectors: number[][]; labels: string[]; groups: string[] };
  gallery: { vectors: number[][]; labels: string[]; groups: string[] };
  rows: { recall: number[]; precision: number[]; ap: number; rr: number }[];
}

test("every query's recall, precision, AP and reciprocal rank equal numpy's and scikit-learn's", () => {
  const fixture = JSON.parse(readFileSync("test/fixtures/retrieval.json", "utf8")) as Fixture;
  const { query, gallery, ks } = fixture;
  const queries = setOf(query.vectors, { name: "q", region: query.labels, groups: query.groups });
  const items = setOf(gallery.vectors, { name: "g", region: gallery.labels, groups: gallery.groups });
  const found = exactSearch(queries, items, items.n);
  fixture.rows.forEach((expected, q) => {
    const order = Array.from(found.indices.subarray(q * found.k, (q + 1) * found.k)).filter((g) => g >= 0);
    const ranked = order.map((g) => Number(gallery.labels[g] === query.labels[q]));
    expect(ks.map((k) => recallAtK(ranked, k))).toEqual(expected.recall);
    ks.forEach((k, i) => expect(precisionAtK(ranked, k)).toBeCloseTo(expected.precision[i], 12));
    expect(averagePrecision(ranked)).toBeCloseTo(expected.ap, 12);
    expect(reciprocalRank(ranked)).toBeCloseTo(expected.rr, 12);
  });

  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const report = evaluateRetrieval(queries, items, {
    label: "region",
    ks,
    bootstrap: { random: new Random(1), rounds: 10 },
  });
  ks.forEach((k, i) => {
    expect(report.recallAtK[k].value).toBeCloseTo(mean(fixture.rows.map((r) => r.recall[i])), 12);
    expect(report.precisionAtK[k].value).toBeCloseTo(mean(fixture.rows.map((r) => r.precision[i])), 12);
  });
  expect(report.mAP.value).toBeCloseTo(mean(fixture.rows.map((r) => r.ap)), 12);
  expect(report.mrr.value).toBeCloseTo(mean(fixture.rows.map((r) => r.rr)), 12);
});

test("recall never falls as k grows", () => {
  const random = new Random(2);
  for (let trial = 0; trial < 200; trial++) {
    const ranked = Array.from({ length: 12 }, () => Number(random.chance(0.2)));
    for (let k = 1; k < 12; k++) expect(recallAtK(ranked, k + 1)).toBeGreaterThanOrEqual(recallAtK(ranked, k));
  }
});

test("chance, by hand", () => {
  expect(chanceRecallAtK(1, 10, 3)).toBeCloseTo(0.3, 12);
  expect(chanceRecallAtK(2, 4, 2)).toBeCloseTo(1 - 1 / 6, 12); // C(2,2)/C(4,2) = 1/6
  expect([chanceRecallAtK(8, 10, 3), chanceRecallAtK(0, 10, 3), chanceRecallAtK(1, 5, 9)]).toEqual([1, 0, 1]);
  expect(chancePrecision(3, 12)).toBe(0.25);
  expect(chanceAveragePrecision(1, 2)).toBeCloseTo(3 / 4, 12);
  expect(chanceAveragePrecision(7, 7)).toBeCloseTo(1, 12);
  expect(chanceReciprocalRank(1, 2)).toBeCloseTo(3 / 4, 12);
  expect(chanceReciprocalRank(7, 7)).toBe(1);
  expect(() => chanceRecallAtK(3, 2, 1)).toThrow("chance: expected between 0 and 2 relevant items, got 3");
});

test("the formulas of chance are the means over all orders of a small gallery", () => {
  for (const [relevant, n] of [
    [1, 1],
    [1, 5],
    [2, 6],
    [4, 7],
  ] as const) {
    // Every way to place the relevant items is as likely: enumerate the subsets of size `relevant`.
    const orders = Array.from({ length: 2 ** n }, (_, bits) =>
      Array.from({ length: n }, (_, r) => (bits >> r) & 1),
    ).filter((order) => order.reduce((sum, hit) => sum + hit, 0) === relevant);
    const mean = (metric: (ranked: number[]) => number): number =>
      orders.reduce((sum, order) => sum + metric(order), 0) / orders.length;
    for (let k = 1; k <= n; k++) {
      expect(chanceRecallAtK(relevant, n, k)).toBeCloseTo(
        mean((order) => recallAtK(order, k)),
        12,
      );
      expect(chancePrecision(relevant, n)).toBeCloseTo(
        mean((order) => precisionAtK(order, k)),
        12,
      );
    }
    expect(chanceAveragePrecision(relevant, n)).toBeCloseTo(mean(averagePrecision), 12);
    expect(chanceReciprocalRank(relevant, n)).toBeCloseTo(mean(reciprocalRank), 12);
  }
});

test("quantiles are numpy's", () => {
  expect(quantile([0, 1, 2], 0.25)).toBe(0.5);
  expect(quantile([1, 2, 4, 8], 0.9)).toBeCloseTo(6.8, 12); // numpy.quantile([1, 2, 4, 8], .9)
  expect(quantile([5], 0.3)).toBe(5);
});

test("the interval of equal values has no width, and one seed gives one interval", () => {
  const groups = ["a", "b", "c"];
  expect(bootstrapMean([1, 1, 1], groups, { random: new Random(1) })).toEqual({ value: 1, low: 1, high: 1 });
  const twice = [7, 7].map((seed) => bootstrapMean([0, 1, 5], groups, { random: new Random(seed) }));
  expect(twice[0]).toEqual(twice[1]);
});

test("a 95 % interval of a mean holds the truth about 95 times in 100", () => {
  const random = new Random(11);
  const groups = Array.from({ length: 60 }, (_, i) => `p${i}`);
  let covered = 0;
  for (let trial = 0; trial < 600; trial++) {
    const values = groups.map(() => Number(random.chance(0.4)));
    const { low, high } = bootstrapMean(values, groups, { random, rounds: 300 });
    if (low <= 0.4 && 0.4 <= high) covered++;
  }
  // 600 trials have a standard error of 0.009; the percentile interval of 60 values is known to be a little short.
  expect(covered / 600).toBeGreaterThan(0.91);
  expect(covered / 600).toBeLessThan(0.98);
});

test("patients with many queries widen the interval: rows that always agree count as one", () => {
  const values = Array.from({ length: 200 }, (_, i) => Number(Math.floor(i / 10) % 2 === 0));
  const alone = bootstrapMean(values, values.map((_, i) => `row ${i}`), { random: new Random(1) }); // prettier-ignore
  const grouped = bootstrapMean(values, values.map((_, i) => `patient ${Math.floor(i / 10)}`), { random: new Random(1) }); // prettier-ignore
  expect(grouped.value).toBe(alone.value);
  const ratio = (grouped.high - grouped.low) / (alone.high - alone.low);
  expect(ratio).toBeGreaterThan(2.5); // √10 = 3.2 in theory
  expect(ratio).toBeLessThan(4);
});

test("a quantile of values in any order is that of the same values sorted", () => {
  const random = new Random(5);
  for (let n = 1; n < 60; n++) {
    const values = Float64Array.from({ length: n }, () => (n % 2 === 0 ? random.int(4) : random.normal()));
    for (const q of [0, 0.025, 0.5, 0.975, 1]) {
      expect(quantileOf(values.slice(), q)).toBe(quantile(values.slice().sort(), q));
    }
  }
});

test("resamples asked for twice are the same, and the generator goes on from the same place", () => {
  const [once, again, another] = [new Random(3), new Random(3), new Random(4)];
  const drawn = drawGroups(5, 100, once);
  expect(drawGroups(5, 100, again)).toEqual(drawn);
  expect(again.state()).toEqual(once.state());
  expect(drawGroups(5, 100, another)).not.toEqual(drawn);
  for (let round = 0; round < 100; round++) {
    expect(drawn.subarray(5 * round, 5 * round + 5).reduce((sum, x) => sum + x, 0)).toBe(5);
  }
});

test("a statistic that a resample leaves undefined skips that round", () => {
  const groups = ["a", "b"];
  const onlyA = (weights: Int32Array): number[] => [weights[0] > 0 ? 1 : NaN];
  expect(bootstrap(groups, onlyA, { random: new Random(1), rounds: 50 })).toEqual([{ value: 1, low: 1, high: 1 }]);
});

test("a bootstrap without rows, rounds or a level is refused in one line", () => {
  const random = new Random(1);
  expect(() => bootstrapMean([], [], { random })).toThrow("bootstrap: expected at least one row, got none");
  expect(() => bootstrapMean([1], ["a", "b"], { random })).toThrow("bootstrap: 1 values for 2 rows");
  expect(() => bootstrapMean([1], ["a"], { random, rounds: 0 })).toThrow("expected rounds ≥ 1");
  expect(() => bootstrapMean([1], ["a"], { random, level: 95 })).toThrow("a level in (0, 1), got 1000 and 95");
});

test("a rate of exactly 0 or 1 gets the exact binomial interval, any other keeps its own", () => {
  const all = exactAtEnds({ value: 1, low: 1, high: 1 }, 24, 0.95);
  expect(all.low).toBeCloseTo(0.8575, 4); // scipy.stats.binomtest(24, 24).proportion_ci().low
  expect(exactAtEnds({ value: 0, low: 0, high: 0 }, 24, 0.95).high).toBeCloseTo(1 - 0.8575, 4);
  const other = { value: 0.5, low: 0.4, high: 0.6 };
  expect(exactAtEnds(other, 24, 0.95)).toBe(other);
});
