/** What all commands share: numbers from arguments, answers as JSON or text, progress on the terminal, Ctrl-C. */
import { accessSync, constants, existsSync, statfsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Option, type Command } from "commander";
import { systemError } from "../files.js";
import { ENGINES, startEngine, type Engine, type EngineName } from "../engine/engine.js";
import { InputError, type OnProgress } from "../types.js";
import { terminalProgress, type ProgressBar } from "../progress.js";

/** Work that Ctrl-C ended after it had put itself in order. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** `--engine compiled|webgpu|cuda|coreml|directml|eager` */
export function engineOption(): Option {
  const says = "what computes (default: compiled where ONNX Runtime loads, otherwise eager; m3ret engines lists them)";
  return new Option("--engine <NAME>", says).choices(ENGINES);
}

/** Starts the engine, and says on standard error what was passed over and why, now and later. */
export async function chooseEngine(name: EngineName | undefined): Promise<Engine> {
  const engine: Engine = await startEngine(name, (note) => process.stderr.write(`engine: ${note}\n`));
  if (engine.notes.length > 0) process.stderr.write(`engine: ${engine.description}; ${engine.notes.join("; ")}\n`);
  return engine;
}

/** `--json`: one JSON object on stdout and nothing else. */
export function jsonOption(): Option {
  return new Option("--json", "one JSON object on standard output, nothing else");
}

function integerFrom(least: number, name: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    // Digits alone: Number("") is 0, and Number("0x10") is 16.
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
      throw new InputError(`--${name}: expected a whole number from ${least} on, got "${text}"`);
    }
    return value;
  };
}

export const positiveInteger = (name: string): ((text: string) => number) => integerFrom(1, name);

export const wholeNumber = (name: string): ((text: string) => number) => integerFrom(0, name);

/** `1,5,10` */
export function integerList(name: string): (text: string) => number[] {
  return (text) => text.split(",").map((item) => positiveInteger(name)(item.trim()));
}

/** Prints the answer: the object as one line of JSON, or the text made from it. */
export function answer<T>(json: boolean | undefined, value: T, text: (value: T) => string): void {
  process.stdout.write((json ? JSON.stringify(value) : text(value).trimEnd()) + "\n");
}

/** In a log file, work says nothing until it has taken this long: what is wrong at once is then the only line. */
const QUIET_MS = 5000;

/** Runs work with a progress bar on standard error, which is cleared whatever happens. */
export async function withProgress<T>(work: (onProgress: OnProgress) => Promise<T>): Promise<T> {
  const bar: ProgressBar = terminalProgress();
  const loudFrom = process.stderr.isTTY ? 0 : performance.now() + QUIET_MS;
  try {
    return await work((progress) => {
      if (performance.now() >= loudFrom) bar(progress);
    });
  } finally {
    bar.stop();
  }
}

/**
 * Runs work that asks `stopped()` between steps. The first Ctrl-C (or a polite kill) asks it to stop; a second one
 * ends the process at once.
 */
export async function stoppable<T>(work: (stopped: () => boolean) => Promise<T>): Promise<T> {
  let asked = false;
  const ask = () => {
    if (asked) process.exit(130);
    asked = true;
    process.stderr.write("\nstopping after this step (Ctrl-C again: at once)\n");
  };
  process.on("SIGINT", ask);
  process.on("SIGTERM", ask);
  try {
    return await work(() => asked);
  } finally {
    process.off("SIGINT", ask);
    process.off("SIGTERM", ask);
  }
}

/** The smallest run leaves about 20 MB, of encoders or of figures. */
const LEAST_ROOM = 32 * 2 ** 20;

/**
 * Throws unless results can be kept in the folder, which need not exist yet. It is asked before the work begins, not
 * when the work is done, and makes nothing.
 */
export function requireFolder(option: string, path: string, room: number = LEAST_ROOM): void {
  let nearest = resolve(path);
  while (!existsSync(nearest)) nearest = dirname(nearest);
  if (!statSync(nearest).isDirectory()) throw new InputError(`${option} ${path}: expected a folder, got a file`);
  try {
    accessSync(nearest, constants.W_OK);
  } catch (error) {
    throw systemError(`${option} ${path}`, error);
  }
  const { blocks, bavail, bsize } = statfsSync(nearest);
  const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  // Some network file systems answer 0 blocks: they do not know.
  if (blocks > 0 && bavail * bsize < room) {
    throw new InputError(
      `${option} ${path}: no space left on the device: expected ${megabytes(room)} MB, got ${megabytes(bavail * bsize)}`,
    );
  }
}

/** As `requireFolder`, for a file that will be written. */
export function requireFile(option: string, path: string): void {
  if (existsSync(path) && statSync(path).isDirectory()) {
    throw new InputError(`${option} ${path}: expected a file, got a folder`);
  }
  requireFolder(option, dirname(path), 0);
}

/** Options that every command which opens data takes. */
export function dataOptions(command: Command): Command {
  return command
    .option("--catalog <FILE>", "a datasets.yaml of your own")
    .option(
      "--cache <DIR>",
      "where phantoms, lists of files and prepared samples are kept (default: .cache, or M3RET_CACHE)",
    );
}
