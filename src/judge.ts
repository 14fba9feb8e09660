/** Every table of the paper's claims, from embeddings alone: per modality, across modalities, exact pairs, MRI. */
import { pairRetrieval } from "./analysis/alignment.js";
import { recallTable, type EncoderResults, type Table, type Variant } from "./analysis/tables.js";
import { centrePerModality, selectRows, type EmbeddingSet } from "./embeddings.js";
import type { NamedEmbeddings } from "./experiment.js";
import { Random } from "./random.js";
import { evaluateRetrieval, labelColumn, type RetrievalReport } from "./retrieval/protocol.js";
import { InputError, MODALITIES, PRETRAIN_MODALITIES, UNSEEN_MODALITY, type Modality, type Split } from "./types.js";

/** One encoder asked one question; the row of results.json. */
export interface ResultRow extends RetrievalReport {
  readonly encoder: string;
  readonly role: NamedEmbeddings["role"];
  readonly variant: Variant;
  readonly from: Modality;
  readonly to: Modality;
}

/** A question that could not be asked, and why. */
export interface Unasked {
  readonly from: Modality;
  readonly to: Modality;
  readonly label: string;
  readonly reason: string;
}

export interface JudgeOptions {
  /** For retrieval within a modality, and MRI. */
  readonly label: string;
  /** For retrieval across modalities. */
  readonly crossModalLabel: string;
  readonly data: string;
  readonly seed: number;
  readonly ks: readonly number[];
  readonly rounds: number;
}

/** One question of every encoder: the rows, and the same as tables that print. */
export interface Answer {
  readonly rows: readonly ResultRow[];
  /** One per K of Recall@K, smallest first; empty where nothing could be asked. */
  readonly tables: readonly Table[];
}

export interface Judgement {
  readonly perModality: Answer;
  readonly crossModal: Answer;
  /** The same patient's CT among all: `relevance` is the group. Empty where no patient has both. */
  readonly pairs: Answer;
  readonly mri: Answer;
  readonly unasked: readonly Unasked[];
}

/** Throws where embeddings that come from a ceiling are to stand in a table as something else. */
export function assertCeilingSaysSo({ name, role, set }: Pick<NamedEmbeddings, "name" | "role" | "set">): void {
  if (set.meta.ceiling !== undefined && role !== "ceiling") {
    throw new InputError(`${name}: ${set.meta.ceiling}; expected the role "ceiling", got "${role}"`);
  }
}

interface Direction {
  readonly from: Modality;
  readonly to: Modality;
}

/** How a direction is written in tables and claims: `ct`, or `xray → ct`. */
export function directionName({ from, to }: Direction): string {
  return from === to ? from : `${from} → ${to}`;
}

interface Contestant {
  readonly name: string;
  readonly role: NamedEmbeddings["role"];
  readonly variant: Variant;
  readonly set: EmbeddingSet;
}

/**
 * Every encoder as it is, whitened where it was, and as it is with each modality centred on its mean (rows of their own,
 * never the default: centring needs to know the query's modality).
 */
function contestants(all: readonly NamedEmbeddings[]): Contestant[] {
  const given = all.map(({ name, role, variant, set }) => ({ name, role, variant, set }));
  const centred = given
    .filter(({ variant }) => variant === "plain")
    .map((c) => ({ ...c, name: `${c.name}, centred`, variant: "centred" as const, set: centrePerModality(c.set) }));
  return [...given, ...centred];
}

function part(set: EmbeddingSet, modality: Modality, split: Split): EmbeddingSet {
  return selectRows(set, (i) => set.modalities[i] === modality && set.splits[i] === split);
}

/** Why a question cannot be asked of this data, or null. */
function obstacle({ from, to }: Direction, label: string, set: EmbeddingSet): string | null {
  const [queries, gallery] = [part(set, from, "query"), part(set, to, "gallery")];
  if (queries.n === 0) return `no ${from} among the queries`;
  if (gallery.n === 0) return `no ${to} in the gallery`;
  const answers = new Set(labelColumn(gallery, label, "gallery"));
  const shared = labelColumn(queries, label, "queries").some((value) => value !== "" && answers.has(value));
  return shared ? null : `no ${label} is shared by ${from} queries and ${to} gallery`;
}

