/** What pretraining without pairs did to the modalities' places in the space: do they share it, and by what? */
import { normalise, selectRows, takeRows, type EmbeddingSet } from "../embeddings.js";
import type { BootstrapOptions } from "../retrieval/bootstrap.js";
import { dotBlocks } from "../retrieval/dot.js";
import { evaluateRetrieval, type RetrievalReport } from "../retrieval/protocol.js";
import { InputError, type Modality } from "../types.js";

/** The rows of one modality; an `InputError` where there are none. */
export function ofModality(set: EmbeddingSet, modality: Modality, name = "embeddings"): EmbeddingSet {
  const rows = selectRows(set, (i) => set.modalities[i] === modality);
  if (rows.n > 0) return rows;
  const present = [...new Set(set.modalities)].sort().join(", ") || "none that the file names";
  throw new InputError(`${name}: expected rows of modality ${modality}; there are: ${present}`);
}

export interface CrossModalCell {
  readonly from: Modality;
  readonly to: Modality;
  /** Queries of `from`, gallery of `to`. */
  readonly report: RetrievalReport;
}

export interface CrossModalMatrix {
  readonly label: string;
  readonly modalities: readonly Modality[];
  /** Row by row: every query modality with every gallery modality. */
  readonly cells: readonly CrossModalCell[];
}

/**
 * Label retrieval from every query modality into every gallery modality: the diagonal is retrieval within a modality,
 * the rest is alignment that no pair taught. A query never retrieves its own patient.
 *
 * @param modalities  default: all that both sets hold, in order of first appearance among the queries
 */
export function crossModalMatrix(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
  options: {
    readonly label: string;
    readonly modalities?: readonly Modality[];
    readonly ks?: readonly number[];
    readonly bootstrap: BootstrapOptions;
  },
): CrossModalMatrix {
  const held = new Set(gallery.modalities);
  const modalities = options.modalities ?? [...new Set(queries.modalities)].filter((modality) => held.has(modality));
  if (modalities.length === 0) throw new InputError("cross-modal retrieval: the sets have no modality in common");
  const cells = modalities.flatMap((from) => {
    const asking = ofModality(queries, from, "queries");
    return modalities.map((to): CrossModalCell => {
      const report = evaluateRetrieval(asking, ofModality(gallery, to, "gallery"), options);
      return { from, to, report };
    });
  });
  return { label: options.label, modalities, cells };
}

export interface PairReport extends RetrievalReport {
  readonly from: Modality;
  readonly to: Modality;
}

/**
 * Finds the same patient in another modality: relevant is what belongs to the query's own group, among all rows of
 * modality `to`. Exact pairs are a ground truth that training never used. Both sets have to hold the same patients, so
 * both come from the same evaluation split; usually they are one set. Reported: Recall@K, median rank, MRR, chance, n.
 *
 * With one partner among N, chance Recall@K is K / N and a random median rank about N / 2.
 */
export function pairRetrieval(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
  options: {
    readonly from: Modality;
    readonly to: Modality;
    readonly ks?: readonly number[];
    readonly bootstrap: BootstrapOptions;
  },
): PairReport {
  const { from, to } = options;
  if (from === to) throw new InputError(`pairs: expected two different modalities, got ${from} twice`);
  const asking = ofModality(queries, from, "queries");
  const answering = ofModality(gallery, to, "gallery");
  const patients = new Set(answering.groups);
  if (!asking.groups.some((group) => patients.has(group))) {
    throw new InputError(
      `pairs: no patient has ${from} in the queries and ${to} in the gallery; take both from one split`,
    );
  }
  const report = evaluateRetrieval(asking, answering, { ...options, relevance: "group" });
  return { ...report, from, to };
}

