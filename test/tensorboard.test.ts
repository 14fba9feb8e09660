import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { crc32c, encodeEvents, EventFile, EVENTS, maskedCrc32c } from "../src/trainers/tensorboard.js";
import type { LogLine } from "../src/trainers/pretrain.js";
import { scratch } from "./helpers.js";

/** What tensorboard itself read from a file of ours: test/reference/eventFile.py. */
interface Reference {
  readonly version: string;
  readonly lines: readonly LogLine[];
  readonly from: number;
  readonly bytes: string;
  readonly tags: readonly string[];
  readonly scalars: Readonly<Record<string, readonly (readonly [step: number, wallTime: number, value: number])[]>>;
}
const reference = JSON.parse(readFileSync(new URL("fixtures/eventFile.json", import.meta.url), "utf8")) as Reference;

const ascii = (text: string) => new TextEncoder().encode(text);

describe("CRC-32C", () => {
  test("of 123456789 is the check value of the standards", () => {
    expect(crc32c(ascii("123456789"))).toBe(0xe3069283);
  });

  test("of 32 bytes is as RFC 3720 lists it: zeros, ones, rising, falling", () => {
    const rising = Uint8Array.from({ length: 32 }, (_, i) => i);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(rising)).toBe(0x46dd794e);
    expect(crc32c(rising.reverse())).toBe(0x113fdb5c);
  });

  test("masked is turned by 15 bits and moved by TFRecord's constant", () => {
    const crc = 0xe3069283n;
    const turned = ((crc >> 15n) | (crc << 17n)) & 0xffffffffn;
    expect(BigInt(maskedCrc32c(ascii("123456789")))).toBe((turned + 0xa282ead8n) & 0xffffffffn);
  });
});

describe("an event file", () => {
  test("is, byte for byte, the one that tensorboard read back", () => {
    const folder = scratch();
    const spent = reference.lines.reduce((sum, { secondsPerStep }) => sum + secondsPerStep, 0);
    new EventFile(folder, reference.lines, reference.from + spent);
    expect(readFileSync(join(folder, EVENTS)).toString("base64")).toBe(reference.bytes);
  });

  test("has every number of the log as tensorboard gives it back", () => {
    expect(reference.tags).toContain("train/agreement");
    for (const line of reference.lines) {
      for (const [name, value] of Object.entries(line)) {
        if (typeof value !== "number" || name === "step") continue;
        const group = ["secondsPerStep", "inputSeconds", "inputShare"].includes(name) ? "speed" : "train";
        const found = reference.scalars[`${group}/${name}`].find(([step]) => step === line.step)!;
        expect(found[2]).toBeCloseTo(value, 6);
      }
    }
    const times = reference.scalars["train/loss"].map(([, wallTime]) => wallTime);
    expect(times[0] - reference.from).toBeCloseTo(reference.lines[0].secondsPerStep, 5);
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  test("that follows a log in pieces is the one of the whole log", () => {
    const [whole, pieces] = [scratch(), scratch()];
    const [first, ...rest] = reference.lines;
    new EventFile(whole, [], 1000).follow(reference.lines);
    const file = new EventFile(pieces, [], 1000);
    file.follow([first]);
    file.follow([first]);
    file.follow([first, ...rest]);
    const [a, b] = [whole, pieces].map((folder) => readFileSync(join(folder, EVENTS)));
    expect(a.equals(b)).toBe(true);
  });

  test("is written afresh where a run goes on, so that what a crash left behind is gone", () => {
    const folder = scratch();
    new EventFile(folder, reference.lines, 2000);
    const before = readFileSync(join(folder, EVENTS));
    appendFileSync(join(folder, EVENTS), "half a record");
    new EventFile(folder, reference.lines, 2000);
    expect(readFileSync(join(folder, EVENTS)).equals(before)).toBe(true);
    expect(encodeEvents(reference.lines, 0).bytes.length).toBeLessThan(before.length);
    expect(existsSync(join(folder, EVENTS))).toBe(true);
  });
});
