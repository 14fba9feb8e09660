/** What a number would be if nothing belonged together: permutation tests, and how far the number itself may be off. */
import type { Random } from "../random.js";
import { quantile, type Interval } from "../retrieval/bootstrap.js";
import { InputError } from "../types.js";

/** A value beside what chance gives. */
export interface NullTest {
  readonly value: number;
  /** Mean of the permuted values, and the ends that hold 95 % of them. */
  readonly nullMean: number;
  readonly nullLow: number;
  readonly nullHigh: number;
  /** One-sided; never 0: the observed order is one of the possible ones. */
  readonly p: number;
  readonly rounds: number;
}

export interface PermutationOptions {
  /** The only source of chance; it is forked, so the caller's stays as it was. */
  readonly random: Random;
  /** Permutations besides the observed order. */
  readonly rounds?: number;
  /** What would speak against chance: a value that is "greater" (the default) or "less" than permuted ones. */
  readonly tail?: "greater" | "less";
}

/**
 * A permutation test (Fisher 1935; p as in Phipson & Smyth 2010):
 *
 *     p = (1 + #{permuted value at least as extreme as the observed one}) / (1 + rounds)
 *
 * With 199 rounds the smallest p is 0.005.
 *
 * @param n         how many things are permuted
 * @param statistic from an order of 0 … n − 1 to the number in question; the identity gives the observed value
 */
export function permutationTest(
  n: number,
  statistic: (order: Int32Array) => number,
  { random, rounds = 199, tail = "greater" }: PermutationOptions,
): NullTest {
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new InputError(`permutation test: expected rounds ≥ 1, got ${rounds}`);
  const value = statistic(Int32Array.from({ length: n }, (_, i) => i));
  const own = random.fork("permutations");
  const permuted = Float64Array.from({ length: rounds }, () => statistic(own.permutation(n)));
  // Sums in another order differ in the last digits: what is equal on paper counts as equal.
  const slack = 1e-12 * Math.max(1, Math.abs(value));
  const extreme = permuted.filter((x) => (tail === "greater" ? x >= value - slack : x <= value + slack)).length;
  const sorted = permuted.slice().sort();
  return {
    value,
    nullMean: permuted.reduce((sum, x) => sum + x, 0) / rounds,
    nullLow: quantile(sorted, 0.025),
    nullHigh: quantile(sorted, 0.975),
    p: (1 + extreme) / (1 + rounds),
    rounds,
  };
}

/**
 * The 95 % interval of a statistic that a bootstrap would bias, because a row drawn twice is alike itself (CKA): a jackknife
 * over blocks of rows (Tukey 1958; Efron & Tibshirani 1993, §11.5),
 *
 *     s² = (B − 1)/B · Σ_b (θ_(−b) − mean θ_(−b))²        value ± 1.96 s
 *
 * @param n         rows, one of each patient; blocks are drawn by `random`
 * @param statistic from the rows that stay, in rising order, to the number in question; where it is undefined (NaN: nothing
 *                  of a kind stays) the block is left out
 */
export function jackknife(
  n: number,
  statistic: (rows: Int32Array) => number,
  { random, blocks = 20 }: { readonly random: Random; readonly blocks?: number },
): Interval {
  const all = Int32Array.from({ length: n }, (_, i) => i);
  const value = statistic(all);
  const B = Math.min(blocks, n);
  const order = random.fork("jackknife").permutation(n);
  const blockOf = new Int32Array(n);
  order.forEach((row, place) => (blockOf[row] = place % B));
  const parts = Array.from({ length: B }, (_, b) => statistic(all.filter((row) => blockOf[row] !== b)));
  const without = parts.filter((x) => !Number.isNaN(x));
  const mean = without.reduce((sum, x) => sum + x, 0) / without.length;
  const s = Math.sqrt(((B - 1) / B) * without.reduce((sum, x) => sum + (x - mean) ** 2, 0));
  return { value, low: value - 1.96 * s, high: value + 1.96 * s };
}
