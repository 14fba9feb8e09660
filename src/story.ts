/** The figures of the paper's story, drawn from a run and its judgement. */
import {
  barFigure,
  heatmapFigure,
  lossFigure,
  recallFigure,
  MAP_WARNING,
  trustSentence,
  umapFigure,
  umapRunsFigure,
  type Figure,
  type LossCurve,
  type LossLevel,
  type MapPoint,
} from "./analysis/figures.js";
import { LOSS_TERMS } from "./analysis/lossFigure.js";
import { drawGallery, galleryRows, type Gallery } from "./analysis/gallery.js";
import { mapViewer, nearestRows, thumbnailSheet } from "./analysis/mapViewer.js";
import { trustOf } from "./analysis/trustworthiness.js";
import { umap2d } from "./analysis/umap.js";
import { PRIMARY } from "./claims.js";
import { labelSetsOf } from "./datasets/catalog.js";
import { NATURAL } from "./encoder/natural.js";
import { takeRows, type EmbeddingSet } from "./embeddings.js";
import { fileStem, type ExperimentData, type NamedEmbeddings } from "./experiment.js";
import type { Answer, Judgement, ResultRow } from "./judge.js";
import { codingRateOf, presetOf, type Preset } from "./presets.js";
import { together } from "./progress.js";
import { Random } from "./random.js";
import { METHOD_NAMES, type ExperimentRun } from "./run.js";
import type { LogLine } from "./trainers/pretrain.js";
import type { Method } from "./trainers/objective.js";
import { expansionLimits, HEAD_OUT, shardSize } from "./trainers/simdino.js";
import { InputError, MODALITIES, UNSEEN_MODALITY, type Decoded, type OnProgress } from "./types.js";

/** What every figure says of itself. */
interface About {
  readonly dataSet: string;
  readonly seed: number;
}

const measured = (row: ResultRow, k: string) => ({ ...row.recallAtK[k], chance: row.chance[k] });

/** Queries of a figure: of its first encoder's rows, because all encoders answer the same ones. */
function queriesOf(rows: readonly ResultRow[]): number {
  return rows.filter((row) => row.encoder === rows[0].encoder).reduce((sum, row) => sum + row.n.query, 0);
}

/** Encoders that bars compare: both baselines and each method as it is judged. */
const SHOWN = [
  "raw pixels",
  "HOG",
  NATURAL.name,
  "untrained, mean",
  "untrained, mean, whitened",
  ...Object.values(PRIMARY),
];

/** And, where files of other projects' encoders are here, those as they come. */
const isShown = ({ encoder, role, variant }: Answer["rows"][number]): boolean =>
  SHOWN.includes(encoder) || (role === "pretrained" && variant === "plain");

export function recallByModality({ rows }: Answer, about: About): Figure {
  const shown = rows.filter(isShown);
  const bars = shown.map((row) => ({ encoder: row.encoder, modality: row.from, ...measured(row, "1") }));
  const options = { ...about, queries: queriesOf(rows), metric: "Recall@1", name: "recall-by-modality" };
  return recallFigure(bars, { ...options, title: "Retrieval within each modality" });
}

/** Query modality against gallery modality for one encoder, the diagonal included. */
export function crossModalHeatmap({ perModality, crossModal }: Judgement, encoder: string, about: About): Figure {
  const rows = [...perModality.rows, ...crossModal.rows].filter((row) => row.encoder === encoder);
  const cells = rows.map((row) => ({ query: row.from, gallery: row.to, ...measured(row, "1") }));
  const queries = queriesOf(perModality.rows);
  const name = `cross-modal-${fileStem(encoder)}`;
  return heatmapFigure(cells, { ...about, queries, metric: "Recall@1", name, title: `Across modalities: ${encoder}` });
}

export function mriTransfer({ rows }: Answer, about: About): Figure {
  const shown = rows.filter((row) => isShown(row) && row.to === UNSEEN_MODALITY);
  const bars = shown.map((row) => ({ encoder: row.encoder, ...measured(row, "1") }));
  const options = { ...about, queries: queriesOf(shown), metric: "Recall@1", name: "mri-transfer" };
  return barFigure(bars, { ...options, title: "Transfer to MRI, never seen in pretraining" });
}

