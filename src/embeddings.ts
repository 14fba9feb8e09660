/**
 * What an encoder leaves behind: one vector per sample, with everything that the tables need to know about the sample.
 * Sets travel as `.npz` files that numpy opens without pickle.
 */
import { readNpz, writeNpz, type NpzArray, type NpzOutput } from "./npz.js";
import { InputError, MODALITIES, SPLITS, type Modality, type Sample, type Split } from "./types.js";

/** What is known of one row besides its vector. Samples and dataset records have this shape. */
export interface RowNotes {
  readonly id: string;
  readonly group: string;
  readonly modality: Modality;
  readonly labels: Readonly<Record<string, string>>;
}

/** n vectors of width d, row by row; row i of every list is about the same sample. */
export interface EmbeddingSet {
  /** [n, d] row major. */
  readonly vectors: Float32Array;
  readonly n: number;
  readonly d: number;
  readonly ids: readonly string[];
  /** The patient or case: a query never retrieves its own group. */
  readonly groups: readonly string[];
  /** Length n, or empty where a file does not say. */
  readonly modalities: readonly Modality[];
  /** Length n, or empty where nobody said. */
  readonly splits: readonly Split[];
  /** Column to one value per row; "" means unlabelled. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  /** How the vectors were made: encoder, pooling, seed, data… Every table's note is built from it. */
  readonly meta: Readonly<Record<string, string | number>>;
}

/**
 * Puts vectors and notes together and checks that they fit.
 *
 * @param vectors [n, d]  one row per note
 * @param splits  one per row, one for all rows, or none
 */
export function embeddingSet(
  vectors: Float32Array,
  rows: readonly RowNotes[],
  splits: readonly Split[] | Split = [],
  meta: Readonly<Record<string, string | number>> = {},
): EmbeddingSet {
  const n = rows.length;
  const d = n === 0 ? 0 : vectors.length / n;
  if (!Number.isInteger(d)) {
    throw new InputError(`embeddings: ${vectors.length} numbers cannot be shared evenly among ${n} rows`);
  }
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row.labels)))].sort();
  return {
    vectors,
    n,
    d,
    ids: rows.map((row) => row.id),
    groups: rows.map((row) => row.group),
    modalities: rows.map((row) => row.modality),
    splits: typeof splits === "string" ? rows.map(() => splits) : splits,
    labels: Object.fromEntries(columns.map((column) => [column, rows.map((row) => row.labels[column] ?? "")])),
    meta,
  };
}

/** The rows for which `keep` is true, in order, with copies of their vectors. */
export function selectRows(set: EmbeddingSet, keep: (i: number) => boolean): EmbeddingSet {
  return takeRows(set, Array.from({ length: set.n }, (_, i) => i).filter(keep));
}

/** These rows in this order, with copies of their vectors; a row may come twice. */
export function takeRows(set: EmbeddingSet, rows: readonly number[]): EmbeddingSet {
  const vectors = new Float32Array(rows.length * set.d);
  rows.forEach((row, i) => vectors.set(set.vectors.subarray(row * set.d, (row + 1) * set.d), i * set.d));
  const take = <T>(values: readonly T[]): T[] => (values.length === 0 ? [] : rows.map((row) => values[row]));
  return {
    vectors,
    n: rows.length,
    d: set.d,
    ids: take(set.ids),
    groups: take(set.groups),
    modalities: take(set.modalities),
    splits: take(set.splits),
    labels: Object.fromEntries(Object.entries(set.labels).map(([column, values]) => [column, take(values)])),
    meta: set.meta,
  };
}

/** The rows of several sets of one encoder, one set after the other; the notes are those of the first. */
export function stackSets(sets: readonly EmbeddingSet[]): EmbeddingSet {
  const filled = sets.filter(({ n }) => n > 0);
  if (filled.length < 2) return filled[0] ?? sets[0];
  const [{ d, meta }] = filled;
  const n = filled.reduce((sum, set) => sum + set.n, 0);
  const vectors = new Float32Array(n * d);
  let at = 0;
  for (const set of filled) {
    if (set.d !== d) throw new InputError(`embeddings: vectors of ${set.d} numbers cannot follow vectors of ${d}`);
    vectors.set(set.vectors, at);
    at += set.vectors.length;
  }
  const all = <T>(of: (set: EmbeddingSet) => readonly T[]): T[] => filled.flatMap(of);
  const columns = [...new Set(filled.flatMap(({ labels }) => Object.keys(labels)))].sort();
  const column = (name: string) => all((set) => set.labels[name] ?? new Array<string>(set.n).fill(""));
  return {
    ...{ vectors, n, d, meta },
    ids: all(({ ids }) => ids),
    groups: all(({ groups }) => groups),
    modalities: all(({ modalities }) => modalities),
    splits: all(({ splits }) => splits),
    labels: Object.fromEntries(columns.map((name) => [name, column(name)])),
  };
}

