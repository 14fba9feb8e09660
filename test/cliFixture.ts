/** The command line as a user has it: the built `dist/cli.js`, as a process of its own. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

export const packageRoot = fileURLToPath(new URL("..", import.meta.url));
const cli = join(packageRoot, "dist/cli.js");

export interface Finished {
  /** The exit code, or null where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
}

export interface Where {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts `m3ret` with these arguments; its output is collected. */
export function start(args: readonly string[], { cwd, env }: Where = {}): Started {
  if (!existsSync(cli)) throw new Error(`${cli} is not there: build it first (npm run build)`);
  const child = spawn(process.execPath, [cli, ...args], { cwd, env: { ...process.env, ...env } });
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("utf8").on("data", (t) => (said[name] += t));
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...said }));
  });
  return { process: child, finished };
}

/** Runs `m3ret` to its end. */
export function m3ret(args: readonly string[], where?: Where): Promise<Finished> {
  return start(args, where).finished;
}

/** Runs `m3ret … --json`, and gives the one object that it must print. */
export async function m3retJson<T>(args: readonly string[], where?: Where): Promise<T> {
  const { code, stdout, stderr } = await m3ret([...args, "--json"], where);
  expect(code, stderr).toBe(0);
  expect(stdout.trimEnd().split("\n"), "lines on stdout").toHaveLength(1);
  return JSON.parse(stdout) as T;
}

/** Where phantoms are kept between runs of the tests: making them takes longer than most of what is tested. */
export const cache = join(packageRoot, ".cache");

/** A folder for one test file; `remove` it in the end, because figures and training states are large. */
export function workFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "m3ret-cli-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A new empty folder in another. */
export function newFolder(parent: string): string {
  mkdirSync(parent, { recursive: true });
  return mkdtempSync(join(parent, "case-"));
}

/** Every file and folder below, with the sizes of files: what "nothing left behind" is judged by. */
export function listing(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  return names.map((name) => {
    const facts = statSync(join(folder, name));
    return facts.isDirectory() ? `${name}/` : `${name} ${facts.size}`;
  });
}

/** Resolves when `condition` holds; asks every few milliseconds, and gives up when the process has ended. */
export async function until(condition: () => boolean, { process: child }: Started): Promise<void> {
  while (!condition()) {
    if (child.exitCode !== null) throw new Error(`the process ended (${child.exitCode}) before it could be met`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Runs `use` with a small disk of its own, which needs the right to mount. */
export async function withSmallDisk(size: string, use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "m3ret-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder], { stdio: "pipe" });
    try {
      await use(folder);
    } finally {
      execFileSync("umount", ["-l", folder]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Whether this machine lets us mount a small disk. */
export const canMount = await withSmallDisk("64k", async () => {}).then(
  () => true,
  () => false,
);

export const whyNoDisk = canMount ? "" : " (skipped: no right to mount a small disk)";
