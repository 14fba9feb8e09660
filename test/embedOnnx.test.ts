import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { GraphBuilder } from "../src/engine/onnxBuilder.js";
import { EngineUnavailable } from "../src/engine/unavailable.js";
import { openOnnxEncoder, type OpenOnnxOptions } from "../src/encoder/embedOnnx.js";
import { planOnnx, preprocessingFor } from "../src/encoder/onnxEncoder.js";
import { unlistedFolder } from "../src/datasets/catalog.js";
import type { Sample } from "../src/types.js";
import { expected, farFrom, float, formulaSample, meanColours, onnxFile, timm } from "./onnxFixture.js";

const folder = mkdtempSync(join(tmpdir(), "m3ret-onnx-"));
const as = { mean: expected.timm.mean, std: expected.timm.std };
const none = { mean: [0, 0, 0], std: [1, 1, 1] } as const;

async function embed(path: string, samples: readonly Sample[], options: OpenOnnxOptions): Promise<Float32Array> {
  const encoder = await openOnnxEncoder(path, options);
  try {
    return await encoder.embed(samples);
  } finally {
    await encoder.dispose();
  }
}

const volumes = [0, 1, 2].map((row) => formulaSample(row, [4, 16, 16]));
const slice = (of: Sample, z: number): Sample => {
  const plane = 16 * 16;
  const parts = [0, 1, 2].map((c) => of.pixels.slice((c * 4 + z) * plane, (c * 4 + z + 1) * plane));
  return { ...of, kind: "image", shape: [3, 1, 16, 16], pixels: Float32Array.from(parts.flatMap((x) => [...x])) };
};

describe("a timm encoder that PyTorch exported", () => {
  test("gives the features that Python gets, at any batch size", async () => {
    const pictures = volumes.flatMap((volume) => [0, 1, 2, 3].map((z) => slice(volume, z)));
    for (const batchSize of [1, 5, 32]) {
      expect(farFrom(await embed(timm, pictures, { ...as, batchSize }), expected.timm.slices.flat())).toBeLessThan(
        1e-5,
      );
    }
  });

  test("embeds a volume slice by slice, and its vector is the mean", async () => {
    for (const batchSize of [3, 32]) {
      expect(farFrom(await embed(timm, volumes, { ...as, batchSize }), expected.timm.volumes)).toBeLessThan(1e-5);
    }
    expect(farFrom(await embed(timm, [slice(volumes[1], 2)], as), [expected.timm.slices[1][2]])).toBeLessThan(1e-5);
  });

  test("says of itself what can be known, and asks for the data set's slices in its own size", () => {
    const plan = planOnnx(timm, { ...as, fit: "crop" });
    expect(plan).toMatchObject({ name: "timm-tiny", input: "images", output: "features", rank: 4, size: [1, 16, 16] });
    expect(plan).toMatchObject({ batch: null, licence: "not stated", seed: null });
    expect(plan.home).toMatch(/^pytorch/);
    const { preprocessing } = unlistedFolder("x");
    const { size, fit, intensity } = preprocessingFor(plan, preprocessing);
    expect(size).toEqual({ image: [1, 16, 16], video: [16, 16, 16], volume: [16, 16, 16] });
    expect([fit, intensity]).toEqual(["crop", preprocessing.intensity]);
  });
});

const mean = (of: Sample): number[] =>
  [0, 1, 2].map((c) => {
    const n = of.pixels.length / 3;
    return of.pixels.subarray(c * n, (c + 1) * n).reduce((sum, x) => sum + x / n, 0);
  });

test("a file that insists on its batch gets every batch filled up, and the filling is dropped", async () => {
  const path = onnxFile(join(folder, "four.onnx"), (g) => meanColours(g, float(4, 3, 16, 16)));
  const samples = [...volumes, slice(volumes[0], 1), slice(volumes[2], 3)]; // 14 slices
  expect(farFrom(await embed(path, samples, none), samples.map(mean))).toBeLessThan(1e-6);
});

test("mean and deviation are those of each channel", async () => {
  const path = onnxFile(join(folder, "colours.onnx"), (g) => meanColours(g, float(-1, 3, 16, 16)));
  const theirs = mean(volumes[0]).map((x, c) => (x - as.mean[c]) / as.std[c]);
  expect(farFrom(await embed(path, [volumes[0]], as), [theirs])).toBeLessThan(1e-5);
});

test("an encoder with depth reads volumes whole, and repeats an image", async () => {
  const build = (g: GraphBuilder) => {
    // The first slice minus the last: nothing where they are the same.
    const x = g.input("x", float(-1, 3, 4, 16, 16));
    const at = (z: number) => g.node("Slice", [x, g.ints([z]), g.ints([z + 1]), g.ints([2])], float(-1, 3, 1, 16, 16));
    g.output("y", g.reduce("ReduceMean", g.node("Sub", [at(0), at(3)], float(-1, 3, 1, 16, 16)), [2, 3, 4], false));
  };
  const path = onnxFile(join(folder, "deep.onnx"), build);
  const [whole, flat] = [volumes[0], slice(volumes[0], 2)];
  const [first, last] = [mean(slice(whole, 0)), mean(slice(whole, 3))];
  const vectors = await embed(path, [whole, flat], none);
  first.forEach((x, c) => expect(vectors[c]).toBeCloseTo(x - last[c], 5));
  expect([...vectors.subarray(3)].map(Math.abs)).toEqual([0, 0, 0]);
  await expect(embed(path, [formulaSample(0, [3, 16, 16])], none)).rejects.toThrow(
    `${path}: reads [D, H, W] = [4,16,16], but sample 0 is [3,16,16]`,
  );
});

