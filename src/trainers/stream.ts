/** The rows of manifests as the batches of a run: read on the way, never all in memory. */
import type { Preprocessing } from "../datasets/catalog.js";
import type { Manifest } from "../datasets/manifest.js";
import { mixture, strataOf, type Mixture, type Shard, type Shares, type Strata } from "../datasets/mixture.js";
import { KINDS, InputError, type Kind, type Shape3 } from "../types.js";
import type { Steps } from "./batches.js";
import { type Collate } from "./collate.js";
import type { Feed } from "./feed.js";
import { whyNoWorkers, type BatchSource, type LoaderOptions } from "./loader.js";
import type { Batch } from "./objective.js";
import {
  streamBatch,
  type PreparedCount,
  type StreamAnswer,
  type StreamQuestion,
  type UnreadFile,
} from "./streamBatch.js";
import { WorkerBatches } from "./workerBatches.js";

export interface StreamOptions {
  readonly batchSize: number;
  /** Of the order of rows. */
  readonly seed: number | string;
  /** Of every set in the manifests. */
  readonly preprocessing: Readonly<Record<string, Preprocessing>>;
  readonly shares?: Shares;
  /** Which part of the batches this process takes: step s is batch s · of + index of the mixture. */
  readonly shard?: Shard;
  /** The folder of prepared samples; where left out, every sample is decoded each time. */
  readonly prepared?: string;
  /** Hears of every file that could not be read, in the order of the steps that wanted it. */
  readonly onUnread?: (file: UnreadFile, step: number) => void;
}

export interface StreamFeed extends Feed {
  readonly strata: Strata["strata"];
  readonly leftOut: Strata["leftOut"];
  readonly mixture: Pick<Mixture, "batches" | "plan">;
  /** [D, H, W] of what it gives. */
  readonly size: Readonly<Record<Kind, Shape3>>;
  /** Prepared samples on disk, so far. */
  readonly prepared: PreparedCount;
}

/** Other rows are asked for so many times before a stratum counts as unreadable, as many as the batch has each time. */
const ATTEMPTS = 8;

/**
 * A feed of manifest rows: step s is a batch of the mixture, of one modality and kind, in the order of `mixture`; views are
 * drawn by the run's generator as for samples in memory. MRI, gallery and query are left out. A file that cannot be read is
 * told, and another of its stratum, drawn by the run's generator, takes its place.
 *
 * @throws InputError where nothing may be trained on, or the sets prepare to different sizes
 */
export function streamFeed(manifest: Manifest, options: StreamOptions): StreamFeed {
  const { batchSize, seed, preprocessing, shard = { index: 0, of: 1 }, prepared: folder = null } = options;
  const { strata, leftOut } = strataOf(manifest, options.shares);
  const rows = mixture(strata, { seed, batchSize });
  const size = commonSize(manifest.sets, preprocessing);
  const prepared = { read: 0, written: 0, bytes: 0, stopped: null as string | null };

  const place = (step: number) => step * shard.of + shard.index;

  const open = (collating: Collate, steps: Omit<Steps, "plan">, loading: LoaderOptions): BatchSource => {
    const question = (step: number, attempt = 0): Omit<StreamQuestion, "memory"> => {
      const drawn = rows.at(rows.stateAt(place(step)));
      // Numbered through all ranks, whose views would otherwise be drawn alike.
      const own = steps.root.fork(`step ${place(step)}`);
      const stratum = strata.find(({ name }) => name === drawn.stratum)!;
      const others = own.fork(`others ${attempt}`);
      const other = () => manifest.row(stratum.rows[others.int(stratum.rows.length)]);
      return {
        ...{ step, attempt, batchSize, random: own.fork("views").state() },
        rows: attempt === 0 ? Array.from(drawn.rows, (row) => manifest.row(row)) : [],
        others: Array.from({ length: batchSize }, other),
      };
    };
    const heard = ({ step, attempt, batch, unread, prepared: counted }: StreamAnswer) => {
      for (const file of unread) options.onUnread?.(file, step);
      prepared.read += counted.read;
      prepared.written += counted.written;
      prepared.bytes += counted.bytes;
      prepared.stopped ??= counted.stopped;
      if (batch !== null) return batch;
      if (attempt + 1 < ATTEMPTS) return question(step, attempt + 1);
      const { stratum } = rows.at(rows.stateAt(place(step)));
      const [{ set, path, reason }] = unread;
      throw new InputError(
        `none of ${(ATTEMPTS + 1) * batchSize} files tried of ${stratum} could be read; the last: ${set}: ${reason.startsWith(path) ? reason : `${path}: ${reason}`}`,
      );
    };
    const data = () => ({ spec: collating.spec!, preprocessing, prepared: folder });
    const reason = whyNoWorkers(collating, loading);
    if (reason === null) {
      const entry = new URL("./streamWorker.js", import.meta.url);
      return new WorkerBatches<StreamQuestion, StreamAnswer>({ entry, data, steps, question, heard }, loading);
    }
    if (!collating.spec) throw new Error("a stream of files needs a collation that is described by plain values");
    let next = steps.from;
    return {
      madeBy: `training thread (${reason})`,
      async next() {
        let asked: Omit<StreamQuestion, "memory"> | Batch = question(next++);
        while ("step" in asked) asked = heard(await streamBatch(data(), asked));
        return asked;
      },
      close: async () => {},
    };
  };
  return { open, strata, leftOut, mixture: rows, size, prepared };
}

/** The size that all sets prepare to. */
function commonSize(sets: readonly string[], preprocessing: StreamOptions["preprocessing"]): StreamFeed["size"] {
  const [first, ...others] = sets;
  const { size } = preprocessing[first];
  for (const set of others) {
    const kind = KINDS.find((k) => preprocessing[set].size[k].join() !== size[k].join());
    if (kind !== undefined) {
      const [a, b] = [size[kind], preprocessing[set].size[kind]].map((shape) => shape.join(" × "));
      throw new InputError(
        `${set}: expected ${kind}s of ${a}, as ${first} has, got ${b}; size: in the recipe sets both`,
      );
    }
  }
  return size;
}
