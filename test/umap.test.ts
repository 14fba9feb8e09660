import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { trustworthiness } from "../src/analysis/trustworthiness.js";
import { umap2d } from "../src/analysis/umap.js";
import { Random } from "../src/random.js";
import { InputError, type Progress } from "../src/types.js";
import { setOf } from "./sets.js";

/** `n` vectors of width 16 about `clusters` random directions; the length of each vector is random and must not matter. */
function clustered(n: number, clusters: number, random: Random): Float32Array {
  const d = 16;
  const centres = Float32Array.from({ length: clusters * d }, () => random.normal());
  const vectors = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    const length = random.uniform(0.1, 10);
    for (let j = 0; j < d; j++) {
      vectors[i * d + j] = length * (centres[(i % clusters) * d + j] + 0.2 * random.normal());
    }
  }
  return vectors;
}

/** Share of the 5 nearest points in the map that are of the point's own cluster. */
function purity(points: Float32Array, n: number, clusters: number): number {
  let same = 0;
  for (let i = 0; i < n; i++) {
    const byDistance = Array.from({ length: n }, (_, j) => j)
      .filter((j) => j !== i)
      .map((j) => ({ j, far: Math.hypot(points[2 * i] - points[2 * j], points[2 * i + 1] - points[2 * j + 1]) }))
      .sort((a, b) => a.far - b.far);
    same += byDistance.slice(0, 5).filter(({ j }) => j % clusters === i % clusters).length;
  }
  return same / (5 * n);
}

test("clusters of directions stay clusters in the map, whatever the lengths of the vectors", () => {
  const vectors = clustered(200, 5, new Random(1));
  const points = umap2d(vectors, 200, 16, { random: new Random(7), epochs: 100 });
  expect(points).toHaveLength(400);
  expect(points.every(Number.isFinite)).toBe(true);
  expect(purity(points, 200, 5)).toBeGreaterThan(0.98); // chance is 0.2
});

test("the same seed gives the same map bit for bit, another seed another", () => {
  const vectors = clustered(60, 3, new Random(2));
  const map = (seed: number) => umap2d(vectors, 60, 16, { random: new Random(seed), epochs: 30 });
  expect(map(7)).toEqual(map(7));
  expect(map(8)).not.toEqual(map(7));
});

test("five points, equal points and points on one line have finite maps", () => {
  const random = () => new Random(7);
  const five = umap2d(clustered(5, 1, new Random(3)), 5, 16, { random: random(), epochs: 20 });
  const equal = umap2d(new Float32Array(20 * 4).fill(1), 20, 4, { random: random(), epochs: 20 });
  const line = Float32Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 1 : i / 40));
  const onLine = umap2d(line, 20, 2, { random: random(), epochs: 20 });
  for (const points of [five, equal, onLine]) expect(points.every(Number.isFinite)).toBe(true);
});

test("progress counts every epoch", () => {
  const seen: Progress[] = [];
  const vectors = clustered(20, 2, new Random(4));
  umap2d(vectors, 20, 16, { random: new Random(7), epochs: 12, onProgress: (progress) => seen.push(progress) });
  expect(seen.map(({ done }) => done)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  expect(seen[0]).toMatchObject({ label: "UMAP", total: 12 });
});

test("too few points, a value that is no number and a vector of zeros are errors that say so", () => {
  const random = new Random(7);
  const vectors = clustered(6, 2, new Random(5));
  expect(() => umap2d(vectors.subarray(0, 4 * 16), 4, 16, { random })).toThrow("at least 5 points, got 4");
  expect(() => umap2d(vectors, 7, 16, { random })).toThrow("expected 7 x 16 = 112 numbers, got 96");
  const broken = vectors.slice();
  broken[35] = NaN;
  expect(() => umap2d(broken, 6, 16, { random })).toThrow(InputError);
  expect(() => umap2d(broken, 6, 16, { random })).toThrow("vector 2 holds a value that is not a finite number");
  expect(() => umap2d(vectors.slice().fill(0, 16, 32), 6, 16, { random })).toThrow("vector 1 is all zeros");
});

// Written by test/reference/alignment.py with umap-learn and scikit-learn.
const reference = JSON.parse(readFileSync(new URL("fixtures/alignment.json", import.meta.url), "utf8")) as {
  readonly maps: {
    readonly x: number[][];
    readonly map: number[][];
    readonly mapTrustworthiness: number;
    readonly trustworthiness: number[];
  };
};

test("trustworthiness is scikit-learn's, 1 for neighbours kept, and near one half for a random map", () => {
  const { x, map, mapTrustworthiness } = reference.maps;
  const set = setOf(x);
  expect(trustworthiness(set, Float32Array.from(map.flat()))).toBeCloseTo(mapTrustworthiness, 5);
  // Directions on a quarter of the circle lie on a line as they are.
  const line = setOf(Array.from({ length: 50 }, (_, i) => [Math.cos(i ** 2 / 2000), Math.sin(i ** 2 / 2000)]));
  expect(
    trustworthiness(
      line,
      Float32Array.from({ length: 100 }, (_, at) => (at % 2 === 0 ? at ** 2 : 0)),
      5,
    ),
  ).toBe(1);
  const random = new Random(1);
  const scattered = Float32Array.from({ length: 2 * set.n }, () => random.uniform());
  expect(Math.abs(trustworthiness(set, scattered) - 0.5)).toBeLessThan(0.05);
  expect(() => trustworthiness(line, new Float32Array(100), 25)).toThrow("expected 1 ≤ k < n / 2 = 25, got 25");
});

test("our maps can be trusted as far as umap-learn's, over five seeds", () => {
  const { x, trustworthiness: theirs } = reference.maps;
  const set = setOf(x);
  const ours = [0, 1, 2, 3, 4].map((seed) =>
    trustworthiness(set, umap2d(set.vectors, set.n, set.d, { random: new Random(seed) })),
  );
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(Math.abs(mean(ours) - mean(theirs))).toBeLessThan(0.02);
});
