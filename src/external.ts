/** Pretrained encoders in ONNX files over the data sets of the catalogue. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { encoderFile, hasEncoderFile, loadCatalog, type Catalog } from "./datasets/catalog.js";
import { openDataset } from "./datasets/open.js";
import { embeddingSet, selectRows, takeRows, type EmbeddingSet, type RowNotes } from "./embeddings.js";
import { openOnnxEncoder, type OnnxEncoder, type OpenOnnxOptions } from "./encoder/embedOnnx.js";
import { encoderGraph } from "./encoder/exportGraph.js";
import { loadTimmVit } from "./encoder/timmVit.js";
import { serialiseOnnx } from "./engine/onnx.js";
import { packageVersion, writeAtomic } from "./files.js";
import { preprocessingFor, type OnnxPlan } from "./encoder/onnxEncoder.js";
import { sideBySide } from "./engine/arrays.js";
import {
  defaultCacheDir,
  evaluationSamples,
  factsOf,
  isJudged,
  plainAndWhitened,
  type DataOptions,
  type ExperimentData,
  type NamedEmbeddings,
} from "./experiment.js";
import { prepareOne } from "./transforms/prepare.js";
import { InputError, type Sample, type Split } from "./types.js";

/**
 * A file, and what is known of it besides: the name is an entry of `encoders` in the catalogue, or a path. Options given
 * here come before the entry's.
 */
function findOnnx(
  catalog: Catalog,
  name: string,
  given: OpenOnnxOptions = {},
): { path: string; options: OpenOnnxOptions } {
  const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  if (!Object.hasOwn(catalog.encoders, name)) return { path: name, options };
  const { file, get, ...entry } = catalog.encoders[name];
  return { path: encoderFile(catalog, name, { ...entry, file, get }), options: { name, ...entry, ...options } };
}

/** True for an entry of `encoders`, and for a file whose name ends in .onnx or .safetensors. */
export function namesOnnx(catalog: Catalog, name: string): boolean {
  return Object.hasOwn(catalog.encoders, name) || (/\.(onnx|safetensors)$/i.test(name) && existsSync(name));
}

const SQUARE = [1, 224, 224] as const; // what most published vision transformers read

/**
 * A vision transformer in a safetensors file (`loadTimmVit`) as an ONNX encoder of pictures: standardisation, positions
 * for the size that is asked for and pooling are in its graph.
 */
