/** Against scipy: test/reference/powerLaw.py. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { overSeeds, student975 } from "../src/analysis/overSeeds.js";
import { fitPowerLaw, powerLawWords } from "../src/analysis/powerLaw.js";
import { Random } from "../src/random.js";

interface Reference {
  readonly cases: readonly {
    readonly n: readonly number[];
    readonly error: readonly number[];
    readonly truth: { readonly a: number; readonly b: number; readonly c: number };
    readonly straight: { readonly a: number; readonly b: number; readonly r2: number };
    readonly interval: readonly [number, number];
    readonly curved: { readonly a: number; readonly b: number; readonly c: number };
  }[];
  readonly student975: Readonly<Record<string, number>>;
}
const reference = JSON.parse(readFileSync(new URL("fixtures/powerLaw.json", import.meta.url), "utf8")) as Reference;
const pointsOf = ({ n, error }: Reference["cases"][number]) => n.map((size, i) => ({ n: size, error: error[i] }));
const random = new Random(7);
const near = (ours: number, theirs: number, tolerance = 1e-4) =>
  expect(Math.abs(ours - theirs) / Math.abs(theirs)).toBeLessThan(tolerance);

describe("a power law", () => {
  test.each(reference.cases.map((one, i) => [i, one] as const))(
    "without a floor is scipy's line (case %i)",
    (_, one) => {
      const fit = fitPowerLaw(pointsOf(one), { random, rounds: 2000 });
      near(fit.a, one.straight.a);
      near(fit.b, one.straight.b);
      near(fit.r2, one.straight.r2);
      expect(fit.c).toBe(0);
      const [low, high] = one.interval;
      const width = high - low;
      expect(Math.abs(fit.low - low)).toBeLessThan(0.15 * width);
      expect(Math.abs(fit.high - high)).toBeLessThan(0.15 * width);
    },
  );

  test.each(reference.cases.map((one, i) => [i, one] as const).filter(([, { truth }]) => truth.c > 0))(
    "with a floor is scipy's curve (case %i)",
    (_, one) => {
      const fit = fitPowerLaw(pointsOf(one), { offset: true, random, rounds: 200 });
      near(fit.a, one.curved.a);
      near(fit.b, one.curved.b);
      near(fit.c, one.curved.c);
      expect(fit.low < one.truth.b && one.truth.b < fit.high).toBe(true);
    },
  );

  test("of exact points is the law itself, and a smaller error at twice the size lies on it", () => {
    const points = [1, 2, 4, 8].map((n) => ({ n, error: 0.8 / n }));
    const fit = fitPowerLaw(points, { random, rounds: 50 });
    expect(fit.a).toBeCloseTo(0.8, 12);
    expect(fit.b).toBeCloseTo(1, 12);
    expect(fit.at(16)).toBeCloseTo(0.05, 12);
    expect(fit.trend).toBe("falls");
    const { low, high } = fit.band(16);
    expect(low).toBeCloseTo(high, 10);
  });

  test("says that there is no trend where the slope's interval has 0 in it", () => {
    const flat = [10, 20, 40, 80].flatMap((n, i) => [0.5, 0.55].map((error) => ({ n, error: error + 0.01 * (i % 2) })));
    const fit = fitPowerLaw(flat, { random });
    expect(fit.low < 0 && 0 < fit.high).toBe(true);
    expect(fit.trend).toBe("no trend");
    expect(powerLawWords(fit, "patients")).toMatch(/^no trend with patients: the interval of b includes 0 \(b = /);
  });

  test("covers the true slope about as often as its level says", () => {
    let covered = 0;
    const trials = 200;
    for (let trial = 0; trial < trials; trial++) {
      const own = new Random(`trial ${trial}`);
      // As few as a small sweep has: three sizes, two seeds.
      const points = [30, 120, 480].flatMap((n) =>
        [0, 1].map(() => ({ n, error: 2 * Math.pow(n, -0.3) * Math.exp(own.normal(0, 0.1)) })),
      );
      const { low, high } = fitPowerLaw(points, { random: own, rounds: 200 });
      if (low < 0.3 && 0.3 < high) covered++;
    }
    expect(covered / trials).toBeGreaterThan(0.9);
    expect(covered / trials).toBeLessThan(0.995);
  });

  test.each([
    [
      [
        { n: 1, error: 0.1 },
        { n: 2, error: 0 },
        { n: 3, error: 0.1 },
      ],
      /expected sizes and errors above 0, got 0 at 2/,
    ],
    [
      [
        { n: 1, error: 0.1 },
        { n: 1, error: 0.2 },
        { n: 1, error: 0.1 },
      ],
      /at least 2 sizes and 3 points, got 1 and 3/,
    ],
  ])("that cannot be fitted is refused", (points, message) => {
    expect(() => fitPowerLaw(points, { random })).toThrow(message);
  });
});

describe("the interval over seeds", () => {
  test("uses scipy's quantiles of Student's t", () => {
    for (const [df, value] of Object.entries(reference.student975)) near(student975(Number(df)), value, 2e-5);
  });

  test("is wide for three seeds, and says nothing for one", () => {
    const { value, low, high } = overSeeds([1, 2, 3])!;
    expect(value).toBe(2);
    expect(high - 2).toBeCloseTo(2.4841, 3);
    expect(2 - low).toBeCloseTo(2.4841, 3);
    expect(overSeeds([1])).toBeNull();
  });
});
