/**
 * Protocols by name. The paper's own is not published, so a number means nothing without the rules that made it: each
 * protocol is a plain object, it has a version that rises when the same vectors would give another number, and it is
 * stored with the results.
 */
import { InputError, type Split } from "../types.js";
import type { EvaluationOptions } from "./protocol.js";

/** What is asked, of whom, and what counts as an answer. */
interface Question {
  readonly version: number;
  readonly question: string;
  readonly queries: string;
  readonly gallery: string;
  readonly relevance: NonNullable<EvaluationOptions["relevance"]>;
  /** Sides of the split that queries and gallery are taken from. */
  readonly querySplits: readonly Split[];
  readonly gallerySplits: readonly Split[];
  /** Whether a query may retrieve items of its own patient. */
  readonly ownPatient: "never retrieved" | "what is looked for" | "on one side only, which is checked";
}

const HELD_OUT = "patients that no encoder was trained on";
const QUERIES = `the split query: ${HELD_OUT}`;
const GALLERY = `the split gallery: other ${HELD_OUT}`;
const TRAIN = "the split train: patients that pretraining may see, without their labels";
const TEST = `the split query: ${HELD_OUT}; where the publisher has one test split, all of it`;
const held = {
  querySplits: ["query"],
  gallerySplits: ["gallery"],
  relevance: "label",
  ownPatient: "never retrieved",
} as const;
const trained = {
  querySplits: ["query"],
  gallerySplits: ["train"],
  relevance: "label",
  ownPatient: "on one side only, which is checked",
} as const;

export const PROTOCOLS = {
  "within-modality": {
    version: 1,
    question: "which pictures of the query's modality are most like it?",
    queries: `${QUERIES}; one modality`,
    gallery: `${GALLERY}; the same modality`,
    ...held,
  },
  pooled: {
    version: 1,
    question: "which pictures of any pretraining modality are most like it?",
    queries: `${QUERIES}; one pretraining modality, or all`,
    gallery: `${GALLERY}; all pretraining modalities together, the query's own among them`,
    ...held,
  },
  "cross-modal": {
    version: 1,
    question: "which pictures of another modality are most like it?",
    queries: `${QUERIES}; one modality`,
    gallery: `${GALLERY}; one other modality`,
    ...held,
  },
  "exact-pairs": {
    version: 1,
    question: "where is the same patient in the other modality?",
    queries: `the splits query and gallery: ${HELD_OUT}; one modality`,
    gallery: "the same patients; one other modality",
    querySplits: ["gallery", "query"],
    gallerySplits: ["gallery", "query"],
    relevance: "group",
    ownPatient: "what is looked for",
  },
  "train-gallery": {
    version: 1,
    question: "which pictures that pretraining may see, of the query's modality, are most like it?",
    queries: `${TEST}; one modality`,
    gallery: `${TRAIN}; the same modality`,
    ...trained,
  },
  "train-gallery-cross-modal": {
    version: 1,
    question: "which pictures that pretraining may see, of another modality, are most like it?",
    queries: `${TEST}; one modality`,
    gallery: `${TRAIN}; one other modality`,
    ...trained,
  },
  "given-sets": {
    version: 1,
    question: "which gallery items are most like the query?",
    queries: "as given; of a file with splits, the split query",
    gallery: "as given; of a file with splits, the split gallery",
    ...held,
  },
} as const satisfies Readonly<Record<string, Question>>;

export type ProtocolName = keyof typeof PROTOCOLS;

/** Plain values: it goes into results.json as it is. */
export interface Protocol extends Question {
  readonly name: ProtocolName;
  /** The column that makes an item relevant, or "group". */
  readonly label: string;
  readonly similarity: "cosine";
  /** Ties are in order of gallery row. */
  readonly search: "exact";
  readonly ks: readonly number[];
  readonly metrics: {
    readonly recallAtK: "1 where any of the first K is relevant, else 0";
    readonly precisionAtK: "the relevant share of the first K";
    readonly mAP: "average precision over the whole ranking";
    readonly mrr: "1 / place of the first relevant item, over the whole ranking";
    /** Where relevance is between label sets. */
    readonly ndcgAtK?: "DCG of the first K over the best possible; gain: Jaccard index of the label sets; discount: 1 / log2(place + 1)";
  };
  readonly averages: {
    readonly micro: "over queries";
    readonly macro: "over classes, of their means";
  };
  readonly unanswerable: "a query without a relevant item in the gallery is counted and left out";
  readonly chance: "exact expectation of a random order, query by query";
  readonly interval: {
    readonly method: "percentile bootstrap over patients; exact binomial at 0 and 1";
    readonly rounds: number;
    readonly level: number;
  };
  readonly comparison: {
    readonly method: "paired permutation test over patients, two-sided, on the same queries";
    readonly correction: "Holm, over every comparison of one table";
  };
}

