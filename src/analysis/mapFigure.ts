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
      `colour: ${colourBy}; marker: modality. Axes have no unit.`,
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
