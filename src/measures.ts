/** What is measured of a run beside retrieval: the alignment of modalities, and what frozen features know of MRI. */
import { modalityPairs, type MeasureOptions } from "./analysis/alignmentMeasures.js";
import { alignmentRows, type AlignmentRow } from "./analysis/alignmentTable.js";
import { curveFigure } from "./analysis/curveFigure.js";
import { barFigure, type Figure } from "./analysis/figures.js";
import { MODALITY_LOOKS } from "./analysis/palette.js";
import { probe, whyNoProbe, type ProbeOptions } from "./analysis/probe.js";
import type { ProbeResult } from "./analysis/probeTable.js";
import { PRIMARY } from "./claims.js";
import type { NamedEmbeddings } from "./experiment.js";
import { assertCeilingSaysSo } from "./judge.js";
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
    const report = probe(set, options);
    options.onProgress?.({ label: "probes", done: i + 1, total: embeddings.length, note: name });
    return { name, role, variant, report };
  });
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
export function fewShotFigure(results: readonly ProbeResult[], about: About): Figure {
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
      `of each class; ${report.n.test} query rows of ${report.n.testPatients} patients`,
    xTitle: "Teaching patients of each class",
    spacing: "even",
    levels: [{ panel: "Balanced accuracy", name: "chance", value: report.chance.balancedAccuracy }],
  });
}
