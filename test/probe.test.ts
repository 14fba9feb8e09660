import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { knnScores } from "../src/analysis/knn.js";
import { fitLogistic, predictLogistic, type LabelledRows } from "../src/analysis/logistic.js";
import { minimise } from "../src/analysis/minimise.js";
import { probe, PROBE_KS, PROBE_STRENGTHS, whyNoProbe } from "../src/analysis/probe.js";
import { auroc, aurocOf, balancedAccuracy } from "../src/analysis/scores.js";
import { normalise, type EmbeddingSet } from "../src/embeddings.js";
import { Random } from "../src/random.js";
import type { Modality, Split } from "../src/types.js";
import { setOf } from "./sets.js";

interface Fit {
  readonly p: number[][];
  readonly auroc: number;
  readonly balancedAccuracy: number;
}
// Written by test/reference/alignment.py with scikit-learn.
const reference = JSON.parse(readFileSync(new URL("fixtures/alignment.json", import.meta.url), "utf8")) as {
  readonly probes: readonly {
    readonly x: number[][];
    readonly y: number[];
    readonly logistic: readonly (Fit & { readonly c: number })[];
    readonly knn: readonly (Fit & { readonly k: number })[];
  }[];
};

const rowsOf = (x: number[][], y: number[]): LabelledRows => {
  const { vectors, n, d } = normalise(setOf(x));
  return { x: Float64Array.from(vectors), n, d, y: Int32Array.from(y), classes: Math.max(...y) + 1 };
};

/** The reference's own division: every third row tests. */
const divided = ({ x, y }: (typeof reference.probes)[number]) => {
  const part = (test: boolean) => {
    const keep = x.map((_, i) => i).filter((i) => (i % 3 === 0) === test);
    return rowsOf(keep.map((i) => x[i]), keep.map((i) => y[i])); // prettier-ignore
  };
  return { train: part(false), test: part(true) };
};

function expectFit(p: Float64Array, expected: Fit, y: Int32Array): void {
  expected.p.flat().forEach((value, at) => expect(Math.abs(p[at] - value)).toBeLessThan(1e-4));
  const scored = { scores: p, y, classes: expected.p[0].length };
  expect(Math.abs(auroc(scored) / expected.auroc - 1)).toBeLessThan(1e-4);
  expect(Math.abs(balancedAccuracy(scored) / expected.balancedAccuracy - 1)).toBeLessThan(1e-4);
}

test("the linear probe is scikit-learn's, with more rows than features and with fewer, at every strength of the penalty", () => {
  for (const one of reference.probes) {
    const { train, test } = divided(one);
    const fits = fitLogistic(train, one.logistic.map(({ c }) => c), 1e-9); // prettier-ignore
    fits.forEach((fit, i) => expectFit(predictLogistic(fit, test.x), one.logistic[i], test.y));
  }
});

test("k-NN, AUROC and balanced accuracy are scikit-learn's", () => {
  for (const one of reference.probes) {
    const { train, test } = divided(one);
    for (const expected of one.knn) expectFit(knnScores(train, test.x, expected.k), expected, test.y);
  }
});

test("a probe's strengths may come in any order, and wrong ones are refused", () => {
  const { train, test } = divided(reference.probes[0]);
  const [large, small] = fitLogistic(train, [1, 0.01], 1e-9);
  const [alone] = fitLogistic(train, [0.01], 1e-9);
  predictLogistic(small, test.x).forEach((p, i) => expect(p).toBeCloseTo(predictLogistic(alone, test.x)[i], 6));
  const norm = (weights: Float64Array) => Math.hypot(...weights);
  expect(norm(large.weights)).toBeGreaterThan(norm(small.weights));
  expect(() => fitLogistic(train, [0])).toThrow("expected C > 0, got 0");
  expect(() => fitLogistic({ ...train, y: train.y.map(() => 1) }, [1])).toThrow("at least two classes, got 1");
});

test("the minimiser finds the lowest point of a narrow valley, the same bits each time", () => {
  // A quadratic of condition 10⁴ with its minimum at (1, 2, 3).
  const f = (x: Float64Array, gradient: Float64Array) => {
    let value = 0;
    [1, 100, 10_000].forEach((curvature, i) => {
      gradient[i] = curvature * (x[i] - (i + 1));
      value += (curvature / 2) * (x[i] - (i + 1)) ** 2;
    });
    return value;
  };
  const found = minimise(f, new Float64Array(3), 1e-9);
  found.forEach((x, i) => expect(x).toBeCloseTo(i + 1, 8));
  expect(minimise(f, new Float64Array(3), 1e-9)).toEqual(found);
});

