/** Does an error fall as a power of what grows? A line in log-log axes, with or without a floor, and what is known of its slope. */
import { levenbergMarquardt } from "ml-levenberg-marquardt";
import type { Random } from "../random.js";
import { quantile } from "../retrieval/bootstrap.js";
import { InputError } from "../types.js";
import { student975 } from "./overSeeds.js";

/** One measurement: a size (patients, parameters), and the error at it, such as 1 − Recall@1. Both above 0. */
export interface ScalingPoint {
  readonly n: number;
  readonly error: number;
}

export interface PowerLawOptions {
  /** Whether the error may have a floor c that no size gets below. */
  readonly offset?: boolean;
  readonly random: Random;
  readonly rounds?: number;
}

export interface PowerLaw {
  readonly a: number;
  readonly b: number;
  /** 0 where there is no floor. */
  readonly c: number;
  /** Of b, at 95 %. */
  readonly low: number;
  readonly high: number;
  /** Whether the interval of b leaves out 0: "falls" for b > 0, "rises" for b < 0, otherwise "no trend". */
  readonly trend: "falls" | "rises" | "no trend";
  /** Share of the variance of the logarithms that the curve takes away. */
  readonly r2: number;
  readonly points: number;
  readonly rounds: number;
  /** The fitted error at a size. */
  at(n: number): number;
  /** The interval of the fitted error at a size, from the same resamples. */
  band(n: number): { readonly low: number; readonly high: number };
}

interface Curve {
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

const value = ({ a, b, c }: Curve, n: number): number => a * Math.pow(n, -b) + c;

/** Straight line through logarithms: ln error = ln a − b ln n, least squares. */
function straight(points: readonly ScalingPoint[]): Curve {
  const xs = points.map(({ n }) => Math.log(n));
  const ys = points.map(({ error }) => Math.log(error));
  const mean = (of: readonly number[]) => of.reduce((sum, x) => sum + x, 0) / of.length;
  const [mx, my] = [mean(xs), mean(ys)];
  const slope =
    xs.reduce((sum, x, i) => sum + (x - mx) * (ys[i] - my), 0) / xs.reduce((sum, x) => sum + (x - mx) ** 2, 0);
  return { a: Math.exp(my - slope * mx), b: -slope, c: 0 };
}

/**
 * ln error = ln(a n^−b + c), least squares by Levenberg and Marquardt, started from the straight line with a floor of half
 * the least error. Sizes are scaled to a geometric mean of 1, and c is exp(γ), so that it stays above 0.
 */
function curved(points: readonly ScalingPoint[]): Curve {
  const centre = Math.exp(points.reduce((sum, { n }) => sum + Math.log(n), 0) / points.length);
  const floor = Math.min(...points.map(({ error }) => error)) / 2;
  const start = straight(points.map(({ n, error }) => ({ n: n / centre, error: error - floor })));
  const data = { x: points.map(({ n }) => Math.log(n / centre)), y: points.map(({ error }) => Math.log(error)) };
  const parts = ([alpha, b, gamma]: number[], x: number) => [Math.exp(alpha - b * x), Math.exp(gamma)];
  const { parameterValues } = levenbergMarquardt(
    data,
    (parameters) => (x) => {
      const [power, c] = parts(parameters, x);
      return Math.log(power + c);
    },
    {
      initialValues: [Math.log(start.a), start.b, Math.log(floor)],
      jacobianFunction: (parameters) => (x) => {
        const [power, c] = parts(parameters, x);
        return [power / (power + c), (-x * power) / (power + c), c / (power + c)];
      },
      minValues: [-50, -20, -50],
      maxValues: [50, 20, 5],
      maxIterations: 300,
      errorTolerance: 1e-15,
    },
  );
  const [alpha, b, gamma] = parameterValues;
  return { a: Math.exp(alpha + b * Math.log(centre)), b, c: Math.exp(gamma) };
}

/**
 * Fits error = a n^−b (+ c) by least squares in the logarithm of the error (Hestness et al. 2017, arXiv 1712.00409, for the
 * form), with a residual bootstrap: each round adds to the fitted logarithms residuals drawn with replacement, inflated by
 * √(m / (m − p)) for m points and p parameters, and fits again. Intervals are percentiles of the rounds, their distance from
 * the fit widened by t(0.975, m − p) / 1.96, because few residuals know little of their own spread: 1.4 times for 6 points.
 *
 * Points at one size with other seeds are points of their own. An interval of b that has 0 in it is no trend, whatever the
 * line looks like. Errors 0.8, 0.4, 0.2 at n = 1, 2, 4 give a = 0.8, b = 1.
 *
 * @throws InputError for fewer sizes than parameters, fewer points than one more than parameters, or what has no logarithm
 */
export function fitPowerLaw(points: readonly ScalingPoint[], options: PowerLawOptions): PowerLaw {
  const { offset = false, random, rounds = 1000 } = options;
  const parameters = offset ? 3 : 2;
  const wrong = points.find(({ n, error }) => !(n > 0 && error > 0 && Number.isFinite(n + error)));
  if (wrong) throw new InputError(`power law: expected sizes and errors above 0, got ${wrong.error} at ${wrong.n}`);
  const sizes = new Set(points.map(({ n }) => n)).size;
  if (sizes < parameters || points.length <= parameters) {
    throw new InputError(
      `power law: expected at least ${parameters} sizes and ${parameters + 1} points, got ${sizes} and ${points.length}`,
    );
  }
  const fit = offset ? curved : straight;
  const best = fit(points);
  const logs = points.map(({ error }) => Math.log(error));
  const fitted = points.map(({ n }) => Math.log(value(best, n)));
  const inflate = Math.sqrt(points.length / (points.length - parameters));
  const residuals = logs.map((log, i) => (log - fitted[i]) * inflate);
  const mean = logs.reduce((sum, x) => sum + x, 0) / logs.length;
  const left = logs.reduce((sum, log, i) => sum + (log - fitted[i]) ** 2, 0);
  const all = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0);

