/** How far a number might have moved with other patients. */
import type { Random } from "../random.js";
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
  const drawn = new Int32Array(names.length);
  const weights = new Int32Array(groups.length);
  for (let round = 0; round < rounds; round++) {
    drawn.fill(0);
    for (let i = 0; i < names.length; i++) drawn[random.int(names.length)]++;
    for (let i = 0; i < weights.length; i++) weights[i] = drawn[groupOf[i]];
    const resampled = statistics(weights);
    for (let i = 0; i < counts.length; i++) {
      if (!Number.isNaN(resampled[i])) samples[i][counts[i]++] = resampled[i];
    }
  }
  return values.map((value, i) => {
    const sorted = samples[i].subarray(0, counts[i]).sort();
    return { value, low: quantile(sorted, (1 - level) / 2), high: quantile(sorted, (1 + level) / 2) };
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
