import { expect, test } from "vitest";
import { DAWN_PACKAGE, type GpuDevice } from "../src/engine/gpuDevice.js";
import type { Kernel } from "../src/engine/gpuGroup.js";
import { mae } from "../src/trainers/mae.js";
import type { Objective } from "../src/trainers/objective.js";
import { simdino } from "../src/trainers/simdino.js";
import type { Kind, Shape3 } from "../src/types.js";
import { planStep } from "./gpuKernels.js";
import { wave } from "./stepFixture.js";

const range = { scale: [0.5, 1] as const };
const every = (size: Shape3): Record<Kind, Shape3> => ({ image: size, video: size, volume: size });
const encoder = (depth: number) =>
  ({ width: 128, depth, heads: 2, mlpRatio: 4, patch: [1, 8, 8], channels: 3 }) as const;
const OBJECTIVES: Record<string, (depth: number) => Objective> = {
  MAE: (depth) => mae({ encoder: encoder(depth), view: { ...range, size: every([1, 64, 64]) }, learningRate: 1e-3 }),
  SimDINO: (depth) =>
    simdino({
      encoder: encoder(depth),
      views: {
        globals: { ...range, size: every([1, 64, 64]), count: 2 },
        locals: { ...range, size: every([1, 32, 32]), count: 2 },
      },
      head: { hidden: 128, out: 64 },
      learningRate: 1e-3,
    }),
};
const samples = Array.from({ length: 16 }, (_, i) => wave("image", `${i}`));
const shaders = (kernels: readonly { readonly code: string }[]) => new Set(kernels.map(({ code }) => code));

test.each(Object.entries(OBJECTIVES))("blocks of %s that are alike run the same shaders", (_, make) => {
  const [three, five] = [3, 5].map((depth) => planStep(make(depth), samples));
  const further = shaders(five.kernels).size - shaders(three.kernels).size;
  // A few differ by how far sums over all parameters go.
  expect(further).toBeLessThan((five.kernels.length - three.kernels.length) / 10);
});

test.each(Object.entries(OBJECTIVES))("the optimiser of %s needs no further kernel for a deeper encoder", (_, make) => {
  const [three, five] = [3, 5].map((depth) => planStep(make(depth), samples));
  const updates = (kernels: readonly Kernel[]) =>
    kernels.filter(({ bindings }) => bindings.some(({ slot }) => slot.kind === "next")).length;
  expect(five.packs).toBe(three.packs);
  expect(updates(five.kernels)).toBeLessThanOrEqual(updates(three.kernels));
});

const PASSES = [
  ["MAE", 1],
  ["SimDINO", 2], // large views, small views
] as const;
test.each(PASSES)("%s sums for a norm's gradients once in each of %i passes, and for a bias never", (name, passes) => {
  const sums = [3, 5].map((depth) => {
    const { steps } = planStep(OBJECTIVES[name](depth), samples).plan;
    return steps.filter((step) => step.kind === "reduction" && step.inner > 1).length; // others are of squares
  });
  const norms = 2 * (5 - 3);
  expect(sums[1] - sums[0]).toBe(norms * passes);
});

test.each(Object.entries(OBJECTIVES))("a deeper encoder of %s copies nothing more side by side", (_, make) => {
  const [three, five] = [3, 5].map((depth) => {
    const { steps, values } = planStep(make(depth), samples).plan;
    return steps.filter((step) => {
      if (step.kind !== "group") return false;
      const value = values.get(step.outputs[0].name)!;
      return "node" in value && value.node.op === "Concat";
    }).length;
  });
  expect(five).toBe(three);
});

/** Dawn without a device behind it: it checks shaders, and runs nothing. */
interface NullDawn {
  create(options: readonly string[]): {
    requestAdapter(): Promise<{ requestDevice(options: object): Promise<GpuDevice> } | null>;
  };
}
const dawn = (await import(DAWN_PACKAGE).catch(() => null)) as NullDawn | null;

const run = test.skipIf(dawn === null); // an optional package
run.each(Object.keys(OBJECTIVES))("every shader of %s is one that Dawn takes, in both precisions", async (name) => {
  const instance = dawn!.create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = await instance.requestAdapter();
  const requiredFeatures = ["subgroups", "shader-f16", "chromium-experimental-subgroup-matrix"];
  const device = await adapter!.requestDevice({ requiredFeatures });
  const refusal = async (code: string): Promise<string | undefined> => {
    device.pushErrorScope("validation");
    device.createShaderModule({ code });
    return (await device.popErrorScope())?.message;
  };
  expect(await refusal("@compute @workgroup_size(1) fn main() { let x: f32 = 1u; }")).toMatch("cannot initialize");
  for (const precision of ["f32", "f16"] as const) {
    const { kernels } = planStep(OBJECTIVES[name](1), samples, precision);
    const halved = kernels.some(({ code }) => code.includes("subgroupMatrixMultiplyAccumulate"));
    expect(halved).toBe(precision === "f16");
    for (const code of shaders(kernels)) expect(await refusal(code), code).toBeUndefined();
  }
  device.destroy();
});
