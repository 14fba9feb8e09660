/** Figures at the width of a journal's column, as vectors: SVG in inches, and PDF. */
import { writeAtomic } from "../files.js";
import type { Figure } from "./chartStyle.js";
import { renderOutlines, renderSvg } from "./renderPlotly.js";

/** Inches: IEEE's single and double column. */
export const COLUMN_WIDTHS = { single: 3.5, double: 7.16 } as const;
export type Column = keyof typeof COLUMN_WIDTHS;

/** Figures are set in 14 CSS pixels for a screen; at this scale their text stands in 7.9 points on paper. */
const SCALE = 0.75;
const PER_INCH = 96;

/** The figure laid out anew for a column, not merely shrunk: at 3.5 inches it is 448 CSS pixels wide before scaling. */
export function printFigure(figure: Figure, column: Column): Figure {
  const width = Math.round((COLUMN_WIDTHS[column] * PER_INCH) / SCALE);
  const height = column === "single" ? figure.size.height : Math.round(figure.size.height * 1.1);
  const layout = { ...figure.layout, title: undefined }; // a paper's figure has its caption for a title
  // A narrow heatmap needs the room of its colour bar for the values in its cells.
  const data = column === "double" ? figure.data : figure.data.map((trace) => ({ ...trace, showscale: false }));
  return { ...figure, data, layout, size: { width, height } };
}

/**
 * Writes PATH.svg (its width in inches) and PATH.pdf (text as outlines, so that no font is asked for), each whole or not at
 * all. The same figure gives the same bytes.
 */
export async function savePrint(
  figure: Figure,
  path: string,
  column: Column,
): Promise<{ readonly svg: string; readonly pdf: string }> {
  const laidOut = printFigure(figure, column);
  const { width, height } = laidOut.size;
  const svg = await renderSvg(laidOut, laidOut.size);
  const inches = (pixels: number) => `${Number(((pixels * SCALE) / PER_INCH).toFixed(4))}in`;
  const saved = { svg: `${path}.svg`, pdf: `${path}.pdf` };
  const sized = svg.replace(/width="\d+" height="\d+"/, `width="${inches(width)}" height="${inches(height)}"`);
  writeAtomic(saved.svg, sized);
  writeAtomic(saved.pdf, await renderPdf(svg, laidOut));
  return saved;
}

/** One page of the figure's size; 72 points to an inch. */
async function renderPdf(svg: string, { size, title, caption }: Figure): Promise<Uint8Array> {
  const [{ default: PDFDocument }, { default: drawSvg }] = await Promise.all([
    import("pdfkit"),
    import("svg-to-pdfkit"),
  ]);
  const points = (SCALE * 72) / PER_INCH; // in one CSS pixel of the layout
  const [width, height] = [size.width * points, size.height * points];
  const info = { Title: title, Subject: caption, CreationDate: new Date(0), ModDate: new Date(0) };
  const page = new PDFDocument({ size: [width, height], margin: 0, info });
  const chunks: Buffer[] = [];
  page.on("data", (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise((done, fail) => page.on("end", done).on("error", fail));
  page.scale(points);
  drawSvg(page, await renderOutlines(svg), 0, 0, { assumePt: true });
  page.end();
  await ended;
  return Buffer.concat(chunks);
}
