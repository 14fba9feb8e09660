/** Pretraining from files that are read on the way: a recipe and its manifests, or one public set. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadCatalog, type Catalog, type Preprocessing } from "./datasets/catalog.js";
import type { SkippedFile } from "./datasets/dataset.js";
import { openManifest, writeManifest, type Manifest, type ManifestRow } from "./datasets/manifest.js";
import { manifestRows, SPLIT_SEED, writeQuarantine } from "./datasets/manifestRows.js";
import type { Shares } from "./datasets/mixture.js";
import { entryFor, openDataset } from "./datasets/open.js";
import { publicFolderOf } from "./datasets/publicDataset.js";
import { publicFolder } from "./datasets/publicSets.js";
import { loadRecipe } from "./datasets/recipe.js";
import type { Encoder } from "./encoder/vit.js";
import { startEngine } from "./engine/engine.js";
import { defaultCacheDir, type DataOptions, type PretrainRun } from "./experiment.js";
import { objectiveOf, type Preset } from "./presets.js";
import { Random } from "./random.js";
import type { Counts } from "./record.js";
import { recorded, type RunFacts } from "./runRecord.js";
import type { TrainEvent } from "./trainers/loop.js";
import type { Method } from "./trainers/objective.js";
import { pretrain } from "./trainers/pretrain.js";
import { openQuarantine, type QuarantineLine } from "./trainers/quarantine.js";
import { streamFeed, type StreamFeed } from "./trainers/stream.js";
import { InputError, MODALITIES, SPLITS, type Modality, type Split } from "./types.js";

/** What a run reads: rows, how they are mixed, and how each set is prepared. */
export interface StreamSource {
  /** The recipe's title, or the name of a set. */
  readonly name: string;
  readonly manifest: Manifest;
  readonly shares?: Shares;
  readonly recipeSeed: number;
  readonly preprocessing: Readonly<Record<string, Preprocessing>>;
  /** Sets of the recipe that are not on this machine. */
  readonly absent: readonly string[];
}

export interface StreamSourceOptions extends DataOptions {
  /** What `m3ret manifest` wrote; where left out, the sets that are on this machine are listed now. */
  readonly manifests?: readonly string[];
}

const isRecipe = (data: string): boolean => /\.ya?ml$/i.test(data);

/**
 * Whether a run on it reads files on the way: a recipe, a public set of the catalogue, or a folder whose files are listed in
 * manifests; without those a folder is read whole.
 */
export function isStreamed(data: string, catalog: Catalog, manifests: readonly string[] = []): boolean {
  if (isRecipe(data)) return true;
  // A MedMNIST set has no rules for files: it is one file.
  if (Object.hasOwn(catalog.public, data)) return catalog.public[data].records !== undefined;
  return manifests.length > 0 && entryFor(catalog, data).kind === "folder";
}

/**
 * Opens a recipe (a name that ends in .yaml), a public set by its name, or a folder. Close its manifest in the end.
 *
 * @throws InputError of one line where a manifest's set is not in the catalogue, or nothing of a recipe is here
 */
export async function openStream(data: string, options: StreamSourceOptions = {}): Promise<StreamSource> {
  const catalog = loadCatalog(options.catalogFile);
  const recipe = isRecipe(data) ? loadRecipe(data, catalog) : null;
  const wanted = recipe?.sets ?? [data];
  const given = options.manifests;
  const here = given ? wanted : wanted.filter((set) => catalog.public[set] && existsSync(publicFolder(set)));
  if (recipe !== null && here.length === 0) {
    throw new InputError(
      `${data}: none of its sets is here: ${wanted.join(", ")}; looked in ${publicFolder("NAME")}; name files with --manifest`,
    );
  }
  const files: string[] = [...(given ?? [])];
  if (given === undefined) {
    for (const set of recipe === null ? wanted : here) files.push(await listed(set, catalog, options));
  }
  const manifest = openManifest(...files);
  try {
    const preprocessing = Object.fromEntries(
      manifest.sets.map((set) => {
        const entry =
          catalog.public[set] ?? catalog.datasets[set] ?? (set === data ? entryFor(catalog, set) : undefined);
        if (entry === undefined) {
          throw new InputError(`${files.join(", ")}: nothing says how to prepare ${set}: it is not in ${catalog.file}`);
        }
        const size = options.size ?? recipe?.size ?? entry.preprocessing.size;
        return [set, { ...entry.preprocessing, size }];
      }),
    );
    return {
      ...{ name: recipe?.title ?? data, manifest, shares: recipe?.shares, recipeSeed: recipe?.seed ?? 7 },
      ...{ preprocessing, absent: given ? [] : wanted.filter((set) => !here.includes(set)) },
    };
  } catch (error) {
    manifest.close();
    throw error;
  }
}

/** The files of a set that may become rows, and those that may not. */
export interface ListedFiles {
  readonly rows: readonly ManifestRow[];
  readonly root: string;
  readonly preprocessing: Preprocessing;
  readonly left: SkippedFile[];
}

