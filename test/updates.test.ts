import { expect, test } from "vitest";
import type { Literal, OnnxGraph, OnnxNode, OnnxType } from "../src/engine/onnx.js";
import { foldScales, nameOutputs } from "../src/engine/onnxOptimize.js";
import { kernelOf } from "../src/engine/updateKernel.js";
import { cutUpdates, KERNEL_OPS, type Formula, type KernelOp } from "../src/engine/updates.js";

const EXPECTED: Record<KernelOp, (a: number, b: number) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Max: Math.max,
  Min: Math.min,
  Sqrt: Math.sqrt,
  Reciprocal: (a) => 1 / a,
  Neg: (a) => -a,
  Abs: Math.abs,
};

test.each(KERNEL_OPS)("the kernel's %s is that of numbers, in every lane", (op) => {
  const unary = ["Sqrt", "Reciprocal", "Neg", "Abs"].includes(op);
  const formula: Formula = {
    arrays: 3,
    scalars: 0,
    terms: [
      { kind: "array", index: 0 },
      { kind: "array", index: 1 },
      { kind: op, args: unary ? [0] : [0, 1] },
    ],
    stores: [{ term: 2, array: 2 }],
  };
  const memory = new WebAssembly.Memory({ initial: 1 });
  const at = (i: number) => new Float32Array(memory.buffer, 64 * i, 8);
  at(0).set([1, 2, 0.25, 9, 16, 3, 0.5, 7]);
  at(1).set([3, 0.5, 4, -1, 2, 3, 8, 6]);
  kernelOf(formula, memory)(32, 0, 64, 128);
  const expected = Array.from(at(0), (a, i) => Math.fround(EXPECTED[op](a, at(1)[i])));
  expect([...at(2)]).toEqual(expected);
});

test("a kernel reads everything before it stores, and multiplies with scalars", () => {
  const formula: Formula = {
    arrays: 2,
    scalars: 1,
    terms: [
      { kind: "array", index: 0 },
      { kind: "array", index: 1 },
      { kind: "scalar", index: 0 },
      { kind: "Mul", args: [1, 2] },
    ],
    stores: [
      { term: 3, array: 0 },
      { term: 0, array: 1 },
    ],
  };
  const memory = new WebAssembly.Memory({ initial: 1 });
  const [a, b] = [0, 1].map((i) => new Float32Array(memory.buffer, 64 * i, 4));
  a.set([1, 2, 3, 4]);
  b.set([10, 20, 30, 40]);
  kernelOf(formula, memory)(16, 0, 64, 0.5);
  expect([...a, ...b]).toEqual([5, 10, 15, 20, 1, 2, 3, 4]);
});

/** A graph of one type of tensor, and scalars where a name starts with "s ". */
function graphOf(nodes: OnnxNode[], inputs: string[], outputs: string[], constants: Record<string, number>): OnnxGraph {
  const names = [...new Set([...inputs, ...outputs, ...nodes.flatMap((node) => [...node.inputs, ...node.outputs])])];
  const typeOf = (name: string): OnnxType => ({ shape: name.startsWith("s ") ? [] : [2, 2], dtype: "float32" });
  const literals = Object.entries(constants).map(([name, value]): [string, Literal] => {
    return [name, { shape: [], dtype: "float32", data: Float32Array.of(value) }];
  });
  return {
    inputs: Object.fromEntries(inputs.map((name) => [name, typeOf(name)])),
    outputs: Object.fromEntries(outputs.map((name) => [name, typeOf(name)])),
    nodes,
    constants: Object.fromEntries(literals),
    types: new Map(names.map((name) => [name, typeOf(name)])),
  };
}

const node = (op: string, inputs: string[], output: string, attributes: OnnxNode["attributes"] = {}): OnnxNode => {
  return { op, domain: "", inputs, outputs: [output], attributes };
};

test("what follows the gradient element by element is cut off, what makes it stays", () => {
  const { graph, updates } = cutUpdates(
    graphOf(
      [
        node("Transpose", ["pack/0"], "gradient", { perm: [1, 0] }),
        node("Mul", ["gradient", "s rate"], "step"),
        node("Sub", ["pack/0", "step"], "pack'/0"),
        node("Mul", ["pack/1", "s keep"], "kept"),
        node("Add", ["kept", "pack'/0"], "pack'/1"), // as a teacher reads the new parameter
      ],
      ["pack/0", "pack/1", "s rate"],
      ["pack'/0", "pack'/1"],
      { "s keep": 0.5 },
    ),
  );
  expect(graph.nodes.map(({ op }) => op)).toEqual(["Transpose"]);
  expect(Object.keys(graph.outputs)).toEqual(["gradient"]);
  expect(updates).toHaveLength(1);
  const [{ size, arrays, scalars, formula }] = updates;
  expect([size, arrays, scalars]).toEqual([4, ["pack/0", "gradient", "pack/1"], ["s rate", 0.5]]);
  const memory = new WebAssembly.Memory({ initial: 1 });
  const [p, g, t] = arrays.map((_, i) => new Float32Array(memory.buffer, 64 * i, 4));
  p.set([1, 2, 3, 4]);
  g.set([1, 3, 2, 4]);
  t.fill(8);
  kernelOf(formula, memory)(16, 0, 64, 128, 1, 0.5);
  expect([...p, ...t]).toEqual([0, -1, 1, 0, 4, 3, 5, 4]);
});

test("factors go into the products beside them, and behind sums", () => {
  const { nodes, constants } = foldScales(
    graphOf(
      [
        node("Mul", ["a", "s half"], "halved"),
        node("Gemm", ["halved", "b", "c"], "product"),
        node("Mul", ["s third", "product"], "y"),
        node("ReduceSum", ["halved", "axes"], "sum"),
      ],
      ["a", "b", "c"],
      ["y", "sum"],
      { "s half": 0.5, "s third": 3 },
    ),
  );
  expect(nodes.map(({ op, inputs }) => [op, ...inputs])).toEqual([
    ["Gemm", "a", "b", "c"],
    ["ReduceSum", "a", "axes"],
    ["Mul", "sum unscaled", "scale 0.5"],
  ]);
  expect(nodes[0].attributes).toEqual({ alpha: { float: 1.5 }, beta: { float: 3 } });
  expect([...constants["scale 0.5"].data]).toEqual([0.5]);
});

test("an output that is computed is computed under its name, one that is an input is copied", () => {
  const { nodes } = nameOutputs(
    graphOf(
      [
        node("Neg", ["a"], "x"),
        node("Identity", ["x"], "first"),
        node("Identity", ["x"], "second"),
        node("Identity", ["a"], "same"),
        node("Abs", ["x"], "third"),
      ],
      ["a"],
      ["first", "second", "same", "third"],
      {},
    ),
  );
  expect(nodes.map(({ op, inputs, outputs }) => [op, ...inputs, ...outputs])).toEqual([
    ["Neg", "a", "first"],
    ["Identity", "first", "second"],
    ["Identity", "a", "same"],
    ["Abs", "first", "third"],
  ]);
});
