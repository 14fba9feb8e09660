import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { startBackend } from "../src/engine/backend.js";
import { linkTensorflow } from "../src/engine/linkTensorflow.js";
import { linkedPackage, linkFolder, loadTensorflow, readLink } from "../src/engine/tensorflow.js";
import { InputError } from "../src/types.js";
import { scratch } from "./helpers.js";

afterEach(() => {
  vi.unstubAllEnvs();
});

/** A program that answers like a Python which would import TensorFlow from `folder`. */
function pythonWith(folder: string): string {
  const path = join(scratch(), "python");
  writeFileSync(path, `#!/bin/sh\necho "${folder}"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** What pip leaves of a TensorFlow, as far as it is looked for before compiling. */
function wheel(...libraries: string[]): string {
  const site = scratch();
  const folder = join(site, "tensorflow");
  mkdirSync(join(site, "tensorflow_cpu-2.21.0.dist-info"));
  mkdirSync(join(folder, "include/tensorflow/c/eager"), { recursive: true });
  writeFileSync(join(folder, "include/tensorflow/c/eager/c_api.h"), "");
  for (const name of libraries) writeFileSync(join(folder, name), "");
  return folder;
}

/** The one line of a link that fails; it leaves what was there as it was, and no remains. */
async function refusal(python: string): Promise<string> {
  const folders = () => readdirSync(dirname(linkFolder())).filter((name) => name.startsWith(".m3ret-tensorflow"));
  const [before, link] = [folders(), readLink()];
  const error = await linkTensorflow({ python }).then(
    () => null,
    (error: Error) => error,
  );
  expect(error).toBeInstanceOf(InputError);
  expect(error!.message).not.toContain("\n");
  expect([folders(), readLink()]).toEqual([before, link]);
  return error!.message;
}

const both = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"];

test("linking without a Python, or with one that has no TensorFlow, says how to name one that has", async () => {
  expect(await refusal("no-such-python")).toBe(
    "there is no program no-such-python; name a Python with --python PATH or M3RET_PYTHON",
  );
  expect(await refusal(pythonWith(""))).toMatch(
    /python has no TensorFlow; expected one from ".*install tensorflow-cpu"/,
  );
});

test("a TensorFlow without the libraries to link to is named with its version", async () => {
  const folder = wheel(both[1]);
  expect(await refusal(pythonWith(folder))).toBe(
    `${folder}: TensorFlow 2.21.0 has no libtensorflow_cc.so with headers to link to; 2.21 was seen working`,
  );
});

test("linking without a compiler names what was tried", async () => {
  vi.stubEnv("CXX", "no-such-compiler");
  expect(await refusal(pythonWith(wheel(...both)))).toMatch(/^no C\+\+ compiler runs \(tried no-such-compiler\)/);
});

test("linking removes what a killed run left, and where no registry answers says what npm could not fetch", async () => {
  const ended = spawnSync("true").pid;
  const leftover = `${linkFolder()}-${ended}`;
  mkdirSync(leftover);
  vi.stubEnv("CXX", "true");
  vi.stubEnv("npm_config_registry", "http://127.0.0.1:9");
  vi.stubEnv("npm_config_fetch_retry_mintimeout", "10");
  const failed = linkTensorflow({ python: pythonWith(wheel(...both)) });
  await expect(failed).rejects.toThrow(/^npm cannot fetch @tensorflow\/tfjs-node-gpu@4\.\d+\.\d+: .*ECONNREFUSED/);
  expect([existsSync(leftover), existsSync(`${linkFolder()}-${process.pid}`)]).toEqual([false, false]);
});

/** A link folder whose package does what `code` says when it is loaded. */
function linkThat(code: string): string {
  const folder = scratch();
  const entry = join(linkedPackage(folder), "dist/index.js");
  mkdirSync(dirname(entry), { recursive: true });
  writeFileSync(join(folder, "link.json"), JSON.stringify({ tensorflow: "2.21.0", folder: "/wheel", tfjs: "4.22.0" }));
  writeFileSync(entry, code);
  return folder;
}

test("a link that no longer loads, or registers elsewhere, is passed over with the reason and the way to mend it", async () => {
  const gone = linkThat(`throw new Error("libtensorflow_cc.so.2: cannot open shared object file\\nmore")`);
  await expect(loadTensorflow(gone)).rejects.toThrow(
    "the linked TensorFlow 2.21.0 (/wheel) does not load (libtensorflow_cc.so.2: cannot open shared object file); " +
      "npm run link:tensorflow builds it on a TensorFlow from pip",
  );
  await expect(loadTensorflow(linkThat(""))).rejects.toThrow(
    /^the linked TensorFlow 2.21.0 \(\/wheel\) registers its backend in another copy of tfjs; /,
  );
});

test("danfojs-node's alias of tfjs is not taken for tfjs-node", async () => {
  // Where npm installed neither package nor anything is linked, the line says so and does not speak of loading.
  const said = await loadTensorflow(join(scratch(), "none")).then(
    () => "loaded",
    (error: Error) => error.message,
  );
  const installed = existsSync(join(dirname(linkFolder()), "@tensorflow/tfjs-node-gpu"));
  if (!installed) {
    expect(said).toMatch(/^neither @tensorflow\/tfjs-node-gpu nor @tensorflow\/tfjs-node is installed; npm run link/);
  }
});

test("M3RET_BACKEND takes the name of a backend, and any other is refused", async () => {
  vi.stubEnv("M3RET_BACKEND", "webgl");
  await expect(startBackend()).rejects.toThrow("M3RET_BACKEND: expected one of tensorflow, wasm, cpu, got webgl");
  vi.stubEnv("M3RET_BACKEND", "cpu");
  expect(await startBackend()).toMatchObject({ name: "cpu", description: "cpu", passedOver: [] });
});
