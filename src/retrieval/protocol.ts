/** The one place where retrieval is judged: who may retrieve whom, what counts as a hit, and what is averaged. */
import type { EmbeddingSet } from "../embeddings.js";
import { InputError } from "../types.js";
import { bootstrap, exactAtEnds, type BootstrapOptions, type Interval } from "./bootstrap.js";
import {
  averagePrecision,
  chanceAveragePrecision,
  chancePrecision,
  chanceRecallAtK,
  chanceReciprocalRank,
  firstRank,
  precisionAtK,
  recallAtK,
} from "./recall.js";
import { chanceNdcgAtK, jaccard, labelSetsIn, labelsIn, ndcgAtK } from "./labelSets.js";
import { assertComparable, assertK, forEachRanking, groupNumbers } from "./search.js";
import { assertDisjoint } from "./sides.js";

/** Metrics of a set of queries; the keys of `recallAtK` and `precisionAtK` are the values of K that were asked for. */
export interface Metrics {
  readonly recallAtK: Readonly<Record<string, Interval>>;
  readonly precisionAtK: Readonly<Record<string, Interval>>;
  readonly mAP: Interval;
  readonly mrr: Interval;
  /** Of label sets alone: nDCG@K with the Jaccard index for a gain (`ndcgAtK`). */
  readonly ndcgAtK?: Readonly<Record<string, Interval>>;
}

export interface ClassMetrics extends Metrics {
  /** Queries of this class. */
  readonly n: number;
  readonly chance: Readonly<Record<string, number>>;
}

export interface RetrievalReport extends Metrics {
  /** What was done, in words. */
  readonly protocol: string;
  readonly label: string;
  readonly n: {
    readonly query: number;
    readonly gallery: number;
    /** Queries that nothing in the gallery could answer: counted here, and left out of every average. */
    readonly withoutRelevant: number;
    /** Groups among the queries that were averaged: what the bootstrap draws. */
    readonly groups: number;
    /** Pairs of a query and a gallery item that were left out, being of one group. */
    readonly ownGroupPairs: number;
  };
  /**
   * What a random order would score, exactly: Recall@K by K, and `mAP`, `mrr`, `precision` (the same at every K); of label sets
   * also nDCG@K, as `ndcg@5`.
   */
  readonly chance: Readonly<Record<string, number>>;
  /** Queries of one class; empty where relevance is not a label's. Of label sets: queries that have the label among others. */
  readonly perClass: Readonly<Record<string, ClassMetrics>>;
  /** The mean over classes, each counting the same however many queries it has. */
  readonly macro: Metrics;
  /** Median place of the first relevant item. */
  readonly medianRank: number;
  readonly bootstrap: { readonly rounds: number; readonly level: number };
  readonly warnings: readonly string[];
}

/** Whether gallery row g answers query row q. */
export type Relevance = (query: number, gallery: number) => boolean;

export interface EvaluationOptions {
  /** A label column, or "modality", or a rule of one's own. Not used where relevance is "group". */
  readonly label?: string | Relevance;
  /**
   * "label" (default, but for columns that the queries' `meta.labelSets` names): an item is relevant if it carries the query's label. "group": if it is of the same patient, as
   * for exact pairs across modalities; a query may then retrieve its own group, because that is what is looked for. "set":
   * the column holds label sets (`labelsIn`), an item is relevant if it shares at least one label with the query, and nDCG@K
   * says how much is shared.
   */
  readonly relevance?: "label" | "group" | "set";
  readonly ks?: readonly number[];
  readonly bootstrap: BootstrapOptions;
  readonly excludeOwnGroup?: boolean;
  /** Insist that no group is among both queries and gallery (`assertDisjoint`). */
  readonly disjoint?: boolean;
}

/** Values of a label column, or one line that says which columns there are. */
export function labelColumn(set: EmbeddingSet, column: string, name: string): readonly string[] {
  const values = Object.hasOwn(set.labels, column)
    ? set.labels[column]
    : column === "modality" && set.modalities.length === set.n
      ? set.modalities
      : undefined;
  if (values !== undefined) return values;
  const columns = Object.keys(set.labels).sort().join(", ") || "none";
  throw new InputError(`label "${column}" is not a column of the ${name}; its columns are: ${columns}`);
}

