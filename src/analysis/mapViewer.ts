/** A map to look into: one HTML file that needs nothing else, in which a point shows its picture. */
import { createCanvas } from "@napi-rs/canvas";
import { normalise, type EmbeddingSet } from "../embeddings.js";
import { InputError, type Decoded } from "../types.js";
import { count, type Source } from "./chartStyle.js";
import { drawTile } from "./contactSheet.js";
import type { MapPoint } from "./mapFigure.js";
import { MODALITY_LOOKS, modalitiesInOrder, regionColours } from "./palette.js";

/** Small pictures in one image, row by row. */
export interface ThumbnailSheet {
  /** A WebP as a data URI. */
  readonly source: string;
  /** Edge of a picture, and how many stand in a row. */
  readonly tile: number;
  readonly columns: number;
  readonly rows: number;
}

/** Draws the middle slice or frame of every picture; they are read one at a time, so that no more than one is in memory. */
export async function thumbnailSheet(
  pictures: readonly (() => Promise<Decoded>)[],
  { tile = 48, quality = 80 }: { readonly tile?: number; readonly quality?: number } = {},
): Promise<ThumbnailSheet> {
  if (pictures.length === 0) throw new InputError("thumbnails: expected at least one picture, got none");
  const columns = Math.ceil(Math.sqrt(pictures.length));
  const rows = Math.ceil(pictures.length / columns);
  const canvas = createCanvas(columns * tile, rows * tile);
  const pen = canvas.getContext("2d");
  for (const [i, read] of pictures.entries()) {
    const decoded = await read();
    // As a volume: the middle alone, without the strip of frames that a sheet shows of a video.
    const still: Decoded = { ...decoded, kind: decoded.kind === "video" ? "volume" : decoded.kind };
    drawTile(pen, still, (i % columns) * tile, Math.floor(i / columns) * tile, tile);
  }
  const bytes = await canvas.encode("webp", quality);
  return { source: `data:image/webp;base64,${bytes.toString("base64")}`, tile, columns, rows };
}

/** [n][k]: the nearest rows of each by cosine, itself left out. */
export function nearestRows(set: EmbeddingSet, k: number): number[][] {
  const { vectors, n, d } = normalise(set);
  return Array.from({ length: n }, (_, i) => {
    const cosines = new Float64Array(n);
    for (let j = 0; j < n; j++) {
      for (let t = 0; t < d; t++) cosines[j] += vectors[i * d + t] * vectors[j * d + t];
    }
    const others = Array.from(cosines.keys()).filter((j) => j !== i);
    return others.sort((a, b) => cosines[b] - cosines[a] || a - b).slice(0, k);
  });
}

export interface MapViewerOptions extends Source {
  readonly encoder: string;
  readonly caption: string;
  /** Rows of `nearestRows`: lines are drawn to them from the chosen point. */
  readonly neighbours: readonly (readonly number[])[];
  /** What the points' regions are, such as "region". */
  readonly label: string;
}

/** Drawn width and height of the map, without its margin. */
const EDGE = 600;

/**
 * The page. Hovering or touching a point, or reaching it by the arrow keys, shows its picture, modality and label, and draws lines
 * to its nearest by cosine in the space itself, which the map may have put elsewhere. Colours tell the modality or the label.
 * Nothing is fetched, and a policy in the page forbids it; no id, path or patient is written.
 *
 * @param sheet picture i belongs to point i
 */