async function openTimm(path: string, options: OpenOnnxOptions): Promise<OnnxEncoder> {
  const { mean, std, heads, size = SQUARE, pooling = "cls", name, licence, home, fit } = options;
  if (size[0] !== 1) throw new InputError(`${path}: is an encoder of pictures; expected a size of 1,H,W, got ${size}`);
  const encoder = loadTimmVit(path, { mean, std, heads });
  const folder = mkdtempSync(join(tmpdir(), "m3ret-timm-"));
  try {
    const file = join(folder, "encoder.onnx");
    const notes = { producerVersion: packageVersion(), about: `${basename(path)}, ${pooling}`, metadata: {} };
    writeAtomic(file, serialiseOnnx(encoderGraph(encoder, size, pooling), notes));
    const none = { mean: [0, 0, 0], std: [1, 1, 1] } as const;
    const called = name ?? basename(path).replace(/\.safetensors$/i, "");
    const opened = await openOnnxEncoder(file, {
      ...none,
      name: called,
      licence,
      home,
      fit,
      provider: options.provider,
    });
    return { ...opened, plan: { ...opened.plan, pooling, file: { ...opened.plan.file, path } } };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Opens the encoder that a name stands for. */
export async function openNamedOnnx(catalog: Catalog, name: string, given: OpenOnnxOptions = {}): Promise<OnnxEncoder> {
  const { path, options } = findOnnx(catalog, name, given);
  return /\.safetensors$/i.test(path) ? openTimm(path, options) : openOnnxEncoder(path, options);
}

const AT_ONCE = 16; // samples in memory: 16 volumes of 16 × 224 × 224 are 154 MB

/**
 * Embeds the gallery and query samples of a data set, a few at a time, with an encoder in an ONNX file. Intensities,
 * orientation and fit are those of the data set, sizes and standardisation those of the encoder.
 *
 * @param encoder an entry of `encoders` in the catalogue, or the path of a file
 * @returns       gallery rows, then query rows (then, with `train`, rows of the training split), as `embedEvaluation` has them; `meta.depth` says where vectors are means
 *                over slices or frames, and `meta.skipped` how many files could not be read
 * @throws InputError where the encoder or the data cannot be used, in one line
 */
export async function embedWithOnnx(
  encoder: string,
  data: string,
  options: DataOptions & { readonly onnx?: OpenOnnxOptions; readonly train?: boolean } = {},
): Promise<EmbeddingSet> {
  const { onProgress, cacheDir = defaultCacheDir() } = options;
  const catalog = loadCatalog(options.catalogFile);
  const model = await openNamedOnnx(catalog, encoder, options.onnx);
  const seed = options.seed ?? model.plan.seed ?? 7; // as for all other encoders: rows can then be compared
  try {
    const dataset = await openDataset(data, { catalog, cacheDir, seed, onProgress });
    const preprocessing = preprocessingFor(model.plan, dataset.entry.preprocessing);
    const of = (split: Split) => dataset.records.filter((record) => record.split === split && isJudged(record));
    const records = [...of("gallery"), ...of("query"), ...(options.train ? of("train") : [])];
    const rows: RowNotes[] = [];
    const splits: Split[] = [];
    const vectors: Float32Array[] = [];
    const depths = new Set<number>();
    let unreadable = "";
    for (let from = 0; from < records.length; from += AT_ONCE) {
      const part = records.slice(from, from + AT_ONCE);
      const read = await Promise.all(part.map((record) => prepareOne(dataset, record, preprocessing)));
      const samples = read.filter((one): one is Sample => "pixels" in one);
      read.forEach((one, i) => {
        if ("pixels" in one) splits.push(part[i].split);
        else unreadable ||= one.reason;
      });
      vectors.push(await model.embed(samples));
      for (const { id, group, modality, labels, shape } of samples) {
        rows.push({ id, group, modality, labels });
        depths.add(shape[1]);
      }
      onProgress?.({ label: `embed, ${model.plan.name}`, done: from + part.length, total: records.length });
    }
    if (records.length > 0 && rows.length === 0) {
      throw new InputError(`none of the ${records.length} files of ${data} could be read; the first: ${unreadable}`);
    }
    const skipped = records.length - rows.length;
    const meta = {
      ...notesOf(model.plan, data, depths),
      ...factsOf(dataset.entry),
      ...(skipped > 0 ? { skipped } : {}),
    };
    return embeddingSet(sideBySide(vectors), rows, splits, meta);
  } finally {
    await model.dispose();
  }
}

/** The names under `encoders` of the catalogue whose files are on this machine. */
export function encodersHere(catalog: Catalog): string[] {
  return Object.keys(catalog.encoders).filter((name) => hasEncoderFile(catalog, name));
}

/**
 * Rows of every encoder under `encoders` of the catalogue whose file is here, plain and whitened, for tables beside our own; and one
 * sentence for each whose file is here but cannot be used. A name without a file is nothing that is missing: nobody has put it there.
 */
export async function embedConfigured(
  data: ExperimentData,
  options: Omit<DataOptions, "ceiling"> & { readonly seed: number },
): Promise<{ readonly embeddings: readonly NamedEmbeddings[]; readonly missing: readonly string[] }> {
  const embeddings: NamedEmbeddings[] = [];
  const missing: string[] = [];
  const wanted = evaluationSamples(data).map(({ id }) => id);
  for (const name of encodersHere(loadCatalog(options.catalogFile))) {
    try {
      const all = await embedWithOnnx(name, data.name, { ...options, train: true });
      const held = selectRows(all, (i) => all.splits[i] !== "train");
      const rowOf = new Map(held.ids.map((id, row) => [id, row]));
      const lost = wanted.filter((id) => !rowOf.has(id)).length;
      if (lost > 0) throw new InputError(`could not read ${lost} of the ${wanted.length} pictures of the other rows`);
      const set = takeRows(held, wanted.map((id) => rowOf.get(id)!)); // prettier-ignore
      const about = { name, role: "pretrained", pooling: "none", set } as const;
      embeddings.push(
        ...plainAndWhitened(
          about,
          selectRows(all, (i) => all.splits[i] === "train"),
        ),
      );
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      missing.push(`no row "${name}": ${error.message}`);
    }
  }
  return { embeddings, missing };
}

function notesOf(
  { file, name, pooling, size, licence, home }: OnnxPlan,
  data: string,
  depths: ReadonlySet<number>,
): Record<string, string> {
  const [depth] = size;
  const [deepest, shallowest] = [Math.max(...depths), Math.min(...depths)];
  const notes: string[] = [];
  if (depth === 1 && deepest > 1) {
    notes.push("volumes and videos: mean of the embeddings of their slices and frames, each seen as an image");
  }
  if (depth > 1 && shallowest === 1) notes.push(`images: repeated to ${depth} slices`);
  return {
    encoder: name,
    pooling,
    data,
    file: basename(file.path),
    size: size.join(" x "),
    licence,
    home,
    ...(notes.length > 0 ? { depth: notes.join("; ") } : {}),
  };
}
