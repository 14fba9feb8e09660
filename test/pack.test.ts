import * as tf from "@tensorflow/tfjs";
import { expect, test } from "vitest";
import type { NamedTensors } from "../src/engine/arrays.js";
import { compiledRunner } from "../src/engine/compile.js";
import { lowerToOnnx } from "../src/engine/onnxLower.js";
import { NEXT, packState, planPacks, STATE } from "../src/engine/pack.js";
import type { StepFunction } from "../src/engine/runner.js";
import type { TensorType } from "../src/engine/shapes.js";
import { trace } from "../src/engine/trace.js";
import { sizeOf } from "../src/types.js";

const SHAPES: Record<string, number[]> = {
  "a.weight": [3, 4],
  "a.bias": [4],
  "b.weight": [4, 2],
  "b.bias": [2],
  one: [1],
  large: [300, 300],
};
const arrays = Object.fromEntries(
  ["params/", "first/"].flatMap((part, k) =>
    Object.entries(SHAPES).map(([name, shape]) => {
      const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i + 1 + 3 * k + shape.length));
      return [part + name, { shape, data }] as const;
    }),
  ),
);

/** Descent with momentum towards 0, where matrices decay and vectors do not. */
const descend: StepFunction = (state, _batch, { rate }) => {
  const next: Record<string, tf.Tensor> = {};
  for (const name of Object.keys(SHAPES)) {
    const [w, m] = [state[`params/${name}`], state[`first/${name}`]];
    const gradient = tf.mul(w, tf.sum(tf.square(w), 0, true)); // not element-wise: as a gradient comes
    const moment = (next[`first/${name}`] = tf.add(tf.mul(0.9, m), gradient));
    next[`params/${name}`] = tf.sub(w.rank === 2 ? tf.mul(w, 0.99) : w, tf.mul(rate, moment));
  }
  return { state: next, outputs: { length: tf.sum(tf.square(next["params/large"])) } };
};

function graphOf(step: StepFunction) {
  const types: Record<string, TensorType> = { rate: { shape: [], dtype: "float32" } };
  for (const [name, { shape }] of Object.entries(arrays)) types[STATE + name] = { shape, dtype: "float32" };
  const f = (tensors: NamedTensors): NamedTensors => {
    const state = Object.fromEntries(Object.keys(arrays).map((name) => [name, tensors[STATE + name]]));
    const { state: next } = step(state, {}, { rate: tensors.rate }, {});
    return Object.fromEntries(Object.entries(next).map(([name, tensor]) => [NEXT + name, tensor]));
  };
  return lowerToOnnx(trace(f, types));
}

test("every array is in one pack", () => {
  const packs = planPacks(graphOf(descend), Object.keys(arrays));
  expect(packs.flat().sort()).toEqual(Object.keys(arrays).sort());
});

test("what is updated alike is packed together, its moments in the same order, and a large array is alone", () => {
  const packs = planPacks(graphOf(descend), Object.keys(arrays)).map((pack) => pack.join(" "));
  expect(packs.sort()).toEqual(
    [
      "params/a.weight params/b.weight",
      "first/a.weight first/b.weight",
      "params/a.bias params/b.bias",
      "first/a.bias first/b.bias",
      "params/one", // a sum of one number is that number: its gradient is computed otherwise
      "first/one",
      "params/large",
      "first/large",
    ].sort(),
  );
});

test("packing leaves fewer nodes: those of one update for all that is packed", () => {
  const graph = graphOf(descend);
  const packed = packState(graph, planPacks(graph, Object.keys(arrays)));
  const count = (op: string, nodes: readonly { op: string }[]) => nodes.filter((node) => node.op === op).length;
  expect(count("Sub", graph.nodes)).toBe(6); // one for each parameter
  expect(count("Sub", packed.nodes)).toBe(4); // matrices, vectors, the large one, the one of 1
  expect(Object.keys(packed.inputs).length).toBe(9); // eight packs and the rate
});

/** The state after three steps. */
async function after(step: StepFunction, steps: StepFunction[] = []) {
  let at = 0;
  const runner = await compiledRunner((...all) => (steps[at] ?? step)(...all), arrays);
  for (at = 0; at < 3; at++) await runner.step({ bucket: `${at}`, arrays: {}, grids: {} }, { rate: 0.01 });
  const state = await runner.state();
  runner.dispose();
  return state;
}

test("packed updates are those of each array alone, to the bit", async () => {
  const state = await after(descend);
  for (const name of Object.keys(SHAPES)) {
    // Alone, nothing can be packed with anything but its own moment.
    const own = { [`params/${name}`]: arrays[`params/${name}`], [`first/${name}`]: arrays[`first/${name}`] };
    const alone: StepFunction = (given, batch, scalars, grids) => {
      const zeros = Object.fromEntries(Object.entries(arrays).map(([key, { shape }]) => [key, tf.zeros([...shape])]));
      const { state } = descend({ ...zeros, ...given }, batch, scalars, grids);
      return { state: Object.fromEntries(Object.keys(own).map((key) => [key, state[key]])), outputs: {} };
    };
    const runner = await compiledRunner(alone, own);
    for (let i = 0; i < 3; i++) await runner.step({ bucket: "", arrays: {}, grids: {} }, { rate: 0.01 });
    expect(await runner.state()).toEqual({
      [`params/${name}`]: state[`params/${name}`],
      [`first/${name}`]: state[`first/${name}`],
    });
    runner.dispose();
  }
});

test("a bucket whose step computes otherwise runs on the packs of the first", async () => {
  const rest: StepFunction = (state) => ({
    state: { ...state, "params/one": tf.neg(state["params/one"]) },
    outputs: {},
  });
  const state = await after(descend, [descend, rest, rest]);
  const once = await after(rest, [descend]);
  expect(state).toEqual(once);
  const first = await compiledRunner(descend, arrays);
  await first.step({ bucket: "", arrays: {}, grids: {} }, { rate: 0.01 });
  expect(state).toEqual(await first.state()); // negated twice
  first.dispose();
});
