/** Measured values along an axis: alignment against the training step, accuracy against the number of shots. */
import {
  CHANCE_LINE,
  INK,
  LEGEND_ABOVE,
  assertFinite,
  axis,
  baseLayout,
  errorBars,
  type Figure,
  type Source,
  type Trace,
} from "./chartStyle.js";
import { encoderColours } from "./palette.js";

/** One encoder's point. */
export interface CurvePoint {
  readonly encoder: string;
  /** Name of the panel that it belongs to, such as a measure. */
  readonly panel: string;
  readonly x: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** A dashed line across a panel, such as chance or an untrained encoder. */
export interface CurveLevel {
  readonly panel: string;
  readonly name: string;
  readonly value: number;
}

export interface CurveOptions extends Source {
  readonly name: string;
  readonly title: string;
  /** Without the full stop; data set, seed and what is dashed are added. */
  readonly caption: string;
  readonly xTitle: string;
  /** Where the axis has its marks; the first point's x values where left out. */
  readonly ticks?: readonly number[];
  /** "even": the x values stand side by side, as for doublings from 0; "linear" (default). */
  readonly spacing?: "linear" | "even";
  readonly levels?: readonly CurveLevel[];
}

const PANEL_HEIGHT = 140;

/** Lines with 95 % bars, one panel below the other, one colour and marker for each encoder. */
export function curveFigure(points: readonly CurvePoint[], options: CurveOptions): Figure {
  assertFinite("curve figure", points);
  const { levels = [], spacing = "linear", dataSet, seed } = options;
  const panels = [...new Set(points.map(({ panel }) => panel))];
  const encoders = [...new Set(points.map(({ encoder }) => encoder))];
  const colours = encoderColours(encoders);
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const place = (x: number) => (spacing === "even" ? xs.indexOf(x) : x);
  const ticks = options.ticks ?? xs;
  const reach = place(xs[xs.length - 1]) - place(xs[0]) || 1;
  // Side by side by a hair, so that bars of several encoders at one x can be told apart.
  const shift = (e: number) => (encoders.length > 1 ? 0.012 * reach * (e - (encoders.length - 1) / 2) : 0);
  const axisNumber = (i: number) => (i === 0 ? "" : String(i + 1));

  const above = 52 + 26 * legendLines([...encoders, ...new Set(levels.map((level) => level.name))], 440);
  const plot = PANEL_HEIGHT * panels.length;
  const layout: Record<string, unknown> = {
    grid: { rows: panels.length, columns: 1, pattern: "coupled", roworder: "top to bottom", ygap: 0.14 },
    margin: { l: 92, r: 16, t: above, b: 56 },
    legend: { ...LEGEND_ABOVE, y: 1 + 8 / plot },
    xaxis: axis(options.xTitle, {
      tickvals: ticks.map(place),
      ticktext: ticks.map(String),
      range: [place(xs[0]) - 0.06 * reach, place(xs[xs.length - 1]) + 0.06 * reach],
    }),
  };
  const data: Trace[] = [];
  panels.forEach((panel, i) => {
    const where = { xaxis: "x", yaxis: `y${axisNumber(i)}` };
    layout[`yaxis${axisNumber(i)}`] = axis(panel, { nticks: 6 });
    encoders.forEach((encoder, e) => {
      const own = points
        .filter((point) => point.panel === panel && point.encoder === encoder)
        .sort((a, b) => a.x - b.x);
      if (own.length === 0) return;
      if (encoder === CHANCE) {
        data.push({
          ...where,
          ...{ type: "scatter", mode: "lines", name: CHANCE, legendgroup: CHANCE, showlegend: i === 0 },
          ...{ x: own.map(({ x }) => place(x)), y: own.map(({ value }) => value), line: CHANCE_LINE },
        });
        return;
      }
      const colour = colours.get(encoder);
      data.push({
        ...where,
        type: "scatter",
        mode: "lines+markers",
        name: encoder,
        legendgroup: encoder,
        showlegend: i === 0,
        x: own.map(({ x }) => place(x) + shift(e)),
        y: own.map(({ value }) => value),
        line: { color: colour, width: 2 },
        marker: { color: colour, size: 7, symbol: SYMBOLS[e % SYMBOLS.length], line: { color: INK, width: 0.5 } },
        error_y: errorBars(own, colour),
      });
    });
    for (const level of levels.filter((one) => one.panel === panel)) {
      data.push({
        ...where,
        type: "scatter",
        mode: "lines",
        name: level.name,
        legendgroup: level.name,
        showlegend: !data.some((trace) => trace.name === level.name),
        x: [place(xs[0]) - 0.06 * reach, place(xs[xs.length - 1]) + 0.06 * reach],
        y: [level.value, level.value],
        line: level.name === CHANCE ? CHANCE_LINE : { ...CHANCE_LINE, color: colourOf(level.name), dash: "2px,2px" },
      });
    }
  });
  const dashed = [...new Set([...encoders.filter((one) => one === CHANCE), ...levels.map((level) => level.name)])];
  return {
    name: options.name,
    title: options.title,
    caption:
      `${options.caption}; ${dataSet}, seed ${seed}; bars: 95 % intervals` +
      (dashed.length > 0 ? `; dashed: ${dashed.join(", ")}.` : "."),
    size: { width: 560, height: above + 56 + plot },
    data,
    layout: baseLayout(options.title, layout),
    numbers: [
      ...points.map(({ encoder, panel, x, value, low, high }) => ({
        encoder,
        panel: plain(panel),
        x,
        value,
        low,
        high,
      })),
      ...levels.map(({ panel, name, value }) => ({
        encoder: name,
        panel: plain(panel),
        x: null,
        value,
        low: null,
        high: null,
      })),
    ],
    dataSet,
    seed,
  };
}

/** Lines of a horizontal legend, filled one entry after the other: a key of 50 px and 7.6 px a letter. */
function legendLines(names: readonly string[], width: number): number {
  let [lines, used] = [1, 0];
  for (const name of names) {
    const wide = 50 + 7.6 * name.length;
    if (used > 0 && used + wide > width) [lines, used] = [lines + 1, 0];
    used += wide;
  }
  return lines;
}

/** The name of a panel without its line break. */
const plain = (panel: string) => panel.replace("<br>", " ");

/** An encoder of this name is no encoder: what a random order would score, drawn dashed and without intervals. */
const CHANCE = "chance";
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"];
const colourOf = (name: string) => encoderColours([name]).get(name);
