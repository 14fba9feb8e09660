import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { saveEmbeddings, selectRows, type EmbeddingSet } from "../src/embeddings.js";
import { Random } from "../src/random.js";
import { buildIndex, loadIndex, saveIndex } from "../src/retrieval/hnsw.js";
import { exactSearch, type Neighbours } from "../src/retrieval/search.js";
import { randomSet, setOf } from "./sets.js";

const fixture = JSON.parse(readFileSync("test/fixtures/retrieval.json", "utf8")) as {
  query: { vectors: number[][]; groups: string[] };
  gallery: { vectors: number[][]; groups: string[] };
  rows: { ranking: number[] }[];
};
const row = (found: Neighbours, q: number): number[] =>
  Array.from(found.indices.subarray(q * found.k, (q + 1) * found.k));

/** The definition, one pair at a time in float64. */
function slow(queries: EmbeddingSet, gallery: EmbeddingSet, q: number): { g: number; score: number }[] {
  const cosine = (g: number): number => {
    let [dot, x, y] = [0, 0, 0];
    for (let t = 0; t < gallery.d; t++) {
      const [a, b] = [queries.vectors[q * gallery.d + t], gallery.vectors[g * gallery.d + t]];
      dot += a * b;
      x += a * a;
      y += b * b;
    }
    return dot / Math.sqrt(x * y);
  };
  const all = Array.from({ length: gallery.n }, (_, g) => ({ g, score: cosine(g) }));
  return all.filter(({ g }) => gallery.groups[g] !== queries.groups[q]).sort((a, b) => b.score - a.score || a.g - b.g);
}

test("the nearest of three, by hand", () => {
  const gallery = setOf([[1, 0], [0, 1], [1, 1]], { name: "g" }); // prettier-ignore
  const found = exactSearch(setOf([[2, 0]], { name: "q" }), gallery, 3);
  expect(Array.from(found.indices)).toEqual([0, 2, 1]);
  [1, Math.SQRT1_2, 0].forEach((score, r) => expect(found.scores[r]).toBeCloseTo(score, 6));
});

test("exact search ranks as scikit-learn's cosine does, without the query's own patient", () => {
  const queries = setOf(fixture.query.vectors, { name: "q", groups: fixture.query.groups });
  const gallery = setOf(fixture.gallery.vectors, { name: "g", groups: fixture.gallery.groups });
  const found = exactSearch(queries, gallery, 10); // test/reference/retrieval.py
  fixture.rows.forEach(({ ranking }, q) => expect(row(found, q)).toEqual(ranking));
});

test("exact search agrees with the definition for any width and number of rows", () => {
  const random = new Random(1);
  for (const [q, n, d] of [
    [1, 1, 1],
    [3, 5, 2],
    [65, 7, 3],
    [5, 1100, 5],
    [2, 300, 384],
  ] as const) {
    const queries = randomSet(q, d, random, "q");
    const gallery = randomSet(n, d, random, "g");
    const found = exactSearch(queries, gallery, n);
    for (let i = 0; i < q; i++) {
      const expected = slow(queries, gallery, i);
      for (let r = 0; r < n; r++) {
        expect(found.scores[i * n + r]).toBeCloseTo(expected[r].score, 5);
        // Two scores closer than float32 can tell apart may change places.
        const gap = Math.min(
          Math.abs(expected[r].score - (expected[r - 1]?.score ?? 2)),
          Math.abs(expected[r].score - (expected[r + 1]?.score ?? 2)),
        );
        if (gap > 1e-5) expect(found.indices[i * n + r]).toBe(expected[r].g);
      }
    }
  }
});

test("few neighbours are the first of many, and a query is answered alike alone and in company", () => {
  const random = new Random(2);
  const [queries, gallery] = [randomSet(70, 24, random, "q"), randomSet(900, 24, random, "g")];
  const [few, all] = [exactSearch(queries, gallery, 10), exactSearch(queries, gallery, 900)];
  for (let q = 0; q < 70; q++) {
    expect(row(few, q)).toEqual(row(all, q).slice(0, 10));
    expect(few.scores.subarray(q * 10, q * 10 + 10)).toEqual(all.scores.subarray(q * 900, q * 900 + 10));
  }
  const alone = exactSearch(
    selectRows(queries, (i) => i === 69),
    gallery,
    10,
  );
  expect(row(alone, 0)).toEqual(row(few, 69));
});

test("equal scores come in order of gallery row, for few neighbours and for all", () => {
  const same = setOf(Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? [0, 0] : [i % 3 === 1 ? 1 : -1, 0])));
  const query = setOf([[1, 0]], { name: "q" });
  const expected = [1, 0, 2].flatMap((kind) => Array.from({ length: 200 }, (_, i) => i).filter((i) => i % 3 === kind));
  expect(row(exactSearch(query, same, 200), 0)).toEqual(expected);
  expect(row(exactSearch(query, same, 20), 0)).toEqual(expected.slice(0, 20));
});

