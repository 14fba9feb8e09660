// Writes ONNX files for test/reference/onnxEncoder.py: a tiny encoder as `m3ret export` writes it, for two sizes of samples
// and both poolings, and the training steps of both methods as the compiled engine runs them. Run after `npm run build`:
//     node test/reference/onnxGraphs.mjs FOLDER
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { saveEncoder } from "../../dist/encoder/checkpoint.js";
import { exportEncoder } from "../../dist/encoder/export.js";
import { initEncoder } from "../../dist/encoder/vit.js";
import { compiledRunner } from "../../dist/engine/compile.js";
import { loadRuntime } from "../../dist/engine/runtime.js";
import { Random } from "../../dist/random.js";
import { initState, stepFunction } from "../../dist/trainers/loop.js";
import { mae } from "../../dist/trainers/mae.js";
import { simdino } from "../../dist/trainers/simdino.js";
import { stepScalars } from "../../dist/trainers/step.js";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
const encoder = { width: 12, depth: 2, heads: 2, mlpRatio: 4, patch: [2, 4, 4], channels: 3 };

// Weights are the formula of losses.py, so that Python has them without a file.
const { params } = initEncoder(encoder, new Random(0));
Object.keys(params)
  .sort()
  .forEach((name, k) => {
    const plus = name.includes("norm") && name.endsWith("weight") ? 1 : 0;
    params[name].data.forEach((_, i, data) => (data[i] = 0.3 * Math.sin(0.7 * i + 1.3 * k) + plus));
  });
saveEncoder(join(folder, "run"), { config: encoder, params }, { method: "mae", data: "phantom-smoke", seed: 7 });
const files = [
  ["image-cls", { size: [1, 8, 12], pooling: "cls" }],
  ["volume-mean", { size: [5, 8, 8], pooling: "mean" }],
];
for (const [name, options] of files) {
  exportEncoder(join(folder, "run"), join(folder, `encoder-${name}.onnx`), {
    ...options,
    catalogFile: "datasets.yaml",
  });
}

const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [4, 16, 16] };
const small = { image: [1, 8, 8], video: [2, 8, 8], volume: [2, 8, 8] };
const range = { scale: [0.5, 1] };
const objectives = {
  mae: mae({ encoder, view: { ...range, size }, learningRate: 1e-3 }),
  simdino: simdino({
    encoder,
    views: { globals: { ...range, size, count: 2 }, locals: { ...range, size: small, count: 2 } },
    head: { hidden: 16, out: 8 },
    learningRate: 1e-3,
  }),
};

/** A runtime that keeps the bytes of what it is asked to run. */
async function recording(bytes) {
  const { InferenceSession, Tensor, env } = await loadRuntime();
  const create = (model, options) => {
    bytes.push(model);
    return InferenceSession.create(model, options);
  };
  return { InferenceSession: { create }, Tensor, env };
}

for (const [name, objective] of Object.entries(objectives)) {
  const samples = Array.from({ length: 8 }, (_, i) => {
    const random = new Random(`${name} ${i}`);
    const pixels = Float32Array.from({ length: 3 * 4 * 16 * 16 }, () => random.uniform(0, 1));
    const shape = [3, 4, 16, 16];
    return { id: `${i}`, pixels, shape, grey: false, kind: "volume", modality: "ct", group: `${i}`, labels: {} };
  });
  const bytes = [];
  const start = initState(objective, new Random(7)).arrays;
  const runner = await compiledRunner(stepFunction(objective), start, { runtime: () => recording(bytes) });
  const scalars = stepScalars(0, objective.schedule(0, 10), objective);
  const terms = await runner.step(objective.collate(samples, new Random(1)), scalars);
  if (!Number.isFinite(terms.loss) || bytes.length !== 1) throw new Error(`${name}: loss ${terms.loss}`);
  writeFileSync(join(folder, `step-${name}.onnx`), bytes[0]);
  runner.dispose();
}
