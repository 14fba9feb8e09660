/** Retrieval as pictures: a query and its nearest, hits and misses told apart by sign, frame and colour alike. */
import { createCanvas, type SKRSContext2D } from "@napi-rs/canvas";
import { writeAtomic } from "../files.js";
import { selectRows, type EmbeddingSet } from "../embeddings.js";
import { labelColumn } from "../retrieval/protocol.js";
import { labelSetsIn, shareLabel } from "../retrieval/labelSets.js";
import { exactSearch } from "../retrieval/search.js";
import { InputError, MODALITIES, type Decoded, type Modality } from "../types.js";
import { count, type NumberRow, type Source } from "./chartStyle.js";
import { drawTile } from "./contactSheet.js";
import { numbersFile } from "./figures.js";
import { MODALITY_LOOKS } from "./palette.js";

/**
 * Which queries are shown, a stated rule in place of a choice by eye:
 *
 * - `first`: the first queries of each modality, in the order of the data set;
 * - `confident misses`: queries whose nearest item is wrong, by how far it leads the best right one, largest first.
 */
export type GalleryRule = "first" | "confident misses";

export interface GalleryMatch {
  readonly id: string;
  readonly label: string;
  readonly cosine: number;
  readonly hit: boolean;
}

export interface GalleryRow {
  readonly from: Modality;
  readonly to: Modality;
  readonly id: string;
  readonly label: string;
  readonly matches: readonly GalleryMatch[];
  /** Cosine of the nearest item less that of the nearest right one: 0 for a hit. */
  readonly lead: number;
}

export interface GalleryOptions {
  readonly label: string;
  readonly rule: GalleryRule;
  /** Pictures beside each query. */
  readonly k?: number;
  /** Queries of each modality. */
  readonly perModality?: number;
  /** Look for answers in this modality; in each query's own where it is left out. */
  readonly to?: Modality;
  readonly modalities?: readonly Modality[];
  /** The column holds label sets: a hit shares at least one label, as in the tables. Default: as the vectors say. */
  readonly labelSets?: boolean;
}

/**
 * Queries and their k nearest gallery items by cosine. A query never retrieves its own patient, as in the tables; queries
 * without a right answer in the gallery are left out, because they could not hit.
 *
 * @param set rows of the splits gallery and query together, as a run keeps them
 */
export function galleryRows(set: EmbeddingSet, options: GalleryOptions): GalleryRow[] {
  const { label, rule, k = 5, perModality = 1, modalities = MODALITIES } = options;
  const { labelSets = labelSetsIn(set).includes(label) } = options;
  return modalities.flatMap((from) => {
    const to = options.to ?? from;
    const queries = selectRows(set, (i) => set.splits[i] === "query" && set.modalities[i] === from);
    const gallery = selectRows(set, (i) => set.splits[i] === "gallery" && set.modalities[i] === to);
    if (queries.n === 0 || gallery.n === 0) return [];
    const isHit = (a: string, b: string) => (labelSets ? shareLabel(a, b) : a !== "" && a === b);
    const [asked, held] = [labelColumn(queries, label, "queries"), labelColumn(gallery, label, "gallery")];
    const { indices, scores } = exactSearch(queries, gallery, gallery.n); // all of it, to find the nearest right one
    const rows = asked.flatMap((value, q): GalleryRow[] => {
      const ranked = Array.from(indices.subarray(q * gallery.n, (q + 1) * gallery.n)).filter((row) => row >= 0);
      const cosine = (rank: number) => scores[q * gallery.n + rank];
      const right = ranked.findIndex((row) => isHit(value, held[row]));
      if (right < 0) return [];
      const matches = ranked.slice(0, k).map((row, rank): GalleryMatch => {
        return { id: gallery.ids[row], label: held[row], cosine: cosine(rank), hit: isHit(value, held[row]) };
      });
      return [{ from, to, id: queries.ids[q], label: value, matches, lead: cosine(0) - cosine(right) }];
    });
    if (rule === "first") return rows.slice(0, perModality);
    const missed = rows.filter(({ matches }) => !matches[0].hit);
    return missed.sort((a, b) => b.lead - a.lead).slice(0, perModality);
  });
}

const RULES: Readonly<Record<GalleryRule, string>> = {
  first: "the first queries of each modality, in the order of the data set",
  "confident misses":
    "queries whose nearest item is wrong, by its lead in cosine over the nearest right one, largest first",
};

export interface Gallery extends Source {
  readonly png: Uint8Array;
  readonly caption: string;
  readonly numbers: readonly NumberRow[];
}

/** PATH.png, and PATH.json with the caption and the numbers behind every mark. */
export function saveGallery({ png, caption, numbers, dataSet, seed }: Gallery, path: string): void {
  writeAtomic(`${path}.png`, png);
  writeAtomic(`${path}.json`, numbersFile({ caption, dataSet, seed }, numbers));
}

