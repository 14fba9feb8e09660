/** The figures of the paper's story, drawn from a run and its judgement. */
import {
  barFigure,
  heatmapFigure,
  lossFigure,
  recallFigure,
  umapFigure,
  type Figure,
  type LossCurve,
  type LossLevel,
} from "./analysis/figures.js";
import { drawGallery, galleryRows, type Gallery } from "./analysis/gallery.js";
import { umap2d } from "./analysis/umap.js";
import { PRIMARY } from "./claims.js";
import { NATURAL } from "./encoder/natural.js";
import { takeRows, type EmbeddingSet } from "./embeddings.js";
import { fileStem, type ExperimentData, type NamedEmbeddings } from "./experiment.js";
import type { Answer, Judgement, ResultRow } from "./judge.js";
import { codingRateOf, presetOf, type Preset } from "./presets.js";
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

export function recallByModality({ rows }: Answer, about: About): Figure {
  const shown = rows.filter((row) => SHOWN.includes(row.encoder));
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
  const shown = rows.filter((row) => SHOWN.includes(row.encoder) && row.to === UNSEEN_MODALITY);
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

/** One UMAP of all modalities, coloured twice: by modality and by the label that modalities share. */
export function crossModalMaps(
  { name, set }: NamedEmbeddings,
  { about, label, points, onProgress }: { about: About; label: string; points: number; onProgress?: OnProgress },
): Figure[] {
  const random = new Random(about.seed).fork(`umap ${name}`);
  const shown = spread(set, points, random.fork("points"));
  const places = umap2d(shown.vectors, shown.n, shown.d, { neighbours: 15, epochs: 200, random, onProgress });
  const dots = Array.from({ length: shown.n }, (_, i) => ({
    x: places[2 * i],
    y: places[2 * i + 1],
    modality: shown.modalities[i],
    region: shown.labels[label]?.[i],
  }));
  const stem = `umap-${fileStem(name)}`;
  const options = { ...about, encoder: name };
  return [
    umapFigure(dots, { ...options, colourBy: "modality", name: `${stem}-by-modality` }),
    umapFigure(dots, { ...options, colourBy: "region", name: `${stem}-by-region` }),
  ];
}

/** Loss terms against step; SimDINO's with the two ends that its expansion can reach. */
export function lossCurves(method: Method, log: readonly LogLine[], preset: Preset, about: About): Figure {
  const terms = method === "mae" ? ["loss"] : ["agreement", "expansion"];
  const curves = terms.map((term): LossCurve => ({
    term,
    steps: log.map(({ step }) => step + 1),
    values: log.map((line) => Number(line[term])),
  }));
  const levels = method === "mae" ? [] : expansionLevels(preset.simdino);
  return lossFigure(curves, { ...about, method: METHOD_NAMES[method], name: `loss-${method}`, levels });
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

/** All figures of a run, in the order of the story. */
export function storyFigures(
  run: ExperimentRun,
  judgement: Judgement,
  label: string,
  onProgress?: OnProgress,
): Figure[] {
  const about = { dataSet: run.data.name, seed: run.seed };
  const preset = presetOf(run.preset);
  const figures = [
    lossCurves("mae", run.logs.mae, preset, about),
    lossCurves("simdino", run.logs.simdino, preset, about),
    recallByModality(judgement.perModality, about),
  ];
  for (const encoder of Object.values(PRIMARY)) {
    if (judgement.crossModal.rows.length > 0) figures.push(crossModalHeatmap(judgement, encoder, about));
    const named = run.embeddings.find(({ name }) => name === encoder)!;
    figures.push(...crossModalMaps(named, { about, label, points: preset.umapPoints, onProgress }));
  }
  if (judgement.mri.rows.some((row) => row.to === UNSEEN_MODALITY)) figures.push(mriTransfer(judgement.mri, about));
  return figures;
}

/** What a data set's pictures are read by: the id of a row of its embeddings. */
export function pictureReader({ dataset }: ExperimentData): (id: string) => Promise<Decoded> {
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
      const rows = galleryRows(set, { ...options, modalities });
      if (rows.length === 0) continue;
      const about = { ...options, encoder, dataSet: data.name, seed };
      drawn.push({
        ...(await drawGallery(rows, pictureReader(data), about)),
        name: `gallery-${fileStem(encoder)}-${stem}`,
      });
    }
  }
  return drawn;
}
