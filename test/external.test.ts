import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { evaluationSamples, loadData } from "../src/experiment.js";
import { embedConfigured, encodersHere } from "../src/external.js";
import { loadCatalog } from "../src/datasets/catalog.js";
import { recallByModality } from "../src/story.js";
import { judge } from "../src/judge.js";
import { cache, packageRoot } from "./cliFixture.js";
import { expected, timm } from "./onnxFixture.js";

const folder = mkdtempSync(join(tmpdir(), "m3ret-encoders-"));

/** The package's catalogue with a tiny set and these encoders. */
function catalogOf(encoders: Record<string, unknown>): string {
  const text = parse(readFileSync(join(packageRoot, "datasets.yaml"), "utf8")) as { datasets: Record<string, unknown> };
  const { "phantom-smoke": tiny } = text.datasets;
  const file = join(folder, `${Object.keys(encoders).join("-")}.yaml`);
  writeFileSync(file, stringify({ datasets: { "phantom-smoke": tiny }, encoders }));
  return file;
}

const entry = {
  ...{ title: "a tiny ViT", home: "https://example.org/tiny", licence: "MIT", vector: "the mean of its tokens" },
  ...{ input: ["b", 3, "H", "W"], size: [1, 16, 16], mean: expected.timm.mean, std: expected.timm.std },
};

test("an encoder whose file is there has rows of the same pictures as all others, plain and whitened, and stands in the figure", async () => {
  const catalogFile = catalogOf({
    tiny: { ...entry, file: timm },
    absent: { ...entry, file: join(folder, "no.onnx") },
  });
  expect(encodersHere(loadCatalog(catalogFile))).toEqual(["tiny"]);
  const options = { catalogFile, cacheDir: cache, seed: 7 };
  const data = await loadData("phantom-smoke", options);
  const { embeddings, missing } = await embedConfigured(data, options);
  expect(missing).toEqual([]);
  expect(embeddings.map(({ name, role, variant }) => [name, role, variant])).toEqual([
    ["tiny", "pretrained", "plain"],
    ["tiny, whitened", "pretrained", "whitened"],
  ]);
  const [{ set, train }] = embeddings;
  expect(set.ids).toEqual(evaluationSamples(data).map(({ id }) => id));
  expect(set.meta).toMatchObject({ licence: "MIT", home: entry.home, pooling: "the mean of its tokens" });
  expect(new Set(train!.ids)).toEqual(new Set(data.train.map(({ id }) => id)));
  expect(train!.modalities).not.toContain("mri");

  const judged = judge(embeddings, {
    ...{ label: "region", crossModalLabel: "region", data: "phantom-smoke", seed: 7, ks: [1], rounds: 20 },
  });
  const { numbers } = recallByModality(judged.perModality, { dataSet: "phantom-smoke", seed: 7 });
  expect(new Set(numbers.map(({ encoder }) => encoder))).toEqual(new Set(["tiny"]));
}, 60_000);

test("one whose file cannot be used is a sentence and not a row", async () => {
  const broken = join(folder, "broken.onnx");
  writeFileSync(broken, "no graph");
  const options = { catalogFile: catalogOf({ broken: { ...entry, file: broken } }), cacheDir: cache, seed: 7 };
  const data = await loadData("phantom-smoke", options);
  const { embeddings, missing } = await embedConfigured(data, options);
  expect(embeddings).toEqual([]);
  expect(missing).toEqual([expect.stringMatching(/^no row "broken": .*broken\.onnx/)]);
}, 60_000);
