import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JSDOM } from "jsdom";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
import {
  barFigure,
  codeVersion,
  displayFigure,
  displayInteractive,
  heatmapFigure,
  lossFigure,
  recallFigure,
  runningMean,
  saveFigure,
  umapFigure,
  type Figure,
} from "../src/analysis/figures.js";
import { MODALITY_LOOKS, encoderColours, regionColours } from "../src/analysis/palette.js";
import { closeRenderer, renderPng, renderSvg } from "../src/analysis/renderPlotly.js";
import { Random } from "../src/random.js";
import { MODALITIES, PRETRAIN_MODALITIES } from "../src/types.js";

afterAll(closeRenderer);

const source = { dataSet: "test numbers", seed: 7, queries: 1204, metric: "Recall@5" };
const encoders = ["raw pixels", "untrained", "MAE", "SimDINO"];
const measured = (value: number) => ({ value, low: value - 0.05, high: value + 0.05, chance: 0.125 });

const recall = () =>
  recallFigure(
    encoders.flatMap((encoder, e) =>
      PRETRAIN_MODALITIES.map((modality, m) => ({ encoder, modality, ...measured(0.2 + 0.15 * e + 0.03 * m) })),
    ),
    source,
  );
const heatmap = () =>
  heatmapFigure(
    MODALITIES.flatMap((query, q) => MODALITIES.map((gallery, g) => ({ query, gallery, ...measured((q + g) / 10) }))),
    source,
  );
const points = Array.from({ length: 60 }, (_, i) => ({
  x: Math.sin(i),
  y: 3 * Math.cos(i),
  modality: MODALITIES[i % 5],
  region: `region ${i % 10}`,
}));
const steps = Array.from({ length: 150 }, (_, i) => 10 * i);
const loss = () =>
  lossFigure(
    [
      { term: "Agreement", unit: "mean cosine", steps, values: steps.map((s) => 1 - Math.exp(-s / 300)) },
      { term: "Expansion", steps, values: steps.map((s) => 0.42 - 0.3 * Math.exp(-s / 300)) },
    ],
    { ...source, method: "SimDINO", levels: [{ term: "Expansion", name: "ceiling", value: 0.4496 }] },
  );