export function mapViewer(points: readonly MapPoint[], sheet: ThumbnailSheet, options: MapViewerOptions): string {
  const { encoder, caption, neighbours, label, dataSet, seed } = options;
  if (points.length === 0 || neighbours.length !== points.length) {
    throw new InputError(`map viewer: expected neighbours of ${points.length} points, got ${neighbours.length}`);
  }
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const [left, top] = [Math.min(...xs), Math.max(...ys)];
  const reach = Math.max(Math.max(...xs) - left, top - Math.min(...ys)) || 1;
  const modalities = modalitiesInOrder(points.map(({ modality }) => modality));
  const regionOf = (point: MapPoint) => point.region || "unknown";
  const regions = [...regionColours(points.map(regionOf))];
  const data = {
    modalities: modalities.map((m) => ({
      name: MODALITY_LOOKS[m].name,
      colour: MODALITY_LOOKS[m].colour,
      shape: SHAPES[MODALITY_LOOKS[m].symbol],
    })),
    regions: regions.map(([name, colour]) => ({ name, colour })),
    // x, y, modality, region, neighbours…
    points: points.map((point, i) => [
      Math.round((10 * EDGE * (point.x - left)) / reach) / 10,
      Math.round((10 * EDGE * (top - point.y)) / reach) / 10,
      modalities.indexOf(point.modality),
      regions.findIndex(([name]) => name === regionOf(point)),
      ...neighbours[i],
    ]),
    tile: sheet.tile,
    columns: sheet.columns,
    rows: sheet.rows,
    label,
  };
  const title = `${encoder}: a map of ${count(points.length)} pictures`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${STYLE}
#picture { background-image: url(${sheet.source}); }
</style>
</head>
<body>
<header><h1>${escapeHtml(title)}</h1><p>${escapeHtml(`${dataSet}, seed ${seed}. ${caption}`)}</p></header>
<main>
<svg id="map" viewBox="-14 -14 ${EDGE + 28} ${EDGE + 28}" tabindex="0" role="application" aria-describedby="how" aria-label="${escapeHtml(title)}">
<g id="lines"></g><g id="points"></g><g id="ring"></g></svg>
<aside>
<div id="picture" role="img" aria-label="no picture chosen"></div>
<p id="about" aria-live="polite">Choose a point.</p>
<fieldset><legend>Colour</legend>
<label><input type="radio" name="colour" value="modality" checked> modality</label>
<label><input type="radio" name="colour" value="region"> ${escapeHtml(label)}</label></fieldset>
<ul id="key"></ul>
<p id="how">Point at the map, or focus it and use the arrow keys; Enter keeps a point, Escape lets it go. Lines lead to the nearest
pictures by cosine, which the map may have put elsewhere.</p>
</aside>
</main>
<noscript>This page draws its map with a script of its own, which this browser does not run.</noscript>
<script>const data = ${JSON.stringify(data).replaceAll("<", "\\u003c")};
${SCRIPT}</script>
</body>
</html>
`;
}

/** Plotly's names of the modalities' markers as paths about (0, 0). */
const SHAPES: Readonly<Record<string, string>> = {
  circle: "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0-6.8 0z",
  square: "M-3-3h6v6h-6z",
  diamond: "M0-4.2L4.2 0L0 4.2L-4.2 0z",
  "triangle-up": "M0-4.2L4 3H-4z",
  cross: "M-1.3-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
};

const STYLE = `
* { box-sizing: border-box; }
body { margin: 0; padding: 1rem 1.5rem; font: 16px/1.45 system-ui, "Segoe UI", "Liberation Sans", sans-serif; color: #222; background: #fff; }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; } header p { margin: 0 0 1rem; max-width: 60rem; color: #444; }
main { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
#map { flex: 1 1 24rem; max-width: 46rem; max-height: 86vh; border: 1px solid #bbb; cursor: crosshair; touch-action: none; }
#map:focus-visible { outline: 3px solid #0072B2; }
#points path { stroke: #fff; stroke-width: .5; opacity: .85; } #points path.dim { opacity: .12; }
#ring circle { fill: none; stroke: #222; stroke-width: 1.6; } #lines line { stroke: #222; stroke-width: .8; opacity: .6; }
aside { flex: 0 1 16rem; } #picture { width: 192px; height: 192px; background-color: #000; background-repeat: no-repeat; border-radius: 6px; }
#about { min-height: 3.2em; } fieldset { border: 1px solid #bbb; border-radius: 6px; } fieldset label { display: block; }
#key { list-style: none; padding: 0; } #key button { all: unset; cursor: pointer; padding: .1rem .3rem; } #key button:focus-visible { outline: 2px solid #0072B2; }
#key button[aria-pressed="false"] { opacity: .35; } #key svg { width: 14px; height: 14px; vertical-align: -2px; margin-right: .4rem; } #how { font-size: .875rem; color: #555; }
`;

const SCRIPT = `
"use strict";
const svg = document.getElementById("map"), space = "http://www.w3.org/2000/svg";
const make = (name, attributes, parent) => {
  const node = document.createElementNS(space, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  return parent.appendChild(node);
};
const dots = data.points.map(([x, y, m]) =>
  make("path", { d: data.modalities[m].shape, transform: "translate(" + x + " " + y + ")" }, document.getElementById("points")));
const hidden = new Set();
let by = "modality", chosen = -1, kept = false;
const kinds = () => (by === "modality" ? data.modalities : data.regions);
const kindOf = (i) => data.points[i][by === "modality" ? 2 : 3];
const shown = (i) => !hidden.has(kindOf(i));
function paint() {
  dots.forEach((dot, i) => {
    dot.setAttribute("fill", kinds()[kindOf(i)].colour);
    dot.setAttribute("class", shown(i) ? "" : "dim");
  });
}
function key() {
  const list = document.getElementById("key");
  list.replaceChildren();
  kinds().forEach((kind, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(!hidden.has(k)));
    const icon = make("svg", { viewBox: "-5 -5 10 10", "aria-hidden": "true" }, button);
    make("path", { d: kind.shape || data.modalities[0].shape, fill: kind.colour }, icon);
    button.append(kind.name);
    button.onclick = () => {
      if (!hidden.delete(k)) hidden.add(k);
      button.setAttribute("aria-pressed", String(!hidden.has(k)));
      paint();
    };
    list.appendChild(document.createElement("li")).appendChild(button);
  });
}
function choose(i) {
  chosen = i;
  const [x, y, m, r, ...near] = data.points[i];
  const edge = 192, picture = document.getElementById("picture");
  picture.style.backgroundSize = edge * data.columns + "px " + edge * data.rows + "px";
  picture.style.backgroundPosition = -edge * (i % data.columns) + "px " + -edge * Math.floor(i / data.columns) + "px";
  const name = data.modalities[m].name + ", " + data.label + ": " + data.regions[r].name;
  picture.setAttribute("aria-label", name);
  const same = near.filter((j) => data.points[j][3] === r).length, alike = near.filter((j) => data.points[j][2] === m).length;
  document.getElementById("about").textContent = name + ". Of its " + near.length + " nearest, " + same + " share the " + data.label +
    " and " + alike + " the modality." + (kept ? " Kept; Escape lets go." : "");
  const lines = document.getElementById("lines"), ring = document.getElementById("ring");
  lines.replaceChildren();
  ring.replaceChildren();
  for (const j of near) make("line", { x1: x, y1: y, x2: data.points[j][0], y2: data.points[j][1] }, lines);
  make("circle", { cx: x, cy: y, r: 7 }, ring);
}
function nearestTo(x, y, allowed) {
  let best = -1, least = Infinity;
  data.points.forEach(([px, py], i) => {
    const far = (px - x) ** 2 + (py - y) ** 2;
    if (far < least && shown(i) && (!allowed || allowed(px, py))) [best, least] = [i, far];
  });
  return best;
}
function at(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return nearestTo(point.x, point.y);
}
svg.addEventListener("pointermove", (event) => { if (!kept) { const i = at(event); if (i >= 0) choose(i); } });
svg.addEventListener("pointerdown", (event) => { const i = at(event); if (i >= 0) { kept = !(kept && i === chosen); choose(i); } });
svg.addEventListener("focus", () => { if (chosen < 0) { const i = nearestTo(${EDGE / 2}, ${EDGE / 2}); if (i >= 0) choose(i); } });
svg.addEventListener("keydown", (event) => {
  const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
  if (way && chosen >= 0) {
    const [x, y] = data.points[chosen];
    // Within a quarter of the plane in that direction.
    const i = nearestTo(x, y, (px, py) => {
      const along = (px - x) * way[0] + (py - y) * way[1], across = Math.abs((px - x) * way[1] + (py - y) * way[0]);
      return along > 0 && across <= along;
    });
    if (i >= 0) choose(i);
    event.preventDefault();
  } else if (event.key === "Enter" || event.key === " ") { if (chosen >= 0) { kept = !kept; choose(chosen); } event.preventDefault(); }
  else if (event.key === "Escape" && chosen >= 0) { kept = false; choose(chosen); }
});
for (const input of document.querySelectorAll("input[name=colour]")) {
  input.onchange = () => { by = input.value; hidden.clear(); key(); paint(); };
}
key();
paint();
`;

function escapeHtml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
