import { JSDOM } from "jsdom";
import sharp from "sharp";
import { expect, test } from "vitest";
import { mapViewer, nearestRows, thumbnailSheet } from "../src/analysis/mapViewer.js";
import { trustSentence, umapFigure, umapRunsFigure } from "../src/analysis/figures.js";
import { pictureOf } from "../src/analysis/contactSheet.js";
import type { Modality } from "../src/types.js";
import { setOf } from "./sets.js";

const modalities: Modality[] = ["xray", "ct", "mri", "ct"];
const points = modalities.map((modality, i) => ({
  x: i,
  y: [0, 3, 0, 1][i],
  modality,
  region: i < 2 ? "chest" : "<head>",
}));
const options = {
  ...{ encoder: "MAE, CLS", caption: "UMAP (cosine).", dataSet: "sets", seed: 7, label: "region" },
  neighbours: [[1, 2], [0, 3], [3, 1], [2, 1]], // prettier-ignore
};
const grey = (value: number) => () =>
  Promise.resolve(pictureOf(new Float32Array(3 * 4 * 16 * 16).fill(value), [3, 4, 16, 16], "video"));
const sheet = await thumbnailSheet([0, 0.25, 0.5, 1].map(grey), { tile: 16 });
const page = mapViewer(points, sheet, options);

function open(): Window & typeof globalThis {
  const dom = new JSDOM(page, {
    runScripts: "dangerously",
    beforeParse(window) {
      // jsdom draws nothing: a pixel of the page is a unit of the map.
      const here = window as unknown as Record<string, unknown>;
      here.DOMPoint = class {
        constructor(readonly x: number, readonly y: number) {} // prettier-ignore
        matrixTransform() {
          return this;
        }
      };
      (window.SVGElement.prototype as unknown as Record<string, unknown>).getScreenCTM = () => ({
        inverse: () => null,
      });
    },
  });
  return dom.window as unknown as Window & typeof globalThis;
}

test("the picture of a point is its own, the middle frame, in order of the rows", async () => {
  const image = sharp(Buffer.from(sheet.source.split(",")[1], "base64"));
  expect(await image.metadata()).toMatchObject({ format: "webp", width: 32, height: 32 });
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number) => data[(y * info.width + x) * info.channels];
  [[8, 8, 0], [24, 8, 64], [8, 24, 128], [24, 24, 255]].forEach(([x, y, value]) => expect(Math.abs(at(x, y) - value)).toBeLessThan(8)); // prettier-ignore
});

test("neighbours are the nearest by cosine, whatever the lengths, and never the row itself", () => {
  const set = setOf([[1, 0], [5, 1], [0, 1], [-1, 0.1]]); // prettier-ignore
  expect(nearestRows(set, 2)).toEqual([[1, 2], [0, 2], [1, 3], [2, 1]]); // prettier-ignore
});

test("the page fetches nothing, forbids it, and names no row", () => {
  expect(page).not.toMatch(/(src|href|url)\s*[=(]\s*["']?(https?:)?\/\//);
  expect(page).toContain("default-src 'none'");
  expect(page).toContain('"\\u003chead>"'); // a label cannot end the script
  expect(page).toContain("sets, seed 7. UMAP (cosine).");
});

test("pointing at the map shows the nearest picture, its label and lines to its neighbours", () => {
  const { document, MouseEvent } = open();
  const map = document.getElementById("map")!;
  expect(document.querySelectorAll("#points path")).toHaveLength(4);
  map.dispatchEvent(new MouseEvent("pointermove", { clientX: 205, clientY: 10 }));
  expect(document.getElementById("about")!.textContent).toBe(
    "CT, region: chest. Of its 2 nearest, 1 share the region and 1 the modality.",
  );
  const picture = document.getElementById("picture")!;
  expect(picture.style.backgroundPosition).toBe("-192px 0px");
  expect(document.querySelectorAll("#lines line")).toHaveLength(2);
});

test("the map is walked by arrow keys, and a kept point stays until Escape", () => {
  const { document, MouseEvent, KeyboardEvent, Event } = open();
  const map = document.getElementById("map")!;
  const said = () => document.getElementById("about")!.textContent!;
  map.dispatchEvent(new Event("focus"));
  expect(said()).toMatch(/^CT, region: chest/); // the nearest to the middle
  map.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  expect(said()).toMatch(/^CT, region: <head>/);
  map.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  expect(said()).toMatch(/^CT, region: <head>/); // nothing lies further
  map.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  map.dispatchEvent(new MouseEvent("pointermove", { clientX: 0, clientY: 600 }));
  expect(said()).toMatch(/^CT, region: <head>.*Kept/);
  map.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  map.dispatchEvent(new MouseEvent("pointermove", { clientX: 0, clientY: 600 }));
  expect(said()).toMatch(/^X-ray, region: chest/);
});

test("colours tell the modality or the region, and a press on the key fades what it names", () => {
  const { document, Event } = open();
  const fills = () => [...document.querySelectorAll("#points path")].map((dot) => dot.getAttribute("fill"));
  expect(new Set(fills()).size).toBe(3);
  const region = document.querySelector<HTMLInputElement>("input[value=region]")!;
  region.checked = true;
  region.dispatchEvent(new Event("change"));
  expect(new Set(fills()).size).toBe(2);
  const key = [...document.querySelectorAll<HTMLButtonElement>("#key button")];
  expect(key.map((button) => button.textContent)).toEqual(["<head>", "chest"]);
  key[1].click();
  expect(key[1].getAttribute("aria-pressed")).toBe("false");
  expect([...document.querySelectorAll("#points path")].map((dot) => dot.getAttribute("class"))).toEqual([
    "dim",
    "dim",
    "",
    "",
  ]);
});

test("captions of maps tell how far they can be trusted, over all seeds, and warn", () => {
  const trust = { neighbours: 15, values: [0.951, 0.94, 0.96] };
  expect(trustSentence(trust)).toBe("trustworthiness at 15 neighbours 0.95 (3 seeds: 0.94 to 0.96; a random map: 0.5)");
  const about = { encoder: "MAE, CLS", dataSet: "sets", seed: 7, trust };
  expect(umapFigure(points, { ...about, colourBy: "modality" }).caption).toContain(trustSentence(trust));
  const runs = umapRunsFigure([points, points, points], about);
  expect(runs.caption).toMatch(/from 3 seeds; sets, seed 7;.*UMAP can draw clusters where there are none/);
  expect(runs.data.filter((trace) => trace.showlegend === true)).toHaveLength(3); // each modality once
  expect(() => mapViewer(points, sheet, { ...options, neighbours: [] })).toThrow(
    "expected neighbours of 4 points, got 0",
  );
});
