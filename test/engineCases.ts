/** Small functions that together call every kernel of the compiled engine, each with arrays to run it on. */
import * as tf from "@tensorflow/tfjs";
import type { BatchArray, NamedTensors } from "../src/engine/arrays.js";
import { attention, gelu, layerNorm, linear, logDet, unitRows } from "../src/engine/ops.js";
import { Random } from "../src/random.js";
import { sizeOf } from "../src/types.js";

export interface EngineCase {
  readonly title: string;
  readonly inputs: Readonly<Record<string, BatchArray>>;
  f(inputs: NamedTensors): NamedTensors;
}

export function normal(seed: string, ...shape: number[]): BatchArray {
  const random = new Random(seed);
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => random.normal()) };
}

const ints = (...data: number[]): BatchArray => ({ shape: [data.length], data: Int32Array.from(data) });

/** Value of a function of float tensors, and the gradient of its squared sum by every one of them. */
function withGradients(f: (inputs: NamedTensors) => tf.Tensor): EngineCase["f"] {
  return (inputs) => {
    const names = Object.keys(inputs);
    const loss = (...tensors: tf.Tensor[]) =>
      tf.sum(tf.square(f(Object.fromEntries(names.map((name, i) => [name, tensors[i]]))))) as tf.Scalar;
    const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => inputs[name]));
    return { y: f(inputs), value, ...Object.fromEntries(names.map((name, i) => [`gradient ${name}`, grads[i]])) };
  };
}

const x = normal("x", 4, 6);
const y = normal("y", 4, 6);
const row = normal("row", 6);

