/** Baselines that this project did not train: classical descriptors, and a network that has seen photographs only. */
import { join } from "node:path";
import { embeddingSet, type EmbeddingSet } from "./embeddings.js";
import { histogramVector, hogVector } from "./encoder/classical.js";
import { openOnnxEncoder, type OnnxEncoder } from "./encoder/embedOnnx.js";
import { NATURAL, NATURAL_PACKAGE, NATURAL_SLICES, naturalOnnx } from "./encoder/natural.js";
import { sideBySide } from "./engine/arrays.js";
import {
  defaultCacheDir,
  evaluationSamples,
  factsOf,
  plainAndWhitened,
  splitsOf,
  type DataOptions,
  type ExperimentData,
  type NamedEmbeddings,
} from "./experiment.js";
import { InputError, UNSEEN_MODALITY, type Sample, type Split } from "./types.js";

/** Rows of baselines, and one sentence for each row that could not be made here. */
export interface Baselines {
  readonly embeddings: readonly NamedEmbeddings[];
  readonly missing: readonly string[];
}

type BaselineOptions = Pick<DataOptions, "cacheDir" | "onProgress">;

/** MRI is nothing that a baseline may learn from, not even the mean that whitening takes off. */
const trainSamples = ({ train }: ExperimentData) => train.filter(({ modality }) => modality !== UNSEEN_MODALITY);

/** [H, W], or null where the pictures of a data set are of several sizes. */
function sizeOfAll(data: ExperimentData): readonly [number, number] | null {
  const all = [...evaluationSamples(data), ...trainSamples(data)];
  const [, , height, width] = all[0].shape;
  return all.every(({ shape }) => shape[2] === height && shape[3] === width) ? [height, width] : null;
}

/** All of them, in the order of the tables. */
export async function embedBaselines(data: ExperimentData, options: BaselineOptions = {}): Promise<Baselines> {
  const size = sizeOfAll(data);
  const several = (name: string) => `no row "${name}": the pictures of ${data.name} are of several sizes`;
  if (size === null) return { embeddings: [embedHistograms(data)], missing: [several("HOG"), several(NATURAL.name)] };
  const classical = [...embedHog(data), embedHistograms(data)];
  const natural = await embedNatural(data, size, options);
  return typeof natural === "string"
    ? { embeddings: classical, missing: [natural] }
    : { embeddings: [...classical, ...natural], missing: [] };
}

function embedAll(
  samples: readonly Sample[],
  splits: Split[] | Split,
  of: (sample: Sample) => Float32Array,
  meta: EmbeddingSet["meta"],
): EmbeddingSet {
  return embeddingSet(sideBySide(samples.map(of)), samples, splits, meta);
}

/** Histograms of oriented gradients (`hogVector`), plain and whitened. */
function embedHog(data: ExperimentData): NamedEmbeddings[] {
  const meta = {
    encoder: "HOG, 8 pixels a cell",
    pooling: "mean over slices or frames",
    data: data.name,
    ...factsOf(data.entry),
  };
  const of = (sample: Sample) => hogVector(sample);
  const set = embedAll(evaluationSamples(data), splitsOf(data), of, meta);
  const about = { name: "HOG", role: "classical", pooling: "none", set } as const;
  return plainAndWhitened(about, embedAll(trainSamples(data), "train", of, meta));
}

/** Histograms of intensities (`histogramVector`): what exposure and background alone tell. */
function embedHistograms(data: ExperimentData): NamedEmbeddings {
  const meta = {
    encoder: "histogram of intensities",
    pooling: "all slices or frames together",
    data: data.name,
    ...factsOf(data.entry),
  };
  const of = (sample: Sample) => histogramVector(sample);
  const set = embedAll(evaluationSamples(data), splitsOf(data), of, meta);
  const about = { name: "intensity histogram", role: "classical", pooling: "none", variant: "plain", set } as const;
  return trainSamples(data).length === 0 ? about : { ...about, train: embedAll(trainSamples(data), "train", of, meta) };
}

/** Slices from the middles of `count` equal parts of the depth; a sample of fewer keeps them all. */
function someSlices(sample: Sample, count: number): Sample {
  const [channels, depth, height, width] = sample.shape;
  if (depth <= count) return sample;
  const size = height * width;
  const pixels = new Float32Array(channels * count * size);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < count; i++) {
      const from = (c * depth + Math.floor(((i + 0.5) * depth) / count)) * size;
      pixels.set(sample.pixels.subarray(from, from + size), (c * count + i) * size);
    }
  }
  return { ...sample, pixels, shape: [channels, count, height, width] };
}

/**
 * The network that has seen photographs only (`encoder/natural.ts`), plain and whitened: up to four slices or frames of a
 * sample, of the pixels that our own encoders see, and the mean of their vectors.
 *
 * @returns the rows, or why there are none
 */
async function embedNatural(
  data: ExperimentData,
  size: readonly [number, number],
  { cacheDir = defaultCacheDir(), onProgress }: BaselineOptions,
): Promise<NamedEmbeddings[] | string> {
  const evaluated = evaluationSamples(data);
  const train = trainSamples(data);
  const path = naturalOnnx(join(cacheDir, "encoders"), size);
  if (path === null) return `no row "${NATURAL.name}": ${NATURAL_PACKAGE} is not installed`;
  let encoder: OnnxEncoder;
  try {
    encoder = await openOnnxEncoder(path, { mean: [0, 0, 0], std: [1, 1, 1], name: NATURAL.name });
  } catch (error) {
    if (error instanceof InputError) return `no row "${NATURAL.name}": ${error.message}`;
    throw error;
  }
  try {
    const all = [...evaluated, ...train];
    const parts: Float32Array[] = [];
    for (let from = 0; from < all.length; from += AT_ONCE) {
      const part = all.slice(from, from + AT_ONCE);
      parts.push(await encoder.embed(part.map((sample) => someSlices(sample, NATURAL_SLICES))));
      onProgress?.({ label: `embed, ${NATURAL.name}`, done: from + part.length, total: all.length });
    }
    const vectors = sideBySide(parts);
    const d = vectors.length / all.length;
    const { name, home, licence } = NATURAL;
    const meta = {
      encoder: name,
      pooling: `mean over places and ${NATURAL_SLICES} slices or frames`,
      data: data.name,
      ...factsOf(data.entry),
    };
    const notes = { ...meta, home, licence };
    const set = embeddingSet(vectors.slice(0, evaluated.length * d), evaluated, splitsOf(data), notes);
    const about = { name, role: "pretrained", pooling: "none", set } as const;
    return plainAndWhitened(about, embeddingSet(vectors.slice(evaluated.length * d), train, "train", notes));
  } finally {
    await encoder.dispose();
  }
}

const AT_ONCE = 64; // samples
