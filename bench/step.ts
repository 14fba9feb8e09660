/** One training step of MAE and SimDINO against PyTorch eager: same model, batch and optimiser, turn by turn. */
import type { BenchOptions, BenchReport } from "m3ret";
import { gemmPeak } from "./gemm.js";
import { gigaflops, ourStep, peerCase, stepName, type StepCase } from "./parts/models.js";
import { ratio, runPlan, takeTurns } from "./parts/report.js";

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

/**
 * `gemmPeakGflops` is the fastest product of two 2048 × 2048 matrices by either side, and `ofPeak` what a step's matrix
 * products would take at that rate, over its time.
 */
export function bench({ rounds = 5, ...options }: BenchOptions): Promise<BenchReport> {
  return runPlan(
    {
      name: "step",
      cases: CASES,
      nameOf: stepName,
      survey: async (sides) => ({ gemmPeakGflops: Math.round(await gemmPeak(sides)) }),
      async measure(of, { engine, peer }, { gemmPeakGflops }) {
        const { step, runner } = await ourStep(engine, of);
        await peer?.ask({ do: "make", case: peerCase(of) });
        const times = await takeTurns(rounds, step, peer);
        runner.dispose();
        const ofPeak = Number((gigaflops(of) / (times.ours / 1000) / gemmPeakGflops).toFixed(3));
        return { ...times, unit: "ms", ratio: ratio(times.ours, times.peer), ofPeak };
      },
    },
    options,
  );
}
