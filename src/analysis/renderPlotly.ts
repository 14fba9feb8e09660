/**
 * Draws plotly figures without a browser: plotly.js runs in jsdom, a canvas measures its text, and resvg turns the SVG
 * into pixels. The same figure gives the same SVG, byte for byte.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { SKRSContext2D } from "@napi-rs/canvas";
import type { DOMWindow } from "jsdom";
import { Random } from "../random.js";

/** A figure as plotly.js understands it: https://plotly.com/javascript/reference/ */
export interface PlotlySpec {
  readonly data: readonly Readonly<Record<string, unknown>>[];
  readonly layout: Readonly<Record<string, unknown>>;
}

export interface Size {
  /** CSS pixels, 96 to an inch. */
  readonly width: number;
  readonly height: number;
}

/** DejaVu Sans where it is installed (every Linux server has it or can), so that text is measured with what is drawn. */
export const FONT_FAMILY = "DejaVu Sans, Verdana, Arial, sans-serif";

interface Plotly {
  toImage(
    figure: PlotlySpec & { config: object },
    options: Size & { format: "svg"; imageDataOnly: true },
  ): Promise<string>;
}

interface Renderer {
  readonly window: DOMWindow;
  readonly plotly: Plotly;
  /** What `getBoundingClientRect` answers for the page. */
  size: Size;
}

let renderer: Promise<Renderer> | null = null;
let queue: Promise<unknown> = Promise.resolve();

/** The figure as SVG text. The first call loads plotly (about 3 s), later ones take 0.1 to 1 s. */
export function renderSvg(spec: PlotlySpec, size: Size): Promise<string> {
  const drawn = queue.then(() => draw(spec, size)); // one at a time: they share a page and its random numbers
  queue = drawn.catch(() => {});
  return drawn;
}

