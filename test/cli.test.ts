import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadCatalog } from "../src/datasets/catalog.js";
import { openDataset } from "../src/datasets/open.js";
import { MODALITIES, SPLITS } from "../src/types.js";
import {
  cache,
  canMount,
  listing,
  m3ret,
  m3retJson,
  newFolder,
  packageRoot,
  start,
  whyNoDisk,
  withSmallDisk,
  workFolder,
} from "./cliFixture.js";
import { fixture } from "./readersFixture.js";

const work = workFolder();
afterAll(work.remove);

const COMMANDS = ["datasets", "inspect", "pretrain", "embed", "export", "evaluate", "search", "reproduce", "notebooks"];
const env = { M3RET_CACHE: cache };
const picture = fixture("grey8.png");
const pixels = join(work.path, "pixels.npz");

/** A folder of files that are wrong, each in its own way. */
const bad = join(work.path, "bad");

/** A data folder in `bad`: these rows under this header, and a picture for every row unless it is called missing. */
function dataFolder(name: string, header: string, rows: readonly string[]): void {
  mkdirSync(join(bad, name), { recursive: true });
  writeFileSync(join(bad, name, "labels.csv"), [header, ...rows].join("\n") + "\n");
  for (const [file] of rows.map((row) => row.split(","))) {
    if (file !== "missing.png") copyFileSync(picture, join(bad, name, file));
  }
}

beforeAll(async () => {
  const header = "path,modality,class,group";
  dataFolder("missing-file", header, ["here.png,xray,a,p1", "missing.png,xray,a,p2"]);
  dataFolder("missing-column", "path,class,group", ["a.png,a,p1"]);
  const mri = ["a", "b", "c", "d", "e", "f"].map((name) => `${name}.png,mri,head,patient ${name}`);
  dataFolder("only-mri", header, mri);
  dataFolder("one-file", header, ["a.png,xray,a,p1"]);
  dataFolder("no-rows", header, []);
  mkdirSync(join(bad, "empty-folder"));
  mkdirSync(join(bad, "folder.npz"));
  writeFileSync(join(bad, "text.dcm"), "Dear colleague,\n");
  writeFileSync(join(bad, "empty.nii.gz"), "");
  writeFileSync(join(bad, "text.npz"), "not an archive\n");
  writeFileSync(join(bad, "file"), "a file where a folder is expected\n");
  writeFileSync(join(bad, "broken.yaml"), "datasets: {phantom: [\n");
  writeFileSync(join(bad, "wrong.yaml"), "datasets: { mine: { kind: folder, path: . } }\n");
  writeFileSync(join(bad, "text.yaml"), "once upon a time\n");

  const { code, stderr } = await m3ret(["embed", "--preset", "smoke", "--encoder", "pixels", "--out", pixels], { env });
  expect(code, stderr).toBe(0);
});

