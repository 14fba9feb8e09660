import { mkdtempSync, readFileSync, readdirSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readBytes, writeAtomic } from "../src/files.js";

const folder = () => mkdtempSync(join(tmpdir(), "m3ret-files-"));

test("chunks arrive in order and no temporary file stays", () => {
  const dir = folder();
  writeAtomic(join(dir, "a/b.txt"), "one ", new Uint8Array([116, 119, 111]));
  expect(readFileSync(join(dir, "a/b.txt"), "utf8")).toBe("one two");
  expect(readdirSync(join(dir, "a"))).toEqual(["b.txt"]);
});

test("a write that fails names the file and leaves nothing behind", () => {
  const dir = folder();
  mkdirSync(join(dir, "taken")); // a folder cannot be replaced by a file
  expect(() => writeAtomic(join(dir, "taken"), "x")).toThrow(/taken: /);
  expect(readdirSync(dir)).toEqual(["taken"]);
});

test("a path through a file is one line that names it", () => {
  const file = join(folder(), "file");
  writeAtomic(file, "x");
  expect(() => writeAtomic(join(file, "below"), "x")).toThrow(/file\/below: expected a folder, got a file$/);
});

test("a missing file is named", () => {
  expect(() => readBytes("/nowhere/at/all")).toThrow("/nowhere/at/all: no such file or folder");
});

test("a line end or an escape sequence in a file's name stays within one line of text", () => {
  const odd = join(folder(), "a\nb\u001b[31m.dcm");
  expect(() => readBytes(odd)).toThrow(/a\\nb\\u001b\[31m\.dcm: no such file or folder$/);
});
