/** What every source of data gives: a list of records, and a way to read the pixels of one. */
import type { Decoded, Kind, Modality, Split } from "../types.js";
import type { ReadOptions } from "./read.js";

/** One thing that can be read: everything known about it except its pixels. */
export interface DataRecord {
  /** Unique within its dataset, and the same on every run. */
  readonly id: string;
  readonly modality: Modality;
  readonly kind: Kind;
  /** The patient or case: a group is on one side of a split only. */
  readonly group: string;
  readonly split: Split;
  /** Column to value, such as `{ region: "chest", finding: "nodule" }`. */
  readonly labels: Readonly<Record<string, string>>;
}

/** A file that was found and could not become a record, and why, in one line. */
export interface SkippedFile {
  readonly path: string;
  readonly reason: string;
}

/** Records are in a fixed order: the same data give the same list on every machine. */
export interface Dataset {
  readonly name: string;
  readonly records: readonly DataRecord[];
  readonly skipped: readonly SkippedFile[];
  /** Where it is given, a record is the file `id` below this folder, and any thread can read it (`readRecord`). */
  readonly root?: string;

  /**
   * The pixels in stored units. `options` may ask for a part of what is large, such as some frames of a video; a data set
   * without such files leaves them unread. Throws an `InputError` that names the file if it can no longer be read.
   */
  read(record: DataRecord, options?: ReadOptions): Promise<Decoded>;
}
