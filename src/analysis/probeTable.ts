/** What frozen features know, as a table beside chance and the baselines. */
import { InputError } from "../types.js";
import type { Interval } from "../retrieval/bootstrap.js";
import { remarkOn, type Comparison } from "./comparisons.js";
import type { ProbeOutcomes, ProbeReport } from "./probe.js";
import {
  ABOVE_PIXELS,
  ABOVE_UNTRAINED,
  SIGNIFICANT,
  TESTED,
  type Cell,
  type Role,
  type Table,
  type Variant,
} from "./tables.js";

/** One encoder's probe. */
export interface ProbeResult {
  readonly name: string;
  readonly role: Role;
  readonly variant: Variant;
  readonly report: ProbeReport;
  /** For paired tests; not kept in results.json. */
  readonly outcomes?: ProbeOutcomes;
}

/** Columns of the table that are tested, by what of `ProbeOutcomes` they show. */
export const TESTED_COLUMNS = {
  linear: "linear: balanced accuracy",
  knn: "k-NN: balanced accuracy",
} as const satisfies Partial<Record<keyof ProbeOutcomes, string>>;

const COLUMNS: readonly [string, (report: ProbeReport) => Interval, "auroc" | "balancedAccuracy"][] = [
  ["linear: AUROC", (r) => r.linear.auroc, "auroc"],
  [TESTED_COLUMNS.linear, (r) => r.linear.balancedAccuracy, "balancedAccuracy"],
  ["k-NN: AUROC", (r) => r.knn.auroc, "auroc"],
  [TESTED_COLUMNS.knn, (r) => r.knn.balancedAccuracy, "balancedAccuracy"],
];

/**
 * Chance, then the encoders in the order given. A trained cell is marked ↑ where its interval lies above those of all untrained
 * rows of the same variant, and * where above those of all raw-pixel rows of it. A ceiling saw the modality in pretraining: it
 * is never marked. With `comparisons` (`compareProbes`), † and a remark for each family say what the paired tests found.
 *
 * @throws InputError where encoders were probed on other rows, labels or seeds than the rest
 */
export function probeTable(
  results: readonly ProbeResult[],
  about: { readonly data: string; readonly seed: number; readonly comparisons?: readonly Comparison[] },
): Table {
  const { comparisons = [] } = about;
  if (results.length === 0) throw new InputError("probe table: expected at least one encoder, got none");
  const [{ report: first }] = results;
  const task = ({ protocol, label, modality, classes, n }: ProbeReport) =>
    JSON.stringify([protocol, label, modality, classes, n]);
  const other = results.find(({ report }) => task(report) !== task(first));
  if (other) throw new InputError(`probe table: ${other.name} was probed on another task than ${results[0].name}`);

  const cell = (result: ProbeResult, column: string, read: (report: ProbeReport) => Interval): Cell => {
    const { name, role, variant, report } = result;
    const own = read(report);
    const above = (rival: Role): boolean => {
      const rivals = results.filter((one) => one.role === rival && one.variant === variant);
      return role === "trained" && rivals.length > 0 && rivals.every((one) => own.low > read(one.report).high);
    };
    const tested = comparisons.some(
      (c) => c.encoder === name && c.column === column && c.baseline === "untrained" && c.verdict === "above",
    );
    const marks = [
      above("untrained") ? ABOVE_UNTRAINED : "",
      above("pixels") ? ABOVE_PIXELS : "",
      tested ? SIGNIFICANT : "",
    ];
    return { ...own, marks: marks.join("") };
  };
  const chance = COLUMNS.map(([, , of]): Cell => {
    const value = first.chance[of];
    return { value, low: value, high: value, marks: "" };
  });
  const { n, label, modality, classes } = first;
  const chosen = results.map(({ name, report }) => `${name}: k ${report.knn.chosen}, C ${report.linear.chosen}`);
  return {
    title: `${modality} by frozen features: ${label}`,
    note:
      `${label} of ${classes.length} classes, ${modality}; data: ${about.data}; taught on ${n.train} rows of ${n.trainPatients} ` +
      `gallery patients, tested on ${n.test} rows of ${n.testPatients} query patients` +
      (n.leftOut > 0 ? `; ${n.leftOut} rows without a class that two gallery patients have, left out` : "") +
      `; seed ${about.seed}; ${first.protocol}; chosen: ${chosen.join("; ")}`,
    legend:
      `${ABOVE_UNTRAINED} interval above those of all untrained rows, ${ABOVE_PIXELS} above those of all raw-pixel rows, of the ` +
      "same variant" +
      (comparisons.length > 0 ? `; ${TESTED} (balanced accuracy; AUROC is not tested)` : ""),
    ...(comparisons.length > 0 ? { remarks: remarkOn(comparisons) } : {}),
    columns: COLUMNS.map(([name]) => name),
    rows: [
      { name: "chance", cells: chance },
      ...results.map((one) => ({ name: one.name, cells: COLUMNS.map(([column, read]) => cell(one, column, read)) })),
    ],
  };
}
