/** `m3ret manifest`: the files of a public set as one list; `m3ret mixture`: what a recipe makes of such lists. */
import type { Command } from "commander";
import { loadCatalog } from "../datasets/catalog.js";
import { openManifest, writeManifest } from "../datasets/manifest.js";
import { SPLIT_SEED, writeQuarantine } from "../datasets/manifestRows.js";
import { mixture, strataOf } from "../datasets/mixture.js";
import { loadRecipe } from "../datasets/recipe.js";
import { listFiles } from "../streamed.js";
import { checkFiles } from "../transforms/checkFiles.js";
import {
  answer,
  Interrupted,
  jsonOption,
  positiveInteger,
  requireFile,
  stoppable,
  wholeNumber,
  withProgress,
} from "./shared.js";

export function addManifest(m3ret: Command): void {
  m3ret
    .command("manifest")
    .argument("<NAME>", "a public set or a folder of datasets.yaml, or the path of a folder with a labels.csv")
    .description("list the files of a set as a manifest (JSON lines), and report those that cannot be used")
    .requiredOption("--out <FILE>", "the manifest; the report is FILE.quarantine.jsonl")
    .option("--check", "decode every file; those that cannot be read go to the report. It can be stopped, and goes on")
    .option("--seed <N>", "of the split, where the publisher has none", wholeNumber("seed"), SPLIT_SEED)
    .option("--folder <FOLDER>", "where its files are (default: NAME in M3RET_PUBLIC, or in ./data)")
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

interface ManifestOptions {
  readonly out: string;
  readonly folder?: string;
  readonly seed: number;
  readonly check?: boolean;
  readonly catalog?: string;
  readonly json?: boolean;
}

async function makeManifest(name: string, options: ManifestOptions): Promise<void> {
  const { out, folder, seed, check, catalog, json } = options;
  const known = loadCatalog(catalog);
  requireFile("--out", out);
  const report = `${out}.quarantine.jsonl`;
  const result = await stoppable((stopped) =>
    withProgress(async (onProgress) => {
      const { rows: all, root, preprocessing, left } = await listFiles(name, known, { folder, seed, onProgress });
      let rows = all;
      let decoded: number | null = null;
      if (check) {
        const checked = await checkFiles(rows, root, preprocessing, {
          record: `${out}.checked.jsonl`,
          onProgress(progress) {
            onProgress({ ...progress, label: `checking ${name}` });
            if (stopped() && progress.done < progress.total) {
              throw new Interrupted(`stopped at file ${progress.done} of ${progress.total}; the same command goes on`);
            }
          },
        });
        left.push(...checked.unread);
        ({ rows, decoded } = checked);
      }
      const count = writeManifest(out, name, root, rows, seed);
      writeQuarantine(report, root, left);
      return { rows: count, decoded, quarantined: left.length };
    }),
  );
  answer(json, { name, manifest: out, ...result, report }, ({ rows, decoded, quarantined }) =>
    [
      `${out}: ${rows} files of ${name}${decoded === null ? "" : `, each decoded (${decoded} of them now)`}`,
      `${report}: ${quarantined} files left out`,
    ].join("\n"),
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
    const { mri, judged, withoutShare } = leftOut;
    answer(json, { recipe: title, rows: manifest.length, leftOut, batchSize: batch, batches, plan }, () =>
      [
        `${title}: ${batches} batches of ${batch} an epoch; of ${manifest.length} files, left out: ${mri} of MRI, ` +
          `${judged} of gallery and query, ${withoutShare} without a share`,
        ...plan.map(
          (s) => `${s.name.padEnd(18)}${s.rows} files, ${s.batches} batches, ${s.rounds.toFixed(2)} rounds an epoch`,
        ),
      ].join("\n"),
    );
  } finally {
    manifest.close();
  }
}
