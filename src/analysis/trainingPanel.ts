/**
 * Training at a glance, as one small SVG: it can be drawn several times a second, replaces itself in a cell, and stays in
 * the notebook as the record of the run. Plotly is for figures that are kept; it is too slow for this.
 */
import { INK } from "./chartStyle.js";
import { encoderColours } from "./palette.js";
import { FONT_FAMILY } from "./renderPlotly.js";

/** One term of the loss so far. */
export interface PanelTerm {
  readonly name: string;
  readonly unit: string;
  /** One value a step, from step 1 on. */
  readonly values: readonly number[];
  /** Dashed lines with names, such as the two ends of the expansion. */
  readonly levels?: readonly { readonly name: string; readonly value: number }[];
}

/** How far the batch is from having collapsed to one direction. */
export interface CollapseHealth {
  readonly agreement: number;
  /** Where the expansion stands between collapse (0) and its ceiling (1). */
  readonly spread: number;
  readonly state: "spread out" | "near collapse" | "collapsed";
}

export interface TrainingPanel {
  /** As it is written in tables: MAE, SimDINO. It chooses the colour. */
  readonly method: string;
  readonly done: number;
  readonly total: number;
  /** "running", "finished after 12 s", "interrupted after 4 s". */
  readonly state: string;
  /** Short facts for the line below the bar: rate, time left, input wait. */
  readonly facts: readonly string[];
  readonly terms: readonly PanelTerm[];
  readonly health?: CollapseHealth;
  /** What was trained on what: data, n, seed. Also the description that a screen reader reads. */
  readonly caption: string;
}

const WIDTH = 640;
const EDGE = 12;
const QUIET = "#5F5F5F";
const GRID = "#DDDDDD";
const MOST_POINTS = 160;
const PLOT_HEIGHT = 104;

