/** What every figure shares: what a figure is, and how its paper, axes and lines look. */
import { InputError } from "../types.js";
import { FONT_FAMILY, type PlotlySpec, type Size } from "./renderPlotly.js";

/** One row of the numbers behind a figure, as it is written beside it. */
export type NumberRow = Readonly<Record<string, string | number | null>>;

/** A figure that is ready to be drawn, saved or shown. */
export interface Figure extends PlotlySpec {
  /** File name without extension. */
  readonly name: string;
  readonly title: string;
  readonly caption: string;
  readonly size: Size;
  readonly numbers: readonly NumberRow[];
  readonly dataSet: string;
  readonly seed: number;
}

/** Where the numbers come from: said in every caption, and written beside every figure. */
export interface Source {
  readonly dataSet: string;
  readonly seed: number;
}

export type Trace = Readonly<Record<string, unknown>>;

export const INK = "#222222";
const GRID = "#E6E6E6";
export const CHANCE_LINE = { color: INK, width: 1.6, dash: "4px,3px" } as const;
const AXIS = { gridcolor: GRID, linecolor: "#666666", showline: true, ticks: "outside", ticklen: 4, zeroline: false };

/** White paper, dark ink, a light grid, room for every label. */
export function baseLayout(title: string, more: Record<string, unknown>): Record<string, unknown> {
  return {
    title: { text: title, font: { size: 16 }, x: 0.02, xanchor: "left", y: 0.97, yanchor: "top" },
    font: { family: FONT_FAMILY, size: 14, color: INK },
    paper_bgcolor: "white",
    plot_bgcolor: "white",
    margin: { l: 64, r: 16, t: 48, b: 56 },
    ...more,
  };
}

export const axis = (title: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...AXIS,
  title: { text: title, standoff: 8, font: { size: 14 } },
  tickfont: { size: 13 },
  automargin: true,
  ...more,
});

/** A horizontal legend between the title and the plot. */
export const LEGEND_ABOVE = { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", font: { size: 13 } };

/** Bars from the low to the high end of each value's interval. */
export function errorBars(
  rows: readonly { readonly value: number; readonly low: number; readonly high: number }[],
  color: string | undefined = INK,
): Trace {
  return {
    type: "data",
    symmetric: false,
    array: rows.map(({ value, high }) => Math.max(0, high - value)),
    arrayminus: rows.map(({ value, low }) => Math.max(0, value - low)),
    color,
    thickness: 1.2,
    width: 3,
  };
}

/** Throws unless every one of these is a finite number. */
export function assertFinite(what: string, rows: readonly object[]): void {
  rows.forEach((row, i) => {
    for (const [key, value] of Object.entries(row)) {
      if (typeof value === "number" && !Number.isFinite(value)) {
        throw new InputError(`${what}: row ${i} has ${key} = ${value}; expected a finite number`);
      }
    }
  });
  if (rows.length === 0) throw new InputError(`${what}: expected at least one row, got none`);
}

/** 1204 as "1,204". */
export const count = (n: number) => n.toLocaleString("en-US");
