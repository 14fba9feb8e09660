/** Runs a step function over and over, keeping its state where it is computed. */
import * as tf from "@tensorflow/tfjs";
import type { Shape3 } from "../types.js";
import { toArrays, toTensors, type BatchArray, type NamedArrays, type NamedTensors } from "./arrays.js";

/** What a step reads besides its state. `grids` are constants of the bucket: shapes, not numbers that change. */
export interface StepInput {
  readonly bucket: string;
  readonly arrays: Readonly<Record<string, BatchArray>>;
  readonly grids: Readonly<Record<string, Shape3>>;
}

/** A pure function of tensors. All outputs are scalars. */
export type StepFunction = (
  state: NamedTensors,
  batch: NamedTensors,
  scalars: NamedTensors,
  grids: StepInput["grids"],
) => { state: NamedTensors; outputs: NamedTensors };

export interface Runner {
  /** Advances the state by one step and returns the step's outputs. */
  step(input: StepInput, scalars: Readonly<Record<string, number>>): Promise<Record<string, number>>;
  /** A copy of the state. */
  state(): Promise<Record<string, { shape: readonly number[]; data: Float32Array }>>;
  dispose(): void;
}

/** Calls the step function as it is, operation by operation, on the started tfjs backend. */
export function eagerRunner(step: StepFunction, initial: NamedArrays): Runner {
  let state: NamedTensors = toTensors(initial);
  return {
    async step(input, scalars) {
      const result = tf.tidy(() => {
        const numbers = Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, tf.scalar(value)]));
        return step(state, toTensors(input.arrays), numbers, input.grids) as unknown as tf.TensorContainer;
      }) as unknown as ReturnType<StepFunction>;
      const kept = new Set(Object.values(result.state));
      for (const old of Object.values(state)) if (!kept.has(old)) old.dispose();
      state = result.state;
      const names = Object.keys(result.outputs);
      const values = await Promise.all(names.map((name) => result.outputs[name].data()));
      tf.dispose(Object.values(result.outputs));
      return Object.fromEntries(names.map((name, i) => [name, values[i][0]]));
    },
    state: () => toArrays(state),
    dispose: () => tf.dispose(Object.values(state)),
  };
}