/** Throws one line naming the first row that holds a NaN or an infinity: such a row has no neighbours. */
export function assertFinite(set: EmbeddingSet, name: string): void {
  const { vectors } = set;
  let at = 0;
  while (at < vectors.length && Number.isFinite(vectors[at])) at++; // four times as fast as findIndex
  if (at === vectors.length) return;
  const row = Math.floor(at / set.d);
  throw new InputError(
    `${name}: expected finite numbers, got ${vectors[at]} in row ${row} (${set.ids[row]}), dimension ${at % set.d}`,
  );
}

/**
 * Rows of length 1, so that a dot product is a cosine: x / ‖x‖. A zero row has no direction: it stays zero, its cosine
 * with everything is 0, and `meta.zeroRows` counts such rows (the key is absent when there is none).
 * `[3, 4]` becomes `[0.6, 0.8]`.
 */
export function normalise(set: EmbeddingSet): EmbeddingSet {
  const vectors = new Float32Array(set.vectors.length);
  let zeroRows = 0;
  for (let i = 0; i < set.n; i++) {
    let squares = 0;
    for (let t = i * set.d; t < (i + 1) * set.d; t++) squares += set.vectors[t] * set.vectors[t];
    if (squares === 0) {
      zeroRows++;
      continue;
    }
    const scale = 1 / Math.sqrt(squares);
    for (let t = i * set.d; t < (i + 1) * set.d; t++) vectors[t] = set.vectors[t] * scale;
  }
  return { ...set, vectors, meta: zeroRows > 0 ? { ...set.meta, zeroRows } : set.meta };
}

/**
 * Each row of length 1, minus the mean of its own modality's rows in this set, and of length 1 again. It removes what
 * all pictures of a modality share, and so part of the gap between modalities. It needs to know the query's modality,
 * which zero-shot retrieval does not: its numbers stand in a column of their own, never in place of the others.
 *
 * Query and gallery are each centred on their own means: `centrePerModality` is called on either.
 */
export function centrePerModality(set: EmbeddingSet): EmbeddingSet {
  if (set.modalities.length !== set.n) {
    throw new InputError("centring per modality: the embeddings do not say which modality each row is of");
  }
  const unit = normalise(set);
  const vectors = Float32Array.from(unit.vectors);
  for (const modality of new Set(set.modalities)) {
    const rows = set.modalities.flatMap((m, i) => (m === modality ? [i] : []));
    const mean = new Float64Array(set.d);
    for (const row of rows) for (let t = 0; t < set.d; t++) mean[t] += unit.vectors[row * set.d + t] / rows.length;
    for (const row of rows) for (let t = 0; t < set.d; t++) vectors[row * set.d + t] -= mean[t];
  }
  return normalise({ ...unit, vectors, meta: { ...unit.meta, centred: "per modality" } });
}

// ---------------------------------------------------------------------------------------------------------- pixels

/** [out, size]: how much of each of `size` pixels lies in each of `out` equal intervals; rows sum to 1. */
function areaWeights(size: number, out: number): Float64Array {
  const weights = new Float64Array(out * size);
  for (let o = 0; o < out; o++) {
    for (let i = 0; i < size; i++) {
      // Both grids are measured in units of 1 / (size · out) of the edge, so the overlaps are exact integers.
      const overlap = Math.min((o + 1) * size, (i + 1) * out) - Math.max(o * size, i * out);
      if (overlap > 0) weights[o * size + i] = overlap / size;
    }
  }
  return weights;
}

/**
 * A sample as plain numbers: the mean over channels and over D (frames or slices), averaged by area to
 * `[side, side]` and flattened. Not centred, not scaled. A sample that is 0.5 everywhere gives 0.5 everywhere.
 */
export function pixelVector(sample: Sample, side = 32): Float32Array {
  const [channels, depth, height, width] = sample.shape;
  const plane = new Float64Array(height * width);
  const share = 1 / (channels * depth);
  for (let i = 0; i < sample.pixels.length; i++) plane[i % plane.length] += sample.pixels[i] * share;

  const across = areaWeights(width, side);
  const down = areaWeights(height, side);
  const narrow = new Float64Array(height * side); // [H, side]
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < side; x++) {
      for (let i = 0; i < width; i++) narrow[y * side + x] += across[x * width + i] * plane[y * width + i];
    }
  }
  const small = new Float64Array(side * side); // [side, side]
  for (let y = 0; y < side; y++) {
    for (let i = 0; i < height; i++) {
      const weight = down[y * height + i];
      if (weight === 0) continue;
      for (let x = 0; x < side; x++) small[y * side + x] += weight * narrow[i * side + x];
    }
  }
  return Float32Array.from(small);
}

/** The raw-pixel baseline that every table prints: `pixelVector` of every sample, d = side². */
export function pixelEmbeddings(
  samples: readonly Sample[],
  side = 32,
  splits: readonly Split[] | Split = [],
): EmbeddingSet {
  const vectors = new Float32Array(samples.length * side * side);
  samples.forEach((sample, i) => vectors.set(pixelVector(sample, side), i * side * side));
  return embeddingSet(vectors, samples, splits, { encoder: "pixels", pooling: `area ${side} x ${side}` });
}

// ------------------------------------------------------------------------------------------------------------ files

const ATTACHED = "attached_";

