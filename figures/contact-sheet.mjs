// Draws figures/contact-sheet.png and the numbers beside it, from the package as built: npm run build && node figures/contact-sheet.mjs
import { writeFileSync } from "node:fs";
import { contactSheet, patientRows } from "../dist/analysis/contactSheet.js";
import { MODALITY_LOOKS } from "../dist/analysis/palette.js";
import { GENERATOR_VERSION, openPhantom } from "../dist/datasets/phantom.js";
import { MODALITIES } from "../dist/types.js";

const spec = { patients: 400, seed: 7, size: 64, depth: 16 };
const groups = ["p0172", "p0184", "p0062", "p0202", "p0360", "p0165"]; // chosen by eye: the finding is in view everywhere
const dataset = await openPhantom("phantom", spec, { cacheDir: process.argv[2] ?? ".cache" });
const { rows, titles, notes } = await patientRows(dataset, MODALITIES, { groups });
const png = await contactSheet(rows, {
  title: "Six virtual patients, five modalities",
  subtitle: "Every row is one labelled anatomy; every picture is simulated by its physics, with its own pose and exposure",
  rowTitles: titles,
  rowNotes: notes,
  columnTitles: MODALITIES.map((m) => MODALITY_LOOKS[m].name),
  columnColours: MODALITIES.map((m) => MODALITY_LOOKS[m].colour),
});
writeFileSync("figures/contact-sheet.png", png);
const numbers = { generator: GENERATOR_VERSION, spec, modalities: MODALITIES, groups, regions: titles, findings: notes };
writeFileSync("figures/contact-sheet.json", JSON.stringify(numbers, null, 2) + "\n");
