/** Where a training state lies between two steps: in memory, or on the device that computes. */
import { array, mapValues, sideBySide, under, withPrefix, type Array32, type NamedArrays } from "./arrays.js";
import type { OnnxGraph, OnnxNode, OnnxType } from "./onnx.js";
import { NEXT_PACK, PACK, packShape, type Pack } from "./pack.js";
import { plainReason, toOrt, type OrtSession, type OrtTensor, type Runtime } from "./runtime.js";
import { EngineUnavailable } from "./unavailable.js";
import { kernelOf, type Kernel } from "./updateKernel.js";
import type { Update } from "./updates.js";

type Tensors = Readonly<Record<string, OrtTensor>>;

/** A state in packs, as a graph reads and writes it. */
export interface StateStore {
  /** The state by the names of a graph's inputs. */
  current(): Tensors;
  /** Where a graph writes, by the names of its outputs; empty where the runtime makes its outputs. */
  targets(updates: readonly Update[]): Tensors;
  /** Makes the state what a step has computed. `given` are the step's inputs. */
  advance(results: Tensors, given: Tensors, updates: readonly Update[]): void;
  /** After a step that failed: the state is as it was, and stays readable whatever becomes of the device. */
  hold(): Promise<void>;
  /** Copies, in the order and the shapes of the initial state. */
  unpacked(): Promise<Record<string, Array32>>;
  dispose(): void;
}

/** The arrays of a pack, side by side. */
export function flatten(initial: NamedArrays, pack: Pack): Float32Array {
  return sideBySide(pack.map((name) => initial[name].data));
}

