import { JSDOM } from "jsdom";
import { expect, test } from "vitest";
import { liveTraining } from "../src/analysis/liveTraining.js";
import { trainingSvg, type TrainingPanel } from "../src/analysis/trainingPanel.js";
import { startEngine } from "../src/engine/engine.js";
import { objectiveOf, presetOf } from "../src/presets.js";
import { Random } from "../src/random.js";
import { MODALITIES, type Kind, type Sample, type Shape3 } from "../src/types.js";

const parsed = (svg: string) => new JSDOM(svg, { contentType: "image/svg+xml" }).window.document; // throws on bad XML
const textsOf = (svg: string) => [...parsed(svg).querySelectorAll("text")].map((text) => text.textContent ?? "");

const panel = (values: readonly number[]): TrainingPanel => ({
  method: "SimDINO",
  done: values.length,
  total: 5000,
  state: "running",
  facts: ["12 steps/s", "9 s left"],
  terms: [
    { name: "agreement", unit: "mean cosine", values },
    { name: "expansion", unit: "γ · nats", values, levels: [{ name: "ceiling", value: 2 }] },
  ],
  health: { agreement: 0.97, spread: 0.1, state: "near collapse" },
  caption: "SimDINO on <these> & those, seed 7",
});

test("a panel stays small however long the run, names its axes, and says its state in words", () => {
  for (const steps of [0, 1, 50, 5000]) {
    const svg = trainingSvg(panel(Array.from({ length: steps }, (_, i) => Math.sin(i / 100))));
    expect(svg.length, `${steps} steps`).toBeLessThan(10_000);
    expect(svg).not.toMatch(/NaN|Infinity/);
    const texts = textsOf(svg);
    expect(texts.filter((text) => text === "step")).toHaveLength(2);
    expect(texts.some((text) => text.includes("near collapse"))).toBe(true);
    expect(texts).toEqual(
      expect.arrayContaining(["ceiling", "10.0 % of the way", "SimDINO on <these> & those, seed 7"]),
    );
  }
});

test("a loss that is no number leaves a gap and is told, and the panel is still drawn", () => {
  const svg = trainingSvg(panel([1, 2, NaN]));
  expect(textsOf(svg).some((text) => text.includes("no number"))).toBe(true);
  expect(svg).not.toMatch(/NaN/);
});

const experiment = presetOf("smoke");
const size: Record<Kind, Shape3> = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] };
const preprocessing = { size } as Parameters<typeof objectiveOf>[2];
const samples: Sample[] = Array.from({ length: 32 }, (_, i) => ({
  id: `s${i}`,
  pixels: Float32Array.from({ length: 3 * 256 }, (_, p) => new Random(`${i} ${p % 256}`).uniform()),
  shape: [3, 1, 16, 16],
  grey: true,
  kind: "image",
  modality: "xray",
  group: `g${i}`,
  labels: {},
}));
const about = { batchSize: 8, seed: 7, dataSet: "noise" };

test.each(["mae", "simdino"] as const)("%s trained in a cell is drawn in one place and kept", async (method) => {
  const objective = objectiveOf(method, experiment, preprocessing);
  const shown: string[] = [];
  const engine = await startEngine();
  const live = await liveTraining({ svg: (svg) => shown.push(svg) }, objective, samples, {
    ...about,
    steps: 4,
    engine,
  });
  expect(live).toMatchObject({ interrupted: false, state: { step: 4 } });
  expect(live.log.map(({ loss }) => Number.isFinite(loss))).toEqual([true, true, true, true]);
  expect(shown.length).toBeGreaterThanOrEqual(2);
  const texts = textsOf(shown.at(-1)!);
  expect(texts.some((text) => text.includes("step 4 of 4"))).toBe(true);
  expect(texts.some((text) => text.startsWith("finished after"))).toBe(true);
  expect(texts.at(-1)).toMatch(/batches of 8 from 32 samples; noise, seed 7$/);
});

test("interrupted, it keeps what it has learned: the state of a run of as many steps", async () => {
  const objective = objectiveOf("mae", experiment, preprocessing);
  const engine = await startEngine();
  const shown: string[] = [];
  let stopAt = 3;
  const display = {
    svg: (svg: string) => {
      shown.push(svg);
      if (--stopAt === 0) process.kill(process.pid, "SIGINT");
    },
  };
  const stopped = await liveTraining(display, objective, samples, { ...about, steps: 500, engine });
  expect(stopped.interrupted).toBe(true);
  expect(stopped.log.length).toBeLessThan(500);
  expect(stopped.state.step).toBe(stopped.log.length);
  expect(textsOf(shown.at(-1)!).some((text) => text.startsWith("interrupted after"))).toBe(true);
});

test("MRI is refused, as in every training", async () => {
  const objective = objectiveOf("mae", experiment, preprocessing);
  const mri = samples.map((sample) => ({ ...sample, modality: MODALITIES[4] }));
  await expect(liveTraining({ svg() {} }, objective, mri, { ...about, steps: 1 })).rejects.toThrow(/MRI never enters/);
});
