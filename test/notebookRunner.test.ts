import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { checkNotebook, runNotebook } from "../src/notebookRunner.js";
import type { Progress } from "../src/types.js";

interface Output {
  output_type: string;
  name?: string;
  text?: string[];
  data?: Record<string, unknown>;
}

interface Written {
  nbformat: number;
  nbformat_minor: number;
  metadata: { kernelspec: { name: string }; language_info: { name: string } };
  cells: { cell_type: string; id: string; outputs: Output[]; execution_count: number | null; source: string[] }[];
}

/** A notebook of code cells in a folder whose name has a space; the first cell has an id of its own. */
function notebookOf(...sources: string[]): string {
  const folder = join(mkdtempSync(join(tmpdir(), "m3ret-nb-")), "note books");
  mkdirSync(folder);
  const cells = sources.map((source, i) => ({
    cell_type: "code",
    ...(i === 0 ? { id: "kept-id" } : {}),
    metadata: {},
    source,
    outputs: [],
    execution_count: null,
  }));
  const markdown = { cell_type: "markdown", id: "title", metadata: {}, source: ["# Title\n", "text"] };
  const path = join(folder, "tiny.ipynb");
  writeFileSync(path, JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata: {}, cells: [markdown, ...cells] }));
  return path;
}

// A private place for temporary files, so that what a kernel leaves behind is seen, and only that.
const privateTmp = mkdtempSync(join(tmpdir(), "m3ret-nb-"));
process.env.TMPDIR = privateTmp;
const kernelFolders = () => readdirSync(privateTmp).filter((name) => name.startsWith("m3ret-kernel-"));
afterAll(() => expect(kernelFolders()).toEqual([]));

const readWritten = (path: string) => JSON.parse(readFileSync(path, "utf8")) as Written;

test.concurrent("a notebook runs top to bottom, with streams in order and displays updated in place", async () => {
  const path = notebookOf(
    `console.log("one"); console.error("two"); console.log("three"); process.cwd().endsWith("note books")`,
    `import { display, newDisplay } from "tslab";
     const bar = newDisplay();
     bar.html("<b>1 of 2</b>"); display.svg("<svg/>"); display.markdown("a\\nb"); display.png(new Uint8Array([1, 2]));`,
    `bar.html("<b>2 of 2</b>"); process.env.ANSWER`,
    `for (let i = 0; i < 2000; i++) console.log("line " + i);`,
  );
  const seen: Progress[] = [];
  const run = await runNotebook(path, {
    timeoutSeconds: 60,
    env: { ANSWER: "42" },
    onProgress: (progress) => seen.push(progress),
  });
  expect(run).toMatchObject({ ok: true, cells: 4 });
  expect(run.error).toBeUndefined();
  expect(seen.map(({ done, total }) => `${done}/${total}`)).toEqual(["0/4", "1/4", "2/4", "3/4", "4/4"]);

  const { nbformat, nbformat_minor, metadata, cells } = readWritten(path);
  expect([nbformat, nbformat_minor]).toEqual([4, 5]);
  expect([metadata.kernelspec.name, metadata.language_info.name]).toEqual(["tslab", "typescript"]);
  expect(cells.map((cell) => cell.id).slice(0, 2)).toEqual(["title", "kept-id"]);
  expect(new Set(cells.map((cell) => cell.id)).size).toBe(5);
  expect(cells[0]).not.toHaveProperty("outputs");

  const [, streams, displays, later, many] = cells;
  expect(streams.outputs.map(({ name, text }) => [name, text])).toEqual([
    ["stdout", ["one\n"]],
    ["stderr", ["two\n"]],
    ["stdout", ["three\n", "true\n"]],
  ]);
  expect(displays.outputs.map(({ data }) => data)).toEqual([
    { "text/html": ["<b>2 of 2</b>"] }, // the later cell updated it here, where it was shown
    { "image/svg+xml": ["<svg/>"] },
    { "text/markdown": ["a\n", "b"] },
    { "image/png": "AQI=" },
  ]);
  expect(later.outputs.map(({ text }) => text)).toEqual([["42\n"]]);
  expect(later.execution_count).toBe(3);
  expect(many.outputs).toHaveLength(1);
  expect(many.outputs[0].text).toHaveLength(2000);
});

