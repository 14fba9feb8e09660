/** Losses, gradients and updates against PyTorch; test/reference/losses.py made the fixture and explains it. */
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import { array, mapValues, toArrays, toTensors, type NamedArrays, type NamedTensors } from "../src/engine/arrays.js";
import { logDet } from "../src/engine/ops.js";
import type { EncoderConfig } from "../src/encoder/config.js";
import { sineCosine3d } from "../src/encoder/positions.js";
import { encode, pool } from "../src/encoder/vit.js";
import { initMae, maeLoss, reconstruct } from "../src/trainers/mae.js";
import type { Objective } from "../src/trainers/objective.js";
import { codingRate, initSimdino, project, simdino, simdinoLoss } from "../src/trainers/simdino.js";
import { stepScalars, trainingStep, type StepScalars } from "../src/trainers/step.js";
import { under } from "../src/engine/arrays.js";
import { Random } from "../src/random.js";
import { sizeOf, type Shape3 } from "../src/types.js";
import { startBackendUnderTest } from "./backendUnderTest.js";

interface Digest {
  norm: number;
  head: number[];
}
type Digests = Record<string, Digest>;
const fixture = JSON.parse(readFileSync(new URL("fixtures/losses.json", import.meta.url), "utf8"));
const config: EncoderConfig = { width: 12, depth: 2, heads: 2, mlpRatio: 4, patch: [2, 4, 4], channels: 3 };
const patchNumbers = 96;

/** The formula of losses.py: 0.3 sin(0.7 i + 1.3 k). */
const formula = (shape: readonly number[], k: number, plus = 0) =>
  array(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => 0.3 * Math.sin(0.7 * i + 1.3 * k) + plus),
  );

/** The same names and shapes, with the formula's values in order of the names. */
function formulaParams(params: NamedArrays): NamedArrays {
  const names = Object.keys(params).sort();
  const plus = (name: string) => (name.includes("norm") && name.endsWith("weight") ? 1 : 0);
  return Object.fromEntries(names.map((name, k) => [name, formula(params[name].shape, k, plus(name))]));
}

const relative = (ours: number, theirs: number, scale = Math.abs(theirs)) => Math.abs(ours - theirs) / (scale || 1);

function expectDigests(ours: NamedArrays, theirs: Digests, tolerance = 1e-4) {
  expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort());
  const typical = (name: string) => theirs[name].norm / Math.sqrt(ours[name].data.length);
  for (const [name, { norm, head }] of Object.entries(theirs)) {
    const data = ours[name].data;
    if (norm < 1e-12) continue; // key biases: softmax does not see them, their gradient is rounding
    expect(relative(Math.hypot(...data), norm), `norm of ${name}`).toBeLessThan(tolerance);
    // One entry may be near 0: it is held against the typical size of its array.
    head.forEach((value, i) => {
      expect(relative(data[i], value, Math.max(Math.abs(value), typical(name))), `${name}[${i}]`).toBeLessThan(
        tolerance,
      );
    });
  }
}

/** An objective that is only what `trainingStep` asks of it. */
function bare(terms: Objective["terms"], teacher: boolean, beta2: number, beta1: number): Objective {
  const unused = () => {
    throw new Error("not part of this test");
  };
  return {
    method: "mae",
    encoder: config,
    pooling: "mean",
    optimizer: { beta1, beta2, epsilon: 1e-8, clipNorm: 3 },
    teacher,
    init: unused,
    collate: unused,
    schedule: unused,
    warning: unused,
    terms,
  };
}

