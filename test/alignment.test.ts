import { expect, test } from "vitest";
import {
  alignment,
  crossModalMatrix,
  modalityGap,
  ofModality,
  pairRetrieval,
  pairRows,
  uniformity,
} from "../src/analysis/alignment.js";
import { centrePerModality, type EmbeddingSet } from "../src/embeddings.js";
import { Random } from "../src/random.js";
import type { Modality } from "../src/types.js";
import { randomSet, setOf } from "./sets.js";

const bootstrap = { random: new Random(7), rounds: 100 };

/** Patients with one X-ray and one CT each: anatomy, noise, and an offset that is the modality's. */
function patients(count: number, name: string, offset: number, seed = 1): EmbeddingSet {
  const random = new Random(`${seed} ${name}`);
  const regions = ["abdomen", "chest", "head"];
  const rows: number[][] = [];
  const notes = { name, region: [] as string[], groups: [] as string[], modalities: [] as Modality[] };
  for (let p = 0; p < count; p++) {
    const region = p % regions.length;
    const anatomy = Array.from({ length: 8 }, (_, t) => (t === region ? 2 : 0) + 0.5 * random.normal());
    for (const modality of ["xray", "ct"] as const) {
      rows.push([...anatomy.map((value) => value + 0.1 * random.normal()), modality === "ct" ? offset : -offset]);
      notes.region.push(regions[region]);
      notes.groups.push(`${name} ${p}`);
      notes.modalities.push(modality);
    }
  }
  return setOf(rows, notes);
}

test("the matrix holds every direction, within and across, with its own chance and sizes", () => {
  const matrix = crossModalMatrix(patients(30, "q", 1), patients(24, "g", 1), { label: "region", bootstrap });
  expect(matrix.modalities).toEqual(["xray", "ct"]);
  expect(matrix.cells.map(({ from, to }) => `${from} ${to}`)).toEqual(["xray xray", "xray ct", "ct xray", "ct ct"]);
  for (const { report } of matrix.cells) {
    expect([report.n.query, report.n.gallery]).toEqual([30, 24]);
    expect(report.chance[1]).toBeCloseTo(1 / 3, 12);
    expect(report.recallAtK[1].value).toBeGreaterThan(0.8);
  }
});

test("the matrix takes the modalities it is asked for, and names one that is not there", () => {
  const set = patients(6, "q", 0);
  const gallery = patients(6, "g", 0);
  const one = crossModalMatrix(set, gallery, { label: "region", modalities: ["ct"], bootstrap });
  expect(one.cells.map(({ from, to }) => [from, to])).toEqual([["ct", "ct"]]);
  expect(() => crossModalMatrix(set, gallery, { label: "region", modalities: ["mri"], bootstrap })).toThrow(
    "queries: expected rows of modality mri; there are: ct, xray",
  );
  expect(() =>
    crossModalMatrix(ofModality(set, "ct"), ofModality(gallery, "xray"), { label: "region", bootstrap }),
  ).toThrow("the sets have no modality in common");
});

test("a patient's CT is found from the X-ray where they share anatomy, and at chance where they share nothing", () => {
  const set = patients(40, "p", 1);
  const found = pairRetrieval(set, set, { from: "xray", to: "ct", bootstrap });
  expect([found.n.query, found.n.gallery, found.from, found.to]).toEqual([40, 40, "xray", "ct"]);
  expect(found.recallAtK[10].value).toBeGreaterThan(0.9);
  expect(found.medianRank).toBeLessThan(3);
  [1, 5, 10].forEach((k) => expect(found.chance[k]).toBeCloseTo(k / 40, 12));

  const noise = { ...set, vectors: randomSet(set.n, set.d, new Random(3)).vectors };
  const lost = pairRetrieval(noise, noise, { from: "xray", to: "ct", bootstrap: { ...bootstrap, level: 0.999 } });
  expect(lost.recallAtK[10].low).toBeLessThan(0.25);
  expect(lost.recallAtK[10].high).toBeGreaterThan(0.25);
  expect(Math.abs(lost.medianRank - 20.5)).toBeLessThan(9);
});

