/** Figures of measured values with their intervals and chance: recall by modality, by encoder, and across modalities. */
import type { Modality } from "../types.js";
import {
  CHANCE_LINE,
  INK,
  LEGEND_ABOVE,
  assertFinite,
  axis,
  baseLayout,
  count,
  errorBars,
  type Figure,
  type Source,
  type Trace,
} from "./chartStyle.js";
import { MODALITY_LOOKS, encoderColours, modalitiesInOrder } from "./palette.js";

/** A measured value, the ends of its confidence interval, and what guessing would score. */
export interface Measured {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly chance: number;
}

export interface RecallBar extends Measured {
  readonly encoder: string;
  readonly modality: Modality;
}

export interface HeatmapCell extends Measured {
  readonly query: Modality;
  readonly gallery: Modality;
}

export interface EncoderBar extends Measured {
  readonly encoder: string;
}

export interface MeasuredOptions extends Source {
  readonly queries: number;
  /** Such as "Recall@1": the name of the axis. */
  readonly metric: string;
  /** Of the intervals; 0.95 where left out. */
  readonly level?: number;
  readonly name?: string;
  readonly title?: string;
}

/** Top of an axis from 0 that shows every interval: 1 for proportions near it, else a little above the highest. */
function top(rows: readonly Measured[]): number {
  const highest = Math.max(...rows.map(({ value, high, chance }) => Math.max(value, high, chance)));
  return highest > 0.8 && highest <= 1 ? 1.04 : 1.15 * highest || 1;
}

const percent = (level: number) => `${Number((100 * level).toPrecision(3))} %`;
/** "120 queries, seed 7": the company of every measured number. */
const company = ({ queries, dataSet, seed }: MeasuredOptions) =>
  `${dataSet}, ${count(queries)} ${queries === 1 ? "query" : "queries"}, seed ${seed}`;

/** Lines that plotly's horizontal legend takes: every entry is as wide as the widest (a key of 40 px and 7.2 px a letter). */
function legendLines(names: readonly string[], width: number): number {
  const widest = 40 + 7.2 * Math.max(...names.map((name) => name.length));
  const perLine = Math.max(1, Math.floor(width / widest));
  return Math.ceil(names.length / perLine);
}

/**
 * Bars of a metric, a group for every modality and a bar for every encoder in the order of the rows, with confidence
 * intervals, and a dashed line for the chance of each group.
 */
export function recallFigure(rows: readonly RecallBar[], options: MeasuredOptions): Figure {
  assertFinite("recall figure", rows);
  const { metric, level = 0.95, name = "recall", title = `${metric} by modality` } = options;
  const modalities = modalitiesInOrder(rows.map((row) => row.modality));
  const encoders = [...new Set(rows.map((row) => row.encoder))];
  const colours = encoderColours(encoders);
  const barWidth = 0.84 / encoders.length;

  const bars = encoders.map((encoder, e): Trace => {
    const own = rows.filter((row) => row.encoder === encoder);
    return {
      type: "bar",
      name: encoder,
      x: own.map((row) => modalities.indexOf(row.modality) - 0.42 + (e + 0.5) * barWidth),
      y: own.map((row) => row.value),
      width: 0.92 * barWidth,
      marker: { color: colours.get(encoder), line: { color: INK, width: 0.5 } },
      error_y: errorBars(own),
    };
  });
  const above = 44 + 20 * legendLines([...encoders, "chance"], 480);
  const chances = modalities.map((modality) => rows.find((row) => row.modality === modality)?.chance ?? 0);
  const chance: Trace = {
    type: "scatter",
    mode: "lines",
    name: "chance",
    x: modalities.flatMap((_, i) => [i - 0.46, i + 0.46, null]),
    y: chances.flatMap((value) => [value, value, null]),
    line: CHANCE_LINE,
  };
  return {
    name,
    title,
    caption: `${metric} by modality and encoder; ${company(options)}; bars: ${percent(level)} intervals; dashed line: chance.`,
    size: { width: 560, height: 296 + above },
    data: [...bars, chance],
    layout: baseLayout(title, {
      margin: { l: 64, r: 16, t: above, b: 56 },
      legend: LEGEND_ABOVE,
      xaxis: axis("Modality of query and gallery", {
        tickvals: modalities.map((_, i) => i),
        ticktext: modalities.map((modality) => MODALITY_LOOKS[modality].name),
        range: [-0.55, modalities.length - 0.45],
        showgrid: false,
      }),
      yaxis: axis(`${metric} (fraction of queries)`, { range: [0, top(rows)] }),
    }),
    numbers: rows.map(({ encoder, modality, value, low, high, chance: guess }) => {
      return { encoder, modality, value, low, high, chance: guess };
    }),
    dataSet: options.dataSet,
    seed: options.seed,
  };
}

