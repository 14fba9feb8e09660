/** How far a mean over runs with other seeds might be from the mean over all seeds. */
import type { Interval } from "../retrieval/bootstrap.js";
import { InputError } from "../types.js";

/** Student's t at 97.5 % for 1 to 30 degrees of freedom (scipy.stats.t.ppf(0.975, df), rounded). */
const T975 = [
  12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622, 2.2281, 2.201, 2.1788, 2.1604, 2.1448, 2.1314,
  2.1199, 2.1098, 2.1009, 2.093, 2.086, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
];

/** Student's t at 97.5 %: 4.3027 for 2 degrees of freedom, 1.96 for very many (Abramowitz & Stegun 26.7.5 beyond 30). */
export function student975(df: number): number {
  if (!Number.isInteger(df) || df < 1)
    throw new InputError(`Student's t: expected degrees of freedom from 1 on, got ${df}`);
  if (df <= T975.length) return T975[df - 1];
  const z = 1.959964;
  return (
    z +
    (z ** 3 + z) / (4 * df) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * df ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * df ** 3)
  );
}

/**
 * The mean over seeds with its 95 % interval, taking the seeds' values for a normal sample:
 *
 *     mean ± t(0.975, n − 1) s / √n        s² = Σ (x − mean)² / (n − 1)
 *
 * Three seeds have t = 4.3: their interval is wide, and honest. (1, 2, 3) gives 2 ± 2.484.
 *
 * @returns null for a single seed, which says nothing about others
 */
export function overSeeds(values: readonly number[]): Interval | null {
  const n = values.length;
  if (n < 2) return null;
  const value = values.reduce((sum, x) => sum + x, 0) / n;
  const variance = values.reduce((sum, x) => sum + (x - value) ** 2, 0) / (n - 1);
  const reach = student975(n - 1) * Math.sqrt(variance / n);
  return { value, low: value - reach, high: value + reach };
}