/** At most `limit` rows, each as likely as the others, in their order. */
function spread(set: EmbeddingSet, limit: number, random: Random): EmbeddingSet {
  if (set.n <= limit) return set;
  const rows = Array.from(random.permutation(set.n).subarray(0, limit));
  return takeRows(
    set,
    rows.sort((a, b) => a - b),
  );
}

const MAP_NEIGHBOURS = 15;

/** The same rows of an encoder as maps from several seeds, and how far each can be trusted. */
export interface EmbeddingMap {
  readonly name: string;
  readonly shown: EmbeddingSet;
  /** One list of points a seed. */
  readonly runs: readonly (readonly MapPoint[])[];
  readonly trust: { readonly neighbours: number; readonly values: readonly number[] };
}

/** UMAPs of at most `points` rows from several seeds, with their trustworthiness. */
export function embeddingMap(
  { name, set }: NamedEmbeddings,
  options: {
    readonly about: About;
    readonly label: string;
    readonly points: number;
    readonly seeds?: number;
    readonly onProgress?: OnProgress;
  },
): EmbeddingMap {
  const { about, label, points, seeds = 3, onProgress } = options;
  const random = new Random(about.seed).fork(`umap ${name}`);
  const shown = spread(set, points, random.fork("points"));
  const neighbours = Math.min(MAP_NEIGHBOURS, Math.ceil(shown.n / 2) - 1);
  const chances = [random, ...Array.from({ length: seeds - 1 }, (_, i) => random.fork(`seed ${i + 2}`))];
  const maps = chances.map((chance, i) => {
    const onEpoch: OnProgress | undefined =
      onProgress &&
      (({ done, total, ...rest }) => onProgress({ ...rest, done: i * total + done, total: seeds * total, note: name }));
    return umap2d(shown.vectors, shown.n, shown.d, {
      ...{ neighbours: MAP_NEIGHBOURS, random: chance },
      onProgress: onEpoch,
    });
  });
  const runs = maps.map((places) =>
    Array.from({ length: shown.n }, (_, i) => ({
      x: places[2 * i],
      y: places[2 * i + 1],
      modality: shown.modalities[i],
      region: shown.labels[label]?.[i],
    })),
  );
  return {
    name,
    shown,
    runs,
    trust: { neighbours, values: maps.map(trustOf(shown, neighbours)) },
  };
}

/** The first map coloured by modality and by the label that modalities share, and all of them side by side. */
export function mapFigures({ name, runs, trust }: EmbeddingMap, about: About): Figure[] {
  const stem = `umap-${fileStem(name)}`;
  const options = { ...about, encoder: name, trust };
  return [
    umapFigure(runs[0], { ...options, colourBy: "modality", name: `${stem}-by-modality` }),
    umapFigure(runs[0], { ...options, colourBy: "region", name: `${stem}-by-region` }),
    umapRunsFigure(runs, { ...options, name: `${stem}-runs` }),
  ];
}

/**
 * The first map as a page of its own in which a point shows its picture (`mapViewer`).
 *
 * @param read a row's picture by its id, such as `pictureReader` gives
 */
export async function mapPage(
  { name, shown, runs, trust }: EmbeddingMap,
  about: About,
  { label, read }: { readonly label: string; readonly read: (id: string) => Promise<Decoded> },
): Promise<string> {
  const sheet = await thumbnailSheet(shown.ids.map((id) => () => read(id)));
  return mapViewer(runs[0], sheet, {
    ...about,
    encoder: name,
    label,
    caption: `UMAP (cosine); ${trustSentence(trust)}. ${MAP_WARNING}.`,
    neighbours: nearestRows(shown, 5),
  });
}

/** Loss terms against step; SimDINO's with the two ends that its expansion can reach. */
export function lossCurves(method: Method, log: readonly LogLine[], preset: Preset, about: About): Figure {
  const curves = LOSS_TERMS[method].map((term): LossCurve => ({
    ...term,
    steps: log.map(({ step }) => step + 1),
    values: log.map((line) => Number(line[term.term])),
  }));
  const levels = method === "mae" ? [] : expansionLevels(preset.simdino);
  const batch = preset[method].batchSize;
  return lossFigure(curves, { ...about, method: METHOD_NAMES[method], batch, name: `loss-${method}`, levels });
}

