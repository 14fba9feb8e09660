import { expect, test } from "vitest";
import { curveFigure } from "../src/analysis/curveFigure.js";
import { probeTable, type ProbeResult } from "../src/analysis/probeTable.js";
import { toMarkdown } from "../src/analysis/tables.js";

const interval = (value: number) => ({ value, low: value - 0.05, high: value + 0.05 });
const result = (name: string, role: ProbeResult["role"], value: number, chosen = 5): ProbeResult => ({
  name,
  role,
  variant: "plain",
  report: {
    protocol: "frozen",
    modality: "mri",
    label: "region",
    classes: ["chest", "head"],
    n: { train: 20, test: 12, trainPatients: 20, testPatients: 12, leftOut: 3 },
    chance: { auroc: 0.5, balancedAccuracy: 0.5 },
    knn: { auroc: interval(value), balancedAccuracy: interval(value), chosen },
    linear: { auroc: interval(value), balancedAccuracy: interval(value), chosen: 0.1 },
    fewShot: [],
  },
});
const about = { data: "sets", seed: 7 };

test("a trained row is marked where its interval lies above both baselines', and a ceiling never", () => {
  const table = probeTable(
    [
      result("raw pixels", "pixels", 0.6),
      result("untrained, CLS", "untrained", 0.7),
      result("MAE, CLS", "trained", 0.85, 3),
      result("SimDINO, CLS", "trained", 0.75),
      result("MAE (ceiling: saw MRI), CLS", "ceiling", 0.9),
    ],
    about,
  );
  expect(table.rows.map(({ name, cells }) => [name, cells[0]?.marks])).toEqual([
    ["chance", ""],
    ["raw pixels", ""],
    ["untrained, CLS", ""],
    ["MAE, CLS", "↑*"],
    ["SimDINO, CLS", "*"],
    ["MAE (ceiling: saw MRI), CLS", ""],
  ]);
  expect(table.rows[0].cells[1]).toEqual({ value: 0.5, low: 0.5, high: 0.5, marks: "" });
  const said = toMarkdown(table);
  for (const part of ["20 gallery patients", "12 query patients", "3 rows without", "seed 7", "MAE, CLS: k 3, C 0.1"]) {
    expect(said).toContain(part);
  }
});

test("encoders that were probed on other rows cannot stand in one table", () => {
  const one = result("MAE, CLS", "trained", 0.8);
  const other = { ...one, name: "SimDINO, CLS", report: { ...one.report, n: { ...one.report.n, test: 13 } } };
  expect(() => probeTable([one, other], about)).toThrow("SimDINO, CLS was probed on another task than MAE, CLS");
  expect(() => probeTable([], about)).toThrow("at least one encoder");
});

const points = ["MAE", "SimDINO"].flatMap((encoder) =>
  ["Recall@1", "gap"].flatMap((panel) =>
    [0, 28, 225, 450].map((x) => ({ encoder, panel, x, value: x / 500, low: x / 500 - 0.1, high: x / 500 + 0.1 })),
  ),
);
const options = {
  ...{ name: "growth", title: "Growth", caption: "Retrieval over training", xTitle: "Step", dataSet: "sets", seed: 7 },
  levels: [{ panel: "Recall@1", name: "chance", value: 0.125 }],
};

test("a curve has one panel for each measure, every encoder once in the legend, and its numbers beside it", () => {
  const figure = curveFigure(points, { ...options, spacing: "even" });
  const shown = figure.data.filter((trace) => trace.showlegend === true).map((trace) => trace.name);
  expect(shown).toEqual(["MAE", "SimDINO", "chance"]);
  expect(Object.keys(figure.layout).filter((key) => key.startsWith("yaxis"))).toEqual(["yaxis", "yaxis2"]);
  expect(figure.caption).toBe("Retrieval over training; sets, seed 7; bars: 95 % intervals; dashed: chance.");
  expect(figure.numbers).toHaveLength(17);
  const xs = (figure.data[0].x as number[]).map((x) => Math.round(x) + 0);
  expect(xs).toEqual([0, 1, 2, 3]); // side by side
  expect(() => curveFigure([{ ...points[0], value: NaN }], options)).toThrow("row 0 has value = NaN");
});

test("chance as a curve is dashed, without marker or interval, and stands once in the key", () => {
  const at = (encoder: string, panel: string, x: number, value: number) => ({ encoder, panel, x, value, low: value - 0.1, high: value + 0.1 }); // prettier-ignore
  const points = ["a", "b"].flatMap((panel) => [1, 5].flatMap((k) => [at("MAE", panel, k, 0.5), at("chance", panel, k, 0.1 * k)])); // prettier-ignore
  const figure = curveFigure(points, { name: "k", title: "K", caption: "by K", xTitle: "K", dataSet: "sets", seed: 7 });
  const chance = figure.data.filter(({ name }) => name === "chance");
  expect(chance.map(({ mode, y, showlegend }) => [mode, y, showlegend])).toEqual([
    ["lines", [0.1, 0.5], true],
    ["lines", [0.1, 0.5], false],
  ]);
  for (const trace of chance) expect([trace.error_y, trace.marker]).toEqual([undefined, undefined]);
  expect(figure.caption).toBe("by K; sets, seed 7; bars: 95 % intervals; dashed: chance.");
});
