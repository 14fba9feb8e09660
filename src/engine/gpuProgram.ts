/** A planned graph on the device: its buffers, its kernels, and one run of them. */
import type { BatchArray } from "./arrays.js";
import { MAP_READ, USAGE, type Gpu, type GpuBuffer, type GpuPass, type GpuPipeline } from "./gpuDevice.js";
import { emitGroup, type Kernel } from "./gpuGroup.js";
import { planGraph } from "./gpuPlan.js";
import type { Plan, Product, Reduction, Step, Sum } from "./gpuSteps.js";
import { emitMatrixProduct } from "./gpuMatrix.js";
import { emitPlainProduct, emitProduct } from "./gpuProduct.js";
import { emitJoining, emitReduction, partsOf } from "./gpuReduce.js";
import { inStages } from "./gpuStages.js";
import type { Slot } from "./gpuView.js";
import type { OnnxGraph } from "./onnx.js";
import { NEXT_PACK, PACK } from "./pack.js";

/** Of products of matrices: 32-bit floats, or 16-bit ones that are summed in 32 bits. All else is in 32 bits. */
export type Precision = "f32" | "f16";

/** How products are computed: in tiles that threads share, or a thread for each number. */
export type Products = "tiled" | "plain";

export interface ProgramOptions {
  /** Default: f32. */
  readonly precision?: Precision;
  /** Default: tiled, and plain where the processor plays the GPU. */
  readonly products?: Products;
}

/** The state's buffers: those that a step reads, and those that it writes; they change places after every step. */
export interface DeviceState {
  readonly buffers: readonly [readonly GpuBuffer[], readonly GpuBuffer[]];
  /** Which of the two is the state now. */
  turn: 0 | 1;
}

/** Bytes of a buffer: whole vectors, and a size that others can take over. */
const bytesOf = (size: number): number => Math.ceil((size * 4) / 256) * 256;

export function newBuffer({ device }: Gpu, size: number): GpuBuffer {
  return device.createBuffer({ size: bytesOf(size), usage: USAGE.storage | USAGE.copySource | USAGE.copyTarget });
}

const WORTH_HALVING = 2 ** 24;

/** The sums of a product that does not compute them itself. */
function sumKernels({ k, n }: Product, sum: Sum, plan: Plan): Kernel[] {
  const division = { outer: 1, along: k, inner: n };
  const step: Step = { kind: "reduction", op: "ReduceSum", ...division, parts: partsOf(division), sums: [sum] };
  const { steps, values } = inStages([step], plan.values);
  return steps.map((stage) => emitReduction(stage as Reduction, values));
}

/** Kernels of a step, in their order. */
export function kernelsOf(step: Step, plan: Plan, gpu: Gpu, precision: Precision, products: Products): Kernel[] {
  if (step.kind === "group") return [emitGroup(step, plan.values, gpu.traits)];
  if (step.kind === "product") {
    // Small ones gain nothing, and some of them ask for all digits, as those of a log-determinant do.
    const halved = precision === "f16" && step.batch * step.m * step.n * step.k >= WORTH_HALVING;
    if (products === "tiled" && !halved) return emitProduct(step);
    const kernels = products === "plain" ? emitPlainProduct(step) : emitMatrixProduct(step);
    return step.sums ? [...kernels, ...sumKernels(step, step.sums, plan)] : kernels;
  }
  if (step.kind === "reduction") return [emitReduction(step, plan.values)];
  return emitJoining(step, plan.values, gpu.mostBuffers);
}

/** Buffers for what lives only inside a run: one is used again when nobody reads its contents any more. */
function shareBuffers(kernels: readonly Kernel[], gpu: Gpu): { of: Map<Slot, GpuBuffer>; all: GpuBuffer[] } {
  const last = new Map<Slot, number>();
  kernels.forEach(({ bindings }, at) => {
    for (const { slot } of bindings) if (slot.kind === "temporary") last.set(slot, at);
  });
  const of = new Map<Slot, GpuBuffer>();
  const all: GpuBuffer[] = [];
  const free: GpuBuffer[] = [];
  kernels.forEach(({ bindings }, at) => {
    const own = new Set(bindings.map(({ slot }) => slot).filter(({ kind }) => kind === "temporary"));
    for (const slot of own) {
      if (of.has(slot)) continue;
      const bytes = bytesOf(slot.size);
      const fitting = free.filter((buffer) => buffer.size >= bytes && buffer.size <= Math.max(2 * bytes, 4096));
      fitting.sort((a, b) => a.size - b.size);
      const [found] = fitting;
      if (found) free.splice(free.indexOf(found), 1);
      const buffer = found ?? newBuffer(gpu, slot.size);
      if (!found) all.push(buffer);
      of.set(slot, buffer);
    }
    for (const slot of own) if (last.get(slot) === at) free.push(of.get(slot)!);
  });
  return { of, all };
}

/** Kernels are sent off in parts, so that the device computes while the rest is still being written down. */
const AT_ONCE = 96;

const pipelines = new Map<string, Promise<GpuPipeline>>();
function pipelineOf({ device }: Gpu, code: string): Promise<GpuPipeline> {
  const known = pipelines.get(code);
  if (known) return known;
  const module = device.createShaderModule({ code });
  const made = device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  made.catch(() => pipelines.delete(code));
  pipelines.set(code, made);
  return made;
}

interface Ready {
  readonly label: string;
  readonly pipeline: GpuPipeline;
  /** Bind groups for the two turns of the state. */
  readonly bound: readonly [object, object];
  readonly groups: readonly [number, number, number];
}

