/** What frozen features know, as a table beside chance and the baselines. */
import { InputError } from "../types.js";
import type { Interval } from "../retrieval/bootstrap.js";
import type { ProbeReport } from "./probe.js";
import { ABOVE_PIXELS, ABOVE_UNTRAINED, type Cell, type Role, type Table, type Variant } from "./tables.js";

/** One encoder's probe. */
export interface ProbeResult {
  readonly name: string;
  readonly role: Role;
  readonly variant: Variant;
  readonly report: ProbeReport;
}

const COLUMNS: readonly [string, (report: ProbeReport) => Interval, "auroc" | "balancedAccuracy"][] = [
  ["linear: AUROC", (r) => r.linear.auroc, "auroc"],
  ["linear: balanced accuracy", (r) => r.linear.balancedAccuracy, "balancedAccuracy"],
  ["k-NN: AUROC", (r) => r.knn.auroc, "auroc"],
  ["k-NN: balanced accuracy", (r) => r.knn.balancedAccuracy, "balancedAccuracy"],
];

/**
 * Chance, then the encoders in the order given. A trained cell is marked ↑ where its interval lies above those of all untrained
 * rows of the same variant, and * where above those of all raw-pixel rows of it. A ceiling saw the modality in pretraining: it
 * is never marked.
 *
 * @throws InputError where encoders were probed on other rows, labels or seeds than the rest
 */
export function probeTable(
  results: readonly ProbeResult[],
  about: { readonly data: string; readonly seed: number },
): Table {
  if (results.length === 0) throw new InputError("probe table: expected at least one encoder, got none");
  const [{ report: first }] = results;
  const task = ({ protocol, label, modality, classes, n }: ProbeReport) =>
    JSON.stringify([protocol, label, modality, classes, n]);
  const other = results.find(({ report }) => task(report) !== task(first));
  if (other) throw new InputError(`probe table: ${other.name} was probed on another task than ${results[0].name}`);

  const cell = ({ role, variant, report }: ProbeResult, read: (report: ProbeReport) => Interval): Cell => {
    const own = read(report);
    const above = (rival: Role): boolean => {
      const rivals = results.filter((one) => one.role === rival && one.variant === variant);
      return role === "trained" && rivals.length > 0 && rivals.every((one) => own.low > read(one.report).high);
    };
    return { ...own, marks: (above("untrained") ? ABOVE_UNTRAINED : "") + (above("pixels") ? ABOVE_PIXELS : "") };
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
      "same variant",
    columns: COLUMNS.map(([name]) => name),
    rows: [
      { name: "chance", cells: chance },
      ...results.map((one) => ({ name: one.name, cells: COLUMNS.map(([, read]) => cell(one, read)) })),
    ],
  };
}
