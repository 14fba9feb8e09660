// Writes test/fixtures/phantom.json: hashes of simulated pictures, which every platform must give. Run after `npm run build`,
// from the repository's root, and only when the generator was changed on purpose (raise GENERATOR_VERSION then):
//     node test/reference/phantom.mjs
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { writeFileSync } from "node:fs";
import { acquisitionOf, simulate } from "../../dist/datasets/phantom.js";
import { MODALITIES } from "../../dist/types.js";

const spec = { size: 32, depth: 8 };
const patients = [
  { id: "p0000", region: "chest", finding: "effusion", size: "large", seed: "fixture chest" },
  { id: "p0001", region: "hand", finding: "none", size: "none", seed: "fixture hand" },
  { id: "p0002", region: "head", finding: "meningioma", size: "small", seed: "fixture head" },
  { id: "p0003", region: "abdomen", finding: "ileus", size: "large", seed: "fixture abdomen" },
];
const samples = patients.map((patient) => {
  const hashes = MODALITIES.map((modality) => {
    const { pixels } = simulate(patient, modality, acquisitionOf(patient, modality), spec);
    const bytes = Buffer.alloc(2 * pixels.length);
    pixels.forEach((v, i) => bytes.writeUInt16LE(v & 65535, 2 * i));
    return [modality, createHash("sha256").update(bytes).digest("hex")];
  });
  return { patient, hashes: Object.fromEntries(hashes) };
});
const text = JSON.stringify({ spec, samples }, null, 2) + "\n";
if (process.argv[2] === "--print") console.log(createHash("sha256").update(text).digest("hex"));
else writeFileSync("test/fixtures/phantom.json", text);
