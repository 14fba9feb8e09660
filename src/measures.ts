/** What is measured of a run beside retrieval: the alignment of modalities, and what frozen features know of MRI. */
import { modalityPairs, type MeasureOptions } from "./analysis/alignmentMeasures.js";
import { alignmentRows, alignmentTable, nullTable, type AlignmentRow } from "./analysis/alignmentTable.js";
import { curveFigure } from "./analysis/curveFigure.js";
import { barFigure, type Figure } from "./analysis/figures.js";
import { MODALITY_LOOKS } from "./analysis/palette.js";
import { compareScores, remarkOn, type Comparison, type Rivals, type Scores } from "./analysis/comparisons.js";
import { probeRows, whyNoProbe, type ProbeOptions, type ProbeOutcomes } from "./analysis/probe.js";
import { probeTable, TESTED_COLUMNS, type ProbeResult } from "./analysis/probeTable.js";
import type { Role, Table } from "./analysis/tables.js";
import { PRIMARY } from "./claims.js";
import type { ExperimentData, NamedEmbeddings } from "./experiment.js";
import { growthFigure, loadGrowth } from "./growth.js";
import { assertCeilingSaysSo, twinName } from "./judge.js";
import { METHOD_NAMES, METHODS } from "./presets.js";
import { together } from "./progress.js";
import { Random } from "./random.js";
import type { ExperimentRun } from "./run.js";
import { InputError, PRETRAIN_MODALITIES, type Modality, type OnProgress } from "./types.js";

/** Baselines of every kind and each method as it is judged: what measures that take seconds an encoder are taken of. */
export function contestants(embeddings: readonly NamedEmbeddings[]): NamedEmbeddings[] {
  const primary = Object.values(PRIMARY);
  return embeddings.filter(({ name, role }) => role !== "trained" || primary.includes(name));
}

/** Alignment of X-ray and CT, or of the first two seen modalities where a data set lacks one; none where there are not two. */
export function alignmentOf(
  embeddings: readonly NamedEmbeddings[],
  options: MeasureOptions & { readonly pair?: readonly [Modality, Modality]; readonly onProgress?: OnProgress },
): AlignmentRow[] {
  embeddings.forEach(assertCeilingSaysSo);
  const all = modalityPairs(embeddings[0].set, PRETRAIN_MODALITIES);
  const pair = options.pair ?? all.find(([from, to]) => from === "xray" && to === "ct") ?? all[0];
  if (!pair) return [];
  return embeddings.flatMap((one, i) => {
    const rows = alignmentRows([one], pair, options);
    options.onProgress?.({ label: "alignment", done: i + 1, total: embeddings.length, note: one.name });
    return rows;
  });
}

/** Probes of MRI for every encoder; an empty list where they cannot be asked (`whyNoProbe` says why). */
export function probesOf(
  embeddings: readonly NamedEmbeddings[],
  options: ProbeOptions & { readonly onProgress?: OnProgress },
): ProbeResult[] {
  embeddings.forEach(assertCeilingSaysSo);
  if (whyNoProbe(embeddings[0].set, options) !== null) return [];
  return embeddings.map(({ name, role, variant, set }, i) => {
    const { report, outcomes } = probeRows(set, options);
    options.onProgress?.({ label: "probes", done: i + 1, total: embeddings.length, note: name });
    return { name, role, variant, report, outcomes };
  });
}

/** Paired tests of probes: those of the table, and those of the few-shot curve, each corrected among themselves. */
export interface ProbeComparisons {
  readonly table: readonly Comparison[];
  readonly fewShot: readonly Comparison[];
}

/**
 * Tests every trained encoder's balanced accuracy against its untrained twin's and that of raw pixels of its variant, as tables
 * of retrieval do (`pairedTest`): by query patients, Holm over all comparisons of the table, and of the few-shot curve, with the
 * same kind of baseline. What taught the probe is taken as given: p speaks of other patients asking.
 *
 * Balanced accuracy is the mean over rows of n / (classes · rows of the class) where the class is right, so that it is tested row
 * by row like Recall@K. AUROC is no such mean: it is not tested.
 */