  const draws = random.fork("power law");
  const resampled = Array.from({ length: rounds }, () =>
    fit(points.map(({ n }, i) => ({ n, error: Math.exp(fitted[i] + draws.pick(residuals)) }))),
  );
  const widen = student975(points.length - parameters) / 1.96;
  const ends = (centre: number, values: readonly number[]) => {
    const sorted = Float64Array.from(values).sort();
    const [low, high] = [0.025, 0.975].map((q) => centre + widen * (quantile(sorted, q) - centre));
    return { low, high };
  };
  const { low, high } = ends(
    best.b,
    resampled.map(({ b }) => b),
  );
  return {
    ...best,
    ...{ low, high, points: points.length, rounds },
    trend: low > 0 ? "falls" : high < 0 ? "rises" : "no trend",
    r2: all > 0 ? 1 - left / all : 0,
    at: (n) => value(best, n),
    band: (n) => {
      const logarithms = ends(
        Math.log(value(best, n)),
        resampled.map((curve) => Math.log(value(curve, n))),
      );
      return { low: Math.exp(logarithms.low), high: Math.exp(logarithms.high) };
    },
  };
}

/** "error falls as n^−0.31 [0.22, 0.40], R² 0.93, 18 points", or that there is no trend, with the same numbers. */
export function powerLawWords({ b, c, low, high, trend, r2, points }: PowerLaw, what = "n"): string {
  const interval = `b = ${b.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}], R² ${r2.toFixed(2)}, ${points} points`;
  const floor = c > 0 ? `, floor ${c.toPrecision(2)}` : "";
  if (trend === "no trend") return `no trend with ${what}: the interval of b includes 0 (${interval}${floor})`;
  return `error ${trend} as ${what}^−b, ${interval}${floor}`;
}