/** Judges all encoders on all questions with one seed; every encoder meets the same bootstrap resamples. */
export function judge(all: readonly NamedEmbeddings[], options: JudgeOptions): Judgement {
  const { label, crossModalLabel, data, seed, ks, rounds } = options;
  all.forEach(assertCeilingSaysSo);
  const judged = contestants(all);
  const bootstrap = { rounds, random: new Random(seed).fork("judge") };
  const unasked: Unasked[] = [];

  const ask = (directions: readonly Direction[], label: string, title: string, who: readonly Contestant[]): Answer => {
    const possible = directions.filter((direction) => {
      const reason = obstacle(direction, label, all[0].set);
      if (reason) unasked.push({ ...direction, label, reason });
      return reason === null;
    });
    const rows = who.flatMap((contestant) =>
      possible.map((direction) => {
        const queries = part(contestant.set, direction.from, "query");
        const gallery = part(contestant.set, direction.to, "gallery");
        return rowOf(contestant, direction, evaluateRetrieval(queries, gallery, { label, ks, bootstrap }));
      }),
    );
    return { rows, tables: tablesOf(rows, title, { data, seed, ks }) };
  };

  const present = MODALITIES.filter((m) => all[0].set.modalities.includes(m));
  const seen = present.filter((m) => PRETRAIN_MODALITIES.includes(m));
  const uncentred = judged.filter(({ variant }) => variant !== "centred");
  const within = seen.map((m) => ({ from: m, to: m }));
  const across = seen.flatMap((from) => seen.filter((to) => to !== from).map((to) => ({ from, to })));
  const unseen = present.includes(UNSEEN_MODALITY)
    ? [UNSEEN_MODALITY, ...seen].map((to) => ({ from: UNSEEN_MODALITY, to }))
    : [];
  return {
    perModality: ask(within, label, "Retrieval within each modality", uncentred),
    crossModal: ask(across, crossModalLabel, "Retrieval across modalities, no pairs in training", judged),
    pairs: askPairs(judged, { data, seed, ks, bootstrap }),
    mri: mergeAnswers(
      ask(unseen.slice(0, 1), label, "Transfer to MRI, never seen in pretraining", uncentred),
      ask(unseen.slice(1), crossModalLabel, "From MRI to what was seen", uncentred),
    ),
    unasked,
  };
}

const mergeAnswers = (a: Answer, b: Answer): Answer => ({
  rows: [...a.rows, ...b.rows],
  tables: [...a.tables, ...b.tables],
});

function rowOf({ name, role, variant }: Contestant, direction: Direction, report: RetrievalReport): ResultRow {
  return { encoder: name, role, variant, ...direction, ...report };
}

/** X-ray → CT of the same patient, and back, among all patients of the evaluation splits. */
function askPairs(
  judged: readonly Contestant[],
  {
    data,
    seed,
    ks,
    bootstrap,
  }: { data: string; seed: number; ks: readonly number[]; bootstrap: { rounds: number; random: Random } },
): Answer {
  const { set } = judged[0];
  const groupsOf = (m: Modality) => new Set(set.groups.filter((_, i) => set.modalities[i] === m));
  const [xray, ct] = [groupsOf("xray"), groupsOf("ct")];
  if (![...xray].some((group) => ct.has(group))) return { rows: [], tables: [] };
  const directions: Direction[] = [
    { from: "xray", to: "ct" },
    { from: "ct", to: "xray" },
  ];
  const rows = judged.flatMap((c) =>
    directions.map((direction) => rowOf(c, direction, pairRetrieval(c.set, c.set, { ...direction, ks, bootstrap }))),
  );
  return { rows, tables: tablesOf(rows, "The same patient in the other modality (exact pairs)", { data, seed, ks }) };
}

/** One table per K. */
function tablesOf(
  rows: readonly ResultRow[],
  title: string,
  { data, seed, ks }: { data: string; seed: number; ks: readonly number[] },
): Table[] {
  if (rows.length === 0) return [];
  const encoders = new Map<string, EncoderResults & { reports: Record<string, RetrievalReport> }>();
  for (const row of rows) {
    const { encoder: name, role, variant, from, to } = row;
    const entry = encoders.get(name) ?? { name, role, variant, reports: {} };
    entry.reports[directionName({ from, to })] = row;
    encoders.set(name, entry);
  }
  return ks.map((k) =>
    recallTable([...encoders.values()], { title: `${title}: Recall@${k}`, data, seed, metric: "recallAtK", k }),
  );
}