export function compareProbes(
  results: readonly ProbeResult[],
  { seed, rounds }: { readonly seed: number; readonly rounds: number },
): ProbeComparisons {
  const random = new Random(seed).fork("probes, paired");
  const pairs = results.flatMap((one) => {
    if (one.role !== "trained") return [];
    const twin = results.find(({ role, name }) => role === "untrained" && name === twinName(one.name));
    const pixels = results.find(({ role, variant }) => role === "pixels" && variant === one.variant);
    return [
      ...(twin ? [{ one, other: twin, baseline: "untrained" as const }] : []),
      ...(pixels ? [{ one, other: pixels, baseline: "pixels" as const }] : []),
    ];
  });
  const test = (columns: readonly (readonly [string, (of: ProbeOutcomes) => Float64Array])[]): Comparison[] => {
    const rivals = columns.flatMap(([column, read]) =>
      pairs.map(({ one, other, baseline }): Rivals<Scores> => {
        const scores = ({ name, outcomes }: ProbeResult): Scores => {
          if (!outcomes)
            throw new InputError(`${name}: expected what each row of its probe scored, got the report alone`);
          return { rows: outcomes.rows, groups: outcomes.groups, values: read(outcomes) };
        };
        const about = { encoder: one.name, against: other.name, baseline, column };
        return { ...about, ours: scores(one), theirs: scores(other) };
      }),
    );
    return compareScores(rivals, { metric: "balancedAccuracy", random, rounds });
  };
  const shots = results[0]?.report.fewShot ?? [];
  return {
    table: test([
      [TESTED_COLUMNS.linear, ({ linear }) => linear],
      [TESTED_COLUMNS.knn, ({ knn }) => knn],
    ]),
    fewShot: test(
      shots.map(({ shots: n }, i) => [`${n} shot${n === 1 ? "" : "s"}`, ({ fewShot }) => fewShot[i].values]),
    ),
  };
}

/** What a run is measured by beside its judgement, for its tables, figures and results. */
export interface Measured {
  readonly alignment: readonly AlignmentRow[];
  readonly probes: readonly ProbeResult[];
  readonly probeComparisons: ProbeComparisons;
  readonly tables: readonly Table[];
  readonly figures: readonly Figure[];
}

/** Alignment, probes of MRI and growth of a finished run; what its data cannot be asked is left out. */
export function measureRun(
  {
    data,
    seed,
    folder,
    embeddings,
  }: Pick<ExperimentRun, "seed" | "folder" | "embeddings"> & { readonly data: Pick<ExperimentData, "name"> },
  labels: { readonly label: string; readonly crossModalLabel: string },
  bootstrapRounds: number,
  onProgress?: OnProgress,
): Measured {
  const about = { dataSet: data.name, seed };
  const shown = contestants(embeddings);
  // Seconds that each took on one core, preset default.
  const bars = together("measure", { alignment: 9, probes: 5, growth: 3 }, onProgress);
  const alignment = alignmentOf(shown, {
    ...{ label: labels.crossModalLabel, seed, bootstrapRounds },
    onProgress: bars.alignment,
  });
  const probes = probesOf(shown, { label: labels.label, seed, bootstrapRounds, onProgress: bars.probes });
  const tested = compareProbes(probes, { seed, rounds: bootstrapRounds });
  const told = { data: data.name, seed };
  const nulls = { ...told, label: labels.crossModalLabel };
  const growth = loadGrowth(folder, embeddings);
  const grown = METHODS.filter((method) => growth.filter((point) => point.method === method).length > 1);
  const paired = alignment.some(({ measure }) => measure === "debiased CKA");
  return {
    alignment,
    probes: probes.map(({ name, role, variant, report }) => ({ name, role, variant, report })),
    probeComparisons: tested,
    tables: [
      ...(alignment.length > 0 ? [alignmentTable(alignment, nulls), nullTable(alignment, nulls)] : []),
      ...(probes.length > 0 ? [probeTable(probes, { ...told, comparisons: tested.table })] : []),
    ],
    figures: [
      ...(paired ? [alignmentFigure(alignment, "debiased CKA", about)] : []),
      ...grown.map((method, i) => {
        bars.growth({ label: "growth", done: i, total: grown.length });
        const options = { ...about, ...labels, rounds: bootstrapRounds };
        return growthFigure(growth, method, twinOf(embeddings, PRIMARY[METHOD_NAMES[method]]), options);
      }),
      ...(probes.length > 0 ? [fewShotFigure(likeForLike(probes), about, tested.fewShot)] : []),
    ],
  };
}

