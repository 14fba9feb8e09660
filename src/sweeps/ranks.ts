/** Where each query found its first answer: one whole number a query, from which every Recall@K and paired test follows. */
import { centrePerModality, selectRows, type EmbeddingSet } from "../embeddings.js";
import type { NamedEmbeddings } from "../experiment.js";
import { labelSetsIn, shareLabel } from "../retrieval/labelSets.js";
import { labelColumn } from "../retrieval/protocol.js";
import { forEachRanking } from "../retrieval/search.js";
import type { Variant as Treatment } from "../analysis/tables.js";
import { MODALITIES, PRETRAIN_MODALITIES, UNSEEN_MODALITY, type Modality, type Split } from "../types.js";

/** `label`: any item of the query's label. `pair`: the same patient in the other modality. */
export type Task = "label" | "pair";

/** One question: queries of one modality against the gallery of one. */
export interface Question {
  readonly task: Task;
  readonly from: Modality;
  readonly to: Modality;
}

/** How an embedding is read: its pooling, and what is done to it before cosine. */
export interface Reading {
  readonly role: NamedEmbeddings["role"];
  readonly pooling: NamedEmbeddings["pooling"];
  readonly variant: Treatment;
}

/** "trained, mean, whitened"; pixels have no pooling. */
export function readingName({ role, pooling, variant }: Reading): string {
  return [role, ...(pooling === "none" ? [] : [pooling]), ...(variant === "plain" ? [] : [variant])].join(", ");
}

/** Ranks of one reading on one question, in the order of `Ranked.patients`; 0 where nothing could answer. */
export interface Ranks extends Reading, Question {
  readonly ranks: readonly number[];
}

/** First ranks of all readings, and the patient of each query. */
export interface Ranked {
  /** By `task from to`: the patient of each query. */
  readonly patients: Readonly<Record<string, readonly string[]>>;
  readonly rows: readonly Ranks[];
}

export const questionName = ({ task, from, to }: Question): string => `${task} ${from} ${to}`;

function part(set: EmbeddingSet, modality: Modality, split?: Split): EmbeddingSet {
  return selectRows(set, (i) => set.modalities[i] === modality && (split === undefined || set.splits[i] === split));
}

/** The questions that `judge` asks, which this data can answer. */
export function questionsOf(set: EmbeddingSet, labels: { label: string; crossModalLabel: string }): Question[] {
  const present = MODALITIES.filter((m) => set.modalities.includes(m));
  const seen = present.filter((m) => PRETRAIN_MODALITIES.includes(m));
  const all: Question[] = [...seen, ...(present.includes(UNSEEN_MODALITY) ? [UNSEEN_MODALITY] : [])].flatMap((from) =>
    present.map((to): Question => ({ task: "label", from, to })),
  );
  const answerable = all.filter(({ from, to }) => {
    if (to === UNSEEN_MODALITY && from !== UNSEEN_MODALITY) return false; // asked the other way round
    const [queries, gallery] = [part(set, from, "query"), part(set, to, "gallery")];
    if (queries.n === 0 || gallery.n === 0) return false;
    const answers = new Set(labelColumn(gallery, labelFor(from, to, labels), "gallery"));
    return labelColumn(queries, labelFor(from, to, labels), "queries").some((v) => v !== "" && answers.has(v));
  });
  const groups = (m: Modality) => new Set(set.groups.filter((_, i) => set.modalities[i] === m));
  const ct = groups("ct");
  const pairs = [...groups("xray")].some((group) => ct.has(group));
  return [
    ...answerable,
    ...(pairs
      ? ([
          { task: "pair", from: "xray", to: "ct" },
          { task: "pair", from: "ct", to: "xray" },
        ] as const)
      : []),
  ];
}

function labelFor(
  from: Modality,
  to: Modality,
  { label, crossModalLabel }: { label: string; crossModalLabel: string },
) {
  return from === to ? label : crossModalLabel;
}

/**
 * First ranks of every reading on every question, by the rules of `judge`: cosine, exact search, queries against the gallery
 * split for labels (a query's own patient is never retrieved), all patients of both splits for pairs.
 */
export function rankAll(all: readonly NamedEmbeddings[], labels: { label: string; crossModalLabel: string }): Ranked {
  const questions = questionsOf(all[0].set, labels);
  const centred = all
    .filter(({ variant }) => variant === "plain")
    .map((one) => ({ ...one, variant: "centred" as const, set: centrePerModality(one.set) }));
  const patients: Record<string, readonly string[]> = {};
  const rows: Ranks[] = [];
  for (const { role, pooling, variant, set } of [...all, ...centred]) {
    for (const question of questions) {
      const { task, from, to } = question;
      const queries = part(set, from, task === "label" ? "query" : undefined);
      const gallery = part(set, to, task === "label" ? "gallery" : undefined);
      patients[questionName(question)] ??= queries.groups;
      const ranks = firstRanks(queries, gallery, task === "pair" ? null : labelFor(from, to, labels));
      rows.push({ role, pooling, variant, ...question, ranks });
    }
  }
  return { patients, rows };
}

/** @param label a column, or null where the same patient is looked for */
export function firstRanks(queries: EmbeddingSet, gallery: EmbeddingSet, label: string | null): number[] {
  const [asked, given] = label
    ? [labelColumn(queries, label, "queries"), labelColumn(gallery, label, "gallery")]
    : [queries.groups, gallery.groups];
  const sets = label !== null && labelSetsIn(queries).includes(label);
  const isHit = (a: string, b: string) => (sets ? shareLabel(a, b) : a === b);
  const ranks = new Array<number>(queries.n).fill(0);
  forEachRanking(queries, gallery, gallery.n, { excludeOwnGroup: label !== null }, (q, order) => {
    if (asked[q] !== "") ranks[q] = order.findIndex((g) => isHit(asked[q], given[g])) + 1;
  });
  return ranks;
}
