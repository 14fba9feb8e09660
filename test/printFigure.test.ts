import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { heatmapFigure, recallFigure, umapFigure } from "../src/analysis/figures.js";
import { MODALITY_LOOKS } from "../src/analysis/palette.js";
import { savePrint } from "../src/analysis/printFigure.js";
import { closeRenderer } from "../src/analysis/renderPlotly.js";
import { MODALITIES, PRETRAIN_MODALITIES } from "../src/types.js";

afterAll(closeRenderer);
const folder = mkdtempSync(join(tmpdir(), "m3ret-print-"));
const source = { dataSet: "test numbers", seed: 7, queries: 1204, metric: "Recall@5" };
const measured = { value: 0.4, low: 0.3, high: 0.5, chance: 0.125 };
const recall = recallFigure(
  PRETRAIN_MODALITIES.map((modality) => ({ encoder: "MAE", modality, ...measured })),
  source,
);

test("a figure for a column is 3.5 or 7.16 inches wide, as SVG and as PDF, in vectors alone", async () => {
  for (const [column, inches, points] of [
    ["single", "3.5in", "252"],
    ["double", "7.1563in", "515.25"],
  ] as const) {
    const saved = await savePrint(recall, join(folder, column), column);
    expect(readFileSync(saved.svg, "utf8")).toContain(`width="${inches}"`);
    const pdf = readFileSync(saved.pdf, "latin1");
    expect(pdf.startsWith("%PDF-")).toBe(true);
    expect(pdf).toMatch(new RegExp(`/MediaBox \\[0 0 ${points} `));
    expect(pdf).not.toMatch(/\/Subtype \/Image|\/Type \/Font\b/); // no pixels, and no font that a printer may lack
  }
});

test("the same figure gives the same PDF, byte for byte", async () => {
  const [a, b] = await Promise.all(["a", "b"].map((name) => savePrint(recall, join(folder, name), "single")));
  expect(readFileSync(a.pdf).equals(readFileSync(b.pdf))).toBe(true);
});

test("a modality has one colour and one marker in every figure that tells modalities apart", async () => {
  const points = MODALITIES.map((modality, i) => ({ x: i, y: i * i, modality, region: `region ${i}` }));
  const map = umapFigure(points, { ...source, colourBy: "modality", encoder: "MAE" });
  const byRegion = umapFigure(points, { ...source, colourBy: "region", encoder: "MAE" });
  for (const modality of MODALITIES) {
    const { name, colour, symbol } = MODALITY_LOOKS[modality];
    const trace = map.data.find((one) => one.name === name)!;
    expect(trace.marker).toMatchObject({ color: colour, symbol });
    const key = byRegion.data.find((one) => one.name === name)!;
    expect(key.marker).toMatchObject({ symbol });
  }
  const written = JSON.stringify([
    recall.data,
    heatmapFigure(
      MODALITIES.map((query) => ({ query, gallery: "ct" as const, ...measured })),
      source,
    ).data,
  ]);
  // Where modalities stand on an axis, their colours are nobody else's.
  for (const { colour } of Object.values(MODALITY_LOOKS)) expect(written).not.toContain(colour);
});
