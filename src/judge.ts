/** Every table of the paper's claims, from embeddings alone: per modality, across modalities, exact pairs, MRI. */
import { compare, type Comparison, type Rivals } from "./analysis/comparisons.js";
import { recallTable, type EncoderResults, type Table, type TableOptions, type Variant } from "./analysis/tables.js";
import { trapsOf } from "./analysis/traps.js";
import type { Trap } from "./datasets/catalog.js";
import { centrePerModality, stackSets, type EmbeddingSet } from "./embeddings.js";
import type { NamedEmbeddings } from "./experiment.js";
import { Random } from "./random.js";
import { labelSetsIn, labelsIn } from "./retrieval/labelSets.js";
import { evaluateQueries, labelColumn, type QueryOutcomes, type RetrievalReport } from "./retrieval/protocol.js";
import { evaluationOf, protocolId, protocolOf, type Protocol, type ProtocolName } from "./retrieval/protocols.js";
import { galleryOf, queriesOf, type Direction, type Scope } from "./retrieval/sides.js";
import { InputError, MODALITIES, PRETRAIN_MODALITIES, UNSEEN_MODALITY } from "./types.js";
import type { Modality, OnProgress, Split } from "./types.js";

export type { Scope };

/** One encoder asked one question; the row of results.json. */
export interface ResultRow<From extends Scope = Modality, To extends Scope = Modality> extends RetrievalReport {
  readonly encoder: string;
  readonly role: NamedEmbeddings["role"];
  readonly variant: Variant;
  readonly from: From;
  readonly to: To;
  /** The protocol's name and version: its rules stand in `protocols` of results.json. */
  readonly rules: string;
}

/** A row of pooled retrieval: the gallery holds every pretraining modality. */
export type PooledRow = ResultRow<Scope, "all">;

/** A question that could not be asked, and why. */
export interface Unasked {
  readonly from: Scope;
  readonly to: Scope;
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
  /** What is known to mislead in this data: printed beside the numbers that it concerns. */
  readonly traps?: readonly Trap[];
  /** The splits that hold the test patients (`testSplits`): all of them ask where the gallery is from train. Default: `query`. */
  readonly testSplits?: readonly Split[];
  /** Columns that hold label sets: a hit is then one shared label, and nDCG@K stands beside the rest. Default: as the vectors say. */
  readonly labelSets?: readonly string[];
  /** Only these questions; the others are left empty. All where absent. */
  readonly only?: readonly Question[];
  /** Told after every question. */
  readonly onProgress?: OnProgress;
}

/** A part of a judgement. */
export type Question = "perModality" | "pooled" | "crossModal" | "pairs" | "mri" | "trainGallery";

/** One question of every encoder: the rows, and the same as tables that print. */
export interface Answer<Row = ResultRow> {
  readonly rows: readonly Row[];
  /** Micro-averaged, one per K of Recall@K, smallest first; empty where nothing could be asked. */
  readonly tables: readonly Table[];
  /** Recall@1 macro-averaged, Precision@K of the largest K, mAP and MRR. */
  readonly furtherTables: readonly Table[];
  /** Paired tests of Recall@K at every K, of each trained row against its untrained twin and against raw pixels. */
  readonly comparisons: readonly Comparison[];
}

export interface Judgement {
  readonly perModality: Answer;
  /** Into a gallery of all pretraining modalities together. */
  readonly pooled: Answer<PooledRow>;
  readonly crossModal: Answer;
  /** The same patient's CT among all: `relevance` is the group. Empty where no patient has both. */
  readonly pairs: Answer;
  readonly mri: Answer;
  /** Gallery from the training split, queries from the test patients: within, and across modalities. MRI asks and is never there. */
  readonly trainGallery: Answer;
  readonly unasked: readonly Unasked[];
  /** The rules of every question that was asked, by `ResultRow.rules`. */
  readonly protocols: Readonly<Record<string, Protocol>>;
}