/** How much gallery row g answers query row q: the Jaccard index of their label sets. */
type Gain = (query: number, gallery: number) => number;

/** The rule, its words, the classes of each query (null where there are no classes), and the gain where relevance is graded. */
interface Rule {
  readonly isRelevant: Relevance;
  readonly words: string;
  readonly classes: readonly (readonly string[])[] | null;
  readonly gain?: Gain;
}

function readRelevance(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
  { label, relevance = "label" }: EvaluationOptions,
): Rule {
  if (relevance === "group") {
    const groups = groupNumbers(queries, gallery);
    const isRelevant: Relevance = (q, g) => groups.query[q] === groups.gallery[g];
    return { isRelevant, words: "group", classes: null };
  }
  if (label === undefined) throw new InputError('label: expected a column, such as "region", got none');
  if (typeof label === "function") return { isRelevant: label, words: "a given rule", classes: null };
  const classes = labelColumn(queries, label, "queries");
  const answers = labelColumn(gallery, label, "gallery");
  if (relevance === "set") return sharedLabels(classes, answers, label);
  const numbers = new Map([...new Set(answers)].map((value, i) => [value, i]));
  // −1 is no answer's number: what an unlabelled query, or one with a label that the gallery lacks, looks for.
  const wanted = Int32Array.from(classes, (value) => (value === "" ? -1 : (numbers.get(value) ?? -1)));
  const given = Int32Array.from(answers, (value) => numbers.get(value)!);
  return { isRelevant: (q, g) => wanted[q] === given[g], words: label, classes: classes.map((value) => [value]) };
}

/** Relevance between label sets. Sets repeat: the Jaccard index is computed once for two different values. */
function sharedLabels(asked: readonly string[], held: readonly string[], label: string): Rule {
  const values = (of: readonly string[]) => [...new Set(of)];
  const sets = new Map(values([...asked, ...held]).map((value) => [value, labelsIn(value)]));
  const others = values(held);
  const number = new Map(others.map((value, i) => [value, i]));
  const table = new Map(
    values(asked).map((value) => {
      const own = sets.get(value)!;
      return [value, others.map((other) => jaccard(own, sets.get(other)!))];
    }),
  );
  const rows = asked.map((value) => table.get(value)!);
  const columns = Int32Array.from(held, (value) => number.get(value)!);
  const gain: Gain = (q, g) => rows[q][columns[g]];
  const classes = asked.map((value) => sets.get(value)!);
  return { isRelevant: (q, g) => gain(q, g) > 0, words: `${label} (sets: any label shared)`, classes, gain };
}

/** What each query that could be answered scored: what paired tests compare. Two encoders on the same sets share the rows. */
export interface QueryOutcomes {
  readonly ks: readonly number[];
  /** Row numbers of the answered queries. */
  readonly rows: readonly number[];
  /** [n]  the group of each. */
  readonly groups: readonly string[];
  /** [n, width]: Recall@K by K, Precision@K by K, average precision, reciprocal rank, and of label sets nDCG@K by K. */
  readonly values: Float64Array;
}

/** One metric of every answered query: `outcome(outcomes, "recallAtK", 1)` holds zeros and ones. */
export function outcome(outcomes: QueryOutcomes, metric: keyof Metrics, k?: number): Float64Array {
  const { ks, rows, values } = outcomes;
  const width = values.length / rows.length;
  const offset = { recallAtK: 0, precisionAtK: ks.length, mAP: 2 * ks.length, mrr: 2 * ks.length + 1, ndcgAtK: 2 * ks.length + 2 }[metric]; // prettier-ignore
  const byK = metric !== "mAP" && metric !== "mrr";
  const at = offset + (byK ? ks.indexOf(k ?? NaN) : 0);
  if (at >= width) throw new InputError(`${metric} was not measured: it is of label sets`);
  if (byK && !ks.includes(k ?? NaN)) throw new InputError(`k = ${k} was not measured; there are k = ${ks.join(", ")}`);
  return Float64Array.from(rows, (_, i) => values[i * width + at]);
}

