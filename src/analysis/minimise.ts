/** A deterministic minimiser for smooth convex functions. */

/** The value at x; the gradient is written into `gradient`. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number;

const MEMORY = 10;
const MOST_STEPS = 2000;

/**
 * L-BFGS (Liu & Nocedal 1989) with a backtracking line search (Armijo). The same start gives the same bits: no chance enters.
 *
 * @param start     not changed
 * @param tolerance stops where no entry of the gradient is larger
 * @returns the minimiser, or, after 2,000 steps or where rounding lets the value fall no further, the best point so far
 */
export function minimise(f: Objective, start: Float64Array, tolerance = 1e-6): Float64Array {
  const n = start.length;
  let x = start.slice();
  let gradient = new Float64Array(n);
  let value = f(x, gradient);
  const history: { s: Float64Array; y: Float64Array; rho: number }[] = [];
  const steepest = (g: Float64Array) => g.reduce((most, entry) => Math.max(most, Math.abs(entry)), 0);

  for (let step = 0; step < MOST_STEPS && steepest(gradient) > tolerance; step++) {
    const direction = gradient.map((entry) => -entry);
    const along = history.map(({ s, rho }, i) => ({ i, s, rho, alpha: 0 }));
    for (const one of along.reverse()) {
      one.alpha = one.rho * dot(one.s, direction);
      addScaled(direction, history[one.i].y, -one.alpha);
    }
    const newest = history.at(-1);
    const scale = newest ? 1 / (newest.rho * dot(newest.y, newest.y)) : 1 / Math.max(1, steepest(gradient));
    for (let i = 0; i < n; i++) direction[i] *= scale;
    for (const { i, s, rho, alpha } of along.reverse())
      addScaled(direction, s, alpha - rho * dot(history[i].y, direction));

    const slope = dot(direction, gradient);
    let size = 1;
    let next = x;
    let nextGradient = gradient;
    let nextValue = Infinity;
    for (let halving = 0; halving < 40; halving++, size /= 2) {
      next = x.slice();
      addScaled(next, direction, size);
      nextGradient = new Float64Array(n);
      nextValue = f(next, nextGradient);
      if (nextValue <= value + 1e-4 * size * slope) break;
    }
    if (!(nextValue < value)) break;
    const s = next.map((entry, i) => entry - x[i]);
    const y = nextGradient.map((entry, i) => entry - gradient[i]);
    const curvature = dot(s, y);
    if (curvature > 1e-14 * dot(y, y)) {
      history.push({ s, y, rho: 1 / curvature });
      if (history.length > MEMORY) history.shift();
    }
    [x, gradient, value] = [next, nextGradient, nextValue];
  }
  return x;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function addScaled(to: Float64Array, from: Float64Array, scale: number): void {
  for (let i = 0; i < to.length; i++) to[i] += scale * from[i];
}
