/** From public sets on a disk to an encoder that is judged on them, by the command line as a user has it. */
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { m3ret, m3retJson, packageRoot, start, until, workFolder } from "./cliFixture.js";
import { readRunRecord } from "../src/runRecord.js";
import type { RunSummary } from "../src/runs.js";
import { noRealdata, realdata, whereRealdata } from "./readersFixture.js";
import { amos22, busi, chestXray14, hyperKvasir, totalSegmentator } from "./standIns.js";

const work = workFolder();
const data = join(work.path, "data");
const env = { M3RET_PUBLIC: data, M3RET_CACHE: join(work.path, "cache"), M3RET_REALDATA: realdata };
const where = { cwd: work.path, env };
const recipe = join(packageRoot, "recipes/m3ret-like.yaml");
const SETS = ["chestxray14", "hyperkvasir", "busi", "totalsegmentator", "amos22"];
const damaged = ["images_002/images/00000003_000.png", "images_002/images/00000001_001.png"];
afterAll(work.remove);

beforeAll(async () => {
  await chestXray14(join(data, "chestxray14"));
  await hyperKvasir(join(data, "hyperkvasir"));
  await busi(join(data, "busi"));
  totalSegmentator(join(data, "totalsegmentator"));
  amos22(join(data, "amos22"));
  for (const path of damaged) truncateSync(join(data, "chestxray14", path), 200);
}, 180_000);

const manifestOf = (name: string) => join(work.path, `${name}.jsonl`);
const pretrain = (out: string, ...more: string[]) => [
  ...["pretrain", "--method", "mae", "--preset", "smoke", "--data", recipe, "--manifest", ...SETS.map(manifestOf)],
  ...["--size", "8,32,32", "--steps", "22", "--save-every", "1", "--out", out, ...more],
];

function losses(out: string): unknown[] {
  const lines = readFileSync(join(out, "log.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => {
    const { step, loss, gradientNorm, bucket } = JSON.parse(line) as Record<string, unknown>;
    return { step, loss, gradientNorm, bucket };
  });
}

const linesOf = (path: string) =>
  readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { path: string; reason: string });