/** Per-query numbers, in the order in which `metricsFrom` reads them back. */
function measure(ranked: Uint8Array, gains: Float64Array | null, ks: readonly number[]): number[] {
  const first = firstRank(ranked);
  return [
    ...ks.map((k) => recallAtK(ranked, k)),
    ...ks.map((k) => precisionAtK(ranked, k)),
    averagePrecision(ranked),
    1 / first,
    ...(gains === null ? [] : ks.map((k) => ndcgAtK(gains, k))),
  ];
}

function metricsFrom(intervals: readonly Interval[], ks: readonly number[]): Metrics {
  const byK = (offset: number) => Object.fromEntries(ks.map((k, i) => [String(k), intervals[offset + i]]));
  return {
    recallAtK: byK(0),
    precisionAtK: byK(ks.length),
    mAP: intervals[2 * ks.length],
    mrr: intervals[2 * ks.length + 1],
    ...(intervals.length > 2 * ks.length + 2 ? { ndcgAtK: byK(2 * ks.length + 2) } : {}),
  };
}

/** Chance depends on two counts only, and many queries share them. */
function chanceTable(ks: readonly number[]): (relevant: number, gallery: number) => number[] {
  const known = new Map<string, number[]>();
  return (relevant, gallery) => {
    const key = `${relevant}/${gallery}`;
    const values = known.get(key) ?? [
      ...ks.map((k) => chanceRecallAtK(relevant, gallery, k)),
      chanceAveragePrecision(relevant, gallery),
      chanceReciprocalRank(relevant, gallery),
      chancePrecision(relevant, gallery),
    ];
    known.set(key, values);
    return values;
  };
}

/** One line per query that could be answered. */
interface Judged {
  readonly row: number;
  readonly values: readonly number[];
  readonly chance: readonly number[];
  readonly rank: number;
  readonly group: string;
  /** One, or of label sets each of the query's labels. */
  readonly labels: readonly string[];
}

/**
 * Judges retrieval of `gallery` by `queries`: cosine, exact search, any-hit Recall@K, Precision@K, mAP and MRR over the
 * whole ranking, each with a bootstrap interval over the queries' groups, and beside them what chance would give.
 *
 * Our reading: M3Ret's protocol is not published (which items are in the gallery, what a hit is); this one is common in
 * retrieval by label, and every report says it in words. A query without any relevant item in the gallery cannot be
 * answered by the best encoder: it is counted in `n.withoutRelevant` and left out of the averages. A K beyond the
 * gallery is cut to it, with a warning.
 *
 * Of label sets (`relevance: "set"`), a hit is an item that shares at least one label, as multi-label image retrieval has it (Zhao et
 * al., "Deep semantic ranking based hashing", CVPR 2015, which grades by nDCG too, with the number of shared labels where we take the
 * Jaccard index); nDCG@K says how much was shared. A class is a label: its queries are all that have it, so that a query of
 * three labels counts in three classes.
 *
 * Perfect embeddings score 1 everywhere except Precision@K, which cannot exceed R / K for a query with R < K relevant
 * items; random ones score `chance`.
 */
export function evaluateRetrieval(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
  options: EvaluationOptions,
): RetrievalReport {
  return evaluateQueries(queries, gallery, options).report;
}

