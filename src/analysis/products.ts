/**
 * Products of float64 rows. Every sum is taken in the order of its terms, so that the result has the bits of the plain double
 * loop; several sums are under way at once, because a processor can add to eight of them while it waits for one.
 */

/** Σ_t a[i, t] b[j, t] of all rows a [n, d] with all rows b [m, d]: [n, m]. */
export function dotProducts(a: Float64Array, b: Float64Array, d: number): Float64Array {
  const [n, m] = [a.length / d, b.length / d];
  const out = new Float64Array(n * m);
  for (let i = 0; i < n; i += 2) dotRows(a, b, d, i, Math.min(i + 1, n - 1), m, out);
  return out;
}

/** Σ_t x[i, t] x[j, t] of all rows x [n, d] with all: [n, n], symmetric to the last bit. */
export function gramMatrix(x: Float64Array, n: number, d: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i += 2) {
    const last = Math.min(i + 1, n - 1);
    dotRows(x, x, d, i, last, last + 1, out, n);
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) out[j * n + i] = out[i * n + j];
  return out;
}

/** [n, d] to [d, n]. */
export function transposed(x: Float64Array, n: number, d: number): Float64Array {
  const out = new Float64Array(n * d);
  for (let i = 0; i < n; i++) for (let t = 0; t < d; t++) out[t * n + i] = x[i * d + t];
  return out;
}

/** Two rows of a (or one, twice) with the first m rows of b, four at a time. */
function dotRows(
  a: Float64Array,
  b: Float64Array,
  d: number,
  first: number,
  second: number,
  m: number,
  out: Float64Array,
  width: number = m,
): void {
  const [x, y] = [first * d, second * d];
  let j = 0;
  for (; j + 4 <= m; j += 4) {
    let [p, q, r, s] = [j * d, (j + 1) * d, (j + 2) * d, (j + 3) * d];
    let [xp, xq, xr, xs, yp, yq, yr, ys] = [0, 0, 0, 0, 0, 0, 0, 0];
    for (let t = 0; t < d; t++, p++, q++, r++, s++) {
      const u = a[x + t];
      const v = a[y + t];
      xp += u * b[p];
      xq += u * b[q];
      xr += u * b[r];
      xs += u * b[s];
      yp += v * b[p];
      yq += v * b[q];
      yr += v * b[r];
      ys += v * b[s];
    }
    let to = first * width + j;
    out[to] = xp;
    out[to + 1] = xq;
    out[to + 2] = xr;
    out[to + 3] = xs;
    to = second * width + j;
    out[to] = yp;
    out[to + 1] = yq;
    out[to + 2] = yr;
    out[to + 3] = ys;
  }
  for (; j < m; j++) {
    let [sum, other] = [0, 0];
    for (let t = 0, p = j * d; t < d; t++, p++) {
      sum += a[x + t] * b[p];
      other += a[y + t] * b[p];
    }
    out[first * width + j] = sum;
    out[second * width + j] = other;
  }
}

/**
 * out[c, t] += Σ_i factors[i, c] rows[i, t] for rows [n, d], each sum in the order of i.
 *
 * @param factors [n, k]
 * @param out     [k, d]
 */
export function addOuter(factors: Float64Array, rows: Float64Array, k: number, d: number, out: Float64Array): void {
  const n = factors.length / k;
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    for (let c = 0; c < k; c++) {
      const at = i * k + c;
      const [e, f, g, h] = [factors[at], factors[at + k], factors[at + 2 * k], factors[at + 3 * k]];
      let [p, q, r, s] = [i * d, (i + 1) * d, (i + 2) * d, (i + 3) * d];
      for (let to = c * d, end = to + d; to < end; to++, p++, q++, r++, s++) {
        out[to] = out[to] + e * rows[p] + f * rows[q] + g * rows[r] + h * rows[s];
      }
    }
  }
  for (; i < n; i++) {
    for (let c = 0; c < k; c++) {
      const factor = factors[i * k + c];
      for (let t = 0; t < d; t++) out[c * d + t] += factor * rows[i * d + t];
    }
  }
}