describe.concurrent("bad input ends with 2 and one line that says", () => {
  const inBad = (name: string) => join(bad, name);
  const npz = ["--query", pixels, "--gallery", pixels];
  const evaluate = ["evaluate", ...npz, "--label", "region"];
  const pretrain = ["pretrain", "--method", "mae", "--preset", "smoke", "--out", "out"];
  const embed = ["embed", "--encoder", "pixels", "--preset", "smoke", "--out", "out/x.npz"];
  const reproduce = ["reproduce", "--preset", "smoke", "--no-notebooks", "--out", "out", "--runs", "runs"];
  const search = ["search", "--index", pixels, "--image", picture, "--modality", "xray"];

  interface Case {
    readonly args: readonly string[];
    readonly says: string | RegExp;
    readonly env?: Readonly<Record<string, string>>;
  }
  const cases: Record<string, Case> = {
    "a text file is no DICOM file": {
      args: ["inspect", inBad("text.dcm")],
      says: `${inBad("text.dcm")}: expected a DICOM file, got a text file`,
    },
    "an empty file is no NIfTI file": {
      args: ["inspect", inBad("empty.nii.gz")],
      says: `${inBad("empty.nii.gz")}: expected a NIfTI file, got an empty file`,
    },
    "that none of several files can be read, and why the first cannot": {
      args: ["inspect", inBad("text.dcm"), inBad("empty.nii.gz")],
      says: /^none of 2 files can be read .*the first: .*text\.dcm: expected a DICOM file, got a text file$/,
    },
    "that a file is not there": { args: ["inspect", "nowhere.png"], says: "nowhere.png: no such file or folder" },
    "that a folder is empty": {
      args: ["inspect", inBad("empty-folder")],
      says: `${inBad("empty-folder")}: expected at least one file, found none`,
    },

    "which file labels.csv lists in vain, to reproduce": {
      args: [...reproduce, "--data", inBad("missing-file")],
      says: `${inBad("missing-file/labels.csv")}:3: missing.png: no such file or folder`,
    },
    "which file labels.csv lists in vain, to pretrain": {
      args: [...pretrain, "--data", inBad("missing-file")],
      says: `${inBad("missing-file/labels.csv")}:3: missing.png: no such file or folder`,
    },
    "which column labels.csv lacks": {
      args: [...embed, "--data", inBad("missing-column")],
      says: `${inBad("missing-column/labels.csv")}: expected a column "modality", got path, class, group`,
    },
    "that labels.csv lists nothing": {
      args: [...embed, "--data", inBad("no-rows")],
      says: `${inBad("no-rows/labels.csv")}: expected at least one row to keep, got none`,
    },
    "that there is nothing to judge on": {
      args: [...embed, "--data", inBad("one-file")],
      says: `${inBad("one-file")}: expected samples in the splits gallery and query, found none`,
    },
    "that MRI alone cannot be pretrained on": { args: [...pretrain, "--data", inBad("only-mri")], says: /train.*MRI/ },
    "that MRI alone cannot be reproduced on": {
      args: [...reproduce, "--data", inBad("only-mri")],
      says: /train.*MRI/,
    },

    "which data sets there are": {
      args: [...reproduce, "--data", "nowhere"],
      says: /^unknown data set "nowhere"; datasets\.yaml has: phantom, phantom-smoke, realdata/,
    },
    "which data sets there are to show": { args: ["datasets", "nowhere"], says: /^unknown data set "nowhere"/ },
    "which data sets notebooks can be executed on": {
      args: ["notebooks", "--data", "nowhere"],
      says: /^unknown data set "nowhere"/,
    },
    "which presets there are": {
      args: ["reproduce", "--preset", "huge"],
      says: 'unknown preset "huge"; expected one of smoke, default, paper',
    },
    "which benchmarks there are": {
      args: ["bench", "speed"],
      says: 'unknown benchmark "speed"; expected one of decode, embed, gemm, step',
    },
    "that no case of a benchmark is meant": {
      args: ["bench", "embed", "--only", "ViT-H"],
      env: { M3RET_PYTHON: "no-python-of-this-name" },
      says: "--only ViT-H: no case of embed has that in its name",
    },
    "which methods there are": {
      args: ["pretrain", "--method", "dino", "--out", "out"],
      says: /argument 'dino' is invalid\. Allowed choices are mae, simdino\.$/,
    },
    "which variable to set for real files": {
      args: [...reproduce, "--data", "realdata"],
      env: { M3RET_REALDATA: "/nowhere" },
      says: 'data set "realdata": no folder /nowhere; set M3RET_REALDATA to it',
    },
    "where the catalogue is no YAML": {
      args: ["datasets", "--catalog", inBad("broken.yaml")],
      says: /broken\.yaml: .*line 2/,
    },
    "which key the catalogue lacks": {
      args: [...pretrain, "--catalog", inBad("wrong.yaml")],
      says: /wrong\.yaml: datasets\.mine\.title: /,
    },
    "that the catalogue is a text": {
      args: [...embed, "--catalog", inBad("text.yaml")],
      says: /text\.yaml: .*expected object/,
    },

    "that K starts at 1": { args: [...evaluate, "--k", "0"], says: '--k: expected a whole number from 1 on, got "0"' },
    "that K is a number": {
      args: [...evaluate, "--k", "1,x"],
      says: '--k: expected a whole number from 1 on, got "x"',
    },
    "that K is not empty": {
      args: [...evaluate, "--k", "1,,5"],
      says: '--k: expected a whole number from 1 on, got ""',
    },
    "that K of a search starts at 1": {
      args: [...search, "--k", "0"],
      says: '--k: expected a whole number from 1 on, got "0"',
    },
    "that there is at least one step": {
      args: [...pretrain, "--steps", "0"],
      says: '--steps: expected a whole number from 1 on, got "0"',
    },
    "that a seed is not negative": {
      args: [...pretrain, "--seed", "-1"],
      says: '--seed: expected a whole number from 0 on, got "-1"',
    },
    "that a seed is not empty": {
      args: [...reproduce, "--seed", ""],
      says: '--seed: expected a whole number from 0 on, got ""',
    },

    "which label columns there are": {
      args: ["evaluate", ...npz, "--label", "colour"],
      says: 'label "colour" is not a column of the queries; its columns are: finding, region, size',
    },
    "that a protocol needs a direction": {
      args: [...evaluate, "--protocol", "within-modality"],
      says: "--protocol within-modality: expected --from, got none",
    },
    "that sets as they are given have no direction": {
      args: [...evaluate, "--from", "ct"],
      says: "--from, --to: expected only with another --protocol than given-sets",
    },
    "that a label is missing": {
      args: ["evaluate", ...npz],
      says: "--label: expected a column, such as region, got none",
    },
    "that embeddings are not there": {
      args: ["evaluate", "--query", "none.npz", "--gallery", pixels, "--label", "region"],
      says: "none.npz: no such file or folder",
    },
    "that a text is no .npz": {
      args: ["evaluate", "--query", inBad("text.npz"), "--gallery", pixels, "--label", "region"],
      says: /text\.npz: expected an \.npz file \(a zip of \.npy arrays\), got something else or a cut file$/,
    },
    "that embeddings are written as .npz": {
      args: ["embed", "--encoder", "pixels", "--out", "x.csv"],
      says: "--out x.csv: expected a name that ends in .npz",
    },
    "that a folder holds no encoder": {
      args: ["embed", "--encoder", inBad("empty-folder"), "--out", "x.npz"],
      says: `${inBad("empty-folder")}: expected a folder with encoder.safetensors, found none`,
    },
    "what an encoder may be": {
      args: ["embed", "--encoder", "resnet", "--out", "x.npz"],
      says:
        "--encoder resnet: expected a folder that pretrain wrote, an .onnx file, an entry under encoders in " +
        "datasets.yaml, random or pixels",
    },
    "that a picture does not say what it is of": {
      args: ["search", "--index", pixels, "--image", picture],
      says: `${picture}: the file does not say its modality; add --modality`,
    },
    "which modalities there are": {
      args: ["search", "--index", pixels, "--image", picture, "--modality", "pet"],
      says: "--modality pet: expected one of xray, ultrasound, endoscopy, ct, mri",
    },

    "that a folder is in the place of the file to write": {
      args: ["embed", "--encoder", "pixels", "--out", inBad("folder.npz")],
      says: `--out ${inBad("folder.npz")}: expected a file, got a folder`,
    },
    "that a file is in the place of the folder for a run": {
      args: ["pretrain", "--method", "mae", "--out", inBad("file")],
      says: `--out ${inBad("file")}: expected a folder, got a file`,
    },
    "that a file is in the place of the folder for figures": {
      args: ["reproduce", "--out", inBad("file/figures")],
      says: `--out ${inBad("file/figures")}: expected a folder, got a file`,
    },
    "that a file is in the place of the folder for runs": {
      args: ["reproduce", "--runs", inBad("file")],
      says: `--runs ${inBad("file")}: expected a folder, got a file`,
    },
    "that a file is in the place of the folder for embeddings": {
      args: ["embed", "--encoder", "pixels", "--out", inBad("file/x.npz")],
      says: `--out ${inBad("file")}: expected a folder, got a file`,
    },
    "that a file is in the place of the cache": {
      args: [...pretrain, "--cache", inBad("file")],
      says: new RegExp(`^${inBad("file")}.*: expected a folder, got a file$`),
    },

    "that a command is missing": { args: [], says: "expected a command; m3ret --help lists them" },
    "what a mistyped command may have meant": {
      args: ["evaluat"],
      says: "unknown command 'evaluat' (Did you mean evaluate?)",
    },
    "which option is missing": { args: ["evaluate"], says: "required option '--query <FILE>' not specified" },
    "which option is unknown": { args: ["datasets", "--colour"], says: "unknown option '--colour'" },
    "that an argument is missing": { args: ["inspect"], says: "missing required argument 'PATH'" },
    "that there are too many arguments": { args: ["datasets", "a", "b"], says: /^too many arguments/ },
  };

  test.each(Object.entries(cases))("%s", async (_, { args, says, env: more }) => {
    const here = newFolder(join(work.path, "cases"));
    const before = listing(bad);
    const { code, stdout, stderr: said } = await m3ret(args, { cwd: here, env: { ...env, ...more } });
    const stderr = said.replace(/^engine: .*\n/, ""); // where ONNX Runtime does not load, that is said first
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    const message = stderr.slice("error: ".length, -1);
    if (typeof says === "string") expect(message).toBe(says);
    else expect(message).toMatch(says);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(listing(here), "left behind").toEqual([]);
    expect(listing(bad)).toEqual(before);
  });
});

