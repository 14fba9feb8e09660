/** Exact nearest neighbours by cosine. Recall in the tables is always measured with this, never with an approximation. */
import { assertFinite, normalise, type EmbeddingSet } from "../embeddings.js";
import { InputError } from "../types.js";
import { dotBlocks } from "./dot.js";

/** The k nearest gallery rows of each query, nearest first. */
export interface Neighbours {
  /** [q, k] row numbers in the gallery, −1 where there are fewer than k. */
  readonly indices: Int32Array;
  /** [q, k] cosines, 0 where the index is −1. */
  readonly scores: Float32Array;
  readonly k: number;
}

export interface SearchOptions {
  /** A query never retrieves its own patient. Off only where the same patient is what is looked for. */
  readonly excludeOwnGroup?: boolean;
}

/** Throws one line unless k is a whole number of at least 1. */
export function assertK(k: number): void {
  if (!Number.isInteger(k) || k < 1) throw new InputError(`k: expected a whole number of at least 1, got ${k}`);
}

/** Throws one line unless both sets have rows, the same width, and finite numbers. */
export function assertComparable(queries: EmbeddingSet, gallery: EmbeddingSet): void {
  for (const [name, set] of [
    ["queries", queries],
    ["gallery", gallery],
  ] as const) {
    if (set.n === 0) throw new InputError(`${name}: expected at least one embedding, got none`);
    assertFinite(set, name);
  }
  if (queries.d !== gallery.d) {
    throw new InputError(
      `queries have ${queries.d} dimensions and the gallery ${gallery.d}: embed both with the same encoder`,
    );
  }
}

/** Numbers for group names, so that comparing them in the inner loop is cheap. −1: a group the gallery does not have. */
export function groupNumbers(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
): { readonly query: Int32Array; readonly gallery: Int32Array } {
  const numbers = new Map<string, number>();
  for (const group of gallery.groups) if (!numbers.has(group)) numbers.set(group, numbers.size);
  const look = (groups: readonly string[]) => Int32Array.from(groups, (group) => numbers.get(group) ?? -1);
  return { query: look(queries.groups), gallery: look(gallery.groups) };
}

const QUERY_BLOCK = 64;

/** The best k of `candidates` by insertion: right for small k, because most candidates fail the first comparison. */
function selectBest(scores: Float32Array, candidates: Int32Array, count: number, k: number, order: Int32Array): number {
  let kept = 0;
  for (let c = 0; c < count; c++) {
    const j = candidates[c];
    const score = scores[j];
    if (kept === k && !(score > scores[order[k - 1]])) continue;
    // Strictly greater: of equal scores the smaller row number, which came first, stays ahead.
    let at = kept < k ? kept++ : k - 1;
    for (; at > 0 && score > scores[order[at - 1]]; at--) order[at] = order[at - 1];
    order[at] = j;
  }
  return kept;
}

/** Room for `sortAll`, made once for a gallery of n. */
interface Sorter {
  readonly keys: readonly [Uint32Array, Uint32Array];
  readonly rows: readonly [Int32Array, Int32Array];
  readonly starts: Int32Array;
}

const sorterOf = (n: number): Sorter => ({
  keys: [new Uint32Array(n), new Uint32Array(n)],
  rows: [new Int32Array(n), new Int32Array(n)],
  starts: new Int32Array(4 * 256),
});

/**
 * All candidates in order. A score's 32 bits, turned so that a larger float is a smaller integer, are sorted byte by byte from
 * the lowest (radix sort), which keeps the order of what is equal: candidates come in order of row number.
 */
function sortAll(
  scores: Float32Array,
  candidates: Int32Array,
  count: number,
  { keys, rows, starts }: Sorter,
  order: Int32Array,
): number {
  const bits = new Uint32Array(scores.buffer, scores.byteOffset, scores.length);
  starts.fill(0);
  const [given] = keys;
  for (let c = 0; c < count; c++) {
    const score = bits[candidates[c]];
    // Sums that start at 0 never end at −0, so equal scores have equal bits.
    const key = (score >= 0x80000000 ? score : 0x7fffffff - score) >>> 0;
    given[c] = key;
    starts[key & 255]++;
    starts[256 + ((key >>> 8) & 255)]++;
    starts[512 + ((key >>> 16) & 255)]++;
    starts[768 + (key >>> 24)]++;
  }
  let from = candidates;
  for (let byte = 0; byte < 4; byte++) {
    const base = 256 * byte;
    for (let value = 0, start = 0; value < 256; value++) {
      const those = starts[base + value];
      starts[base + value] = start;
      start += those;
    }
    const [now, next, to] = [keys[byte % 2], keys[1 - (byte % 2)], byte === 3 ? order : rows[byte % 2]];
    for (let c = 0; c < count; c++) {
      const key = now[c];
      const at = starts[base + ((key >>> (8 * byte)) & 255)]++;
      next[at] = key;
      to[at] = from[c];
    }
    from = to;
  }
  return count;
}

/**
 * Visits the queries in order, each with its nearest gallery rows: row numbers, nearest first, equal scores in order of
 * row number; and the query's scores by gallery row. Both arrays are used again for the next query: copy what you keep.
 * There are fewer than k rows where the gallery has fewer that the query may retrieve.
 */
export function forEachRanking(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
  k: number,
  { excludeOwnGroup = true }: SearchOptions,
  visit: (query: number, order: Int32Array, scores: Float32Array) => void,
): void {
  assertComparable(queries, gallery);
  assertK(k);
  const { n, d } = gallery;
  const few = k <= 100 && k * 8 <= n;
  const unitQueries = normalise(queries).vectors;
  const unitGallery = normalise(gallery).vectors;
  const blocks = dotBlocks(d, QUERY_BLOCK);
  const groups = groupNumbers(queries, gallery);
  const scores = new Float32Array(QUERY_BLOCK * n);
  const candidates = new Int32Array(n);
  const order = new Int32Array(n);
  const sorter = sorterOf(few ? 0 : n);

  for (let first = 0; first < queries.n; first += QUERY_BLOCK) {
    const last = Math.min(first + QUERY_BLOCK, queries.n);
    blocks.multiply(unitQueries.subarray(first * d, last * d), unitGallery, scores, n);
    for (let i = first; i < last; i++) {
      const row = scores.subarray((i - first) * n, (i - first + 1) * n);
      const own = excludeOwnGroup ? groups.query[i] : -1;
      let count = 0;
      for (let j = 0; j < n; j++) if (own < 0 || groups.gallery[j] !== own) candidates[count++] = j;
      const kept = few
        ? selectBest(row, candidates, count, k, order)
        : Math.min(k, sortAll(row, candidates, count, sorter, order));
      visit(i, order.subarray(0, kept), row);
    }
  }
}

/**
 * The k nearest gallery rows of every query by cosine, exactly. Equal scores are in order of gallery row, so the answer
 * is the same on every machine. k may be the whole gallery. A zero vector has cosine 0 with everything.
 *
 * By hand: of the gallery [1, 0], [0, 1], [1, 1], the query [2, 0] retrieves rows 0, 2, 1 with cosines 1, 0.7071, 0.
 */
export function exactSearch(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
  k: number,
  options: SearchOptions = {},
): Neighbours {
  assertK(k);
  const indices = new Int32Array(queries.n * k).fill(-1);
  const found = new Float32Array(queries.n * k);
  forEachRanking(queries, gallery, k, options, (query, order, scores) => {
    indices.set(order, query * k);
    for (let r = 0; r < order.length; r++) found[query * k + r] = scores[order[r]];
  });
  return { indices, scores: found, k };
}