describe("what cannot be used is one line that names the file and says what came:", () => {
  const text = { data: Float32Array.of(1, 2, 3), ...float(3) };
  interface Case {
    readonly build: (g: GraphBuilder) => void;
    readonly options?: OpenOnnxOptions;
    readonly says: string;
  }
  const usual = float(-1, 3, 16, 16);
  const cases: Record<string, Case> = {
    "a wrong rank": {
      build: (g) => g.output("y", g.reshape(g.input("x", float(-1, 768)), [-1, 768])),
      says: "expected an input [b, 3, H, W] or [b, 3, D, H, W], got x float32 [batch, 768]",
    },
    "channels at the end": {
      build: (g) => meanColours(g, float(-1, 16, 16, 3)),
      says: "expected an input [b, 3, H, W] or [b, 3, D, H, W], got x float32 [batch, 16, 16, 3]",
    },
    "no float input": {
      build: (g) =>
        g.output("y", g.node("Cast", [g.input("x", { ...usual, dtype: "int32" })], float(-1, 3), { to: 1 })),
      says: "expected one float32 input, got x int32 [batch, 3, 16, 16]",
    },
    "two inputs": {
      build: (g) => g.output("y", g.binary("Add", g.input("x", usual), g.input("z", usual))),
      says: "expected one float32 input, got x float32 [batch, 3, 16, 16]; z float32 [batch, 3, 16, 16]",
    },
    "no input": {
      build: (g) => g.output("y", g.constant(text)),
      says: "expected one float32 input, got none",
    },
    "no vector among the outputs": {
      build: (g) => g.output("tokens", g.reshape(g.input("x", usual), [-1, 3, 256])),
      says: "expected an output float32 [b, d], got tokens float32 [batch, 3, 256]",
    },
    "several vectors": {
      build: (g) => {
        meanColours(g, usual, "a");
        g.output("b", g.reduce("ReduceMax", "x", [2, 3], false));
      },
      says: "several outputs can be the embedding: a float32 [batch, 3]; b float32 [batch, 3]; add --output NAME",
    },
    "an unknown output": {
      build: (g) => meanColours(g, usual),
      options: { output: "cls" },
      says: 'has no output "cls"; its outputs are colours float32 [batch, 3]',
    },
    "an output that is no vector": {
      build: (g) => g.output("tokens", g.reshape(g.input("x", usual), [-1, 3, 256])),
      options: { output: "tokens" },
      says: "expected an output float32 [b, d], got tokens float32 [batch, 3, 256]",
    },
    "another size": {
      build: (g) => meanColours(g, usual),
      options: { size: [1, 32, 32] },
      says: "expected samples of [D, H, W] = [1,32,32], but the file reads x float32 [batch, 3, 16, 16]",
    },
    "an open size": {
      build: (g) => meanColours(g, float(-1, 3, -1, -1)),
      says: "leaves the size of x float32 [batch, 3, batch, batch] open; add --size D,H,W (1,H,W for pictures)",
    },
    "another layout than its entry's": {
      build: (g) => meanColours(g, usual),
      options: { input: "b,3,D,H,W" },
      says: "expected an input [b,3,D,H,W], as its entry says, got x float32 [batch, 3, 16, 16]",
    },
    "an operator that does not exist": {
      build: (g) => g.output("y", g.node("Telepathy", [g.input("x", usual)], float(-1, 3))),
      says: "ONNX Runtime rejects it: ",
    },
    "a vector for the batch": {
      build: (g) => g.output("y", g.node("ReduceMean", [g.input("x", usual), g.ints([0, 2, 3])], float(-1, 3))),
      says: "expected y of shape [1, d], got [1,3,1,1]",
    },
    "numbers that are not finite": {
      build: (g) => {
        g.output("y", g.unary("Log", g.unary("Neg", g.reduce("ReduceMean", g.input("x", usual), [2, 3], false))));
      },
      says: "expected finite numbers, got NaN for sample 0",
    },
  };
  test.each(Object.entries(cases))("%s", async (name, { build, options, says }) => {
    const path = onnxFile(join(folder, `${name}.onnx`), build);
    const failed = await embed(path, [formulaSample(0, [1, 16, 16])], { ...none, ...options }).catch((e: Error) => e);
    expect((failed as Error).name).toBe("InputError");
    expect((failed as Error).message.startsWith(`${path}: ${says}`), (failed as Error).message).toBe(true);
    expect((failed as Error).message).not.toContain("\n");
  });

  test("a file without mean and deviation", () => {
    expect(() => planOnnx(timm)).toThrow(
      /timm-tiny\.onnx: does not say how its pixels are standardised; add --mean and/,
    );
  });

  test("half a file", async () => {
    const path = join(folder, "half.onnx");
    const whole = readFileSync(timm);
    for (const part of [0.3, 0.9, 0.999]) {
      writeFileSync(path, whole.subarray(0, whole.length * part));
      await expect(openOnnxEncoder(path, as)).rejects.toThrow(`${path}: expected an ONNX file, got `);
    }
  });

  test("ONNX Runtime that is missing", async () => {
    const missing = () =>
      Promise.reject(
        new EngineUnavailable("the compiled engine needs onnxruntime-node, which is not installed", "and so on"),
      );
    await expect(openOnnxEncoder(timm, { ...as, runtime: missing })).rejects.toThrow(
      /timm-tiny\.onnx: an ONNX file is run by ONNX Runtime alone, and .* needs onnxruntime-node, which is not installed$/,
    );
  });
});
