/** Figures of sweeps: how an error falls with what grows, and what each change does. */
import {
  assertFinite,
  axis,
  baseLayout,
  CHANCE_LINE,
  INK,
  LEGEND_ABOVE,
  type Figure,
  type Source,
  type Trace,
} from "./chartStyle.js";
import { encoderColours } from "./palette.js";
import { powerLawWords, type PowerLaw, type ScalingPoint } from "./powerLaw.js";

/** Points of one kind, such as one size of encoder, and the law that was fitted to them; null where none could be. */
export interface ScalingSeries {
  readonly name: string;
  readonly points: readonly ScalingPoint[];
  readonly law: PowerLaw | null;
}

export interface ScalingOptions extends Source {
  /** What grows: "training patients". */
  readonly x: string;
  /** What falls: "1 − Recall@1 within a modality". */
  readonly y: string;
  readonly queries: number;
  readonly name?: string;
  readonly title?: string;
}

/** Tol's bright colours (Tol 2021), colour-blind safe, and a shape for each, which grey printing keeps. */
const COLOURS = ["#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#CCBB44"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x"];
const STEPS_OF_LINE = 40;

function spaced(low: number, high: number): number[] {
  const ratio = Math.log(high / low) / (STEPS_OF_LINE - 1);
  return Array.from({ length: STEPS_OF_LINE }, (_, i) => low * Math.exp(i * ratio));
}

/** Plotly's rgba of a hex colour. */
function pale(colour: string): string {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},0.16)`;
}

/** Ticks of a logarithmic axis of errors: round numbers, as many as fit beside one another; 0.28 to 0.34 has 0.28, 0.3, 0.32, 0.34. */
export function errorTicks(low: number, high: number): number[] {
  const span = Math.log(high / low);
  if (!(span > 0)) return [low];
  const steps = [
    [1, 2, 5],
    [1, 2, 3, 5, 7],
    [...Array(18).keys()].map((i) => 1 + i / 2),
    [...Array(90).keys()].map((i) => 1 + i / 10),
  ];
  const within = steps.map((digits) =>
    [0.001, 0.01, 0.1, 1]
      .flatMap((decade) => digits.map((digit) => Number((digit * decade).toPrecision(3))))
      .filter((tick) => tick >= low && tick <= high),
  );
  const ticks = within.find(({ length }) => length >= 3) ?? within.at(-1)!;
  // No two closer than a tenth of the axis, where their numbers would touch.
  return ticks.reduce<number[]>((kept, tick) => {
    const before = kept.at(-1);
    return before !== undefined && Math.log(tick / before) < span / 10 ? kept : [...kept, tick];
  }, []);
}

/** Ticks of differences, at multiples of a round number, with their signs: −0.07 to 0.11 has −0.05, 0, +0.05 and +0.10. */
export function differenceTicks(low: number, high: number): { values: number[]; words: string[] } {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((size) => (high - low) / size <= 8) ?? 1;
  const [first, last] = [Math.ceil(low / step), Math.floor(high / step)];
  const values = Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toFixed(2)));
  const sign = (value: number) => (value > 0 ? "+" : value < 0 ? "−" : "");
  return { values, words: values.map((value) => `${sign(value)}${Math.abs(value).toFixed(2)}`) };
}

/**
 * Error against size in log-log axes: a point for each run, the fitted law and the band of its fit. A law that has no trend
 * is drawn dotted, and the caption says so.
 */
export function scalingFigure(series: readonly ScalingSeries[], options: ScalingOptions): Figure {
  const { x, y, queries, dataSet, seed, name = "scaling", title = "Error against size" } = options;
  const numbers = series.flatMap((one) => one.points.map(({ n, error }) => ({ series: one.name, n, error })));
  assertFinite("scaling figure", numbers);
  const data = series.flatMap(({ name, points, law }, i): Trace[] => {
    const colour = COLOURS[i % COLOURS.length];
    const xs = points.map(({ n }) => n);
    const dots: Trace = {
      ...{ type: "scatter", mode: "markers", name, x: xs, y: points.map(({ error }) => error) },
      marker: { color: colour, symbol: SYMBOLS[i % SYMBOLS.length], size: 8, line: { color: INK, width: 0.5 } },
    };
    if (law === null) return [dots];
    const grid = spaced(Math.min(...xs), Math.max(...xs));
    const bands = grid.map((n) => law.band(n));
    return [
      {
        ...{ type: "scatter", mode: "lines", showlegend: false, hoverinfo: "skip", line: { width: 0 } },
        x: [...grid, ...[...grid].reverse()],
        y: [...bands.map(({ high }) => high), ...[...bands].reverse().map(({ low }) => low)],
        ...{ fill: "toself", fillcolor: pale(colour) },
      },
      {
        ...{ type: "scatter", mode: "lines", showlegend: false, x: grid, y: grid.map((n) => law.at(n)) },
        line: { color: colour, width: 2, dash: law.trend === "no trend" ? "2px,3px" : "solid" },
      },
      dots,
    ];
  });
  const ends = series.flatMap(({ points, law }) =>
    points.flatMap(({ n, error }) => (law === null ? [error] : [error, law.band(n).low, law.band(n).high])),
  );
  const ticks = errorTicks(Math.min(...ends), Math.max(...ends));
  const sizes = [...new Set(numbers.map(({ n }) => n))].sort((a, b) => a - b);
  const laws = series.map(
    ({ name, law }) => `${name}: ${law === null ? "too few points for a fit" : powerLawWords(law, "n")}`,
  );
  return {
    name,
    title,
    caption:
      `${y} against ${x} (n), both logarithmic; a point is one run. ${laws.join("; ")}. Bands: 95 % of the fit by residual ` +
      `bootstrap; dotted: no trend. ${dataSet}, ${queries.toLocaleString("en-US")} queries a run, seed ${seed} of the bootstrap.`,
    size: { width: 560, height: 420 },
    data,
    layout: baseLayout(title, {
      margin: { l: 76, r: 16, t: 84, b: 56 },
      legend: LEGEND_ABOVE,
      showlegend: true,
      xaxis: axis(x[0].toUpperCase() + x.slice(1), {
        ...{ type: "log", tickvals: sizes, ticktext: sizes.map((n) => n.toLocaleString("en-US")) },
      }),
      yaxis: axis(y, { type: "log", tickvals: ticks, ticktext: ticks.map(String) }),
    }),
    numbers,
    dataSet,
    seed,
  };
}

/** One change, and what it did. */
export interface EffectBar {
  readonly label: string;
  readonly method: string;
  readonly difference: number;
  readonly low: number;
  readonly high: number;
}

export interface EffectsOptions extends Source {
  /** What the difference is of: "Recall@1 within a modality". */
  readonly metric: string;
  /** What it is from: "the base". */
  readonly against: string;
  readonly queries: number;
  readonly seeds: number;
  readonly name?: string;
  readonly title?: string;
}

/** A dot with its interval for each change, a line at no difference; one colour and shape a method. */
export function effectsFigure(rows: readonly EffectBar[], options: EffectsOptions): Figure {
  assertFinite("effects figure", rows);
  const { metric, against, queries, seeds, dataSet, seed, name = "effects" } = options;
  const title = options.title ?? `Difference from ${against}`;
  const methods = [...new Set(rows.map(({ method }) => method))];
  const colours = encoderColours(methods);
  const order = methods.flatMap((method) => rows.filter((row) => row.method === method));
  const places = order.map((_, i) => i);
  const dots = methods.map((method, m): Trace => {
    const own = places.filter((place) => order[place].method === method);
    return {
      ...{ type: "scatter", mode: "markers", name: method },
      x: own.map((place) => order[place].difference),
      y: own,
      marker: { color: colours.get(method), symbol: SYMBOLS[m], size: 9, line: { color: INK, width: 0.6 } },
      error_x: {
        ...{ type: "data", symmetric: false, color: INK, thickness: 1.2, width: 3 },
        array: own.map((place) => order[place].high - order[place].difference),
        arrayminus: own.map((place) => order[place].difference - order[place].low),
      },
    };
  });
  const zero: Trace = {
    ...{ type: "scatter", mode: "lines", name: "no difference", x: [0, 0], y: [-0.6, order.length - 0.4] },
    line: CHANCE_LINE,
  };
  // Plotly's own ticks of these are −0.15000000000000002 and −2.2e-17 where it draws without a browser.
  const ticks = differenceTicks(
    Math.min(0, ...order.map(({ low }) => low)),
    Math.max(0, ...order.map(({ high }) => high)),
  );
  const clear = order.filter(({ low, high }) => low > 0 || high < 0).length;
  return {
    name,
    title,
    caption:
      `Difference in ${metric} from ${against}, with 95 % intervals by paired bootstrap over patients; the interval leaves out ` +
      `0 in ${clear} of ${order.length}, of which some are expected by chance. ${dataSet}, ` +
      `${queries.toLocaleString("en-US")} queries, ${seeds === 1 ? `one seed (${seed}): how much another seed would move them is not in the intervals` : `${seeds} seeds`}.`,
    size: { width: 640, height: 128 + 28 * order.length },
    data: [zero, ...dots],
    layout: baseLayout(title, {
      margin: { l: 64, r: 24, t: 76, b: 56 },
      legend: LEGEND_ABOVE,
      showlegend: true,
      xaxis: axis(`Difference in ${metric}`, { tickvals: ticks.values, ticktext: ticks.words, tickangle: 0 }),
      yaxis: axis("", {
        ...{ tickvals: places, ticktext: order.map(({ label }) => label) },
        ...{ range: [order.length - 0.4, -0.6], showgrid: false },
      }),
    }),
    numbers: order.map(({ label, method, difference, low, high }) => ({ label, method, difference, low, high })),
    dataSet,
    seed,
  };
}
