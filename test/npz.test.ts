import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { zipSync } from "fflate";
import { dump } from "npyjs";
import { expect, test } from "vitest";
import { half } from "../src/npy.js";
import { readNpy, readNpz, writeNpz } from "../src/npz.js";
import { Random } from "../src/random.js";

/** Made by test/reference/mediaArrays.py. */
const media = (name: string): string => fileURLToPath(new URL(`./fixtures/media/${name}`, import.meta.url));
const expected = JSON.parse(readFileSync(media("arrays.json"), "utf8")) as Record<
  string,
  { shape: number[]; values: string[] }
>;

const scratch = mkdtempSync(join(tmpdir(), "m3ret-npz-"));
const write = (name: string, bytes: Uint8Array): string => {
  writeFileSync(join(scratch, name), bytes);
  return join(scratch, name);
};
const errorOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    expect((error as Error).name, (error as Error).stack).toBe("InputError");
    expect((error as Error).message).not.toContain("\n");
    return (error as Error).message;
  }
  return "";
};

test("every basic type of numpy is read exactly, in both byte orders and both memory orders", () => {
  const arrays = readNpz(media("arrays.npz"));
  expect([...arrays.keys()].sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { shape, values }] of Object.entries(expected)) {
    const array = arrays.get(name)!;
    expect(array.shape, name).toEqual(shape);
    const ours = Array.from(array.data);
    if (typeof ours[0] === "number") expect(ours, name).toEqual(values.map(Number));
    else expect(ours.map(String), name).toEqual(values);
  }
});

test("an .npy file alone is read too", () => {
  const { shape, data } = readNpy(media("big_fortran.npy"));
  expect({ shape, values: Array.from(data, String) }).toEqual(expected.i2_big_fortran);
  expect(errorOf(() => readNpy(media("arrays.npz")))).toMatch(
    /arrays.npz: expected an .npy array: it is no .npy array$/,
  );
});

test("half precision by hand", () => {
  expect([0x3c00, 0xc000, 0x0001, 0x7bff, 0xfc00].map(half)).toEqual([1, -2, 2 ** -24, 65504, -Infinity]);
  expect(half(0x7e00)).toBeNaN();
});

test("ZIP64 directories are read", () => {
  const arrays = readNpz(media("zip64.npz"));
  expect(Array.from(arrays.get("x")!.data)).toEqual(Array.from({ length: 12 }, (_, i) => i));
  expect(arrays.get("y")).toMatchObject({ shape: [5] });
});

test("what we write is read back", () => {
  const path = join(scratch, "ours.npz");
  const data = Float32Array.from({ length: 6 }, (_, i) => i / 3);
  writeNpz(path, { x: { shape: [2, 3], data }, words: { shape: [2], data: ["a", "bcd"] } });
  const arrays = readNpz(path);
  expect(arrays.get("x")).toEqual({ shape: [2, 3], data });
  expect(arrays.get("words")!.data).toEqual(["a", "bcd"]);
});

test("a file that unpacks to a thousand times its size is refused, with the limit named", () => {
  const bomb = write("bomb.npz", zipSync({ "x.npy": new Uint8Array(dump(new Uint8Array(2 ** 25), [2 ** 25])) }));
  expect(errorOf(() => readNpz(bomb))).toMatch(
    /bomb.npz: cannot read the array x: it unpacks to \d+ times its size, over the limit maxRatio, 500$/,
  );
  expect(readNpz(bomb, { maxRatio: 2000 }).get("x")!.shape).toEqual([2 ** 25]);
  expect(errorOf(() => readNpz(media("arrays.npz"), { maxBytes: 100 }))).toMatch(/over the limit maxBytes, 100$/);
});

test("objects are never unpickled, tables and complex numbers are refused by name", () => {
  const npy = (descr: string): Uint8Array => {
    const header = `{'descr': ${descr}, 'fortran_order': False, 'shape': (1,), }`.padEnd(117) + "\n";
    return Buffer.concat([
      Uint8Array.of(0x93),
      Buffer.from("NUMPY\x01\0"),
      Uint8Array.of(118, 0),
      Buffer.from(header),
      new Uint8Array(16),
    ]);
  };
  const said = (descr: string) => errorOf(() => readNpz(write("odd.npz", zipSync({ "x.npy": npy(descr) }))));
  expect(said("'|O'")).toMatch(/it holds Python objects, which are never unpickled/);
  expect(said("[('a', '<f4')]")).toMatch(/expected an array of one type, got a table/);
  expect(said("'<c8'")).toMatch(/type <c8 is not supported/);
  expect(said("'<\n8'")).toMatch(/type \(damaged\) is not supported/); // damage can put anything there, a line break too
});

test("cut and damaged files are refused in one line, or hold what they held", () => {
  const random = new Random(2);
  for (const name of ["arrays.npz", "zip64.npz"]) {
    const bytes = readFileSync(media(name));
    for (let i = 0; i < 60; i++) {
      const hurt = Uint8Array.from(i < 20 ? bytes.subarray(0, random.int(bytes.length)) : bytes);
      if (i >= 20) for (let k = 0; k < 1 + (i % 8); k++) hurt[random.int(hurt.length)] ^= 1 << random.int(8);
      const path = write("hurt.npz", hurt);
      const message = errorOf(() => readNpz(path));
      if (message !== "") expect(message).toMatch(new RegExp(`^${path}: `));
      else expect(i, "a cut file was read").toBeGreaterThanOrEqual(20);
    }
  }
});