describe("the recipe m3ret-like on sets as their publishers lay them out", () => {
  test("each set is listed, and with --check each file decoded: damaged ones go to the report", async () => {
    for (const name of SETS) {
      const args = ["manifest", name, "--out", manifestOf(name)];
      expect(await m3retJson(args, where)).toMatchObject({ name, decoded: null, quarantined: 0 });
    }
    const out = join(work.path, "checked.jsonl");
    const check = ["manifest", "chestxray14", "--check", "--out", out];
    expect(await m3retJson(check, where)).toMatchObject({ rows: 38, decoded: 40, quarantined: 2 });
    expect(linesOf(`${out}.quarantine.jsonl`).map(({ path }) => path)).toEqual([...damaged].sort());
    // What has been decoded is not decoded again; a kill leaves half a line, which is then made up.
    const record = `${out}.checked.jsonl`;
    truncateSync(record, readFileSync(record).length - 20);
    expect(await m3retJson(check, where)).toMatchObject({ rows: 38, decoded: 1, quarantined: 2 });
  }, 180_000);

  test("it trains, killed in the middle of an epoch and resumed, to the same losses and bytes; MRI is left out", async () => {
    const [straight, killed] = [join(work.path, "straight"), join(work.path, "killed")];
    const said = await m3retJson<{
      epochs: number;
      leftOut: { mri: number; judged: number };
      quarantine: { files: number; report: string };
      plan: { name: string }[];
    }>(pretrain(straight), where);
    expect(said.leftOut.mri).toBe(2);
    expect(said.leftOut.judged).toBeGreaterThan(20);
    expect(said.plan.map(({ name }) => name)).toEqual([
      ...["xray image", "ultrasound image", "endoscopy image", "endoscopy video", "ct volume"],
    ]);
    expect(said.epochs).toBeGreaterThan(1);
    expect(said.epochs % 1).not.toBe(0);
    expect(said.quarantine).toEqual({ files: 2, report: join(straight, "quarantine.jsonl") });
    expect(
      linesOf(said.quarantine.report)
        .map(({ path }) => path)
        .sort(),
    ).toEqual([...damaged].sort());

    const run = start(pretrain(killed, "--keep-prepared"), where);
    const logged = () => existsSync(join(killed, "log.jsonl")) && losses(killed).length >= 4;
    await until(logged, run);
    run.process.kill("SIGKILL");
    expect((await run.finished).code).toBe(null);
    expect(losses(killed).length).toBeLessThan(22);
    const { code, stdout, stderr } = await m3ret(pretrain(killed, "--keep-prepared", "--resume"), where);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("2 files could not be read and were passed over");
    expect(stdout).toMatch(/prepared samples: \d+ written, [\d.]+ MB, \d+ read, in .*prepared/);
    expect(losses(killed)).toEqual(losses(straight));
    const [whole, inTwo] = [straight, killed].map((run) => readRunRecord(run)!);
    expect(whole).toMatchObject({ method: "mae", steps: 22, config: { leftOut: said.leftOut, sets: SETS } });
    expect(whole.data.hash).toMatch(/^[0-9a-f]{64}$/);
    const { train: trained, gallery, query } = whole.data.counts.mri!;
    expect([trained, gallery + query]).toEqual([0, said.leftOut.mri]);
    expect(inTwo).toMatchObject({ data: whole.data, config: whole.config });
    expect(inTwo.sittings.map(({ fromStep }) => fromStep > 0)).toEqual([false, true]);
    const listed = await m3retJson<{ runs: RunSummary[]; differ: object }>(["runs", work.path]);
    expect(listed.runs.map(({ run, data }) => [run, data])).toEqual([
      ["killed", whole.data.name],
      ["straight", whole.data.name],
    ]);
    expect(listed.differ).toEqual({});
    for (const name of ["encoder.safetensors", "config.json"]) {
      expect(readFileSync(join(killed, name)).equals(readFileSync(join(straight, name))), name).toBe(true);
    }
  }, 180_000);

  test("a run does not go on with other files", async () => {
    const args = pretrain(join(work.path, "straight"), "--resume").filter((arg) => arg !== manifestOf("busi"));
    const { code, stderr } = await m3ret([...args, "--manifest", manifestOf("busi")], where);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: .*cannot resume: (sets|manifest) was .*\n$/);
  });

  test("its encoder embeds each set by name, at the size that it was trained at, and is judged", async () => {
    const labels = { chestxray14: "finding", hyperkvasir: "class", busi: "finding" };
    for (const [name, label] of Object.entries(labels)) {
      const out = join(work.path, `${name}.npz`);
      const embedded = await m3retJson<{ n: number; d: number }>(
        ["embed", "--encoder", join(work.path, "straight"), "--preset", "smoke", "--data", name, "--out", out],
        where,
      );
      expect(embedded.n).toBeGreaterThan(8);
      const judged = await m3retJson<{ n: { query: number }; recallAtK: Record<string, { value: number }> }>(
        ["evaluate", "--query", out, "--gallery", out, "--label", label, "--k", "1"],
        where,
      );
      expect(judged.n.query).toBeGreaterThan(2);
      expect(judged.recallAtK["1"].value).toBeGreaterThanOrEqual(0);
      // Findings of a chest X-ray are a set, which the file of vectors knows of itself.
      expect([name, "ndcgAtK" in judged]).toEqual([name, name === "chestxray14"]);
    }
  }, 180_000);

  test("without manifests the sets that are here are listed on the way, and those that are not are named", async () => {
    const out = join(work.path, "listed");
    const args = ["pretrain", "--method", "mae", "--preset", "smoke", "--data", recipe, "--size", "8,32,32"];
    const { code, stderr } = await m3ret([...args, "--steps", "2", "--out", out], where);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain("m3ret-like.yaml: not here: mura, fetal-planes, echonet-dynamic");
    const nowhere = { ...where, env: { ...env, M3RET_PUBLIC: join(work.path, "nowhere") } };
    const none = await m3ret([...args, "--out", join(work.path, "none")], nowhere);
    expect(none.code).toBe(2);
    expect(none.stderr).toMatch(/^error: .*none of its sets is here: chestxray14, mura.*--manifest\n$/);
    expect(existsSync(join(work.path, "none"))).toBe(false);
  }, 180_000);

  test("one set trains by its name alone, read on the way", async () => {
    const out = join(work.path, "one");
    const args = ["pretrain", "--method", "simdino", "--preset", "smoke", "--data", "busi", "--size", "8,32,32"];
    const said = await m3retJson<{ samples: number; data: string }>([...args, "--steps", "2", "--out", out], where);
    expect(said).toMatchObject({ samples: 18, data: "busi" });
  }, 180_000);

  test("a folder of one's own is read on the way where its files are listed, and the encoder judged a part at a time", async () => {
    const own = join(work.path, "own");
    mkdirSync(own);
    const rows = Array.from({ length: 24 }, (_, n) => `${n}.png,xray,${n % 2 ? "odd" : "even"},p${n >> 1}`);
    const files = Object.keys(Array.from({ length: 24 })).map(async (n) => {
      const grey = { width: 32, height: 32, channels: 3, background: { r: 10 * +n, g: 10 * +n, b: 10 * +n } } as const;
      writeFileSync(join(own, `${n}.png`), await sharp({ create: grey }).png().toBuffer());
    });
    await Promise.all(files);
    writeFileSync(join(own, "labels.csv"), ["path,modality,class,group", ...rows].join("\n") + "\n");
    const [list, out] = [join(work.path, "own.jsonl"), join(work.path, "own-run")];
    expect(await m3retJson(["manifest", own, "--out", list], where)).toMatchObject({ rows: 24, quarantined: 0 });
    const args = ["pretrain", "--method", "mae", "--preset", "smoke", "--data", own, "--size", "8,32,32"];
    const said = await m3retJson<{ samples: number; leftOut: { judged: number } }>(
      [...args, "--manifest", list, "--steps", "2", "--out", out],
      where,
    );
    expect(said.samples + said.leftOut.judged).toBe(24);
    expect(readRunRecord(out)).toMatchObject({ steps: 2, data: { counts: { xray: { train: said.samples } } } });
    const vectors = [
      "embed",
      "--encoder",
      out,
      "--preset",
      "smoke",
      "--data",
      own,
      "--out",
      join(work.path, "own.npz"),
    ];
    expect(await m3retJson(vectors, where)).toMatchObject({ n: said.leftOut.judged });
  }, 180_000);

  test("the whole story runs on a set by its name", async () => {
    const [out, runs] = [join(work.path, "figures"), join(work.path, "runs")];
    const args = ["reproduce", "--preset", "smoke", "--data", "busi", "--size", "8,32,32", "--no-notebooks"];
    const { code, stderr } = await m3ret([...args, "--out", out, "--runs", runs], where);
    expect(code, stderr).toBe(0);
    const results = JSON.parse(readFileSync(join(out, "results.json"), "utf8")) as { data: Record<string, unknown> };
    expect(results.data).toMatchObject({ name: "busi", label: "finding" });
  }, 180_000);
});