/** `evaluateRetrieval`, and what each query scored. */
export function evaluateQueries(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
  options: EvaluationOptions,
): { readonly report: RetrievalReport; readonly outcomes: QueryOutcomes } {
  const { label, ks = [1, 5, 10] } = options;
  const ofSets = typeof label === "string" && labelSetsIn(queries).includes(label);
  const relevance = options.relevance ?? (ofSets ? "set" : "label");
  const { rounds = 1000, level = 0.95 } = options.bootstrap;
  assertComparable(queries, gallery);
  ks.forEach(assertK);
  if (ks.length === 0) throw new InputError("k: expected at least one value, got none");
  if (relevance === "group" && options.excludeOwnGroup === true) {
    throw new InputError("relevance by group needs the query's own group in the gallery: leave excludeOwnGroup off");
  }
  const excludeOwnGroup = options.excludeOwnGroup ?? relevance !== "group";
  if (options.disjoint) assertDisjoint(queries, gallery);
  const { isRelevant, words, classes, gain } = readRelevance(queries, gallery, { ...options, relevance });

  const chanceOf = chanceTable(ks);
  const ranked = new Uint8Array(gallery.n);
  const judged: Judged[] = [];
  let ownGroupPairs = 0;
  forEachRanking(queries, gallery, gallery.n, { excludeOwnGroup }, (q, order) => {
    ownGroupPairs += gallery.n - order.length;
    let relevant = 0;
    for (let r = 0; r < order.length; r++) relevant += ranked[r] = isRelevant(q, order[r]) ? 1 : 0;
    if (relevant === 0) return;
    const row = ranked.subarray(0, order.length);
    const gains = gain ? Float64Array.from(order, (g) => gain(q, g)) : null;
    judged.push({
      row: q,
      values: measure(row, gains, ks),
      chance: [...chanceOf(relevant, order.length), ...(gains ? ks.map((k) => chanceNdcgAtK(gains, k)) : [])],
      rank: firstRank(row),
      group: queries.groups[q],
      labels: classes === null ? [""] : classes[q],
    });
  });
  if (judged.length === 0) {
    throw new InputError(
      `no query has a relevant item in the gallery (relevance: ${words}); do the sets belong together?`,
    );
  }

  const groups = judged.map((query) => query.group);
  const names = classes === null ? [""] : [...new Set(judged.flatMap(({ labels }) => labels))].sort();
  // A fork leaves the caller's generator as it was: encoders judged with one generator meet the same resamples.
  const random = options.bootstrap.random.fork("bootstrap");
  const intervals = intervalsByClass(judged, names, groups, { rounds, level, random });
  const width = judged[0].values.length;
  const part = (i: number, of: readonly Judged[]) => {
    const n = new Set(of.map(({ group }) => group)).size;
    const own = intervals.slice(i * width, (i + 1) * width);
    return metricsFrom(
      own.map((interval) => exactAtEnds(interval, n, level)),
      ks,
    );
  };
  const perClass = names.map((name, i): [string, ClassMetrics] => {
    const own = judged.filter(({ labels }) => labels.includes(name));
    return [name, { n: own.length, chance: meanChance(own, ks), ...part(i + 2, own) }];
  });

  const n = {
    query: queries.n,
    gallery: gallery.n,
    withoutRelevant: queries.n - judged.length,
    groups: new Set(groups).size,
    ownGroupPairs,
  };
  const report: RetrievalReport = {
    protocol:
      `cosine, exact search; relevant: same ${words}; Recall@K: any relevant item in the top K; a query's own group is ` +
      `${excludeOwnGroup ? "never" : "also"} retrieved${options.disjoint ? ", and none is on both sides" : ""}; intervals: ${100 * level} % percentile bootstrap over query groups, exact binomial at 0 and 1`,
    label: words,
    n,
    chance: meanChance(judged, ks),
    ...part(0, judged),
    perClass: classes === null ? {} : Object.fromEntries(perClass),
    macro: part(1, judged),
    medianRank: median(judged.map((query) => query.rank)),
    bootstrap: { rounds, level },
    warnings: warningsOf(queries, gallery, ks, n),
  };
  const values = Float64Array.from(judged.flatMap((query) => query.values));
  return { report, outcomes: { ks, rows: judged.map(({ row }) => row), groups, values } };
}

