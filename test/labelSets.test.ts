import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { galleryRows } from "../src/analysis/gallery.js";
import { embeddingSet } from "../src/embeddings.js";
import { Random } from "../src/random.js";
import { chanceNdcgAtK, jaccard, labelsIn, ndcgAtK } from "../src/retrieval/labelSets.js";
import { evaluateQueries, evaluateRetrieval, outcome } from "../src/retrieval/protocol.js";
import type { Split } from "../src/types.js";
import { setOf } from "./sets.js";

interface Side {
  readonly vectors: number[][];
  readonly labels: string[];
  readonly groups: string[];
}
// Written by test/reference/labelSets.py with scikit-learn.
const reference = JSON.parse(readFileSync(new URL("fixtures/labelSets.json", import.meta.url), "utf8")) as {
  readonly ks: number[];
  readonly query: Side;
  readonly gallery: Side;
  readonly rows: { gains: number[]; recall: number[]; precision: number[]; ap: number; rr: number; ndcg: number[] }[];
};
const { ks, rows } = reference;
const side = ({ vectors, labels, groups }: Side, name: string) => setOf(vectors, { name, region: labels, groups });
const [queries, gallery] = [side(reference.query, "q"), side(reference.gallery, "g")];
const bootstrap = { random: new Random(7), rounds: 50 };
const options = { label: "region", relevance: "set", ks, bootstrap } as const;
const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, x) => sum + x, 0) / values.length;

test("labels of a value and what two sets share, by hand", () => {
  expect(labelsIn("Effusion|Mass")).toEqual(["Effusion", "Mass"]);
  expect(labelsIn(" Mass | Nodule|Mass|")).toEqual(["Mass", "Nodule"]);
  expect(labelsIn("")).toEqual([]);
  expect([jaccard(["a", "b"], ["b", "c"]), jaccard(["a"], ["a"]), jaccard(["a"], ["b"]), jaccard([], [])]).toEqual([1 / 3, 1, 0, 0]); // prettier-ignore
});

test("nDCG by hand: a swap of two places costs what their discounts say, and the best order is 1", () => {
  expect(ndcgAtK([0, 1], 2)).toBeCloseTo(1 / Math.log2(3), 12);
  expect([ndcgAtK([0, 1], 1), ndcgAtK([1, 0.5, 0.2, 0], 3), ndcgAtK([0, 0], 2)]).toEqual([0, 1, 0]);
  const swapped = (0.5 + 1 / Math.log2(3)) / (1 + 0.5 / Math.log2(3));
  expect(ndcgAtK([0.5, 1, 0], 2)).toBeCloseTo(swapped, 12);
});

test("every query's metrics between label sets are scikit-learn's and numpy's", () => {
  const { report, outcomes } = evaluateQueries(queries, gallery, options);
  expect(outcomes.rows).toEqual(rows.map((_, i) => i)); // all can be answered
  const close = (ours: ArrayLike<number>, theirs: readonly number[]) =>
    theirs.forEach((value, i) => expect(ours[i]).toBeCloseTo(value, 10));
  ks.forEach((k, i) => {
    close(outcome(outcomes, "recallAtK", k), rows.map(({ recall }) => recall[i])); // prettier-ignore
    close(outcome(outcomes, "precisionAtK", k), rows.map(({ precision }) => precision[i])); // prettier-ignore
    close(outcome(outcomes, "ndcgAtK", k), rows.map(({ ndcg }) => ndcg[i])); // prettier-ignore
    expect(report.ndcgAtK![k].value).toBeCloseTo(mean(rows.map(({ ndcg }) => ndcg[i])), 10);
    rows.forEach(({ gains, ndcg }) => expect(ndcgAtK(gains, k)).toBeCloseTo(ndcg[i], 10));
  });
  close(outcome(outcomes, "mAP"), rows.map(({ ap }) => ap)); // prettier-ignore
  close(outcome(outcomes, "mrr"), rows.map(({ rr }) => rr)); // prettier-ignore
  expect(report.label).toBe("region (sets: any label shared)");
});

