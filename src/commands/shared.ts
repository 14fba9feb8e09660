/** What all commands share: numbers from arguments, answers as JSON or text, progress on the terminal, Ctrl-C. */
import { Option, type Command } from "commander";
import { InputError, type OnProgress } from "../types.js";
import { terminalProgress, type ProgressBar } from "../progress.js";

/** Work that Ctrl-C ended after it had put itself in order. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** `--json`: one JSON object on stdout and nothing else. */
export function jsonOption(): Option {
  return new Option("--json", "one JSON object on standard output, nothing else");
}

export function positiveInteger(name: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1)
      throw new InputError(`--${name} ${text}: expected a whole number from 1 on`);
    return value;
  };
}

export function wholeNumber(name: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 0)
      throw new InputError(`--${name} ${text}: expected a whole number from 0 on`);
    return value;
  };
}

/** `1,5,10` */
export function integerList(name: string): (text: string) => number[] {
  return (text) => text.split(",").map(positiveInteger(name));
}

/** Prints the answer: the object as one line of JSON, or the text made from it. */
export function answer<T>(json: boolean | undefined, value: T, text: (value: T) => string): void {
  process.stdout.write((json ? JSON.stringify(value) : text(value).trimEnd()) + "\n");
}

/** Runs work with a progress bar on standard error, which is cleared whatever happens. */
export async function withProgress<T>(work: (onProgress: OnProgress) => Promise<T>): Promise<T> {
  const bar: ProgressBar = terminalProgress();
  try {
    return await work(bar);
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

/** Options that every command which opens data takes. */
export function dataOptions(command: Command): Command {
  return command
    .option("--catalog <FILE>", "a datasets.yaml of your own")
    .option("--cache <DIR>", "where phantoms are kept (default: .cache, or M3RET_CACHE)");
}