export class Program {
  private constructor(
    readonly gpu: Gpu,
    readonly plan: Plan,
    readonly kernels: readonly Kernel[],
    private readonly ready: readonly Ready[],
    private readonly buffers: ReadonlyMap<Slot, GpuBuffer>,
    private readonly owned: readonly GpuBuffer[],
    private readonly staging: GpuBuffer,
    private readonly offsets: ReadonlyMap<string, number>,
  ) {}

  /** Bytes on the device besides the state. */
  get bytes(): number {
    return this.owned.reduce((sum, { size }) => sum + size, 0);
  }

  static async create(gpu: Gpu, graph: OnnxGraph, how: ProgramOptions = {}, state?: DeviceState): Promise<Program> {
    const { precision = "f32", products = gpu.traits.software ? "plain" : "tiled" } = how;
    if (precision === "f16" && !gpu.traits.f16) throw new Error(`${gpu.name} has no products of 16-bit matrices`);
    const plan = planGraph(graph, gpu.mostBuffers);
    const kernels = plan.steps.flatMap((step) => kernelsOf(step, plan, gpu, precision, products));
    const made = await Promise.all(kernels.map(({ code }) => pipelineOf(gpu, code)));
    const { of, all } = shareBuffers(kernels, gpu);
    const owned = [...all];
    const own = (slot: Slot): GpuBuffer => {
      const buffer = newBuffer(gpu, slot.size);
      owned.push(buffer);
      of.set(slot, buffer);
      return buffer;
    };
    for (const slot of plan.inputs.values()) if (slot.kind !== "state") own(slot);
    if (plan.scalarSlot) own(plan.scalarSlot);
    for (const [slot, data] of plan.constants) gpu.device.queue.writeBuffer(own(slot), 0, data);
    const offsets = new Map<string, number>();
    let bytes = 0;
    for (const [name, slot] of plan.outputs) {
      if (slot.kind === "next") continue;
      own(slot);
      offsets.set(name, bytes);
      bytes += Math.ceil((slot.size * 4) / 8) * 8;
    }
    const staging = gpu.device.createBuffer({ size: Math.max(bytes, 8), usage: USAGE.mapRead | USAGE.copyTarget });
    owned.push(staging);
    const bufferOf = (slot: Slot, turn: 0 | 1): GpuBuffer => {
      if (slot.kind === "state") return state!.buffers[turn][Number(slot.name.slice(PACK.length))];
      if (slot.kind === "next") return state!.buffers[1 - turn][Number(slot.name.slice(NEXT_PACK.length))];
      return of.get(slot)!;
    };
    const ready = kernels.map(({ label, bindings, groups }, at): Ready => {
      const layout = made[at].getBindGroupLayout(0);
      const group = (turn: 0 | 1): object =>
        gpu.device.createBindGroup({
          layout,
          entries: bindings.map(({ slot, base }, binding) => ({
            binding,
            resource: { buffer: bufferOf(slot, turn), offset: 4 * base },
          })),
        });
      const first = group(0);
      const turns = bindings.some(({ slot }) => slot.kind === "state" || slot.kind === "next");
      return { label, pipeline: made[at], bound: [first, turns ? group(1) : first], groups };
    });
    return new Program(gpu, plan, kernels, ready, of, owned, staging, offsets);
  }

  /** Computes the outputs, and the next state beside the present one. */
  async run(
    arrays: Readonly<Record<string, BatchArray>>,
    numbers: Readonly<Record<string, number>>,
    turn: 0 | 1 = 0,
  ): Promise<Record<string, Float32Array>> {
    const { device } = this.gpu;
    for (const [name, slot] of this.plan.inputs) {
      if (slot.kind !== "state") device.queue.writeBuffer(this.buffers.get(slot)!, 0, arrays[name].data);
    }
    if (this.plan.scalarSlot) {
      const scalars = Float32Array.from(this.plan.scalars, (name) => numbers[name]);
      device.queue.writeBuffer(this.buffers.get(this.plan.scalarSlot)!, 0, scalars);
    }
    for (let from = 0; from < this.ready.length; from += AT_ONCE) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      this.encode(pass, from, Math.min(from + AT_ONCE, this.ready.length), turn);
      pass.end();
      device.queue.submit([encoder.finish()]);
    }
    return this.read();
  }

  encode(pass: GpuPass, from: number, to: number, turn: 0 | 1): void {
    for (let at = from; at < to; at++) {
      const { pipeline, bound, groups } = this.ready[at];
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bound[turn]);
      pass.dispatchWorkgroups(...groups);
    }
  }

  private async read(): Promise<Record<string, Float32Array>> {
    const { device } = this.gpu;
    const encoder = device.createCommandEncoder();
    for (const [name, offset] of this.offsets) {
      const slot = this.plan.outputs.get(name)!;
      encoder.copyBufferToBuffer(this.buffers.get(slot)!, 0, this.staging, offset, slot.size * 4);
    }
    device.queue.submit([encoder.finish()]);
    await this.staging.mapAsync(MAP_READ);
    const mapped = this.staging.getMappedRange();
    const found: Record<string, Float32Array> = {};
    for (const [name, offset] of this.offsets) {
      found[name] = new Float32Array(mapped, offset, this.plan.outputs.get(name)!.size).slice();
    }
    this.staging.unmap();
    return found;
  }

  dispose(): void {
    for (const buffer of this.owned) buffer.destroy();
  }
}

/** What a buffer holds, as floats. */
export async function readBuffer({ device }: Gpu, buffer: GpuBuffer, size: number): Promise<Float32Array> {
  const staging = device.createBuffer({ size: Math.max(size * 4, 8), usage: USAGE.mapRead | USAGE.copyTarget });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, size * 4);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(MAP_READ);
  const found = new Float32Array(staging.getMappedRange()).slice(0, size);
  staging.unmap();
  staging.destroy();
  return found;
}
