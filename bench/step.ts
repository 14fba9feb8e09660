/** One training step of MAE and SimDINO against PyTorch eager: same model, batch and optimiser, turn by turn. */
import type { BenchOptions, BenchReport } from "m3ret";
import { gemmPeak } from "./gemm.js";
import { gigaflops, ourStep, peerCase, stepName, type StepCase } from "./parts/models.js";
import type { Peer } from "./parts/peer.js";
import { onGpu, ratio, runPlan, takeTurns } from "./parts/report.js";

const CASES: readonly StepCase[] = [
  { method: "mae", size: "tiny", tokens: 64, batch: 64 },
  { method: "mae", size: "tiny", tokens: 196, batch: 32 },
  { method: "mae", size: "small", tokens: 64, batch: 32 },
  { method: "mae", size: "small", tokens: 196, batch: 16 },
  { method: "simdino", size: "tiny", tokens: 64, batch: 32 },
  { method: "simdino", size: "tiny", tokens: 196, batch: 16 },
  { method: "simdino", size: "small", tokens: 64, batch: 16 },
  { method: "simdino", size: "small", tokens: 196, batch: 8 },
];

const GPU_CASES: readonly StepCase[] = [
  { method: "mae", size: "small", tokens: 196, batch: 64 },
  { method: "mae", size: "base", tokens: 196, batch: 32 },
  { method: "simdino", size: "small", tokens: 196, batch: 64 },
  { method: "simdino", size: "base", tokens: 196, batch: 32 },
];

/** The peer's step where its products are rounded: what a GPU's matrix units are there for. In ms. */
async function otherPrecisions(peer: Peer, rounds: number): Promise<Record<string, number>> {
  const times: Record<string, number> = {};
  for (const name of ["tf32", "bf16"]) {
    await peer.ask({ do: "precision", name });
    let best = Infinity;
    for (let i = 0; i < rounds; i++) best = Math.min(best, (await peer.ask({ do: "steps", count: 2 })).seconds / 2);
    times[`peer ${name}`] = Number((1000 * best).toFixed(1));
  }
  await peer.ask({ do: "precision", name: "fp32" });
  return times;
}

/**
 * `gemmPeakGflops` is the fastest product of two 2048 × 2048 matrices by either side, and `ofPeak` what a step's matrix
 * products would take at that rate, over its time.
 */
export function bench({ rounds = 5, ...options }: BenchOptions): Promise<BenchReport> {
  return runPlan(
    {
      name: "step",
      cases: CASES,
      gpuCases: GPU_CASES,
      nameOf: stepName,
      survey: async (sides) => ({ gemmPeakGflops: Math.round(await gemmPeak(sides)) }),
      async measure(of, { engine, peer }, { gemmPeakGflops }) {
        const { step, runner } = await ourStep(engine, of);
        await peer?.ask({ do: "make", case: peerCase(of) });
        const times = await takeTurns(rounds, step, peer);
        runner.dispose();
        const others = onGpu(engine) && peer ? await otherPrecisions(peer, rounds) : {};
        const ofPeak = Number((gigaflops(of) / (times.ours / 1000) / gemmPeakGflops).toFixed(3));
        return { ...times, unit: "ms", ratio: ratio(times.ours, times.peer), ofPeak, ...others };
      },
    },
    options,
  );
}