/**
 * Lists the files of a public set, of an entry of kind `folder`, or of a folder with a `labels.csv`; nothing is decoded.
 *
 * @param folder instead of the one where the set is looked for
 * @throws InputError of one line where the name or its folder is not there, or its samples are no files
 */
export async function listFiles(
  name: string,
  catalog: Catalog,
  { folder, cacheDir = defaultCacheDir(), seed, onProgress }: DataOptions & { readonly folder?: string } = {},
): Promise<ListedFiles> {
  const entry = entryFor(catalog, name);
  const { preprocessing } = entry;
  const left: SkippedFile[] = [];
  if (entry.kind === "public") {
    const root = publicFolderOf(name, entry.set, folder);
    const rows = manifestRows(name, entry.set, root, (one) => left.push(one), { seed, onProgress });
    return { rows, root, preprocessing, left };
  }
  if (entry.kind !== "folder") {
    throw new InputError(`${name}: expected a public set or a folder, got one of kind ${entry.kind}`);
  }
  const { root, records, skipped } = await openDataset(name, { catalog, cacheDir, seed, root: folder, onProgress });
  const rows = records.map(({ id, modality, kind, split, group, labels }) => {
    return { modality, kind, split, path: id, group: `${name}/${group}`, labels };
  });
  return { rows, root: root!, preprocessing, left: [...skipped] };
}

/** Lists a set into the cache. */
async function listed(name: string, catalog: Catalog, options: DataOptions): Promise<string> {
  const { cacheDir = defaultCacheDir(), seed = SPLIT_SEED } = options;
  const file = join(cacheDir, "manifests", `${name}-s${seed}.jsonl`);
  const { rows, root, left } = await listFiles(name, catalog, { ...options, seed });
  writeManifest(file, name, root, rows, seed);
  writeQuarantine(`${file}.quarantine.jsonl`, root, left);
  return file;
}

export interface StreamRun extends PretrainRun {
  /** Keep prepared samples on disk, below this folder. */
  readonly prepared?: string;
}

export interface StreamedRun {
  readonly feed: StreamFeed;
  /** Files that could not be read; they are in quarantine.jsonl of the run's folder. */
  readonly unread: readonly QuarantineLine[];
  /** As `pretrainMethod`. */
  run(): AsyncGenerator<TrainEvent, Encoder, void>;
}

/** Pretrains one method of a preset on a stream, into a folder. A stopped run goes on exactly, in the middle of an epoch too. */
export function pretrainStream(method: Method, preset: Preset, source: StreamSource, options: StreamRun): StreamedRun {
  const { engine, folder, seed, resume, steps = preset[method].steps, saveEvery } = options;
  const { batchSize } = preset[method];
  const { manifest, shares, recipeSeed, preprocessing } = source;
  // A folder that holds a run is not touched before the trainer has said whether it goes on.
  const quarantine = openQuarantine(folder, existsSync(join(folder, "state.safetensors")));
  const feed = streamFeed(manifest, {
    ...{ batchSize, preprocessing, shares, prepared: options.prepared, onUnread: quarantine.add },
    seed: `${recipeSeed}/${seed}`,
  });
  const objective = objectiveOf(method, preset, feed);
  const { size, leftOut } = feed;
  const settings = {
    ...{ seed, data: source.name, splitSeed: manifest.splitSeed, sets: manifest.sets, shares, recipeSeed },
    ...{ manifest: manifest.digest, rows: manifest.length, size, preprocessing, training: preset[method] },
  };
  const random = new Random(seed).fork(method);
  const facts = (): RunFacts => ({
    ...{ method, seed, steps, batchSize },
    data: { name: source.name, title: source.name, hash: manifest.digest, counts: countsOfRows(manifest) },
    config: {
      ...{ encoder: objective.encoder, training: preset[method], optimizer: objective.optimizer },
      ...{ views: objective.collate.spec, preprocessing, size, shares, recipeSeed, splitSeed: manifest.splitSeed },
      ...{ sets: manifest.sets, absent: source.absent, rows: manifest.length, leftOut },
    },
  });
  async function* run(): AsyncGenerator<TrainEvent, Encoder, void> {
    const runsOn = engine ?? (await startEngine());
    const training = pretrain(objective, feed, {
      ...{ engine: runsOn, folder, steps, batchSize, random, settings, resume, saveEvery },
    });
    return yield* recorded(training, folder, { facts, engine: () => runsOn.description });
  }
  return { feed, unread: quarantine.files, run };
}

/** Rows of each modality in each split, those that are left out of training too. */
export function countsOfRows({ modalityOf, splitOf }: Pick<Manifest, "modalityOf" | "splitOf">): Counts {
  const counts = Object.fromEntries(
    MODALITIES.map((modality) => [modality, Object.fromEntries(SPLITS.map((split) => [split, 0]))]),
  ) as Record<Modality, Record<Split, number>>;
  for (let i = 0; i < modalityOf.length; i++) counts[MODALITIES[modalityOf[i]]][SPLITS[splitOf[i]]]++;
  return counts;
}
