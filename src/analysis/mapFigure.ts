/** Embeddings as points of a plane, coloured by modality or by region. */
import type { Modality } from "../types.js";
import { assertFinite, axis, baseLayout, count, type Figure, type Source, type Trace } from "./chartStyle.js";
import { MODALITY_LOOKS, modalitiesInOrder, regionColours } from "./palette.js";

export interface MapPoint {
  readonly x: number;
  readonly y: number;
  readonly modality: Modality;
  readonly region?: string;
}

export interface MapOptions extends Source {
  readonly colourBy: "modality" | "region";
  readonly encoder: string;
  readonly name?: string;
  readonly title?: string;
  /** Trustworthiness of this map and of others from other seeds, at `neighbours`: said in the caption. */
  readonly trust?: { readonly neighbours: number; readonly values: readonly number[] };
}

/** What every caption of a map says, because maps convince more than they should. */
export const MAP_WARNING = "UMAP can draw clusters where there are none, and distances between clusters mean little";

/** "trustworthiness at 15 neighbours 0.95 (3 seeds: 0.94 to 0.95; a random map: 0.5)". */
export function trustSentence({ neighbours, values }: NonNullable<MapOptions["trust"]>): string {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(2));
  const seeds = values.length > 1 ? `${values.length} seeds: ${least} to ${most}; ` : "";
  return `trustworthiness at ${neighbours} neighbours ${values[0].toFixed(2)} (${seeds}a random map: 0.5)`;
}

/** Points of a UMAP, both axes at the same scale. The marker always tells the modality; the colour tells what is asked. */
export function umapFigure(points: readonly MapPoint[], options: MapOptions): Figure {
  assertFinite("map", points);
  const { colourBy, encoder, dataSet, seed, name = `umap-${colourBy}` } = options;
  const { title = `UMAP of ${encoder} embeddings` } = options;
  const rounded = points.map((point) => ({ ...point, x: Number(point.x.toFixed(3)), y: Number(point.y.toFixed(3)) }));
  const modalities = modalitiesInOrder(points.map((point) => point.modality));
  const keys = colourBy === "modality" ? modalities.length : regionCount(points) + modalities.length + 3;
  // In the map by region the legend is a key of its own: a click on it could hide no points.
  const click = colourBy === "modality" ? {} : { itemclick: false, itemdoubleclick: false };
  const data = colourBy === "modality" ? tracesByModality(rounded, modalities) : tracesByRegion(rounded, modalities);
  return {
    name,
    title,
    caption:
      `UMAP (cosine) of ${count(points.length)} embeddings by ${encoder}; ${dataSet}, seed ${seed}; ` +
      `colour: ${colourBy}; marker: modality. ` +
      (options.trust ? `Its ${trustSentence(options.trust)}. ` : "") +
      `${MAP_WARNING}. Axes have no unit.`,
    size: { width: 560, height: Math.max(430, 84 + 22 * keys) }, // the legend must fit
    data,
    layout: baseLayout(title, {
      margin: { l: 40, r: 136, t: 44, b: 40 },
      legend: { x: 1.02, xanchor: "left", y: 1, yanchor: "top", font: { size: 13 }, itemsizing: "constant", ...click },
      xaxis: axis("UMAP 1 (no unit)", { showticklabels: false, ticks: "", mirror: true }),
      yaxis: axis("UMAP 2 (no unit)", {
        showticklabels: false,
        ticks: "",
        mirror: true,
        scaleanchor: "x",
        scaleratio: 1,
      }),
    }),
    numbers: rounded.map(({ x, y, modality, region }) => ({ x, y, modality, region: region ?? null })),
    dataSet,
    seed,
  };
}

