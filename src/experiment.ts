/**
 * The stations of the paper, joined: data, pretraining, embeddings, judgement. The command line and the notebooks call
 * the same functions.
 */
import { existsSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { labelSetsOf, loadCatalog, type Entry, type Preprocessing } from "./datasets/catalog.js";
import type { DataRecord, SkippedFile } from "./datasets/dataset.js";
import { openDataset, type OpenDataset, type OpenOptions } from "./datasets/open.js";
import { testSplits } from "./datasets/publicSplit.js";
import { withSliceAxis, type SliceAxis } from "./datasets/sliceAxis.js";
import { embeddingSet, loadEmbeddings, pixelEmbeddings, saveEmbeddings, type EmbeddingSet } from "./embeddings.js";
import { embedVectors } from "./encoder/embed.js";
import { startEngine, type Engine } from "./engine/engine.js";
import { readBytes, writeAtomic } from "./files.js";
import { initEncoder, type Encoder, type Pooling } from "./encoder/vit.js";
import type { Role, Variant } from "./analysis/tables.js";
import { fitWhitening, whiten } from "./analysis/whiten.js";
import { encoderOf, objectiveOf, type Preset } from "./presets.js";
import { Random } from "./random.js";
import { countsOf, dataHash } from "./record.js";
import { recorded, type RunFacts } from "./runRecord.js";
import type { BatchPlan } from "./trainers/batches.js";
import { pretrain } from "./trainers/pretrain.js";
import type { TrainEvent } from "./trainers/loop.js";
import type { Method } from "./trainers/objective.js";
import { prepareAll } from "./transforms/prepare.js";
import { assertPretrainable, CEILING, InputError, PRETRAIN_MODALITIES, sizeOf, UNSEEN_MODALITY } from "./types.js";
import type { CeilingOption, Kind, Modality, OnProgress, Sample, Shape3, Split } from "./types.js";

/** A data set, prepared and divided. */
export interface ExperimentData {
  readonly name: string;
  readonly entry: Entry;
  readonly dataset: OpenDataset;
  readonly train: readonly Sample[];
  readonly gallery: readonly Sample[];
  readonly query: readonly Sample[];
  readonly skipped: readonly SkippedFile[];
  /** MRI is among the training samples: whatever is trained on them is a ceiling, and says so (`CEILING`). */
  readonly ceiling?: true;
}

export interface DataOptions extends CeilingOption {
  readonly catalogFile?: string;
  readonly cacheDir?: string;
  readonly seed?: number;
  /** [D, H, W] of each kind, instead of the entry's. */
  readonly size?: Readonly<Record<Kind, Shape3>>;
  /** Bytes that prepared samples may take in memory: a larger set is refused. Left out: three quarters of what there is. */
  readonly memory?: number;
  /** The axis along which volumes are cut into slices, instead of the data set's own. */
  readonly sliceAxis?: SliceAxis;
  readonly onProgress?: OnProgress;
}

/** The size of each kind that one [D, H, W] stands for: an image has D = 1. */
export function sizesOf(size: Shape3 | undefined): DataOptions["size"] {
  return size && { image: [1, size[1], size[2]], video: size, volume: size };
}

/** Where phantoms are kept between runs, unless M3RET_CACHE names another folder. */
export function defaultCacheDir(): string {
  return process.env.M3RET_CACHE || join(process.cwd(), ".cache");
}

/**
 * Opens and prepares a data set. Training samples never include MRI: it is left out here, and refused by the trainer. The
 * one exception is asked for by name: with `ceiling`, MRI of the train split's patients is among them, gallery and query are
 * the same, and an encoder trained on them is a ceiling (`CEILING`).
 *
 * @throws InputError where a ceiling is asked for and no MRI is on the training side, such as in a folder whose MRI patients
 *         have nothing else
 */
export async function loadData(name: string, options: DataOptions = {}): Promise<ExperimentData> {
  const { onProgress, seed, size, sliceAxis } = options;
  const listed = loadCatalog(options.catalogFile);
  const catalog = sliceAxis ? withSliceAxis(listed, name, sliceAxis) : listed;
  const cacheDir = options.cacheDir ?? defaultCacheDir();
  const dataset = await openDataset(name, { catalog, cacheDir, seed, onProgress });
  const entry = size ? resized(dataset.entry, size) : dataset.entry;
  requireMemory(name, dataset.records, entry, options.memory ?? memoryForSamples());
  const { samples, skipped } = await prepareAll(dataset, entry.preprocessing, { onProgress });
  const splitOf = new Map(dataset.records.map((record) => [record.id, record.split]));
  const of = (split: Split) => samples.filter(({ id }) => splitOf.get(id) === split);
  const train = of("train").filter(({ modality }) => PRETRAIN_MODALITIES.includes(modality));
  const data = { name, entry, dataset, train, gallery: of("gallery"), query: of("query"), skipped };
  if (!options.ceiling) return data;
  const unseen = await trainingMri(name, { catalog, cacheDir, seed, onProgress }, entry.preprocessing);
  return { ...data, train: [...train, ...unseen], ceiling: true };
}

/** Bytes of prepared samples in memory: 1,783 pictures of 224 × 224, or 55 volumes of 32 slices of it. */
const PART_BYTES = 2 ** 30;

/**
 * The evaluation samples of a data set, a part at a time, gallery first, then queries: sets that are too large for memory are
 * embedded so, and the train split, which is most of a set, is not read unless `train` asks for it (last, and without MRI).
 *
 * @yields at least one part, which may be empty
 */
export async function* evaluationParts(
  name: string,
  options: DataOptions & { readonly train?: boolean } = {},
  partBytes: number = PART_BYTES,
): AsyncGenerator<ExperimentData> {
  const { onProgress, seed, size, sliceAxis } = options;
  const listed = loadCatalog(options.catalogFile);
  const catalog = sliceAxis ? withSliceAxis(listed, name, sliceAxis) : listed;
  const dataset = await openDataset(name, {
    catalog,
    cacheDir: options.cacheDir ?? defaultCacheDir(),
    seed,
    onProgress,
  });
  const entry = size ? resized(dataset.entry, size) : dataset.entry;
  const none = { name, entry, dataset, train: [], gallery: [], query: [] };
  let parts = 0;
  for (const split of [...(["gallery", "query"] as const), ...(options.train ? (["train"] as const) : [])]) {
    const records = dataset.records.filter((record) => record.split === split && isJudged(record));
    for (let from = 0; from < records.length;) {
      let to = from;
      for (let bytes = 0; to < records.length && bytes < partBytes; to++) {
        bytes += 12 * sizeOf(entry.preprocessing.size[records[to].kind]);
      }
      const part = { ...dataset, records: records.slice(from, to), skipped: parts === 0 ? dataset.skipped : [] };
      const { samples, skipped } = await prepareAll(part, entry.preprocessing, { onProgress });
      parts++;
      yield { ...none, [split]: samples, skipped };
      from = to;
    }
  }
  if (parts === 0) yield { ...none, skipped: dataset.skipped };
}

/** Any held-out record, and those of the training split that pretraining may see. */
export const isJudged = ({ split, modality }: Pick<DataRecord, "split" | "modality">): boolean =>
  split !== "train" || PRETRAIN_MODALITIES.includes(modality);

/** MRI of the training side of a split, which nothing but a ceiling may see. */
async function trainingMri(name: string, options: OpenOptions, preprocessing: Preprocessing): Promise<Sample[]> {
  const dataset = await openDataset(name, { ...options, ceiling: true });
  const records = dataset.records.filter(({ split, modality }) => split === "train" && modality === UNSEEN_MODALITY);
  if (records.length === 0) {
    throw new InputError(`${name}: ${CEILING}: expected MRI on the training side of the split, found none`);
  }
  const only = { ...dataset, records };
  return (await prepareAll(only, preprocessing, { onProgress: options.onProgress })).samples;
}

const resized = (entry: Entry, size: NonNullable<DataOptions["size"]>): Entry => ({
  ...entry,
  preprocessing: { ...entry.preprocessing, size },
});

/** Of the memory that there is, the part that prepared samples may take: training, vectors and figures need the rest. */
const SHARE_OF_MEMORY = 0.75;

/** Bytes that samples may take here: of what the machine has, or of what a container leaves to this process. */
function memoryForSamples(): number {
  const constrained = process.constrainedMemory();
  return SHARE_OF_MEMORY * (constrained > 0 ? Math.min(constrained, totalmem()) : totalmem());
}

/**
 * Throws one line where the samples of a set, as three channels of 4 bytes, need more memory than they may take; before any is
 * read. It says how to go on: sets of files are trained on by what `m3ret manifest` lists, and judged a part at a time.
 */
function requireMemory(name: string, records: readonly DataRecord[], entry: Entry, limit: number): void {
  const { size } = entry.preprocessing;
  const bytes = records.reduce((sum, { kind }) => sum + 12 * sizeOf(size[kind]), 0);
  if (bytes <= limit) return;
  const gb = (n: number): string => (n / 1e9).toPrecision(3);
  const asFiles = entry.kind === "folder" || (entry.kind === "public" && entry.set.records !== undefined);
  const goOn = asFiles
    ? `m3ret manifest ${name} --out files.jsonl lists its files, m3ret pretrain --data ${name} --manifest files.jsonl reads them ` +
      `on the way, m3ret embed --data ${name} a part at a time; or --size D,H,W makes samples smaller`
    : "--size D,H,W makes them smaller";
  throw new InputError(
    `${name}: its ${records.length} samples need ${gb(bytes)} GB of memory, and ${gb(limit)} GB may be used for them; ${goOn}`,
  );
}

/** What of the training split a run sees, and how batches are drawn from it; all of it, one modality a batch, where absent. */
export interface TrainingSelection extends Pick<BatchPlan, "bucketing" | "mixture"> {
  /** Share of the training patients, in (0, 1]; a smaller share is part of every larger one of the same seed. */
  readonly dataFraction?: number;
  readonly modalities?: readonly Modality[];
}

/**
 * The training samples of a selection.
 *
 * @param seed of the draw of patients
 * @throws InputError where none are left, or MRI is among the modalities
 */
export function selectTraining(
  { train, name, ceiling }: Pick<ExperimentData, "train" | "name" | "ceiling">,
  { dataFraction = 1, modalities }: TrainingSelection,
  seed: number,
): readonly Sample[] {
  modalities?.forEach((modality) => assertPretrainable(modality, { ceiling }));
  const groups = [...new Set(train.map(({ group }) => group))].sort();
  const count = Math.max(1, Math.round(dataFraction * groups.length));
  const order = new Random(seed).fork("training patients").permutation(groups.length);
  const kept = new Set(Array.from(order.subarray(0, count), (i) => groups[i]));
  const chosen = train.filter(({ group, modality }) => kept.has(group) && (modalities?.includes(modality) ?? true));
  if (chosen.length === 0) {
    throw new InputError(
      `${name}: no training sample of ${modalities?.join(", ") ?? "any modality"} in ${count} patients`,
    );
  }
  return dataFraction === 1 && !modalities ? train : chosen;
}

export interface PretrainRun {
  readonly engine?: Engine;
  readonly folder: string;
  readonly seed: number;
  readonly resume?: boolean;
  readonly steps?: number;
  /** Steps between states on disk. */
  readonly saveEvery?: number;
  /** Steps after which the encoder is kept as it is then; none where absent. */
  readonly snapshots?: readonly number[];
  readonly selection?: TrainingSelection;
}

/** Pretrains one method of a preset into a folder; yields after every step, returns the encoder. */
export async function* pretrainMethod(
  method: Method,
  preset: Preset,
  data: ExperimentData,
  { engine, folder, seed, resume, steps = preset[method].steps, saveEvery, snapshots, selection }: PretrainRun,
): AsyncGenerator<TrainEvent, Encoder, void> {
  const objective = objectiveOf(method, preset, data.entry.preprocessing);
  const { batchSize } = preset[method];
  const { bucketing, mixture } = selection ?? {};
  const samples = selection ? selectTraining(data, selection, seed) : data.train;
  const base = { seed, data: data.name, samples: samples.length, training: preset[method] };
  const settings = selection ? { ...base, selection } : base;
  const random = new Random(seed).fork(method);
  const { ceiling } = data;
  const draw = { batchSize, bucketing, mixture, ceiling };
  const runsOn = engine ?? (await startEngine());
  const options = { engine: runsOn, folder, steps, random, settings, resume, saveEvery, snapshots, ...draw };
  const run = pretrain(objective, samples, options);
  const facts = (): RunFacts => ({
    ...{ method, seed, steps, batchSize },
    data: { name: data.name, title: data.entry.title, hash: dataHash(data), counts: countsOf(data) },
    config: {
      ...{ encoder: objective.encoder, training: preset[method], optimizer: objective.optimizer },
      ...{ views: objective.collate.spec, preprocessing: data.entry.preprocessing, selection, ceiling },
    },
  });
  return yield* recorded(run, folder, { facts, engine: () => runsOn.description });
}

/** The encoder before any training: the baseline that every trained one has to beat. */
export function untrainedEncoder(preset: Preset, seed: number): Encoder {
  return initEncoder(encoderOf(preset), new Random(seed).fork("untrained"));
}

/** A name, what it is compared as, and its vectors of gallery and query samples together. */
export interface NamedEmbeddings {
  readonly name: string;
  readonly role: Role;
  readonly pooling: Pooling | "none";
  readonly variant: Variant;
  readonly set: EmbeddingSet;
  /** Vectors of the training split, treated alike: a gallery of what pretraining saw. Absent where a set has none. */
  readonly train?: EmbeddingSet;
}

/** Gallery, then queries: the order of every set of embeddings. */
export const evaluationSamples = ({ gallery, query }: ExperimentData): Sample[] => [...gallery, ...query];

export function splitsOf({ gallery, query }: ExperimentData): Split[] {
  return [...gallery.map((): Split => "gallery"), ...query.map((): Split => "query")];
}

/**
 * One encoder's vectors of the evaluation samples, and the same whitened with what its training vectors teach. A data set
 * that is there to be judged on alone has no training vectors: then the plain ones are all there is.
 */
export function plainAndWhitened(
  named: Omit<NamedEmbeddings, "variant" | "train">,
  train: EmbeddingSet,
): NamedEmbeddings[] {
  const plain = { ...named, variant: "plain", ...(train.n > 0 ? { train } : {}) } as const;
  if (train.n < 2 || named.set.n === 0) return [plain];
  const how = fitWhitening(train);
  const whitened = { name: `${named.name}, whitened`, set: whiten(named.set, how), train: whiten(train, how) };
  return [plain, { ...named, ...whitened, variant: "whitened" }];
}

/**
 * What vectors must know of their data set to be judged right, wherever they travel: said where it is not what everyone would take
 * it for.
 */
export function factsOf(entry: Entry): Record<string, string> {
  const [test, sets] = [testSplits(entry), labelSetsOf(entry)];
  return {
    ...(test.length > 1 ? { testSplits: test.join() } : {}),
    ...(sets.length > 0 ? { labelSets: sets.join() } : {}),
  };
}

/** Raw pixels of the evaluation samples, plain and whitened. */
export function embedPixels(data: ExperimentData): NamedEmbeddings[] {
  const set = pixelEmbeddings(evaluationSamples(data), 32, splitsOf(data));
  const named = { name: "raw pixels", role: "pixels", pooling: "none" } as const;
  const meta = { ...set.meta, data: data.name, ...factsOf(data.entry) };
  return plainAndWhitened({ ...named, set: { ...set, meta } }, pixelEmbeddings(data.train, 32, "train"));
}

export interface EmbedEvaluationOptions {
  readonly engine?: Engine;
  readonly onProgress?: OnProgress;
  /**
   * The one reading that is wanted: what the others alone need, such as vectors of the training split, is not computed. Where nothing
   * can be whitened, the plain one comes instead.
   */
  readonly only?: Pick<NamedEmbeddings, "pooling" | "variant">;
}

/**
 * Both poolings of one encoder over the evaluation samples, gallery first, then queries; each plain and whitened.
 *
 * @throws InputError where an encoder that saw MRI is to have another role than "ceiling", or one that did not has this role
 */
export async function embedEvaluation(
  name: string,
  role: NamedEmbeddings["role"],
  encoder: Encoder,
  data: ExperimentData,
  { engine, onProgress, only }: EmbedEvaluationOptions = {},
): Promise<NamedEmbeddings[]> {
  if ((role === "ceiling") !== (encoder.ceiling ?? false)) {
    const said = encoder.ceiling ? `${CEILING}; expected the role "ceiling"` : "did not see MRI, so it is no ceiling";
    throw new InputError(`${name}: ${said}, got "${role}"`);
  }
  // What the others are whitened with holds no MRI, even beside a ceiling.
  const usual = encoder.ceiling ? data.train : data.train.filter(({ modality }) => modality !== UNSEEN_MODALITY);
  const trainSamples = only?.variant === "plain" ? [] : usual;
  const title = encoder.ceiling ? `${name} (${CEILING})` : name;
  const marks: Record<string, string> = encoder.ceiling ? { ceiling: CEILING } : {};
  const samples = evaluationSamples(data);
  const labelled: OnProgress | undefined = onProgress && ((p) => onProgress({ ...p, label: `embed, ${name}` }));
  const vectors = await embedVectors(encoder, [...samples, ...trainSamples], { engine, onProgress: labelled });
  const d = encoder.config.width;
  const poolings = (["cls", "mean"] as const).filter((pooling) => (only?.pooling ?? pooling) === pooling);
  const all = poolings.flatMap((pooling) => {
    const meta = { encoder: title, pooling, data: data.name, ...factsOf(data.entry), ...marks };
    const [evaluated, trained] = [0, samples.length].map((from) => vectors[pooling].subarray(from * d));
    const set = embeddingSet(evaluated.subarray(0, samples.length * d), samples, splitsOf(data), meta);
    const train = embeddingSet(trained, trainSamples, "train", meta);
    return plainAndWhitened({ name: `${title}, ${pooling === "cls" ? "CLS" : "mean"}`, role, pooling, set }, train);
  });
  return only === undefined ? all : all.filter(({ variant }) => variant === only.variant || all.length === 1);
}

/** An encoder's name as part of a file's: "MAE, CLS" becomes `mae-cls`. */
export function fileStem(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

/** `FOLDER/mae-cls.npz` for "MAE, CLS". */
export function embeddingsPath(folder: string, name: string): string {
  return join(folder, `${fileStem(name)}.npz`);
}

/** `FOLDER/train/mae-cls.npz`: its vectors of the training split. */
const trainPath = (folder: string, name: string): string => embeddingsPath(join(folder, "train"), name);

const INDEX = "index.json";

/** One file per encoder and pooling, and, last of all, which there are; returns the paths of the former. */
export function saveAll(folder: string, all: readonly NamedEmbeddings[], missing: readonly string[] = []): string[] {
  const paths = all.map(({ name, set, train }) => {
    const path = embeddingsPath(folder, name);
    saveEmbeddings(path, set);
    if (train) saveEmbeddings(trainPath(folder, name), train);
    return path;
  });
  const encoders = all.map(({ name, role, pooling, variant }) => ({ name, role, pooling, variant }));
  writeAtomic(join(folder, INDEX), JSON.stringify({ encoders, missing }, null, 1) + "\n");
  return paths;
}

/** Whether `saveAll` has finished in a folder. */
export function hasAll(folder: string): boolean {
  return existsSync(join(folder, INDEX));
}

/** What `saveAll` wrote, in its order. */
export function loadAll(folder: string): { embeddings: NamedEmbeddings[]; missing: readonly string[] } {
  type Index = { encoders: Omit<NamedEmbeddings, "set">[]; missing: string[] };
  const { encoders, missing } = JSON.parse(Buffer.from(readBytes(join(folder, INDEX))).toString("utf8")) as Index;
  return {
    embeddings: encoders.map((about) => {
      const [path, train] = [embeddingsPath(folder, about.name), trainPath(folder, about.name)];
      return { ...about, set: loadEmbeddings(path), ...(existsSync(train) ? { train: loadEmbeddings(train) } : {}) };
    }),
    missing,
  };
}
