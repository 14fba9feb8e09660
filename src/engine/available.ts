/** Which engines this machine can run, found out by running each. */
import * as tf from "@tensorflow/tfjs";
import { BACKENDS, startBackend, type BackendName } from "./backend.js";
import { COMPILED, ENGINES, startEngine, type CompiledName, type EngineName } from "./engine.js";
import { probeDawn } from "./gpuProbe.js";
import { probeProvider } from "./providers.js";

/** What a name of `--engine`, or of a tfjs backend, comes to here: a description, or the reason why not. */
export interface Availability<Name extends string> {
  readonly name: Name;
  readonly ok: boolean;
  readonly description: string | null;
  readonly reason: string | null;
}

export interface AvailableEngines {
  readonly engines: readonly Availability<EngineName>[];
  /** What the eager engine computes with: the first that is ok, in the order of `BACKENDS`. */
  readonly backends: readonly Availability<BackendName>[];
}

async function attempt<Name extends string>(name: Name, work: () => Promise<string>): Promise<Availability<Name>> {
  try {
    return { name, ok: true, description: await work(), reason: null };
  } catch (error) {
    const reason = (error as Error).message.split("\n")[0].replace(`no backend starts: ${name}: `, "");
    return { name, ok: false, description: null, reason };
  }
}

async function describeCompiled(name: CompiledName | "dawn"): Promise<string> {
  const probe = await (name === "dawn" ? probeDawn() : probeProvider(COMPILED[name]));
  if (!probe.ok) throw new Error(probe.reason);
  const { description } = await startEngine(name);
  return `${description}, a 512×512 product in ${Number(probe.milliseconds.toPrecision(2))} ms`;
}

/** `[[1, 2], [3, 4]] · [[5], [6]]` is `[[17], [39]]`. */
async function describeBackend(name: BackendName): Promise<string> {
  const { description } = await startBackend(name);
  const product = tf.tidy(() => tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6], [2, 1])));
  const found = await product.data();
  product.dispose();
  if (String(found) !== "17,39") throw new Error(`it computed ${String(found)} where 17,39 is right`);
  return description;
}

/**
 * Tries every engine and every eager backend. ONNX Runtime's providers are tried in processes of their own, which may
 * end without harm; tfjs backends here, the best one last, so that it is the one that is active afterwards.
 */
export async function availableEngines(): Promise<AvailableEngines> {
  const backends: Availability<BackendName>[] = [];
  for (const name of [...BACKENDS].reverse()) backends.unshift(await attempt(name, () => describeBackend(name)));
  const best = backends.find(({ ok }) => ok);
  if (best) await startBackend(best.name);
  const engines: Availability<EngineName>[] = [];
  for (const name of ENGINES) {
    const work = name === "eager" ? async () => (await startEngine("eager")).description : () => describeCompiled(name);
    engines.push(await attempt(name, work));
  }
  return { engines, backends };
}