/** Rows of two modalities, paired: row i of both is the first of its modality of the i-th patient who has both. */
export function pairRows(
  set: EmbeddingSet,
  from: Modality,
  to: Modality,
): { readonly from: EmbeddingSet; readonly to: EmbeddingSet } {
  const firsts = (modality: Modality): Map<string, number> => {
    const rows = new Map<string, number>();
    set.groups.forEach((group, i) => {
      if (set.modalities[i] === modality && !rows.has(group)) rows.set(group, i);
    });
    return rows;
  };
  const [a, b] = [firsts(from), firsts(to)];
  const patients = [...a.keys()].filter((group) => b.has(group));
  return {
    from: takeRows(
      set,
      patients.map((group) => a.get(group)!),
    ),
    to: takeRows(
      set,
      patients.map((group) => b.get(group)!),
    ),
  };
}

/**
 * How far apart positive pairs are, for unit rows (Wang & Isola, arXiv 2005.10242, eq. "alignment"):
 *
 *     mean_i ‖x_i − y_i‖^α          α = 2: 2 − 2 × the mean cosine of the pairs; 0 is best, 4 is opposite
 *
 * @param x [n, d], @param y [n, d]  row i of both is one pair; rows are normalised here
 */
export function alignment(x: EmbeddingSet, y: EmbeddingSet, alpha = 2): number {
  if (x.n !== y.n || x.d !== y.d || x.n === 0) {
    throw new InputError(`alignment: expected two equal shapes with rows, got [${x.n}, ${x.d}] and [${y.n}, ${y.d}]`);
  }
  const [a, b] = [normalise(x).vectors, normalise(y).vectors];
  let sum = 0;
  for (let i = 0; i < x.n; i++) {
    let squares = 0;
    for (let t = i * x.d; t < (i + 1) * x.d; t++) squares += (a[t] - b[t]) ** 2;
    sum += squares ** (alpha / 2);
  }
  return sum / x.n;
}

/**
 * How evenly unit rows fill the sphere (Wang & Isola, eq. "uniformity"): log of the mean Gaussian potential of all pairs,
 *
 *     log mean_{i < j} exp(−t ‖x_i − x_j‖²)          t = 2; 0 where all rows are the same, lower is more even
 *
 * Two opposite points give −8. Rows are normalised here; the work grows with n².
 */
export function uniformity(x: EmbeddingSet, t = 2): number {
  if (x.n < 2) throw new InputError(`uniformity: expected at least two embeddings, got ${x.n}`);
  const { vectors } = normalise(x);
  const rows = 64;
  const blocks = dotBlocks(x.d, rows);
  const dots = new Float32Array(rows * x.n);
  const squares = Float64Array.from({ length: x.n }, (_, i) =>
    vectors.subarray(i * x.d, (i + 1) * x.d).reduce((sum, value) => sum + value * value, 0),
  );
  let sum = 0;
  for (let first = 0; first < x.n; first += rows) {
    const last = Math.min(first + rows, x.n);
    blocks.multiply(vectors.subarray(first * x.d, last * x.d), vectors, dots, x.n);
    for (let i = first; i < last; i++) {
      for (let j = i + 1; j < x.n; j++) {
        sum += Math.exp(-t * Math.max(0, squares[i] + squares[j] - 2 * dots[(i - first) * x.n + j]));
      }
    }
  }
  return Math.log(sum / ((x.n * (x.n - 1)) / 2));
}

/**
 * Distance between the centroids of two modalities' unit rows (Liang et al., arXiv 2203.02053): 0 where they share a
 * centre, √2 for all rows of one at [1, 0] and of the other at [0, 1], at most 2.
 */
export function modalityGap(set: EmbeddingSet, a: Modality, b: Modality): number {
  const centroid = (modality: Modality): Float64Array => {
    const rows = normalise(ofModality(set, modality));
    const mean = new Float64Array(set.d);
    for (let i = 0; i < rows.vectors.length; i++) mean[i % set.d] += rows.vectors[i] / rows.n;
    return mean;
  };
  const [x, y] = [centroid(a), centroid(b)];
  return Math.sqrt(x.reduce((sum, value, t) => sum + (value - y[t]) ** 2, 0));
}
