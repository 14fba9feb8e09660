import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../src/random.js";
import {
  cache,
  canMount,
  listing,
  m3ret,
  newFolder,
  start,
  until,
  whyNoDisk,
  withSmallDisk,
  workFolder,
} from "./cliFixture.js";

const work = workFolder();
afterAll(work.remove);

/** Few steps of the smallest preset; a state after every one of them, unless said otherwise. */
function pretrain(method: "mae" | "simdino", out: string, ...more: string[]): string[] {
  // MAE on the engine that is the default here, SimDINO on the eager one, which computes in the thread of the signals.
  const particular = { mae: ["--steps", "30"], simdino: ["--steps", "6", "--engine", "eager"] }[method];
  const fixed = ["--preset", "smoke", ...particular, "--save-every", "1", "--cache", cache];
  return ["pretrain", "--method", method, ...fixed, "--out", out, ...more];
}

/** Everything of the log that does not depend on the clock. */
function losses(folder: string): unknown[] {
  const lines = readFileSync(join(folder, "log.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => {
    const { secondsPerStep, inputSeconds, inputShare, ...rest } = JSON.parse(line) as Record<string, number | string>;
    expect([secondsPerStep, inputSeconds, inputShare].every((time) => Number(time) >= 0)).toBe(true);
    return rest;
  });
}

function expectSameRun(folder: string, undisturbed: string): void {
  expect(losses(folder)).toEqual(losses(undisturbed));
  for (const name of ["encoder.safetensors", "state.safetensors", "config.json"]) {
    const [ours, theirs] = [folder, undisturbed].map((of) => readFileSync(join(of, name)));
    expect(ours.equals(theirs), `${name} has the same bytes`).toBe(true);
  }
}

const stateOf = (folder: string) => join(folder, "state.safetensors");

const undisturbed = { mae: join(work.path, "mae"), simdino: join(work.path, "simdino") };

beforeAll(async () => {
  expect(await m3ret(["datasets", "phantom-smoke", "--cache", cache])).toMatchObject({ code: 0 });
  for (const method of ["mae", "simdino"] as const) {
    const { code, stderr } = await m3ret(pretrain(method, undisturbed[method], "--save-every", "50"));
    expect(code, stderr).toBe(0);
  }
}, 300_000);

