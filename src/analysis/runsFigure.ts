/** Losses of several runs in one picture. */
import {
  assertFinite,
  axis,
  baseLayout,
  count,
  LEGEND_ABOVE,
  type Figure,
  type Source,
  type Trace,
} from "./chartStyle.js";
import { LOSS_TERMS, runningMean } from "./lossFigure.js";

export interface RunCurve {
  readonly run: string;
  /** Losses of different methods have different units, and so panels of their own. */
  readonly method: string;
  readonly steps: readonly number[];
  readonly losses: readonly number[];
}

/** Tol's bright colours (Tol 2021), colour-blind safe; beyond seven runs dashes tell them apart. */
const COLOURS = ["#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB"];
const UNITS: Readonly<Record<string, string>> = { mae: LOSS_TERMS.mae[0].unit, simdino: "−cosine − γ · nats" };
const DASHES = ["solid", "6px,3px", "2px,2px"];

/** The running mean (over a fortieth of the run) of each run's loss against its step; a panel for each method. */
export function runsFigure(
  curves: readonly RunCurve[],
  options: Source & { readonly name?: string; readonly seeds?: readonly number[] },
): Figure {
  const numbers = curves.flatMap(({ run, method, steps, losses }) =>
    steps.map((step, i) => ({ run, method, step, loss: losses[i] })),
  );
  assertFinite("runs figure", numbers);
  const { dataSet, seed, seeds = [seed], name = "runs" } = options;
  const methods = [...new Set(curves.map(({ method }) => method))];
  const axisNumber = (method: string) => (methods.indexOf(method) === 0 ? "" : String(methods.indexOf(method) + 1));
  const data = curves.map(({ run, method, steps, losses }, i): Trace => ({
    ...{ type: "scatter", mode: "lines", name: run, xaxis: "x", yaxis: `y${axisNumber(method)}` },
    x: steps,
    y: runningMean(losses, Math.max(1, Math.round(losses.length / 40))),
    line: { color: COLOURS[i % COLOURS.length], width: 1.8, dash: DASHES[Math.floor(i / COLOURS.length) % 3] },
  }));
  const perLine = Math.max(1, Math.floor(480 / (40 + 7.6 * Math.max(...curves.map(({ run }) => run.length)))));
  const above = 44 + 20 * Math.ceil(curves.length / perLine);
  const title = `Loss of ${curves.length} run${curves.length === 1 ? "" : "s"}`;
  return {
    name,
    title,
    caption:
      `${title} (${methods.join(", ")}) over up to ${count(Math.max(...numbers.map(({ step }) => step + 1)))} steps, running ` +
      `mean over a fortieth of each run; ${dataSet}, seed${seeds.length === 1 ? "" : "s"} ${seeds.join(", ")}.`,
    size: { width: 560, height: above + 56 + 190 * methods.length },
    data,
    layout: baseLayout(title, {
      grid: { rows: methods.length, columns: 1, pattern: "coupled", roworder: "top to bottom", ygap: 0.16 },
      margin: { l: 92, r: 16, t: above, b: 56 },
      legend: LEGEND_ABOVE,
      showlegend: true,
      xaxis: axis("Step"),
      ...Object.fromEntries(
        methods.map((m) => [
          `yaxis${axisNumber(m)}`,
          axis(`${m} loss${UNITS[m] ? `<br>(${UNITS[m]})` : ""}`, { nticks: 5 }),
        ]),
      ),
    }),
    numbers,
    dataSet,
    seed,
  };
}