test("patients without a partner are counted, and sets that share no patient are refused", () => {
  const set = patients(5, "p", 1);
  const alone = { ...set, groups: set.groups.map((group, i) => (i === 0 ? "somebody" : group)) };
  expect(pairRetrieval(alone, alone, { from: "xray", to: "ct", bootstrap }).n.withoutRelevant).toBe(1);
  expect(() => pairRetrieval(set, patients(5, "r", 1), { from: "xray", to: "ct", bootstrap })).toThrow(
    "no patient has xray in the queries and ct in the gallery; take both from one split",
  );
  expect(() => pairRetrieval(set, set, { from: "ct", to: "ct", bootstrap })).toThrow("two different modalities");
});

test("paired rows belong to the same patient, whatever the order of the set", () => {
  const set = setOf([[1], [2], [3], [4], [5]], {
    groups: ["a", "b", "b", "a", "c"],
    modalities: ["ct", "xray", "ct", "xray", "ct"],
  });
  const { from, to } = pairRows(set, "xray", "ct");
  expect([from.groups, to.groups]).toEqual([["b", "a"], ["b", "a"]]); // prettier-ignore
  expect([Array.from(from.vectors), Array.from(to.vectors)]).toEqual([[2, 4], [3, 1]]); // prettier-ignore
});

test("alignment is 0 for equal pairs, 2 for right angles, 4 for opposites", () => {
  const x = setOf([[2, 0], [0, 1]]); // prettier-ignore
  expect(alignment(x, setOf([[1, 0], [0, 3]]))).toBe(0); // prettier-ignore
  expect(alignment(x, setOf([[0, 1], [1, 0]]))).toBeCloseTo(2, 6); // prettier-ignore
  expect(alignment(x, setOf([[-1, 0], [0, -1]]))).toBeCloseTo(4, 6); // prettier-ignore
  expect(alignment(x, setOf([[-1, 0], [0, -1]]), 1)).toBeCloseTo(2, 6); // prettier-ignore
  expect(() => alignment(x, setOf([[1, 0]]))).toThrow("expected two equal shapes with rows, got [2, 2] and [1, 2]");
});

test("uniformity is 0 where all rows agree, −8 for two opposites, and the definition in general", () => {
  expect(uniformity(setOf([[1, 1], [2, 2], [3, 3]]))).toBeCloseTo(0, 5); // prettier-ignore
  expect(uniformity(setOf([[1, 0], [-3, 0]]))).toBeCloseTo(-8, 5); // prettier-ignore
  const set = randomSet(150, 6, new Random(2));
  const unit = (i: number): number[] => {
    const row = Array.from(set.vectors.subarray(i * 6, i * 6 + 6));
    const length = Math.hypot(...row);
    return row.map((value) => value / length);
  };
  let [sum, pairs] = [0, 0];
  for (let i = 0; i < set.n; i++) {
    for (let j = 0; j < i; j++, pairs++) {
      sum += Math.exp(-2 * unit(i).reduce((s, value, t) => s + (value - unit(j)[t]) ** 2, 0));
    }
  }
  expect(uniformity(set)).toBeCloseTo(Math.log(sum / pairs), 5);
  expect(() => uniformity(setOf([[1]]))).toThrow("at least two embeddings, got 1");
});

test("the modality gap is the distance of centroids, and centring closes it", () => {
  const apart = setOf([[1, 0], [2, 0], [0, 1]], { modalities: ["ct", "ct", "xray"] }); // prettier-ignore
  expect(modalityGap(apart, "ct", "xray")).toBeCloseTo(Math.SQRT2, 6);
  const set = patients(60, "p", 2);
  expect(modalityGap(set, "ct", "xray")).toBeGreaterThan(1);
  expect(modalityGap(centrePerModality(set), "ct", "xray")).toBeLessThan(0.1);
});
