/** The honest table: every number stands beside chance, raw pixels and an untrained encoder, with its interval. */
import type { DataFrame } from "danfojs-node";
import type { Interval } from "../retrieval/bootstrap.js";
import type { Metrics, RetrievalReport } from "../retrieval/protocol.js";
import { InputError } from "../types.js";
import { remarkOn, type Comparison } from "./comparisons.js";

/**
/**
 * What a row is compared as: trained rows are marked against `pixels` and `untrained`. `classical` descriptors learn
 * nothing; `pretrained` encoders come from elsewhere. A `ceiling` saw MRI in pretraining (`CEILING`): it is never marked,
 * and nothing is marked against it.
 */
export type Role = "pixels" | "classical" | "pretrained" | "untrained" | "trained" | "ceiling";

/**
 * What was done to the vectors before they were compared: nothing; each modality minus its mean; or PCA whitening
 * learned on the training split.
 */
export type Variant = "plain" | "centred" | "whitened";

/** One encoder's results, by column of the table: a modality, or a direction such as "xray → ct". */
export interface EncoderResults {
  readonly name: string;
  readonly role: Role;
  /** Rows are compared with baselines of the same variant only, because centring or whitening alone helps. */
  readonly variant?: Variant;
  readonly reports: Readonly<Record<string, RetrievalReport>>;
}

export interface TableOptions {
  readonly title: string;
  /** The data set that the numbers were made on. */
  readonly data: string;
  readonly seed: number | string;
  readonly metric: "recallAtK" | "precisionAtK" | "mAP" | "mrr" | "ndcgAtK";
  /** For recall, precision and nDCG. */
  readonly k?: number;
  /** Over queries (micro, the default), or over classes, each counting the same however many queries it has. */
  readonly average?: Average;
  /** How the table is called in files: `within-recall-1`. */
  readonly name?: string;
  /** The rules that made the numbers: `within-modality@1`. */
  readonly protocol?: string;
  /** Paired tests of this metric, corrected among themselves: cells are marked by them, and a remark sums them up. */
  readonly comparisons?: readonly Comparison[];
  /** What a reader has to know of the data before believing a number. */
  readonly traps?: readonly string[];
}

export type Average = "micro" | "macro";

export interface Cell extends Interval {
  /** Some of `ABOVE_UNTRAINED`, `ABOVE_PIXELS` and `SIGNIFICANT`. */
  readonly marks: string;
}

export interface TableRow {
  readonly name: string;
  /** One per column; null where this encoder was not measured. The chance row's intervals have no width. */
  readonly cells: readonly (Cell | null)[];
}

/** Plain data: it goes into results.json as it is. */
export interface Table {
  readonly title: string;
  /** Data set, sizes, seed and interval: what a number needs to travel with. */
  readonly note: string;
  readonly legend: string;
  /** What paired tests said, and the traps of the data: one sentence each. */
  readonly remarks?: readonly string[];
  /** How the table is called in files. */
  readonly name?: string;
  readonly columns: readonly string[];
  readonly rows: readonly TableRow[];
}

export const ABOVE_UNTRAINED = "↑";
export const ABOVE_PIXELS = "*";
/** Above the untrained encoder of the same pooling and variant by the paired test, corrected. */
export const SIGNIFICANT = "†";

function readMetric(report: RetrievalReport, { metric, k, average }: TableOptions): Interval {
  const metrics: Metrics = average === "macro" ? report.macro : report;
  if (metric === "mAP" || metric === "mrr") return metrics[metric];
  const interval = metrics[metric]?.[String(k)];
  if (interval === undefined) {
    if (metric === "ndcgAtK") throw new InputError("table: nDCG was not measured: it is of label sets");
    throw new InputError(`table: k = ${k} was not measured; there are k = ${Object.keys(report[metric]).join(", ")}`);
  }
  return interval;
}

/** What chance gives; of a macro average the mean of the classes' own. */
function chanceOf(report: RetrievalReport, options: TableOptions): number {
  const key = chanceKey(options);
  const classes = Object.values(report.perClass);
  if (options.average !== "macro" || classes.length === 0) return report.chance[key];
  return classes.reduce((sum, { chance }) => sum + chance[key], 0) / classes.length;
}

