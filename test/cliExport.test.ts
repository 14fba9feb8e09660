/** `m3ret export`, and `m3ret embed` and `search` with the files that it and others write. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fitWhitening, whiten } from "../src/analysis/whiten.js";
import { loadEmbeddings, selectRows, type EmbeddingSet } from "../src/embeddings.js";
import { cache, listing, m3ret, m3retJson, newFolder, workFolder } from "./cliFixture.js";
import { expected, timm } from "./onnxFixture.js";
import { fixture } from "./readersFixture.js";

const work = workFolder();
afterAll(work.remove);
const where = { cwd: work.path, env: { M3RET_CACHE: cache } };
const at = (name: string) => join(work.path, name);
const data = ["--data", "phantom-smoke"];

interface Report {
  readonly [name: string]: unknown;
  readonly metadata: Record<string, string>;
}

const SLOW = 300_000; // five processes, on a machine that may be busy

beforeAll(async () => {
  const pretrain = ["pretrain", "--method", "mae", "--preset", "smoke", "--steps", "2", "--seed", "7", "--out", "run"];
  expect(await m3ret(pretrain, where)).toMatchObject({ code: 0 });
  for (const kind of ["image", "volume"]) {
    await m3retJson<Report>(["export", "--encoder", "run", "--kind", kind, "--out", `${kind}.onnx`], where);
  }
  expect(await m3ret(["embed", "--encoder", "run", ...data, "--out", "run.npz"], where)).toMatchObject({ code: 0 });
  expect(await m3ret(["embed", "--encoder", "image.onnx", ...data, "--out", "image.npz"], where)).toMatchObject({
    code: 0,
  });
}, SLOW);

test("export says what it wrote, as JSON and as a line", async () => {
  const report = await m3retJson<Report>(
    ["export", "--encoder", "run", "--out", "cls.onnx", "--pooling", "cls"],
    where,
  );
  const bytes = readFileSync(at("cls.onnx")).length;
  expect(report).toMatchObject({ out: "cls.onnx", format: "onnx", bytes, pooling: "cls", size: [1, 32, 32] });
  expect(report).toMatchObject({
    input: "pixels float32 [batch, 3, 1, 32, 32]",
    output: "embedding float32 [batch, 96]",
  });
  expect(report.metadata).toMatchObject({ licence: "MIT", method: "mae", data: "phantom-smoke", pooling: "cls" });
  expect(await m3ret(["export", "--encoder", "run", "--out", "w.safetensors"], where)).toEqual({
    code: 0,
    stdout: `w.safetensors: ${report.parameters} parameters, ${(bytes / 2 ** 20).toFixed(1)} MB\n`,
    stderr: "",
  });
});

/** Rows of the modalities whose samples are pictures, or volumes and videos. */
const pictures = (set: EmbeddingSet) => selectRows(set, (i) => set.modalities[i] === "xray");
const volumes = (set: EmbeddingSet) => selectRows(set, (i) => set.modalities[i] === "ct");

function worst(ours: EmbeddingSet, theirs: EmbeddingSet): number {
  const scale = Math.max(...theirs.vectors.map(Math.abs));
  return ours.vectors.reduce((most, x, i) => Math.max(most, Math.abs(x - theirs.vectors[i])), 0) / scale;
}

