/** Whether Dawn computes here, tried in a process of its own: drivers can abort. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { DAWN_OPTIONS, DAWN_PACKAGE, USAGE } from "./gpuDevice.js";
import { askChild, PROBE_ROUNDS, PROBE_SIZE, type Probe } from "./providers.js";

const NEEDS = "it needs a GPU with a Vulkan, Direct3D 12 or Metal driver that this process can reach";

const SHADER = `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x / ${PROBE_SIZE}u;
  let column = id.x % ${PROBE_SIZE}u;
  var sum = 0f;
  for (var k = 0u; k < ${PROBE_SIZE}u; k++) { sum += x[row * ${PROBE_SIZE}u + k] * x[k * ${PROBE_SIZE}u + column]; }
  y[id.x] = sum / ${PROBE_SIZE}f;
}`;

/** `y = x·x / n` and its sum, from its own result: for ones, ones again, and n². */
const PROBE = `
const { dawn, options, shader, n, rounds, usage } = JSON.parse(process.argv[1]);
(async () => {
  const instance = (await import(dawn)).create(options);
  const adapter = await instance.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("No adapter");
  const device = await adapter.requestDevice();
  device.lost.then(({ message }) => process.send({ error: "the device is lost: " + message }));
  const module = device.createShaderModule({ code: shader });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  const bytes = 4 * n * n;
  const storage = () => device.createBuffer({ size: bytes, usage: usage.storage | usage.copySource | usage.copyTarget });
  let [x, y] = [storage(), storage()];
  const staging = device.createBuffer({ size: bytes, usage: usage.mapRead | usage.copyTarget });
  device.queue.writeBuffer(x, 0, new Float32Array(n * n).fill(1));
  let sum = 0, milliseconds = 0;
  for (let i = 0; i < rounds; i++) {
    const began = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    const entries = [x, y].map((buffer, binding) => ({ binding, resource: { buffer } }));
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(n * n / 64);
    pass.end();
    encoder.copyBufferToBuffer(y, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1);
    sum = new Float32Array(staging.getMappedRange()).reduce((a, b) => a + b, 0);
    staging.unmap();
    milliseconds = performance.now() - began;
    [x, y] = [y, x];
  }
  process.send({ sum, milliseconds });
})().catch((error) => process.send({ error: String(error.message) }));
`;

async function probe(limitMs: number): Promise<Probe> {
  let dawn: string;
  try {
    dawn = pathToFileURL(createRequire(import.meta.url).resolve(DAWN_PACKAGE)).href;
  } catch {
    return { ok: false, reason: `the optional package ${DAWN_PACKAGE} is not installed` };
  }
  const failed = (said: string): Probe => ({ ok: false, reason: `Dawn does not run (${said}); ${NEEDS}` });
  const request = { dawn, options: DAWN_OPTIONS, shader: SHADER, n: PROBE_SIZE, rounds: PROBE_ROUNDS, usage: USAGE };
  try {
    const answer = (await askChild(PROBE, request, limitMs)) as { error?: string; sum: number; milliseconds: number };
    if (answer.error !== undefined) return failed(answer.error.split("\n")[0]);
    const right = PROBE_SIZE * PROBE_SIZE;
    if (answer.sum !== right) return failed(`it computed ${answer.sum} where ${right} is right`);
    return { ok: true, milliseconds: answer.milliseconds };
  } catch (error) {
    return failed((error as Error).message);
  }
}

let probed: Promise<Probe> | null = null;

/** As `probeProvider`, of the engine `dawn`. */
export function probeDawn(limitMs = 60_000): Promise<Probe> {
  probed ??= probe(limitMs);
  return probed;
}
