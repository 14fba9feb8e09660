import { expect, test } from "vitest";
import { umap2d } from "../src/analysis/umap.js";
import { Random } from "../src/random.js";
import { InputError, type Progress } from "../src/types.js";

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