describe("embed with our own file", () => {
  test("gives the vectors that the folder gives, for samples of the file's size", async () => {
    await m3retJson(["embed", "--encoder", "volume.onnx", ...data, "--out", "volume.npz"], where);
    const [run, image, volume] = ["run", "image", "volume"].map((name) => loadEmbeddings(at(`${name}.npz`)));
    expect([image.ids, image.splits, image.groups]).toEqual([run.ids, run.splits, run.groups]);
    expect(pictures(run).n).toBeGreaterThan(10);
    expect(worst(pictures(image), pictures(run))).toBeLessThan(1e-4);
    expect(worst(volumes(volume), volumes(run))).toBeLessThan(1e-4);
    expect(worst(volumes(image), volumes(run))).toBeGreaterThan(1e-2); // slices one by one are something else
  });

  test("says in the file how volumes and images were seen", () => {
    const meta = { encoder: "mae", pooling: "mean", data: "phantom-smoke", licence: "MIT" };
    expect(loadEmbeddings(at("image.npz")).meta).toMatchObject({
      ...meta,
      file: "image.onnx",
      size: "1 x 32 x 32",
      depth: "volumes and videos: mean of the embeddings of their slices and frames, each seen as an image",
    });
    expect(loadEmbeddings(at("volume.npz")).meta).toMatchObject({ ...meta, depth: "images: repeated to 8 slices" });
  });

  test("searches an index that it made, and one that the folder made", async () => {
    type Found = { hits: { id: string; score: number }[] };
    const search = ["search", "--image", fixture("grey8.png"), "--modality", "xray", "--k", "3"];
    const [a, b, c] = await Promise.all([
      m3retJson<Found>([...search, "--index", "run.npz", "--encoder", "run"], where),
      m3retJson<Found>([...search, "--index", "run.npz", "--encoder", "image.onnx"], where),
      m3retJson<Found>([...search, "--index", "image.npz", "--encoder", "image.onnx"], where),
    ]);
    expect(b.hits.map(({ id }) => id)).toEqual(a.hits.map(({ id }) => id));
    b.hits.forEach(({ score }, i) => expect(score).toBeCloseTo(a.hits[i].score, 4));
    expect(c.hits).toHaveLength(3);
    expect(await m3ret([...search, "--index", "run.npz", "--encoder", "cls.onnx"], where)).toMatchObject({
      code: 2,
      stderr: "error: --encoder cls.onnx: gives cls, the index holds mean\n",
    });
  });
});