describe("inspect", () => {
  test("with --json says what is wrong with every file on stdout, and ends with 2 where all are wrong", async () => {
    const paths = ["text.dcm", "empty.nii.gz"].map((name) => join(bad, name));
    const { code, stdout, stderr } = await m3ret(["inspect", ...paths, "--json"]);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toEqual({
      files: [
        { path: paths[0], ok: false, error: `${paths[0]}: expected a DICOM file, got a text file` },
        { path: paths[1], ok: false, error: `${paths[1]}: expected a NIfTI file, got an empty file` },
      ],
    });
    expect(stderr).toMatch(/^error: none of 2 files can be read [^\n]+\n$/);
  });

  test("goes on after a file that cannot be read, names it once, and ends with 0", async () => {
    const { code, stdout, stderr } = await m3ret(["inspect", join(bad, "text.dcm"), picture]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("text.dcm")).toHaveLength(2);
    expect(stdout).toMatch(/^.*text\.dcm: expected a DICOM file, got a text file\n.*grey8\.png\n {2}image, /);
  });

  test("has a flag for every limit and option that a reader's message names", async () => {
    const folder = join(packageRoot, "src/datasets");
    const readers = readdirSync(folder).filter((name) => /^(dicom|nifti|image|video)\w*\.ts$/.test(name));
    const text = readers.map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
    const named = [...text.matchAll(/(?:limit|option) (max[A-Z]\w+|volume)\b/g)].map(([, name]) => name);
    expect(new Set(named).size).toBeGreaterThan(4);
    const { stdout } = await m3ret(["inspect", "--help"]);
    for (const name of named) expect(stdout).toContain(`--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} <`);
  });

  test("with a flag asks for one volume, or sets a limit", async () => {
    const times = join(packageRoot, "test/fixtures/dicomVolumes/times.dcm");
    const { files } = await m3retJson<{ files: { shape: number[] }[] }>(["inspect", times, "--volume", "1"]);
    expect(files[0].shape).toEqual([3, 3, 4]);
    const refused = await m3ret(["inspect", picture, "--max-pixels", "34"]);
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(refused.stderr).toMatch(/^error: .*grey8.png: 7 x 5 pixels are over the limit maxPixels, 34\n$/);
    const { stderr } = await m3ret(["inspect", fixture("four.nii"), "--volume", "x"]);
    expect(stderr).toMatch(/^error: [^\n]*volume[^\n]*\n$/);
  });

  test("with --json gives the fields of the contract", async () => {
    const { files } = await m3retJson<{ files: unknown[] }>(["inspect", fixture("ct_implicit.dcm"), picture]);
    const fields = {
      ok: true,
      kind: "image",
      channels: 1,
      dtype: expect.any(String) as string,
      min: expect.any(Number) as number,
      max: expect.any(Number) as number,
      mean: expect.any(Number) as number,
      std: expect.any(Number) as number,
    };
    expect(files).toHaveLength(2);
    expect(files[0]).toMatchObject({ ...fields, modality: "ct", shape: [1, 5, 6] });
    expect(files[1]).toMatchObject({ ...fields, path: picture, modality: null, spacingMm: null, orientation: null });
  });
});

