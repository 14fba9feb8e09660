/** A GPU through Dawn, Chromium's WebGPU, which the optional package `webgpu` binds to Node. */
import { EngineUnavailable } from "./unavailable.js";
import type { GpuTraits } from "./gpuGroup.js";

/** What we use of WebGPU (https://www.w3.org/TR/webgpu/), spelled out: its declarations are missing where it is. */
export interface GpuBuffer {
  readonly size: number;
  destroy(): void;
  mapAsync(mode: number): Promise<void>;
  getMappedRange(): ArrayBuffer;
  unmap(): void;
}
export type GpuPipeline = { getBindGroupLayout(index: number): object };
export interface GpuPass {
  setPipeline(pipeline: GpuPipeline): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y: number, z: number): void;
  end(): void;
}
export interface GpuEncoder {
  beginComputePass(options?: object): GpuPass;
  copyBufferToBuffer(from: GpuBuffer, fromOffset: number, to: GpuBuffer, toOffset: number, size: number): void;
  resolveQuerySet(set: object, first: number, count: number, to: GpuBuffer, offset: number): void;
  finish(): object;
}
export interface GpuDevice {
  readonly limits: Readonly<Record<string, number>>;
  readonly features: { has(name: string): boolean };
  readonly lost: Promise<{ readonly message: string }>;
  readonly queue: {
    submit(commands: readonly object[]): void;
    writeBuffer(buffer: GpuBuffer, offset: number, data: ArrayBufferView): void;
    onSubmittedWorkDone(): Promise<void>;
  };
  createBuffer(options: { size: number; usage: number }): GpuBuffer;
  createShaderModule(options: { code: string }): object;
  createComputePipelineAsync(options: object): Promise<GpuPipeline>;
  createBindGroup(options: object): object;
  createCommandEncoder(): GpuEncoder;
  createQuerySet(options: object): object;
  pushErrorScope(filter: string): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
  destroy(): void;
}
interface GpuAdapter {
  readonly info: {
    readonly vendor: string;
    readonly architecture: string;
    readonly device: string;
    readonly description: string;
    readonly isFallbackAdapter?: boolean;
    readonly subgroupMinSize?: number;
    readonly subgroupMaxSize?: number;
    readonly subgroupMatrixConfigs?: readonly Readonly<Record<string, number | string>>[];
  };
  readonly features: Iterable<string> & { has(name: string): boolean };
  readonly limits: Readonly<Record<string, number>>;
  requestDevice(options: object): Promise<GpuDevice>;
}

/** `GPUBufferUsage` and `GPUMapMode`. */
export const USAGE = { mapRead: 1, copySource: 4, copyTarget: 8, storage: 128, queryResolve: 512 } as const;
export const MAP_READ = 1;

/** Not a literal, so that the compiler does not ask for its declarations. */
export const DAWN_PACKAGE: string = "webgpu";

/**
 * Our shaders stay inside their buffers by themselves, and are checked where they are made, so the checks of every
 * access and every call are left out. The unsafe ones are matrices of subgroups, and 16-bit floats on NVIDIA.
 */
const TOGGLES = ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia", "disable_robustness", "skip_validation"];
/** How Dawn is started. */
export const DAWN_OPTIONS: readonly string[] = [`enable-dawn-features=${TOGGLES.join(",")}`];
const FEATURES = ["subgroups", "shader-f16", "chromium-experimental-subgroup-matrix", "timestamp-query"];
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
];

export interface Gpu {
  /** Dawn lives as long as somebody holds this. */
  readonly instance: object;
  readonly device: GpuDevice;
  /** What the driver calls it. */
  readonly name: string;
  readonly features: readonly string[];
  readonly traits: GpuTraits;
  /** Storage buffers that one shader can have. */
  readonly mostBuffers: number;
}

let opened: Promise<Gpu> | null = null;

async function open(): Promise<Gpu> {
  type Dawn = { create(options: readonly string[]): { requestAdapter(options: object): Promise<GpuAdapter | null> } };
  let dawn: Dawn;
  try {
    dawn = (await import(DAWN_PACKAGE)) as Dawn;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    const why = missing ? "is not installed" : `does not load (${(error as Error).message.split("\n")[0]})`;
    throw new EngineUnavailable(`the engine dawn needs the package ${DAWN_PACKAGE}, which ${why}`);
  }
  const instance = dawn.create(DAWN_OPTIONS);
  const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new EngineUnavailable("Dawn finds no GPU adapter");
  const features = FEATURES.filter((name) => adapter.features.has(name));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  const device = await adapter.requestDevice({ requiredFeatures: features, requiredLimits });
  const { info } = adapter;
  const even = features.includes("subgroups") && info.subgroupMinSize === info.subgroupMaxSize;
  const matrices = info.subgroupMatrixConfigs ?? [];
  const f16 = [...matrices].some(
    ({ M, N, K, componentType, resultComponentType }) =>
      M === 16 && N === 16 && K === 16 && componentType === "f16" && resultComponentType === "f32",
  );
  return {
    instance,
    device,
    name: info.description || [info.vendor, info.architecture, info.device].filter(Boolean).join(" "),
    features,
    traits: {
      subgroup: even ? (info.subgroupMinSize ?? 0) : 0,
      f16: f16 && features.includes("shader-f16"),
      software:
        (info.isFallbackAdapter ?? false) ||
        /swiftshader|llvmpipe|lavapipe/i.test(`${info.device} ${info.description}`),
    },
    mostBuffers: device.limits.maxStorageBuffersPerShaderStage,
  };
}

/**
 * The machine's GPU, opened once in a process's life.
 *
 * @throws EngineUnavailable where the package is missing, or finds no adapter
 */
export function openGpu(): Promise<Gpu> {
  opened ??= open();
  return opened;
}
