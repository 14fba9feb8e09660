/** What grew when: the encoders that a run kept on the way, embedded and measured. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { measureAlignment, type Measure } from "./analysis/alignmentMeasures.js";
import { curveFigure, type CurveLevel, type CurvePoint } from "./analysis/curveFigure.js";
import type { Figure } from "./analysis/figures.js";
import { PRIMARY } from "./claims.js";
import { loadEmbeddings, saveEmbeddings, selectRows, type EmbeddingSet } from "./embeddings.js";
import type { Engine } from "./engine/engine.js";
import { embedEvaluation, type ExperimentData, type NamedEmbeddings } from "./experiment.js";
import { METHOD_NAMES, METHODS } from "./presets.js";
import { Random } from "./random.js";
import { bootstrapMean, exactAtEnds, type Interval } from "./retrieval/bootstrap.js";
import { labelColumn } from "./retrieval/protocol.js";
import { exactSearch } from "./retrieval/search.js";
import type { Method } from "./trainers/objective.js";
import { listSnapshots } from "./trainers/snapshots.js";
import { InputError, PRETRAIN_MODALITIES, UNSEEN_MODALITY, type Modality, type OnProgress } from "./types.js";

/** Evaluation vectors of one method after some steps, made as the method is judged (`PRIMARY`). */
export interface GrowthPoint {
  readonly method: Method;
  /** Steps done. */
  readonly step: number;
  readonly set: EmbeddingSet;
}

const FOLDER = "growth";

/**
 * Embeds what the runs in FOLDER/mae and FOLDER/simdino kept on the way into FOLDER/growth, in the readings by which the trained ones are
 * judged; what is there already stays.
 */
export async function embedGrowth(
  folder: string,
  data: ExperimentData,
  trained: readonly NamedEmbeddings[],
  { engine, onProgress }: { readonly engine?: Engine; readonly onProgress?: OnProgress } = {},
): Promise<void> {
  const kept = METHODS.flatMap(
    (method) =>
      listSnapshots(join(folder, method))
        .slice(0, -1)
        .map((snapshot) => ({ method, ...snapshot })), // the last is the trained one
  );
  for (const [i, { method, step, load }] of kept.entries()) {
    const path = join(folder, FOLDER, `${method}-${String(step).padStart(7, "0")}.npz`);
    if (!existsSync(path)) {
      const name = METHOD_NAMES[method];
      const only = trained.find((one) => one.name === PRIMARY[name]);
      const [{ set }] = await embedEvaluation(name, "trained", load(), data, { engine, only });
      saveEmbeddings(path, { ...set, meta: { ...set.meta, step } });
    }
    onProgress?.({ label: "embed what was kept on the way", done: i + 1, total: kept.length });
  }
}

/**
 * The growth of a finished run in a folder, step by step, the trained encoders last. A run that kept no encoders on the way has
 * the trained ones alone.
 */
export function loadGrowth(folder: string, embeddings: readonly NamedEmbeddings[]): GrowthPoint[] {
  const at = join(folder, FOLDER);
  const files = existsSync(at)
    ? readdirSync(at)
        .filter((name) => name.endsWith(".npz"))
        .sort()
    : [];
  return METHODS.flatMap((method) => {
    const own = files.filter((name) => name.startsWith(`${method}-`));
    const kept = own.map((name): GrowthPoint => {
      const set = loadEmbeddings(join(at, name));
      return { method, step: Number(set.meta.step), set };
    });
    const trained = embeddings.find(({ name }) => name === PRIMARY[METHOD_NAMES[method]]);
    const end = listSnapshots(join(folder, method)).at(-1);
    return trained && end ? [...kept, { method, step: end.step, set: trained.set }] : kept;
  });
}

export interface GrowthOptions {
  /** For retrieval within a modality. */
  readonly label: string;
  /** For retrieval across modalities. */
  readonly crossModalLabel: string;
  readonly dataSet: string;
  readonly seed: number;
  readonly rounds?: number;
}

interface Reading extends Interval {
  readonly panel: string;
  /** Null where there is no chance level. */
  readonly chance: number | null;
  readonly n: number;
}

type Direction = readonly [from: Modality, to: Modality];