async function draw(spec: PlotlySpec, size: Size): Promise<string> {
  const page = await (renderer ??= openRenderer());
  page.size = size;
  const source = JSON.stringify({ data: spec.data, layout: spec.layout });
  // Plotly names clip paths by chance: the same figure gets the same names, and two figures on one page do not clash.
  const random = new Random(source);
  page.window.Math.random = () => random.uniform();

  const figure = JSON.parse(source) as PlotlySpec; // a copy, because plotly writes into what it is given
  const svg = await page.plotly.toImage(
    { ...figure, config: { staticPlot: true } },
    { ...size, format: "svg", imageDataOnly: true },
  );
  return (
    svg
      // resvg does not take quotes here, and would paint a black colour bar.
      .replace(/url\(['"](#[^'"]+)['"]\)/g, "url($1)")
      .replace(/url\(&quot;(#[^&]+)&quot;\)/g, "url($1)")
      // resvg knows only the older name for "do not smooth the cells of a heatmap".
      .replace(/image-rendering: ?(pixelated|crisp-edges)/g, "image-rendering: optimizeSpeed")
  );
}

/** Ends the hidden page, which frees about 150 MB. The next `renderSvg` opens a new one. */
export async function closeRenderer(): Promise<void> {
  await queue;
  const page = await renderer;
  renderer = null;
  page?.window.close();
}

/** The SVG as PNG, `width` pixels wide: 1,500 is 300 dots per inch at a paper column of 5 inches. */
export async function renderPng(svg: string, { width }: { width: number }): Promise<Uint8Array> {
  const { Resvg } = await import("@resvg/resvg-js");
  return new Resvg(svg, { font: FONT, fitTo: { mode: "width", value: width }, background: "white" }).render().asPng();
}

const FONT = { loadSystemFonts: true, defaultFontFamily: "DejaVu Sans" };

/** The same SVG with nothing but paths: text as outlines, styles as attributes. What simple readers of SVG understand. */
export async function renderOutlines(svg: string): Promise<string> {
  const { Resvg } = await import("@resvg/resvg-js");
  return new Resvg(svg, { font: FONT }).toString();
}

/**
 * One HTML file that shows the figure with zoom and hover, holding plotly itself (1.4 MB): it asks nothing of the network,
 * and its content security policy forbids that it could.
 */
export function renderHtml(spec: PlotlySpec, { title, caption }: { title: string; caption: string }): string {
  const policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>body { font-family: ${FONT_FAMILY}; margin: 1em auto; max-width: 60em; } figcaption { color: #444; }</style>
</head>
<body>
<figure>
${interactivePlot(spec, "figure")}
<figcaption>${escapeHtml(caption)}</figcaption>
</figure>
</body>
</html>
`;
}

/** A div and the scripts that draw into it, plotly included. For pages and for notebook cells. */
export function interactivePlot(spec: PlotlySpec, id: string): string {
  const figure = JSON.stringify({ data: spec.data, layout: spec.layout }).replace(/</g, "\\u003c");
  // Notebook pages may have a module loader, which plotly would talk to instead of setting window.Plotly.
  return `<div id="${id}"></div>
<script>window.Plotly || (function (module, exports, define) {
${readPlotly()}
}).call(window);</script>
<script>(function (figure) {
Plotly.newPlot("${id}", figure.data, figure.layout, { responsive: true, displaylogo: false });
})(${figure});</script>`;
}

/** The text of plotly's bundle of flat charts, without map and 3D. */
function readPlotly(): string {
  const file = createRequire(import.meta.url).resolve("plotly.js/dist/plotly-cartesian.min.js");
  return readFileSync(file, "utf8");
}

/** Text that is safe inside HTML and inside a quoted attribute. */
function escapeHtml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A jsdom page with plotly in it, and the measurements that jsdom leaves out because it draws nothing. */
async function openRenderer(): Promise<Renderer> {
  const { JSDOM, VirtualConsole } = await import("jsdom");
  const { createCanvas } = await import("@napi-rs/canvas");
  const { window } = new JSDOM("<!doctype html><body></body>", {
    pretendToBeVisual: true,
    runScripts: "outside-only",
    virtualConsole: new VirtualConsole(), // silent: what goes wrong arrives as a rejected promise
  });
  const ruler = createCanvas(8, 8).getContext("2d");
  const page = { window, size: { width: 700, height: 450 } };
  const svgElement = window.SVGElement.prototype;

  Object.assign(svgElement, {
    getBBox(this: SVGElement): Box {
      return localBox(this, ruler);
    },
    getComputedTextLength(this: SVGElement): number {
      return textBox(this, ruler).width;
    },
    getTotalLength: () => 0,
    getPointAtLength: () => ({ x: 0, y: 0 }),
    getScreenCTM: () => identity,
  });
  window.Element.prototype.getBoundingClientRect = function (): DOMRect {
    const isPage = !(this instanceof window.SVGElement) || this.tagName === "svg";
    const box = isPage ? { x: 0, y: 0, ...page.size } : pageBox(this, ruler);
    return { ...box, left: box.x, top: box.y, right: box.x + box.width, bottom: box.y + box.height } as DOMRect;
  };
  // Heatmaps paint their cells on a canvas and embed it as an image.
  Object.assign(window.HTMLCanvasElement.prototype, {
    getContext(this: HTMLCanvasElement, kind: string): SKRSContext2D | null {
      if (kind !== "2d") return null;
      const canvas = createCanvas(this.width || 300, this.height || 150);
      this.toDataURL = () => canvas.toDataURL("image/png");
      return canvas.getContext("2d");
    },
  });
  Object.assign(window.URL, { createObjectURL: () => "blob:none", revokeObjectURL: () => {} });
  const query = {
    matches: false,
    addListener() {},
    removeListener() {},
    addEventListener() {},
    removeEventListener() {},
  };
  Object.assign(window, { matchMedia: () => query });

  window.eval(readPlotly());
  return Object.assign(page, { plotly: (window as unknown as { Plotly: Plotly }).Plotly });
}

const identity = {
  a: 1,
  b: 0,
  c: 0,
  d: 1,
  e: 0,
  f: 0,
  inverse() {
    return identity;
  },
};

/** Extremes of what an element holds, in its own coordinates: texts and rectangles, which is all that plotly asks for. */
function localBox(element: Element, ruler: SKRSContext2D): Box {
  if (element.tagName === "text" || element.tagName === "tspan") return textBox(element, ruler);
  if (element.tagName === "rect") {
    const read = (name: string) => Number(element.getAttribute(name) ?? 0) || 0;
    return { x: read("x"), y: read("y"), width: read("width"), height: read("height") };
  }
  const boxes = [...element.children]
    .map((child) => mapBox(transformOf(child), localBox(child, ruler)))
    .filter(({ width, height }) => width > 0 || height > 0);
  return boxes.length === 0 ? { x: 0, y: 0, width: 0, height: 0 } : around(boxes);
}

/** The same on the page: through the transforms of the element and all that holds it. */
function pageBox(element: Element, ruler: SKRSContext2D): Box {
  let box = localBox(element, ruler);
  for (let at: Element | null = element; at; at = at.parentElement) box = mapBox(transformOf(at), box);
  return box;
}

/** The smallest box around all of them. */
function around(boxes: readonly Box[]): Box {
  const x = Math.min(...boxes.map((box) => box.x));
  const y = Math.min(...boxes.map((box) => box.y));
  const right = Math.max(...boxes.map((box) => box.x + box.width));
  const bottom = Math.max(...boxes.map((box) => box.y + box.height));
  return { x, y, width: right - x, height: bottom - y };
}

type Point = readonly [x: number, y: number];

/** The `transform` attribute as a function of a point: translations, rotations and scalings, the last applied first. */
function transformOf(element: Element): ((point: Point) => Point) | null {
  const steps = [...(element.getAttribute("transform") ?? "").matchAll(/(translate|rotate|scale)\(([^)]*)\)/g)];
  if (steps.length === 0) return null;
  const functions = steps.map(([, kind, list]) => {
    const [a = 0, b, c = 0] = list.split(/[\s,]+/).map(Number);
    if (kind === "translate") return ([x, y]: Point): Point => [x + a, y + (b ?? 0)];
    if (kind === "scale") return ([x, y]: Point): Point => [x * a, y * (b ?? a)];
    const [cos, sin, cx, cy] = [Math.cos((a * Math.PI) / 180), Math.sin((a * Math.PI) / 180), b ?? 0, c];
    return ([x, y]: Point): Point => [
      cx + cos * (x - cx) - sin * (y - cy),
      cy + sin * (x - cx) + cos * (y - cy), //
    ];
  });
  return (point) => functions.reduceRight((moved, step) => step(moved), point);
}

function mapBox(transform: ((point: Point) => Point) | null, { x, y, width, height }: Box): Box {
  if (!transform) return { x, y, width, height };
  const corners: Point[] = [
    [x, y],
    [x + width, y],
    [x, y + height],
    [x + width, y + height],
  ];
  return around(corners.map(transform).map(([cx, cy]) => ({ x: cx, y: cy, width: 0, height: 0 })));
}

const LINE_SPACING = 1.3; // plotly's own

/** A text at its `x` and `y`, set from there to the right, to both sides or to the left as `text-anchor` says. */
function textBox(element: Element, ruler: SKRSContext2D): Box {
  const lines = [...element.querySelectorAll("tspan.line")];
  const texts = (lines.length > 0 ? lines : [element]).map((line) => line.textContent ?? "");
  const size = setFont(element, ruler);
  const width = Math.max(...texts.map((text) => ruler.measureText(text).width));
  if (width === 0) return { x: 0, y: 0, width: 0, height: 0 };
  const { fontBoundingBoxAscent: ascent, fontBoundingBoxDescent: descent } = ruler.measureText("x");

  const anchor = (element as SVGElement).style.textAnchor || element.getAttribute("text-anchor");
  const before = anchor === "middle" ? width / 2 : anchor === "end" ? width : 0;
  return {
    x: (Number(element.getAttribute("x")) || 0) - before,
    y: (Number(element.getAttribute("y")) || 0) - ascent,
    width,
    height: ascent + descent + LINE_SPACING * size * (texts.length - 1),
  };
}

/** Gives the ruler the font of an element, from the nearest styles at or above it; returns its size in pixels. */
function setFont(element: Element, ruler: SKRSContext2D): number {
  const found = { fontWeight: "", fontSize: "", fontFamily: "" };
  const names = Object.keys(found) as (keyof typeof found)[];
  for (let at: Element | null = element; at; at = at.parentElement) {
    const style = (at as SVGElement).style;
    for (const name of names) found[name] ||= style?.[name] ?? "";
  }
  const size = parseFloat(found.fontSize) || 12;
  ruler.font = `${found.fontWeight || "normal"} ${size}px ${found.fontFamily || FONT_FAMILY}`;
  return size;
}
