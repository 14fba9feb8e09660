/** The alignment of modalities as a table: encoders by measures, each number with its interval, its null and its baseline. */
import type { EmbeddingSet } from "../embeddings.js";
import { InputError, type Modality } from "../types.js";
import {
  BETTER,
  FEWEST_PAIRS,
  MEASURES,
  measureAlignment,
  type Measure,
  type Measurement,
  type MeasureOptions,
} from "./alignmentMeasures.js";
import type { Cell, Role, Table, Variant } from "./tables.js";

/** Embeddings with a name, as every table takes them. */
export interface AlignmentContestant {
  readonly name: string;
  readonly role: Role;
  readonly variant: Variant;
  readonly set: EmbeddingSet;
}

/** One measurement and whose it is; plain data, for results.json and figures. */
export interface AlignmentRow extends Measurement {
  readonly encoder: string;
  readonly role: Role;
  readonly variant: Variant;
  readonly from: Modality;
  readonly to: Modality;
}

/** Every measure of every encoder between two modalities. All encoders meet the same permutations and resamples. */
export function alignmentRows(
  all: readonly AlignmentContestant[],
  [from, to]: readonly [Modality, Modality],
  options: MeasureOptions,
): AlignmentRow[] {
  return all.flatMap(({ name: encoder, role, variant, set }) =>
    measureAlignment(set, from, to, options).map((one) => ({ encoder, role, variant, from, to, ...one })),
  );
}

/**
 * Which tests survive when the share of false ones among those that do is to stay below q (Benjamini & Hochberg 1995):
 * the largest k with p_(k) ≤ q k / m, and all below it. `falseDiscovery([0.01, 0.04, 0.03, 0.5], 0.05)` is [true, false, false,
 * false]; with 0.02 in place of 0.03 the first and the third survive.
 */
export function falseDiscovery(p: readonly number[], q = 0.05): boolean[] {
  const order = p.map((_, i) => i).sort((a, b) => p[a] - p[b]);
  const last = order.reduce((found, i, place) => (p[i] <= (q * (place + 1)) / p.length ? place : found), -1);
  const survives = p.map(() => false);
  order.slice(0, last + 1).forEach((i) => (survives[i] = true));
  return survives;
}

export const SIGNIFICANT = "†";
const BETTER_MARK = "↑";

export interface AlignmentTableOptions {
  readonly data: string;
  readonly seed: number;
  readonly label: string;
  readonly title?: string;
}

/**
 * Encoders by measures. A cell reads `value [95 % interval] marks`: † where its permutation test survives the correction over
 * all tests of this table, ↑ where a trained encoder's interval lies on the better side of those of all untrained rows of the
 * same variant. The null of each cell stands in the rows, and in `nullTable`.
 */
export function alignmentTable(rows: readonly AlignmentRow[], options: AlignmentTableOptions): Table {
  const { columns, names, find, from, to } = layout(rows);
  const tested = rows.filter((row) => row.p !== null);
  const survives = falseDiscovery(tested.map((row) => row.p!));
  const significant = new Set(tested.filter((_, i) => survives[i]));

  const better = (row: AlignmentRow): boolean => {
    const rivals = rows.filter((r) => r.role === "untrained" && r.variant === row.variant && r.measure === row.measure);
    if (row.role !== "trained" || rivals.length === 0) return false;
    return BETTER[row.measure] === "higher"
      ? rivals.every((rival) => row.low > rival.high)
      : rivals.every((rival) => row.high < rival.low);
  };
  const cell = (row: AlignmentRow | undefined): Cell | null => {
    if (row === undefined) return null;
    const marks = (significant.has(row) ? SIGNIFICANT : "") + (better(row) ? BETTER_MARK : "");
    return { value: row.value, low: row.low, high: row.high, marks };
  };
  return {
    title: options.title ?? `Alignment of ${from} and ${to}, no pairs in training`,
    note: `${noteOf(rows, columns, options)}; [95 % interval: bootstrap over patients, jackknife for CKA, gap and uniformity]`,
    legend:
      `${SIGNIFICANT} beyond its permutation null at a false discovery rate of 0.05 over the ${tested.length} tests of this ` +
      `table; for the gap it says that the gap is real; ${BETTER_MARK} interval on the better side of those of all untrained ` +
      "rows of the same variant",
    columns: columns.map(columnName),
    rows: names.map((name) => ({ name, cells: columns.map((measure) => cell(find(name, measure))) })),
  };
}

/** The same cells' nulls: the mean of what chance gives, and the ends that hold 95 % of it. */
export function nullTable(rows: readonly AlignmentRow[], options: AlignmentTableOptions): Table {
  const { columns, names, find, from, to } = layout(rows);
  const cell = (row: AlignmentRow | undefined): Cell | null =>
    row === undefined ? null : { value: row.nullMean, low: row.nullLow, high: row.nullHigh, marks: "" };
  return {
    title: options.title ?? `What chance gives: ${from} and ${to}, permuted`,
    note: `${noteOf(rows, columns, options)}; mean [95 % of the permuted values]`,
    legend: "for uniformity, random directions of the same number and width: nothing that belongs together enters it",
    columns: columns.map(columnName),
    rows: names.map((name) => ({ name, cells: columns.map((measure) => cell(find(name, measure))) })),
  };
}

const columnName = (measure: Measure): string =>
  BETTER[measure] === "lower" ? `${measure} (less is better)` : measure;

function layout(rows: readonly AlignmentRow[]) {
  if (rows.length === 0) throw new InputError(`alignment table: expected at least one row, got none; ${WHY_NONE}`);
  const { from, to } = rows[0];
  const other = rows.find((row) => row.from !== from || row.to !== to);
  if (other) {
    throw new InputError(
      `alignment table: expected one pair of modalities, got ${from}, ${to} and ${other.from}, ${other.to}`,
    );
  }
  const columns = MEASURES.filter((measure) => rows.some((row) => row.measure === measure));
  const names = [...new Set(rows.map((row) => row.encoder))];
  const find = (name: string, measure: Measure) => rows.find((row) => row.encoder === name && row.measure === measure);
  return { columns, names, find, from, to };
}

const WHY_NONE = `measures need a shared label, or ${FEWEST_PAIRS} patients with both modalities`;

function noteOf(
  rows: readonly AlignmentRow[],
  columns: readonly Measure[],
  { data, seed, label }: AlignmentTableOptions,
) {
  const sizes = columns.map((measure) => `${measure} ${rows.find((row) => row.measure === measure)!.n}`);
  return `region: same ${label}; pairs: same patient; data: ${data}; n: ${sizes.join(", ")}; seed ${seed}`;
}