/** The SVG as a document; parsing as XML throws where it is not well formed. */
async function drawn(figure: Figure): Promise<Document> {
  const svg = await renderSvg(figure, figure.size);
  expect(svg.match(/[^"]*(NaN|Infinity)[^"]*/g)).toBe(null);
  expect(svg.match(/url\(['"&]/g)).toBe(null); // resvg would paint it black
  return new JSDOM(svg, { contentType: "image/svg+xml" }).window.document;
}
const textsOf = (document: Document) => [...document.querySelectorAll("text")].map((text) => text.textContent);

test("the recall figure has a bar, an interval and a name for every encoder and modality, and a dash for chance", async () => {
  const svg = await drawn(recall());
  expect(svg.querySelectorAll(".barlayer .point path")).toHaveLength(16);
  expect(svg.querySelectorAll(".barlayer path.yerror")).toHaveLength(16);
  expect(textsOf(svg)).toEqual(
    expect.arrayContaining([...encoders, "chance", "X-ray", "CT", "Recall@5 (fraction of queries)"]),
  );
  expect(svg.querySelectorAll(".scatterlayer path.js-line")).toHaveLength(4); // a dash for each modality
});

test("captions are made from the numbers", () => {
  expect(recall().caption).toBe(
    "Recall@5 by modality and encoder; test numbers, 1,204 queries, seed 7; bars: 95 % intervals; dashed line: chance.",
  );
  expect(heatmap().caption).toContain("; chance: 0.13.");
  expect(loss().caption).toBe(
    "Agreement, Expansion of SimDINO over 1,490 steps; test numbers, seed 7; dark: running mean of 4; " +
      "dashed: ceiling of Expansion 0.45.",
  );
});

test("the heatmap writes the value and the interval of every pair into its cell", async () => {
  const texts = textsOf(await drawn(heatmap()));
  expect(texts.filter((text) => /^\d\.\d\d-?\d?\.?\d*–|^\d\.\d\d.*–\d\.\d\d$/.test(text ?? ""))).toHaveLength(25);
  expect(texts).toContain("0.800.75–0.85");
});

test("a map has a marker for every point, at one scale on both axes, and both maps show the same points", async () => {
  const byModality = umapFigure(points, { ...source, colourBy: "modality", encoder: "SimDINO" });
  const byRegion = umapFigure(points, { ...source, colourBy: "region", encoder: "SimDINO" });
  const svg = await drawn(byModality);
  expect(svg.querySelectorAll(".scatterlayer path.point")).toHaveLength(60);
  expect(textsOf(svg)).toEqual(expect.arrayContaining(["X-ray", "MRI", "UMAP 1 (no unit)"]));

  const regionSvg = await drawn(byRegion);
  expect(regionSvg.querySelectorAll(".scatterlayer path.point")).toHaveLength(60);
  expect(textsOf(regionSvg)).toEqual(expect.arrayContaining(["region 0", "region 9", "Modality", "Region"]));
  expect(byRegion.numbers).toEqual(byModality.numbers);
  // The sine has amplitude 1 and the cosine 3: with one scale the cloud is three times as tall as it is wide.
  const places = [...svg.querySelectorAll(".scatterlayer path.point")].map((point) =>
    (point.getAttribute("transform") ?? "").match(/-?[\d.]+/g)?.map(Number),
  );
  const extent = (axis: number) => {
    const values = places.map((place) => place?.[axis] ?? NaN);
    return Math.max(...values) - Math.min(...values);
  };
  expect(extent(1) / extent(0)).toBeCloseTo(3, 1);
});

test("every term of a loss has its panel, a curve and a smooth one, and its levels are named", async () => {
  const svg = await drawn(loss());
  expect(svg.querySelectorAll(".scatterlayer path.js-line")).toHaveLength(5);
  const texts = textsOf(svg);
  expect(texts).toEqual(expect.arrayContaining(["Agreement(mean cosine)", "Expansion", "Step", "ceiling0.45"]));
  expect(runningMean([1, 3, 5], 2)).toEqual([1, 2, 4]);
});

test("the row of an unseen modality is a bar and a written value for every encoder", async () => {
  const svg = await drawn(
    barFigure(
      encoders.map((encoder, e) => ({ encoder, ...measured(0.2 + 0.1 * e) })),
      source,
    ),
  );
  expect(svg.querySelectorAll(".barlayer .point path")).toHaveLength(4);
  const texts = textsOf(svg).map((text) => text?.trim());
  expect(texts).toEqual(expect.arrayContaining(["0.20", "0.50", ...encoders]));
});

test("no label is cut off: every text of every figure lies within the paper", async () => {
  const figures = [recall(), heatmap(), loss(), umapFigure(points, { ...source, colourBy: "region", encoder: "MAE" })];
  for (const figure of figures) {
    const svg = await renderSvg(figure, figure.size);
    const png = await renderPng(svg, { width: figure.size.width });
    const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    const white = (x: number, y: number) => data[3 * (y * info.width + x)] > 250;
    for (let x = 0; x < info.width; x++) expect(white(x, 0) && white(x, info.height - 1)).toBe(true);
    for (let y = 0; y < info.height; y++) expect(white(0, y) && white(info.width - 1, y)).toBe(true);
  }
});

test("the same figure is the same SVG, and two figures share no name of a clip path", async () => {
  const [first, again, other] = [
    await renderSvg(recall(), recall().size),
    await renderSvg(recall(), recall().size),
    await renderSvg(heatmap(), heatmap().size),
  ];
  expect(again).toBe(first);
  const ids = (svg: string) => [...svg.matchAll(/ id="([^"]+)"/g)].map((match) => match[1]);
  expect(ids(first).length).toBeGreaterThan(0);
  expect(ids(other).filter((id) => ids(first).includes(id))).toEqual([]);
});

test("a figure is saved as vector, pixels, a page that needs no network, and the numbers that drew it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-figures-"));
  const figure = recall();
  const saved = await saveFigure(figure, join(folder, "deep", "recall"));
  expect(readdirSync(join(folder, "deep")).sort()).toEqual(["recall.html", "recall.json", "recall.png", "recall.svg"]);
  expect(await sharp(saved.png).metadata()).toMatchObject({ format: "png", width: 1680, height: 1140 });

  const html = readFileSync(saved.html, "utf8");
  const page = new JSDOM(html).window.document;
  expect(page.querySelectorAll("[src], link")).toHaveLength(0); // nothing is fetched
  expect(page.querySelector("meta[http-equiv]")?.getAttribute("content")).toMatch(/^default-src 'none'/);
  expect(page.querySelector("figcaption")?.textContent).toBe(figure.caption);
  expect(page.querySelectorAll("script")).toHaveLength(2);

  const written = JSON.parse(readFileSync(saved.json, "utf8"));
  expect(written).toMatchObject({ name: "recall", dataSet: "test numbers", seed: 7, caption: figure.caption });
  expect(written.numbers).toEqual(figure.numbers);
  expect(written.numbers).toHaveLength(16);
  expect(written).toMatchObject({ ...codeVersion() });
});

test("a name that looks like the end of a script does not end it", async () => {
  const nasty = recallFigure([{ encoder: "</script><b>", modality: "ct", ...measured(0.5) }], source);
  const shown: string[] = [];
  const display = { svg() {}, png() {}, markdown() {}, html: (text: string) => shown.push(text) };
  displayInteractive(display, nasty);
  const page = new JSDOM(shown[0]).window.document;
  expect(page.querySelectorAll("script")).toHaveLength(2);
  expect(page.querySelector("b")).toBe(null);
});

test("a notebook cell gets the vector or the pixels, then the caption", async () => {
  const shown: [string, unknown][] = [];
  const display = {
    svg: (text: string) => shown.push(["svg", text.slice(0, 4)]),
    png: (bytes: Uint8Array) => shown.push(["png", bytes[1]]),
    html: (text: string) => shown.push(["html", text]),
    markdown: (text: string) => shown.push(["markdown", text]),
  };
  await displayFigure(display, recall());
  await displayFigure(display, recall(), { as: "png" });
  expect(shown).toEqual([
    ["svg", "<svg"],
    ["markdown", recall().caption],
    ["png", "P".charCodeAt(0)],
    ["markdown", recall().caption],
  ]);
});

test("the commit is the one that git names", () => {
  const { commit, dirty } = codeVersion();
  let head: string | null;
  try {
    head = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    head = null; // a copy without git
  }
  expect(commit).toBe(head);
  expect(typeof dirty).toBe(head === null ? "object" : "boolean");
});

test("a number that is none is an error that names the row", () => {
  const row = { encoder: "MAE", modality: "ct" as const, ...measured(0.5) };
  expect(() => recallFigure([row, { ...row, value: NaN }], source)).toThrow(
    "recall figure: row 1 has value = NaN; expected a finite number",
  );
  expect(() => recallFigure([], source)).toThrow("expected at least one row, got none");
});

/** CIE Lab of a colour as a reader with a colour deficiency sees it (matrices of Machado et al. 2009, severity 1). */
function labSeenBy(deficiency: keyof typeof MACHADO, hex: string): number[] {
  const linear = [1, 3, 5].map((at) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const times = (matrix: number[][], v: number[]) => matrix.map((row) => row.reduce((sum, a, i) => sum + a * v[i], 0));
  const seen = times(MACHADO[deficiency], linear).map((value) => Math.min(1, Math.max(0, value)));
  const toXyz = [
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
  ];
  const white = [0.9505, 1, 1.089];
  const [fx, fy, fz] = times(toXyz, seen).map((value, i) => {
    const t = value / white[i];
    return t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116;
  });
  return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)];
}

