/**
 * Samples to batches, described by plain values, so that a worker thread can do it as well as the training thread.
 * Workers run this file: it loads no tensor library.
 */
import { tokenGrid, tokenSize, tokenStarts, writeTokens, type Patching } from "../encoder/tokens.js";
import type { Random } from "../random.js";
import { Scratch } from "../transforms/scratch.js";
import { multiCropChannels, singleCropChannels } from "../transforms/views.js";
import type { MultiCropSpec, SingleCropSpec, ViewSource, ViewSpec } from "../transforms/views.js";
import { InputError, sizeOf, type Shape3 } from "../types.js";
import type { Batch } from "./objective.js";

/** One crop of each sample; `maskRatio` of its patches are hidden. */
export interface MaeCollation {
  readonly method: "mae";
  readonly encoder: Patching;
  readonly view: SingleCropSpec;
  readonly maskRatio: number;
}

/** Two global views and some local ones of each sample. */
export interface SimdinoCollation {
  readonly method: "simdino";
  readonly encoder: Patching;
  readonly views: MultiCropSpec;
  /** Share of a global view's patches that the student does not see; 0 unless asked for. */
  readonly maskRatio?: number;
}

/** All that a batch depends on besides samples and chance. It survives `structuredClone`. */
export type Collation = MaeCollation | SimdinoCollation;

/** Samples of one kind to a batch. Where `spec` is there, the function is `collate` of it, wherever that runs. */
export interface Collate {
  (samples: readonly ViewSource[], random: Random): Batch;
  readonly spec?: Collation;
}

/** `collate` of a fixed description. */
export function collateBy(spec: Collation): Collate {
  const here = (samples: readonly ViewSource[], random: Random) => collate(spec, samples, random);
  return Object.assign(here, { spec });
}

/**
 * A batch: a pure function of the description, the samples and the state of the generator.
 *
 * @param samples whose views have one size; of grey ones only the first channel is read
 * @param memory  where the batch is to be; a new buffer where it is too small or left out
 * @returns       arrays that lie in one buffer, one after the other
 */
export function collate(spec: Collation, samples: readonly ViewSource[], random: Random, memory?: ArrayBuffer): Batch {
  assertOneSize(spec, samples);
  return spec.method === "mae"
    ? collateMae(spec, samples, random, memory)
    : collateSimdino(spec, samples, random, memory);
}

/** Kinds may share a batch where all their views have one size, as videos and volumes of one shape do. */
function assertOneSize(spec: Collation, samples: readonly ViewSource[]): void {
  const specs: ViewSpec[] = spec.method === "mae" ? [spec.view] : [spec.views.globals, spec.views.locals];
  const [{ kind }] = samples;
  for (const other of new Set(samples.map((sample) => sample.kind))) {
    const unlike = specs.find(({ size }) => String(size[other]) !== String(size[kind]));
    if (unlike)
      throw new InputError(
        `a batch of ${kind} and ${other}: their views are [${unlike.size[kind]}] and [${unlike.size[other]}]`,
      );
  }
}

/** The view that becomes tokens next. */
const drawn = new Scratch(Float32Array);

/** One crop of each sample, and a random order of its patches: the first quarter is visible (at a ratio of 0.75). */
function collateMae(
  { encoder, view, maskRatio }: MaeCollation,
  samples: readonly ViewSource[],
  random: Random,
  memory?: ArrayBuffer,
): Batch {
  const size = view.size[samples[0].kind];
  const grid = tokenGrid(size, encoder);
  const [b, n, p] = [samples.length, sizeOf(grid), tokenSize(encoder)];
  const v = Math.max(1, Math.round(n * (1 - maskRatio)));
  const buffer = roomFor(b * n * (p + 1), memory);
  const tokens = new Float32Array(buffer, 0, b * n * p); // all visible ones, then all hidden ones
  const order = new Int32Array(buffer, 4 * b * n * p, b * n);
  const starts = new Int32Array(n);
  samples.forEach((sample, i) => {
    const pixels = singleCropChannels(sample, view, random, drawn);
    const shuffled = random.permutation(n);
    order.set(shuffled, i * n);
    for (let to = 0; to < n; to++) {
      starts[shuffled[to]] = p * (to < v ? i * v + to : b * v + i * (n - v) + to - v);
    }
    writeTokens(pixels, size, encoder, tokens, starts);
  });
  return {
    bucket: `mae ${b}x${grid.join("x")}`,
    arrays: {
      visible: { shape: [b, v, p], data: tokens.subarray(0, b * v * p) },
      hidden: { shape: [b, n - v, p], data: tokens.subarray(b * v * p) },
      order: { shape: [b, n], data: order },
    },
    grids: { whole: grid },
  };
}

