/** Linear centred kernel alignment: do two views of the same things have the same geometry, up to rotation and scale? */
import { normalise, type EmbeddingSet } from "../embeddings.js";
import { InputError } from "../types.js";
import { gramMatrix } from "./products.js";

/** A centred Gram matrix [n, n] of unit rows, ready to be compared with others of the same n. */
export interface CentredGram {
  readonly n: number;
  readonly values: Float64Array;
  readonly debiased: boolean;
}

/** Dot products of all unit rows with all: [n, n]. */
export function gramOf(set: EmbeddingSet): Float64Array {
  const { vectors, n, d } = normalise(set);
  return gramMatrix(Float64Array.from(vectors), n, d);
}

/**
 * Centres a Gram matrix. Plain: H K H with H = I − 1/n. Debiased: the diagonal is left out and the means are those of what
 * is left (U-centring, Székely & Rizzo 2014), so that products of independent matrices are 0 on average,
 *
 *     U_ij = K_ij − Σ_t K_it /(n − 2) − Σ_t K_tj /(n − 2) + Σ K /((n − 1)(n − 2)),   U_ii = 0
 */
export function centreGram(gram: Float64Array, debiased: boolean): CentredGram {
  const n = Math.sqrt(gram.length);
  if (n < 4) throw new InputError(`CKA: expected at least 4 pairs, got ${n}`);
  const sums = new Float64Array(n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) if (!debiased || i !== j) sums[i] += gram[i * n + j];
  const total = sums.reduce((sum, x) => sum + x, 0);
  const [row, all] = debiased ? [n - 2, (n - 1) * (n - 2)] : [n, n * n];
  const values = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (debiased && i === j) continue;
      values[i * n + j] = gram[i * n + j] - (sums[i] + sums[j]) / row + total / all;
    }
  }
  return { n, values, debiased };
}

/** Σ_ij A_ij B_π(i)π(j); without an order, Σ_ij A_ij B_ij. Both are symmetric, so half of it is summed. */
export function gramProduct(a: CentredGram, b: CentredGram, order?: Int32Array): number {
  const { n } = a;
  let [off, diagonal] = [0, 0];
  for (let i = 0; i < n; i++) {
    const from = (order ? order[i] : i) * n;
    const own = i * n;
    if (order) for (let j = 0; j < i; j++) off += a.values[own + j] * b.values[from + order[j]];
    else for (let j = 0; j < i; j++) off += a.values[own + j] * b.values[from + j];
    diagonal += a.values[own + i] * b.values[from + (order ? order[i] : i)];
  }
  return 2 * off + diagonal;
}

/**
 * Linear CKA of two sets whose rows are pairs (Kornblith, Norouzi, Lee & Hinton, arXiv 1905.00414, eq. 4):
 *
 *     CKA = ⟨K, L⟩ / √(⟨K, K⟩ ⟨L, L⟩)        K, L: centred Gram matrices of x and y
 *
 * 1 where y is x turned, moved and scaled; it does not need equal widths. Plain CKA is above 0 for unrelated rows, the more
 * so the fewer pairs there are (near d / n); the debiased one (Nguyen, Raghu & Kornblith, arXiv 2010.15327; Song et al. 2012)
 * is 0 for them on average, and may be negative. Rows are normalised first, because everything else here is a cosine.
 *
 * @param x [n, d], @param y [n, e]  row i of both is one pair, n ≥ 4
 * @throws InputError where the numbers of rows differ, or all rows of a set are the same
 */
export function linearCka(x: EmbeddingSet, y: EmbeddingSet, { debiased = false } = {}): number {
  if (x.n !== y.n) throw new InputError(`CKA: expected as many rows on both sides, got ${x.n} and ${y.n}`);
  return ckaOf(centreGram(gramOf(x), debiased), centreGram(gramOf(y), debiased));
}

/** CKA of centred Gram matrices; `linearCka` without making them again. */
export function ckaOf(a: CentredGram, b: CentredGram): number {
  return ckaUnder(a, b)();
}

/** CKA as a function of the order in which the rows of b meet those of a. */
export function ckaUnder(a: CentredGram, b: CentredGram): (order?: Int32Array) => number {
  const length = Math.sqrt(gramProduct(a, a)) * Math.sqrt(gramProduct(b, b));
  if (!(length > 0)) throw new InputError("CKA: all rows of one side are the same, so there is no geometry to compare");
  return (order) => gramProduct(a, b, order) / length;
}

/** The rows and columns of a Gram matrix that these numbers name. */
export function subGram(gram: Float64Array, rows: Int32Array): Float64Array {
  const [n, m] = [Math.sqrt(gram.length), rows.length];
  const part = new Float64Array(m * m);
  for (let i = 0; i < m; i++) {
    const from = rows[i] * n;
    for (let j = 0; j < m; j++) part[i * m + j] = gram[from + rows[j]];
  }
  return part;
}
