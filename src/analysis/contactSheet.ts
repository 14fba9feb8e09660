/** A contact sheet: many samples at a glance, in a grid with names, as one PNG. */
import { createCanvas, type Canvas, type SKRSContext2D } from "@napi-rs/canvas";
import type { DataRecord, Dataset } from "../datasets/dataset.js";
import { InputError, type Decoded, type Kind, type Modality, type Shape4 } from "../types.js";

export interface ContactSheetOptions {
  readonly title?: string;
  readonly subtitle?: string;
  readonly rowTitles?: readonly string[];
  /** A second, quieter line under each row title. */
  readonly rowNotes?: readonly string[];
  readonly columnTitles?: readonly string[];
  /** A colour per column, as CSS: the one that its modality has in every figure. */
  readonly columnColours?: readonly string[];
  /** Edge of a tile, picture elements of the sheet. */
  readonly tile?: number;
}

/** The pictures of some patients: a row per patient, a column per modality. */
export interface PatientRows {
  readonly groups: readonly string[];
  readonly rows: readonly (readonly Decoded[])[];
  /** One label of each patient, and another, such as region and finding. */
  readonly titles: readonly string[];
  readonly notes: readonly string[];
}

/**
 * Reads what a sheet of patients shows: every modality of each group, in the order given. Without `groups`, the first
 * `count` groups that have all modalities, each with another value of the title's label while there are such.
 *
 * @throws InputError where a group lacks a modality, or no group has all
 */
export async function patientRows(
  dataset: Dataset,
  modalities: readonly Modality[],
  options: {
    readonly groups?: readonly string[];
    readonly count?: number;
    readonly title?: string;
    readonly note?: string;
  } = {},
): Promise<PatientRows> {
  const { count = 6, title = "region", note = "finding" } = options;
  const byGroup = new Map<string, DataRecord[]>();
  for (const record of dataset.records) byGroup.set(record.group, [...(byGroup.get(record.group) ?? []), record]);
  const recordsOf = (group: string) =>
    modalities.map((modality) => byGroup.get(group)?.find((record) => record.modality === modality));
  const complete = [...byGroup.keys()].filter((group) => !recordsOf(group).includes(undefined));
  const labelOf = (group: string, label: string): string => byGroup.get(group)?.[0]?.labels[label] ?? "";

  const seen = new Set<string>();
  const fresh = complete.filter((group) => !seen.has(labelOf(group, title)) && seen.add(labelOf(group, title)));
  const others = complete.filter((group) => !fresh.includes(group));
  const groups = options.groups ?? [...fresh, ...others].slice(0, count);
  if (groups.length === 0) throw new InputError(`${dataset.name}: no group has all of ${modalities.join(", ")}`);

  const rows: Decoded[][] = [];
  for (const [g, group] of groups.entries()) {
    const row: Decoded[] = [];
    for (const [m, record] of recordsOf(group).entries()) {
      if (!record) throw new InputError(`${dataset.name}: group ${g} of those asked for has no ${modalities[m]}`); // a group may be a person's name
      row.push(await dataset.read(record));
    }
    rows.push(row);
  }
  const noteOf = (group: string): string => {
    const [what, size] = [labelOf(group, note), labelOf(group, "size")];
    if (what === "none") return "no finding";
    return (size === "small" || size === "large" ? `${size} ${what}` : what).replaceAll("-", " ");
  };
  return { groups, rows, titles: groups.map((group) => labelOf(group, title)), notes: groups.map(noteOf) };
}

/** Grey values between which a picture is shown: darker is black, brighter is white. */
export interface DisplayWindow {
  readonly low: number;
  readonly high: number;
}

/**
 * For CT level 125 HU, width 750 HU: wide enough to tell marrow from cortex, narrow enough to tell fat from muscle. The
 * whole range for what is stored as uint8; the 0.5th to the 99.5th percentile for anything else.
 */
export function displayWindow(decoded: Decoded): DisplayWindow {
  if (decoded.modality === "ct") return { low: -250, high: 500 };
  if (decoded.dtype === "uint8") return { low: 0, high: 255 };
  const sorted = decoded.pixels.slice().sort();
  const at = (p: number): number => sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))];
  const [low, high] = [at(0.005), at(0.995)];
  return high > low ? { low, high } : { low, high: low + 1 };
}

const BACKGROUND = "#0d1117";
const TITLE = "#f0f3f6";
const TEXT = "#c9d1d9";
const QUIET = "#7d8590";
const FONT = '"Inter", "Helvetica Neue", "Liberation Sans", "DejaVu Sans", Arial, sans-serif';

/**
 * Draws `rows[r][c]` into a grid. A volume shows its middle slice; a video its middle frame, and under it a strip of four
 * more from first to last. Pictures keep their proportions and are enlarged smoothly.
 *
 * @returns the bytes of a PNG
 * @throws InputError when there is nothing to draw
 */