/** The same points from several seeds side by side, coloured by modality: what changes between them is chance. */
export function umapRunsFigure(
  runs: readonly (readonly MapPoint[])[],
  options: Omit<MapOptions, "colourBy"> & Required<Pick<MapOptions, "trust">>,
): Figure {
  runs.forEach((points) => assertFinite("map", points));
  const { encoder, dataSet, seed, trust, name = "umap-runs" } = options;
  const { title = `UMAP of ${encoder} embeddings, ${runs.length} seeds` } = options;
  const modalities = modalitiesInOrder(runs[0].map((point) => point.modality));
  const number = (i: number) => (i === 0 ? "" : String(i + 1));
  const data = runs.flatMap((points, i) =>
    tracesByModality(points, modalities).map((trace) => {
      const marker = { ...(trace.marker as object), size: 4 };
      return { ...trace, marker, xaxis: `x${number(i)}`, yaxis: `y${number(i)}`, showlegend: i === 0 };
    }),
  );
  const bare = { showticklabels: false, ticks: "", mirror: true, showgrid: false };
  const axes = Object.fromEntries(
    runs.flatMap((_, i) => [
      [`xaxis${number(i)}`, axis(`seed ${i + 1}: ${trust.values[i].toFixed(3)}`, { ...bare, anchor: `y${number(i)}` })],
      [`yaxis${number(i)}`, axis("", { ...bare, scaleanchor: `x${number(i)}`, anchor: `x${number(i)}` })],
    ]),
  );
  return {
    name,
    title,
    caption:
      `UMAP (cosine) of the same ${count(runs[0].length)} embeddings by ${encoder} from ${runs.length} seeds; ${dataSet}, seed ` +
      `${seed}; below each its trustworthiness at ${trust.neighbours} neighbours (a random map: 0.5). ${MAP_WARNING}: what changes ` +
      "between the panels is chance. Axes have no unit.",
    size: { width: 640, height: 300 },
    data,
    layout: baseLayout(title, {
      ...axes,
      grid: { rows: 1, columns: runs.length, pattern: "independent", xgap: 0.06 },
      margin: { l: 16, r: 16, t: 76, b: 44 },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.03, yanchor: "bottom", font: { size: 13 } },
    }),
    numbers: runs.flatMap((points, run) =>
      points.map(({ x, y, modality }) => ({ run, x: Number(x.toFixed(3)), y: Number(y.toFixed(3)), modality })),
    ),
    dataSet,
    seed,
  };
}

const regionOf = (point: MapPoint): string => point.region ?? "unknown";
const regionCount = (points: readonly MapPoint[]): number => new Set(points.map(regionOf)).size;

const POINT = { size: 6, opacity: 0.8, line: { color: "white", width: 0.4 } };

function scatter(name: string, points: readonly MapPoint[], colour: string, more: Record<string, unknown>): Trace {
  return {
    type: "scatter",
    mode: "markers",
    name,
    x: points.map((point) => point.x),
    y: points.map((point) => point.y),
    marker: { ...POINT, color: colour, symbol: points.map((point) => MODALITY_LOOKS[point.modality].symbol) },
    ...more,
  };
}

function tracesByModality(points: readonly MapPoint[], modalities: readonly Modality[]): Trace[] {
  return modalities.map((modality) => {
    const { name, colour, symbol } = MODALITY_LOOKS[modality];
    const own = points.filter((point) => point.modality === modality);
    return scatter(name, own, colour, { marker: { ...POINT, color: colour, symbol } });
  });
}

/** The points of every region, then what the legend shows: the colours of the regions and the shapes of the modalities. */
function tracesByRegion(points: readonly MapPoint[], modalities: readonly Modality[]): Trace[] {
  const colours = regionColours(points.map(regionOf));
  const regions = [...colours].map(([region, colour]) => {
    const own = points.filter((point) => regionOf(point) === region);
    return scatter(region, own, colour, { showlegend: false });
  });
  // A trace without points, only there to be in the legend.
  const key = (name: string, group: string, heading: string, marker: Trace): Trace => ({
    type: "scatter",
    mode: "markers",
    name,
    x: [null],
    y: [null],
    marker: { ...POINT, opacity: 1, size: 8, ...marker },
    legendgroup: group,
    legendgrouptitle: { text: heading, font: { size: 13 } },
  });
  const regionKeys = [...colours].map(([region, colour]) => key(region, "regions", "Region", { color: colour }));
  const shapeKeys = modalities.map((modality) => {
    const { name, symbol } = MODALITY_LOOKS[modality];
    return key(name, "modalities", "Modality", { color: "#555555", symbol });
  });
  return [...regions, ...regionKeys, ...shapeKeys];
}
