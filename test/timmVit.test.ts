import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadCatalog } from "../src/datasets/catalog.js";
import { loadEncoder, saveEncoder } from "../src/encoder/checkpoint.js";
import { embedVectors } from "../src/encoder/embed.js";
import { encoderGraph } from "../src/encoder/exportGraph.js";
import { openOnnxEncoder } from "../src/encoder/embedOnnx.js";
import { resamplePositions } from "../src/encoder/positions.js";
import { loadTimmVit } from "../src/encoder/timmVit.js";
import { serialiseOnnx } from "../src/engine/onnx.js";
import { loadSafetensors, saveSafetensors } from "../src/engine/safetensors.js";
import { namesOnnx, openNamedOnnx } from "../src/external.js";
import { writeAtomic } from "../src/files.js";
import { farFrom, formulaSample } from "./onnxFixture.js";

type Outputs = { readonly cls: number[][]; readonly mean: number[][] };
const at = (name: string) => join("test/fixtures/timm", name);
const expected = JSON.parse(readFileSync(at("expected.json"), "utf8")) as Record<string, Record<string, Outputs>>;
const folder = mkdtempSync(join(tmpdir(), "m3ret-timm-"));
const pictures = (side: number) => [0, 1].map((row) => formulaSample(row, [1, side, side]));

describe.each(Object.keys(expected))("a file named %s", (name) => {
  test.each(Object.keys(expected[name]))(
    "gives its network's CLS token and mean patch token at %s pixels",
    async (side) => {
      const vectors = await embedVectors(loadTimmVit(at(`${name}.safetensors`), { heads: 2 }), pictures(Number(side)));
      expect(farFrom(vectors.cls, expected[name][side].cls)).toBeLessThan(1e-4);
      expect(farFrom(vectors.mean, expected[name][side].mean)).toBeLessThan(1e-4);
    },
  );
});

test("is an encoder like ours: saved, loaded, and exported to ONNX with its registers and positions", async () => {
  const encoder = loadTimmVit(at("registers.safetensors"), { heads: 2 });
  saveEncoder(join(folder, "saved"), encoder, { method: "timm" });
  expect(loadEncoder(join(folder, "saved")).encoder).toEqual(encoder);
  for (const pooling of ["cls", "mean"] as const) {
    const path = join(folder, `${pooling}.onnx`);
    writeAtomic(
      path,
      serialiseOnnx(encoderGraph(encoder, [1, 24, 24], pooling), { producerVersion: "0", about: "", metadata: {} }),
    );
    const file = await openOnnxEncoder(path, { mean: [0, 0, 0], std: [1, 1, 1] });
    expect(farFrom(await file.embed(pictures(24)), expected.registers["24"][pooling])).toBeLessThan(1e-4);
    await file.dispose();
  }
});

test("as an encoder of pictures it is opened by its file, and a volume is the mean of its slices", async () => {
  const catalog = loadCatalog();
  const path = at("registers.safetensors");
  expect(namesOnnx(catalog, path)).toBe(true);
  const encoder = await openNamedOnnx(catalog, path, { heads: 2, size: [1, 16, 16], pooling: "mean" });
  expect(encoder.plan).toMatchObject({ name: "registers", pooling: "mean", size: [1, 16, 16], licence: "not stated" });
  expect(farFrom(await encoder.embed(pictures(16)), expected.registers["16"].mean)).toBeLessThan(1e-4);
  const [picture] = pictures(16);
  const pixels = Float32Array.from(
    [0, 1, 2].flatMap((c) => [1, 2].flatMap(() => [...picture.pixels.subarray(c * 256, (c + 1) * 256)])),
  );
  const volume = { ...picture, kind: "volume", shape: [3, 2, 16, 16], pixels } as const;
  expect(farFrom(await encoder.embed([volume]), [expected.registers["16"].mean[0]])).toBeLessThan(1e-4);
  await encoder.dispose();
});

test("an encoder of the catalogue that is not there says where to get it", async () => {
  const catalog = { ...loadCatalog(), file: join(folder, "nothing", "datasets.yaml") };
  await expect(openNamedOnnx(catalog, "dinov2-small")).rejects.toThrow(
    /no file .*; set M3RET_ENCODERS .*; to get it: model.safetensors/,
  );
});

test("positions of the same grid stay, and constant ones stay constant on any grid", () => {
  const learned = Float32Array.from({ length: 9 * 2 }, (_, i) => Math.sin(i));
  expect(resamplePositions(learned, [3, 3], [3, 3], 2)).toBe(learned);
  const flat = resamplePositions(new Float32Array(18).fill(0.3), [3, 3], [5, 2], 2);
  expect(flat).toHaveLength(20);
  for (const value of flat) expect(value).toBeCloseTo(0.3, 6);
});

test("what our encoder has no place for is named, and so is what is missing", () => {
  const { arrays } = loadSafetensors(at("plain.safetensors"));
  const write = (name: string, change: Record<string, unknown>, without = "") => {
    const all = { ...arrays, ...change } as typeof arrays;
    const kept = Object.fromEntries(Object.entries(all).filter(([key]) => key !== without));
    saveSafetensors(join(folder, name), kept, {});
    return () => loadTimmVit(join(folder, name), { heads: 2 });
  };
  const extra = { "blocks.0.attn.q_norm.weight": arrays["norm.weight"] };
  expect(write("a.safetensors", extra)).toThrow("has blocks.0.attn.q_norm.weight, which this encoder has no place for");
  expect(write("b.safetensors", {}, "norm.bias")).toThrow("expected an array norm.bias, found none");
  expect(write("c.safetensors", { pos_embed: { shape: [1, 4, 12], data: new Float32Array(48) } })).not.toThrow();
  expect(write("d.safetensors", { pos_embed: { shape: [1, 7, 12], data: new Float32Array(84) } })).toThrow(
    "expected positions of a square of patches, got 7 of them",
  );
  expect(() => loadTimmVit(at("plain.safetensors"))).toThrow("say how many it has");
});
