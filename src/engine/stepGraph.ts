/** A training step as a function of named tensors, for whoever traces it. */
import { mapValues, under, withPrefix, type BatchArray, type NamedArrays, type NamedTensors } from "./arrays.js";
import { NEXT, STATE } from "./pack.js";
import type { StepFunction, StepInput } from "./runner.js";
import type { TensorType } from "./shapes.js";

export const BATCH_INPUT = "batch/";
export const SCALAR_INPUT = "scalar/";
export const OUTPUT = "output/";

const SCALAR: TensorType = { shape: [], dtype: "float32" };

export function typeOf({ shape, data }: BatchArray): TensorType {
  return { shape, dtype: data instanceof Int32Array ? "int32" : "float32" };
}

/** Steps with the same key are one graph. */
export function stepKey(input: StepInput, scalars: Readonly<Record<string, number>>): string {
  const shapes = Object.entries(input.arrays).map(([name, { shape }]) => `${name} [${shape}]`);
  return JSON.stringify([input.bucket, shapes, input.grids, Object.keys(scalars)]);
}

/** Types of all that a step reads, by name. */
export function stepTypes(
  initial: NamedArrays,
  input: StepInput,
  scalars: Readonly<Record<string, number>>,
): Record<string, TensorType> {
  return {
    ...withPrefix(
      mapValues(initial, ({ shape }): TensorType => ({ shape, dtype: "float32" })),
      STATE,
    ),
    ...withPrefix(mapValues(input.arrays, typeOf), BATCH_INPUT),
    ...withPrefix(
      mapValues(scalars, () => SCALAR),
      SCALAR_INPUT,
    ),
  };
}

/** @throws Error where the step does not hand on all of its state */
export function pureStep(step: StepFunction, initial: NamedArrays, grids: StepInput["grids"]) {
  return (tensors: NamedTensors): NamedTensors => {
    const result = step(under(tensors, STATE), under(tensors, BATCH_INPUT), under(tensors, SCALAR_INPUT), grids);
    const lost = Object.keys(initial).filter((name) => !(name in result.state));
    if (lost.length > 0) throw new Error(`the step leaves out ${lost.join(", ")} of the state`);
    return { ...withPrefix(result.state, NEXT), ...withPrefix(result.outputs, OUTPUT) };
  };
}
