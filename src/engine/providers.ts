/** What ONNX Runtime can compute with here. Each provider is really tried, in a process of its own: drivers can abort. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { serialiseOnnx, type OnnxGraph, type OnnxNode, type OnnxType } from "./onnx.js";
import { loadRuntime, plainReason, RUNTIME_PACKAGE, sessionOptions, type Provider } from "./runtime.js";

/** How a provider is called, and what it needs where it does not run. */
const PROVIDERS: Readonly<Record<Provider, { readonly title: string; readonly needs: string }>> = {
  cpu: { title: "CPU", needs: "a processor that its binary was built for" },
  webgpu: { title: "WebGPU", needs: "a GPU with a Vulkan, Direct3D 12 or Metal driver that this process can reach" },
  cuda: {
    title: "CUDA",
    needs:
      "an NVIDIA driver, CUDA 12 with cuDNN 9, and libonnxruntime_providers_cuda.so and _shared.so beside the binding, " +
      "which onnxruntime-node's install script downloads and .npmrc switches off",
  },
  coreml: { title: "CoreML", needs: "macOS on Apple silicon" },
  dml: { title: "DirectML", needs: "Windows with a Direct3D 12 GPU" },
};

export const PROBE_SIZE = 512;
export const PROBE_ROUNDS = 3;

/** `next = x·x / n` and its sum: for ones, ones again, and n². Every provider has kernels for it. */
function probeGraph(n: number): OnnxGraph {
  const square: OnnxType = { shape: [n, n], dtype: "float32" };
  const scalar: OnnxType = { shape: [], dtype: "float32" };
  const node = (op: string, inputs: string[], output: string, attributes = {}): OnnxNode => {
    return { op, domain: "", inputs, outputs: [output], attributes };
  };
  return {
    inputs: { x: square },
    outputs: { next: square, sum: scalar },
    nodes: [
      node("MatMul", ["x", "x"], "product"),
      node("Mul", ["product", "1/n"], "next"),
      node("ReduceSum", ["next"], "sum", { keepdims: 0 }),
    ],
    constants: { "1/n": { ...scalar, data: Float32Array.of(1 / n) } },
    types: new Map(),
  };
}

/** Goes on from its own output, as training does. It is text because it runs where only sources are, or only builds. */
const PROBE = `
const { runtime, model, options, n, rounds } = JSON.parse(process.argv[1]);
(async () => {
  const ort = require(runtime);
  const session = await ort.InferenceSession.create(Buffer.from(model, "base64"), options);
  let x = new ort.Tensor("float32", new Float32Array(n * n).fill(1), [n, n]);
  let sum = 0, milliseconds = 0;
  for (let i = 0; i < rounds; i++) {
    const began = performance.now();
    const out = await session.run({ x }, { next: null, sum: null });
    sum = out.sum.data[0];
    milliseconds = performance.now() - began;
    if (x.location !== "cpu") x.dispose();
    x = out.next;
  }
  process.send({ sum, milliseconds });
})().catch((error) => process.send({ error: String(error.message) }));
`;

/**
 * Runs a script in a process of its own and returns the first message that it sends.
 *
 * @throws Error in one line where it sends none: it took longer than the limit, or ended before, whatever ended it
 */
export function askChild(script: string, request: unknown, limitMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["-e", script, JSON.stringify(request)], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    let said = "";
    const limit = setTimeout(() => done(() => reject(new Error(`no answer within ${limitMs / 1000} s`))), limitMs);
    const done = (settle: () => void) => {
      clearTimeout(limit);
      child.kill("SIGKILL");
      settle();
    };
    child.stderr!.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
    child.once("message", (message) => done(() => resolve(message)));
    child.once("error", (error) => done(() => reject(error)));
    child.once("close", (code, signal) => {
      const last = said.trim().split("\n").pop();
      const end = signal ? `was ended by ${signal}` : `ended with ${code}`;
      done(() => reject(new Error(`the process that tried it ${end}${last ? ` (${last})` : ""}`)));
    });
  });
}

export type Probe =
  { readonly ok: true; readonly milliseconds: number } | { readonly ok: false; readonly reason: string };

async function probe(provider: Provider, limitMs: number): Promise<Probe> {
  const { env, listSupportedBackends } = await loadRuntime();
  const { title, needs } = PROVIDERS[provider];
  if (!listSupportedBackends().some(({ name }) => name === provider)) {
    const reason = `${RUNTIME_PACKAGE} ${env.versions.node} for ${platform()} ${arch()} has no ${title} provider`;
    return { ok: false, reason: `${reason}; it needs ${needs}` };
  }
  const options = sessionOptions({ provider, onDevice: provider === "webgpu" ? ["next"] : [] });
  // A provider that hands its work to the processor would look as if it ran.
  const strict = provider === "cpu" ? options : { ...options, extra: { session: { disable_cpu_ep_fallback: "1" } } };
  const request = {
    runtime: createRequire(import.meta.url).resolve(RUNTIME_PACKAGE),
    model: Buffer.from(serialiseOnnx(probeGraph(PROBE_SIZE))).toString("base64"),
    options: strict,
    n: PROBE_SIZE,
    rounds: PROBE_ROUNDS,
  };
  const failed = (said: string): Probe => ({ ok: false, reason: `${title} does not run (${said}); it needs ${needs}` });
  try {
    const answer = (await askChild(PROBE, request, limitMs)) as { error?: string; sum: number; milliseconds: number };
    if (answer.error !== undefined) return failed(plainReason(new Error(answer.error)));
    if (answer.sum !== PROBE_SIZE * PROBE_SIZE)
      return failed(`it computed ${answer.sum} where ${PROBE_SIZE * PROBE_SIZE} is right`);
    return { ok: true, milliseconds: answer.milliseconds };
  } catch (error) {
    return failed((error as Error).message);
  }
}

const probes = new Map<Provider, Promise<Probe>>();

/**
 * Whether a provider computes here: 512×512 matrix products, one from the other's result, with the right answer. Asked
 * once in a process's life.
 *
 * @returns the time of the last product with the reading of its sum, or one sentence that says why not
 * @throws EngineUnavailable where ONNX Runtime does not load
 */
export function probeProvider(provider: Provider, limitMs = 60_000): Promise<Probe> {
  const known = probes.get(provider) ?? probe(provider, limitMs);
  probes.set(provider, known);
  return known;
}
