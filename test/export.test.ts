import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { startEngine, type EngineName } from "../src/engine/engine.js";
import { Model } from "../src/engine/onnx.js";
import { readOnnxFile } from "../src/engine/onnxFile.js";
import { loadSafetensors } from "../src/engine/safetensors.js";
import { saveEncoder } from "../src/encoder/checkpoint.js";
import { encoderConfig } from "../src/encoder/config.js";
import { embedVectors } from "../src/encoder/embed.js";
import { openOnnxEncoder } from "../src/encoder/embedOnnx.js";
import { exportEncoder, type ExportOptions } from "../src/encoder/export.js";
import { encoderGraph } from "../src/encoder/exportGraph.js";
import { initEncoder } from "../src/encoder/vit.js";
import { Random } from "../src/random.js";
import type { Shape3 } from "../src/types.js";
import { expected, farFrom, formulaEncoder, formulaSample } from "./onnxFixture.js";

const folder = mkdtempSync(join(tmpdir(), "m3ret-export-"));
const run = join(folder, "run");
const catalogFile = new URL("../datasets.yaml", import.meta.url).pathname;
const out = (name: string) => join(folder, name);
const exported = (name: string, options: ExportOptions = {}) =>
  exportEncoder(run, out(name), { catalogFile, ...options });

beforeAll(() => {
  const settings = {
    steps: 10,
    batchSize: 4,
    seed: 11,
    samples: 99,
    engine: "compiled",
    host: "ward 7",
    path: "/home/x",
  };
  saveEncoder(run, formulaEncoder(), { method: "mae", data: "phantom-smoke", ...settings });
});

describe.each(Object.entries(expected.encoders))(
  "%s: the same embedding everywhere",
  (name, { size, pooling, ...python }) => {
    const samples = python.float64.map((_, row) => formulaSample(row, size));
    const agrees = (vectors: Float32Array) => {
      expect(farFrom(vectors, python.float64), "PyTorch in float64").toBeLessThan(1e-4);
      expect(farFrom(vectors, python.onnxruntime), "Python's onnxruntime").toBeLessThan(1e-4);
    };

    test.each<EngineName>(["eager", "compiled"])("from the %s engine", async (engineName) => {
      const engine = await startEngine(engineName);
      agrees((await embedVectors(formulaEncoder(), samples, { engine }))[pooling]);
    });

    test("from the exported file, for batches of any size", async () => {
      const { out: path } = exported(`${name}.onnx`, { size, pooling });
      for (const batchSize of [1, 2, 3, 32]) {
        const encoder = await openOnnxEncoder(path, { batchSize });
        agrees(await encoder.embed(samples));
        await encoder.dispose();
      }
    });
  },
);

test("a size that is half a patch deep, and one of many patches, are cut as the encoder's own path cuts them", async () => {
  const encoder = formulaEncoder();
  const engine = await startEngine("compiled");
  const sizes: Shape3[] = [[1, 4, 4], [3, 4, 8], [4, 16, 12], [7, 8, 4]]; // prettier-ignore
  for (const size of sizes) {
    const samples = [3, 8].map((row) => formulaSample(row, size));
    const file = await openOnnxEncoder(exported(`${size.join("x")}.onnx`, { size }).out);
    const ours = (await embedVectors(encoder, samples, { engine })).mean;
    expect(farFrom(await file.embed(samples), [[...ours]])).toBeLessThan(1e-5);
    await file.dispose();
  }
});

test("the file says how it was made and what it wants, and nothing of patients or machines", () => {
  const { out: path, metadata } = exported("notes.onnx", { kind: "volume", licence: "CC BY 4.0" });
  const { producer, metadata: notes, inputs, outputs } = readOnnxFile(path);
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  expect(producer).toBe(`m3ret ${version}`);
  expect(inputs).toEqual([{ name: "pixels", dtype: "float32", shape: ["batch", 3, 8, 32, 32] }]);
  expect(outputs).toEqual([{ name: "embedding", dtype: "float32", shape: ["batch", 12] }]);
  expect(notes).toMatchObject({
    licence: "CC BY 4.0",
    model_license: "CC BY 4.0",
    method: "mae",
    pooling: "mean",
    data: "phantom-smoke",
    data_licence: "MIT",
    training_modalities: "xray, ultrasound, endoscopy, ct; mri never",
    input: "pixels float32 [batch, 3, 8, 32, 32]",
    output: "embedding float32 [batch, 12]",
  });
  expect(notes).toMatchObject(metadata);
  expect(JSON.parse(notes.encoder)).toEqual(formulaEncoder().config);
  expect(JSON.parse(notes.preprocessing)).toMatchObject({
    intensity: { ct: { windowHu: [-1000, 1000] } },
    size: { image: [1, 32, 32], volume: [8, 32, 32] },
    fit: "stretch",
  });
  expect(JSON.parse(notes.provenance)).toMatchObject({ method: "mae", steps: 10, seed: 11, samples: 99 });
  const bytes = readFileSync(path).toString("latin1");
  for (const secret of ["ward 7", "/home/x", folder]) expect(bytes).not.toContain(secret);
});

