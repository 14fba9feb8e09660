/** `m3ret manifest`: the files of a public set as one list; `m3ret mixture`: what a recipe makes of such lists. */
import type { Command } from "commander";
import { loadCatalog } from "../datasets/catalog.js";
import type { SkippedFile } from "../datasets/dataset.js";
import { openManifest, writeManifest } from "../datasets/manifest.js";
import { manifestRows, writeQuarantine } from "../datasets/manifestRows.js";
import { mixture, strataOf } from "../datasets/mixture.js";
import { publicFolder, publicSetOf } from "../datasets/publicSets.js";
import { loadRecipe } from "../datasets/recipe.js";
import { answer, jsonOption, positiveInteger, requireFile } from "./shared.js";

export function addManifest(m3ret: Command): void {
  m3ret
    .command("manifest")
    .argument("<NAME>", "a public set of datasets.yaml")
    .description("list the files of a set as a manifest (JSON lines), and report those that cannot be used")
    .requiredOption("--out <FILE>", "the manifest; the report is FILE.quarantine.jsonl")
    .option("--folder <FOLDER>", "where its files are (default: NAME in M3RET_DATA, or in ./data)")
    .option("--catalog <FILE>", "a datasets.yaml of your own")
    .addOption(jsonOption())
    .action(makeManifest);
  m3ret
    .command("mixture")
    .argument("<RECIPE>", "a file such as recipes/m3ret-like.yaml")
    .argument("<MANIFEST...>", "what m3ret manifest wrote")
    .description("say how often a recipe draws from manifests: batches of an epoch, and rounds of each modality")
    .option("--batch <N>", "rows of a batch", positiveInteger("batch"), 64)
    .option("--catalog <FILE>", "a datasets.yaml of your own")
    .addOption(jsonOption())
    .action(showMixture);
}

function makeManifest(
  name: string,
  { out, folder, catalog: file, json }: { out: string; folder?: string; catalog?: string; json?: boolean },
): void {
  const catalog = loadCatalog(file);
  const set = publicSetOf(catalog, name);
  const root = folder ?? publicFolder(name);
  requireFile("--out", out);
  const quarantined: SkippedFile[] = [];
  const rows = writeManifest(
    out,
    name,
    root,
    manifestRows(name, set, root, (one) => quarantined.push(one)),
  );
  const report = `${out}.quarantine.jsonl`;
  writeQuarantine(report, root, quarantined);
  answer(json, { name, manifest: out, rows, quarantined: quarantined.length, report }, () =>
    [`${out}: ${rows} files of ${name}`, `${report}: ${quarantined.length} files left out`].join("\n"),
  );
}

function showMixture(
  recipeFile: string,
  manifests: readonly string[],
  { batch, catalog, json }: { batch: number; catalog?: string; json?: boolean },
): void {
  const { title, shares, seed } = loadRecipe(recipeFile, loadCatalog(catalog));
  const manifest = openManifest(...manifests);
  try {
    const { strata, leftOut } = strataOf(manifest, shares);
    const { batches, plan } = mixture(strata, { seed, batchSize: batch });
    answer(json, { recipe: title, rows: manifest.length, leftOut, batchSize: batch, batches, plan }, () =>
      [
        `${title}: ${batches} batches of ${batch} an epoch, ${leftOut} of ${manifest.length} files left out`,
        ...plan.map(
          (s) => `${s.name.padEnd(12)}${s.rows} files, ${s.batches} batches, ${s.rounds.toFixed(2)} rounds an epoch`,
        ),
      ].join("\n"),
    );
  } finally {
    manifest.close();
  }
}