test("chance of nDCG is its mean over all orders of a small gallery", () => {
  const gains = [1, 0.5, 1 / 3, 0, 0];
  const orders = (rest: number[]): number[][] =>
    rest.length === 0
      ? [[]]
      : rest.flatMap((x, i) => orders(rest.filter((_, at) => at !== i)).map((order) => [x, ...order]));
  for (const k of [1, 2, 5]) {
    expect(chanceNdcgAtK(gains, k)).toBeCloseTo(mean(orders(gains).map((order) => ndcgAtK(order, k))), 12);
  }
  expect(evaluateRetrieval(queries, gallery, options).chance["ndcg@3"]).toBeCloseTo(mean(rows.map((row) => chanceNdcgAtK(row.gains, 3))), 10); // prettier-ignore
});

test("one label a picture gives what the plain rule gives, with nDCG for company", () => {
  const plain = evaluateRetrieval(queries, gallery, { ...options, relevance: "label" });
  const one = (of: Side) => ({ ...of, labels: of.labels.map((value) => labelsIn(value)[0]) });
  const [q, g] = [side(one(reference.query), "q"), side(one(reference.gallery), "g")];
  const [asSets, asLabels] = (["set", "label"] as const).map((relevance) =>
    evaluateRetrieval(q, g, { ...options, relevance }),
  );
  for (const part of ["recallAtK", "precisionAtK", "mAP", "mrr", "n", "medianRank"] as const)
    expect(asSets[part]).toEqual(asLabels[part]);
  expect(asSets.ndcgAtK!["1"].value).toBeCloseTo(asSets.recallAtK["1"].value, 12); // a gain of 1 or 0
  expect([asLabels.ndcgAtK, plain.ndcgAtK]).toEqual([undefined, undefined]);
  expect(() => outcome(evaluateQueries(q, g, { ...options, relevance: "label" }).outcomes, "ndcgAtK", 1)).toThrow("it is of label sets"); // prettier-ignore
  // The same words taken for one label each find less: only the very same combination is a hit.
  const sets = evaluateRetrieval(queries, gallery, options);
  expect(plain.precisionAtK["10"].value).toBeLessThan(sets.precisionAtK["10"].value);
});

test("vectors that say which columns hold label sets are judged so without being told, in tables and pictures", () => {
  const noted = { ...queries, meta: { labelSets: "finding,region" } };
  const told = evaluateRetrieval(queries, gallery, options);
  const { ks: same, bootstrap: chance } = options;
  expect(evaluateRetrieval(noted, gallery, { label: "region", ks: same, bootstrap: chance })).toEqual(told);
  expect(evaluateRetrieval(queries, gallery, { label: "region", ks: same, bootstrap: chance }).ndcgAtK).toBeUndefined();
  const at = (label: string, split: Split) => ({ label, split, id: `${label} ${split}` });
  const rows = [at("Mass|Nodule", "query"), at("Nodule", "gallery"), at("Mass", "gallery"), at("none", "gallery")];
  const notes = rows.map(({ id, label }) => ({ id, group: id, modality: "ct" as const, labels: { finding: label } }));
  const splits = rows.map(({ split }) => split);
  const set = embeddingSet(Float32Array.of(1, 0, 1, 0.1, 1, 0.2, 1, 0.3), notes, splits, { labelSets: "finding" });
  const [row] = galleryRows(set, { label: "finding", rule: "first" });
  expect(row.matches.map(({ hit }) => hit)).toEqual([true, true, false]);
});

test("a query counts in the class of each of its labels, and one without labels asks nothing", () => {
  const q = setOf([[1, 0], [0, 1], [1, 1]], { name: "q", region: ["Mass|Nodule", "Mass", ""] }); // prettier-ignore
  const g = setOf([[1, 0], [0, 1]], { name: "g", region: ["Nodule", "Effusion|Mass"] }); // prettier-ignore
  const report = evaluateRetrieval(q, g, { ...options, ks: [1] });
  expect(report.n.withoutRelevant).toBe(1);
  expect(Object.entries(report.perClass).map(([name, { n }]) => [name, n])).toEqual([["Mass", 2], ["Nodule", 1]]); // prettier-ignore
  expect(report.ndcgAtK!["1"].value).toBeCloseTo(1, 12); // 1/2 is the best of {Nodule}: 1/2 and 1/3; of {Mass}: 0 and 1/2
  const { macro, perClass, recallAtK } = report;
  expect([recallAtK["1"].value, macro.recallAtK["1"].value, perClass.Mass.recallAtK["1"].value]).toEqual([1, 1, 1]);
});
