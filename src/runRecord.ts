/** run.json: beside every run, what it was made of and by. Times stand here and in the log, never in the encoder's files. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readBytes, writeAtomic } from "./files.js";
import { machineRecord, softwareRecord, type Counts, type Machine, type Software } from "./record.js";

/** Everything that the run's numbers depend on. */
export interface RunFacts {
  readonly method: string;
  readonly seed: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly data: {
    readonly name: string;
    readonly title: string;
    /** SHA-256 of what was trained and judged on (see `dataHash`), or of the manifests where files are read on the way. */
    readonly hash: string;
    readonly counts: Counts;
  };
  /** Sizes, rates, views, selection: plain values. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** One sitting of a run: it may be stopped and go on another day, on another machine, with other code. */
export interface Sitting extends Software {
  readonly started: string;
  readonly fromStep: number;
  readonly engine: string;
  readonly machine: Machine;
}

export interface RunRecord extends RunFacts {
  readonly sittings: readonly Sitting[];
}

const RECORD = "run.json";

/** The record of a folder, or null where it has none or a broken one: nothing is computed from it. */
export function readRunRecord(folder: string): RunRecord | null {
  const path = join(folder, RECORD);
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(Buffer.from(readBytes(path)).toString("utf8")) as RunRecord;
  } catch {
    return null;
  }
}

/**
 * The same run, which writes run.json once its first step is done: a folder that is refused stays as it was, and a run that
 * was complete has no new sitting.
 *
 * @param facts asked for once, when it is written
 */
export async function* recorded<E extends { readonly step: number }, R>(
  run: AsyncGenerator<E, R, void>,
  folder: string,
  { facts, engine }: { readonly facts: () => RunFacts; readonly engine: () => string },
): AsyncGenerator<E, R, void> {
  const started = new Date().toISOString();
  let written = false;
  try {
    for (let next = await run.next(); ; next = await run.next()) {
      if (next.done) return next.value;
      if (!written) {
        const { step } = next.value;
        const before = step > 0 ? (readRunRecord(folder)?.sittings ?? []) : [];
        const now: Sitting = {
          ...{ started, fromStep: step, engine: engine() },
          ...softwareRecord(),
          machine: machineRecord(),
        };
        const record: RunRecord = { ...facts(), sittings: [...before, now] };
        writeAtomic(join(folder, RECORD), JSON.stringify(record, null, 1) + "\n");
        written = true;
      }
      yield next.value;
    }
  } finally {
    await run.return(undefined as never); // saves the state of a run that is left early
  }
}
