import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { lockRun } from "../src/trainers/runLock.js";
import { newFolder, workFolder } from "./cliFixture.js";

const work = workFolder();
afterAll(work.remove);

/** A folder in which `pid` on `host` trains. */
function heldBy(pid: number, host = hostname()): string {
  const folder = newFolder(work.path);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "running.json"), JSON.stringify({ pid, host, since: "2026-01-02T03:04:05.000Z" }));
  return folder;
}

test("a folder in which a living process trains is refused, naming the process", () => {
  const folder = heldBy(process.ppid);
  const said = `${folder}: process ${process.ppid} on ${hostname()} has been training here since 2026-01-02T03:04:05.000Z; `;
  expect(() => lockRun(folder)).toThrow(said);
  expect(JSON.parse(readFileSync(join(folder, "running.json"), "utf8"))).toMatchObject({ pid: process.ppid });
});

test("what a dead process left is taken over", () => {
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const folder = heldBy(dead);
  const release = lockRun(folder);
  expect(JSON.parse(readFileSync(join(folder, "running.json"), "utf8"))).toMatchObject({ pid: process.pid });
  release();
  expect(readdirSync(folder)).toEqual([]);
});

test("of another machine nobody can tell, so it is refused, and the way out is said", () => {
  expect(() => lockRun(heldBy(1, "elsewhere"))).toThrow("or, if it is gone, remove running.json");
});

test("a mark that was cut short is taken over", () => {
  const folder = heldBy(process.ppid);
  writeFileSync(join(folder, "running.json"), '{"pid":');
  lockRun(folder)();
  expect(readdirSync(folder)).toEqual([]);
});

test("folders that were made for a run that came to nothing are removed again", () => {
  const outer = newFolder(work.path);
  const folder = join(outer, "a", "b");
  const release = lockRun(folder);
  expect(existsSync(join(folder, "running.json"))).toBe(true);
  release();
  expect(existsSync(join(outer, "a"))).toBe(false);
});
