/** How the files of a public set become rows: the part `records` of an entry of datasets.yaml. */
import { z } from "zod";
import { KINDS, type Kind } from "../types.js";

/**
 * Where a value comes from: a column of a table, the first capture of a regular expression on the path, a constant, or
 * columns of flags; then `map` turns the publisher's words into ours ("" drops one). Words that `map` lacks stay as they are.
 */
export interface ValueRule {
  readonly column?: string;
  readonly match?: string;
  readonly value?: string;
  /**
   * Of a label: columns of numbers, one a finding. The value is the set of those that say `is`; where a table has several rows of
   * a picture, such as one of each radiologist, those that more than half of the rows say. With `is: 1`, the rows `1,0,-1`
   * and `1,0,1` of columns a, b, c give `a`: of c only one row of two is sure. Blank says nothing.
   */
  readonly flags?: readonly string[];
  readonly is?: number;
  readonly map?: Readonly<Record<string, string>>;
  /** Of a label: a value may hold several, with this between them. Each is mapped; ours stand with `LABEL_SEPARATOR` between. */
  readonly several?: string;
  /** Instead: a regular expression whose first capture is a label wherever it matches. */
  readonly each?: string;
}

/** True where a picture may have several labels at once, with `LABEL_SEPARATOR` between. */
export function holdsLabelSet({ several, each, flags }: ValueRule): boolean {
  return (several ?? each ?? flags) !== undefined;
}

/** What a publisher's split may say: a side of ours, or `test`, which gallery and query then share, half of its patients each. */
export const OFFICIAL = ["train", "gallery", "query", "test"] as const;
export type Official = (typeof OFFICIAL)[number];

/** CSV files, with gzip or without, that have a row for each picture, patient or study. */
export interface TableRules {
  /** Patterns, of which each is one file: the first that it matches. A picture is in at least one of them. */
  readonly file: readonly string[];
  /** The column that holds the name of a picture, with or without folders, or what `match` captures of its path. */
  readonly key: string;
  /** The first capture of this in the path of a picture is its key; what it captures in a key of the table counts, too. */
  readonly match?: string;
}

/** How the files of the folder become rows: see `manifestRows`. */
export interface RecordRules {
  /** Patterns of the files that are pictures: `*` within one folder, `**` through folders. */
  readonly files: readonly string[];
  readonly exclude?: readonly string[];
  /** Several have columns of different names; a picture that one of them lacks is left out. */
  readonly table?: readonly TableRules[];
  /** Who the patient is. Left out where the publisher does not say. */
  readonly group?: ValueRule;
  readonly modality?: ValueRule;
  readonly labels: Readonly<Record<string, ValueRule>>;
  /** What the files are, where their names mislead: a NIfTI file of one slice is a picture. */
  readonly kind?: Kind;
  /** True: a folder with matching files is one row, a DICOM series; rules then see the path of the folder. */
  readonly series?: boolean;
  /** The publisher's split, in the words of `OFFICIAL`; other words leave the patient to our own draw. */
  readonly split?: ValueRule;
  /** Instead: text files that list the pictures of a side, one name a line, with or without folders, or its patients. */
  readonly splitLists?: Readonly<Partial<Record<Official, string>>>;
}

const text = z.string().min(1);
const regularExpression = z.string().refine((source) => {
  try {
    RegExp(source);
    return true;
  } catch {
    return false;
  }
}, "expected a regular expression");

/** One, or a list of them. */
const listOf = <T extends z.ZodType>(item: T) =>
  z
    .union([item, z.array(item).min(1)])
    .transform((given): z.output<T>[] => (Array.isArray(given) ? (given as z.output<T>[]) : [given as z.output<T>]));

const valueRule = z
  .strictObject({
    column: text.optional(),
    match: regularExpression.optional(),
    value: text.optional(),
    flags: z.array(text).min(1).optional(),
    is: z.number().optional(),
    map: z.record(text, z.string()).optional(),
    several: text.optional(),
    each: regularExpression.optional(),
  })
  .refine(
    ({ column, match, value, flags }) =>
      [column, match, value, flags].filter((from) => from !== undefined).length === 1,
    "expected exactly one of column, match, value, flags",
  );

const table = z.strictObject({ file: listOf(text), key: text, match: regularExpression.optional() });

export const recordRules = z.strictObject({
  files: z.array(text).min(1),
  exclude: z.array(text).optional(),
  table: listOf(table).optional(),
  group: valueRule.optional(),
  modality: valueRule.optional(),
  labels: z.record(text, valueRule),
  kind: z.enum(KINDS).optional(),
  series: z.boolean().optional(),
  split: valueRule.optional(),
  splitLists: z.partialRecord(z.enum(OFFICIAL), text).optional(),
});
