import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, test } from "vitest";
import {
  collapseState,
  collapseWarning,
  expansionLimits,
  PUBLISHED_CODING_RATE,
  simdinoLoss,
} from "../src/trainers/simdino.js";
import { startBackendUnderTest } from "./backendUnderTest.js";

beforeAll(async () => {
  await startBackendUnderTest("wasm");
});

/** `effectiveBatch` rows in all, `rows` on each GPU, as the authors' runs were set up. */
const run = (rows: number, effectiveBatch: number) =>
  expansionLimits(rows, 256, { epsilon: 0.05, shardRows: rows, effectiveBatch });

test("the ceiling of the published run is 0.4496, of which its log reached 94 %", () => {
  const { ceiling, collapse } = expansionLimits(64, 256, PUBLISHED_CODING_RATE);
  expect(ceiling).toBeCloseTo(0.4496, 4);
  expect(collapse).toBeCloseTo(0.0189, 4);
  const published = 0.424; // expansion term, epoch 99 of the authors' public ViT-B log
  expect(published / ceiling).toBeCloseTo(0.943, 3);
});

test("a collapse on 32 GPUs of 78 rows shows as 0.01094, the value that a user logged as 0.0109", () => {
  expect(run(78, 32 * 78).collapse).toBeCloseTo(0.01094, 5);
});

test("ceilings and collapse values of one GPU are those derived from the formula", () => {
  const derived: [rows: number, ceiling: number, collapse: number][] = [
    [16, 3.07, 0.284],
    [32, 2.86, 0.15],
    [64, 2.75, 0.083],
    [128, 2.79, 0.05],
    [256, 3.05, 0.033],
    [512, 2.28, 0.025],
    [24, 2.935, NaN], // issue 12 logged 2.858 of it
  ];
  for (const [rows, ceiling, collapse] of derived) {
    expect(run(rows, rows).ceiling).toBeCloseTo(ceiling, 1);
    expect(Math.abs(run(rows, rows).ceiling - ceiling)).toBeLessThan(0.006);
    if (!Number.isNaN(collapse)) expect(Math.abs(run(rows, rows).collapse - collapse)).toBeLessThan(0.0006);
  }
});

/** Teacher and student views of a batch whose row i is `row(i)`. */
function lossOf(row: (i: number) => number[], b = 64, locals = 1) {
  const view = Array.from({ length: b }, (_, i) => row(i));
  const views = (count: number) => tf.tensor(Array.from({ length: count }, () => view)) as tf.Tensor;
  const terms = simdinoLoss(views(2), views(2 + locals), PUBLISHED_CODING_RATE);
  return Object.fromEntries(Object.entries(terms).map(([name, t]) => [name, t.dataSync()[0]]));
}

const unit = (at: number) => Array.from({ length: 256 }, (_, i) => (i === at ? 1 : 0));

test("a batch of equal rows has agreement 1 and the expansion of a single direction", () => {
  const { agreement, expansion, loss } = lossOf(() => unit(3));
  expect(agreement).toBeCloseTo(1, 5);
  expect(expansion).toBeCloseTo(expansionLimits(64, 256, PUBLISHED_CODING_RATE).collapse, 5);
  expect(loss).toBeCloseTo(-agreement - expansion, 5);
});

test("a batch of orthogonal rows reaches the ceiling", () => {
  const { agreement, expansion } = lossOf(unit);
  expect(agreement).toBeCloseTo(1, 5);
  expect(expansion).toBeCloseTo(expansionLimits(64, 256, PUBLISHED_CODING_RATE).ceiling, 4);
});

test("agreement leaves out a view's comparison with itself", () => {
  // Two rows; student view 0 equals teacher view 0 and is orthogonal to everything else.
  const [a, c] = [unit(0), unit(1)];
  const teacher = tf.tensor([[a], [c]]); // [2, 1, 256]
  const student = tf.tensor([[a], [c]]);
  const { agreement } = simdinoLoss(teacher, student, { ...PUBLISHED_CODING_RATE, shardRows: 1 });
  expect(agreement.dataSync()[0]).toBeCloseTo(0, 6);
});

test("the monitor is silent on the published end, warns near collapse and names a collapse", () => {
  const limits = expansionLimits(64, 256, PUBLISHED_CODING_RATE);
  expect(collapseWarning({ agreement: 0.858, expansion: 0.424 }, limits)).toBeNull();
  expect(collapseWarning({ agreement: 0.96, expansion: 0.06 }, limits)).toMatch(/^near collapse: agreement 0.960/);
  expect(collapseWarning({ agreement: 0.9999, expansion: limits.collapse }, limits)).toMatch(/^collapsed/);
  expect(collapseWarning({ agreement: NaN, expansion: 0.1 }, limits)).toBe("the loss is not a number");
});

test("agreement that weighs w times counts w times in the loss, and the two terms stay what they are", () => {
  const rows = (seed: number) =>
    tf.tidy(() => tf.div(tf.randomNormal([2, 64, 8], 0, 1, "float32", seed), Math.sqrt(8)));
  const [teacher, student] = [rows(1), rows(2)];
  const value = (weight?: number) =>
    Object.fromEntries(
      Object.entries(simdinoLoss(teacher, student, PUBLISHED_CODING_RATE, weight)).map(([k, x]) => [
        k,
        x.dataSync()[0],
      ]),
    );
  const [one, hundred] = [value(), value(100)];
  expect([hundred.agreement, hundred.expansion]).toEqual([one.agreement, one.expansion]);
  expect(hundred.loss).toBeCloseTo(-100 * one.agreement - one.expansion, 4);
});

test("agreement near one with expansion at its lower end is collapse, and neither alone is", () => {
  const limits = expansionLimits(64, 256, PUBLISHED_CODING_RATE);
  const state = (agreement: number, expansion: number) => collapseState({ agreement, expansion }, limits).state;
  expect(state(1, limits.collapse)).toBe("collapsed");
  expect(state(0.95, limits.collapse + 0.1 * (limits.ceiling - limits.collapse))).toBe("near collapse");
  expect(state(0.5, limits.collapse)).toBe("spread out");
  expect(state(1, limits.ceiling)).toBe("spread out");
});
