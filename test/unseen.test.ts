/**
 * Files made by test/reference/unseen*.py, each beside the values that were put into it. Those in fixtures/unseen were once read wrongly
 * or not at all; M3RET_UNSEEN names folders with all of them, about 1,200.
 */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readFile } from "../src/datasets/read.js";
import { Random } from "../src/random.js";
import { inputErrorOf } from "./readersFixture.js";

interface Case {
  readonly refused?: string;
  readonly shape: readonly number[];
  /** What a lossy codec may be off by on 1 of 1000 values, and half of it on the others. */
  readonly near: number;
  readonly spacingMm?: readonly number[] | null;
  readonly orientation?: string | null;
  readonly dtype?: string;
}

const fixtures = fileURLToPath(new URL("./fixtures/unseen/", import.meta.url));
const more = process.env.M3RET_UNSEEN?.split(":") ?? [];
const folders = [...readdirSync(fixtures).map((name) => join(fixtures, name)), ...more];
const casesOf = (folder: string): [string, Case][] =>
  Object.entries(JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")) as Record<string, Case>);

describe.each(folders)("%s", (folder) => {
  test.each(casesOf(folder))("%s holds what was put into it, or is refused by name", async (name, expected) => {
    const path = join(folder, name);
    if (expected.refused !== undefined) {
      const line = await inputErrorOf(readFile(path));
      expect(line.slice(path.length)).toMatch(new RegExp(expected.refused, "i"));
      return;
    }
    const { pixels, shape, spacingMm, orientation, dtype } = await readFile(path);
    expect(shape).toEqual(expected.shape);
    const values = valuesIn(`${path}.f4`);
    expect(pixels.length).toBe(values.length);
    const { near } = expected;
    const off = values.map((value, i) =>
      Object.is(value, pixels[i]) ? 0 : Math.abs(value - pixels[i]) - 1e-6 * Math.abs(value),
    );
    expect(off.findIndex((by) => !(by <= near))).toBe(-1);
    expect(off.filter((by) => by > near / 2).length).toBeLessThanOrEqual(values.length / 1000);
    if (expected.dtype !== undefined) expect(dtype).toBe(expected.dtype);
    if (expected.orientation !== undefined) expect(orientation).toBe(expected.orientation);
    if (expected.spacingMm === null) expect(spacingMm).toBeNull();
    expected.spacingMm?.forEach((mm, i) => expect(Math.abs((spacingMm?.[i] ?? NaN) - mm)).toBeLessThan(1e-4 * mm));
  });
});

test("these files, cut or damaged, are samples or one line", async () => {
  const random = new Random(20);
  const scratch = mkdtempSync(join(tmpdir(), "m3ret-unseen-"));
  for (const folder of folders.slice(0, folders.length - more.length)) {
    for (const [name] of casesOf(folder)) {
      const bytes = readFileSync(join(folder, name));
      for (let i = 0; i < 8; i++) {
        const hurt = Uint8Array.from(bytes.subarray(0, i < 2 ? random.int(bytes.length) : bytes.length));
        if (i >= 2) for (let k = 0; k < i; k++) hurt[random.int(hurt.length)] ^= 1 << random.int(8);
        const path = join(scratch, `${i}-${basename(name)}`);
        writeFileSync(path, hurt);
        const thrown = await readFile(path).then(
          ({ pixels, shape }) => expect(pixels.length, path).toBe(shape.reduce((a, b) => a * b, 1)),
          (error: unknown) => error as Error,
        );
        if (!(thrown instanceof Error)) continue;
        expect(thrown.name, `${path} ${thrown.stack}`).toBe("InputError");
        expect(thrown.message).toMatch(/^[^\n]+$/);
      }
    }
  }
}, 60_000);

function valuesIn(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(Uint8Array.from(bytes).buffer);
}