async function oneStep(
  objective: Objective,
  params: NamedArrays,
  batch: NamedTensors,
  weightDecay: number,
  grids: Readonly<Record<string, Shape3>> = {},
) {
  const zeros = mapValues(params, ({ shape }) => array(shape));
  const scale = (by: number) =>
    mapValues(params, ({ shape, data }) =>
      array(
        shape,
        data.map((x) => by * x),
      ),
    );
  const state = {
    params: toTensors(params),
    teacher: objective.teacher ? toTensors(scale(0.9)) : {},
    first: toTensors(zeros),
    second: toTensors(zeros),
  };
  const schedule = { learningRate: 0.01, weightDecay, teacherMomentum: 0.9 };
  const scalars = mapValues(stepScalars(0, schedule, objective), (x) => tf.scalar(x)) as unknown as StepScalars;
  const result = trainingStep(objective, state, batch, grids, scalars);
  // After one step from zero, the first moment is (1 − β₁) times the clipped gradient.
  const clip = Math.min(1, 3 / (result.terms.gradientNorm.dataSync()[0] + 1e-6));
  const undo = 1 / ((1 - objective.optimizer.beta1) * clip);
  const first = await toArrays(result.state.first);
  return {
    terms: mapValues(result.terms, (t) => t.dataSync()[0]),
    gradients: mapValues(first, ({ shape, data }) =>
      array(
        shape,
        data.map((x) => x * undo),
      ),
    ),
    updated: await toArrays(result.state.params),
    teacher: await toArrays(result.state.teacher),
    before: scale(0.9),
  };
}