describe("embed with another project's file", () => {
  const flags = ["--mean", expected.timm.mean.join(), "--std", expected.timm.std.join()];
  const folder = at("pictures");

  beforeAll(() => {
    mkdirSync(folder);
    const rows = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map((name, i) => {
      cpSync(fixture(i % 2 === 0 ? "grey8.png" : "rgb8.png"), join(folder, `${name}.png`));
      return `${name}.png,xray,${i % 2 === 0 ? "grey" : "colour"},patient ${name}`;
    });
    writeFileSync(join(folder, "labels.csv"), ["path,modality,class,group", ...rows].join("\n") + "\n");
    const entry = { title: "Tiny", home: "timm", licence: "Apache-2.0", file: timm, input: ["b", 3, "H", "W"] };
    const { mean, std } = expected.timm;
    const encoders = { tiny: { ...entry, size: [1, 16, 16], mean, std, output: "features", fit: "stretch" } };
    writeFileSync(at("own.yaml"), JSON.stringify({ datasets: {}, encoders })); // JSON is YAML
  });

  test("by flags and by an entry of the catalogue gives the same vectors, which the rest accepts as any", async () => {
    type Embedded = { n: number; d: number; meta: Record<string, string> };
    const byFlags = await m3retJson<Embedded>(
      ["embed", "--encoder", timm, ...flags, ...data, "--out", "flags.npz"],
      where,
    );
    expect(byFlags).toMatchObject({ d: 8, meta: { encoder: "timm-tiny", pooling: "features", licence: "not stated" } });
    const report = await m3retJson<{ n: object; recallAtK: object }>(
      ["evaluate", "--query", "flags.npz", "--gallery", "flags.npz", "--label", "region"],
      where,
    );
    expect(report.n).toMatchObject({ query: 45, gallery: 50 });
    const set = loadEmbeddings(at("flags.npz"));
    const gallery = selectRows(set, (i) => set.splits[i] === "gallery");
    expect(whiten(set, fitWhitening(gallery)).n).toBe(95);

    const own = ["--catalog", "own.yaml", "--data", folder];
    await m3retJson(["embed", "--encoder", timm, ...flags, ...own, "--out", "a.npz"], where);
    const named = await m3retJson<Embedded>(["embed", "--encoder", "tiny", ...own, "--out", "b.npz"], where);
    expect(named.meta).toMatchObject({ encoder: "tiny", file: "timm-tiny.onnx", licence: "Apache-2.0", home: "timm" });
    const [a, b] = ["a", "b"].map((name) => loadEmbeddings(at(`${name}.npz`)));
    expect(a.ids).toEqual(b.ids);
    const search = ["search", "--image", fixture("rgb8.png"), "--modality", "xray", "--k", "1", ...own.slice(0, 2)];
    const found = await m3retJson<{ hits: { score: number; labels: object }[] }>(
      [...search, "--index", "b.npz", "--encoder", "tiny", "--preprocessing", folder],
      where,
    );
    expect(found.hits[0].labels).toEqual({ class: "colour" });
    expect(found.hits[0].score).toBeCloseTo(1, 5);
  });

  const wrong: [name: string, args: string[], says: RegExp][] = [
    ["no mean", ["embed", "--encoder", timm, ...data], /timm-tiny\.onnx: does not say how its pixels are standardised/],
    ["a size of two", ["embed", "--encoder", timm, "--size", "8,8"], /^--size: expected D,H,W, got "8,8"$/],
    [
      "a deviation of 0",
      ["embed", "--encoder", timm, "--std", "1,0,1"],
      /^--std: expected three numbers above 0, got "1,0,1"$/,
    ],
    ["a mean of one", ["embed", "--encoder", timm, "--mean", "0.5"], /^--mean: expected three numbers, got "0\.5"$/],
    [
      "a pooling",
      ["embed", "--encoder", "image.onnx", "--pooling", "cls"],
      /^--pooling: image\.onnx has pooled already/,
    ],
    [
      "the eager engine",
      ["embed", "--encoder", "image.onnx", "--engine", "eager"],
      /^--engine eager: an \.onnx file is run by/,
    ],
    [
      "a device of another system",
      ["embed", "--encoder", "image.onnx", "--engine", process.platform === "darwin" ? "directml" : "coreml"],
      /^engine (directml|coreml): .* has no (DirectML|CoreML) provider/,
    ],
    [
      "a mean for a folder",
      ["embed", "--encoder", "run", ...flags],
      /^--mean: expected only with an \.onnx file, got --encoder run$/,
    ],
    [
      "a text",
      ["embed", "--encoder", "text.onnx"],
      /^text\.onnx: expected an ONNX file, got something else or a cut file$/,
    ],
    [
      "a name that nobody knows",
      ["embed", "--encoder", "dino"],
      /^--encoder dino: expected a folder that pretrain wrote, an \.onnx file/,
    ],
    [
      "no encoder to export",
      ["export", "--encoder", "pictures"],
      /^pictures: expected a folder with encoder\.safetensors, found none$/,
    ],
  ];
  test.concurrent.each(wrong)("%s is one line, and leaves nothing behind", async (_, args, says) => {
    writeFileSync(at("text.onnx"), "Dear colleague,\n");
    const here = newFolder(join(work.path, "cases"));
    const out = join(here, args[0] === "export" ? "x.onnx" : "x.npz");
    const { code, stdout, stderr } = await m3ret([...args, "--out", out], where);
    expect({ code, stdout }, stderr).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    expect(stderr.slice("error: ".length, -1)).toMatch(says);
    expect(listing(here)).toEqual([]);
  });

  test("a format that is not known is refused before anything is made", async () => {
    const { code, stderr } = await m3ret(["export", "--encoder", "run", "--out", "new/x.pt"], where);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: "error: new/x.pt: expected a name that ends in .onnx or .safetensors\n",
    });
    expect(listing(work.path).some((name) => name.startsWith("new"))).toBe(false);
  });
});
