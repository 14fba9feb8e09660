/** Sweeps: a file of points, each a process that can be stopped, and what is made of their results. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { EXPERIMENTS, presetOf } from "../src/presets.js";
import type { Collected } from "../src/sweeps/collect.js";
import type { PointResult } from "../src/sweeps/point.js";
import { loadSweep, parseSweep, pointOf, shardOf } from "../src/sweeps/sweepFile.js";
import { resolveVariant, type Variant } from "../src/sweeps/variant.js";
import { cache, m3ret, m3retJson, packageRoot, start, until, workFolder } from "./cliFixture.js";

const work = workFolder();
afterAll(work.remove);

const recipe = (name: string) => join(packageRoot, "recipes/sweeps", `${name}.yaml`);
const variant = (more: Partial<Variant> = {}): Variant => ({
  ...{ method: "mae", preset: "smoke", data: "phantom-smoke", seed: 7 },
  ...more,
});
const yaml = (...lines: string[]) => ["title: t", "about: a", "preset: smoke", ...lines].join("\n");

describe("a point", () => {
  test("without overrides is the preset itself, so that its run is the usual one", () => {
    for (const method of ["mae", "simdino"] as const) {
      const resolved = resolveVariant(variant({ method, preset: "default" }));
      expect(resolved.preset).toBe(EXPERIMENTS.default);
      expect(resolved).not.toHaveProperty("selection");
      expect(resolved).not.toHaveProperty("sliceAxis");
    }
  });

  test("puts an override where it belongs, and leaves everything else alone", () => {
    const base = presetOf("smoke");
    const { preset, encoder, selection } = resolveVariant(
      variant({ steps: 3, maskRatio: 0.5, encoder: { width: 48, depth: 1, heads: 2 }, dataFraction: 0.5 }),
    );
    expect(preset.mae).toEqual({ ...base.mae, steps: 3, maskRatio: 0.5 });
    expect(preset.simdino).toBe(base.simdino);
    expect(encoder).toMatchObject({ width: 48, depth: 1, heads: 2, patch: base.patch });
    expect(selection).toEqual({ dataFraction: 0.5 });
  });

  test.each([
    [{ epsilon: 0.1 }, /^epsilon: expected with method simdino only, got method mae$/],
    [{ method: "simdino", maskRatio: 0.5 }, /^maskRatio: expected with method mae only/],
    [{ modalities: ["ct", "mri"] }, /MRI never enters pretraining/],
    [{ mixture: { mri: 1 } }, /MRI never enters pretraining/],
    [{ encoder: { width: 50, depth: 1, heads: 4 } }, /4 heads do not divide a width of 50/],
    [{ method: "simdino", batchSize: 16, shardRows: 5 }, /a batch of 16 does not divide into shards of 5/],
  ] as const)("that cannot be is refused: %j", (more, message) => {
    expect(() => resolveVariant(variant(more as Partial<Variant>))).toThrow(message);
  });
});

describe("a sweep file", () => {
  test("lists every combination of its axes for every seed, the base first", () => {
    const { points } = parseSweep(
      yaml("seeds: [1, 2]", "methods: [mae]", "grids: [{ maskRatio: [0.5, 0.9], dataFraction: [0.5, 1] }]"),
      "s.yaml",
    );
    expect(points).toHaveLength(2 * (1 + 4));
    expect(points.map(({ index }) => index)).toEqual(points.map((_, i) => i));
    expect(new Set(points.map(({ id }) => id)).size).toBe(points.length);
    expect(points[0]).toMatchObject({ id: "mae-s1", isBase: true, changes: {} });
    expect(points[1].changes).toEqual({ maskRatio: 0.5, dataFraction: 0.5 });
    expect(points[5]).toMatchObject({ id: "mae-s2", variant: { seed: 2 } });
  });

  test("gives a point to the methods that know its overrides", () => {
    const { points } = parseSweep(
      yaml("withBase: false", "points: [{ maskRatio: 0.5 }, { epsilon: 1 }, { steps: 2 }]"),
      "s.yaml",
    );
    expect(points.map(({ variant: { method }, label }) => `${method} ${label}`)).toEqual([
      "mae maskRatio 0.5",
      "simdino epsilon 1",
      "mae steps 2",
      "simdino steps 2",
    ]);
  });

  test.each([
    ["points: [{ maskratio: 0.5 }]", /^s\.yaml: points\.0: Unrecognized key: "maskratio"$/],
    ["points: [{ maskRatio: 2 }]", /^s\.yaml: points\.0\.maskRatio: /],
    [
      "points: [{ maskRatio: 0.5, epsilon: 1 }]",
      /^s\.yaml: maskRatio 0\.5, epsilon 1: none of its methods knows this$/,
    ],
    ["points: [{ name: a, steps: 1 }, { name: a, steps: 2 }]", /^s\.yaml: two points are called mae-s7-a$/],
    ["points: [{ modalities: [mri] }]", /^s\.yaml: mae-s7-mri-only: MRI never enters pretraining/],
    ["points: [", /^s\.yaml: /],
  ])("that is wrong is one line that names the place: %s", (line, message) => {
    expect(() => parseSweep(yaml(line), "s.yaml")).toThrow(message);
  });

  test("of the package can be read, and its points have names of their own", () => {
    for (const name of ["smoke", "seeds", "scaling", "ablations"]) {
      const sweep = loadSweep(recipe(name));
      expect(new Set(sweep.points.map(({ id }) => id)).size, name).toBe(sweep.points.length);
    }
    const single = loadSweep(recipe("seeds")).points.filter(({ changes }) => changes.modalities);
    expect(new Set(single.map(({ variant: { method } }) => method))).toEqual(new Set(["mae", "simdino"]));
    for (const { id, variant } of single) {
      expect(variant.steps, id).toBe(Math.round(EXPERIMENTS.default[variant.method].steps / 4));
    }
  });

  test("divides into shards that are all of its points, each once", () => {
    const { points } = loadSweep(recipe("ablations"));
    const shards = [0, 1, 2, 3].flatMap((index) => shardOf(points, { index, of: 4 }));
    expect(shards.map(({ id }) => id).sort()).toEqual(points.map(({ id }) => id).sort());
    const sweep = loadSweep(recipe("ablations"));
    expect(pointOf(sweep, "3")).toBe(pointOf(sweep, points[3].id));
    expect(() => pointOf(sweep, "99")).toThrow(/^--point 99: expected 0 to \d+, or an id/);
  });
});

describe("m3ret sweep", () => {
  const out = join(work.path, "smoke");
  const sweep = (...more: string[]) => ["sweep", recipe("smoke"), "--out", out, "--cache", cache, ...more];
  const resultOf = (id: string) => JSON.parse(readFileSync(join(out, "points", `${id}.json`), "utf8")) as PointResult;

  test("runs each point as a process, skips what is done, and collects effects against the base", async () => {
    const first = await m3retJson<{ done: string[]; skipped: number }>(sweep("--jobs", "2"));
    expect(first.done.sort()).toEqual(["mae-s7", "mae-s7-maskratio-0.5", "simdino-s7"]);
    const again = await m3retJson<{ done: string[]; skipped: number }>(sweep());
    expect(again).toMatchObject({ done: [], skipped: 3 });

    const base = resultOf("mae-s7");
    expect(base.training).toMatchObject({ steps: 10, batchSize: 16 });
    expect(base.data.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(resultOf("simdino-s7").data.hash).toBe(base.data.hash);
    expect(base.versions).toHaveProperty(["@tensorflow/tfjs"]);
    expect(base.engine).toMatch(/1 thread\b/);
    for (const name of ["mae-cls", "mae-mean", "mae-cls-whitened", "mae-mean-whitened"]) {
      expect(existsSync(join(out, "points/mae-s7", `${name}.npz`)), name).toBe(true);
    }
    // First ranks say the same as the rows that judge made.
    for (const row of base.rows.perModality.filter(({ encoder }) => encoder === "MAE, mean, whitened")) {
      const { ranks } = base.ranked.rows.find(
        (one) =>
          one.role === "trained" &&
          one.pooling === "mean" &&
          one.variant === "whitened" &&
          one.from === row.from &&
          one.to === row.to,
      )!;
      const asked = ranks.filter((rank) => rank > 0);
      expect(asked.filter((rank) => rank === 1).length / asked.length).toBeCloseTo(row.recallAtK["1"].value, 12);
    }

    const file = join(out, "collected.json");
    await m3retJson(sweep("--collect", file));
    const collected = JSON.parse(readFileSync(file, "utf8")) as Collected;
    expect(collected.missing).toEqual([]);
    expect(collected.settings.map(({ setting }) => setting)).toEqual(["mae", "simdino", "mae-maskratio-0.5"]);
    const effect = collected.effects.find(
      ({ setting, against, outcome, reading }) =>
        setting === "mae-maskratio-0.5" &&
        against === "base" &&
        outcome === "within" &&
        reading === "trained, mean, whitened",
    )!;
    const value = (setting: string) =>
      collected.settings.find((one) => one.setting === setting)!.measured.values["trained, mean, whitened"].within[0];
    expect(effect.difference).toBeCloseTo(value("mae-maskratio-0.5") - value("mae"), 3);
    expect(effect.low <= effect.difference && effect.difference <= effect.high).toBe(true);
    expect(readFileSync(file.replace(".json", ".md"), "utf8")).toContain("MAE: maskRatio 0.5");
  });

  test("does not take a result for one that was described otherwise", async () => {
    const other = join(work.path, "other.yaml");
    writeFileSync(other, readFileSync(recipe("smoke"), "utf8").replace("steps: 10", "steps: 11"));
    const { code, stderr } = await m3ret(["sweep", other, "--out", out, "--cache", cache]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: .*mae-s7\.json: its training was .* choose another --out, or remove it/);
  });

  test("stopped in the middle goes on where it stopped", async () => {
    const file = join(work.path, "long.yaml");
    writeFileSync(file, yaml("methods: [mae]", "mae: { steps: 120 }"));
    const to = join(work.path, "stopped");
    const args = ["sweep", file, "--out", to, "--cache", cache];
    const log = () => readFileSync(join(to, "runs/mae-s7/log.jsonl"), "utf8").trim().split("\n");
    const run = start(args);
    await until(() => existsSync(join(to, "runs/mae-s7/state.safetensors")), run);
    run.process.kill("SIGINT");
    const { code, stderr } = await run.finished;
    expect(stderr).toContain("stopped with 1 of 1 points to do; the same command goes on");
    expect(code).toBe(130);
    expect(existsSync(join(to, "points/mae-s7.json"))).toBe(false);
    const before = log();
    expect(before.length).toBeLessThan(120);
    await m3retJson(args);
    expect(log()).toHaveLength(120);
    expect(log().slice(0, before.length)).toEqual(before); // their times too: these steps were not done again
  });

  test("names the point that failed and why, and the others are done all the same", async () => {
    const file = join(work.path, "fails.yaml");
    const lines = ["methods: [mae]", "mae: { steps: 2 }", "points: [{ mixture: { ct: 1 }, modalities: [xray] }]"];
    writeFileSync(file, yaml(...lines));
    const to = join(work.path, "fails");
    const { code, stderr } = await m3ret(["sweep", file, "--out", to, "--cache", cache]);
    expect(code).toBe(2);
    expect(stderr.trim().split("\n").at(-1)).toMatch(
      /^error: 1 of 2 points failed; the first, .*: mixture: a share of ct, but no sample of it in the train split$/,
    );
    expect(existsSync(join(to, "points/mae-s7.json"))).toBe(true);
    rmSync(to, { recursive: true });
  });

  test("prints a Slurm array and a Kubernetes Job that have an index for each point", async () => {
    const slurm = await m3ret(sweep("--script", "slurm", "--jobs", "2"));
    expect(slurm.stdout).toMatch(/^#!\/bin\/bash\n/);
    expect(slurm.stdout).toContain("#SBATCH --array=0-2%2\n");
    expect(slurm.stdout).toContain('--point "$SLURM_ARRAY_TASK_ID"');
    const k8s = await m3ret(sweep("--script", "k8s"));
    const job = parse(k8s.stdout) as { kind: string; spec: { completionMode: string; completions: number } };
    expect(job).toMatchObject({ kind: "Job", spec: { completionMode: "Indexed", completions: 3, parallelism: 1 } });
  });
});
