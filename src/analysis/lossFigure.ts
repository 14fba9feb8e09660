/** The terms of a loss over training. */
import {
  CHANCE_LINE,
  assertFinite,
  axis,
  baseLayout,
  count,
  type Figure,
  type Source,
  type Trace,
} from "./chartStyle.js";
import type { Method } from "../trainers/objective.js";
import { encoderColours } from "./palette.js";

/** The terms of each method that are worth a panel, and their units. */
export const LOSS_TERMS: Readonly<Record<Method, readonly { term: string; unit: string }[]>> = {
  mae: [{ term: "loss", unit: "patch variance + ε" }],
  simdino: [
    { term: "agreement", unit: "mean cosine" },
    { term: "expansion", unit: "γ · nats" },
  ],
};

/** One term of a loss over training. Every term has a panel of its own, because their units differ. */
export interface LossCurve {
  readonly term: string;
  /** Such as "mean cosine", or nothing for a pure number. */
  readonly unit?: string;
  readonly steps: readonly number[];
  readonly values: readonly number[];
}

/** A level that a term is read against, such as the expansion of a collapsed batch. */
export interface LossLevel {
  readonly term: string;
  readonly name: string;
  readonly value: number;
}

export interface LossOptions extends Source {
  readonly method: string;
  /** Samples of one step. */
  readonly batch?: number;
  readonly levels?: readonly LossLevel[];
  readonly name?: string;
  readonly title?: string;
}

const PANEL_HEIGHT = 150;

/**
 * The terms of a loss against the step, a panel for each; dashed levels are named at the right. More than 100 steps are
 * drawn twice: as they came, pale, and as their running mean over a fortieth of the run.
 */
export function lossFigure(curves: readonly LossCurve[], options: LossOptions): Figure {
  const { method, batch, levels = [], dataSet, seed, name = "loss", title = `Training with ${method}` } = options;
  const numbers = curves.flatMap(({ term, steps, values }) => {
    return steps.map((step, i) => ({ term, step, value: values[i] }));
  });
  assertFinite("loss figure", numbers);
  const colour = encoderColours([method]).get(method);
  const longest = Math.max(...curves.map((curve) => curve.values.length));
  const window = longest > 100 ? Math.round(longest / 40) : 1;
  const axisNumber = (i: number) => (i === 0 ? "" : String(i + 1));

  const layout: Record<string, unknown> = {
    grid: { rows: curves.length, columns: 1, pattern: "coupled", roworder: "top to bottom", ygap: 0.16 },
    margin: { l: 92, r: levels.length > 0 ? 84 : 16, t: 48, b: 56 },
    showlegend: false,
    xaxis: axis("Step"),
  };
  const data: Trace[] = [];
  const annotations: Trace[] = [];
  curves.forEach(({ term, unit, steps, values }, i) => {
    const panel = { type: "scatter", mode: "lines", name: term, xaxis: "x", yaxis: `y${axisNumber(i)}` };
    data.push({
      ...panel,
      x: steps,
      y: values,
      line: { color: colour, width: window > 1 ? 0.8 : 1.8 },
      opacity: window > 1 ? 0.35 : 1,
    });
    if (window > 1)
      data.push({ ...panel, x: steps, y: runningMean(values, window), line: { color: colour, width: 2 } });
    layout[`yaxis${axisNumber(i)}`] = axis(unit ? `${term}<br>(${unit})` : term, { nticks: 5 });
    for (const { name: levelName, value } of levels.filter((level) => level.term === term)) {
      const ends = [steps[0], steps[steps.length - 1]];
      data.push({ ...panel, name: levelName, x: ends, y: [value, value], line: CHANCE_LINE });
      annotations.push({
        text: `${levelName}<br>${Number(value.toPrecision(3))}`,
        xref: "paper",
        x: 1.01,
        xanchor: "left",
        yref: `y${axisNumber(i)}`,
        y: value,
        align: "left",
        showarrow: false,
        font: { size: 12 },
      });
    }
  });

  const named = levels.map((level) => `${level.name} of ${level.term} ${Number(level.value.toPrecision(3))}`);
  const last = Math.max(...curves.map((curve) => curve.steps[curve.steps.length - 1]));
  return {
    name,
    title,
    caption:
      `${curves.map((curve) => curve.term).join(", ")} of ${method} over ${count(last)} steps` +
      `${batch === undefined ? "" : ` of n = ${count(batch)} samples`}; ${dataSet}, seed ${seed}` +
      (window > 1 ? `; dark: running mean of ${window}` : "") +
      (named.length > 0 ? `; dashed: ${named.join(", ")}.` : "."),
    size: { width: 560, height: 100 + PANEL_HEIGHT * curves.length },
    data,
    layout: baseLayout(title, { ...layout, annotations }),
    numbers,
    dataSet,
    seed,
  };
}

/** The mean of the last `window` values at every place: `runningMean([1, 3, 5], 2)` is [1, 2, 4]. */
export function runningMean(values: readonly number[], window: number): number[] {
  let sum = 0;
  return values.map((value, i) => {
    sum += value - (i >= window ? values[i - window] : 0);
    return sum / Math.min(i + 1, window);
  });
}