test("an encoder that was trained on a folder does not tell the folder's name", () => {
  const data = mkdtempSync(join(folder, "Jane-Doe-"));
  writeFileSync(join(data, "labels.csv"), "path,modality,class,group\n");
  saveEncoder(out("private"), formulaEncoder(), { method: "simdino", data });
  for (const name of ["private.onnx", "private.safetensors"]) {
    const { pooling, metadata } = exportEncoder(out("private"), out(name), { catalogFile });
    expect(pooling).toBe("cls");
    expect(metadata).toMatchObject({ data: "a folder without an entry in datasets.yaml", data_licence: "not stated" });
    expect(readFileSync(out(name)).toString("latin1")).not.toContain("Jane-Doe");
  }
});

interface Initializer {
  readonly name: string;
  readonly raw_data: Uint8Array;
  readonly dims: readonly unknown[];
}

test("weights stand in the file under the names and with the numbers of the checkpoint, and operators are ONNX's own", () => {
  exported("weights.onnx");
  const model = Model.decode(readFileSync(out("weights.onnx"))) as unknown as {
    graph: { initializer: Initializer[]; node: { domain: string }[] };
  };
  const { arrays } = loadSafetensors(join(run, "encoder.safetensors"));
  const stored = new Map(model.graph.initializer.map((one) => [one.name, one]));
  for (const [name, { shape, data }] of Object.entries(arrays)) {
    expect(stored.get(name)?.dims.map(String), name).toEqual(shape.map(String));
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    expect(Buffer.from(stored.get(name)!.raw_data).equals(bytes), name).toBe(true);
  }
  const others = model.graph.initializer.filter(({ name }) => !(name in arrays));
  const bytes = others.reduce((sum, { raw_data }) => sum + raw_data.length, 0);
  const positions = 4 * 12 * 64; // [1 x 8 x 8 tokens, width]
  expect(bytes).toBeLessThan(positions + 1000);
  expect([...new Set(model.graph.node.map(({ domain }) => domain))]).toEqual([""]);
});

test("the same encoder gives the same bytes, and nothing but the file is written", () => {
  for (const ending of ["onnx", "safetensors"]) {
    const [one, two] = [1, 2].map((i) => {
      exported(`same-${i}/encoder.${ending}`);
      return readFileSync(out(`same-${i}/encoder.${ending}`));
    });
    expect(one.equals(two)).toBe(true);
  }
  expect(readdirSync(out("same-1"))).toEqual(["encoder.onnx", "encoder.safetensors"]);
});

test("as safetensors it is the weights with the configuration, and can be opened as a folder's", () => {
  const report = exported("alone/encoder.safetensors");
  expect(report).toMatchObject({ format: "safetensors", size: null, input: null, output: null });
  expect(report.bytes).toBe(statSync(report.out).size);
  const { arrays, metadata } = loadSafetensors(report.out);
  expect(arrays).toEqual(formulaEncoder().params);
  expect(metadata).toMatchObject({ licence: "MIT", pooling: "mean", data: "phantom-smoke" });
  expect(JSON.parse(metadata.config)).toMatchObject({ encoder: formulaEncoder().config, method: "mae", seed: 11 });
});

test("the graph of ViT-S at 224 pixels has no number that grows with the batch", () => {
  const { config, params } = initEncoder({ ...encoderConfig("small", [4, 16, 16]), depth: 2 }, new Random(1));
  const { constants, nodes, inputs, outputs } = encoderGraph({ config, params }, [1, 224, 224], "cls");
  expect([inputs.pixels.shape, outputs.embedding.shape]).toEqual([[-1, 3, 1, 224, 224], [-1, 384]]); // prettier-ignore
  const weights = Object.values(params).reduce((sum, { data }) => sum + data.length, 0);
  const all = Object.values(constants).reduce((sum, { data }) => sum + data.length, 0);
  expect(all - weights).toBeLessThan(196 * 384 + 500);
  expect(nodes.length).toBeLessThan(120);
});

test("what cannot be exported is one line", () => {
  const refused = (from: string, name: string, options: ExportOptions = {}) => {
    const before = readdirSync(folder);
    let message = "";
    try {
      exportEncoder(from, out(name), { catalogFile, ...options });
    } catch (error) {
      expect((error as Error).name).toBe("InputError");
      message = (error as Error).message;
    }
    expect(readdirSync(folder)).toEqual(before);
    expect(message).not.toContain("\n");
    return message;
  };
  expect(refused(run, "x.pt")).toBe(`${out("x.pt")}: expected a name that ends in .onnx or .safetensors`);
  expect(refused(out("nowhere"), "x.onnx")).toMatch(
    /nowhere: expected a folder with encoder\.safetensors, found none$/,
  );
  expect(refused(run, "x.onnx", { size: [1, 10, 8] })).toMatch(
    /\[2, 10, 8\] cannot be cut into patches of \[2, 4, 4\]/,
  );
  expect(refused(run, "x.onnx", { data: "nowhere" })).toMatch(/^"nowhere" is neither in .*datasets\.yaml nor a folder/);
  expect(refused(run, "x.onnx", { size: [1, 8, 8], kind: "image" })).toMatch(/expected either a size or a data set/);
  expect(refused(run, "x.safetensors", { size: [1, 8, 8] })).toMatch(/weights alone have no size; expected no size$/);
  saveEncoder(out("unknown"), formulaEncoder(), { method: "mae" });
  expect(refused(out("unknown"), "x.onnx")).toMatch(/unknown: does not say what it was trained on/);
  saveEncoder(out("elsewhere"), formulaEncoder(), { method: "mae", data: "phantom-gone" });
  expect(refused(out("elsewhere"), "x.onnx")).toMatch(/elsewhere: was trained on "phantom-gone", which is neither in/);
});