/** The untrained encoder with the pooling and whitening of a trained one: `MAE, mean` meets `untrained, mean`. */
export function twinOf<T extends { readonly name: string }>(all: readonly T[], trained: string): T {
  const name = trained.replace(/^[^,]+/, "untrained");
  const twin = all.find((one) => one.name === name);
  if (!twin) throw new InputError(`expected ${name} beside ${trained}, found ${all.map((one) => one.name).join("; ")}`);
  return twin;
}

/** Raw pixels, each method as it is judged with its untrained twin, and ceilings: few enough for one plot. */
export function likeForLike<T extends { readonly name: string; readonly role: Role }>(all: readonly T[]): T[] {
  const primary = Object.values(PRIMARY);
  const wanted = new Set(["raw pixels", ...primary, ...primary.map((name) => twinOf(all, name).name)]);
  return all.filter(({ name, role }) => wanted.has(name) || role === "ceiling");
}

interface About {
  readonly dataSet: string;
  readonly seed: number;
}

/** One measure of all encoders as bars, with the mean of its permutation null dashed. */
export function alignmentFigure(rows: readonly AlignmentRow[], measure: AlignmentRow["measure"], about: About): Figure {
  const own = rows.filter((row) => row.measure === measure);
  if (own.length === 0) throw new InputError(`alignment figure: ${measure} was not measured`);
  const [{ from, to, n }] = own;
  const names = `${MODALITY_LOOKS[from].name} and ${MODALITY_LOOKS[to].name}`;
  const bars = own.map(({ encoder, value, low, high, nullMean }) => ({ encoder, value, low, high, chance: nullMean }));
  const [least, most] = [Math.min(...own.map(({ low }) => low)), Math.max(...own.map(({ high }) => high))];
  const figure = barFigure(bars, { ...about, queries: n, metric: measure, name: `alignment-${from}-${to}` });
  return {
    ...figure,
    title: `Alignment: ${names}`,
    caption:
      `${measure} of ${names} by encoder, no pairs in training; ${about.dataSet}, n = ${n}, seed ${about.seed}; bars: 95 % ` +
      `intervals; dashed: mean of the permutation null.`,
    layout: {
      ...figure.layout,
      title: { ...(figure.layout.title as object), text: `Alignment: ${names}` },
      xaxis: {
        ...(figure.layout.xaxis as object),
        title: { ...(figure.layout.xaxis as { title: object }).title, text: `${measure} (no unit)` },
        range: [least < 0 ? 1.1 * least : 0, most + 0.2 * (most - Math.min(0, least))],
      },
    },
  };
}

/** Balanced accuracy of class means against the number of teaching patients, for these encoders. */
export function fewShotFigure(
  results: readonly ProbeResult[],
  about: About,
  comparisons: readonly Comparison[] = [],
): Figure {
  const [{ report }] = results;
  const points = results.flatMap(({ name, report }) =>
    report.fewShot.map(({ shots, balancedAccuracy }) => {
      return { encoder: name, panel: "Balanced accuracy", x: shots, ...balancedAccuracy };
    }),
  );
  return curveFigure(points, {
    ...about,
    name: "mri-few-shot",
    title: `Few shots of ${MODALITY_LOOKS[report.modality].name}`,
    caption:
      `Balanced accuracy of the nearest class mean (${report.label}, ${report.classes.length} classes) by gallery patients ` +
      `of each class; ${report.n.test} query rows of ${report.n.testPatients} patients` +
      remarkOn(comparisons, 0)
        .map((remark) => `; ${remark}`)
        .join(""),
    xTitle: "Teaching patients of each class",
    spacing: "even",
    levels: [{ panel: "Balanced accuracy", name: "chance", value: report.chance.balancedAccuracy }],
  });
}
