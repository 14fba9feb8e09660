import { expect, test } from "vitest";
import { selectRows, type EmbeddingSet } from "../src/embeddings.js";
import { Random } from "../src/random.js";
import { evaluateRetrieval, median } from "../src/retrieval/protocol.js";
import { randomSet, setOf } from "./sets.js";

const bootstrap = { random: new Random(7), rounds: 200 };
const byRegion = { label: "region", bootstrap };

/** One direction per class. */
function perfect(classes: readonly string[], name: string): EmbeddingSet {
  const all = [...new Set(classes)].sort();
  const rows = classes.map((c) => all.map((other) => Number(other === c)));
  return setOf(rows, { name, region: classes });
}

test("a perfect embedding scores 1", () => {
  const queries = perfect(["head", "chest", "chest"], "q");
  const gallery = perfect(["chest", "head", "chest", "head", "chest", "head"], "g");
  const report = evaluateRetrieval(queries, gallery, { ...byRegion, ks: [1, 3, 6] });
  // Three queries of three groups, all hit: the exact binomial interval, not one without width.
  const one = { value: 1, low: expect.closeTo(0.025 ** (1 / 3), 10), high: 1 };
  expect(report.recallAtK).toEqual({ 1: one, 3: one, 6: one });
  expect([report.precisionAtK[3], report.mAP, report.mrr, report.macro.mAP]).toEqual([one, one, one, one]);
  expect(report.precisionAtK[6].value).toBe(0.5);
  expect(report.medianRank).toBe(1);
});

test("one query that hits does not make a certain result", () => {
  const report = evaluateRetrieval(perfect(["head"], "q"), perfect(["head"], "g"), { ...byRegion, ks: [1] });
  expect(report.recallAtK[1]).toEqual({ value: 1, low: expect.closeTo(0.025, 10), high: 1 });
});

test("a shuffled gallery scores at chance", () => {
  const random = new Random(3);
  const [queries, gallery] = [randomSet(400, 16, random, "q", 6), randomSet(300, 16, random, "g", 6)];
  const report = evaluateRetrieval(queries, gallery, { ...byRegion, bootstrap: { random, rounds: 300, level: 0.999 } });
  for (const k of ["1", "5", "10"]) {
    expect(report.recallAtK[k].low).toBeLessThan(report.chance[k]);
    expect(report.recallAtK[k].high).toBeGreaterThan(report.chance[k]);
    expect(report.precisionAtK[k].low).toBeLessThan(report.chance.precision);
    expect(report.precisionAtK[k].high).toBeGreaterThan(report.chance.precision);
  }
  for (const metric of ["mAP", "mrr"] as const) {
    expect(report[metric].low).toBeLessThan(report.chance[metric]);
    expect(report[metric].high).toBeGreaterThan(report.chance[metric]);
  }
});

test("recall in a report never falls as k grows, and neither does chance", () => {
  const random = new Random(4);
  const ks = [1, 2, 3, 5, 8, 13, 21];
  const report = evaluateRetrieval(randomSet(50, 4, random, "q"), randomSet(40, 4, random, "g"), { ...byRegion, ks });
  for (let i = 1; i < ks.length; i++) {
    expect(report.recallAtK[ks[i]].value).toBeGreaterThanOrEqual(report.recallAtK[ks[i - 1]].value);
    expect(report.chance[ks[i]]).toBeGreaterThanOrEqual(report.chance[ks[i - 1]]);
  }
});

test("a query's own patient cannot help it: the only near item is the patient's own", () => {
  const gallery = setOf([[1, 0], [0, 1], [0, -1]], { name: "g", groups: ["p", "r", "s"], region: ["chest", "chest", "head"] }); // prettier-ignore
  const query = setOf([[1, -0.1]], { name: "q", groups: ["p"], region: ["chest"] });
  const report = evaluateRetrieval(query, gallery, { ...byRegion, ks: [1] });
  expect(report.recallAtK[1].value).toBe(0); // of r and s, s is nearer
  expect(report.chance[1]).toBe(0.5); // one relevant of the two that are left
  expect(report.n.ownGroupPairs).toBe(1);
  expect(evaluateRetrieval(query, gallery, { ...byRegion, ks: [1], excludeOwnGroup: false }).recallAtK[1].value).toBe(
    1,
  );
});

test("a query that nothing can answer is counted and left out, and an unlabelled one asks nothing", () => {
  const gallery = setOf([[1, 0], [0, 1]], { name: "g", region: ["chest", ""] }); // prettier-ignore
  const queries = setOf([[1, 0], [0, 1], [1, 0]], { name: "q", region: ["chest", "foot", ""] }); // prettier-ignore
  const report = evaluateRetrieval(queries, gallery, { ...byRegion, ks: [1] });
  expect(report.n).toEqual({ query: 3, gallery: 2, withoutRelevant: 2, groups: 1, ownGroupPairs: 0 });
  expect(report.recallAtK[1].value).toBe(1);
  expect(Object.keys(report.perClass)).toEqual(["chest"]);
  expect(report.warnings).toContain("2 of 3 queries have no relevant item in the gallery and are left out");
  const lost = selectRows(queries, (i) => i > 0);
  expect(() => evaluateRetrieval(lost, gallery, byRegion)).toThrow("no query has a relevant item in the gallery");
});