/** One bar for every encoder, its value beside it, chance dashed: the row of a modality that pretraining never saw. */
export function barFigure(rows: readonly EncoderBar[], options: MeasuredOptions): Figure {
  assertFinite("bar figure", rows);
  const { metric, level = 0.95, name = "encoders", title = `${metric} by encoder` } = options;
  const encoders = rows.map((row) => row.encoder);
  const colours = encoderColours(encoders);
  const places = rows.map((_, i) => i); // names are written from left to right, so the bars lie
  const bars: Trace = {
    type: "bar",
    orientation: "h",
    y: places,
    x: rows.map((row) => row.value),
    width: 0.7,
    marker: { color: encoders.map((encoder) => colours.get(encoder)), line: { color: INK, width: 0.5 } },
    error_x: errorBars(rows),
    showlegend: false,
  };
  const values: Trace = {
    type: "scatter",
    mode: "text",
    y: places,
    x: rows.map((row) => Math.max(row.value, row.high)),
    text: rows.map((row) => `\u00a0\u00a0${row.value.toFixed(2)}`),
    textposition: "middle right",
    showlegend: false,
    hoverinfo: "skip",
  };
  const chance: Trace = {
    type: "scatter",
    mode: "lines",
    name: "chance",
    y: places.flatMap((i) => [i - 0.5, i + 0.5, null]),
    x: rows.flatMap((row) => [row.chance, row.chance, null]),
    line: CHANCE_LINE,
    showlegend: true,
  };
  return {
    name,
    title,
    caption: `${metric} by encoder; ${company(options)}; bars: ${percent(level)} intervals; dashed line: chance.`,
    size: { width: 560, height: 136 + 36 * rows.length },
    data: [bars, values, chance],
    layout: baseLayout(title, {
      margin: { l: 64, r: 24, t: 72, b: 56 },
      legend: LEGEND_ABOVE,
      xaxis: axis(`${metric} (fraction of queries)`, { range: [0, 1.1 * top(rows)] }),
      yaxis: axis("Encoder", {
        tickvals: places,
        ticktext: encoders,
        range: [rows.length - 0.4, -0.6], // the first row on top
        showgrid: false,
      }),
    }),
    numbers: rows.map(({ encoder, value, low, high, chance: guess }) => ({ encoder, value, low, high, chance: guess })),
    dataSet: options.dataSet,
    seed: options.seed,
  };
}

/** From paper to ink through the modality-free blues; every step is darker, so that it survives grey printing. */
const BLUES = [
  [0, "#F7FBFF"],
  [0.25, "#C6DBEF"],
  [0.5, "#6BAED6"],
  [0.75, "#2171B5"],
  [1, "#08306B"],
] as const;

/** A metric for every pair of query and gallery modality: value and interval in each cell, chance in the caption. */
export function heatmapFigure(cells: readonly HeatmapCell[], options: MeasuredOptions): Figure {
  assertFinite("heatmap", cells);
  const { metric, level = 0.95, name = "cross-modal", title = `${metric} across modalities` } = options;
  const queries = modalitiesInOrder(cells.map((cell) => cell.query));
  const galleries = modalitiesInOrder(cells.map((cell) => cell.gallery));
  const find = (query: Modality, gallery: Modality) =>
    cells.find((cell) => cell.query === query && cell.gallery === gallery);
  const names = (modalities: readonly Modality[]) => modalities.map((modality) => MODALITY_LOOKS[modality].name);

  const annotations = cells.map((cell) => ({
    x: galleries.indexOf(cell.gallery),
    y: queries.indexOf(cell.query),
    text: `<b>${cell.value.toFixed(2)}</b><br><span style="font-size:11px">${cell.low.toFixed(2)}–${cell.high.toFixed(2)}</span>`,
    showarrow: false,
    font: { color: cell.value > 0.65 ? "white" : INK },
  }));
  const chances = cells.map((cell) => cell.chance);
  const [least, most] = [Math.min(...chances), Math.max(...chances)].map((chance) => chance.toFixed(2));
  const chance = least === most ? `chance: ${least}` : `chance: ${least} to ${most}`;
  return {
    name,
    title,
    caption:
      `${metric} of queries of one modality (rows) in galleries of another (columns); ${company(options)}; ` +
      `below each value its ${percent(level)} interval; ${chance}.`,
    size: { width: 216 + 92 * galleries.length, height: 104 + 60 * queries.length },
    data: [
      {
        type: "heatmap",
        x: galleries.map((_, i) => i),
        y: queries.map((_, i) => i),
        z: queries.map((query) => galleries.map((gallery) => find(query, gallery)?.value ?? null)),
        zmin: 0,
        zmax: 1,
        colorscale: BLUES,
        xgap: 2,
        ygap: 2,
        colorbar: {
          title: { text: metric, side: "right", font: { size: 14 } },
          tickfont: { size: 12 },
          thickness: 14,
          outlinewidth: 0.5,
          tickformat: ".1f",
        },
      },
    ],
    layout: baseLayout(title, {
      margin: { l: 120, r: 96, t: 48, b: 56 },
      annotations,
      xaxis: axis("Gallery modality", {
        tickvals: galleries.map((_, i) => i),
        ticktext: names(galleries),
        showgrid: false,
        showline: false,
        ticks: "",
      }),
      yaxis: axis("Query modality", {
        tickvals: queries.map((_, i) => i),
        ticktext: names(queries),
        autorange: "reversed",
        showgrid: false,
        showline: false,
        ticks: "",
      }),
    }),
    numbers: cells.map(({ query, gallery, value, low, high, chance: guess }) => {
      return { query, gallery, value, low, high, chance: guess };
    }),
    dataSet: options.dataSet,
    seed: options.seed,
  };
}
