import { expect, test } from "vitest";
import { fitWhitening, whiten } from "../src/analysis/whiten.js";
import { embeddingSet, selectRows, type EmbeddingSet } from "../src/embeddings.js";
import { Random } from "../src/random.js";

function rows(n: number, d: number, value: (i: number, t: number) => number): EmbeddingSet {
  const notes = Array.from({ length: n }, (_, i) => ({
    id: `${i}`,
    group: `${i}`,
    modality: "ct" as const,
    labels: {},
  }));
  return embeddingSet(
    Float32Array.from({ length: n * d }, (_, at) => value(Math.floor(at / d), at % d)),
    notes,
  );
}

/** Directions of very different spread, about a common mean. */
function lopsided(n: number, d: number, seed: number): EmbeddingSet {
  const random = new Random(seed);
  return rows(n, d, (_, t) => 3 + random.normal() / (1 + t));
}

/** Of the training rows, before they are normalised again. */
function covarianceAfter(n: number, d: number, floor: number): number[][] {
  const train = lopsided(n, d, 1);
  const { mean, basis, k: kept } = fitWhitening(train, floor);
  const z = Array.from({ length: n }, (_, i) => {
    const row = train.vectors.subarray(i * d, (i + 1) * d);
    const norm = Math.hypot(...row);
    return Array.from({ length: kept }, (_, c) =>
      row.reduce((sum, x, t) => sum + basis[c * d + t] * (x / norm - mean[t]), 0),
    );
  });
  return Array.from({ length: kept }, (_, a) =>
    Array.from({ length: kept }, (_, b) => z.reduce((sum, row) => sum + (row[a] * row[b]) / n, 0)),
  );
}

test.each([
  [200, 6, 6, "more rows than numbers"],
  [5, 12, 4, "fewer rows than numbers"],
])(
  "without a floor, whitened training rows are uncorrelated with variance 1 (%i rows of %i, rank %i: %s)",
  (n, d, rank) => {
    const covariance = covarianceAfter(n, d, 0);
    expect(covariance).toHaveLength(rank);
    covariance.forEach((row, a) => row.forEach((x, b) => expect(x).toBeCloseTo(a === b ? 1 : 0, 4)));
  },
);

test("with a floor, a direction keeps the share of its variance in itself and the floor", () => {
  const covariance = covarianceAfter(200, 6, 0.25);
  covariance.forEach((row, a) => row.forEach((x, b) => a !== b && expect(x).toBeCloseTo(0, 4)));
  expect(covariance[0][0]).toBeCloseTo(0.8, 6); // λ₁ / (λ₁ + λ₁ / 4)
  const shares = covariance.map((row, a) => row[a]);
  expect(shares).toEqual([...shares].sort((a, b) => b - a));
  expect(shares[5]).toBeLessThan(0.2); // 36 times the variance apart
});

test("a small direction that tells items apart counts after whitening, and drowns before", () => {
  // Number 0 varies wildly and means nothing; number 1 varies a little and is the class.
  const random = new Random(2);
  const set = rows(200, 3, (i, t) => (t === 0 ? random.normal() : t === 1 ? (i % 2 ? 0.2 : -0.2) : 100));
  const agree = ({ vectors, d }: EmbeddingSet) => {
    let hits = 0;
    for (let i = 0; i < 100; i++) {
      let [best, at] = [-Infinity, -1];
      for (let j = 100; j < 200; j++) {
        let dot = 0;
        for (let t = 0; t < d; t++) dot += vectors[i * d + t] * vectors[j * d + t];
        if (dot > best) [best, at] = [dot, j];
      }
      if (at % 2 === i % 2) hits++;
    }
    return hits / 100;
  };
  expect(agree(set)).toBeLessThan(0.8);
  expect(agree(whiten(set, fitWhitening(set, 0)))).toBeGreaterThan(0.95);
});

test("each row is whitened on its own, however many there are", () => {
  const how = fitWhitening(lopsided(50, 6, 3));
  const many = lopsided(600, 6, 4);
  const all = whiten(many, how);
  for (const i of [0, 255, 256, 599]) {
    const alone = whiten(
      selectRows(many, (row) => row === i),
      how,
    );
    expect(all.vectors.subarray(i * all.d, (i + 1) * all.d)).toEqual(alone.vectors);
  }
});

test("another width than the learned one is refused", () => {
  const whitening = fitWhitening(lopsided(20, 4, 1));
  expect(() => whiten(lopsided(3, 5, 2), whitening)).toThrow("whitening: learned for 4 numbers a row, got 5");
});

test("a negative floor is refused", () => {
  expect(() => fitWhitening(lopsided(20, 4, 1), -1)).toThrow("whitening: expected a floor of 0 or more, got -1");
});