export interface ProtocolSettings {
  /** Not for exact pairs. */
  readonly label?: string;
  readonly ks: readonly number[];
  readonly rounds: number;
  readonly level?: number;
  /** Of a gallery from train: what holds the test patients (`testSplits`), where it is more than the split `query`. */
  readonly testSplits?: readonly Split[];
  /** Columns that hold label sets (`labelSetsOf`): where the label is one of them, a hit is one shared label. */
  readonly labelSets?: readonly string[];
}

const GRADED =
  "DCG of the first K over the best possible; gain: Jaccard index of the label sets; discount: 1 / log2(place + 1)";

/** A protocol with its settings filled in. */
export function protocolOf(name: ProtocolName, settings: ProtocolSettings): Protocol {
  const { label, ks, rounds, level = 0.95, testSplits, labelSets = [] } = settings;
  const sets = label !== undefined && labelSets.includes(label);
  const question: Question = PROTOCOLS[name];
  if (question.relevance === "label" && !label) throw new InputError(`protocol ${name}: expected a label, got none`);
  return {
    name,
    ...question,
    ...(testSplits && question.gallerySplits.includes("train") ? { querySplits: testSplits } : {}),
    relevance: question.relevance === "label" && sets ? "set" : question.relevance,
    label: question.relevance === "group" ? "group" : label!,
    similarity: "cosine",
    search: "exact",
    ks,
    metrics: {
      recallAtK: "1 where any of the first K is relevant, else 0",
      precisionAtK: "the relevant share of the first K",
      mAP: "average precision over the whole ranking",
      mrr: "1 / place of the first relevant item, over the whole ranking",
      ...(sets ? { ndcgAtK: GRADED } : {}),
    },
    averages: { micro: "over queries", macro: "over classes, of their means" },
    unanswerable: "a query without a relevant item in the gallery is counted and left out",
    chance: "exact expectation of a random order, query by query",
    interval: { method: "percentile bootstrap over patients; exact binomial at 0 and 1", rounds, level },
    comparison: {
      method: "paired permutation test over patients, two-sided, on the same queries",
      correction: "Holm, over every comparison of one table",
    },
  };
}

/** `within-modality@1`: what tables and rows name. */
export function protocolId({ name, version }: Pick<Protocol, "name" | "version">): string {
  return `${name}@${version}`;
}

/** What `evaluateRetrieval` needs to know of a protocol, besides its generator. */
export function evaluationOf({
  relevance,
  label,
  ks,
  ownPatient,
}: Protocol): Pick<EvaluationOptions, "relevance" | "label" | "ks" | "disjoint"> {
  if (relevance === "group") return { relevance, ks };
  return { relevance, label, ks, disjoint: ownPatient === PROTOCOLS["train-gallery"].ownPatient };
}

/** A protocol in markdown, one line a rule, for notebooks. */
export function protocolMarkdown(protocol: Protocol): string {
  const { question, queries, gallery, relevance, label, ownPatient, ks, interval, comparison } = protocol;
  const relevant = {
    group: "the query's own patient",
    label: `the query's \`${label}\``,
    set: `any label that the query's \`${label}\` has too`,
  }[relevance];
  const rows = [
    ["question", question],
    ["queries", queries],
    ["gallery", gallery],
    ["relevant", relevant],
    ["the query's own patient", ownPatient],
    ["nearest by", `${protocol.similarity}, ${protocol.search} search, ties in order of the gallery`],
    ["K", ks.join(", ")],
    ["unanswerable queries", protocol.unanswerable],
    ...(protocol.metrics.ndcgAtK ? [["nDCG@K", protocol.metrics.ndcgAtK]] : []),
    ["micro, macro", `${protocol.averages.micro}; ${protocol.averages.macro}`],
    ["chance", protocol.chance],
    ["interval", `${100 * interval.level} %, ${interval.method}, ${interval.rounds} rounds`],
    ["encoders compared by", `${comparison.method}; ${comparison.correction}`],
  ];
  const lines = rows.map(([name, value]) => `| ${name} | ${value.replaceAll("|", "\\|")} |`);
  return [`**Protocol ${protocolId(protocol)}**`, "", "| rule | value |", "|---|---|", ...lines, ""].join("\n");
}