/** Mean Recall@1 over the queries of several directions, and what chance gives; null where none can be asked. */
function recallAt1(
  set: EmbeddingSet,
  directions: readonly Direction[],
  label: string,
  panel: string,
  options: GrowthOptions,
): Reading | null {
  const hits: number[] = [];
  const groups: string[] = [];
  let chance = 0;
  for (const [from, to] of directions) {
    const gallery = selectRows(set, (i) => set.modalities[i] === to && set.splits[i] === "gallery");
    const asking = selectRows(set, (i) => set.modalities[i] === from && set.splits[i] === "query");
    if (gallery.n === 0 || asking.n === 0) continue;
    const answers = labelColumn(gallery, label, "gallery");
    const wants = labelColumn(asking, label, "queries");
    const queries = selectRows(asking, (i) => wants[i] !== "" && answers.includes(wants[i]));
    if (queries.n === 0) continue;
    const asked = labelColumn(queries, label, "queries");
    exactSearch(queries, gallery, 1).indices.forEach((winner, q) => {
      hits.push(answers[winner] === asked[q] ? 1 : 0);
      groups.push(queries.groups[q]);
      chance += answers.filter((answer) => answer === asked[q]).length / gallery.n;
    });
  }
  if (hits.length === 0) return null;
  const random = new Random(options.seed).fork("growth");
  const mean = bootstrapMean(hits, groups, { random, rounds: options.rounds ?? 1000 });
  const interval = exactAtEnds(mean, new Set(groups).size, 0.95);
  return { panel, chance: chance / hits.length, n: hits.length, ...interval };
}

const ALIGNED: readonly [Modality, Modality] = ["xray", "ct"];

/** Retrieval within, across and in MRI, and how X-ray and CT lie to each other: one reading for each panel of the figure. */
export function growthReadings(set: EmbeddingSet, options: GrowthOptions): Reading[] {
  const { label, crossModalLabel, seed } = options;
  const seen = PRETRAIN_MODALITIES.filter((modality) => set.modalities.includes(modality));
  const within = seen.map((m): Direction => [m, m]);
  const across = seen.flatMap((from) => seen.filter((to) => to !== from).map((to): Direction => [from, to]));
  const recalls = [
    recallAt1(set, within, label, "Recall@1<br>within", options),
    recallAt1(set, across, crossModalLabel, "Recall@1<br>across", options),
    recallAt1(set, [[UNSEEN_MODALITY, UNSEEN_MODALITY]], label, "Recall@1<br>in MRI", options),
  ];
  const panels: Partial<Record<Measure, string>> = {
    "debiased CKA": "debiased CKA<br>X-ray, CT",
    gap: "gap<br>X-ray, CT",
  };
  const measures = Object.keys(panels) as Measure[];
  const possible = ALIGNED.every((modality) => set.modalities.includes(modality));
  const aligned = possible
    ? measureAlignment(set, ...ALIGNED, { label: crossModalLabel, seed, rounds: 19, measures }).map(
        ({ measure, value, low, high, n }): Reading => {
          return { panel: panels[measure]!, value, low, high, n, chance: measure === "gap" ? null : 0 };
        },
      )
    : [];
  return [...recalls.flatMap((one) => one ?? []), ...aligned];
}

/**
 * One figure for a method: every reading against the training step, beside chance and the untrained encoder that is judged the
 * same way. Steps stand side by side, because they double.
 *
 * @param untrained the untrained encoder of the same pooling and whitening
 * @throws InputError where the run kept fewer than two encoders of the method
 */
export function growthFigure(
  growth: readonly GrowthPoint[],
  method: Method,
  untrained: NamedEmbeddings,
  options: GrowthOptions,
): Figure {
  const own = growth.filter((point) => point.method === method);
  const name = METHOD_NAMES[method];
  if (own.length < 2) {
    throw new InputError(
      `growth of ${name}: the run kept ${own.length} of its encoders; m3ret reproduce keeps six of each method`,
    );
  }
  const points = own.flatMap(({ step, set }) =>
    growthReadings(set, options).map((reading): CurvePoint => ({ encoder: PRIMARY[name], x: step, ...reading })),
  );
  const before = growthReadings(untrained.set, options);
  const levels = before.flatMap(({ panel, value, chance }): CurveLevel[] => [
    ...(chance === null ? [] : [{ panel, name: "chance", value: chance }]),
    { panel, name: untrained.name, value },
  ]);
  const sizes = before.map(({ panel, n }) => `${panel.replace("<br>", " ")} ${n}`).join(", ");
  return curveFigure(points, {
    name: `growth-${method}`,
    title: `Growth over training: ${PRIMARY[name]}`,
    caption: `Retrieval and alignment of ${PRIMARY[name]} after each number of steps; Recall@1 as a fraction of queries, the rest without unit; n: ${sizes}`,
    xTitle: "Training step",
    spacing: "even",
    levels,
    dataSet: options.dataSet,
    seed: options.seed,
  });
}
