/**
 * Elementary functions that give the same bits everywhere. ECMAScript leaves the last bits of `Math.sin`, `Math.exp` and
 * `Math.pow` to the engine, so a phantom drawn with them could differ between Node versions or processors. These use
 * + − × ÷ and `Math.sqrt` alone, which IEEE 754 fixes bit for bit.
 */

const PI = 3.141592653589793;
const LN2 = 0.6931471805599453;

/** sin x, to 1e-8 absolute for |x| < 1000. `sine(Math.PI / 6)` is 0.5 to 1e-8. */
export function sine(x: number): number {
  const halfTurns = Math.round(x / PI);
  const r = x - halfTurns * PI; // in [−π/2, π/2]
  const q = r * r;
  // Taylor to r^13: the first term left out is at most (π/2)^15 / 15! = 6.7e-10.
  const series =
    r * (1 + q * (-1 / 6 + q * (1 / 120 + q * (-1 / 5040 + q * (1 / 362880 + q * (-1 / 39916800 + q / 6227020800))))));
  return halfTurns % 2 === 0 ? series : -series;
}

/** cos x, as accurate as `sine`. */
export function cosine(x: number): number {
  return sine(x + PI / 2);
}

/** 2^−200 … 2^200, each exact: a product of twos. */
const POWERS_OF_TWO: Float64Array = (() => {
  const table = new Float64Array(401);
  table[200] = 1;
  for (let k = 1; k <= 200; k++) {
    table[200 + k] = table[199 + k] * 2;
    table[200 - k] = table[201 - k] / 2;
  }
  return table;
})();

/** e^x, to 1e-12 relative, for x in [−138, 138]; beyond, the value at the end. `exponential(1)` is 2.718281828459. */
export function exponential(x: number): number {
  const k = Math.max(-200, Math.min(200, Math.round(x / LN2)));
  const r = Math.max(-0.35, Math.min(0.35, x - k * LN2));
  const series =
    1 +
    r *
      (1 +
        (r / 2) *
          (1 +
            (r / 3) *
              (1 +
                (r / 4) *
                  (1 + (r / 5) * (1 + (r / 6) * (1 + (r / 7) * (1 + (r / 8) * (1 + (r / 9) * (1 + r / 10)))))))));
  return series * POWERS_OF_TWO[200 + k];
}

/** ln x for x > 0, to 1e-10 absolute between 1e-60 and 1e60. `logarithm(10)` is 2.302585093. */
export function logarithm(x: number): number {
  let exponent = 0;
  let m = x;
  while (m > 1.4142135623730951) {
    const step = m > 65536 ? 16 : 1;
    m /= POWERS_OF_TWO[200 + step];
    exponent += step;
  }
  while (m < 0.7071067811865476) {
    const step = m < 1 / 65536 ? 16 : 1;
    m *= POWERS_OF_TWO[200 + step];
    exponent -= step;
  }
  const s = (m - 1) / (m + 1); // |s| < 0.172
  const q = s * s;
  const series = 2 * s * (1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q / 13))))));
  return exponent * LN2 + series;
}

/** x^y for x ≥ 0; 0 for x = 0. */
export function power(x: number, y: number): number {
  return x <= 0 ? 0 : exponential(y * logarithm(x));
}

export function clamp(x: number, low: number, high: number): number {
  return x < low ? low : x > high ? high : x;
}

/** The nearest integer within [low, high], and never −0, which no file can hold. */
export function quantise(x: number, low: number, high: number): number {
  return clamp(Math.round(x), low, high) + 0;
}

/** 0 below `from`, 1 above `to`, 3t² − 2t³ between: a soft threshold. */
export function smoothstep(from: number, to: number, x: number): number {
  const t = clamp((x - from) / (to - from), 0, 1);
  return t * t * (3 - 2 * t);
}

/**
 * Running mean over 2·radius + 1 neighbours along rows and then columns of one `[height, width]` picture, in place; the
 * border repeats. Three passes are close to a Gaussian.
 */
export function boxBlur(picture: Float32Array, height: number, width: number, radius: number, passes = 1): void {
  if (radius < 1) return;
  const line = new Float64Array(Math.max(height, width));
  const along = (start: number, stride: number, n: number): void => {
    let sum = 0;
    for (let i = 0; i < n; i++) line[i] = picture[start + i * stride];
    for (let i = -radius; i <= radius; i++) sum += line[clamp(i, 0, n - 1)];
    for (let i = 0; i < n; i++) {
      picture[start + i * stride] = sum / (2 * radius + 1);
      sum += line[Math.min(n - 1, i + radius + 1)] - line[Math.max(0, i - radius)];
    }
  };
  for (let pass = 0; pass < passes; pass++) {
    for (let row = 0; row < height; row++) along(row * width, 1, width);
    for (let column = 0; column < width; column++) along(column, width, height);
  }
}

/** The p-quantile (nearest rank) of the values; p in [0, 1]. */
export function quantile(values: Float32Array, p: number): number {
  const sorted = values.slice().sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))];
}