function chanceKey({ metric, k }: TableOptions): string {
  if (metric === "recallAtK") return String(k);
  if (metric === "ndcgAtK") return `ndcg@${k}`;
  return metric === "precisionAtK" ? "precision" : metric;
}

/** "600" where all columns agree, and "xray 600, ct 400" where they do not. */
function perColumn(columns: readonly string[], value: (column: string) => number): string {
  const values = columns.map(value);
  if (values.every((n) => n === values[0])) return String(values[0]);
  return columns.map((column, i) => `${column} ${values[i]}`).join(", ");
}

/**
 * Rows are chance and then the encoders in the order given; columns are those of the first encoder, and any that later
 * ones add. Chance comes from the reports themselves, exactly; encoders that were judged on other queries or another
 * gallery than the rest cannot stand in one table, and an `InputError` says so.
 *
 * A trained cell is marked ↑ where its interval lies above that of every untrained row of the same variant (its low
 * end above their high ends), and * where it lies above that of every raw-pixel row of the same variant.
 */
export function recallTable(encoders: readonly EncoderResults[], options: TableOptions): Table {
  if (encoders.length === 0) throw new InputError("table: expected at least one encoder, got none");
  if (options.metric !== "mAP" && options.metric !== "mrr" && options.k === undefined) {
    throw new InputError(`table: expected k for ${options.metric}, got none`);
  }
  const columns = [...new Set(encoders.flatMap((encoder) => Object.keys(encoder.reports)))];
  const first = Object.fromEntries(
    columns.map((column) => [column, encoders.find((encoder) => column in encoder.reports)!.reports[column]]),
  );
  for (const encoder of encoders) {
    for (const [column, report] of Object.entries(encoder.reports))
      assertSameTask(first[column], report, column, encoder);
  }

  const chance: TableRow = {
    name: "chance",
    cells: columns.map((column) => {
      const value = chanceOf(first[column], options);
      return { value, low: value, high: value, marks: "" };
    }),
  };
  const highest = (role: Role, variant: Variant, column: string): number =>
    encoders
      .filter((e) => e.role === role && (e.variant ?? "plain") === variant && column in e.reports)
      .reduce((most, e) => Math.max(most, readMetric(e.reports[column], options).high), -Infinity);
  const rows = encoders.map((encoder): TableRow => {
    const cells = columns.map((column): Cell | null => {
      if (!(column in encoder.reports)) return null;
      const interval = readMetric(encoder.reports[column], options);
      const above = (role: Role): boolean => {
        const baseline = highest(role, encoder.variant ?? "plain", column);
        return encoder.role === "trained" && baseline > -Infinity && interval.low > baseline;
      };
      const tested = options.comparisons?.some(
        (c) => c.encoder === encoder.name && c.column === column && c.baseline === "untrained" && c.verdict === "above",
      );
      const marks = [
        above("untrained") ? ABOVE_UNTRAINED : "",
        above("pixels") ? ABOVE_PIXELS : "",
        tested ? SIGNIFICANT : "",
      ].join("");
      return { ...interval, marks };
    });
    return { name: encoder.name, cells };
  });

  return {
    title: options.title,
    note: noteOf(first, columns, options),
    legend: options.comparisons ? `${LEGEND}; ${TESTED}` : LEGEND,
    remarks: [...remarkOn(options.comparisons ?? []), ...(options.traps ?? [])],
    ...(options.name === undefined ? {} : { name: options.name }),
    columns,
    rows: [chance, ...rows],
  };
}

const LEGEND =
  `${ABOVE_UNTRAINED} interval above those of all untrained rows, ${ABOVE_PIXELS} above those of all raw-pixel rows, of the ` +
  "same variant: plain; centred (each modality minus its mean, so the query's modality is known); whitened (PCA of the " +
  "training split, no labels)";

export const TESTED =
  `${SIGNIFICANT} above the untrained encoder of the same pooling and variant by a paired permutation test over patients, ` +
  "p < 0.05 after Holm's correction";

function assertSameTask(a: RetrievalReport, b: RetrievalReport, column: string, encoder: EncoderResults): void {
  const task = (r: RetrievalReport) => JSON.stringify([r.label, r.n, r.bootstrap, r.chance]);
  if (task(a) !== task(b)) {
    throw new InputError(
      `table: ${encoder.name} was judged on other queries, gallery or settings than the rest in column ${column}`,
    );
  }
}

