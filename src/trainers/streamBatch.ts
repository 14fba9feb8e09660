/** One batch from files: read, prepared, cut. Worker threads run this file: it loads no tensor library. */
import { join } from "node:path";
import { threadId } from "node:worker_threads";
import type { Preprocessing } from "../datasets/catalog.js";
import type { SkippedFile } from "../datasets/dataset.js";
import { readRecord } from "../datasets/folder.js";
import type { ManifestRow } from "../datasets/manifest.js";
import { Random } from "../random.js";
import { prepareOne } from "../transforms/prepare.js";
import { preparedPath, readPrepared, writePrepared } from "../transforms/preparedCache.js";
import type { ViewSource } from "../transforms/views.js";
import { withoutRepeats } from "../transforms/crop.js";
import { assertPretrainable } from "../types.js";
import { collate, type Collation } from "./collate.js";
import type { Batch } from "./objective.js";
import type { AnyQuestion } from "./workerBatches.js";

/** A row of a manifest, and where it is from. */
export type StreamRow = ManifestRow & { readonly set: string; readonly root: string };

/** What a worker gets at its start. */
export interface StreamData {
  readonly spec: Collation;
  /** By set. */
  readonly preprocessing: Readonly<Record<string, Preprocessing>>;
  /** Where prepared samples are kept, if they are. */
  readonly prepared: string | null;
}

export interface StreamQuestion extends AnyQuestion {
  readonly batchSize: number;
  readonly attempt: number;
  /** The rows of the batch, and others of the same kind that take the places of those that cannot be read, in turn. */
  readonly rows: readonly StreamRow[];
  readonly others: readonly StreamRow[];
}

/** A file that could not be read. */
export interface UnreadFile extends SkippedFile {
  readonly set: string;
}

/** What became of the prepared samples on disk. */
export interface PreparedCount {
  readonly read: number;
  readonly written: number;
  readonly bytes: number;
  /** Why no more are written, such as a disk that is full: the run goes on without. */
  readonly stopped: string | null;
}

export interface StreamAnswer {
  readonly step: number;
  readonly attempt: number;
  /** Null where not one of the rows could be read. */
  readonly batch: Batch | null;
  readonly unread: readonly UnreadFile[];
  readonly prepared: PreparedCount;
}

/** A count on its way. */
type Counting = { -readonly [key in keyof PreparedCount]: PreparedCount[key] };

const AT_ONCE = 2; // files: one is read while the other is prepared, and two volumes are all that is in memory unprepared

/**
 * The batch of a question: its rows in order; a row that cannot be read gives its place to the next of the others, and where
 * those have run out, rows that could be read come again. A pure function of the question and the files.
 */
export async function streamBatch(data: StreamData, question: StreamQuestion): Promise<StreamAnswer> {
  const { step, attempt, batchSize, rows, others, random, memory } = question;
  const unread = new Map<string, UnreadFile>();
  const count: Counting = { read: 0, written: 0, bytes: 0, stopped: null };
  const members = new Array<ViewSource | null>(batchSize).fill(null);
  const queue = [...rows, ...others];
  // A batch larger than its stratum has rows that come again.
  const once = new Map<string, Promise<ViewSource | UnreadFile>>();
  const resultOf = (row: StreamRow) => {
    const name = `${row.set}/${row.path}`;
    let result = once.get(name);
    if (result === undefined) once.set(name, (result = oneOf(data, row, count)));
    return result;
  };
  let from = 0;
  for (;;) {
    const places = members.flatMap((member, place) => (member === null ? [place] : []));
    const tried = queue.slice(from, from + places.length);
    if (tried.length === 0) break;
    from += tried.length;
    let next = 0;
    const work = async () => {
      while (next < tried.length) {
        const i = next++;
        const result = await resultOf(tried[i]);
        if ("reason" in result) unread.set(`${result.set}/${result.path}`, result);
        else members[places[i]] = result;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }
  const read = members.filter((member): member is ViewSource => member !== null);
  const batch =
    read.length === 0
      ? null
      : collate(
          data.spec,
          members.map((member, place) => member ?? read[place % read.length]),
          new Random(random),
          memory,
        );
  return { step, attempt, batch, unread: [...unread.values()], prepared: count };
}

/** One prepared sample, of grey ones the first channel alone, or why there is none. */
async function oneOf(
  { preprocessing, prepared }: StreamData,
  row: StreamRow,
  count: Counting,
): Promise<ViewSource | UnreadFile> {
  const { set, root, path, modality, kind, split, group, labels } = row;
  assertPretrainable(modality);
  const rules = preprocessing[set];
  const unread = (reason: string) => ({ set, path, reason: reason.replaceAll(`${root}/`, "") });
  let file: string | null = null;
  if (prepared !== null) {
    try {
      file = preparedPath(prepared, join(root, path), modality, rules);
    } catch {
      // The reader says what is wrong with the source.
    }
    const kept = file === null ? null : readPrepared(file);
    if (kept !== null && kept.kind === kind) {
      count.read++;
      return kept;
    }
  }
  const record = { id: path, modality, kind, group, split, labels };
  const result = await prepareOne({ root, read: readRecord(root) }, record, rules);
  if ("reason" in result) return unread(result.reason);
  if (result.kind !== kind) {
    return unread(
      `${path}: expected ${kind}, as the manifest says, got ${result.kind}; m3ret manifest --check corrects it`,
    );
  }
  const { shape, grey } = result;
  const one = withoutRepeats(result).pixels;
  // Without the copy, two channels that nobody reads would stay in memory.
  const sample: ViewSource = { pixels: grey ? one.slice() : one, shape, grey, kind };
  if (file !== null && count.stopped === null) {
    try {
      count.bytes += writePrepared(file, sample, threadId);
      count.written++;
    } catch (error) {
      count.stopped = (error as Error).message;
    }
  }
  return sample;
}
