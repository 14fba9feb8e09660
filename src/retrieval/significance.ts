/** Are two encoders different on the same queries, or is it the luck of these patients? Paired tests, and Holm's correction. */
import type { Random } from "../random.js";
import { InputError } from "../types.js";
import { drawGroups, quantileOf, type Interval } from "./bootstrap.js";

export interface PairedOptions {
  /** Draws signs where not every pattern can be counted, and the resamples of the interval. */
  readonly random: Random;
  /** Sign patterns that are drawn where they cannot be counted. */
  readonly rounds?: number;
  /** Resamples and level of the interval of the difference. */
  readonly bootstrapRounds?: number;
  readonly level?: number;
  /** `drawGroups` of these groups, where many tests share it. */
  readonly resamples?: Uint16Array;
}

export interface PairedTest {
  /** Mean over queries of a − b, and its bootstrap interval over groups. */
  readonly difference: Interval;
  /** Two-sided. */
  readonly p: number;
  /** How p was found: every sign pattern counted, or patterns drawn. */
  readonly method: "exact" | "drawn";
  readonly n: number;
  /** Groups, and those of them in which a and b differ: the others can say nothing. */
  readonly groups: number;
  readonly informative: number;
}

/** Sums of values by group, in order of first appearance, and how many rows each has. */
function byGroup(values: ArrayLike<number>, groups: readonly string[]): { sums: Float64Array; counts: Float64Array } {
  const numbers = new Map<string, number>();
  for (const group of groups) if (!numbers.has(group)) numbers.set(group, numbers.size);
  const [sums, counts] = [new Float64Array(numbers.size), new Float64Array(numbers.size)];
  groups.forEach((group, i) => {
    sums[numbers.get(group)!] += values[i];
    counts[numbers.get(group)!]++;
  });
  return { sums, counts };
}

/** The mean over rows, and its percentile interval over resampled groups. */
function meanInterval(sums: Float64Array, counts: Float64Array, drawn: Uint16Array, level: number): Interval {
  const n = sums.length;
  const total = (of: Float64Array) => of.reduce((sum, x) => sum + x, 0);
  const means = new Float64Array(drawn.length / n);
  for (let round = 0; round < means.length; round++) {
    let [sum, count] = [0, 0];
    for (let g = 0; g < n; g++) {
      const weight = drawn[round * n + g];
      sum += weight * sums[g];
      count += weight * counts[g];
    }
    means[round] = sum / count;
  }
  const [low, high] = [quantileOf(means, (1 - level) / 2), quantileOf(means, (1 + level) / 2)];
  return { value: total(sums) / total(counts), low, high };
}

/**
 * The share of all sign patterns whose sum is at least as far from 0 as the observed one, for whole numbers:
 * the distribution of Σ ± |d_g| by adding one group after the other. `exactSignFlip([1, 1, 1])` is 2 / 8.
 */
export function exactSignFlip(sums: ArrayLike<number>): number {
  const sizes = Array.from(sums, Math.abs).filter((size) => size > 0);
  const reach = sizes.reduce((total, size) => total + size, 0);
  let share = new Float64Array(2 * reach + 1); // share[reach + s]: patterns that sum to s
  share[reach] = 1;
  for (const size of sizes) {
    const next = new Float64Array(share.length);
    for (let i = 0; i < share.length; i++) {
      if (share[i] === 0) continue;
      next[i - size] += share[i] / 2;
      next[i + size] += share[i] / 2;
    }
    share = next;
  }
  const seen = Math.abs(Array.from(sums).reduce((total, sum) => total + sum, 0));
  let p = 0;
  for (let s = -reach; s <= reach; s++) if (Math.abs(s) >= seen) p += share[reach + s];
  return Math.min(1, p);
}

/** Groups times the sum of their differences, up to which all patterns are counted: half a second. */
const COUNTABLE = 1e8;