function noteOf(
  reports: Readonly<Record<string, RetrievalReport>>,
  columns: readonly string[],
  { data, seed, metric, k, average, protocol }: TableOptions,
): string {
  const graded = `nDCG@${k} (gain: Jaccard index of label sets)`;
  const names = { recallAtK: `Recall@${k} (any hit)`, precisionAtK: `Precision@${k}`, mAP: "mAP", mrr: "MRR", ndcgAtK: graded }; // prettier-ignore
  const { label, bootstrap } = reports[columns[0]];
  const without = perColumn(columns, (column) => reports[column].n.withoutRelevant);
  return [
    `${names[metric]}${average === "macro" ? ", macro (mean over classes)" : ""}, relevant: same ${label}`,
    ...(protocol === undefined ? [] : [`protocol ${protocol}`]),
    `data: ${data}`,
    `queries: ${perColumn(columns, (column) => reports[column].n.query)}`,
    ...(without === "0" ? [] : [`of them without a relevant item, left out: ${without}`]),
    `gallery: ${perColumn(columns, (column) => reports[column].n.gallery)}`,
    `seed ${seed}`,
    `[${100 * bootstrap.level} % bootstrap interval over query groups, ${bootstrap.rounds} rounds]`,
  ].join("; ");
}

/** `0.42 [0.37, 0.47] ↑`; without width, `0.42`; not measured, `–`. */
export function formatCell(cell: Cell | null): string {
  if (cell === null) return "–";
  const value = cell.value.toFixed(2);
  const interval = cell.low === cell.high ? "" : ` [${cell.low.toFixed(2)}, ${cell.high.toFixed(2)}]`;
  return `${value}${interval}${cell.marks === "" ? "" : ` ${cell.marks}`}`;
}

function textRows(table: Table): string[][] {
  return [["encoder", ...table.columns], ...table.rows.map((row) => [row.name, ...row.cells.map(formatCell)])];
}

/** For a notebook or a README. */
export function toMarkdown(table: Table): string {
  const [header, ...rows] = textRows(table).map((cells) =>
    cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("*", "\\*")),
  );
  const lines = [header, ["---", ...table.columns.map(() => "---:")], ...rows].map(
    (cells) => `| ${cells.join(" | ")} |`,
  );
  return [
    `**${table.title}**`,
    "",
    ...lines,
    "",
    `${table.note}.`,
    "",
    `${table.legend.replace("*", "\\*")}.`,
    "",
    ...(table.remarks ?? []).flatMap((remark) => [`${remark}.`, ""]),
  ].join("\n");
}

/** For a terminal: columns in line, two spaces between them. */
export function toText(table: Table): string {
  const rows = textRows(table);
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, c) => cell.padEnd(widths[c]))
      .join("  ")
      .trimEnd(),
  );
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [
    table.title,
    "",
    lines[0],
    rule,
    ...lines.slice(1),
    "",
    table.note,
    table.legend,
    ...(table.remarks ?? []),
    "",
  ].join("\n");
}

/** One measured number and where it stands in the table. */
export interface TidyRow {
  readonly encoder: string;
  readonly column: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly marks: string;
}

/** The table on its side, one number a row: the form that data frames and plots want. */
export function toTidy(table: Table): TidyRow[] {
  return table.rows.flatMap((row) =>
    table.columns.flatMap((column, c): TidyRow[] => {
      const cell = row.cells[c];
      return cell === null ? [] : [{ encoder: row.name, column, ...cell }];
    }),
  );
}

const TIDY_COLUMNS = ["encoder", "column", "value", "low", "high", "marks"] as const;

/** `toTidy` as comma-separated values (RFC 4180) with all digits. */
export function toCsv(table: Table): string {
  const quote = (value: string | number): string => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = toTidy(table).map((row) => TIDY_COLUMNS.map((column) => quote(row[column])).join(","));
  return [TIDY_COLUMNS.join(","), ...lines, ""].join("\n");
}

/** `toTidy` as a danfojs data frame. danfojs takes a second or two to load, so that happens here and not before. */
export async function toDataFrame(table: Table): Promise<DataFrame> {
  const danfo = await import("danfojs-node");
  return new danfo.DataFrame(toTidy(table), { columns: [...TIDY_COLUMNS] });
}
