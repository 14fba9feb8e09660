/** Named float arrays: what a model is outside of any backend, and what checkpoints store. */
import * as tf from "@tensorflow/tfjs";
import { sizeOf } from "../types.js";

/** A float32 array with its shape, row-major. */
export interface Array32 {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export type NamedArrays = Readonly<Record<string, Array32>>;

export type NamedTensors = Readonly<Record<string, tf.Tensor>>;

/** What a batch is made of: float32 pixels, or int32 orders. */
export interface BatchArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** `array([2, 3])` holds six zeros. Throws where data and shape disagree. */
export function array(shape: readonly number[], data: Float32Array = new Float32Array(sizeOf(shape))): Array32 {
  if (data.length !== sizeOf(shape)) {
    throw new Error(`shape [${shape}] holds ${sizeOf(shape)} numbers; got ${data.length}`);
  }
  return { shape, data };
}

/** Copies arrays into the current backend. The caller disposes of the tensors. */
export function toTensors(arrays: Readonly<Record<string, BatchArray>>): Record<string, tf.Tensor> {
  return mapValues(arrays, ({ data, shape }) =>
    tf.tensor(data, [...shape], data instanceof Int32Array ? "int32" : "float32"),
  );
}

/** Copies tensors out of the backend; the tensors stay. */
export async function toArrays(tensors: NamedTensors): Promise<Record<string, Array32>> {
  const entries = Object.entries(tensors).map(
    async ([name, tensor]) => [name, array(tensor.shape, Float32Array.from(await tensor.data()))] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}

/** The same names with changed values. */
export function mapValues<A, B>(
  record: Readonly<Record<string, A>>,
  f: (value: A, name: string) => B,
): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, f(value, name)]));
}

/** The entries whose names start with `prefix`, without it: `{ "teacher/cls": t }` under `teacher/` is `{ cls: t }`. */
export function under<A>(record: Readonly<Record<string, A>>, prefix: string): Record<string, A> {
  const kept = Object.entries(record).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(kept.map(([name, value]) => [name.slice(prefix.length), value]));
}

/** The inverse of `under`: every name with `prefix` before it. */
export function withPrefix<A>(record: Readonly<Record<string, A>>, prefix: string): Record<string, A> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [prefix + name, value]));
}

/** Floats one after the other: (1, 2) and (3) give (1, 2, 3). */
export function sideBySide(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