/** As `exactSignFlip` for any numbers: all patterns where they are few, otherwise (1 + as far) / (1 + rounds) of drawn ones. */
function signFlip(sums: Float64Array, rounds: number, random: Random): { p: number; method: PairedTest["method"] } {
  const sizes = sums.filter((sum) => sum !== 0);
  const seen = Math.abs(sizes.reduce((total, sum) => total + sum, 0));
  const far = (total: number) => Math.abs(total) >= seen * (1 - 1e-12); // equal sums differ in their last bits
  if (sizes.length < 31 && 2 ** sizes.length <= rounds) {
    let count = 0;
    for (let pattern = 0; pattern < 2 ** sizes.length; pattern++) {
      let total = 0;
      for (let g = 0; g < sizes.length; g++) total += (pattern >> g) & 1 ? sizes[g] : -sizes[g];
      if (far(total)) count++;
    }
    return { p: count / 2 ** sizes.length, method: "exact" };
  }
  let count = 1;
  for (let round = 0; round < rounds; round++) {
    let [total, bits] = [0, 0];
    for (let g = 0; g < sizes.length; g++) {
      if (g % 32 === 0) bits = random.next();
      total += (bits >>> (g % 32)) & 1 ? sizes[g] : -sizes[g];
    }
    if (far(total)) count++;
  }
  return { p: count / (1 + rounds), method: "drawn" };
}

/**
 * Paired permutation test of two encoders over the same queries (Fisher 1935; for retrieval: Smucker, Allan & Carterette,
 * CIKM 2007), by groups: had the encoders no difference, each patient's answers might as well carry the other's name, so
 *
 *     T = Σ_g d_g,   d_g = Σ_{queries q of g} (a_q − b_q),   p = share of sign patterns s with |Σ_g s_g d_g| ≥ |T|
 *
 * Where all d_g are whole numbers, as for Recall@K, every pattern is counted (without chance; up to `COUNTABLE`); otherwise
 * `rounds` patterns are drawn and p = (1 + as far) / (1 + rounds). With one query a patient and Recall@K this is
 * McNemar's exact test: 5 patients won and none lost is 2 / 2⁵ = 0.0625.
 *
 * The gallery is taken as given: p speaks of other patients asking, not of another gallery or another training run.
 *
 * @param a, b [n]  the metric of each query, in the same order
 * @throws InputError where the lengths differ or there is nothing to compare
 */
export function pairedTest(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  groups: readonly string[],
  { random, rounds = 9999, bootstrapRounds = 1000, level = 0.95, resamples }: PairedOptions,
): PairedTest {
  if (a.length !== b.length || a.length !== groups.length || a.length === 0) {
    throw new InputError(
      `paired test: expected the same queries of both and their groups, got ${a.length}, ${b.length} and ${groups.length}`,
    );
  }
  const differences = Float64Array.from(a, (value, i) => value - b[i]);
  const { sums, counts } = byGroup(differences, groups);
  const reach = sums.reduce((total, sum) => total + Math.abs(sum), 0);
  const countable = sums.every(Number.isInteger) && sums.length * reach < COUNTABLE;
  const { p, method } = countable
    ? { p: exactSignFlip(sums), method: "exact" as const }
    : signFlip(sums, rounds, random.fork("signs"));
  const drawn = resamples ?? drawGroups(sums.length, bootstrapRounds, random.fork("difference"));
  return {
    difference: meanInterval(sums, counts, drawn, level),
    p,
    method,
    n: a.length,
    groups: sums.length,
    informative: sums.reduce((count, sum) => count + (sum === 0 ? 0 : 1), 0),
  };
}

/**
 * Holm's step-down correction (Holm 1979), which holds the chance of one false finding or more among m comparisons,
 * whatever their dependence. With p sorted, p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j)).
 *
 * `holm([0.01, 0.04, 0.03])` is [0.03, 0.06, 0.06].
 */
export function holm(p: readonly number[]): number[] {
  const order = p.map((_, i) => i).sort((i, j) => p[i] - p[j]);
  const adjusted = new Array<number>(p.length);
  let most = 0;
  order.forEach((at, i) => {
    most = Math.max(most, Math.min(1, (p.length - i) * p[at]));
    adjusted[at] = most;
  });
  return adjusted;
}
