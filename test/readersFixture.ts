/** What pydicom, nibabel and Pillow read in test/fixtures/readers (made by test/reference/readers.py). */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { statisticsOf } from "../src/datasets/inspect.js";
import { sizeOf, type Decoded } from "../src/types.js";

interface Expected extends Partial<Pick<Decoded, "kind" | "modality" | "spacingMm" | "orientation" | "dtype">> {
  readonly shape: readonly number[];
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly std: number;
  /** [[c, d, h, w], value]; null where the value is not finite. */
  readonly voxels: readonly (readonly [readonly number[], number | null])[];
}

const folder = fileURLToPath(new URL("./fixtures/readers/", import.meta.url));

export const fixture = (name: string): string => folder + name;

export const reference = JSON.parse(readFileSync(fixture("expected.json"), "utf8")) as Readonly<
  Record<string, Expected>
>;

/** Every file of the reference whose name ends so. */
export const referenced = (...endings: readonly string[]): string[] =>
  Object.keys(reference).filter((name) => endings.some((ending) => name.endsWith(ending)));

/** Voxels, statistics and whatever the reference says of the rest; float32 holds about seven digits. */
export function expectAsReference(name: string, decoded: Decoded): void {
  const expected = reference[name];
  expect(decoded.shape, name).toEqual(expected.shape);
  expect(decoded.pixels.length, name).toBe(sizeOf(decoded.shape));
  for (const [[c, d, h, w], value] of expected.voxels) {
    const [, depth, height, width] = decoded.shape;
    const ours = decoded.pixels[((c * depth + d) * height + h) * width + w];
    if (value === null) expect(Number.isFinite(ours), name).toBe(false);
    else
      expect(Math.abs(ours - value), `${name} at ${[c, d, h, w].join()}`).toBeLessThanOrEqual(1e-6 * Math.abs(value));
  }
  const ours = statisticsOf(decoded.pixels);
  const scale = Math.max(Math.abs(expected.min), Math.abs(expected.max));
  for (const key of ["min", "max", "mean", "std"] as const) {
    expect(Math.abs(ours[key] - expected[key]), `${name}: ${key}`).toBeLessThanOrEqual(1e-6 * scale);
  }
  for (const key of ["kind", "modality", "orientation", "dtype"] as const) {
    if (key in expected) expect(decoded[key], `${name}: ${key}`).toBe(expected[key]);
  }
  if (expected.spacingMm === null) expect(decoded.spacingMm, name).toBeNull();
  expected.spacingMm?.forEach((mm, i) => expect(decoded.spacingMm?.[i], `${name}: spacing`).toBeCloseTo(mm, 5));
}

/** Real files, on machines that have them. */
export const realdata = process.env.M3RET_REALDATA ?? resolve("../shared/realdata");
export const noRealdata = !existsSync(realdata);
export const whereRealdata = noRealdata ? " (skipped: no real data at M3RET_REALDATA or ../shared/realdata)" : "";

/** The message of the one-line InputError that a promise is rejected with. */
export async function inputErrorOf(promise: Promise<unknown>): Promise<string> {
  const thrown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(Error);
  const { name, message } = thrown as Error;
  expect(name, message).toBe("InputError");
  expect(message).not.toContain("\n");
  return message;
}
