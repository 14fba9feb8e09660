/** Slow random textures in space: the folds of a cortex, the lumps of a tumour. */
import type { Random } from "../random.js";
import { sine } from "./phantomMath.js";

/**
 * A product of sines along three random directions, in [−1, 1]: cheap, smooth and never twice the same.
 *
 * @param frequency radians per region unit
 */
export function boxedSines(random: Random, frequency: number): (x: number, y: number, z: number) => number {
  const waves = [0, 1, 2].map((axis) => {
    const k = [0, 0, 0].map(
      (_, i) => frequency * (i === axis ? random.uniform(0.85, 1.25) : random.uniform(-0.45, 0.45)),
    );
    return { k, phase: random.uniform(0, 6.28) };
  });
  // A product of three sines is often near 0: the factor brings its spread to that of a single sine.
  return (x, y, z) => {
    let product = 1.9;
    for (const { k, phase } of waves) product *= sine(k[0] * x + k[1] * y + k[2] * z + phase);
    return product > 1 ? 1 : product < -1 ? -1 : product;
  };
}
