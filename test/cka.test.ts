import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { centreGram, ckaUnder, gramOf, linearCka } from "../src/analysis/cka.js";
import { jackknife, permutationTest } from "../src/analysis/permutation.js";
import { explainedShare, fitRotation, rotateHeldOut } from "../src/analysis/procrustes.js";
import { takeRows, type EmbeddingSet } from "../src/embeddings.js";
import { Random } from "../src/random.js";
import { randomSet, setOf } from "./sets.js";

// Written by test/reference/alignment.py with numpy and scipy.
const reference = JSON.parse(readFileSync(new URL("fixtures/alignment.json", import.meta.url), "utf8")) as {
  readonly x: number[][];
  readonly y: number[][];
  readonly cka: number;
  readonly debiasedCka: number;
  readonly procrustes: { readonly a: number[][]; readonly b: number[][]; readonly rotation: number[][] };
};
const relative = (a: number, b: number) => Math.abs(a - b) / Math.abs(b);

/** A random rotation of the rows of a set, by Gram–Schmidt. */
function turned(set: EmbeddingSet, random: Random): EmbeddingSet {
  const { n, d } = set;
  const basis: number[][] = [];
  while (basis.length < d) {
    const row = Array.from({ length: d }, () => random.normal());
    for (const other of basis) {
      const along = row.reduce((sum, x, t) => sum + x * other[t], 0);
      other.forEach((x, t) => (row[t] -= along * x));
    }
    const length = Math.hypot(...row);
    basis.push(row.map((x) => x / length));
  }
  const vectors = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    basis.forEach((row, c) => (vectors[i * d + c] = row.reduce((sum, x, t) => sum + x * set.vectors[i * d + t], 0)));
  }
  return { ...set, vectors };
}

test("CKA and debiased CKA are numpy's", () => {
  const [x, y] = [setOf(reference.x), setOf(reference.y)];
  expect(relative(linearCka(x, y), reference.cka)).toBeLessThan(1e-4);
  expect(relative(linearCka(x, y, { debiased: true }), reference.debiasedCka)).toBeLessThan(1e-4);
});

test("CKA is 1 for a set and its rotation, whatever the length of the rows, and does not care which side is which", () => {
  const set = randomSet(40, 8, new Random(1));
  for (const debiased of [false, true]) {
    expect(linearCka(set, turned(set, new Random(2)), { debiased })).toBeCloseTo(1, 5);
    const other = randomSet(40, 5, new Random(3));
    expect(linearCka(set, other, { debiased })).toBeCloseTo(linearCka(other, set, { debiased }), 10);
  }
});

test("unrelated rows have a debiased CKA about 0, where the plain one lies above 0", () => {
  const values = Array.from({ length: 40 }, (_, i) => {
    const [x, y] = [randomSet(30, 12, new Random(`x ${i}`)), randomSet(30, 12, new Random(`y ${i}`))];
    return [linearCka(x, y), linearCka(x, y, { debiased: true })];
  });
  const mean = (at: number) => values.reduce((sum, value) => sum + value[at], 0) / values.length;
  expect(mean(0)).toBeGreaterThan(0.2);
  expect(Math.abs(mean(1))).toBeLessThan(0.02);
});

test("CKA of permuted pairs is CKA of the sets so ordered", () => {
  const [x, y] = [randomSet(20, 6, new Random(4)), randomSet(20, 6, new Random(5))];
  const order = new Random(6).permutation(20);
  for (const debiased of [false, true]) {
    const [a, b] = [centreGram(gramOf(x), debiased), centreGram(gramOf(y), debiased)];
    expect(ckaUnder(a, b)(order)).toBeCloseTo(linearCka(x, takeRows(y, Array.from(order)), { debiased }), 10);
  }
});

test("what CKA cannot be asked is said", () => {
  expect(() => linearCka(randomSet(5, 3, new Random(1)), randomSet(6, 3, new Random(1)))).toThrow("got 5 and 6");
  expect(() => linearCka(randomSet(3, 3, new Random(1)), randomSet(3, 3, new Random(2)))).toThrow("at least 4 pairs");
  const same = setOf(Array.from({ length: 6 }, () => [1, 2]));
  expect(() => linearCka(same, randomSet(6, 3, new Random(2)))).toThrow("no geometry to compare");
});

