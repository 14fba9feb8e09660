/**
 * Builds tfjs's native binding on a TensorFlow that pip installed.
 *
 * tfjs-node 4.22 wants to download libtensorflow 2.9.1 (its GPU package: for CUDA 11.2). Its binding is two C++ files that
 * speak TensorFlow's C interface, which the libraries inside pip's wheels export too, so that any recent wheel serves.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { isRunning, systemError } from "../files.js";
import { InputError } from "../types.js";
import { run, telling } from "./commandRun.js";
import { compile, fetchPackage, findCompiler } from "./nativeBuild.js";
import { findTensorflow, SEEN } from "./pipTensorflow.js";
import { linkedPackage, linkFolder, NATIVE_PACKAGES, readLink, type LinkRecord } from "./tensorflow.js";

const require = createRequire(import.meta.url);

export interface LinkOptions {
  /** The Python that has TensorFlow; `python3` by default. */
  readonly python?: string;
  /** Told what goes on, line by line. */
  readonly say?: (line: string) => void;
}

/** Loads the package of a link folder in a process of its own, and multiplies two numbers on its backend. */
const TRY = `
const tf = require(process.argv[1]);
require(process.argv[2]);
if (tf.getBackend() !== "tensorflow") throw new Error("it registers its backend in another copy of tfjs");
const product = tf.matMul([[3]], [[4]]).dataSync()[0];
if (product !== 12) throw new Error("3 times 4 is " + product);
`;

async function failureOf(folder: string): Promise<string | null> {
  const ours = require.resolve("@tensorflow/tfjs");
  const ran = await run(process.execPath, ["-e", TRY, ours, join(linkedPackage(folder), "dist/index.js")]);
  return ran.ok ? null : telling(ran.stderr, /^(\w*Error|ended by)/);
}

/** Removes what interrupted runs left beside the link: folders that are named after a process that is no more. */
function removeLeftovers(): void {
  const home = dirname(linkFolder());
  for (const name of readdirSync(home).filter((name) => name.startsWith(`${basename(linkFolder())}-`))) {
    if (!isRunning(Number(name.split("-").at(-1)))) rmSync(join(home, name), { recursive: true, force: true });
  }
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    throw systemError(path, error);
  }
}

/**
 * Links tfjs to the TensorFlow of a Python, so that `startBackend("tensorflow")` finds it. Everything is built and tried
 * in a folder of its own, which takes its place only where it works. A link that is there and works stays.
 *
 * @throws InputError with one line on what is missing, and where
 */
export async function linkTensorflow({ python = "python3", say = () => {} }: LinkOptions = {}): Promise<LinkRecord> {
  if (process.platform !== "linux") {
    throw new InputError(`linking to TensorFlow is written for Linux; this is ${process.platform}`);
  }
  const wheel = await findTensorflow(python);
  const tfjs: string = require("@tensorflow/tfjs/package.json").version;
  const link: LinkRecord = { tensorflow: wheel.version, folder: wheel.folder, tfjs };
  say(`TensorFlow ${wheel.version} in ${wheel.folder}`);
  const target = linkFolder();
  if (JSON.stringify(readLink()) === JSON.stringify(link) && (await failureOf(target)) === null) {
    say("linked already, and it works");
    return link;
  }
  const compiler = await findCompiler();
  removeLeftovers();
  const folder = `${target}-${process.pid}`;
  try {
    makeFolder(folder);
    const title = `${NATIVE_PACKAGES[0]} ${tfjs}`;
    say(`fetching ${title}`);
    const home = await fetchPackage(folder, tfjs);
    say(`compiling its binding with ${compiler}`);
    await compile(compiler, home, wheel);
    const failure = await failureOf(folder);
    if (failure) throw new InputError(`${title} does not load on TensorFlow ${wheel.version}: ${failure}; ${SEEN}`);
    writeFileSync(join(folder, "link.json"), JSON.stringify(link));
    rmSync(target, { recursive: true, force: true });
    renameSync(folder, target);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  say("linked: the eager engine computes on it");
  return link;
}

/** Takes the link away. Returns false where there was none. */
export function unlinkTensorflow(): boolean {
  const linked = existsSync(linkFolder());
  rmSync(linkFolder(), { recursive: true, force: true });
  return linked;
}
