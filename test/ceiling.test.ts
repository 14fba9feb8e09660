/** The one exception to "MRI never enters pretraining", and that nobody can mistake it for a result. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { storedCeilings } from "../src/ceiling.js";
import { saveEmbeddings, loadEmbeddings } from "../src/embeddings.js";
import { loadEncoder, saveEncoder } from "../src/encoder/checkpoint.js";
import { exportEncoder } from "../src/encoder/export.js";
import { startEngine } from "../src/engine/engine.js";
import { loadSafetensors } from "../src/engine/safetensors.js";
import { embedEvaluation, loadData, pretrainMethod, untrainedEncoder } from "../src/experiment.js";
import { judge } from "../src/judge.js";
import { presetOf } from "../src/presets.js";
import { planBatches } from "../src/trainers/batches.js";
import { assertPretrainable } from "../src/types.js";
import { cache } from "./cliFixture.js";
import { barSample, barSamples, scratch } from "./helpers.js";
import { setOf } from "./sets.js";

const preset = presetOf("smoke");
const engine = await startEngine();
const cacheDir = process.env.M3RET_CACHE ?? cache;
const judging = { label: "region", crossModalLabel: "region", data: "phantom-smoke", seed: 7, ks: [1], rounds: 50 };

test("MRI is let in by name alone, and a ceiling without MRI is refused", () => {
  const mri = barSample("mri", "volume", [4, 16, 16], 0);
  expect(() => assertPretrainable("mri")).toThrow(/MRI never enters pretraining/);
  expect(() => planBatches([...barSamples(4), mri], { batchSize: 2 })).toThrow(/MRI never enters pretraining/);
  expect(planBatches([...barSamples(4), mri], { batchSize: 2, ceiling: true }).buckets.map(({ name }) => name)).toEqual(
    ["ct volume", "mri volume", "xray image"],
  );
  expect(() => planBatches(barSamples(4), { batchSize: 2, ceiling: true })).toThrow(
    "ceiling: saw MRI: expected MRI among the training samples, found none",
  );
});

test("a ceiling has MRI of the training patients, and the same gallery and queries as everyone", async () => {
  const [usual, allowed] = await Promise.all([
    loadData("phantom-smoke", { cacheDir, seed: 7 }),
    loadData("phantom-smoke", { cacheDir, seed: 7, ceiling: true }),
  ]);
  expect(usual.train.some(({ modality }) => modality === "mri")).toBe(false);
  const extra = allowed.train.filter(({ modality }) => modality === "mri");
  expect(extra.map(({ group }) => group)).toEqual([...new Set(usual.train.map(({ group }) => group))]);
  expect(allowed.train.slice(0, usual.train.length)).toEqual(usual.train);
  for (const split of ["gallery", "query"] as const) expect(allowed[split]).toEqual(usual[split]);
});

test("a ceiling says so in its state, its checkpoint, its vectors and its rows, and is nobody's trained row", async () => {
  const data = await loadData("phantom-smoke", { cacheDir, seed: 7, ceiling: true });
  const folder = join(scratch(), "ceiling");
  const run = pretrainMethod("mae", preset, data, { engine, folder, seed: 7, steps: 2 });
  let next = await run.next();
  while (!next.done) next = await run.next();
  const encoder = next.value;

  expect(encoder.ceiling).toBe(true);
  expect(loadSafetensors(join(folder, "state.safetensors")).metadata.identity).toContain(
    '"ceiling":"ceiling: saw MRI"',
  );
  expect(JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))).toMatchObject({ ceiling: "ceiling: saw MRI" });
  expect(loadEncoder(folder).encoder.ceiling).toBe(true);
  // Somebody who saves the encoder elsewhere, with notes of their own, cannot lose the mark either.
  const copy = join(scratch(), "copy");
  saveEncoder(copy, encoder, { method: "mae" });
  expect(loadEncoder(copy).encoder.ceiling).toBe(true);
  const out = join(scratch(), "ceiling.onnx");
  expect(() => exportEncoder(folder, out)).toThrow("ceiling: saw MRI; a file of it could be taken for a result");
  expect(existsSync(out)).toBe(false);

  await expect(embedEvaluation("MAE", "trained", encoder, data, { engine })).rejects.toThrow(
    'MAE: ceiling: saw MRI; expected the role "ceiling", got "trained"',
  );
  const untrained = untrainedEncoder(preset, 7);
  await expect(embedEvaluation("untrained", "ceiling", untrained, data, { engine })).rejects.toThrow(/no ceiling/);

  const rows = await embedEvaluation("MAE", "ceiling", encoder, data, { engine });
  expect(rows.map(({ name, role }) => [name, role])[0]).toEqual(["MAE (ceiling: saw MRI), CLS", "ceiling"]);
  const path = join(scratch(), "ceiling.npz");
  saveEmbeddings(path, rows[0].set);
  const posing = { ...rows[0], name: "MAE, CLS", role: "trained" as const, set: loadEmbeddings(path) };
  expect(() => judge([posing], judging)).toThrow('MAE, CLS: ceiling: saw MRI; expected the role "ceiling"');

  const beside = await embedEvaluation("untrained", "untrained", untrained, data, { engine });
  const plain = await embedEvaluation(
    "untrained",
    "untrained",
    untrained,
    await loadData("phantom-smoke", { cacheDir }),
    {
      engine,
    },
  );
  expect(beside.map(({ set }) => set.vectors)).toEqual(plain.map(({ set }) => set.vectors)); // whitened without MRI
  const { mri } = judge([...beside, ...rows], judging);
  const marks = mri.tables[0].rows.filter(({ name }) => name.includes("ceiling")).flatMap(({ cells }) => cells);
  expect(marks.length).toBeGreaterThan(0);
  for (const cell of marks) expect(cell?.marks).toBe("");
});

test("ceilings beside a run are found by what they are: those words, its very rows, and each method as it is judged", () => {
  const runs = scratch();
  const run = { preset: "smoke", seed: 7, runs };
  const set = setOf([[1, 0], [0, 1]], { modalities: ["mri", "mri"] }); // prettier-ignore
  const marked = (name: string, meta: Record<string, string>, ids = set.ids) =>
    saveEmbeddings(join(runs, "sweep", "points", "a", `${name}.npz`), { ...set, ids, meta });
  const words = { encoder: "MAE (ceiling: saw MRI)", pooling: "mean", ceiling: "ceiling: saw MRI" };
  marked("mae-ceiling-saw-mri-mean", words); // not how MAE is judged
  marked("mae-ceiling-other-rows", { ...words, whitened: "64" }, ["x", "y"]);
  marked("mae-ceiling-unmarked", { encoder: "MAE", pooling: "mean", whitened: "64" });
  const beside = [{ name: "raw pixels", role: "pixels", pooling: "none", variant: "plain", set }] as const;
  expect(storedCeilings(run, beside, [join(runs, "sweep")])).toEqual([]);
  marked("mae-ceiling-saw-mri-mean-whitened", { ...words, whitened: "64" });
  const [found, ...more] = storedCeilings(run, beside, [join(runs, "sweep"), join(runs, "not-there")]);
  expect(more).toEqual([]);
  expect(found).toMatchObject({ name: "MAE (ceiling: saw MRI), mean, whitened", role: "ceiling", variant: "whitened" });
});