export const ENGINE_CASES: readonly EngineCase[] = [
  {
    title: "functions of one number",
    inputs: { x },
    f: ({ x }) => {
      const positive = tf.add(tf.abs(x), 0.1);
      return {
        erf: tf.erf(x),
        exp: tf.exp(x),
        log: tf.log(positive),
        log1p: tf.log1p(positive),
        sqrt: tf.sqrt(positive),
        rsqrt: tf.rsqrt(positive),
        reciprocal: tf.reciprocal(positive),
        square: tf.square(x),
        neg: tf.neg(x),
        sign: tf.sign(x),
        sin: tf.sin(x),
        cos: tf.cos(x),
        tanh: tf.tanh(x),
        sigmoid: tf.sigmoid(x),
        softplus: tf.softplus(x),
        relu: tf.relu(x),
        clip: tf.clipByValue(x, -0.5, 0.25),
        clone: tf.clone(x),
      };
    },
  },
  {
    title: "arithmetic of two tensors that broadcast",
    inputs: { x, y, row },
    f: ({ x, y, row }) => ({
      add: tf.add(x, row),
      sub: tf.sub(row, y),
      mul: tf.mul(x, tf.sum(y, 1, true)),
      div: tf.div(x, tf.add(tf.square(row), 1)),
      pow: tf.pow(tf.abs(x), 1.5),
      maximum: tf.maximum(x, row),
      minimum: tf.minimum(x, 0.1),
      squaredDifference: tf.squaredDifference(x, y),
      addN: tf.addN([x, y, x]),
    }),
  },
  {
    title: "comparisons, choices and types",
    inputs: { x, y, ids: ints(3, 1, 2, 1) },
    f: ({ x, y, ids }) => {
      const number = (condition: tf.Tensor) => tf.cast(condition, "float32");
      const greater = tf.greater(x, y);
      return {
        greater: number(greater),
        less: number(tf.less(x, 0)),
        greaterEqual: number(tf.greaterEqual(x, x)),
        lessEqual: number(tf.lessEqual(x, y)),
        equal: number(tf.equal(ids, 1)),
        notEqual: number(tf.notEqual(ids, tf.tensor([3, 1, 1, 1], [4], "int32"))),
        and: number(tf.logicalAnd(greater, tf.less(x, 0))),
        or: number(tf.logicalOr(greater, tf.logicalNot(tf.less(x, 0)))),
        where: tf.where(greater, x, y),
        truncated: tf.cast(tf.cast(x, "int32"), "float32"),
      };
    },
  },
  {
    title: "reductions over some axes, all axes and an axis of extent 1",
    inputs: { x: normal("r", 2, 3, 1, 5) },
    f: ({ x }) => ({
      all: tf.sum(x),
      sum: tf.sum(x, [0, 3]),
      kept: tf.mean(x, -1, true),
      mean: tf.mean(x, [1]),
      max: tf.max(x, 1),
      min: tf.min(x, [0, 1], true),
      one: tf.sum(x, 2),
      softmax: tf.softmax(x),
      logSoftmax: tf.logSoftmax(x),
    }),
  },
  {
    title: "matrix products with and without transposes, batched, broadcast over the batch",
    inputs: { a: normal("a", 2, 3, 4), b: normal("b", 2, 4, 5), c: normal("c", 4, 3) },
    f: ({ a, b, c }) => ({
      plain: tf.matMul(a, b),
      both: tf.matMul(b, a, true, true),
      second: tf.matMul(c, tf.transpose(c)),
      first: tf.matMul(tf.transpose(c), c),
      flags: tf.matMul(c, c, true, false),
      shared: tf.matMul(a, tf.reshape(c, [1, 4, 3]), false, false),
    }),
  },
  {
    title: "moving numbers about",
    inputs: { x: normal("m", 3, 4, 2), y: normal("n", 3, 1, 2) },
    f: ({ x, y }) => {
      const [top, bottom] = tf.split(x, [1, 3], 1);
      const [first, second] = tf.unstack(x, 2);
      return {
        reshape: tf.reshape(x, [6, -1]),
        twice: tf.reshape(tf.reshape(x, [24]), [2, 12]),
        expandDims: tf.expandDims(x, 1),
        squeeze: tf.squeeze(y),
        transpose: tf.transpose(x, [2, 0, 1]),
        there: tf.transpose(tf.transpose(x, [2, 0, 1]), [1, 2, 0]),
        concat: tf.concat([x, y, x], 1),
        top: tf.mul(2, top),
        bottom,
        stack: tf.stack([first, second, first], 1),
        slice: tf.slice(x, [1, 0, 1], [-1, 3, 1]),
        pad: tf.pad(
          x,
          [
            [1, 0],
            [0, 2],
            [0, 0],
          ],
          0.5,
        ),
        tile: tf.tile(y, [1, 4, 2]),
      };
    },
  },
  {
    title: "rows by number, and their gradient",
    inputs: { x, ids: ints(3, 1, 1, 0, 3) },
    f: ({ x, ids }) => {
      const rows = (x: tf.Tensor) => tf.gather(x, ids);
      const grid = tf.gather(x, tf.tensor([0, 5, 5, 2], [2, 2], "int32"), 1);
      return { rows: rows(x), grid, gradient: tf.grad((x) => tf.sum(tf.square(rows(x))))(x) };
    },
  },
  {
    title: "numbers that are known beforehand",
    inputs: { x },
    f: ({ x }) => ({
      zeros: tf.add(x, tf.zerosLike(x)),
      ones: tf.mul(tf.onesLike(x), tf.fill([6], 3)),
      filled: tf.matMul(x, tf.fill([6, 2], 0.5)),
      eye: tf.matMul(x, tf.eye(6)),
      repeated: tf.add(tf.slice(x, [0, 0], [1, 6]), tf.zeros([3, 1])),
      scaled: tf.div(tf.sum(tf.mul(x, tf.ones([4, 6]))), tf.sum(tf.ones([4, 6]))),
      constant: tf.tensor([1, 2, 3]),
      large: tf.add(x, tf.mul(tf.ones([100, 4, 6]), 2)),
    }),
  },
  {
    title: "linear, layer norm, GELU and their gradients",
    inputs: { x, w: normal("w", 6, 5), b: normal("b5", 5), g: normal("g", 5), h: normal("h", 5) },
    f: withGradients(({ x, w, b, g, h }) => gelu(layerNorm(linear(x, w, b), g, h))),
  },
  {
    title: "attention and its gradient",
    inputs: { qkv: normal("qkv", 2 * 5, 3 * 8) },
    f: withGradients(({ qkv }) => attention(qkv, 2, 2)),
  },
  {
    title: "unit rows, log-determinant and their gradients",
    inputs: { z: normal("z", 2 * 3, 7) },
    f: withGradients(({ z }) => {
      const rows = tf.reshape(unitRows(z), [2, 3, 7]);
      return logDet(tf.add(tf.eye(3), tf.matMul(rows, tf.transpose(rows, [0, 2, 1]))));
    }),
  },
  {
    title: "gradients that tfjs derives of concat, slice, gather, maximum and where",
    inputs: { x, y },
    f: (inputs) => {
      // tfjs has no gradient of comparisons: the choice is made before.
      const positive = tf.greater(tf.concat([inputs.x, inputs.x], 1), 0);
      return withGradients(({ x, y }) => {
        const joined = tf.concat([x, tf.slice(y, [0, 2], [4, 3]), tf.slice(y, [0, 0], [4, 3])], 1);
        const gathered = tf.gather(joined, tf.tensor([0, 2, 2, 1], [4], "int32"));
        return tf.where(positive, tf.maximum(gathered, 0.3), tf.minimum(tf.mul(2, gathered), -0.2));
      })(inputs);
    },
  },
];
