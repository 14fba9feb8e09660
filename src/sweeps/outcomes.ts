/** What a point is judged by in one number, and how two points differ, query by query. */
import { overSeeds } from "../analysis/overSeeds.js";
import { bootstrap, type Interval } from "../retrieval/bootstrap.js";
import { Random } from "../random.js";
import { InputError, MODALITIES, PRETRAIN_MODALITIES, UNSEEN_MODALITY } from "../types.js";
import type { PointResult } from "./point.js";
import { questionName, readingName, type Question, type Ranks } from "./ranks.js";

/** A mean of Recall@K over some questions. */
export interface Outcome {
  readonly name: string;
  readonly k: number;
  readonly questions: readonly Question[];
}

/** Outcomes that tables and figures compare points by. */
export const SUMMARIES = ["within", "cross", "pairs", "mri", "mri to seen"] as const;
export type Summary = (typeof SUMMARIES)[number];

/** What a summary is, for captions: `summaryWords({ name: "within", k: 1 })`. */
export function summaryWords({ name, k }: { readonly name: string; readonly k: number }): string {
  const words: Readonly<Record<string, string>> = {
    within: "within a modality, mean over those pretrained on",
    cross: "by the shared label across modalities, mean over directions",
    pairs: "of the same patient, X-ray to CT and back, mean",
    mri: "within MRI, which pretraining never saw",
    "mri to seen": "from MRI to each modality that was pretrained on, mean",
  };
  return `Recall@${k} ${words[name] ?? name}`;
}

/** Outcomes that a result has questions for. `pairs` is at its largest K, the others at 1. */
export function summariesOf({ ranked, rows }: PointResult): Outcome[] {
  const asked = questionsIn(ranked.rows);
  const seen = (m: string) => PRETRAIN_MODALITIES.some((one) => one === m);
  const belongs: Readonly<Record<Summary, (q: Question) => boolean>> = {
    within: ({ task, from, to }) => task === "label" && from === to && seen(from),
    cross: ({ task, from, to }) => task === "label" && from !== to && seen(from) && seen(to),
    pairs: ({ task }) => task === "pair",
    mri: ({ task, from, to }) => task === "label" && from === to && from === UNSEEN_MODALITY,
    "mri to seen": ({ task, from, to }) => task === "label" && from === UNSEEN_MODALITY && seen(to),
  };
  const most = Math.max(1, ...rows.pairs.slice(0, 1).flatMap(({ recallAtK }) => Object.keys(recallAtK).map(Number)));
  return SUMMARIES.flatMap((name) => {
    const questions = asked.filter(belongs[name]);
    return questions.length > 0 ? [{ name, k: name === "pairs" ? most : 1, questions }] : [];
  });
}

/** Every question as an outcome of its own: "xray", "xray → ct", and pairs at 1 and their largest K, "pair xray → ct, 10". */
export function directionsOf(result: PointResult): Outcome[] {
  const pairsK = summariesOf(result).find(({ name }) => name === "pairs")?.k ?? 1;
  return questionsIn(result.ranked.rows).flatMap((question): Outcome[] => {
    const { task, from, to } = question;
    if (task === "label") return [{ name: from === to ? from : `${from} → ${to}`, k: 1, questions: [question] }];
    return [...new Set([1, pairsK])].map((k) => ({ name: `pair ${from} → ${to}, ${k}`, k, questions: [question] }));
  });
}

function questionsIn(rows: readonly Ranks[]): Question[] {
  const found = new Map(rows.map(({ task, from, to }) => [questionName({ task, from, to }), { task, from, to }]));
  const place = ({ task, from, to }: Question) =>
    (task === "pair" ? 1000 : 0) + 10 * MODALITIES.indexOf(from) + MODALITIES.indexOf(to);
  return [...found.values()].sort((a, b) => place(a) - place(b));
}

/** What a random order would score: the mean over the questions of the chance that their rows state. */
export function chanceOf({ rows }: PointResult, { questions, k }: Outcome): number {
  const chances = questions.map(({ task, from, to }) => {
    const of = task === "pair" ? rows.pairs : [...rows.perModality, ...rows.crossModal, ...rows.mri];
    return of.find((row) => row.from === from && row.to === to)?.chance[String(k)] ?? NaN;
  });
  return chances.reduce((sum, x) => sum + x, 0) / chances.length;
}