/**
 * Writes a set as `.npz`, atomically. Arrays: `embeddings` [n, d] float32; `ids`, `groups`, `modality`, `split` and one
 * `label_<column>` per label, all unicode [n]; `meta`, one string of JSON. In Python:
 * `z = numpy.load(path); z["embeddings"][z["label_region"] == "chest"]; json.loads(str(z["meta"]))`.
 *
 * @param attachments  bytes that travel along under `attached_<name>`, such as a search index
 */
export function saveEmbeddings(
  path: string,
  set: EmbeddingSet,
  attachments: Readonly<Record<string, Uint8Array>> = {},
): void {
  const text: Record<string, readonly string[]> = { ids: set.ids, groups: set.groups };
  if (set.modalities.length > 0) text.modality = set.modalities;
  if (set.splits.length > 0) text.split = set.splits;
  for (const [column, values] of Object.entries(set.labels)) text[`label_${column}`] = values;

  const arrays: Record<string, NpzOutput> = {
    embeddings: { data: set.vectors, shape: [set.n, set.d] },
    meta: { data: [JSON.stringify(set.meta)], shape: [] },
  };
  for (const [name, values] of Object.entries(text)) {
    if (values.length !== set.n) throw new InputError(`${path}: ${name} has ${values.length} values for ${set.n} rows`);
    arrays[name] = { data: values, shape: [set.n] };
  }
  for (const [name, bytes] of Object.entries(attachments)) {
    arrays[ATTACHED + name] = { data: bytes, shape: [bytes.length] };
  }
  writeNpz(path, arrays);
}

/** Bytes that `saveEmbeddings` took along under this name, or null. */
export function loadAttachment(path: string, name: string): Uint8Array | null {
  const array = readNpz(path).get(ATTACHED + name);
  return array === undefined ? null : Uint8Array.from(array.data as ArrayLike<number>);
}

/**
 * Reads what `saveEmbeddings` or numpy wrote. Only `embeddings` [n, d] is required. Without `ids`, a row is named after
 * the file and its number; without `groups`, every id is its own group, and `meta.note` says so. Any other array of
 * shape [n] is a label column, with or without `label_` before its name, and numbers in it become text; arrays of other
 * shapes are left alone.
 */
export function loadEmbeddings(path: string): EmbeddingSet {
  const arrays = readNpz(path);
  const embeddings = arrays.get("embeddings");
  if (embeddings === undefined) {
    throw new InputError(`${path}: expected an array named embeddings, got ${[...arrays.keys()].join(", ") || "none"}`);
  }
  const [n, d] = embeddings.shape;
  if (embeddings.shape.length !== 2 || typeof embeddings.data[0] === "string") {
    const type = typeof embeddings.data[0] === "string" ? "text" : "numbers";
    throw new InputError(
      `${path}: expected embeddings to be numbers [n, d], got ${type} [${embeddings.shape.join(", ")}]`,
    );
  }

  const own: Record<string, readonly string[]> = {};
  const labels: Record<string, readonly string[]> = {};
  for (const [name, array] of arrays) {
    const isOwn = ["ids", "groups", "modality", "split"].includes(name);
    const fits = array.shape.length === 1 && array.shape[0] === n;
    if (isOwn && !fits) {
      throw new InputError(`${path}: expected ${name} of shape [${n}], got [${array.shape.join(", ")}]`);
    }
    if (isOwn) own[name] = Array.from(array.data, String);
    else if (fits && name !== "meta" && !name.startsWith(ATTACHED))
      labels[name.replace(/^label_/, "")] = Array.from(array.data, String);
  }

  const meta = readMeta(path, arrays.get("meta"));
  const ids = own.ids ?? Array.from({ length: n }, (_, i) => `${path}#${i}`);
  if (own.groups === undefined) meta.note = "the file has no array named groups: every id is its own group";
  const set: EmbeddingSet = {
    vectors:
      embeddings.data instanceof Float32Array
        ? embeddings.data
        : Float32Array.from(embeddings.data as ArrayLike<number>, Number),
    n,
    d,
    ids,
    groups: own.groups ?? ids,
    modalities: oneOf(path, "modality", own.modality ?? [], MODALITIES),
    splits: oneOf(path, "split", own.split ?? [], SPLITS),
    labels,
    meta,
  };
  assertFinite(set, path);
  return set;
}

function oneOf<T extends string>(path: string, name: string, values: readonly string[], allowed: readonly T[]): T[] {
  const wrong = values.find((value) => !(allowed as readonly string[]).includes(value));
  if (wrong === undefined) return values as T[];
  throw new InputError(`${path}: expected ${name} to be one of ${allowed.join(", ")}, got "${wrong}"`);
}

function readMeta(path: string, array: NpzArray | undefined): Record<string, string | number> {
  if (array === undefined) return {};
  try {
    const meta: unknown = JSON.parse(String(array.data[0]));
    if (typeof meta === "object" && meta !== null && !Array.isArray(meta))
      return meta as Record<string, string | number>;
  } catch {
    // Said below, in one line for both ways to be wrong.
  }
  throw new InputError(`${path}: expected meta to be one string holding a JSON object`);
}