/** The two ends of the expansion term of a preset, to be drawn dashed. */
function expansionLevels(preset: Preset["simdino"]): LossLevel[] {
  const rate = codingRateOf(preset);
  const { ceiling, collapse } = expansionLimits(shardSize(preset.batchSize, rate), HEAD_OUT, rate);
  return [
    { term: "expansion", name: "ceiling", value: ceiling },
    { term: "expansion", name: "collapse", value: collapse },
  ];
}

/** A map of each method as it is judged. */
export function storyMaps(
  run: Pick<ExperimentRun, "preset" | "seed" | "embeddings"> & { readonly data: Pick<ExperimentData, "name"> },
  label: string,
  onProgress?: OnProgress,
): EmbeddingMap[] {
  const about = { dataSet: run.data.name, seed: run.seed };
  const points = presetOf(run.preset).umapPoints;
  const encoders = Object.values(PRIMARY);
  const bars = together("maps", Object.fromEntries(encoders.map((encoder) => [encoder, 1])), onProgress);
  return encoders.map((encoder) => {
    const named = run.embeddings.find(({ name }) => name === encoder)!;
    return embeddingMap(named, { about, label, points, onProgress: bars[encoder] });
  });
}

/** All figures of a run, in the order of the story. */
export function storyFigures(run: ExperimentRun, judgement: Judgement, maps: readonly EmbeddingMap[]): Figure[] {
  const about = { dataSet: run.data.name, seed: run.seed };
  const preset = presetOf(run.preset);
  const figures = [
    lossCurves("mae", run.logs.mae, preset, about),
    lossCurves("simdino", run.logs.simdino, preset, about),
    recallByModality(judgement.perModality, about),
  ];
  for (const encoder of Object.values(PRIMARY)) {
    if (judgement.crossModal.rows.length > 0) figures.push(crossModalHeatmap(judgement, encoder, about));
    figures.push(...maps.filter(({ name }) => name === encoder).flatMap((map) => mapFigures(map, about)));
  }
  if (judgement.mri.rows.some((row) => row.to === UNSEEN_MODALITY)) figures.push(mriTransfer(judgement.mri, about));
  return figures;
}

/** What a data set's pictures are read by: the id of a row of its embeddings. */
export function pictureReader({ dataset }: Pick<ExperimentData, "dataset">): (id: string) => Promise<Decoded> {
  const records = new Map(dataset.records.map((record) => [record.id, record]));
  return (id) => {
    const record = records.get(id);
    if (!record) throw new InputError(`${dataset.name}: no record has the id ${id}`);
    return dataset.read(record);
  };
}

/**
 * Retrieval as pictures for each method as it is judged: first queries, most confident misses, and from every modality into
 * CT. A rule that no query follows gives no gallery.
 */
export async function storyGalleries(run: Pick<ExperimentRun, "data" | "seed" | "embeddings">) {
  const { data, seed, embeddings } = run;
  const { retrievalLabel, crossModalLabel = retrievalLabel } = data.entry;
  const kinds = [
    { stem: "first", label: retrievalLabel, rule: "first" },
    { stem: "misses", label: retrievalLabel, rule: "confident misses" },
    { stem: "into-ct", label: crossModalLabel, rule: "first", to: "ct" },
  ] as const;
  const drawn: (Gallery & { readonly name: string })[] = [];
  for (const encoder of Object.values(PRIMARY)) {
    const { set } = embeddings.find(({ name }) => name === encoder)!;
    for (const { stem, ...options } of kinds) {
      const modalities = MODALITIES.filter((m) => !("to" in options) || m !== options.to);
      const labelSets = labelSetsOf(data.entry).includes(options.label);
      const rows = galleryRows(set, { ...options, modalities, labelSets });
      if (rows.length === 0) continue;
      const about = { ...options, labelSets, encoder, dataSet: data.name, seed };
      drawn.push({
        ...(await drawGallery(rows, pictureReader(data), about)),
        name: `gallery-${fileStem(encoder)}-${stem}`,
      });
    }
  }
  return drawn;
}
