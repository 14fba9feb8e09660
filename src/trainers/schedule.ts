/** How learning rate, weight decay and teacher momentum move over a run: pure functions of the step. */

/**
 * Half a cosine from `from` at step 0 to `to` at step `steps`.
 *
 *     to + (from − to) (1 + cos(π step / steps)) / 2
 *
 * `cosine(50, 100, 1, 0)` is 0.5.
 */
export function cosine(step: number, steps: number, from: number, to: number): number {
  const done = Math.min(1, step / steps);
  return to + ((from - to) * (1 + Math.cos(Math.PI * done))) / 2;
}

/**
 * Linear warm-up from peak/warmup to peak, then a half cosine down to `floor` (MAE and DINO alike).
 *
 * `warmupCosine(0, { steps: 100, warmup: 10, peak: 1, floor: 0 })` is 0.1; at step 9 it is 1.
 */
export function warmupCosine(
  step: number,
  { steps, warmup, peak, floor }: { steps: number; warmup: number; peak: number; floor: number },
): number {
  if (step < warmup) return (peak * (step + 1)) / warmup;
  return cosine(step - warmup, Math.max(1, steps - warmup), peak, floor);
}
