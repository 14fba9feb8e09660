/** How far a number might have moved with other patients. */
import type { Random, RandomState } from "../random.js";
import { InputError } from "../types.js";

/** A measured value and the ends of its confidence interval. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface BootstrapOptions {
  /** The only chance in an evaluation: the same state gives the same resamples. */
  readonly random: Random;
  readonly rounds?: number;
  readonly level?: number;
}

/** Linear between the neighbours, as numpy's default: the quarter point of [0, 1, 2] is 0.5. NaN for no values. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return NaN;
  const at = q * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

/** Draws that others will ask for: every encoder that is judged on the same queries meets the same resamples. */
const latest = new Map<string, { readonly drawn: Uint16Array; readonly after: RandomState }>();
const KEPT = 32;
const LARGEST_KEPT = 2 ** 20; // numbers, of 2 bytes each

/**
 * How often each of n groups is drawn in each round of a bootstrap: [rounds, n], rows sum to n. The array is shared among those
 * who ask with a generator in the same state: it is not to be written to.
 */
export function drawGroups(n: number, rounds: number, random: Random): Uint16Array {
  const key = [...random.state(), n, rounds].join();
  const known = latest.get(key);
  if (known) {
    random.restore(known.after);
    return known.drawn;
  }
  const drawn = new Uint16Array(rounds * n);
  for (let from = 0; from < drawn.length; from += n) {
    for (let i = 0; i < n; i++) drawn[from + random.int(n)]++;
  }
  if (drawn.length <= LARGEST_KEPT) {
    if (latest.size === KEPT) latest.delete(latest.keys().next().value!);
    latest.set(key, { drawn, after: random.state() });
  }
  return drawn;
}

/** Puts the values in such an order that the one at `at` is where sorting would put it, none before it larger, none after it less. */
function select(values: Float64Array, at: number): void {
  let [from, to] = [0, values.length - 1];
  while (from < to) {
    const pivot = values[(from + to) >> 1];
    let [i, j] = [from, to];
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i > j) break;
      const kept = values[i];
      values[i++] = values[j];
      values[j--] = kept;
    }
    if (at <= j) to = j;
    else if (at >= i) from = i;
    else return;
  }
}

/** `quantile` of values in any order, which it changes: only the two that are needed find their places. */
export function quantileOf(values: Float64Array, q: number): number {
  if (values.length === 0) return NaN;
  const below = Math.floor(q * (values.length - 1));
  select(values, below);
  if (below + 1 < values.length) select(values.subarray(below + 1), 0);
  return quantile(values, q);
}

/**
 * Percentile bootstrap (Efron 1979) of several statistics at once, over groups: each round draws as many groups as
 * there are, with replacement, and a drawn group brings all its rows, because rows of one patient are not independent.
 * Where every row is its own group this is the ordinary bootstrap.
 *
 * A statistic that a resample leaves undefined (NaN: none of its rows was drawn) skips that round.
 *
 * @param groups      [n]  the group of each row
 * @param statistics  from how often each row counts, [n], to the numbers in question; all ones gives the values. It may return the
 *                    same array each time
 */
export function bootstrap(
  groups: readonly string[],
  statistics: (weights: Int32Array) => ArrayLike<number>,
  { random, rounds = 1000, level = 0.95 }: BootstrapOptions,
): Interval[] {
  if (groups.length === 0) throw new InputError("bootstrap: expected at least one row, got none");
  if (!Number.isInteger(rounds) || rounds < 1 || !(level > 0 && level < 1)) {
    throw new InputError(`bootstrap: expected rounds ≥ 1 and a level in (0, 1), got ${rounds} and ${level}`);
  }
  const names = [...new Set(groups)];
  const numbers = new Map(names.map((name, i) => [name, i]));
  const groupOf = Int32Array.from(groups, (group) => numbers.get(group)!);

  const values = Array.from(statistics(new Int32Array(groups.length).fill(1)));
  const samples = values.map(() => new Float64Array(rounds));
  const counts = new Int32Array(values.length);
  const drawn = drawGroups(names.length, rounds, random);
  const weights = new Int32Array(groups.length);
  for (let round = 0; round < rounds; round++) {
    const from = round * names.length;
    for (let i = 0; i < weights.length; i++) weights[i] = drawn[from + groupOf[i]];
    const resampled = statistics(weights);
    for (let i = 0; i < counts.length; i++) {
      if (!Number.isNaN(resampled[i])) samples[i][counts[i]++] = resampled[i];
    }
  }
  return values.map((value, i) => {
    const resampled = samples[i].subarray(0, counts[i]);
    return { value, low: quantileOf(resampled, (1 - level) / 2), high: quantileOf(resampled, (1 + level) / 2) };
  });
}

/**
 * The interval of a rate that came out as exactly 0 or 1, from n independent groups. No resample differs from such a
 * sample, so the bootstrap would give an interval without width, from a single query even. The exact binomial interval
 * (Clopper & Pearson 1934) is used instead; with all n groups hit it is
 *
 *     low = (α / 2)^(1/n), high = 1          α = 1 − level; none hit: low = 0, high = 1 − (α / 2)^(1/n)
 *
 * n = 1: [0.025, 1]. n = 24: [0.858, 1]. Any other interval is returned as it is.
 */
export function exactAtEnds(interval: Interval, n: number, level: number): Interval {
  const reach = 1 - Math.pow((1 - level) / 2, 1 / n);
  if (interval.value === 1) return { value: 1, low: 1 - reach, high: 1 };
  if (interval.value === 0) return { value: 0, low: 0, high: reach };
  return interval;
}

/** The mean of values and its interval; `bootstrapMean([1, 1, 1], ["a", "b", "c"], …)` is 1 from 1 to 1. */
export function bootstrapMean(
  values: ArrayLike<number>,
  groups: readonly string[],
  options: BootstrapOptions,
): Interval {
  if (values.length !== groups.length) {
    throw new InputError(`bootstrap: ${values.length} values for ${groups.length} rows`);
  }
  const mean = (weights: Int32Array): readonly number[] => {
    let [sum, count] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      sum += weights[i] * values[i];
      count += weights[i];
    }
    return [sum / count];
  };
  return bootstrap(groups, mean, options)[0];
}
