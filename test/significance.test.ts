import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Random } from "../src/random.js";
import { evaluateQueries, evaluateRetrieval, outcome } from "../src/retrieval/protocol.js";
import { exactSignFlip, holm, pairedTest } from "../src/retrieval/significance.js";
import { compare, remarkOn, type Rivals } from "../src/analysis/comparisons.js";
import { randomSet, setOf } from "./sets.js";

interface Case {
  readonly a: number[];
  readonly b: number[];
  readonly groups: string[];
  readonly p: number;
}

interface Fixture {
  readonly whole: Case[];
  readonly real: Case[];
  readonly single: Case[];
  readonly holm: { readonly p: number[]; readonly adjusted: number[] };
  readonly torchmetrics: {
    readonly recall: Record<string, number>;
    readonly precision: Record<string, number>;
    readonly mAP: number;
    readonly mrr: number;
  };
}

const read = <T>(name: string): T => JSON.parse(readFileSync(`test/fixtures/${name}.json`, "utf8")) as T;
const fixture = read<Fixture>("significance");
const options = { random: new Random(7), bootstrapRounds: 100 };

test("p of whole differences equals scipy's over all sign patterns, several queries a patient", () => {
  for (const { a, b, groups, p } of fixture.whole) {
    const found = pairedTest(a, b, groups, options);
    expect(found.p).toBeCloseTo(p, 10);
    expect(found.method).toBe("exact");
  }
});

test("p of one query a patient is McNemar's exact test", () => {
  for (const { a, b, groups, p } of fixture.single) expect(pairedTest(a, b, groups, options).p).toBeCloseTo(p, 10);
});

test("p of differences that are not whole equals scipy's where all patterns are counted, and comes near where drawn", () => {
  for (const { a, b, groups, p } of fixture.real) {
    expect(pairedTest(a, b, groups, options).p).toBeCloseTo(p, 10);
    const drawn = pairedTest(a, b, groups, { ...options, rounds: 4000 - 1 });
    if (2 ** groups.length > 3999) expect(drawn.method).toBe("drawn");
    expect(Math.abs(drawn.p - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / 3999) + 1e-3);
  }
});

test("Holm's correction equals statsmodels', never lowers a p and keeps their order", () => {
  const { p, adjusted } = fixture.holm;
  holm(p).forEach((value, i) => expect(value).toBeCloseTo(adjusted[i], 12));
  expect(holm([0.01, 0.04, 0.03])).toEqual([0.03, 0.06, 0.06]);
  expect(holm([])).toEqual([]);
});

test("five patients won and none lost is 2 in 32, and no difference at all is 1", () => {
  const groups = ["a", "b", "c", "d", "e", "f"];
  const won = pairedTest([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0], groups, options);
  expect([won.p, won.groups, won.informative]).toEqual([2 / 32, 6, 5]);
  expect(won.difference.value).toBeCloseTo(5 / 6, 12);
  expect(pairedTest([1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0], groups, options).p).toBe(1);
  expect(exactSignFlip([1, 1, 1])).toBe(2 / 8);
});

test("many queries of few patients are few observations", () => {
  const groups = Array.from({ length: 60 }, (_, i) => `p${i % 3}`);
  const [a, b] = [groups.map(() => 1), groups.map(() => 0)];
  expect(pairedTest(a, b, groups, options).p).toBe(2 / 8); // as queries of 60 patients: 2 / 2⁶⁰
});

test("where there is no difference, p is below 0.05 in about 5 of 100 trials", () => {
  const random = new Random(5);
  const trials = 600;
  let [low, drawn] = [0, 0];
  for (let trial = 0; trial < trials; trial++) {
    const groups = Array.from({ length: 40 }, (_, i) => `p${i}`);
    const [a, b] = [0, 1].map(() => groups.map(() => random.uniform()));
    const found = pairedTest(a, b, groups, { random, rounds: 199, bootstrapRounds: 1 });
    random.next(); // other signs in the next trial
    if (found.p <= 0.05) low++;
    if (found.method === "drawn") drawn++;
  }
  expect(drawn).toBe(trials);
  expect(low / trials).toBeGreaterThan(0.025);
  expect(low / trials).toBeLessThan(0.08);
});

test("metrics of a report equal torchmetrics'", () => {
  type Side = { vectors: number[][]; labels: string[]; groups: string[] };
  const { query, gallery, ks } = read<{ ks: number[]; query: Side; gallery: Side }>("retrieval");
  const queries = setOf(query.vectors, { name: "q", region: query.labels, groups: query.groups });
  const items = setOf(gallery.vectors, { name: "g", region: gallery.labels, groups: gallery.groups });
  const report = evaluateRetrieval(queries, items, { label: "region", ks, bootstrap: { ...options, rounds: 1 } });
  const { recall, precision, mAP, mrr } = fixture.torchmetrics;
  for (const k of ks.map(String)) {
    expect(report.recallAtK[k].value).toBeCloseTo(recall[k], 6);
    expect(report.precisionAtK[k].value).toBeCloseTo(precision[k], 6);
  }
  expect(report.mAP.value).toBeCloseTo(mAP, 6);
  expect(report.mrr.value).toBeCloseTo(mrr, 6);
});

