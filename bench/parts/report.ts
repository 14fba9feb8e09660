/** What all benchmarks do: both sides are started, every case is measured, and what was found is answered. */
import { availableParallelism, cpus, totalmem } from "node:os";
import { startEngine, type BenchCase, type BenchOptions, type BenchReport, type Engine, type EngineName } from "m3ret";
import { startPeer, type Absent, type Peer } from "./peer.js";

/** Who is measured; there may be no peer. */
export interface Sides {
  readonly engine: Engine;
  readonly peer: Peer | null;
}

/** A benchmark: its cases, and how one is measured. */
export interface Plan<Case> {
  readonly name: string;
  /** The other side, of bench/peers; PyTorch where it is left out. */
  readonly script?: string;
  readonly cases: readonly Case[];
  /** What a GPU is measured on, where `cases` are sized for a processor. */
  readonly gpuCases?: readonly Case[];
  nameOf(of: Case): string;
  /** Before the cases: what the machine can do at all, in figures for the report. */
  survey?(sides: Sides): Promise<Readonly<Record<string, number>>>;
  measure(of: Case, sides: Sides, survey: Readonly<Record<string, number>>): Promise<Omit<BenchCase, "case">>;
}

/** Whether our side is on a device: PyTorch is measured on its GPU then. */
export const onGpu = ({ name }: Engine): boolean => name !== "compiled" && name !== "eager";

/** Measures the cases that were asked for, and ends the peer whatever happens. */
export async function runPlan<Case>(plan: Plan<Case>, options: BenchOptions): Promise<BenchReport> {
  const { name, nameOf, script = "torch_peer.py" } = plan;
  const { only = "", onCase } = options;
  const engine = await startEngine(options.engine as EngineName | undefined);
  const found = await startPeer(script, { device: onGpu(engine) ? "cuda" : "cpu" });
  const peer = "absent" in found ? null : found;
  const sized = onGpu(engine) ? (plan.gpuCases ?? plan.cases) : plan.cases;
  const chosen = sized.filter((of) => nameOf(of).toLowerCase().includes(only.toLowerCase()));
  const cases: BenchCase[] = [];
  try {
    const survey = (await plan.survey?.({ engine, peer })) ?? {};
    for (const of of chosen) {
      onCase?.(cases.length, chosen.length, nameOf(of));
      cases.push({ case: nameOf(of), ...(await plan.measure(of, { engine, peer }, survey)) } as BenchCase);
    }
    return { name, cases, ...surroundings(engine, found, survey) };
  } finally {
    peer?.stop();
  }
}

/** The machine, what both sides are, and why there is no peer, where there is none. */
function surroundings(
  engine: Engine,
  peer: Peer | Absent,
  survey: Readonly<Record<string, number>>,
): Pick<BenchReport, "machine" | "note"> {
  const here = {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    engine: engine.description,
    ...survey,
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
 *
 * @param peer  has been told to `make` the case
 * @param count how often the peer does it in the time that is taken, as \`ours\` does
 */
export async function takeTurns(
  rounds: number,
  ours: () => Promise<unknown>,
  peer: Peer | null,
  count = 1,
): Promise<{ ours: number; peer: number | null }> {
  const rest = () => new Promise((resolve) => setTimeout(resolve, REST_MS));
  let [own, other] = [Infinity, Infinity];
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < 2; i++) {
      const began = performance.now();
      await ours();
      if (round > 0) own = Math.min(own, performance.now() - began); // round 0 compiles, and touches memory first
    }
    if (!peer) continue;
    await rest();
    for (let i = 0; i < 2; i++) {
      const { seconds } = await peer.ask({ do: "steps", count });
      if (round > 0) other = Math.min(other, seconds * 1000);
    }
    await rest();
  }
  const rounded = (ms: number) => Number(ms.toFixed(1));
  return { ours: rounded(own), peer: peer && rounded(other) };
}
