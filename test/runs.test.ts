import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunRecord } from "../src/runRecord.js";
import type { RunSummary } from "../src/runs.js";
import { cache, listing, m3ret, m3retJson, workFolder } from "./cliFixture.js";

const work = workFolder();
afterAll(work.remove);
const runs = join(work.path, "runs");

function pretrain(method: string, ...more: string[]): Promise<unknown> {
  const out = ["--out", join(runs, more[1] ?? "7", method), "--cache", cache];
  return m3retJson(["pretrain", "--method", method, "--preset", "smoke", "--steps", "4", ...out, ...more]);
}
const recordOf = (run: string) => JSON.parse(readFileSync(join(runs, run, "run.json"), "utf8")) as RunRecord;

beforeAll(() => Promise.all([pretrain("mae"), pretrain("simdino"), pretrain("mae", "--seed", "8")]));

describe("run.json, beside every run,", () => {
  test("has the numbers that it depends on, code and packages, and a hash of its data", () => {
    const record = recordOf("7/mae");
    expect(record).toMatchObject({ method: "mae", seed: 7, steps: 4, batchSize: 16, data: { name: "phantom-smoke" } });
    expect(record.config).toMatchObject({ encoder: { width: 96 }, views: { maskRatio: 0.75, view: { rotate: 15 } } });
    expect(record.data.counts.mri!.train).toBe(0);
    const [sitting] = record.sittings;
    expect(sitting.versions).toHaveProperty(["m3ret"]);
    expect(sitting.machine.node).toBe(process.version);
    expect(sitting.fromStep).toBe(0);
  });

  test("names the same data where it is the same, and other data where the patients are others", () => {
    const [mae, simdino, other] = ["7/mae", "7/simdino", "8/mae"].map((run) => recordOf(run).data.hash);
    expect(mae).toMatch(/^[0-9a-f]{64}$/);
    expect(simdino).toBe(mae);
    expect(other).not.toBe(mae);
  });

  test("stays as it is where a run was complete", async () => {
    const before = listing(join(runs, "7/mae"));
    await m3retJson([
      ...["pretrain", "--method", "mae", "--preset", "smoke", "--steps", "4", "--resume"],
      ...["--out", join(runs, "7/mae"), "--cache", cache],
    ]);
    expect(listing(join(runs, "7/mae"))).toEqual(before);
  });
});

describe("m3ret runs", () => {
  test("says of each run what its log says, and in which settings they differ", async () => {
    const answer = await m3retJson<{ runs: RunSummary[]; differ: Record<string, string[]> }>(["runs", runs]);
    expect(answer.runs.map(({ run }) => run)).toEqual(["7/mae", "7/simdino", "8/mae"]);
    for (const { run, steps, total, lastLoss, seconds, secondsPerStep } of answer.runs) {
      const lines = readFileSync(join(runs, run, "log.jsonl"), "utf8")
        .trim()
        .split("\n");
      const log = lines.map((line) => JSON.parse(line) as { loss: number; secondsPerStep: number });
      expect([steps, total]).toEqual([4, 4]);
      expect(lastLoss).toBe(log[3].loss);
      expect(seconds).toBeCloseTo(
        log.reduce((sum, line) => sum + line.secondsPerStep, 0),
        9,
      );
      expect(secondsPerStep * 4).toBeLessThan(2 * seconds + 1e-9);
    }
    expect(answer.differ.seed).toEqual(["7", "7", "8"]);
    expect(answer.differ["encoder.width"]).toBeUndefined();
  });

  test("prints a table, and draws the losses with a panel for each method", async () => {
    const plot = join(work.path, "losses");
    const { code, stdout, stderr } = await m3ret(["runs", runs, "--plot", plot]);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^run +method +data +seed +steps/);
    for (const ending of ["svg", "png", "html", "json"]) expect(existsSync(`${plot}.${ending}`), ending).toBe(true);
    const svg = readFileSync(`${plot}.svg`, "utf8");
    for (const words of ["mae loss", "simdino loss", "8/mae", "Step"]) expect(svg).toContain(words);
    const { numbers } = JSON.parse(readFileSync(`${plot}.json`, "utf8")) as { numbers: unknown[] };
    expect(numbers).toHaveLength(3 * 4);
  });

  test("of a folder without runs is one line", async () => {
    const empty = join(work.path, "empty");
    mkdirSync(empty);
    const { code, stderr } = await m3ret(["runs", empty]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: .*empty: expected runs \(folders with a log\.jsonl\), found none\n$/);
  });
});