const HIT = "#009E73";
const MISS = "#D55E00";
const INK = "#222222";
const FONT = '"DejaVu Sans", Verdana, Arial, sans-serif';

/**
 * Draws rows: the query at the left, then its matches, nearest first. A volume shows its middle slice, a video its middle
 * frame and a filmstrip. A hit has a whole frame and ✓, a miss a dashed frame and ✗.
 *
 * @param read the picture of an id, such as `data.dataset.read` of its record
 */
export async function drawGallery(
  rows: readonly GalleryRow[],
  read: (id: string) => Promise<Decoded>,
  options: Source & {
    readonly label: string;
    readonly rule: GalleryRule;
    readonly encoder: string;
    readonly tile?: number;
    readonly labelSets?: boolean;
  },
): Promise<Gallery> {
  const { tile = 112, encoder, label, rule, dataSet, seed } = options;
  if (rows.length === 0) throw new InputError(`retrieval gallery: no query follows the rule "${rule}"`);
  const k = Math.max(...rows.map(({ matches }) => matches.length));
  const [edge, gap, apart, under, head] = [14, 12, 34, 34, 34];
  const left = 108;
  const x = (column: number) => left + (column === 0 ? 0 : tile + apart + (column - 1) * (tile + gap));
  const y = (row: number) => head + row * (tile + under);
  const canvas = createCanvas(x(k) + tile + edge, y(rows.length) + 4);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#FFFFFF";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const write = (
    words: string,
    at: [number, number],
    style: { colour?: string; weight?: number; size?: number } = {},
  ) => {
    const { colour = INK, weight = 400, size = 12 } = style;
    pen.font = `${weight} ${size}px ${FONT}`;
    pen.fillStyle = colour;
    pen.fillText(words, ...at, tile + gap);
  };

  pen.textAlign = "center";
  write("query", [x(0) + tile / 2, 22], { weight: 600 });
  for (let rank = 1; rank <= k; rank++) write(`rank ${rank}`, [x(rank) + tile / 2, 22], { weight: 600 });
  for (const [r, row] of rows.entries()) {
    const [source, target] = [MODALITY_LOOKS[row.from], MODALITY_LOOKS[row.to]];
    pen.textAlign = "left";
    write(source.name, [edge, y(r) + tile / 2], { colour: source.colour, weight: 600, size: 13 });
    if (row.to !== row.from) {
      write(`→ ${target.name}`, [edge, y(r) + tile / 2 + 18], { colour: target.colour, weight: 600, size: 13 });
    }
    pen.textAlign = "center";
    drawTile(pen, await read(row.id), x(0), y(r), tile);
    write(row.label, [x(0) + tile / 2, y(r) + tile + 17]);
    for (const [m, match] of row.matches.entries()) {
      drawTile(pen, await read(match.id), x(m + 1), y(r), tile);
      frame(pen, match.hit, x(m + 1), y(r), tile);
      const words = `${match.hit ? "✓" : "✗"} ${match.label}`;
      write(words, [x(m + 1) + tile / 2, y(r) + tile + 17], { colour: match.hit ? HIT : MISS, weight: 600 });
    }
  }
  const hits = rows.reduce((sum, { matches }) => sum + matches.filter(({ hit }) => hit).length, 0);
  const shown = rows.reduce((sum, { matches }) => sum + matches.length, 0);
  const caption =
    `Queries and their ${k} nearest by ${encoder}; ${rows.length} queries: ${RULES[rule]}; ✓ and whole frame: ${options.labelSets ? `a label of ${label} shared` : `same ${label}`}, ` +
    `✗ and dashed frame: another (${count(hits)} of ${count(shown)} shown are hits); volumes by their middle slice, videos ` +
    `by their middle frame and a strip; ${dataSet}, seed ${seed}.`;
  const numbers = rows.flatMap(({ from, to, id, label: asked, lead, matches }) =>
    matches.map((match, m): NumberRow => {
      const { id: found, label: got, cosine, hit } = match;
      return { from, to, query: id, asked, lead, rank: m + 1, found, got, cosine, hit: hit ? 1 : 0 };
    }),
  );
  return { png: await canvas.encode("png"), caption, numbers, dataSet, seed };
}

function frame(pen: SKRSContext2D, hit: boolean, x: number, y: number, tile: number): void {
  pen.save();
  pen.lineWidth = 3;
  pen.strokeStyle = hit ? HIT : MISS;
  pen.setLineDash(hit ? [] : [7, 5]);
  pen.strokeRect(x - 2, y - 2, tile + 4, tile + 4);
  pen.restore();
}
