import { expect, test } from "vitest";
import { fitPowerLaw } from "../src/analysis/powerLaw.js";
import { renderSvg } from "../src/analysis/renderPlotly.js";
import { differenceTicks, effectsFigure, errorTicks, scalingFigure } from "../src/analysis/sweepFigures.js";
import { Random } from "../src/random.js";

const random = new Random(7);
const about = { dataSet: "phantom", seed: 7 };
const sizes = [30, 120, 480];
const falling = sizes.flatMap((n) => [1, 1.02].map((noise) => ({ n, error: 2 * Math.pow(n, -0.4) * noise })));
const flat = sizes.flatMap((n) => [0.4, 0.5].map((error) => ({ n, error })));

test("a scaling figure draws every run, the law and its band, and says where there is no trend", async () => {
  const figure = scalingFigure(
    [
      { name: "small", points: falling, law: fitPowerLaw(falling, { random }) },
      { name: "large", points: flat, law: fitPowerLaw(flat, { random }) },
      { name: "few", points: flat.slice(0, 1), law: null },
    ],
    { ...about, x: "training patients", y: "1 − Recall@1", queries: 640 },
  );
  expect(figure.numbers).toHaveLength(falling.length + flat.length + 1);
  expect(figure.caption).toMatch(/small: error falls as n\^−b, b = 0\.4/);
  expect(figure.caption).toMatch(/large: no trend with n: the interval of b includes 0/);
  expect(figure.caption).toContain("few: too few points for a fit");
  const lines = figure.data.filter(({ mode, fill }) => mode === "lines" && fill === undefined);
  expect(lines.map(({ line }) => (line as { dash: string }).dash)).toEqual(["solid", "2px,3px"]);
  const svg = await renderSvg(figure, figure.size);
  for (const words of ["Training patients", "1 − Recall@1", "small", "480"]) expect(svg).toContain(words);
});

test("an effects figure has a row for each change, and counts the intervals that leave out 0", async () => {
  const rows = [
    { label: "hidden: half", method: "MAE", difference: 0.05, low: 0.01, high: 0.09 },
    { label: "epsilon 0.5", method: "SimDINO", difference: -0.02, low: -0.06, high: 0.02 },
  ];
  const options = { ...about, metric: "Recall@1", against: "the base", queries: 640, seeds: 1 };
  const figure = effectsFigure(rows, options);
  expect(figure.caption).toContain("leaves out 0 in 1 of 2");
  expect(figure.caption).toContain("one seed (7)");
  expect(effectsFigure(rows, { ...options, seeds: 3 }).caption).toContain("3 seeds");
  const svg = await renderSvg(figure, figure.size);
  for (const words of ["hidden: half", "epsilon 0.5", "SimDINO", "no difference"]) expect(svg).toContain(words);
});

test("ticks are round numbers inside the range, and never so close that their labels touch", () => {
  for (const [low, high] of [
    [0.28, 0.34],
    [0.1, 0.9],
    [0.21, 0.58],
    [0.004, 0.7],
    [0.501, 0.512],
  ]) {
    const ticks = errorTicks(low, high);
    expect(ticks.length).toBeGreaterThan(0);
    ticks.forEach((tick, i) => {
      expect(tick).toBeGreaterThanOrEqual(low);
      expect(tick).toBeLessThanOrEqual(high);
      if (i > 0) expect(Math.log(tick / ticks[i - 1]) / Math.log(high / low)).toBeGreaterThanOrEqual(0.1);
    });
  }
});

test("differences have signs, and two digits", () => {
  expect(differenceTicks(-0.145, 0.108)).toEqual({
    values: [-0.1, -0.05, 0, 0.05, 0.1],
    words: ["−0.10", "−0.05", "0.00", "+0.05", "+0.10"],
  });
  expect(differenceTicks(0, 0.031).words).toEqual(["0.00", "+0.01", "+0.02", "+0.03"]);
});
