/** One process at a time trains in a folder. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { isRunning, removeEmpty, systemError } from "../files.js";
import { InputError } from "../types.js";

const LOCK = "running.json";

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** ISO 8601, UTC. */
  readonly since: string;
}

/**
 * Marks a folder as being trained in, with FOLDER/running.json, until what it returns is called; a folder that was made for
 * it and is empty then goes as well. Two processes that train in one folder would write each other's log and state. A mark
 * that a killed process left is taken over; of one on another machine nobody can tell from here whether it is still there, so
 * it is refused, and so may be, rarely, one whose number another process has now.
 *
 * @throws InputError where another process holds the mark
 */
export function lockRun(folder: string): () => void {
  const path = join(folder, LOCK);
  const own: Holder = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  const text = JSON.stringify(own) + "\n";
  let made: string | undefined; // the first folder on the way that was not there
  try {
    made = mkdirSync(folder, { recursive: true });
    const holder = held(path);
    if (holder && isThere(holder)) {
      const { pid, host, since } = holder;
      throw new InputError(
        `${folder}: process ${pid} on ${host} has been training here since ${since}; wait for it, choose another folder, ` +
          `or, if it is gone, remove ${LOCK}`,
      );
    }
    if (holder !== undefined) rmSync(path, { force: true });
    writeFileSync(path, text, { flag: "wx" });
  } catch (error) {
    throw error instanceof InputError ? error : systemError(path, error);
  }
  return () => {
    if (JSON.stringify(held(path)) === JSON.stringify(own)) rmSync(path, { force: true });
    if (made !== undefined) removeEmpty(folder, made);
  };
}

/** Who holds the mark: undefined where there is none, null where it cannot be read, as a killed process may leave it. */
function held(path: string): Holder | null | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  try {
    return JSON.parse(text) as Holder;
  } catch {
    return null;
  }
}

/** A run that this process left without closing it is not there: nobody asks it for steps. */
const isThere = ({ pid, host }: Holder): boolean => host !== hostname() || (pid !== process.pid && isRunning(pid));
