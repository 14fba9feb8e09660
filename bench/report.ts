/** What every benchmark answers. */
import { availableParallelism, cpus, totalmem } from "node:os";
import type { Engine } from "m3ret";
import type { Absent, Peer } from "./peer.js";

export interface BenchCase {
  readonly case: string;
  /** Of the fastest round, as are all times: what disturbs a machine only ever makes it slower. */
  readonly ours: number;
  readonly peer: number | null;
  readonly unit: string;
  /** Above 1, we are ahead. */
  readonly ratio: number | null;
  readonly [more: string]: number | string | null;
}

export interface BenchReport {
  readonly name: string;
  readonly cases: readonly BenchCase[];
  readonly machine: Readonly<Record<string, number | string>>;
  /** Why there is no peer, where there is none. */
  readonly note?: string;
}

export interface BenchOptions {
  /** Only cases whose name contains this. */
  readonly only?: string;
  readonly rounds?: number;
  readonly onCase?: (done: number, total: number, name: string) => void;
}

/** The machine, what both sides are, and why there is no peer, where there is none. */
export function surroundings(
  engine: Engine,
  peer: Peer | Absent,
  more: Readonly<Record<string, number>> = {},
): Pick<BenchReport, "machine" | "note"> {
  const here = {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    engine: engine.description,
    ...more,
  };
  return "absent" in peer ? { machine: here, note: peer.absent } : { machine: { ...here, peer: peer.description } };
}

/** Peer's time over ours. */
export function ratio(ours: number, peer: number | null): number | null {
  return peer === null ? null : Number((peer / ours).toFixed(3));
}

/** Threads that wait for work go on spinning for a while, and would take a core from whoever is next. */
const REST_MS = 300;

/**
 * The fastest of several rounds for each side, in milliseconds. They take turns; in a turn, a side goes twice, because
 * the other has emptied its caches.
 */
export async function takeTurns(
  rounds: number,
  ours: () => Promise<unknown>,
  peers: (() => Promise<number>) | null,
): Promise<{ ours: number; peer: number | null }> {
  const rest = () => new Promise((resolve) => setTimeout(resolve, REST_MS));
  let [own, other] = [Infinity, Infinity];
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < 2; i++) {
      const began = performance.now();
      await ours();
      if (round > 0) own = Math.min(own, performance.now() - began); // round 0 compiles, and touches memory first
    }
    if (!peers) continue;
    await rest();
    for (let i = 0; i < 2; i++) {
      const seconds = await peers();
      if (round > 0) other = Math.min(other, seconds * 1000);
    }
    await rest();
  }
  const rounded = (ms: number) => Number(ms.toFixed(1));
  return { ours: rounded(own), peer: peers && rounded(other) };
}
