/** The committed notebooks as code: they type-check against the library, and run through the kernel as far as it works. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { checkNotebook, runNotebook } from "../src/notebookRunner.js";

const root = resolve(".");
const names = readdirSync(join(root, "notebooks")).filter((name) => name.endsWith(".ipynb"));
const built = existsSync(join(root, "dist", "index.js"));

describe.skipIf(!built)("notebooks against the built library (skipped before npm run build)", () => {
  test.each(names)("%s type-checks in the kernel's own TypeScript", async (name) => {
    expect(await checkNotebook(join(root, "notebooks", name))).toEqual([]);
  });

  test("one library function that throws makes the run fail, and the line names notebook, cell and reason", async () => {
    const folder = mkdtempSync(join(tmpdir(), "m3ret-broken-"));
    const modules = join(folder, "node_modules");
    mkdirSync(join(modules, "m3ret"), { recursive: true });
    for (const name of readdirSync(join(root, "node_modules"))) {
      if (name !== "m3ret") symlinkSync(join(root, "node_modules", name), join(modules, name));
    }
    for (const part of ["package.json", "datasets.yaml", "dist"]) {
      cpSync(join(root, part), join(modules, "m3ret", part), { recursive: true });
    }
    const file = join(modules, "m3ret", "dist", "transforms", "patchify.js");
    const whole = readFileSync(file, "utf8");
    const broken = whole.replace(/export function patchify\([^)]*\) \{/, '$& throw new Error("broken on purpose");');
    expect(broken).not.toBe(whole);
    writeFileSync(file, broken);

    const notebook = join(folder, "notebooks", "00-data.ipynb");
    mkdirSync(join(folder, "notebooks"));
    cpSync(join(root, "notebooks", "00-data.ipynb"), notebook);
    const before = readFileSync(notebook, "utf8");
    const cache = process.env.M3RET_CACHE ?? join(root, ".cache");
    const env = { M3RET_PRESET: "smoke", M3RET_RUNS: join(folder, "runs"), M3RET_CACHE: cache };
    const run = await runNotebook(notebook, { timeoutSeconds: 110, env });
    expect(run.ok).toBe(false);
    expect(run.error).toMatch(/^00-data\.ipynb: cell \d+ of \d+ failed: [^]*Error: broken on purpose/);
    expect(readFileSync(notebook, "utf8")).toBe(before); // what did not run through is not kept
  });
});