describe("against PyTorch in float64", () => {
  beforeAll(async () => {
    await startBackendUnderTest("wasm");
  });

  test("MAE: loss, every gradient and one AdamW step agree to 1e-4", async () => {
    const { grid, b, visible: v, order, loss, gradients, gradientNorm, updated } = fixture.mae;
    const decoder = { width: 12, depth: 1, heads: 2 };
    const params = formulaParams(initMae(config, decoder, new Random(0)));
    const n = sizeOf(grid);
    const patches = formula([b, n, patchNumbers], 99).data;
    const pick = (from: number, to: number) =>
      Float32Array.from(
        (order as number[][]).flatMap((row, i) =>
          row.slice(from, to).flatMap((token) => {
            const at = (i * n + token) * patchNumbers;
            return [...patches.subarray(at, at + patchNumbers)];
          }),
        ),
      );
    const batch = {
      visible: tf.tensor(pick(0, v), [b, v, patchNumbers]),
      hidden: tf.tensor(pick(v, n), [b, n - v, patchNumbers]),
      order: tf.tensor(order, [b, n], "int32"),
    };
    const objective = bare(
      (p, _teacher, x) => ({
        loss: maeLoss(reconstruct(p, config, decoder, x, grid as Shape3), x.hidden, tf.ones([b, n - v])),
      }),
      false,
      0.95,
      0.9,
    );
    const ours = await oneStep(objective, params, batch, 0.05);
    expect(relative(ours.terms.loss, loss)).toBeLessThan(1e-4);
    expect(relative(ours.terms.gradientNorm, gradientNorm)).toBeLessThan(1e-4);
    expectDigests(ours.gradients, gradients);
    expectDigests(ours.updated, updated);
  });

  test("SimDINO: terms, every gradient and one AdamW step agree to 1e-4, and the teacher moves by 1 − μ", async () => {
    const f = fixture.simdino;
    const params = formulaParams(initSimdino(config, { hidden: f.hidden, out: f.out }, new Random(0)));
    const tokens = (count: number, grid: Shape3, k: number) => {
      const { shape, data } = formula([count, sizeOf(grid), patchNumbers], k);
      return tf.tensor(data, [...shape]);
    };
    const batch = { globals: tokens(2 * f.b, f.globalGrid, 50), locals: tokens(2 * f.b, f.localGrid, 51) };
    const see = (of: NamedTensors, x: tf.Tensor, grid: Shape3) => {
      const positions = tf.tensor(sineCosine3d(grid, config.width), [sizeOf(grid), config.width]);
      const cls = pool(encode(under(of, "encoder/"), config, x, positions), "cls");
      return tf.reshape(project(under(of, "head/"), cls), [-1, f.b, f.out]);
    };
    const rate = { epsilon: f.epsilon, shardRows: f.shardRows, effectiveBatch: f.effectiveBatch };
    const objective = bare(
      (p, teacher, x) => {
        const student = tf.concat([see(p, x.globals, f.globalGrid), see(p, x.locals, f.localGrid)], 0);
        return simdinoLoss(see(teacher, x.globals, f.globalGrid), student, rate);
      },
      true,
      0.999,
      0.9,
    );
    const ours = await oneStep(objective, params, batch, 0.04);
    for (const term of ["loss", "agreement", "expansion", "gradientNorm"]) {
      expect(relative(ours.terms[term], f[term]), term).toBeLessThan(1e-4);
    }
    expectDigests(ours.gradients, f.gradients);
    expectDigests(ours.updated, f.updated);
    for (const [name, { data }] of Object.entries(ours.teacher)) {
      const expected = 0.9 * ours.before[name].data[0] + 0.1 * ours.updated[name].data[0];
      expect(data[0]).toBeCloseTo(expected, 5);
    }
  });

  test("SimDINO of mean tokens, where the student sees half of a global view, agrees with PyTorch to 1e-4", async () => {
    const f = fixture.simdinoPooled;
    const head = { hidden: f.hidden, out: f.out };
    const params = formulaParams(initSimdino(config, head, new Random(0)));
    const n = sizeOf(f.globalGrid);
    const { data } = formula([2 * f.b, n, patchNumbers], 50);
    const places = (f.places as number[][]).flat();
    const k = places.length / (2 * f.b);
    const student = Float32Array.from({ length: places.length * patchNumbers }, (_, i) => {
      const at = Math.floor(i / patchNumbers);
      return data[(Math.floor(at / k) * n + places[at]) * patchNumbers + (i % patchNumbers)];
    });
    const batch = {
      globals: tf.tensor(data, [2 * f.b, n, patchNumbers]),
      student: tf.tensor(student, [2 * f.b, k, patchNumbers]),
      places: tf.tensor(places, [2 * f.b, k], "int32"),
      locals: tf.tensor(formula([2 * f.b, sizeOf(f.localGrid), patchNumbers], 51).data, [
        2 * f.b,
        sizeOf(f.localGrid),
        patchNumbers,
      ]),
    };
    const size = { image: [1, 1, 1], video: [1, 1, 1], volume: [1, 1, 1] } as const; // no picture is cut here
    const view = { count: 2, scale: [1, 1], size } as const;
    const objective = simdino({
      encoder: config,
      head,
      views: { globals: view, locals: view },
      pooling: "mean",
      codingRate: { epsilon: f.epsilon, shardRows: f.shardRows, effectiveBatch: f.effectiveBatch },
      learningRate: 0.01,
    });
    const grids = { globals: f.globalGrid as Shape3, locals: f.localGrid as Shape3 };
    const ours = await oneStep(objective, params, batch, 0.04, grids);
    for (const term of ["loss", "agreement", "expansion", "gradientNorm"]) {
      expect(relative(ours.terms[term], f[term]), term).toBeLessThan(1e-4);
    }
    expectDigests(ours.gradients, f.gradients);
    expectDigests(ours.updated, f.updated);
  });

  test("the coding rate of 2 × 64 rows and its gradient agree with slogdet", async () => {
    const [a, c] = [formula([2, 64, 256], 3).data, formula([2, 64, 256], 7).data];
    const z = Float32Array.from(a, (x, i) => x + 0.02 * Math.cos(c[i]));
    for (let row = 0; row < 128; row++) {
      const of = z.subarray(row * 256, (row + 1) * 256);
      const norm = Math.hypot(...of);
      of.forEach((x, i) => (of[i] = x / norm));
    }
    const { value, grad } = tf.valueAndGrad((x) => codingRate(x, 10))(tf.tensor(z, [2, 64, 256]));
    expect(relative((await value.data())[0], fixture.logDet.rate)).toBeLessThan(1e-4);
    const gradient = Float32Array.from(await grad.data());
    expect(relative(Math.hypot(...gradient), fixture.logDet.gradient.norm)).toBeLessThan(1e-4);
  });

  test("the log-determinant of 2·I of size 3 is 3 ln 2, and its gradient half the identity", async () => {
    const { value, grad } = tf.valueAndGrad((x) => tf.sum(logDet(x)))(tf.mul(2, tf.eye(3)).reshape([1, 3, 3]));
    expect((await value.data())[0]).toBeCloseTo(3 * Math.log(2), 5);
    expect([...(await grad.data())].map((x) => +x.toFixed(6) + 0)).toEqual([0.5, 0, 0, 0, 0.5, 0, 0, 0, 0.5]);
  });
});