test("what single queries scored averages to the report, whatever the metric", () => {
  const random = new Random(3);
  const [queries, gallery] = [randomSet(30, 4, random, "q"), randomSet(40, 4, random, "g")];
  const { report, outcomes } = evaluateQueries(queries, gallery, { label: "region", ks: [1, 5], bootstrap: options });
  const mean = (of: Float64Array) => of.reduce((sum, x) => sum + x, 0) / of.length;
  for (const k of [1, 5]) {
    expect(mean(outcome(outcomes, "recallAtK", k))).toBeCloseTo(report.recallAtK[k].value, 12);
    expect(mean(outcome(outcomes, "precisionAtK", k))).toBeCloseTo(report.precisionAtK[k].value, 12);
  }
  expect(mean(outcome(outcomes, "mAP"))).toBeCloseTo(report.mAP.value, 12);
  expect(mean(outcome(outcomes, "mrr"))).toBeCloseTo(report.mrr.value, 12);
  expect(() => outcome(outcomes, "recallAtK", 3)).toThrow("k = 3 was not measured; there are k = 1, 5");
});

test("a family is corrected by its own size, and its remark counts what is told apart", () => {
  const random = new Random(9);
  const classes = Array.from({ length: 60 }, (_, i) => ["a", "b", "c"][i % 3]);
  const noisy = (noise: number, name: string) =>
    setOf(
      classes.map((c) => ["a", "b", "c"].map((other) => Number(other === c) + noise * random.normal())),
      { name, region: classes },
    );
  const judged = (noise: number) =>
    evaluateQueries(noisy(noise, "q"), noisy(noise, "g"), { label: "region", ks: [1], bootstrap: options }).outcomes;
  const [good, bad, other] = [judged(0.05), judged(30), judged(30)];
  const about = { against: "untrained", baseline: "untrained" } as const;
  const rivals: Rivals[] = [
    { ...about, encoder: "MAE", column: "ct", ours: good, theirs: bad },
    { ...about, encoder: "MAE", column: "xray", ours: bad, theirs: other },
    { ...about, encoder: "MAE", column: "mri", ours: bad, theirs: good },
    { encoder: "MAE", against: "raw pixels", baseline: "pixels", column: "ct", ours: good, theirs: bad },
  ];
  const found = compare(rivals, { metric: "recallAtK", k: 1, ...options, rounds: 100 });
  expect(found.map(({ family }) => family)).toEqual([3, 3, 3, 1]);
  expect(found.map(({ verdict }) => verdict)).toEqual(["above", "not told apart", "below", "above"]);
  expect(found[3].adjusted).toBe(found[3].p);
  const [untrained, pixels] = remarkOn(found);
  expect(untrained).toMatch(/Holm over 3: above in 1 \(MAE on ct, p < 0.001\), below in 1 \(MAE on mri, p < 0.001\)$/);
  expect(pixels).toMatch(/raw pixels of the same variant, Holm over 1: above in 1/);
  const short = { ...other, rows: other.rows.slice(1) };
  expect(() => compare([{ ...rivals[0], theirs: short }], { metric: "recallAtK", k: 1, ...options })).toThrow(
    "MAE and untrained did not answer the same queries in ct",
  );
});

test("wrong lengths are refused in one line", () => {
  expect(() => pairedTest([1], [1, 0], ["a"], options)).toThrow("got 1, 2 and 1");
  expect(() => pairedTest([], [], [], options)).toThrow("got 0, 0 and 0");
});

test("the interval of the difference holds the truth about 95 times in 100, over patients of several queries", () => {
  const random = new Random(21);
  let held = 0;
  for (let trial = 0; trial < 300; trial++) {
    const groups = Array.from({ length: 60 }, (_, i) => `p${Math.floor(i / 2)}`);
    const ofPatient = Array.from({ length: 30 }, () => random.normal());
    const a = groups.map((_, i) => 0.3 + ofPatient[Math.floor(i / 2)] + 0.2 * random.normal());
    const zero = groups.map(() => 0);
    const { difference } = pairedTest(a, zero, groups, { random, rounds: 1, bootstrapRounds: 200 });
    if (difference.low <= 0.3 && 0.3 <= difference.high) held++;
    random.next();
  }
  expect(held / 300).toBeGreaterThan(0.88); // a percentile interval of 30 patients is a little short
  expect(held / 300).toBeLessThan(0.98);
});
