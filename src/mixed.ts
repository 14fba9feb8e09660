/**
 * The paper's claim that modalities help each other, as a table: a method trained on the mixture, beside the same method
 * trained on each modality alone, judged on the same queries.
 */
import { compare, type Comparison } from "./analysis/comparisons.js";
import { recallTable, type EncoderResults, type Table } from "./analysis/tables.js";
import { trapsOf } from "./analysis/traps.js";
import type { Trap } from "./datasets/catalog.js";
import { selectRows, type EmbeddingSet } from "./embeddings.js";
import { Random } from "./random.js";
import { evaluateQueries, type QueryOutcomes, type RetrievalReport } from "./retrieval/protocol.js";
import { evaluationOf, protocolId, protocolOf } from "./retrieval/protocols.js";
import { InputError, MODALITIES, type Modality } from "./types.js";

/** One training run's vectors of the gallery and query samples, and what it was trained on. */
export interface TrainedOn {
  /** Such as "MAE, mean, whitened": runs of one method are compared with each other. */
  readonly method: string;
  readonly modalities: readonly Modality[];
  readonly set: EmbeddingSet;
}

export interface MixedOptions {
  readonly label: string;
  readonly data: string;
  readonly seed: number;
  readonly k?: number;
  readonly rounds?: number;
  readonly traps?: readonly Trap[];
}

export interface MixedAnswer {
  /** Rows: each training set of each method; columns: the modality that is judged. */
  readonly table: Table;
  /** Mixed against single, on the single one's own modality; corrected by Holm over all of them. */
  readonly comparisons: readonly Comparison[];
  /** One sentence, from the comparisons alone. */
  readonly summary: string;
}

const nameOf = ({ method, modalities }: TrainedOn): string =>
  `${method}, ${modalities.length > 1 ? "mixed" : `${modalities[0]} only`}`;

/**
 * Judges every run within every modality of the data, and compares the mixed run of a method with each single-modality run
 * of it on that modality. Both runs must have had the same steps and batch for the comparison to be fair to the mixture, which
 * then saw fewer samples of each modality: the caller says what it was.
 *
 * @param runs at least one mixed run (several modalities) and one of a single modality, of the same method
 * @throws InputError where a method has no mixed run or several, or nothing can be compared
 */
export function mixedVersusSingle(
  runs: readonly TrainedOn[],
  { label, data, seed, k = 1, rounds = 1000, traps = [] }: MixedOptions,
): MixedAnswer {
  const protocol = protocolOf("within-modality", { label, ks: [k], rounds });
  const random = new Random(seed).fork("mixed");
  const judged = runs.map((run) => {
    const { set } = run;
    const reports: Record<string, RetrievalReport> = {};
    const outcomes: Record<string, QueryOutcomes> = {};
    for (const modality of MODALITIES.filter((m) => set.modalities.includes(m))) {
      const of = (split: string) => selectRows(set, (i) => set.modalities[i] === modality && set.splits[i] === split);
      const found = evaluateQueries(of("query"), of("gallery"), {
        ...evaluationOf(protocol),
        bootstrap: { rounds, random },
      });
      reports[modality] = found.report;
      outcomes[modality] = found.outcomes;
    }
    return { run, reports, outcomes };
  });

  const rivals = [...new Set(runs.map(({ method }) => method))].flatMap((method) => {
    const own = judged.filter(({ run }) => run.method === method);
    const mixed = own.filter(({ run }) => run.modalities.length > 1);
    if (mixed.length !== 1)
      throw new InputError(`${method}: expected one run of several modalities, got ${mixed.length}`);
    return own.flatMap(({ run, outcomes }) => {
      if (run.modalities.length > 1) return [];
      const [column] = run.modalities;
      const theirs = outcomes[column];
      if (theirs === undefined) return [];
      const about = { encoder: nameOf(mixed[0].run), against: nameOf(run), baseline: "single modality" } as const;
      return [{ ...about, column, ours: mixed[0].outcomes[column], theirs }];
    });
  });
  if (rivals.length === 0) throw new InputError("mixed against single: expected a run of one modality, got none");

  const comparisons = compare(rivals, { metric: "recallAtK", k, random, rounds });
  const encoders = judged.map(({ run, reports }): EncoderResults => ({ name: nameOf(run), role: "trained", reports }));
  const rows = Object.entries(judged[0].reports).map(([m, { perClass }]) => ({ from: m, to: m, label, perClass }));
  const table = recallTable(encoders, {
    ...{ title: `Mixed against single-modality pretraining: Recall@${k}`, name: `mixed-recall-${k}` },
    ...{ data, seed, metric: "recallAtK", k, comparisons, protocol: protocolId(protocol), traps: trapsOf(rows, traps) },
  });
  return { table, comparisons, summary: summaryOf(comparisons) };
}

function summaryOf(comparisons: readonly Comparison[]): string {
  const count = (verdict: Comparison["verdict"]) => comparisons.filter((c) => c.verdict === verdict).length;
  const higher = comparisons.filter(({ difference }) => difference.value > 0).length;
  return (
    `The mixture is higher than the same method on that modality alone in ${higher} of ${comparisons.length} comparisons; by the ` +
    `paired test it is above in ${count("above")}, below in ${count("below")}, and not told apart in ${count("not told apart")} ` +
    `(Holm over ${comparisons.length}).`
  );
}