test("a query never retrieves its own patient unless asked to, and missing neighbours are −1", () => {
  const set = setOf([[1, 0], [1, 0.1], [0, 1]], { groups: ["p", "p", "r"] }); // prettier-ignore
  const own = exactSearch(set, set, 3);
  expect([row(own, 0), row(own, 1), row(own, 2)]).toEqual([[2, -1, -1], [2, -1, -1], [1, 0, -1]]); // prettier-ignore
  expect(row(exactSearch(set, set, 3, { excludeOwnGroup: false }), 0)).toEqual([0, 1, 2]);
});

test("a query that cannot be answered is refused in one line", () => {
  const set = setOf([[1, 0]]);
  const none = selectRows(set, () => false);
  for (const k of [0, -1, 1.5, NaN]) {
    expect(() => exactSearch(set, set, k)).toThrow(`k: expected a whole number of at least 1, got ${k}`);
  }
  expect(() => exactSearch(setOf([[1]]), set, 1)).toThrow("queries have 1 dimensions and the gallery 2");
  expect(() => exactSearch(none, set, 1)).toThrow("queries: expected at least one embedding, got none");
  expect(() => exactSearch(set, none, 1)).toThrow("gallery: expected at least one embedding, got none");
  expect(() => exactSearch(set, setOf([[1, Infinity]], { name: "g" }), 1)).toThrow(
    "gallery: expected finite numbers, got Infinity in row 0 (g0), dimension 1",
  );
});

const share = (found: Neighbours, truth: Neighbours): number => {
  let hits = 0;
  for (let q = 0; q < truth.indices.length / truth.k; q++) {
    const set = new Set(row(truth, q));
    hits += row(found, q).filter((g) => set.has(g)).length;
  }
  return hits / truth.indices.length;
};
const hnswLoads = await import("hnswlib-node").then(() => true, () => false); // prettier-ignore

test.skipIf(!hnswLoads)(
  "HNSW finds 95 % of the true neighbours (skipped where hnswlib-node is not installed)",
  async () => {
    const random = new Random(3);
    const [queries, gallery] = [randomSet(100, 32, random, "q"), randomSet(1000, 32, random, "g")];
    const index = await buildIndex(gallery, { seed: 7 });
    expect([index.engine, index.reason]).toEqual(["hnsw", undefined]);
    const [found, truth] = [index.search(queries, 10), exactSearch(queries, gallery, 10)];
    expect(share(found, truth)).toBeGreaterThan(0.95);
    expect(index.search(queries, 10).indices).toEqual(found.indices);
    for (let i = 0; i < 50; i++)
      if (found.indices[i] === truth.indices[i]) expect(found.scores[i]).toBeCloseTo(truth.scores[i], 6);

    const path = join(mkdtempSync(join(tmpdir(), "m3ret-hnsw-test-")), "gallery.index");
    saveIndex(path, index);
    const again = await loadIndex(path);
    expect(again.engine).toBe("hnsw");
    expect(again.gallery).toEqual(gallery);
    expect(again.search(queries, 10)).toEqual(found);
  },
);

test.skipIf(!hnswLoads)("HNSW never retrieves the query's own patient either", async () => {
  const random = new Random(4);
  const made = randomSet(300, 8, random);
  const gallery = { ...made, groups: made.ids.map((_, i) => `p${i % 30}`) };
  const found = (await buildIndex(gallery)).search(gallery, 5);
  for (let q = 0; q < 300; q++) {
    for (const g of row(found, q)) {
      expect(g).toBeGreaterThanOrEqual(0);
      expect(gallery.groups[g]).not.toBe(gallery.groups[q]);
    }
  }
});

afterEach(() => {
  vi.doUnmock("hnswlib-node");
  vi.resetModules();
});

test("where hnswlib-node does not load, exact search serves and says why", async () => {
  vi.resetModules();
  vi.doMock("hnswlib-node", () => ({
    get default(): never {
      throw new Error("addon.node was compiled against another Node.js");
    },
  }));
  const { buildIndex: build } = await import("../src/retrieval/hnsw.js");
  const random = new Random(5);
  const [queries, gallery] = [randomSet(5, 8, random, "q"), randomSet(40, 8, random, "g")];
  const index = await build(gallery);
  expect(index.engine).toBe("exact");
  expect(index.reason).toMatch(
    /^hnswlib-node does not load \(.*compiled against another Node.*\): exact search serves$/,
  );
  expect(index.search(queries, 3)).toEqual(exactSearch(queries, gallery, 3));
});

test("a file of embeddings is an index that is searched exactly", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "m3ret-hnsw-test-")), "gallery.npz");
  const gallery = randomSet(40, 8, new Random(6), "g");
  saveEmbeddings(path, gallery);
  const index = await loadIndex(path);
  expect([index.engine, index.reason]).toEqual(["exact", `${path} holds no graph: exact search serves`]);
  expect(index.search(gallery, 3, { excludeOwnGroup: false }).indices[0]).toBe(0);
});