export async function contactSheet(
  rows: readonly (readonly Decoded[])[],
  options: ContactSheetOptions = {},
): Promise<Uint8Array> {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  if (columns === 0) throw new InputError("contact sheet: expected at least one row with one picture, got none");
  const { title, subtitle, rowTitles = [], rowNotes = [], columnTitles = [], columnColours = [], tile = 192 } = options;

  const gap = Math.round(tile / 18);
  const small = Math.max(9, Math.round(tile / 14));
  const measure = createCanvas(1, 1).getContext("2d");
  const widthOf = (text: string, size: number, weight: number): number => {
    measure.font = `${weight} ${size}px ${FONT}`;
    return measure.measureText(text).width;
  };
  const labels = [
    ...rowTitles.map((text) => widthOf(text, Math.round(small * 1.15), 600)),
    ...rowNotes.map((text) => widthOf(text, small, 400)),
  ];
  const left = labels.length > 0 ? Math.ceil(Math.max(...labels)) + 4 * gap : 2 * gap;
  const head = title === undefined ? gap : Math.round(small * (subtitle === undefined ? 3.4 : 5));
  const top = head + (columnTitles.length > 0 ? Math.round(small * 2.4) : gap);
  const width = left + columns * (tile + gap) + gap;
  const height = top + rows.length * (tile + gap) + gap;

  const canvas = createCanvas(width, height);
  const pen = canvas.getContext("2d");
  pen.fillStyle = BACKGROUND;
  pen.fillRect(0, 0, width, height);
  pen.textBaseline = "middle";
  const write = (text: string, x: number, y: number, size: number, colour: string, weight = 400): void => {
    pen.font = `${weight} ${size}px ${FONT}`;
    pen.fillStyle = colour;
    pen.fillText(text, x, y);
  };

  pen.textAlign = "left";
  if (title !== undefined) write(title, 2 * gap, small * 1.9, Math.round(small * 1.5), TITLE, 600);
  if (subtitle !== undefined) write(subtitle, 2 * gap, small * 3.7, small, QUIET);
  columnTitles.slice(0, columns).forEach((name, c) => {
    pen.textAlign = "center";
    write(
      name,
      left + c * (tile + gap) + tile / 2,
      top - small * 1.2,
      Math.round(small * 1.15),
      columnColours[c] ?? TEXT,
      600,
    );
  });
  pen.textAlign = "left";
  rows.forEach((row, r) => {
    const y = top + r * (tile + gap);
    if (rowTitles[r] !== undefined)
      write(rowTitles[r], 2 * gap, y + tile / 2 - small * 0.8, Math.round(small * 1.15), TEXT, 600);
    if (rowNotes[r] !== undefined) write(rowNotes[r], 2 * gap, y + tile / 2 + small * 0.8, small, QUIET);
    row.forEach((decoded, c) => drawTile(pen, decoded, left + c * (tile + gap), y, tile));
  });
  return canvas.encode("png");
}

/**
 * A picture in [0, 1] (a view, a reconstruction, a prepared sample) as a decoded one of 8 bits, so that it is drawn with
 * no window of its own: 0 black, 1 white.
 */
export function pictureOf(pixels: Float32Array, shape: Shape4, kind: Kind): Decoded {
  const base = { modality: null, spacingMm: null, orientation: null, warnings: [] };
  return { ...base, pixels: pixels.map((x) => 255 * x), shape, kind, dtype: "uint8" };
}

/** One picture in a square of the sheet. */
export function drawTile(pen: SKRSContext2D, decoded: Decoded, x: number, y: number, tile: number): void {
  const window = displayWindow(decoded);
  const depth = decoded.shape[1];
  pen.save();
  pen.beginPath();
  pen.roundRect(x, y, tile, tile, tile / 32);
  pen.clip();
  pen.fillStyle = "#000000";
  pen.fillRect(x, y, tile, tile);
  pen.imageSmoothingEnabled = true;
  pen.imageSmoothingQuality = "high";
  if (decoded.kind === "video" && depth >= 4) {
    const strip = tile / 4;
    place(pen, picture(decoded, Math.floor((depth - 1) / 2), window), x + strip / 2, y, tile - strip);
    for (let k = 0; k < 4; k++) {
      place(
        pen,
        picture(decoded, Math.round((k * (depth - 1)) / 3), window),
        x + k * strip + 1,
        y + tile - strip + 1,
        strip - 2,
      );
    }
  } else {
    place(pen, picture(decoded, Math.floor((depth - 1) / 2), window), x, y, tile);
  }
  pen.restore();
}

/** Draws a picture as large as fits into a square, in its middle. */
function place(pen: SKRSContext2D, source: Canvas, x: number, y: number, edge: number): void {
  const scale = edge / Math.max(source.width, source.height);
  const [w, h] = [source.width * scale, source.height * scale];
  pen.drawImage(source, x + (edge - w) / 2, y + (edge - h) / 2, w, h);
}

/** One slice or frame in its own size. */
function picture(decoded: Decoded, d: number, { low, high }: DisplayWindow): Canvas {
  const [channels, depth, height, width] = decoded.shape;
  const canvas = createCanvas(width, height);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) {
      const value = decoded.pixels[((channels === 3 ? c : 0) * depth + d) * height * width + i];
      image.data[4 * i + c] = Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low))));
    }
    image.data[4 * i + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}
