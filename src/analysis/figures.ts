/**
 * The figures of the paper, from plain numbers to files and notebook cells. A builder takes rows and returns a `Figure`
 * whose caption is made from the same rows; drawing is in `renderPlotly.ts`, colours are in `palette.ts`.
 */
import { execFileSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { writeAtomic } from "../files.js";
import type { Figure, NumberRow } from "./chartStyle.js";
import { interactivePlot, renderHtml, renderPng, renderSvg, type PlotlySpec } from "./renderPlotly.js";

export type { Figure, NumberRow, Source } from "./chartStyle.js";
export * from "./lossFigure.js";
export * from "./mapFigure.js";
export * from "./measuredFigures.js";

export interface CodeVersion {
  /** 40 hex digits, or null outside of a git checkout of this project. */
  readonly commit: string | null;
  /** Whether the code differed from that commit; null where there is no commit. */
  readonly dirty: boolean | null;
}

let version: CodeVersion | null = null;

/** The commit of the code that is running, as it was when first asked. What it writes (figures, notebooks) does not make it dirty. */
export function codeVersion(): CodeVersion {
  return (version ??= askGit());
}

function askGit(): CodeVersion {
  const unknown = { commit: null, dirty: null };
  try {
    const root = realpathSync(fileURLToPath(new URL("../..", import.meta.url)));
    const git = (...args: string[]) => {
      return execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    };
    // Installed inside of somebody else's checkout, we would name their commit.
    if (realpathSync(git("rev-parse", "--show-toplevel")) !== root) return unknown;
    const commit = git("rev-parse", "HEAD");
    const changed = git("status", "--porcelain", "--", "src", "package.json", "package-lock.json", "datasets.yaml");
    return { commit, dirty: changed !== "" };
  } catch {
    return unknown; // no git, or no checkout
  }
}

export interface SavedFigure {
  readonly svg: string;
  readonly png: string;
  readonly html: string;
  readonly json: string;
}

const PNG_SCALE = 3; // 560 px become 1,680: 300 dots per inch over 5.6 inches

/**
 * Writes PATH.svg, PATH.png, PATH.html (interactive, needs no network) and PATH.json (the numbers that drew it, with seed,
 * commit, data set and caption), each whole or not at all. Returns the four paths.
 */
export async function saveFigure(figure: Figure, path: string): Promise<SavedFigure> {
  const saved = { svg: `${path}.svg`, png: `${path}.png`, html: `${path}.html`, json: `${path}.json` };
  const svg = await renderSvg(figure, figure.size);
  writeAtomic(saved.svg, svg);
  writeAtomic(saved.png, await renderPng(svg, { width: PNG_SCALE * figure.size.width }));
  writeAtomic(saved.html, renderHtml(resizable(figure), figure));

  const { name, title, caption, dataSet, seed, numbers } = figure;
  writeAtomic(saved.json, numbersFile({ name, title, caption, dataSet, seed }, numbers));
  return saved;
}

/** The JSON beside a figure: what it says of itself, the commit, and the numbers that drew it. */
export function numbersFile(about: Readonly<Record<string, unknown>>, numbers: readonly NumberRow[]): string {
  const head = JSON.stringify({ ...about, ...codeVersion() }, null, 1);
  const rows = numbers.map((row) => "  " + JSON.stringify(row)); // a row a line, so that a change reads as one
  return `${head.slice(0, -2)},\n "numbers": [\n${rows.join(",\n")}\n ]\n}\n`;
}

/** As wide as the page, a fifth taller than on paper. */
function resizable({ data, layout, size }: Figure): PlotlySpec {
  return { data, layout: { ...layout, autosize: true, height: 1.2 * size.height } };
}

/** The parts of tslab's `display` that a figure needs. */
export interface FigureDisplay {
  svg(source: string): void;
  png(bytes: Uint8Array): void;
  html(source: string): void;
  markdown(source: string): void;
}

/**
 * Shows a figure and its caption in a notebook cell, such that it is also seen on a code-hosting page. Choose "png" for
 * maps of many thousand points, whose SVG is large.
 *
 * @param display tslab's `display`
 */
export async function displayFigure(
  display: FigureDisplay,
  figure: Figure,
  { as = "svg" }: { as?: "svg" | "png" } = {},
): Promise<void> {
  const svg = await renderSvg(figure, figure.size);
  if (as === "svg") display.svg(svg);
  else display.png(await renderPng(svg, { width: 2 * figure.size.width }));
  display.markdown(figure.caption);
}

/**
 * Shows a figure to zoom and hover in, in Jupyter only: each call puts plotly itself (1.4 MB) into the notebook, and
 * code-hosting pages show nothing of it. For looking closer at one figure; `displayFigure` is for what is kept.
 */
export function displayInteractive(display: FigureDisplay, figure: Figure): void {
  display.html(interactivePlot(resizable(figure), `m3ret-${figure.name}`));
}