test("the macro mean counts a rare class like a common one, and the plain mean is that of the classes by size", () => {
  // Nine chest queries that all hit, one head query that misses.
  const gallery = setOf([[1, 0], [0, 1]], { name: "g", region: ["chest", "head"] }); // prettier-ignore
  const region = [...new Array<string>(9).fill("chest"), "head"];
  const queries = setOf(region.map(() => [1, 0.1]), { name: "q", region }); // prettier-ignore
  const report = evaluateRetrieval(queries, gallery, { ...byRegion, ks: [1] });
  expect(report.recallAtK[1].value).toBeCloseTo(0.9, 12);
  expect(report.macro.recallAtK[1].value).toBe(0.5);
  expect(report.perClass.chest.recallAtK[1]).toMatchObject({ value: 1, high: 1 });
  expect([report.perClass.head.n, report.perClass.head.recallAtK[1].value, report.perClass.head.mAP.value]).toEqual([1, 0, 0.5]); // prettier-ignore
  expect(report.perClass.head.chance[1]).toBe(0.5);
});

test("by group, a query looks for its own patient: exact pairs across modalities", () => {
  const random = new Random(5);
  const rows = Array.from({ length: 40 }, () => Array.from({ length: 8 }, () => random.normal()));
  const groups = rows.map((_, i) => `p${i}`);
  const near = rows.map((row) => row.map((value) => value + 0.2 * random.normal()));
  const [queries, gallery] = [setOf(rows, { name: "q", groups }), setOf(near, { name: "g", groups })];
  const report = evaluateRetrieval(queries, gallery, { relevance: "group", bootstrap });
  expect(report.recallAtK[5].value).toBeGreaterThan(0.9);
  expect(report.chance[5]).toBeCloseTo(5 / 40, 12);
  expect([report.label, report.perClass, report.n.ownGroupPairs]).toEqual(["group", {}, 0]);
  expect(() => evaluateRetrieval(queries, gallery, { relevance: "group", excludeOwnGroup: true, bootstrap })).toThrow(
    "leave excludeOwnGroup off",
  );
});

test("a rule of one's own decides what is relevant: several findings a picture", () => {
  const findings = [["nodule", "effusion"], ["effusion"], ["none"]]; // prettier-ignore
  const set = setOf([[1, 0], [1, 0.2], [0, 1]], { region: ["a", "b", "c"] }); // prettier-ignore
  const shares = (q: number, g: number): boolean => findings[q].some((finding) => findings[g].includes(finding));
  const report = evaluateRetrieval(set, set, { label: shares, ks: [1], bootstrap });
  expect([report.recallAtK[1].value, report.n.withoutRelevant]).toEqual([1, 1]); // each query leaves itself out
});

test("modality can be the label", () => {
  const set = setOf([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], { modalities: ["ct", "ct", "xray", "xray"] }); // prettier-ignore
  expect(evaluateRetrieval(set, set, { label: "modality", ks: [1], bootstrap }).recallAtK[1].value).toBe(1);
});

test("the same generator gives the same report, and meets every encoder with the same resamples", () => {
  const random = new Random(6);
  const [queries, gallery] = [randomSet(60, 8, random, "q"), randomSet(50, 8, random, "g")];
  const first = evaluateRetrieval(queries, gallery, byRegion);
  expect(evaluateRetrieval(queries, gallery, byRegion)).toEqual(first);
  expect(JSON.parse(JSON.stringify(first))).toEqual(first);
});

test("a k beyond the gallery is cut to it, with a warning", () => {
  const set = perfect(["a", "b", "a", "b"], "s");
  const report = evaluateRetrieval(set, set, { ...byRegion, ks: [1, 50] });
  expect(report.warnings).toEqual(["k = 50 is cut to the gallery's 4 items"]);
  expect(report.precisionAtK[50].value).toBeCloseTo(1 / 3, 12); // of the three that are not the query
  expect(report.chance[50]).toBe(1);
});

test("zero vectors and files without groups are told of", () => {
  const set = setOf([[0, 0], [1, 0], [1, 1]], { region: ["a", "a", "a"] }); // prettier-ignore
  const noted = { ...set, meta: { note: "the file has no array named groups" } };
  const { warnings } = evaluateRetrieval(noted, set, { ...byRegion, ks: [1] });
  expect(warnings).toEqual([
    "queries: the file has no array named groups",
    "queries: 1 rows are zero vectors, whose cosine with everything is 0",
    "gallery: 1 rows are zero vectors, whose cosine with everything is 0",
  ]);
});

test("wrong questions are refused in one line", () => {
  const set = perfect(["a", "b"], "s");
  const refuse = (options: object, said: string): void =>
    expect(() => evaluateRetrieval(set, set, { ...byRegion, ...options })).toThrow(said);
  refuse({ label: "regon" }, 'label "regon" is not a column of the queries; its columns are: region');
  refuse({ label: "toString" }, 'label "toString" is not a column');
  refuse({ label: undefined }, 'label: expected a column, such as "region", got none');
  refuse({ ks: [0] }, "k: expected a whole number of at least 1, got 0");
  refuse({ ks: [1.5] }, "k: expected a whole number of at least 1, got 1.5");
  refuse({ ks: [] }, "k: expected at least one value, got none");
  expect(() => evaluateRetrieval(set, setOf([[1]]), byRegion)).toThrow("embed both with the same encoder");
  const bare = setOf([[1, 0]], { name: "g" });
  expect(() => evaluateRetrieval(set, bare, byRegion)).toThrow('"region" is not a column of the gallery; its columns are: none'); // prettier-ignore
});

test("the median of an even number of values lies between the two in the middle", () => {
  expect([median([3, 1, 2]), median([3, 1, 2, 10])]).toEqual([2, 2.5]);
});