/** Intervals of all queries, then of the mean over classes, then of each class: `width` numbers for each of them. */
function intervalsByClass(
  judged: readonly Judged[],
  names: readonly string[],
  groups: readonly string[],
  options: BootstrapOptions,
): Interval[] {
  const width = judged[0].values.length;
  const numbers = new Map(names.map((name, i) => [name, i]));
  const members: number[][] = names.map(() => []);
  judged.forEach(({ labels }, i) => labels.forEach((label) => members[numbers.get(label)!].push(i)));
  const single = judged.every(({ labels }) => labels.length === 1); // then the classes' sums are all there is to sum
  if (!single) members.push([...judged.keys()]);
  // Queries class by class, so that a class is summed in registers: this runs a thousand times a row of a table.
  const rows = Int32Array.from(members.flat());
  const ends = Int32Array.from(members, ({ length }) => length);
  for (let c = 1; c < ends.length; c++) ends[c] += ends[c - 1];
  const room = 4 * Math.ceil(width / 4);
  const values = new Float64Array(rows.length * room);
  rows.forEach((row, p) => values.set(judged[row].values, p * room));

  const [counted, sums] = [new Float64Array(rows.length), new Float64Array(room)];
  const found = new Float64Array((names.length + 2) * width); // all, macro, each class
  const [all, macro] = [found.subarray(0, width), found.subarray(width, 2 * width)];
  const statistics = (weights: Int32Array): Float64Array => {
    for (let p = 0; p < rows.length; p++) counted[p] = weights[rows[p]];
    all.fill(0);
    macro.fill(0);
    let [total, present] = [0, 0];
    for (let c = 0; c < ends.length; c++) {
      const count = weightedSums(counted, values, room, c === 0 ? 0 : ends[c - 1], ends[c], sums);
      if (single || c === names.length) {
        total += count;
        for (let m = 0; m < width; m++) all[m] += sums[m];
      }
      if (c === names.length) continue;
      if (count > 0) present++;
      for (let m = 0; m < width; m++) {
        const mean = sums[m] / count; // NaN: class not drawn
        found[(c + 2) * width + m] = mean;
        if (count > 0) macro[m] += mean;
      }
    }
    for (let m = 0; m < width; m++) {
      all[m] /= total;
      macro[m] /= present;
    }
    return found;
  };
  return bootstrap(groups, statistics, options);
}

/** Σ_p weights[p] · values[p] over rows `from` to `to` of [rows, room], each sum in the order of the rows; returns Σ_p weights[p]. */
function weightedSums(
  weights: Float64Array,
  values: Float64Array,
  room: number,
  from: number,
  to: number,
  sums: Float64Array,
): number {
  let count = 0;
  for (let p = from; p < to; p++) count += weights[p];
  for (let m = 0; m < room; m += 4) {
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let p = from, at = from * room + m; p < to; p++, at += room) {
      const weight = weights[p];
      a += weight * values[at];
      b += weight * values[at + 1];
      c += weight * values[at + 2];
      d += weight * values[at + 3];
    }
    sums[m] = a;
    sums[m + 1] = b;
    sums[m + 2] = c;
    sums[m + 3] = d;
  }
  return count;
}

function meanChance(judged: readonly Judged[], ks: readonly number[]): Record<string, number> {
  const graded = judged[0].chance.length > ks.length + 3 ? ks.map((k) => `ndcg@${k}`) : [];
  const keys = [...ks.map(String), "mAP", "mrr", "precision", ...graded];
  const mean = (i: number) => judged.reduce((sum, query) => sum + query.chance[i], 0) / judged.length;
  return Object.fromEntries(keys.map((key, i) => [key, mean(i)]));
}

/** The middle value, or the mean of the two in the middle: `median([3, 1, 2, 10])` is 2.5. */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

function warningsOf(
  queries: EmbeddingSet,
  gallery: EmbeddingSet,
  ks: readonly number[],
  n: RetrievalReport["n"],
): string[] {
  const warnings: string[] = [];
  const beyond = ks.filter((k) => k > gallery.n);
  if (beyond.length > 0) warnings.push(`k = ${beyond.join(", ")} is cut to the gallery's ${gallery.n} items`);
  if (n.withoutRelevant > 0) {
    warnings.push(`${n.withoutRelevant} of ${n.query} queries have no relevant item in the gallery and are left out`);
  }
  if (n.groups === 1) warnings.push("all queries are of one group: the intervals say nothing");
  for (const [name, set] of Object.entries({ queries, gallery })) {
    if (set.meta.note !== undefined) warnings.push(`${name}: ${set.meta.note}`);
    let zeros = 0;
    for (let i = 0; i < set.n; i++) if (set.vectors.subarray(i * set.d, (i + 1) * set.d).every((x) => x === 0)) zeros++;
    if (zeros > 0) warnings.push(`${name}: ${zeros} rows are zero vectors, whose cosine with everything is 0`);
  }
  return warnings;
}