/** The panel as SVG text of a few kilobytes, whatever the number of steps. */
export function trainingSvg(panel: TrainingPanel): string {
  const { method, done, total, state, facts, terms, health, caption } = panel;
  const colour = encoderColours([method]).get(method)!;
  const fraction = total > 0 ? Math.min(1, done / total) : 1;
  const parts = [
    text(EDGE, 22, `${method}: step ${done} of ${total}`, { size: 15, weight: 600 }),
    text(WIDTH - EDGE, 22, state, { size: 13, anchor: "end", weight: 600 }),
    `<rect x="${EDGE}" y="32" width="${WIDTH - 2 * EDGE}" height="8" rx="4" fill="${GRID}"/>`,
    `<rect x="${EDGE}" y="32" width="${round((WIDTH - 2 * EDGE) * fraction)}" height="8" rx="4" fill="${colour}"/>`,
    text(EDGE, 58, facts.join("   ·   "), { size: 12, colour: QUIET }),
  ];
  const top = 72;
  const each = (WIDTH - EDGE) / Math.max(1, terms.length);
  terms.forEach((term, i) => parts.push(plot(term, { x: EDGE + i * each, y: top, width: each - EDGE, total, colour })));
  let bottom = top + PLOT_HEIGHT + 56;
  if (health) {
    parts.push(healthBar(health, bottom));
    bottom += 42;
  }
  parts.push(text(EDGE, bottom + 4, caption, { size: 11, colour: QUIET }));
  const height = bottom + 16;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ` +
    `role="img" font-family="${FONT_FAMILY}"><title>${escapeXml(`${method}, ${state}`)}</title>` +
    `<desc>${escapeXml(caption)}</desc><rect width="${WIDTH}" height="${height}" fill="white"/>${parts.join("")}</svg>`
  );
}

interface Place {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly total: number;
  readonly colour: string;
}

function plot({ name, unit, values, levels = [] }: PanelTerm, { x, y, width, total, colour }: Place): string {
  const finite = [...values, ...levels.map(({ value }) => value)].filter(Number.isFinite);
  const least = Math.min(...finite, Infinity);
  const most = Math.max(...finite, -Infinity);
  const [low, high] = most > least ? [least, most] : [least - 0.5, most + 0.5];
  const [left, right, top, bottom] = [x + 46, x + width - (levels.length > 0 ? 58 : 4), y + 18, y + 18 + PLOT_HEIGHT];
  const across = (step: number) => round(left + ((right - left) * (step - 1)) / Math.max(1, total - 1));
  const up = (value: number) => round(bottom - 4 - ((bottom - top - 8) * (value - low)) / (high - low));
  const last = values.at(-1);
  const heading = `${name}${last === undefined ? "" : ` ${short(last)}`}`;
  const parts = [
    text(left, y + 10, `${heading} (${unit})`, { size: 12, weight: 600 }),
    `<path d="M${round(left)} ${round(top)}V${round(bottom)}H${round(right)}" fill="none" stroke="#666666"/>`,
    text(left, bottom + 15, "1", { size: 11, anchor: "middle" }),
    text((left + right) / 2, bottom + 15, "step", { size: 11, anchor: "middle" }),
    text(right, bottom + 15, String(total), { size: 11, anchor: "middle" }),
  ];
  if (finite.length > 0) {
    parts.push(text(left - 4, up(high) + 4, short(high), { size: 11, anchor: "end" }));
    parts.push(text(left - 4, up(low) + 4, short(low), { size: 11, anchor: "end" }));
  }
  for (const level of levels) {
    const at = up(level.value);
    parts.push(`<path d="M${round(left)} ${at}H${round(right)}" stroke="${INK}" stroke-dasharray="4 3"/>`);
    parts.push(text(right + 4, at + 4, level.name, { size: 11 }));
  }
  const points = thinned(values).map(({ step, value }) => `${across(step)},${up(value)}`);
  if (points.length === 1)
    parts.push(`<circle cx="${points[0].split(",")[0]}" cy="${points[0].split(",")[1]}" r="2"/>`);
  parts.push(`<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="1.8"/>`);
  return parts.join("");
}

/** At most so many points: means over equal stretches of steps, each at its last step. What is no number is left out. */
function thinned(values: readonly number[]): { step: number; value: number }[] {
  const stretch = Math.max(1, Math.ceil(values.length / MOST_POINTS));
  const points: { step: number; value: number }[] = [];
  for (let from = 0; from < values.length; from += stretch) {
    const part = values.slice(from, from + stretch);
    const value = part.reduce((sum, x) => sum + x, 0) / part.length;
    if (Number.isFinite(value)) points.push({ step: from + part.length, value });
  }
  return points;
}

/** Word, sign and length say the same, so that the colour is not needed. */
function healthBar({ agreement, spread, state }: CollapseHealth, y: number): string {
  const [left, right] = [WIDTH / 2, WIDTH - EDGE];
  const share = Math.max(0, Math.min(1, spread));
  const sign = state === "spread out" ? "✓" : "▲";
  const fill = { "spread out": "#009E73", "near collapse": "#E69F00", collapsed: "#D55E00" }[state];
  return [
    text(EDGE, y, `${sign} ${state}`, { size: 13, weight: 600 }),
    text(EDGE, y + 17, `agreement ${short(agreement)}`, { size: 12, colour: QUIET }),
    `<rect x="${left}" y="${y - 10}" width="${right - left}" height="10" fill="${GRID}"/>`,
    `<rect x="${left}" y="${y - 10}" width="${round((right - left) * share)}" height="10" fill="${fill}"/>`,
    text(left, y + 17, "collapse", { size: 11, colour: QUIET }),
    text((left + right) / 2, y + 17, `${(100 * spread).toFixed(1)} % of the way`, { size: 12, anchor: "middle" }),
    text(right, y + 17, "ceiling", { size: 11, anchor: "end", colour: QUIET }),
  ].join("");
}

interface TextStyle {
  readonly size: number;
  readonly weight?: number;
  readonly anchor?: "start" | "middle" | "end";
  readonly colour?: string;
}

function text(x: number, y: number, words: string, { size, weight = 400, anchor = "start", colour = INK }: TextStyle) {
  const place = `x="${round(x)}" y="${round(y)}" font-size="${size}" font-weight="${weight}"`;
  return `<text ${place} text-anchor="${anchor}" fill="${colour}">${escapeXml(words)}</text>`;
}

const round = (x: number) => Math.round(10 * x) / 10;

/** Three digits: 0.0189, 1.23, 145. */
const short = (x: number) => (Number.isFinite(x) ? String(Number(x.toPrecision(3))) : "no number");

function escapeXml(words: string): string {
  return words.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
