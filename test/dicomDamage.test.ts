/** Damaged DICOM files: refused in one line, or read; never a crash, a hang or a stack trace. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { decodeDicom } from "../src/datasets/dicom.js";
import { Random } from "../src/random.js";
import { fixture, noRealdata, realdata, whereRealdata } from "./readersFixture.js";

const ROUNDS = Number(process.env.M3RET_FUZZ_ROUNDS ?? 300);
const SECONDS = 5; // for one damaged file of at most 300 kB, on a busy machine

type Damage = (bytes: Buffer, random: Random) => Buffer;

const damages: Readonly<Record<string, Damage>> = {
  "some bits turned": (bytes, random) => {
    for (let i = 0; i <= random.int(8); i++) bytes[132 + random.int(bytes.length - 132)] ^= 1 << random.int(8);
    return bytes;
  },
  "some bytes of the header overwritten": (bytes, random) => {
    const end = Math.min(bytes.length, 3000);
    for (let i = 0; i <= random.int(4); i++) bytes[132 + random.int(end - 132)] = random.int(256);
    return bytes;
  },
  "its end cut off": (bytes, random) => bytes.subarray(0, random.int(bytes.length)),
  "a length made huge": (bytes, random) => {
    const at = 132 + random.int(Math.min(bytes.length, 6000) - 140);
    if (random.int(2) === 0) bytes.writeUInt32LE(0xffffffff - random.int(3), at & ~1);
    else bytes.writeUInt16LE(0xffff - random.int(3), at & ~1);
    return bytes;
  },
  "a piece taken out": (bytes, random) => {
    const at = 132 + random.int(bytes.length - 132);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.int(64))]);
  },
  "the head of its codestream overwritten": (bytes, random) => {
    const pixels = Math.max(bytes.lastIndexOf("\xe0\x7f\x10\0", undefined, "latin1"), 132);
    for (let i = 0; i <= random.int(3); i++)
      bytes[Math.min(bytes.length - 1, pixels + random.int(200))] = random.int(256);
    return bytes;
  },
};

async function outcome(bytes: Buffer): Promise<string> {
  const began = performance.now();
  const said = await decodeDicom(bytes, "damaged.dcm").then(
    ({ pixels, shape }) => {
      expect(pixels.length).toBe(shape.reduce((a, b) => a * b));
      return "read";
    },
    (error: Error) => {
      expect(error.name, error.stack).toBe("InputError");
      expect(error.message).not.toContain("\n");
      expect(error.message.startsWith("damaged.dcm: ")).toBe(true);
      return "refused";
    },
  );
  expect((performance.now() - began) / 1000).toBeLessThan(SECONDS);
  return said;
}

async function damage(files: readonly Buffer[], how: Damage, seed: string): Promise<void> {
  const random = new Random(seed);
  const counts: Record<string, number> = { read: 0, refused: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = how(Buffer.from(random.pick(files)), random);
    if (bytes.length < 200) continue;
    try {
      counts[await outcome(bytes)]++;
    } catch (error) {
      throw new Error(`round ${round} of ${seed}`, { cause: error });
    }
  }
  expect(counts.refused).toBeGreaterThan(0);
}

const small = readdirSync(fixture(""))
  .filter((name) => name.endsWith(".dcm"))
  .map((name) => readFileSync(fixture(name)));

describe("a file of our own", () => {
  test.each(Object.entries(damages))(
    "with %s is read or refused in one line",
    (name, how) => damage(small, how, name),
    120_000,
  );
});

describe.skipIf(noRealdata)(`a real file${whereRealdata}`, () => {
  const files = noRealdata
    ? []
    : readdirSync(join(realdata, "dicom-conformance"), { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".dcm"))
        .map((name) => readFileSync(join(realdata, "dicom-conformance", name)))
        .filter((bytes) => bytes.length < 300_000);

  test.each(Object.entries(damages))(
    "with %s is read or refused in one line",
    (name, how) => damage(files, how, name),
    300_000,
  );
});
