/** Writes an event file of a made-up log for eventFile.py to read: node eventFile.mjs FOLDER (after npm run build). */
import { mkdirSync } from "node:fs";
import { EventFile } from "../../dist/trainers/tensorboard.js";

const [folder] = process.argv.slice(2);
const lines = Array.from({ length: 5 }, (_, step) => ({
  step,
  loss: -0.8 - 0.05 * step,
  agreement: 0.5 + 0.05 * step,
  expansion: 0.3,
  gradientNorm: 1.25,
  learningRate: 1e-3 / (step + 1),
  secondsPerStep: 0.25,
  inputSeconds: 0.0625,
  inputShare: 0.25,
  inputBy: "1 worker thread",
  bucket: "simdino 16 image",
}));
const from = 1_700_000_000;
mkdirSync(folder, { recursive: true });
new EventFile(folder, lines, from + 0.25 * lines.length);
console.log(JSON.stringify({ lines, from }));
