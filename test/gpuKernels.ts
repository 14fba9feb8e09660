/** The kernels that a GPU would run, planned without one. */
import type { Gpu } from "../src/engine/gpuDevice.js";
import type { Kernel } from "../src/engine/gpuGroup.js";
import { planGraph } from "../src/engine/gpuPlan.js";
import { kernelsOf, type Precision } from "../src/engine/gpuProgram.js";
import type { Plan } from "../src/engine/gpuSteps.js";
import { packForGpu, planGpuPacks } from "../src/engine/gpuState.js";
import { lowerToOnnx } from "../src/engine/onnxLower.js";
import { pureStep, stepTypes } from "../src/engine/stepGraph.js";
import { trace } from "../src/engine/trace.js";
import { Random } from "../src/random.js";
import { initState, stepFunction } from "../src/trainers/loop.js";
import type { Objective } from "../src/trainers/objective.js";
import { stepScalars } from "../src/trainers/step.js";
import type { Sample } from "../src/types.js";

/** As NVIDIA's are. */
const LARGE = { traits: { subgroup: 32, f16: true, software: false }, mostBuffers: 16 } as unknown as Gpu;

/** One step of an objective on a batch of samples. */
export function planStep(
  objective: Objective,
  samples: readonly Sample[],
  precision: Precision = "f32",
): { plan: Plan; kernels: Kernel[]; packs: number } {
  const initial = initState(objective, new Random(7)).arrays;
  const batch = objective.collate(samples, new Random(8));
  const scalars = stepScalars(0, objective.schedule(0, 10), objective);
  const types = stepTypes(initial, batch, precision === "f16" ? { ...scalars, lossScale: 4096 } : scalars);
  const lowered = lowerToOnnx(trace(pureStep(stepFunction(objective), initial, batch.grids), types));
  const packs = planGpuPacks(lowered, Object.keys(initial));
  const plan = planGraph(packForGpu(lowered, packs), LARGE.mostBuffers);
  const kernels = plan.steps.flatMap((step) => kernelsOf(step, plan, LARGE, precision, "tiled"));
  return { plan, kernels, packs: packs.length };
}