/** One side of a comparison: how a result is read. */
export interface Side {
  readonly result: PointResult;
  /** Such as "trained, mean, whitened". */
  readonly reading: string;
}

/** A value, or a difference of two, with what might have come out with other patients and with other seeds. */
export interface Contrast extends Interval {
  /** One value a seed; the value is their mean. */
  readonly perSeed: readonly number[];
  /** Over seeds: null for one seed. The other interval is over patients, for these seeds. */
  readonly overSeeds: Interval | null;
  /** Queries of all questions and seeds, and patients among them. */
  readonly queries: number;
  readonly patients: number;
}

/** What every query of a side scored on an outcome of one question: 1 or 0, whether it could be answered, and whose it is. */
export function hitsOf(side: Side, { questions: [question], k }: Outcome): ReturnType<typeof hits> {
  return hits(side, question, k);
}

/** Hits of a side on one question: 1 or 0 for every query that could be answered. */
function hits({ result, reading }: Side, question: Question, k: number) {
  const name = questionName(question);
  const row = result.ranked.rows.find((one) => questionName(one) === name && readingName(one) === reading);
  if (!row) throw new InputError(`${result.id}: was not read as "${reading}" on ${name}`);
  const patients = result.ranked.patients[name];
  return {
    patients,
    answerable: row.ranks.map((rank) => rank > 0),
    hit: row.ranks.map((rank) => (rank > 0 && rank <= k ? 1 : 0)),
  };
}

/**
 * The mean of an outcome over seeds, or the mean difference of two sides that answered the same queries, with a percentile
 * bootstrap over patients: a drawn patient brings all queries of all questions, on both sides, so that what makes a patient
 * easy for both does not widen the interval of their difference (a paired bootstrap).
 *
 *     value = mean over seeds of mean over questions of mean over queries of ([rank_a ≤ k] − [rank_b ≤ k])
 *
 * @param pairs one a seed; without `b`, the value of `a` itself
 */
export function contrast(
  pairs: readonly { readonly a: Side; readonly b?: Side }[],
  outcome: Outcome,
  { rounds, seed }: { readonly rounds: number; readonly seed: number },
): Contrast {
  const values: number[] = [];
  const cellOf: number[] = [];
  const groups: string[] = [];
  const seedOfCell: number[] = [];
  pairs.forEach(({ a, b }, s) => {
    for (const question of outcome.questions) {
      const cell = seedOfCell.push(s) - 1;
      const [ours, theirs] = [hits(a, question, outcome.k), b && hits(b, question, outcome.k)];
      if (theirs && String(theirs.patients) !== String(ours.patients)) {
        throw new InputError(`${a.result.id} and ${b!.result.id} answered other queries: they cannot be compared`);
      }
      ours.hit.forEach((hit, q) => {
        if (!ours.answerable[q]) return;
        values.push(hit - (theirs?.hit[q] ?? 0));
        cellOf.push(cell);
        groups.push(`${a.result.resolved.dataSeed} ${ours.patients[q]}`);
      });
    }
  });
  const cells = seedOfCell.length;
  const perCell = outcome.questions.length;
  const perSeed = (weights: ArrayLike<number>): number[] => {
    const sums = new Float64Array(cells);
    const counts = new Float64Array(cells);
    for (let i = 0; i < values.length; i++) {
      counts[cellOf[i]] += weights[i];
      sums[cellOf[i]] += weights[i] * values[i];
    }
    const means = Array.from(sums, (sum, cell) => sum / counts[cell]);
    return pairs.map((_, s) => means.slice(s * perCell, (s + 1) * perCell).reduce((x, y) => x + y, 0) / perCell);
  };
  const mean = (of: readonly number[]) => of.reduce((x, y) => x + y, 0) / of.length;
  const random = new Random(seed).fork(`contrast ${outcome.name}`);
  const [interval] = bootstrap(groups, (weights) => [mean(perSeed(weights))], { random, rounds });
  const own = perSeed(new Float64Array(values.length).fill(1));
  return {
    ...interval,
    perSeed: own,
    overSeeds: overSeeds(own),
    queries: values.length,
    patients: new Set(groups).size,
  };
}
