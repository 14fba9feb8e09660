import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { describe, expect, test } from "vitest";
import { toArrays, toTensors, type NamedTensors } from "../src/engine/arrays.js";
import { startBackend } from "../src/engine/backend.js";
import { dynamicBatch } from "../src/engine/dynamicBatch.js";
import { attention, gelu, layerNorm } from "../src/engine/ops.js";
import { serialiseOnnx, type OnnxGraph } from "../src/engine/onnx.js";
import { readOnnxFile } from "../src/engine/onnxFile.js";
import { lowerToOnnx } from "../src/engine/onnxLower.js";
import { createSession, loadRuntime, toOrt } from "../src/engine/runtime.js";
import { trace } from "../src/engine/trace.js";
import { normal } from "./engineCases.js";

/** The graph of a function of one input [b, …rest], for any b. */
function dynamic(f: (x: tf.Tensor) => tf.Tensor, ...rest: number[]): OnnxGraph {
  const named = ({ x }: NamedTensors): NamedTensors => ({ y: f(x) });
  return dynamicBatch((b) => lowerToOnnx(trace(named, { x: { shape: [b, ...rest], dtype: "float32" } })), "x");
}

const batchOf = (x: tf.Tensor): number => x.shape[0]!;

const CASES: Record<string, { f: (x: tf.Tensor) => tf.Tensor; rest: number[] }> = {
  "a reshape that keeps the rows": { f: (x) => tf.relu(tf.reshape(x, [batchOf(x), 12])), rest: [3, 4] },
  "a reshape that mixes the batch with another axis": {
    f: (x) => tf.reshape(tf.softmax(tf.reshape(x, [batchOf(x) * 3, 4])), [batchOf(x), 12]),
    rest: [3, 4],
  },
  "a row that is repeated for every sample": {
    f: (x) => tf.concat([tf.add(tf.reshape(tf.tensor([1, 2, 3, 4]), [1, 1, 4]), tf.zeros([batchOf(x), 1, 1])), x], 1),
    rest: [3, 4],
  },
  "numbers spread over the whole batch": { f: (x) => tf.concat([x, tf.fill(x.shape as number[], 2)], 1), rest: [3] },
  "a slice that ends with the batch": {
    f: (x) => tf.slice(tf.reshape(x, [batchOf(x) * 2, 3]), [batchOf(x), 0], [batchOf(x), 3]),
    rest: [2, 3],
  },
  "attention, layer norm and GELU": {
    f: (x) => {
      const b = batchOf(x);
      const rows = layerNorm(tf.reshape(x, [b * 5, 24]), tf.ones([24]), tf.zeros([24]));
      return tf.mean(tf.reshape(gelu(attention(rows, b, 2)), [b, 5, 8]), 1);
    },
    rest: [5, 24],
  },
};

describe.each(Object.entries(CASES))("one graph gives the numbers of tfjs for every batch: %s", (_, { f, rest }) => {
  test("of 1, 2, 3 and 7", async () => {
    await startBackend("cpu");
    const graph = dynamic(f, ...rest);
    expect(graph.inputs.x.shape).toEqual([-1, ...rest]);
    const runtime = await loadRuntime();
    const session = await createSession(runtime, graph, {});
    for (const b of [1, 2, 3, 7]) {
      const x = normal(`batch ${b}`, b, ...rest);
      const { y } = await session.run({ x: toOrt(runtime, x) }, { y: null });
      const eager = tf.tidy(() => f(toTensors({ x }).x));
      const [{ shape, data }] = Object.values(await toArrays({ eager }));
      expect(y.dims).toEqual(shape);
      (y.data as Float32Array).forEach((value, i) => expect(value).toBeCloseTo(data[i], 5));
    }
    await session.release();
  });
});

const refused: Record<string, { f: (x: tf.Tensor) => tf.Tensor; says: RegExp }> = {
  "a mean over samples": {
    f: (x) => tf.mul(x, tf.div(tf.ones([1]), batchOf(x))),
    says: /^the graph cannot be given a dynamic batch: a constant of Mul depends on its size$/,
  },
  "one row for each pair of samples": {
    f: (x) => tf.reshape(tf.matMul(x, tf.transpose(x)), [-1]),
    says: /^the graph cannot be given a dynamic batch: .* depends on its size$/,
  },
  "samples along the second axis": { f: (x) => tf.transpose(x), says: /: y, other than in one row for each sample/ },
  "as many nodes as samples": {
    f: (x) => Array.from({ length: batchOf(x) % 10 }).reduce((y: tf.Tensor) => tf.exp(y), x),
    says: /: the number of its nodes depends on its size$/,
  },
};

test.each(Object.entries(refused))("what no batch of another size can share is refused: %s", (_, { f, says }) => {
  expect(() => dynamic(f, 3)).toThrow(says);
});

test("a file says what the batch is called, who made it and what was noted", () => {
  const path = join(mkdtempSync(join(tmpdir(), "m3ret-onnx-")), "a.onnx");
  const graph = dynamic((x) => tf.reshape(x, [batchOf(x), 6]), 2, 3);
  const bytes = serialiseOnnx(graph, { producerVersion: "1.2.3", metadata: { licence: "MIT", über: "ß肺" } });
  expect(bytes).toEqual(serialiseOnnx(graph, { producerVersion: "1.2.3", metadata: { licence: "MIT", über: "ß肺" } }));
  writeFileSync(path, bytes);
  expect(readOnnxFile(path)).toEqual({
    path,
    producer: "m3ret 1.2.3",
    metadata: { licence: "MIT", über: "ß肺" },
    inputs: [{ name: "x", dtype: "float32", shape: ["batch", 2, 3] }],
    outputs: [{ name: "y", dtype: "float32", shape: ["batch", 6] }],
  });
});

test("what is no ONNX file is one line that names it", () => {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-onnx-"));
  const whole = serialiseOnnx(dynamic((x) => tf.mul(x, tf.tensor([1, 2, 3])), 3));
  const cases: Record<string, Uint8Array> = {
    text: Buffer.from("Dear colleague,\n"),
    empty: new Uint8Array(),
    zip: Buffer.from("PK\x03\x04 and so on"),
    cut: whole.subarray(0, whole.length / 2),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    const path = join(folder, `${name}.onnx`);
    writeFileSync(path, bytes);
    expect(() => readOnnxFile(path)).toThrow(new RegExp(`^${path}: expected an ONNX file, got [^\\n]+$`));
  }
  expect(() => readOnnxFile(join(folder, "none.onnx"))).toThrow(/none\.onnx: no such file or folder$/);
});