describe("--json", () => {
  test("lists the data sets", async () => {
    const { datasets } = await m3retJson<{ datasets: { name: string }[] }>(["datasets"]);
    expect(datasets.map(({ name }) => name)).toEqual(expect.arrayContaining(["phantom", "phantom-smoke", "realdata"]));
    for (const one of datasets) expect(Object.keys(one)).toEqual(["name", "kind", "title", "licence", "modalities"]);
  });

  test("counts the samples of a data set, with MRI only where it is judged on", async () => {
    type Shown = { counts: Record<string, Record<string, number>>; skipped: unknown[] };
    const { counts, skipped } = await m3retJson<Shown>(["datasets", "phantom-smoke"], { env });
    expect(Object.keys(counts).sort()).toEqual([...MODALITIES].sort());
    for (const modality of MODALITIES) {
      for (const split of SPLITS) expect(counts[modality][split] > 0).toBe(!(modality === "mri" && split === "train"));
    }
    expect(skipped).toEqual([]);
  });

  test("tells of pretraining, embedding, judging and searching, each from what the one before has written", async () => {
    const here = newFolder(work.path);
    const where = { cwd: here, env };
    const pretrain = ["pretrain", "--method", "mae", "--preset", "smoke", "--steps", "2", "--out", "run"];
    const trained = await m3retJson<Record<string, unknown>>(pretrain, where);
    expect(trained).toMatchObject({ method: "mae", data: "phantom-smoke", out: "run", steps: 2 });
    expect(trained.loss).toBeGreaterThan(0);

    const embed = ["embed", "--encoder", "run", "--preset", "smoke", "--out", "mae.npz"];
    const embedded = await m3retJson<Record<string, unknown>>(embed, where);
    const meta = { encoder: "mae", pooling: "mean", data: "phantom-smoke" };
    expect(embedded).toEqual({ out: "mae.npz", n: 95, d: 96, meta });

    type Interval = { value: number; low: number; high: number };
    type Report = { recallAtK: Record<string, Interval>; mAP: Interval; mrr: Interval } & Record<string, unknown>;
    const npz = ["--query", "mae.npz", "--gallery", "mae.npz"];
    const report = await m3retJson<Report>(["evaluate", ...npz, "--label", "region", "--k", "1,5,10"], where);
    expect(report).toMatchObject({ label: "region", n: { query: 45, gallery: 50 } });
    expect(Object.keys(report)).toEqual(expect.arrayContaining(["protocol", "rules", "chance", "perClass", "macro"]));
    expect(Object.keys(report.recallAtK)).toEqual(["1", "5", "10"]);
    for (const { value, low, high } of [...Object.values(report.recallAtK), report.mAP, report.mrr]) {
      expect(0 <= low && low <= value && value <= high && high <= 1).toBe(true);
    }

    // The same encoder with the training split beside it: 29 patients, four modalities each, and none of them asks.
    const all = ["embed", "--encoder", "run", "--preset", "smoke", "--train", "--out", "all.npz"];
    expect((await m3retJson<{ n: number }>(all, where)).n).toBeGreaterThan(95 + 4 * 20);
    const both = ["--query", "all.npz", "--gallery", "all.npz", "--label", "region", "--from", "xray"];
    const within = ["evaluate", ...both, "--protocol", "train-gallery"];
    const fromTrain = await m3retJson<Report & { n: { query: number; gallery: number } }>(within, where);
    expect(fromTrain).toMatchObject({ rules: { name: "train-gallery", version: 1, gallerySplits: ["train"] } });
    expect([fromTrain.n.query, fromTrain.n.gallery > 20]).toEqual([9, true]);
    const across = ["evaluate", ...both, "--protocol", "train-gallery-cross-modal", "--to", "ct"];
    expect(await m3retJson(across, where)).toMatchObject({ n: { query: 9, gallery: fromTrain.n.gallery } });
    const old = ["evaluate", ...npz, "--label", "region", "--from", "xray", "--protocol", "train-gallery"];
    expect(await m3ret(old, where)).toMatchObject({
      code: 2,
      stderr: "error: mae.npz: expected rows of xray in the split train, found none; m3ret embed --train writes them\n",
    });
    expect(await m3ret([...within, "--to", "ct"], where)).toMatchObject({
      code: 2,
      stderr: "error: --protocol train-gallery: expected one modality, got --from xray --to ct\n",
    });

    type Found = { hits: { rank: number; id: string; modality: string; score: number; labels: object }[] };
    const search = ["search", "--index", "mae.npz", "--image", picture, "--modality", "xray", "--k", "4"];
    const { hits } = await m3retJson<Found>([...search, "--encoder", "run"], where);
    expect(hits.map(({ rank }) => rank)).toEqual([1, 2, 3, 4]);
    expect(new Set(hits.map(({ id }) => id)).size).toBe(4);
    for (const hit of hits) expect(Object.keys(hit.labels)).toEqual(["finding", "region", "size"]);

    expect(await m3ret(search, where)).toMatchObject({
      code: 2,
      stderr: "error: --encoder: expected the folder of the encoder that the index was made with\n",
    });
  });
});

