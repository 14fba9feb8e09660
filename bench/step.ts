/** One training step of MAE and SimDINO against PyTorch eager: same model, batch and optimiser, turn by turn. */
import { startEngine, type EngineName } from "m3ret";
import { gigaflops, ourStep, peerCase, stepName, type StepCase } from "./models.js";
import { startPeer } from "./peer.js";
import { gemmPeak } from "./gemm.js";
import { ratio, surroundings, takeTurns, type BenchCase, type BenchOptions, type BenchReport } from "./report.js";

export const CASES: readonly StepCase[] = [
  { method: "mae", size: "tiny", tokens: 64, batch: 64 },
  { method: "mae", size: "tiny", tokens: 196, batch: 32 },
  { method: "mae", size: "small", tokens: 64, batch: 32 },
  { method: "mae", size: "small", tokens: 196, batch: 16 },
  { method: "simdino", size: "tiny", tokens: 64, batch: 32 },
  { method: "simdino", size: "tiny", tokens: 196, batch: 16 },
  { method: "simdino", size: "small", tokens: 64, batch: 16 },
  { method: "simdino", size: "small", tokens: 196, batch: 8 },
];

/**
 * `gemmPeakGflops` is the fastest product of two
 * 2048 × 2048 matrices by either side, and `ofPeak` what a step's matrix products would take at that rate, over its time.
 */
export async function bench(
  { only = "", rounds = 5, onCase }: BenchOptions,
  engineName?: EngineName,
): Promise<BenchReport> {
  const engine = await startEngine(engineName);
  const peer = await startPeer();
  const found = "absent" in peer ? null : peer;
  const chosen = CASES.filter((of) => stepName(of).toLowerCase().includes(only.toLowerCase()));
  const cases: BenchCase[] = [];
  try {
    const peak = await gemmPeak(engine, found);
    for (const of of chosen) {
      onCase?.(cases.length, chosen.length, stepName(of));
      const { step, runner } = await ourStep(engine, of);
      await found?.ask({ do: "make", case: peerCase(of) });
      const peers = found && (async () => (await found.ask({ do: "steps", count: 1 })).seconds);
      const times = await takeTurns(rounds, step, peers);
      runner.dispose();
      const best = Math.max(peak.ours, peak.peer ?? 0);
      const ofPeak = Number((gigaflops(of) / (times.ours / 1000) / best).toFixed(3));
      cases.push({ case: stepName(of), ...times, unit: "ms", ratio: ratio(times.ours, times.peer), ofPeak });
    }
    const gemmPeakGflops = Math.round(Math.max(peak.ours, peak.peer ?? 0));
    return { name: "step", cases, ...surroundings(engine, peer, { gemmPeakGflops }) };
  } finally {
    found?.stop();
  }
}