describe("pretraining that is stopped", () => {
  test("is left alone by a second process: one line, exit code 2, and the first goes on as if nothing had been", async () => {
    const out = join(newFolder(work.path), "run");
    const run = start(pretrain("mae", out, "--save-every", "50"));
    await until(() => existsSync(join(out, "running.json")), run);
    const second = await m3ret(pretrain("mae", out, "--resume"));
    expect(second.code).toBe(2);
    expect(second.stderr.trim().split("\n").at(-1)).toMatch(/run: process \d+ on .* has been training here since /);
    expect((await run.finished).code).toBe(0);
    expectSameRun(out, undisturbed.mae);
    expect(existsSync(join(out, "running.json"))).toBe(false);
  }, 120_000);

  test("by kill -9, goes on with --resume as if nothing had been: every loss and every weight, bit for bit", async () => {
    const out = join(newFolder(work.path), "run");
    const run = start(pretrain("mae", out, "--save-every", "3"));
    await until(() => existsSync(stateOf(out)), run);
    run.process.kill("SIGKILL");
    expect((await run.finished).code).toBe(null);
    expect(losses(out).length).toBeLessThan(30);
    expect(existsSync(join(out, "encoder.safetensors"))).toBe(false);

    const { code, stderr } = await m3ret(pretrain("mae", out, "--save-every", "3", "--resume"));
    expect(code, stderr).toBe(0);
    expectSameRun(out, undisturbed.mae);
  });

  test("by kill -9 again and again, also in the middle of writing a state, gives the same run", async () => {
    const out = join(newFolder(work.path), "run");
    const random = new Random("kills");
    for (let kill = 0; kill < 4; kill++) {
      const run = start(pretrain("mae", out, "--resume"));
      const isWriting = (name: string) => name.startsWith("state.") && name.endsWith(`.${run.process.pid}.tmp`);
      await until(() => existsSync(out) && readdirSync(out).some(isWriting), run);
      // Half of the kills fall into the first writing of a state, the others some steps later.
      if (kill % 2 === 1) await new Promise((resolve) => setTimeout(resolve, random.int(100)));
      run.process.kill("SIGKILL");
      expect((await run.finished).code).toBe(null);
    }
    // What is left of a state that was being written has another name, and must not matter.
    writeFileSync(`${stateOf(out)}.1.tmp`, readFileSync(stateOf(undisturbed.mae)).subarray(0, 100_000));

    const { code, stderr } = await m3ret(pretrain("mae", out, "--resume"));
    expect(code, stderr).toBe(0);
    expectSameRun(out, undisturbed.mae);
  });

  test("by Ctrl-C, ends after the step with 130, says how to go on, and goes on", async () => {
    const out = join(newFolder(work.path), "run");
    const run = start(pretrain("simdino", out));
    await until(() => existsSync(stateOf(out)), run);
    run.process.kill("SIGINT");
    const { code, stdout, stderr } = await run.finished;
    expect(code, stderr).toBe(130);
    expect(stdout).toBe("");
    const [, stoppedAt] = /^stopped at step (\d) of 6; the same command with --resume goes on$/m.exec(stderr) ?? [];
    expect(losses(out)).toHaveLength(Number(stoppedAt));
    expect(stderr).not.toContain("    at ");
    expect(existsSync(join(out, "encoder.safetensors"))).toBe(false);

    const resumed = await m3ret(pretrain("simdino", out, "--resume"));
    expect(resumed.code, resumed.stderr).toBe(0);
    expectSameRun(out, undisturbed.simdino);
  });

  test.skipIf(!canMount)(`by a disk that fills up, keeps its last state and goes on from it${whyNoDisk}`, () =>
    withSmallDisk("48m", async (disk) => {
      const out = join(disk, "run");
      const run = start(pretrain("mae", out));
      await until(() => existsSync(stateOf(out)), run);
      const ballast = join(disk, "ballast");
      const { bavail, bsize } = statfsSync(disk);
      writeFileSync(ballast, new Uint8Array(bavail * bsize - 2 ** 20)); // 1 MB is left: a state needs 8
      const { code, stdout, stderr } = await run.finished;
      expect(code, stderr).toBe(2);
      expect(stdout).toBe("");
      expect(stderr).toMatch(/^error: .*state\.safetensors: no space left on the device$/m);
      expect(readdirSync(out).sort()).toEqual([
        "events.out.tfevents.0.m3ret",
        "log.jsonl",
        "run.json",
        "state.safetensors",
      ]);

      rmSync(ballast);
      const resumed = await m3ret(pretrain("mae", out, "--resume"));
      expect(resumed.code, resumed.stderr).toBe(0);
      expectSameRun(out, undisturbed.mae);
    }),
  );
});

describe("a folder that holds a run", () => {
  test.each<[title: string, args: string[], says: RegExp]>([
    ["is not written over without --resume", [], /^error: .*: holds a mae run already; resume it or choose another/m],
    [
      "is not gone on with for another number of steps",
      ["--resume", "--steps", "20"],
      /cannot resume: steps was 30, now 20$/m,
    ],
    [
      "is not gone on with by another method",
      ["--resume", "--method", "simdino"],
      /cannot resume: method was "mae", now/,
    ],
  ])("%s", async (_, args, says) => {
    const before = listing(undisturbed.mae);
    const { code, stdout, stderr } = await m3ret([...pretrain("mae", undisturbed.mae), ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(says);
    const lines = stderr.trimEnd().split("\n"); // on a busy machine, progress of preparing the data goes before
    expect(lines.filter((line) => line.startsWith("error: "))).toEqual(lines.slice(-1));
    expect(listing(undisturbed.mae)).toEqual(before);
  });

  test("and is complete has nothing left to do, and says so", async () => {
    const before = losses(undisturbed.mae);
    const { code, stdout, stderr } = await m3ret(pretrain("mae", undisturbed.mae, "--resume"));
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("mae had done its 30 steps already");
    expect(losses(undisturbed.mae)).toEqual(before);
  });

  test("of which the state was cut short is refused in one line", async () => {
    const out = newFolder(work.path);
    cpSync(undisturbed.mae, out, { recursive: true });
    truncateSync(stateOf(out), 1_000_000);
    const { code, stdout, stderr } = await m3ret(pretrain("mae", out, "--resume"));
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(
      /^error: .*state\.safetensors: expected a safetensors file of float32 arrays, got [^\n]+\n$/,
    );
  });
});
