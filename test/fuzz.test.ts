/**
 * Readers on damaged files. `M3RET_FUZZ=10000` runs that many mutations instead of 150, `M3RET_FUZZ=2500-5000` some of
 * them; `M3RET_FUZZ_KEEP` names a folder for the files that fail.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { inspect } from "../src/datasets/inspect.js";
import { readFile } from "../src/datasets/read.js";
import { Random } from "../src/random.js";
import { InputError } from "../src/types.js";
import { corpus, fuzz, mutate, noBuild, whatIsWrong } from "./fuzzReaders.js";
import { whereRealdata } from "./readersFixture.js";

const [first, last] = (process.env.M3RET_FUZZ ?? "150").split("-").map(Number);
const [from, to] = last === undefined ? [0, first] : [first, last];
const where = whereRealdata.replace("skipped", "files of the repository only");

test.skipIf(noBuild)(
  `mutations ${from} to ${to} are read or refused in one line, in time${where} (needs dist: npm run build)`,
  { timeout: 1000 * (120 + (to - from)) },
  async () => {
    const report = await fuzz(from, to, 7, process.env.M3RET_FUZZ_KEEP);
    if (process.env.M3RET_FUZZ !== undefined) console.log(JSON.stringify(report, null, 1));
    expect(report.failures).toEqual([]);
    expect(report.read + report.refused).toBe(to - from);
    expect(report.read, "some damage is harmless").toBeGreaterThan(0);
    expect(report.refused).toBeGreaterThan(0);
  },
);

test("a folder of damaged slices is read or refused in one line, and so is each of its series", async () => {
  const slices = fileURLToPath(new URL("./fixtures/dicomVolumes/", import.meta.url));
  const names = ["two_series", "tilted_series", "repeated", "gzipped"];
  const folder = mkdtempSync(join(tmpdir(), "m3ret-series-fuzz-"));
  const counts = { read: 0, refused: 0 };
  for (let round = 0; round < 120; round++) {
    const random = new Random(`series ${round}`);
    const name = random.pick(names);
    const root = join(folder, String(round));
    cpSync(join(slices, name), root, { recursive: true });
    for (const file of readdirSync(root)) {
      if (random.chance(0.4)) writeFileSync(join(root, file), mutate(readFileSync(join(root, file)), random).bytes);
    }
    for await (const row of inspect([root])) {
      if (row.ok) counts.read++;
      else {
        counts.refused++;
        expect(row.error, `${name}, round ${round}`).toMatch(/^[^\n\0]{1,400}$/);
        expect(row.error).toContain(root);
      }
    }
    for (const path of [root, `${root}#1`]) {
      await readFile(path, { dicom: { volume: 0 } }).catch((error: unknown) => {
        expect(error, `${name}, round ${round}: ${String(error)}`).toBeInstanceOf(InputError);
      });
    }
    rmSync(root, { recursive: true });
  }
  expect(counts.read).toBeGreaterThan(50);
  expect(counts.refused).toBeGreaterThan(10);
});

test("a mutation depends on its seed alone, and changes almost every file", () => {
  const bytes = readFileSync(corpus()[0][0]);
  const changed = Array.from({ length: 200 }, (_, i) => mutate(bytes, new Random(i)).bytes);
  expect(changed.map((one) => one.toString("hex"))).toEqual(
    changed.map((_, i) => mutate(bytes, new Random(i)).bytes.toString("hex")),
  );
  expect(changed.filter((one) => one.equals(bytes)).length).toBeLessThan(20);
  expect(new Set(changed.map((one) => one.length)).size).toBeGreaterThan(20);
});

describe("the judge of an answer finds", () => {
  const refused = { ok: false, name: "InputError", message: "a.dcm: truncated", ms: 1, peakMiB: 100 };
  const judged = (answer: Parameters<typeof whatIsWrong>[0], stderr = "") =>
    whatIsWrong(answer, "/x/a.dcm", new Uint8Array(0), stderr)?.kind ?? null;

  test("nothing wrong with a refusal in one line", () => {
    expect(judged(refused)).toBeNull();
    expect(judged({ ok: true, shapeFits: true, ms: 1, peakMiB: 100 })).toBeNull();
  });

  test("every way to fail", () => {
    expect(judged("crash")).toBe("crash");
    expect(judged("hang")).toBe("hang");
    expect(judged({ ...refused, peakMiB: 5000 })).toBe("memory");
    expect(judged({ ...refused, name: "TypeError" })).toBe("not an InputError");
    expect(judged({ ...refused, message: "two\nlines" })).toBe("bad message");
    expect(judged({ ...refused, message: "a.dcm: got \ufffd\ufffd" })).toBe("bad message");
    expect(judged({ ...refused, message: "x".repeat(500) })).toBe("bad message");
    expect(judged({ ok: true, shapeFits: false, ms: 1, peakMiB: 100 })).toBe("shape");
    expect(judged(refused, "Error: x\n    at read (file.js:3:4)\n")).toBe("printed a stack");
  });
});