const MACHADO = {
  none: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protan: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deutan: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
};

test("modalities, regions and encoders keep apart for readers with and without red-green blindness", () => {
  const regions = regionColours(Array.from({ length: 10 }, (_, i) => `region ${i}`));
  const sets = [
    MODALITIES.map((modality) => MODALITY_LOOKS[modality].colour),
    [...regions.values()],
    [...encoderColours(encoders).values()],
  ];
  for (const colours of sets) {
    for (const deficiency of ["none", "protan", "deutan"] as const) {
      const labs = colours.map((colour) => labSeenBy(deficiency, colour));
      labs.forEach((a, i) =>
        labs.slice(0, i).forEach((b, j) => {
          const difference = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
          expect(difference, `${colours[i]} and ${colours[j]}, ${deficiency}`).toBeGreaterThan(8); // 2.3 is just visible
        }),
      );
    }
  }
  expect(new Set(MODALITIES.map((modality) => MODALITY_LOOKS[modality].symbol)).size).toBe(5);
});

test("a name has the same colour in whatever order and company it comes", () => {
  const random = new Random(7);
  const names = ["BiomedCLIP", "untrained", "SimDINO", "MAE", "raw pixels"];
  const shuffled = Array.from(random.permutation(5), (i) => names[i]);
  for (const name of names) expect(encoderColours(shuffled).get(name)).toBe(encoderColours(names).get(name));
  expect(encoderColours(["MAE"]).get("MAE")).toBe(encoderColours(names).get("MAE"));
  expect(regionColours(["chest", "head"]).get("head")).toBe(regionColours(["head", "chest"]).get("head"));
});