export function unflatten(
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

/** What the packs are in a graph. */
function shapesOf(initial: NamedArrays, packs: readonly Pack[]): (readonly number[])[] {
  return packs.map((pack) => packShape(pack, (name) => initial[name].shape));
}

function tensorsOver(
  runtime: Runtime,
  prefix: string,
  flats: readonly Float32Array[],
  shapes: readonly (readonly number[])[],
): Tensors {
  return Object.fromEntries(flats.map((flat, i) => [`${prefix}${i}`, toOrt(runtime, array(shapes[i], flat))]));
}

/** A run of floats in one of the memories. */
interface Slot {
  readonly memory: WebAssembly.Memory;
  readonly offset: number;
  readonly size: number;
}

const PAGE = 65_536;
/** Bytes of one memory; WebAssembly could address four times as much. */
const MEMORY_LIMIT = 2 ** 30;

/**
 * In memory, changed in place: after a step the updates' kernels read the gradients that the graph has written beside
 * the state. WebAssembly needs both in its own memory, and ONNX Runtime reads and writes there as anywhere.
 */
export function hostState(runtime: Runtime, initial: NamedArrays, packs: readonly Pack[]): StateStore {
  const memories: { memory: WebAssembly.Memory; used: number }[] = [];
  const slots = new Map<string, Slot>();
  const shapes = shapesOf(initial, packs);

  const padded = (size: number) => Math.ceil(size / 16) * 64; // bytes, in whole cache lines
  /** Room for arrays that one kernel reads: side by side in one memory. */
  const reserve = (sizes: readonly number[], wanted?: WebAssembly.Memory): Slot[] => {
    const bytes = sizes.reduce((sum, size) => sum + padded(size), 0);
    const fits = memories.find(({ memory, used }) => (wanted ? memory === wanted : used + bytes <= MEMORY_LIMIT));
    const home = fits ?? { memory: new WebAssembly.Memory({ initial: 1, maximum: PAGE }), used: 0 };
    if (!fits) memories.push(home);
    const { memory } = home;
    const missing = Math.ceil((home.used + bytes - memory.buffer.byteLength) / PAGE);
    if (missing > 0) memory.grow(missing);
    return sizes.map((size) => {
      const offset = home.used;
      home.used += padded(size);
      return { memory, offset, size };
    });
  };
  const floats = ({ memory, offset, size }: Slot) => new Float32Array(memory.buffer, offset, size);
  const tensorOf = (slot: Slot, shape: readonly number[]): OrtTensor => toOrt(runtime, array(shape, floats(slot)));

  /** The state, and where graphs write, as tensors. Binding may grow a memory, which moves it: then they are made again. */
  let held: Tensors | null = null;
  const written = new Map<readonly Update[], Tensors>();

  interface Bound {
    readonly update: Update;
    readonly slots: readonly Slot[];
    readonly kernel: Kernel;
  }
  const bound = new Map<readonly Update[], readonly Bound[]>();
  /** Gradients are written where those of another graph were: by the pack that they are for, and their number. */
  const scratch = new Map<string, Slot>();
  const bind = (updates: readonly Update[]): readonly Bound[] => {
    const known = bound.get(updates);
    if (known) return known;
    held = null;
    written.clear();
    const made = updates.map((update): Bound => {
      const { arrays, size } = update;
      const states = arrays.filter((name) => name.startsWith(PACK));
      if (!slots.has(states[0])) {
        reserve(states.map(() => size)).forEach((slot, i) => {
          slots.set(states[i], slot);
          floats(slot).set(flatten(initial, packs[Number(states[i].slice(PACK.length))]));
        });
      }
      const { memory } = slots.get(states[0])!;
      let count = 0;
      const own = arrays.map((name): Slot => {
        const state = slots.get(name);
        if (state) return state;
        const key = `${states[0]} ${count++}`;
        const slot = scratch.get(key) ?? reserve([size], memory)[0];
        scratch.set(key, slot);
        return slot;
      });
      if (own.some((slot) => slot.memory !== memory))
        throw new Error("the steps of a run update their state differently");
      return { update, slots: own, kernel: kernelOf(update.formula, memory) };
    });
    bound.set(updates, made);
    return made;
  };
  const heldNow = (): Tensors =>
    Object.fromEntries(shapes.map((shape, i) => [`${PACK}${i}`, tensorOf(slots.get(`${PACK}${i}`)!, shape)]));
  const writtenBy = (updates: readonly Bound[]): Tensors =>
    Object.fromEntries(
      updates.flatMap(({ update: { arrays, shapes }, slots: own }) =>
        arrays.flatMap((name, i) => (slots.has(name) ? [] : [[name, tensorOf(own[i], shapes[i])] as const])),
      ),
    );

  return {
    current: () => (held ??= heldNow()),
    targets: (updates) => {
      const made = bind(updates);
      const known = written.get(updates) ?? writtenBy(made);
      written.set(updates, known);
      return known;
    },
    advance: (results, given, updates) => {
      const number = (scalar: number | string) =>
        typeof scalar === "number" ? scalar : ((results[scalar] ?? given[scalar]).data as Float32Array)[0];
      for (const { update, slots: own, kernel } of bind(updates)) {
        kernel(padded(update.size), ...own.map(({ offset }) => offset), ...update.scalars.map(number));
      }
    },
    hold: async () => {},
    unpacked: async () => {
      const flats = packs.map((pack, i) => {
        const slot = slots.get(`${PACK}${i}`);
        return slot ? floats(slot) : flatten(initial, pack);
      });
      return unflatten(initial, packs, flats);
    },
    dispose: () => {}, // the state stays readable; the memories go with the store
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
  const shapes = shapesOf(initial, packs);
  let now: Tensors = tensorsOver(
    runtime,
    PACK,
    packs.map((pack) => flatten(initial, pack)),
    shapes,
  ); // the first step uploads them
  let reader: Promise<OrtSession> | null = null;

  const home = async (): Promise<Float32Array[]> => {
    const away = Object.values(now).some(({ location }) => location !== "cpu");
    if (!away) return packs.map((_, i) => now[`${PACK}${i}`].data as Float32Array);
    try {
      reader ??= open(copyGraph(shapes));
      const fetches = Object.fromEntries(shapes.map((_, i) => [`${NEXT_PACK}${i}`, null]));
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
    targets: () => ({}),
    advance: (results) => replace(withPrefix(under(results, NEXT_PACK), PACK)),
    hold: async () => replace(tensorsOver(runtime, PACK, await home(), shapes)),
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
function copyGraph(shapes: readonly (readonly number[])[]): OnnxGraph {
  const types = new Map<string, OnnxType>();
  const nodes = shapes.map((shape, i): OnnxNode => {
    const [input, output] = [`${PACK}${i}`, `${NEXT_PACK}${i}`];
    for (const name of [input, output]) types.set(name, { shape, dtype: "float32" });
    return { op: "Identity", domain: "", inputs: [input], outputs: [output], attributes: {} };
  });
  const named = (prefix: string) => Object.fromEntries([...types].filter(([name]) => name.startsWith(prefix)));
  return { inputs: named(PACK), outputs: named(NEXT_PACK), nodes, constants: {}, types };
}
