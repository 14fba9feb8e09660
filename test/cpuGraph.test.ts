/** What is rearranged for the processor computes what it did before. */
import { describe, expect, test } from "vitest";
import { fitToCpu, LEFT_OUT, plainProducts, sumInGroups, wholeGelu } from "../src/engine/cpuGraph.js";
import { GraphBuilder } from "../src/engine/onnxBuilder.js";
import { foldScales, fuseGemm, removeDead } from "../src/engine/onnxOptimize.js";
import type { OnnxGraph } from "../src/engine/onnx.js";
import { createSession, loadRuntime, sessionOptions, toOrt } from "../src/engine/runtime.js";
import { Random } from "../src/random.js";
import { sizeOf } from "../src/types.js";

const float = (...shape: number[]) => ({ shape, dtype: "float32" }) as const;
const ops = ({ nodes }: OnnxGraph) => nodes.map(({ op }) => op);

/** What ONNX Runtime computes of seeded normal inputs. */
async function outputsOf(graph: OnnxGraph): Promise<Record<string, Float32Array>> {
  const runtime = await loadRuntime();
  const session = await createSession(runtime, graph, {});
  const random = new Random(5);
  const feeds = Object.fromEntries(
    Object.entries(graph.inputs).map(([name, { shape }]) => {
      const data = Float32Array.from({ length: sizeOf(shape) }, () => random.normal(0, 1));
      return [name, toOrt(runtime, { shape, data })];
    }),
  );
  const names = Object.keys(graph.outputs);
  const results = await session.run(feeds, Object.fromEntries(names.map((name) => [name, null])));
  await session.release();
  return Object.fromEntries(names.map((name) => [name, results[name].data as Float32Array]));
}

/** The largest difference of any output, against its largest number. */
async function distance(a: OnnxGraph, b: OnnxGraph): Promise<number> {
  const [left, right] = [await outputsOf(a), await outputsOf(b)];
  expect(Object.keys(left)).toEqual(Object.keys(right));
  return Math.max(
    ...Object.entries(left).map(([name, values]) => {
      const scale = Math.max(...right[name].map(Math.abs));
      return Math.max(...values.map((x, i) => Math.abs(x - right[name][i]))) / scale;
    }),
  );
}

/** gelu(x W + b) V, and where `differentiated`, what its gradient needs. */
function perceptron(differentiated: boolean): OnnxGraph {
  const g = new GraphBuilder();
  const [x, w, b, v] = [
    g.input("x", float(300, 8)),
    g.input("w", float(8, 16)),
    g.input("b", float(16)),
    g.input("v", float(16, 4)),
  ];
  const n = g.binary("Mul", g.splat([], Math.SQRT1_2), g.binary("Add", g.node("MatMul", [x, w], float(300, 16)), b));
  const a = g.binary("Add", g.splat([], 1), g.unary("Erf", n));
  const y = g.binary("Mul", g.splat([], Math.SQRT1_2), g.binary("Mul", n, a));
  g.output("y", g.node("MatMul", [y, v], float(300, 4)));
  if (differentiated) g.output("a", a);
  return foldScales(fuseGemm(removeDead(g.build())));
}

/** xᵀ y of many rows, plus what was there, and the sums of y over its rows. */
function gradients(rows: number, m: number, n: number): OnnxGraph {
  const g = new GraphBuilder();
  const [x, y, before] = [g.input("x", float(rows, m)), g.input("y", float(rows, n)), g.input("before", float(m, n))];
  g.output("weight", g.binary("Add", g.node("MatMul", [g.transpose(x, [1, 0]), y], float(m, n)), before));
  g.output("alone", g.node("MatMul", [g.transpose(x, [1, 0]), g.binary("Mul", y, y)], float(m, n)));
  g.output("bias", g.reduce("ReduceSum", y, [0], false));
  return foldScales(fuseGemm(removeDead(g.build())));
}

describe("GELU", () => {
  test("is one operation where nobody differentiates it, and computes the same", async () => {
    const graph = perceptron(false);
    const whole = wholeGelu(graph);
    expect(ops(whole).sort()).toEqual(["Gelu", "Gemm", "Gemm", "Identity"].sort());
    expect(await distance(whole, graph)).toBeLessThan(1e-6);
  });

  test("stays in parts where its gradient reads them", () => {
    const graph = perceptron(true);
    expect(ops(wholeGelu(graph))).toEqual(ops(graph));
  });
});

describe("gradients of weights and biases", () => {
  test.each([
    [640, 12, 20, "the narrower operand is the first"],
    [640, 20, 12, "the narrower operand is the second"],
  ])(
    "of %i rows of %i and %i: no product reads its operand transposed, and the sums are the same (%s)",
    async (rows, m, n) => {
      const graph = gradients(rows, m, n);
      expect(graph.nodes.filter(({ attributes }) => attributes.transA === 1).length).toBe(2);
      const plain = plainProducts(sumInGroups(graph));
      expect(plain.nodes.filter(({ attributes }) => attributes.transA === 1)).toEqual([]);
      expect(await distance(plain, graph)).toBeLessThan(1e-5);
    },
  );

  test("of few rows, or of a number of rows without divisors, stay as they are where nothing is to be won", () => {
    expect(ops(fitToCpu(gradients(64, 12, 20)))).toEqual(ops(gradients(64, 12, 20)));
    expect(ops(sumInGroups(gradients(641, 12, 20)))).toEqual(ops(gradients(641, 12, 20))); // 641 is prime
  });
});

test("an optimiser of ONNX Runtime is left out where that is asked for, and for no other file", () => {
  expect(sessionOptions({ leaveOut: LEFT_OUT }).extra).toMatchObject({
    optimization: { disable_specified_optimizers: "GemmTransposeFusion" },
  });
  expect(sessionOptions({}).extra).not.toHaveProperty("optimization");
});
