/** A trained encoder leaves as one file: ONNX, which needs nothing of ours to run, or its weights as safetensors. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { loadCatalog, unlistedFolder, type Catalog, type Entry } from "../datasets/catalog.js";
import { serialiseOnnx } from "../engine/onnx.js";
import { saveSafetensors } from "../engine/safetensors.js";
import { packageVersion, writeAtomic } from "../files.js";
import { CEILING, InputError, PRETRAIN_MODALITIES, UNSEEN_MODALITY, type Kind, type Shape3 } from "../types.js";
import { loadEncoder, type Provenance } from "./checkpoint.js";
import { EMBEDDING, encoderGraph, PIXELS } from "./exportGraph.js";
import { usualPooling, type Pooling } from "./vit.js";

export interface ExportOptions {
  /** Default: mean where MAE trained it, otherwise cls. */
  readonly pooling?: Pooling;
  /** [D, H, W] of the samples that the file reads; otherwise the size that a data set prepares for a kind. */
  readonly size?: Shape3;
  /** Default: the data that the encoder was trained on. */
  readonly data?: string;
  /** Default: image. */
  readonly kind?: Kind;
  /** Of the weights. Default: MIT, as the package. */
  readonly licence?: string;
  readonly catalogFile?: string;
}

/** What was written. */
export interface ExportReport {
  readonly out: string;
  readonly format: "onnx" | "safetensors";
  readonly bytes: number;
  readonly parameters: number;
  readonly pooling: Pooling;
  /** [D, H, W], or null for weights alone. */
  readonly size: Shape3 | null;
  readonly input: string | null;
  readonly output: string | null;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Writes the encoder of a folder to `out`, atomically; the name's ending chooses the format. The same encoder gives the
 * same bytes.
 *
 * `.onnx`: input `pixels` float32 [batch, 3, D, H, W] in [0, 1] (grey repeated to three channels, the intensities of
 * `metadata.preprocessing`), output `embedding` float32 [batch, width], not normalised. Standardising, padding of the
 * depth, patches, encoder and pooling are in the graph. The batch may have any size; D, H and W are the file's.
 *
 * `.safetensors`: the weights under the names of timm, linear ones `[in, out]`, with the configuration as metadata.
 *
 * @throws InputError where the folder holds no encoder, the size does not suit its patch, or the data is not known
 */
export function exportEncoder(folder: string, out: string, options: ExportOptions = {}): ExportReport {
  const format = out.endsWith(".onnx") ? "onnx" : out.endsWith(".safetensors") ? "safetensors" : null;
  if (!format) throw new InputError(`${out}: expected a name that ends in .onnx or .safetensors`);
  const { encoder, provenance } = loadEncoder(folder);
  if (encoder.ceiling) throw new InputError(`${folder}: ${CEILING}; a file of it could be taken for a result`);
  const catalog = loadCatalog(options.catalogFile);
  const pooling = options.pooling ?? usualPooling(provenance);
  const trained = trainedOn(folder, provenance, catalog);
  const listed = Object.hasOwn(catalog.datasets, trained.data);
  const metadata: Record<string, string> = {
    ...notesOf(provenance, trained.entry, listed),
    licence: options.licence ?? "MIT",
    model_license: options.licence ?? "MIT", // ONNX's own name for it
    pooling,
    encoder: JSON.stringify(encoder.config),
    // A folder's path can name a hospital or a patient: only names of the catalogue are told.
    data: listed ? trained.data : "a folder without an entry in datasets.yaml",
  };
  const { params } = encoder;
  const parameters = Object.values(params).reduce((sum, { data }) => sum + data.length, 0);
  const about = { out, parameters, pooling, metadata };

  if (format === "safetensors") {
    const given = (["size", "data", "kind"] as const).find((name) => options[name] !== undefined);
    if (given) throw new InputError(`${out}: weights alone have no size; expected no ${given}`);
    const config = { encoder: encoder.config, ...(JSON.parse(metadata.provenance) as Provenance) };
    saveSafetensors(out, params, { config: JSON.stringify(config), ...metadata });
    return { ...about, format, bytes: statSync(out).size, size: null, input: null, output: null };
  }
  const size = sizeFor(trained.entry, catalog, options);
  const graph = encoderGraph(encoder, size, pooling);
  const input = `${PIXELS} float32 [batch, 3, ${size.join(", ")}]`;
  const output = `${EMBEDDING} float32 [batch, ${encoder.config.width}]`;
  const text = `M3Ret encoder. ${input}, values in [0, 1], grey repeated to three channels; ${output}, not normalised.`;
  const bytes = serialiseOnnx(graph, {
    producerVersion: packageVersion(),
    about: text,
    metadata: { ...metadata, input, output },
  });
  writeAtomic(out, bytes);
  return { ...about, format, bytes: bytes.length, size, input, output };
}

/** What of a run goes with its encoder: numbers and names of methods, nothing about any patient or machine. */
const SHARED = ["method", "steps", "batchSize", "seed", "samples", "training", "engine"] as const;

function notesOf(provenance: Provenance, entry: Entry, listed: boolean): Record<string, string> {
  const seen = entry.modalities.filter((modality) => PRETRAIN_MODALITIES.includes(modality));
  const shared = Object.fromEntries(
    SHARED.filter((name) => name in provenance).map((name) => [name, provenance[name]]),
  );
  return {
    method: String(provenance.method ?? "unknown"),
    data_licence: entry.licence,
    training_modalities: `${listed ? seen.join(", ") : "not stated"}; ${UNSEEN_MODALITY} never`,
    preprocessing: JSON.stringify(entry.preprocessing),
    provenance: JSON.stringify({ ...shared, package: `m3ret ${packageVersion()}` }),
  };
}

function sizeFor(trained: Entry, catalog: Catalog, { size, data, kind }: ExportOptions): Shape3 {
  if (!size) return (data ? entryFor(catalog, data) : trained).preprocessing.size[kind ?? "image"];
  if (data || kind) throw new InputError("expected either a size or a data set and kind to take it from, got both");
  return size;
}

/** The entry of a data set, or the defaults of a folder that has none, as `openDataset` finds them. */
function entryFor(catalog: Catalog, data: string, said = `"${data}"`): Entry {
  if (Object.hasOwn(catalog.datasets, data)) return catalog.datasets[data];
  if (existsSync(join(data, "labels.csv"))) return unlistedFolder(data);
  throw new InputError(
    `${said} is neither in ${catalog.file} nor a folder with a labels.csv; --catalog names another datasets.yaml`,
  );
}

/** What the encoder of a folder was trained on. */
function trainedOn(folder: string, { data }: Provenance, catalog: Catalog): { data: string; entry: Entry } {
  if (typeof data !== "string") throw new InputError(`${folder}: does not say what it was trained on`);
  return { data, entry: entryFor(catalog, data, `${folder}: was trained on "${data}", which`) };
}