test("a search for a picture of the gallery finds that picture first", async () => {
  const dataset = await openDataset("phantom-smoke", { catalog: loadCatalog(), cacheDir: cache });
  const wanted = dataset.records.filter(({ modality, split }) => modality === "xray" && split === "gallery")[3];
  const { pixels: values, shape } = await dataset.read(wanted);
  const file = join(work.path, "gallery.png");
  const raw = { width: shape[3], height: shape[2], channels: 1 as const };
  await sharp(Uint8Array.from(values), { raw }).png().toFile(file);

  type Found = { hits: { id: string; score: number; labels: object }[] };
  const search = ["search", "--index", pixels, "--image", file, "--modality", "xray", "--k", "3"];
  const { hits } = await m3retJson<Found>(search);
  expect(hits).toHaveLength(3);
  expect(hits[0]).toMatchObject({ id: wanted.id, labels: wanted.labels });
  expect(hits[0].score).toBeCloseTo(1, 6);
  expect(hits[1].score).toBeLessThan(0.9999);
});

test("an index is only searched with the encoder that it was made with", async () => {
  const where = { cwd: newFolder(work.path), env };
  const quick = ["--preset", "smoke", "--steps", "1"];
  expect(await m3ret(["pretrain", "--method", "simdino", ...quick, "--out", "run"], where)).toMatchObject({ code: 0 });
  expect(await m3ret(["embed", "--encoder", "random", "--preset", "smoke", "--out", "x.npz"], where)).toMatchObject({
    code: 0,
  });
  const search = ["search", "--index", "x.npz", "--image", picture, "--modality", "xray", "--encoder", "run"];
  expect(await m3ret(search, where)).toMatchObject({
    code: 2,
    stderr: "error: --encoder run: trained by simdino, but the index was made with untrained\n",
  });
});