/**
 * Two global views and the local ones of every sample; view by view, so that row i of each view is sample i. Where the
 * student does not see all of a global view, what it sees stands beside: `student` [2b, k, p], and `places` [2b, k].
 */
function collateSimdino(
  { encoder, views, maskRatio = 0 }: SimdinoCollation,
  samples: readonly ViewSource[],
  random: Random,
  memory?: ArrayBuffer,
): Batch {
  if (views.globals.count !== 2) throw new Error(`SimDINO compares 2 global views; got ${views.globals.count}`);
  const { kind } = samples[0];
  const [b, p] = [samples.length, tokenSize(encoder)];
  const parts = (["globals", "locals"] as const)
    .filter((name) => views[name].count > 0)
    .map((name) => {
      const { count, size } = views[name];
      const grid = tokenGrid(size[kind], encoder);
      return { name, count, size: size[kind], grid, n: sizeOf(grid) };
    });
  const whole = parts[0].n;
  const k = Math.max(1, Math.round(whole * (1 - maskRatio)));
  const seen = maskRatio > 0 ? 2 * b * k : 0;
  const buffer = roomFor(parts.reduce((sum, { count, n }) => sum + count * b * n * p, 0) + seen * (p + 1), memory);
  let at = 0;
  const places = parts.map((part) => {
    const data = new Float32Array(buffer, 4 * at, part.count * b * part.n * p);
    at += data.length;
    return { ...part, data };
  });
  const student = new Float32Array(buffer, 4 * at, seen * p);
  const chosen = new Int32Array(buffer, 4 * (at + seen * p), seen);
  samples.forEach((sample, i) => {
    const crops = multiCropChannels(sample, views, random, drawn);
    for (const { count, size, n, data } of places) {
      for (let v = 0; v < count; v++) {
        writeTokens(crops.next().value!, size, encoder, data, tokenStarts((v * b + i) * n, n, p));
      }
    }
  });
  // Both ends of a copy, without a view of each: globals are the first in the buffer, the student is after the last view.
  const numbers = new Float32Array(buffer, 0, at + student.length);
  for (let row = 0; seen > 0 && row < 2 * b; row++) {
    const order = random.permutation(whole).subarray(0, k);
    chosen.set(order, row * k);
    for (let i = 0; i < k; i++) {
      const from = (row * whole + order[i]) * p;
      numbers.copyWithin(at + (row * k + i) * p, from, from + p);
    }
  }
  const masked = { student: { shape: [2 * b, k, p], data: student }, places: { shape: [2 * b, k], data: chosen } };
  return {
    bucket: `simdino ${b} ${kind}`,
    arrays: {
      ...Object.fromEntries(places.map(({ name, count, n, data }) => [name, { shape: [count * b, n, p], data }])),
      ...(seen > 0 ? masked : {}),
    },
    grids: Object.fromEntries(places.map(({ name, grid }): [string, Shape3] => [name, grid])),
  };
}

/** The one buffer that a batch of `collate` lies in. */
export function bufferOf({ arrays }: Batch): ArrayBuffer {
  const [{ data }] = Object.values(arrays);
  return data.buffer as ArrayBuffer;
}

/** A buffer of at least `count` numbers of 4 bytes. */
function roomFor(count: number, memory: ArrayBuffer | undefined): ArrayBuffer {
  if (count >= 2 ** 31) throw new InputError(`a batch of ${count} numbers: expected fewer than 2^31; make it smaller`);
  return memory && memory.byteLength >= 4 * count ? memory : new ArrayBuffer(4 * count);
}