test.skipIf(noRealdata)(
  `real files of every modality train through a recipe${whereRealdata}`,
  async () => {
    const [out, manifest] = [join(work.path, "real"), join(work.path, "realdata.jsonl")];
    mkdirSync(out, { recursive: true });
    const mixed = join(work.path, "real.yaml");
    const shares = "{ xray: 1, ultrasound: 1, endoscopy: 1, ct: { image: 1, volume: 1 } }";
    writeFileSync(mixed, `title: Real files\nabout: a test\nshares: ${shares}\nsets: [realdata]\n`);
    expect(await m3ret(["manifest", "realdata", "--out", manifest], where)).toMatchObject({ code: 0 });
    const args = ["pretrain", "--method", "mae", "--preset", "smoke", "--data", mixed, "--manifest", manifest];
    const said = await m3retJson<{ leftOut: { mri: number }; quarantine: { files: number }; plan: { name: string }[] }>(
      [...args, "--size", "8,32,32", "--steps", "6", "--out", join(out, "run")],
      where,
    );
    expect(said.leftOut.mri).toBeGreaterThan(0);
    expect(said.plan.map(({ name }) => name)).toContain("ct volume");
    // A DICOM file may turn out to be a loop of ultrasound; nothing else is passed over.
    const report = join(out, "run", "quarantine.jsonl");
    const unread = existsSync(report) ? linesOf(report) : [];
    for (const { reason } of unread) expect(reason).toMatch(/\.dcm: expected image, as the manifest says, got video/);
  },
  120_000,
);
