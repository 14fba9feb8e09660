/** Where a training state lies between two steps: in memory, twice, or on the device that computes. */
import { array, mapValues, under, withPrefix, type Array32, type NamedArrays } from "./arrays.js";
import type { OnnxGraph, OnnxNode, OnnxType } from "./onnx.js";
import { NEXT_PACK, PACK, type Pack } from "./pack.js";
import { plainReason, toOrt, type OrtSession, type OrtTensor, type Runtime } from "./runtime.js";
import { EngineUnavailable } from "./unavailable.js";

type Tensors = Readonly<Record<string, OrtTensor>>;

/** A state in packs, as a graph reads and writes it. */
export interface StateStore {
  /** The state by the names of a graph's inputs. */
  current(): Tensors;
  /** Where the next state is written, by the names of a graph's outputs; empty where the runtime makes its outputs. */
  spare(): Tensors;
  /** Makes what a step has written the state. */
  advance(results: Tensors): void;
  /** After a step that failed: the state is as it was, and stays readable whatever becomes of the device. */
  hold(): Promise<void>;
  /** Copies, in the order and the shapes of the initial state. */
  unpacked(): Promise<Record<string, Array32>>;
  dispose(): void;
}

/** The arrays of every pack, side by side. */
function flatten(initial: NamedArrays, packs: readonly Pack[]): Float32Array[] {
  return packs.map((pack) => {
    const flat = new Float32Array(pack.reduce((sum, name) => sum + initial[name].data.length, 0));
    let at = 0;
    for (const name of pack) {
      flat.set(initial[name].data, at);
      at += initial[name].data.length;
    }
    return flat;
  });
}

function unflatten(
  initial: NamedArrays,
  packs: readonly Pack[],
  flats: readonly Float32Array[],
): Record<string, Array32> {
  const found = new Map<string, Float32Array>();
  packs.forEach((pack, i) => {
    let at = 0;
    for (const name of pack) {
      const size = initial[name].data.length;
      found.set(name, flats[i].slice(at, at + size));
      at += size;
    }
  });
  return mapValues(initial, ({ shape }, name) => array(shape, found.get(name)));
}

function tensorsOver(runtime: Runtime, prefix: string, flats: readonly Float32Array[]): Tensors {
  return Object.fromEntries(flats.map((flat, i) => [`${prefix}${i}`, toOrt(runtime, array([flat.length], flat))]));
}

/** In memory, kept twice: a step reads one copy and writes the other, so nothing is allocated from step to step. */
export function hostState(runtime: Runtime, initial: NamedArrays, packs: readonly Pack[]): StateStore {
  let now = flatten(initial, packs);
  let next = now.map((flat) => new Float32Array(flat.length));
  return {
    current: () => tensorsOver(runtime, PACK, now),
    spare: () => tensorsOver(runtime, NEXT_PACK, next),
    advance: () => {
      [now, next] = [next, now];
    },
    hold: async () => {},
    unpacked: async () => unflatten(initial, packs, now),
    dispose: () => {},
  };
}

/**
 * On the device: a step's outputs are the next step's inputs, and come back only when they are asked for. The binding
 * cannot download a tensor (asking for it ends the process), so they are read as the outputs of a graph that copies.
 *
 * @param open makes a session on the same device
 */
export function deviceState(
  runtime: Runtime,
  initial: NamedArrays,
  packs: readonly Pack[],
  open: (graph: OnnxGraph) => Promise<OrtSession>,
): StateStore {
  const sizes = packs.map((pack) => pack.reduce((sum, name) => sum + initial[name].data.length, 0));
  let now: Tensors = tensorsOver(runtime, PACK, flatten(initial, packs)); // the first step uploads them
  let reader: Promise<OrtSession> | null = null;

  const home = async (): Promise<Float32Array[]> => {
    const away = Object.values(now).some(({ location }) => location !== "cpu");
    if (!away) return packs.map((_, i) => now[`${PACK}${i}`].data as Float32Array);
    try {
      reader ??= open(copyGraph(sizes));
      const fetches = Object.fromEntries(sizes.map((_, i) => [`${NEXT_PACK}${i}`, null]));
      const read = await (await reader).run(now, fetches);
      return packs.map((_, i) => read[`${NEXT_PACK}${i}`].data as Float32Array);
    } catch (error) {
      throw new EngineUnavailable(
        `the training state cannot be read from the device: ${plainReason(error)}`,
        "the run goes on from its last saved state (--resume)",
      );
    }
  };
  const free = (tensors: Tensors) => {
    for (const tensor of Object.values(tensors)) if (tensor.location !== "cpu") tensor.dispose();
  };
  const replace = (by: Tensors) => {
    free(now);
    now = by;
  };
  return {
    current: () => now,
    spare: () => ({}),
    advance: (results) => replace(withPrefix(under(results, NEXT_PACK), PACK)),
    hold: async () => replace(tensorsOver(runtime, PACK, await home())),
    unpacked: async () => unflatten(initial, packs, await home()),
    dispose: () => {
      free(now);
      void reader?.then(
        (session) => session.release(),
        () => undefined,
      );
    },
  };
}

/** `pack'/i` is `pack/i`. */
function copyGraph(sizes: readonly number[]): OnnxGraph {
  const types = new Map<string, OnnxType>();
  const nodes = sizes.map((size, i): OnnxNode => {
    const [input, output] = [`${PACK}${i}`, `${NEXT_PACK}${i}`];
    for (const name of [input, output]) types.set(name, { shape: [size], dtype: "float32" });
    return { op: "Identity", domain: "", inputs: [input], outputs: [output], attributes: {} };
  });
  const named = (prefix: string) => Object.fromEntries([...types].filter(([name]) => name.startsWith(prefix)));
  return { inputs: named(PACK), outputs: named(NEXT_PACK), nodes, constants: {}, types };
}