test("--help lists the commands, of the package's own bin too, and every command has a help of its own", async () => {
  const help = await m3ret(["--help"]);
  expect(help).toMatchObject({ code: 0, stderr: "" });
  for (const command of COMMANDS) expect(help.stdout).toMatch(new RegExp(`^ {2}${command} `, "m"));
  const npx = execFileSync("npx", ["--no-install", "m3ret", "--help"], {
    cwd: packageRoot,
    encoding: "utf8",
    stdio: "pipe",
  });
  expect(npx).toBe(help.stdout);
  const own = await Promise.all(COMMANDS.map((command) => m3ret([command, "--help"])));
  own.forEach(({ code, stdout }, i) => {
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: m3ret ${COMMANDS[i]} `));
    expect(stdout).toContain("--json");
  });
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  expect((await m3ret(["--version"])).stdout).toBe(`${version}\n`);
});

test("a reader that has read enough is no mistake of ours", async () => {
  const run = start(["datasets", "--json"]);
  run.process.stdout?.destroy(); // as `| head -0` does
  expect(await run.finished).toMatchObject({ code: 0, stderr: "" });
});

describe.skipIf(!canMount)(`on a full disk nothing is left behind by${whyNoDisk}`, () => {
  const full = "no space left on the device";
  const commands: [name: string, args: (disk: string) => string[]][] = [
    ["embed", (disk) => ["embed", "--encoder", "pixels", "--preset", "smoke", "--out", join(disk, "x.npz")]],
    ["pretrain", (disk) => ["pretrain", "--method", "mae", "--preset", "smoke", "--out", join(disk, "run")]],
    ["reproduce, for figures", (disk) => ["reproduce", "--preset", "smoke", "--no-notebooks", "--out", disk]],
    [
      "reproduce, for runs",
      (disk) => ["reproduce", "--preset", "smoke", "--no-notebooks", "--runs", join(disk, "runs")],
    ],
    ["the making of phantoms", (disk) => ["datasets", "phantom-smoke", "--cache", disk]],
  ];
  test.each(commands)("%s", async (_, args) => {
    const here = newFolder(work.path);
    await withSmallDisk("256k", async (disk) => {
      const { code, stdout, stderr } = await m3ret(args(disk), { cwd: here, env });
      expect({ code, stdout }, stderr).toEqual({ code: 2, stdout: "" });
      expect(stderr).toMatch(new RegExp(`^error: [^\n]*${disk}[^\n]*: ${full}[^\n]*\n$`));
      expect(listing(disk)).toEqual([]);
    });
    expect(listing(here)).toEqual([]);
  });
});
