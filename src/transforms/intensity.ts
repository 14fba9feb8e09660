/**
 * From stored units (Hounsfield, shades of grey, scanner units) to [0, 1]. A voxel that is not a number lies outside the
 * scan: it becomes 0 (black), and no statistic counts it. The rules are ours; the paper does not state its own.
 */
import type { IntensityRule } from "../datasets/catalog.js";

/**
 * `(x − low) / (high − low)`, clipped to [0, 1]. With low = 0 and high = 255: 51 → 0.2, 300 → 1, −3 → 0, NaN → 0.
 *
 * @param pixels any shape, in stored units
 * @returns      the same shape, in [0, 1]
 */
export function rangeScale(pixels: Float32Array, low: number, high: number): Float32Array {
  const scaled = new Float32Array(pixels.length);
  const factor = 1 / (high - low);
  for (let i = 0; i < pixels.length; i++) {
    const x = pixels[i];
    // Written so that NaN fails the first comparison and stays 0.
    if (x > low) scaled[i] = x < high ? (x - low) * factor : 1;
  }
  return scaled;
}

/**
 * A display window in Hounsfield units: `rangeScale` under the name that radiologists use. In the window
 * [−160, 240], 40 HU (soft tissue) is 0.5, air (−1000 HU) is 0 and bone (700 HU) is 1.
 */
export function windowHu(pixels: Float32Array, low: number, high: number): Float32Array {
  return rangeScale(pixels, low, high);
}

/**
 * `rangeScale` between two percentiles of the finite values, for files whose units mean nothing by themselves. For the
 * values 0 … 100 and the percentiles [10, 90], 10 → 0, 50 → 0.5 and 95 → 1. A constant picture becomes 0.
 */
export function percentileScale(pixels: Float32Array, lowPercent: number, highPercent: number): Float32Array {
  const [low, high] = percentiles(pixels, [lowPercent, highPercent]);
  return high > low ? rangeScale(pixels, low, high) : new Float32Array(pixels.length);
}

/**
 * Percentiles of the finite values, linearly interpolated between the two nearest ranks (numpy's default):
 * `percentiles([1, 2, 3, 4], [50])` is [2.5]. [0, 0, …] where nothing is finite.
 *
 * Exact, without sorting everything (a CT may have 10⁸ voxels): a histogram says which bins hold the ranks that are
 * asked for, and only the values of those bins are sorted.
 *
 * @param percents each in [0, 100]
 */
export function percentiles(pixels: Float32Array, percents: readonly number[]): number[] {
  let [min, max, n] = [Infinity, -Infinity, 0];
  for (let i = 0; i < pixels.length; i++) {
    const x = pixels[i];
    if (x - x !== 0) continue; // NaN and ±Infinity
    if (x < min) min = x;
    if (x > max) max = x;
    n++;
  }
  if (n === 0) return percents.map(() => 0);
  if (min === max) return percents.map(() => min);

  const bins = 4096;
  const perUnit = (bins - 1) / (max - min);
  const binOf = (x: number): number => Math.trunc((x - min) * perUnit);
  const counts = new Uint32Array(bins);
  for (let i = 0; i < pixels.length; i++) {
    const x = pixels[i];
    if (x - x === 0) counts[binOf(x)]++;
  }

  const below = new Uint32Array(bins + 1); // values in all bins before this one
  for (let bin = 0; bin < bins; bin++) below[bin + 1] = below[bin] + counts[bin];
  const binOfRank = (k: number): number => below.findIndex((count) => count > k) - 1;
  const ranks = percents.map((percent) => (percent / 100) * (n - 1));
  const wanted = new Uint8Array(bins);
  for (const rank of ranks) {
    for (const k of [Math.floor(rank), Math.ceil(rank)]) wanted[binOfRank(k)] = 1;
  }
  const kept = new Float32Array(counts.reduce((sum, count, bin) => sum + count * wanted[bin], 0));
  for (let i = 0, at = 0; i < pixels.length; i++) {
    const x = pixels[i];
    if (x - x === 0 && wanted[binOf(x)] === 1) kept[at++] = x;
  }
  kept.sort();

  const valueAt = (k: number): number => {
    const last = binOfRank(k);
    let leftOut = 0; // smaller values, in bins that nobody wanted
    for (let bin = 0; bin < last; bin++) leftOut += counts[bin] * (1 - wanted[bin]);
    return kept[k - leftOut];
  };
  return ranks.map((rank) => {
    const low = valueAt(Math.floor(rank));
    return low + (rank - Math.floor(rank)) * (valueAt(Math.ceil(rank)) - low);
  });
}

/** A copy in which values from low to high are no numbers: what a file sets apart as never scanned. With [−9, −5], −7 → NaN. */
export function withoutPadding(pixels: Float32Array, [low, high]: readonly [number, number]): Float32Array {
  const kept = Float32Array.from(pixels);
  for (let i = 0; i < kept.length; i++) if (kept[i] >= low && kept[i] <= high) kept[i] = NaN;
  return kept;
}

/** Into [0, 1]: interpolation rounds, and a white picture may come out at 1.0000001. 0.5 → 0.5, 1.2 → 1, −0.1 → 0. */
export function clip(pixels: Float32Array): Float32Array {
  return rangeScale(pixels, 0, 1);
}

/** `1 − x`: MONOCHROME1 stores bright as low. 0.25 → 0.75; what is NaN in `stored` lies outside and stays 0. */
export function invert(scaled: Float32Array, stored = scaled): Float32Array {
  return scaled.map((x, i) => (Number.isNaN(stored[i]) ? 0 : 1 - x));
}

/** One rule of `datasets.yaml`, applied to values whose file has no display of its own: `voi` then means percentiles. */
export function scaleIntensity(pixels: Float32Array, rule: IntensityRule): Float32Array {
  if ("voi" in rule) return percentileScale(pixels, rule.voi[0], rule.voi[1]);
  if ("windowHu" in rule) return windowHu(pixels, rule.windowHu[0], rule.windowHu[1]);
  if ("percentiles" in rule) return percentileScale(pixels, rule.percentiles[0], rule.percentiles[1]);
  return rangeScale(pixels, rule.range[0], rule.range[1]);
}