test.concurrent(
  "two notebooks run at once; the one that fails stops at the failed cell, names it and leaves its file as it was",
  async () => {
    const failing = notebookOf(`const x = 1;`, `throw new Error("no such luck")`, `console.log("never")`);
    const untouched = readFileSync(failing, "utf8");
    const outPath = join(failing, "..", "out.ipynb");
    const mistyped = notebookOf(`const y: string = 5;`);

    const [first, second, third] = await Promise.all([
      runNotebook(failing, { outPath, timeoutSeconds: 60 }),
      runNotebook(mistyped, { timeoutSeconds: 60 }),
      checkNotebook(mistyped),
    ]);
    expect(first).toMatchObject({ ok: false, cells: 2 });
    expect(first.error).toMatch(/^tiny\.ipynb: cell 2 of 3 failed: [^]*Error: no such luck/);
    expect(first.error).not.toContain("jupyter.js");
    expect(second.error).toMatch(/cell 1 of 1 failed: 1:7 - Type 'number' is not assignable to type 'string'/);
    expect(third).toEqual([{ cell: 1, line: 1, message: "Type 'number' is not assignable to type 'string'." }]);

    expect(readFileSync(failing, "utf8")).toBe(untouched);
    const { cells } = readWritten(outPath);
    expect(cells.map((cell) => cell.execution_count)).toEqual([undefined, 1, 2, null]);
    expect(cells[2].outputs[0].text?.join("")).toContain("no such luck");
  },
);

test.concurrent("a cell that never ends is ended, and so is what it started", async () => {
  const path = notebookOf(
    `import { spawn } from "node:child_process";
     import { writeFileSync } from "node:fs";
     writeFileSync("pid", String(spawn("sleep", ["600"]).pid));`,
    `for (;;) {}`,
  );
  const run = await runNotebook(path, { timeoutSeconds: 12 });
  expect(run).toMatchObject({ ok: false, cells: 2 });
  expect(run.error).toMatch(/cell 2 of 2 failed: longer than 12 s/);
  expect(run.seconds).toBeLessThan(16);
  expect(await isGone(Number(readFileSync(join(path, "..", "pid"), "utf8")))).toBe(true);
});

test("a file that is not a notebook is one line that names it", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "m3ret-nb-")), "x.ipynb");
  writeFileSync(path, "plain text");
  await expect(runNotebook(path, { timeoutSeconds: 5 })).rejects.toThrow(/x\.ipynb: expected a Jupyter notebook/);
  await expect(runNotebook(path + "?", { timeoutSeconds: 5 })).rejects.toThrow(/x\.ipynb\?: no such file/);
});

test.skipIf(!existsSync(resolve("dist/notebookRunner.js")))(
  "Ctrl-C ends the kernel and the program (skipped before npm run build)",
  async () => {
    const path = notebookOf(
      `import { writeFileSync } from "node:fs"; writeFileSync("pid", String(process.pid));`,
      `await new Promise(() => { setInterval(() => {}, 1000); });`,
    );
    const runner = resolve("dist/notebookRunner.js");
    const script = `import(process.argv[1]).then((m) => m.runNotebook(process.argv[2], { timeoutSeconds: 60 }))`;
    const child = spawn(process.execPath, ["-e", script, runner, path], { stdio: "inherit" });
    const pidFile = join(path, "..", "pid");
    while (!existsSync(pidFile)) await new Promise((done) => setTimeout(done, 100));
    const ended = new Promise((done) => child.on("close", (_code, signal) => done(signal)));
    child.kill("SIGINT");
    expect(await ended).toBe("SIGINT");
    expect(await isGone(Number(readFileSync(pidFile, "utf8")))).toBe(true);
  },
);

/**
 * True once the process has ended (waits up to ten seconds for the system to notice). One that has ended and that nobody
 * has collected yet, a zombie, still has its id; Linux tells it by the state Z.
 */
async function isGone(pid: number): Promise<boolean> {
  expect(pid).toBeGreaterThan(0);
  for (let i = 0; i < 100; i++) {
    try {
      process.kill(pid, 0);
      if (/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // ESRCH: no such process. ENOENT: it went between the two questions, or this system has no /proc.
      if (code === "ESRCH" || (code === "ENOENT" && existsSync("/proc/self"))) return true;
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  return false;
}