test("AUROC counts ties half, is 0.5 for equal scores, and weights are repeated rows", () => {
  const two = {
    scores: Float64Array.from([0.9, 0.1, 0.2, 0.8, 0.4, 0.6, 0.4, 0.6]),
    y: Int32Array.from([0, 1, 0, 1]),
    classes: 2,
  };
  expect(auroc(two)).toBe(0.875); // of four pairs three right and one tied
  expect(auroc({ ...two, scores: new Float64Array(8).fill(0.5) })).toBe(0.5);
  const repeated = [0, 0, 1, 2, 2, 2, 3];
  const long = {
    scores: Float64Array.from(repeated.flatMap((i) => [two.scores[2 * i], two.scores[2 * i + 1]])),
    y: Int32Array.from(repeated, (i) => two.y[i]),
    classes: 2,
  };
  expect(aurocOf(two)([2, 1, 3, 1])).toBeCloseTo(auroc(long), 12);
  expect(balancedAccuracy(two, [2, 1, 3, 1])).toBeCloseTo(balancedAccuracy(long), 12);
  expect(() => auroc({ ...two, y: new Int32Array(4) })).toThrow("at least two classes");
});

/** MRI and CT of patients in five regions of unequal size; the first coordinates hold as much of the region as `signal` says. */
function patients(signal: number, seed = 1): EmbeddingSet {
  const random = new Random(`probe ${seed}`);
  const rows: number[][] = [];
  const notes = { region: [] as string[], groups: [] as string[], modalities: [] as Modality[] };
  const splits: Split[] = [];
  for (let p = 0; p < 120; p++) {
    const region = [0, 0, 0, 1, 1, 2, 3, 4][p % 8];
    for (const modality of ["mri", "ct"] as const) {
      rows.push(Array.from({ length: 12 }, (_, t) => (t === region ? signal : 0) + random.normal()));
      notes.region.push(`region ${region}`);
      notes.groups.push(`p${p}`);
      notes.modalities.push(modality);
      splits.push(p < 64 ? "gallery" : "query");
    }
  }
  return { ...setOf(rows, notes), splits };
}
const options = { label: "region", seed: 7, bootstrapRounds: 200, draws: 8 };

test("features with classes in them score high, features without score at chance, and the interval says so", () => {
  const found = probe(patients(4), options);
  const lost = probe(patients(0), options);
  expect(found.classes).toHaveLength(5);
  expect(found.chance).toEqual({ auroc: 0.5, balancedAccuracy: 0.2 });
  expect(found.n).toEqual({ train: 64, test: 56, trainPatients: 64, testPatients: 56, leftOut: 0 });
  for (const which of ["knn", "linear"] as const) {
    expect(found[which].auroc.low).toBeGreaterThan(0.9);
    expect(found[which].balancedAccuracy.value).toBeGreaterThan(0.8);
    expect(lost[which].auroc.low).toBeLessThan(0.5);
    expect(lost[which].auroc.high).toBeGreaterThan(0.5);
    expect(lost[which].balancedAccuracy.low).toBeLessThan(0.2);
  }
  expect(PROBE_KS).toContain(found.knn.chosen);
  expect(PROBE_STRENGTHS).toContain(found.linear.chosen);
  expect(probe(patients(4), options)).toEqual(found);
});

test("more shots are better on average, and shots that a class lacks patients for are not shown", () => {
  const { fewShot } = probe(patients(2), options);
  expect(fewShot.map(({ shots }) => shots)).toEqual([1, 2, 5]); // the rarest region has 8 gallery patients
  const values = fewShot.map(({ balancedAccuracy }) => balancedAccuracy.value);
  expect(values).toEqual(values.slice().sort((a, b) => a - b));
  for (const { balancedAccuracy: b } of fewShot) expect(b.low < b.value && b.value < b.high).toBe(true);
});

test("query patients choose nothing: other query labels change the score, and neither k, nor C, nor who teaches", () => {
  const set = patients(2);
  const shuffled = new Random(5).permutation(set.n);
  const queries = Array.from(shuffled).filter((i) => set.splits[i] === "query");
  const region = set.labels.region.slice();
  Array.from(region.keys()).filter((i) => set.splits[i] === "query").forEach((row, i) => (region[row] = set.labels.region[queries[i]])); // prettier-ignore
  const [a, b] = [probe(set, options), probe({ ...set, labels: { region } }, options)];
  expect([b.knn.chosen, b.linear.chosen, b.n.train]).toEqual([a.knn.chosen, a.linear.chosen, a.n.train]);
  expect(b.linear.auroc.value).toBeLessThan(a.linear.auroc.value - 0.1);
});

test("the unseen modality alone is probed; what cannot be is said", () => {
  const set = patients(4);
  const noisy = set.vectors.map((x, at) => (set.modalities[Math.floor(at / set.d)] === "ct" ? x + 100 : x));
  expect(probe({ ...set, vectors: noisy }, options)).toEqual(probe(set, options));
  expect(probe(set, { ...options, modality: "ct" }).modality).toBe("ct");
  expect(whyNoProbe(set, { label: "region", modality: "xray" })).toMatch(/fewer than two values of region have xray/);
  const thin = {
    ...set,
    labels: { region: set.labels.region.map((r, i) => (r === "region 4" ? "" : i < 2 ? "rare" : r)) },
  };
  const { classes, n } = probe(thin, options);
  expect(classes).toHaveLength(4);
  expect(n.leftOut).toBe(16); // 15 without a label, one of a class with a single patient
  expect(() => probe({ ...set, labels: { region: set.labels.region.map(() => "one") } }, options)).toThrow(
    "fewer than two",
  );
});
