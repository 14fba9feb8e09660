/** Reading and preparing files on all cores. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Preprocessing } from "../datasets/catalog.js";
import type { DataRecord, Dataset, SkippedFile } from "../datasets/dataset.js";
import type { Sample } from "../types.js";

/** What a worker gets at its start. */
export interface PrepareData {
  readonly root: string;
  readonly preprocessing: Preprocessing;
}

export interface PrepareQuestion {
  readonly index: number;
  readonly record: DataRecord;
}

export interface Prepared {
  readonly index: number;
  readonly result: Sample | SkippedFile;
}

export interface PrepareJob extends PrepareData {
  readonly records: readonly DataRecord[];
  /** The records before it are done. */
  readonly first?: number;
  readonly workers: number;
  /** Another entry file for the workers: tests have one that fails. */
  readonly entry?: URL;
}

/** Workers at most: one for each core. */
export const CORES = Math.min(8, availableParallelism());
const AT_ONCE = 2; // files that one worker holds: one is read while the other is prepared

/**
 * True once it pays to go on in worker threads: half a second has gone by, and at this pace they would save two seconds,
 *
 *     left · (1 − 1 / cores) > 2 s          on 2 cores, work for 4 s; on 8, for 2.3 s
 *
 * since each spends half a second of its core on loading decoders. Never where the records are no files of a folder, or
 * where this runs as TypeScript, which a worker cannot load.
 *
 * @param ms since the first record
 */
export function worthWorkers({ root }: Pick<Dataset, "root">, ms: number, done: number, total: number): boolean {
  if (root === undefined || ms < 500 || import.meta.url.endsWith(".ts")) return false;
  const left = (ms / Math.max(1, done)) * (total - done);
  return left * (1 - 1 / CORES) > 2000;
}

/**
 * What `prepareOne` gives for every record from `first` on, in any order, from worker threads. They end with the last.
 *
 * @throws Error, one, where a worker fails as a whole; a file that cannot be read is a result
 */
export async function prepareInWorkers(job: PrepareJob, onResult: (prepared: Prepared) => void): Promise<void> {
  const { records, first = 0, workers: count, root, preprocessing } = job;
  const entry = job.entry ?? new URL("./prepareWorker.js", import.meta.url);
  const workers: Worker[] = [];
  let next = first;
  let done = first;
  try {
    await new Promise<void>((resolve, reject) => {
      if (done === records.length) resolve();
      for (let i = 0; i < Math.min(count, records.length - first); i++) {
        const data: PrepareData = { root, preprocessing };
        const worker = new Worker(entry, { workerData: data, execArgv: [], name: "m3ret prepare" });
        workers.push(worker);
        const reading = new Set<number>();
        const ask = () => {
          if (next === records.length) return;
          const question: PrepareQuestion = { index: next, record: records[next] };
          reading.add(next++);
          worker.postMessage(question);
        };
        const fail = (reason: string) => {
          const ids = [...reading].map((index) => records[index].id).join(", ");
          reject(new Error(`a worker thread that reads files failed (at ${ids}): ${reason.split("\n")[0]}`));
        };
        worker.on("message", (prepared: Prepared) => {
          reading.delete(prepared.index);
          ask();
          try {
            onResult(prepared);
          } catch (error) {
            reject(error as Error);
          }
          if (++done === records.length) resolve();
        });
        worker.on("error", (error) => fail(error.message));
        worker.on("messageerror", (error) => fail(error.message));
        worker.on("exit", (code) => fail(`it ended with code ${code}`));
        for (let k = 0; k < AT_ONCE; k++) ask();
      }
    });
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