test("the rotation is scipy's orthogonal_procrustes", () => {
  const { a, b, rotation } = reference.procrustes;
  const ours = fitRotation(Float64Array.from(a.flat()), Float64Array.from(b.flat()), 30, 5);
  ours.forEach((value, at) => expect(value).toBeCloseTo(rotation.flat()[at], 8));
});

test("a rotation is found from other patients, and explains nothing where the sides share nothing", () => {
  const x = randomSet(80, 6, new Random(7));
  const same = rotateHeldOut(x, turned(x, new Random(8)), { random: new Random(9) });
  expect(explainedShare(same.before, same.after)).toBeCloseTo(1, 6);
  const lost = rotateHeldOut(x, randomSet(80, 6, new Random(10)), { random: new Random(9) });
  expect(Math.abs(explainedShare(lost.before, lost.after))).toBeLessThan(0.25);
  expect(() =>
    rotateHeldOut(randomSet(9, 3, new Random(1)), randomSet(9, 3, new Random(1)), { random: new Random(1) }),
  ).toThrow("at least 10 pairs");
});

test("within few directions of many, the rotation still closes the gap that lies in them", () => {
  const wide = (set: EmbeddingSet, seed: number): EmbeddingSet => {
    const random = new Random(seed);
    const rows = Array.from({ length: set.n }, (_, i) => [
      ...Array.from(set.vectors.subarray(i * set.d, (i + 1) * set.d)),
      ...Array.from({ length: 60 }, () => 0.01 * random.normal()),
    ]);
    return setOf(rows);
  };
  const x = randomSet(60, 6, new Random(11));
  const { before, after, k } = rotateHeldOut(wide(x, 1), wide(turned(x, new Random(12)), 2), {
    random: new Random(13),
  });
  expect(k).toBe(24);
  expect(explainedShare(before, after)).toBeGreaterThan(0.95);
});

test("p is uniform where nothing belongs together, and smallest where everything does", () => {
  const p = Array.from({ length: 200 }, (_, i) => {
    const random = new Random(`p ${i}`);
    const [a, b] = [0, 1].map(() => Float64Array.from({ length: 12 }, () => random.normal()));
    const statistic = (order: Int32Array) => a.reduce((sum, x, at) => sum + x * b[order[at]], 0);
    return permutationTest(12, statistic, { random, rounds: 39 }).p;
  });
  for (const level of [0.1, 0.25, 0.5, 0.75]) {
    const share = p.filter((one) => one <= level).length / p.length;
    expect(Math.abs(share - level)).toBeLessThan(0.11); // 3 standard errors of 200
  }
  const a = Float64Array.from({ length: 12 }, (_, i) => i);
  const agree = (order: Int32Array) => a.reduce((sum, x, at) => sum + x * a[order[at]], 0);
  expect(permutationTest(12, agree, { random: new Random(1), rounds: 39 }).p).toBe(1 / 40);
  expect(permutationTest(12, agree, { random: new Random(1), rounds: 39, tail: "less" }).p).toBe(1);
  expect(permutationTest(12, () => 1, { random: new Random(1), rounds: 39 }).p).toBe(1);
});

test("the jackknife of a mean over single rows has the standard error of a mean", () => {
  const values = Float64Array.from({ length: 30 }, (_, i) => (i * 7) % 11);
  const mean = (rows: Int32Array) => rows.reduce((sum, row) => sum + values[row], 0) / rows.length;
  const { value, low, high } = jackknife(30, mean, { random: new Random(1), blocks: 30 });
  const variance = values.reduce((sum, x) => sum + (x - value) ** 2, 0) / 29;
  expect(high - value).toBeCloseTo(1.96 * Math.sqrt(variance / 30), 10);
  expect(value - low).toBeCloseTo(high - value, 12);
});