/** Throws where embeddings that come from a ceiling are to stand in a table as something else. */
export function assertCeilingSaysSo({ name, role, set }: Pick<NamedEmbeddings, "name" | "role" | "set">): void {
  if (set.meta.ceiling !== undefined && role !== "ceiling") {
    throw new InputError(`${name}: ${set.meta.ceiling}; expected the role "ceiling", got "${role}"`);
  }
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

/** One question in several directions. */
interface Asked<From extends Scope, To extends Scope> {
  /** Part of the tables' file names. */
  readonly name: string;
  readonly title: string;
  readonly protocol: Protocol;
  readonly directions: readonly Direction<From, To>[];
  readonly who: readonly Contestant[];
}

/** Why a question cannot be asked of this data, or null. */
function obstacle(direction: Direction, protocol: Protocol, set: EmbeddingSet): string | null {
  const { from, to } = direction;
  const [queries, gallery] = [queriesOf(set, direction, protocol), galleryOf(set, direction, protocol)];
  const pairs = protocol.relevance === "group";
  if (queries.n === 0) return `no ${from} among the ${pairs ? "samples" : "queries"}`;
  if (gallery.n === 0) return `no ${to} ${pairs ? "among the samples" : "in the gallery"}`;
  const column = (of: EmbeddingSet, name: string) => {
    if (pairs) return of.groups;
    const values = labelColumn(of, protocol.label, name);
    return protocol.relevance === "set" ? values.flatMap(labelsIn) : values;
  };
  const answers = new Set(column(gallery, "gallery"));
  const shared = column(queries, "queries").some((value) => value !== "" && answers.has(value));
  return shared ? null : `no ${pairs ? "patient" : protocol.label} is shared by ${from} queries and ${to} gallery`;
}

const NOTHING_ASKED: Answer<never> = { rows: [], tables: [], furtherTables: [], comparisons: [] };

/** Questions of a judgement, those in two parts counted twice. */
const ASKED = 8;

/** Judges all encoders on all questions with one seed; every encoder meets the same bootstrap resamples. */
export function judge(all: readonly NamedEmbeddings[], options: JudgeOptions): Judgement {
  const { label, crossModalLabel, ks, rounds } = options;
  all.forEach(assertCeilingSaysSo);
  const judged = contestants(all);
  const uncentred = judged.filter(({ variant }) => variant !== "centred");
  const unasked: Unasked[] = [];
  const protocols: Record<string, Protocol> = {};
  const { testSplits, labelSets = labelSetsIn(all[0].set) } = options;
  const rules = (name: ProtocolName, by: string) => protocolOf(name, { label: by, ks, rounds, testSplits, labelSets });

  const wanted = (question: Question) => options.only?.includes(question) ?? true;
  let done = 0;
  const ask = <From extends Scope, To extends Scope>(
    question: Question,
    asked: Asked<From, To>,
  ): Answer<ResultRow<From, To>> => {
    const answer = wanted(question) ? answered(asked) : NOTHING_ASKED;
    options.onProgress?.({ label: "judge", done: ++done, total: ASKED, note: asked.name });
    return answer;
  };
  const answered = <From extends Scope, To extends Scope>(asked: Asked<From, To>): Answer<ResultRow<From, To>> => {
    const { protocol } = asked;
    const possible = asked.directions.filter((direction) => {
      const reason = obstacle(direction, protocol, asked.who[0].set);
      if (reason) unasked.push({ ...direction, label: protocol.label, reason });
      return reason === null;
    });
    if (possible.length === 0) return NOTHING_ASKED;
    protocols[protocolId(protocol)] = protocol;
    return answerOf({ ...asked, directions: possible }, options);
  };

  const present = MODALITIES.filter((m) => all[0].set.modalities.includes(m));
  const seen = present.filter((m) => PRETRAIN_MODALITIES.includes(m));
  const within = seen.map((m) => ({ from: m, to: m }));
  const across = seen.flatMap((from) => seen.filter((to) => to !== from).map((to) => ({ from, to })));
  const intoAll = ([...seen, "all"] as const).map((from) => ({ from, to: "all" as const }));
  const unseen = present.includes(UNSEEN_MODALITY) ? [UNSEEN_MODALITY] : [];
  const withTrain = wanted("trainGallery") ? trainToo(all) : [];
  const pairs: Direction<Modality, Modality>[] = [
    { from: "xray", to: "ct" },
    { from: "ct", to: "xray" },
  ];
  return {
    perModality: ask("perModality", {
      name: "within",
      title: "Retrieval within each modality",
      protocol: rules("within-modality", label),
      directions: within,
      who: uncentred,
    }),
    pooled: ask("pooled", {
      name: "pooled",
      title: "Retrieval among all pretraining modalities",
      protocol: rules("pooled", crossModalLabel),
      directions: seen.length > 1 ? intoAll : [],
      who: judged,
    }),
    crossModal: ask("crossModal", {
      name: "cross-modal",
      title: "Retrieval across modalities, no pairs in training",
      protocol: rules("cross-modal", crossModalLabel),
      directions: across,
      who: judged,
    }),
    pairs: ask("pairs", {
      name: "pairs",
      title: "The same patient in the other modality (exact pairs)",
      protocol: rules("exact-pairs", "group"),
      directions: pairs.every(({ from }) => present.includes(from)) ? pairs : [],
      who: judged,
    }),
    mri: mergeAnswers(
      ask("mri", {
        name: "mri",
        title: "Transfer to MRI, never seen in pretraining",
        protocol: rules("within-modality", label),
        directions: unseen.map((m) => ({ from: m, to: m })),
        who: uncentred,
      }),
      ask("mri", {
        name: "mri-to-seen",
        title: "From MRI to what was seen",
        protocol: rules("cross-modal", crossModalLabel),
        directions: unseen.flatMap((from) => seen.map((to) => ({ from, to }))),
        who: uncentred,
      }),
    ),
    trainGallery: mergeAnswers(
      ask("trainGallery", {
        name: "train-gallery",
        title: "Gallery from the training split, within each modality",
        protocol: rules("train-gallery", label),
        directions: withTrain.length > 0 ? within : [],
        who: withTrain,
      }),
      ask("trainGallery", {
        name: "train-gallery-cross-modal",
        title: "Gallery from the training split, across modalities",
        protocol: rules("train-gallery-cross-modal", crossModalLabel),
        directions:
          withTrain.length > 0 ? [...across, ...unseen.flatMap((from) => seen.map((to) => ({ from, to })))] : [],
        who: withTrain,
      }),
    ),
    unasked,
    protocols,
  };
}

/** Every encoder whose vectors of the training split are there, beside the others; runs of earlier versions kept none. */
function trainToo(all: readonly NamedEmbeddings[]): Contestant[] {
  return all.flatMap(({ name, role, variant, set, train }) =>
    train === undefined ? [] : [{ name, role, variant, set: stackSets([set, train]) }],
  );
}

function mergeAnswers<Row>(a: Answer<Row>, b: Answer<Row>): Answer<Row> {
  return {
    rows: [...a.rows, ...b.rows],
    tables: [...a.tables, ...b.tables],
    furtherTables: [...a.furtherTables, ...b.furtherTables],
    comparisons: [...a.comparisons, ...b.comparisons],
  };
}

/** A row, and what its queries scored. */
interface Measured<Row> {
  readonly row: Row;
  readonly outcomes: QueryOutcomes;
}

function answerOf<From extends Scope, To extends Scope>(
  asked: Asked<From, To>,
  { data, seed, ks, rounds, traps = [] }: JudgeOptions,
): Answer<ResultRow<From, To>> {
  const { protocol, directions, who, name, title } = asked;
  const random = new Random(seed).fork("judge");
  const measured = who.flatMap(({ name: encoder, role, variant, set }) =>
    directions.map((direction): Measured<ResultRow<From, To>> => {
      const { report, outcomes } = evaluateQueries(
        queriesOf(set, direction, protocol),
        galleryOf(set, direction, protocol),
        { ...evaluationOf(protocol), bootstrap: { rounds, random } },
      );
      return { row: { encoder, role, variant, ...direction, rules: protocolId(protocol), ...report }, outcomes };
    }),
  );
  const rows = measured.map(({ row }) => row);
  const rivals = rivalsOf(measured);
  const comparisons = ks.map((k) => compare(rivals, { metric: "recallAtK", k, random: random.fork("paired"), rounds }));
  const remarks = trapsOf(rows, traps);
  const table = (of: string, suffix: string, rest: Pick<TableOptions, "metric" | "k" | "average" | "comparisons">) =>
    tableOf(rows, {
      ...rest,
      title: `${title}: ${of}`,
      name: `${name}-${suffix}`,
      ...{ data, seed, protocol: protocolId(protocol), traps: remarks },
    });
  const most = Math.max(...ks);
  const classes = rows.some(({ perClass }) => Object.keys(perClass).length > 0);
  return {
    rows,
    tables: ks.map((k, i) =>
      table(`Recall@${k}`, `recall-${k}`, { metric: "recallAtK", k, comparisons: comparisons[i] }),
    ),
    furtherTables: [
      ...(classes
        ? [table(`macro Recall@${ks[0]}`, `recall-${ks[0]}-macro`, { metric: "recallAtK", k: ks[0], average: "macro" })]
        : []),
      table(`Precision@${most}`, `precision-${most}`, { metric: "precisionAtK", k: most }),
      ...(protocol.relevance === "set" ? [table(`nDCG@${most}`, `ndcg-${most}`, { metric: "ndcgAtK", k: most })] : []),
      table("mAP", "map", { metric: "mAP" }),
      table("MRR", "mrr", { metric: "mrr" }),
    ],
    comparisons: comparisons.flat(),
  };
}

/** The untrained encoder with the same pooling and variant: `MAE, mean` has the twin `untrained, mean`. */
export function twinName(encoder: string): string {
  return encoder.replace(/^[^,]+/, "untrained");
}

/** Every trained row with its untrained twin, and with the raw pixels of its variant. */
function rivalsOf(measured: readonly Measured<ResultRow<Scope, Scope>>[]): Rivals[] {
  return measured.flatMap(({ row, outcomes: ours }) => {
    if (row.role !== "trained") return [];
    const same = measured.filter(({ row: other }) => other.from === row.from && other.to === row.to);
    const twin = same.find(({ row: other }) => other.role === "untrained" && other.encoder === twinName(row.encoder));
    const pixels = same.find(({ row: other }) => other.role === "pixels" && other.variant === row.variant);
    const about = { encoder: row.encoder, column: directionName(row), ours };
    return [
      ...(twin ? [{ ...about, against: twin.row.encoder, baseline: "untrained", theirs: twin.outcomes } as const] : []),
      ...(pixels
        ? [{ ...about, against: pixels.row.encoder, baseline: "pixels", theirs: pixels.outcomes } as const]
        : []),
    ];
  });
}

function tableOf(rows: readonly ResultRow<Scope, Scope>[], options: TableOptions): Table {
  const encoders = new Map<string, EncoderResults & { reports: Record<string, RetrievalReport> }>();
  for (const row of rows) {
    const { encoder: name, role, variant } = row;
    const entry = encoders.get(name) ?? { name, role, variant, reports: {} };
    entry.reports[directionName(row)] = row;
    encoders.set(name, entry);
  }
  return recallTable([...encoders.values()], options);
}
