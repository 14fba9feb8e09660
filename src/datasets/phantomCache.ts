/**
 * Phantoms on disk: one file of little-endian integers per modality, and `index.json`. A folder appears under its final
 * name only when it is whole: it is made beside it and renamed, so that a stopped run leaves nothing that looks complete,
 * and of several runs at once one wins and the others use its result.
 */
import {
  existsSync,
  ftruncateSync,
  closeSync,
  openSync,
  fsyncSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { availableParallelism, hostname } from "node:os";
import { threadId, Worker } from "node:worker_threads";
import { isRunning, systemError, writeAtomic } from "../files.js";
import type { Modality, OnProgress } from "../types.js";
import {
  bytesOf,
  fileOf,
  GENERATOR_VERSION,
  planOf,
  renderShare,
  type FullSpec,
  type Geometry,
  type PatientDone,
  type Share,
} from "./phantomPlan.js";

export interface PhantomIndex {
  readonly generator: number;
  readonly spec: FullSpec;
  /** Pictures per modality. */
  readonly counts: Readonly<Partial<Record<Modality, number>>>;
  /** Patient by patient, in the order of ids; within it in the order of its pictures. */
  readonly geometries: readonly (readonly Geometry[])[];
}

export interface CacheOptions {
  /** Worker threads; 0 makes everything in this thread. As many as there are cores where absent. */
  readonly workers?: number;
  readonly onProgress?: OnProgress;
}

/** Runs under way in this thread, by folder: asking twice at once makes the phantoms once. */
const underWay = new Map<string, Promise<PhantomIndex>>();

/** Temporary folders that this thread has made. */
let made = 0;

/** Reads the folder's index, making the phantoms first where they are not there. */
export function ensurePhantoms(folder: string, spec: FullSpec, options: CacheOptions): Promise<PhantomIndex> {
  const running = underWay.get(folder);
  if (running) return running;
  const index = generateUnlessThere(folder, spec, options).finally(() => underWay.delete(folder));
  underWay.set(folder, index);
  return index;
}

async function generateUnlessThere(folder: string, spec: FullSpec, options: CacheOptions): Promise<PhantomIndex> {
  // Unique among processes, threads and calls, so that runs at once never share a folder.
  const temporary = `${folder}.${hostname()}.${process.pid}.${threadId}.${++made}`;
  try {
    mkdirSync(dirname(folder), { recursive: true });
    sweep(folder);
    const there = readIndex(folder, spec);
    if (there) return there;
    rmSync(temporary, { recursive: true, force: true }); // a stopped run may have had the same process id
    mkdirSync(temporary);
  } catch (error) {
    throw systemError(folder, error);
  }
  try {
    const index = await generate(temporary, spec, options);
    return publish(temporary, folder, spec) ?? index;
  } catch (error) {
    // What the operating system said is told of the folder that was asked for: nobody knows the one beside it.
    throw typeof (error as NodeJS.ErrnoException).code === "string" ? systemError(folder, error) : error;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The index of a whole cache, or null: a missing or short file, or another generator's, is no cache. */
function readIndex(folder: string, spec: FullSpec): PhantomIndex | null {
  if (!existsSync(join(folder, "index.json"))) return null;
  try {
    const index = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as PhantomIndex;
    const whole =
      index.generator === GENERATOR_VERSION &&
      index.geometries.length === spec.patients &&
      spec.modalities.every(
        (m) => statSync(join(folder, fileOf(m))).size === (index.counts[m] ?? 0) * bytesOf(m, spec),
      );
    return whole ? index : null;
  } catch {
    return null; // damaged: it is made again
  }
}

/** Gives the finished folder its name. Returns the index of another run's result where that run was first. */
function publish(temporary: string, folder: string, spec: FullSpec): PhantomIndex | null {
  for (let attempt = 0; ; attempt++) {
    try {
      renameSync(temporary, folder);
      return null;
    } catch (error) {
      const theirs = readIndex(folder, spec);
      if (theirs) return theirs;
      if (attempt === 1) throw systemError(folder, error);
      // A damaged folder is in the way: move it aside first, so that nobody meets it half removed.
      const aside = `${temporary}-damaged`;
      renameSync(folder, aside);
      rmSync(aside, { recursive: true, force: true });
    }
  }
}

/** Removes what stopped runs on this machine left of this folder. */
function sweep(folder: string): void {
  const prefix = `${basename(folder)}.${hostname()}.`;
  for (const name of readdirSync(dirname(folder))) {
    if (!name.startsWith(prefix)) continue;
    const pid = Number(name.slice(prefix.length).split(".")[0]);
    if (!isRunning(pid)) rmSync(join(dirname(folder), name), { recursive: true, force: true });
  }
}

async function generate(folder: string, spec: FullSpec, options: CacheOptions): Promise<PhantomIndex> {
  const plan = planOf(spec);
  const counts: Partial<Record<Modality, number>> = {};
  for (const { pictures } of plan) for (const { modality } of pictures) counts[modality] = (counts[modality] ?? 0) + 1;
  for (const modality of spec.modalities)
    reserve(join(folder, fileOf(modality)), (counts[modality] ?? 0) * bytesOf(modality, spec));

  const geometries: (readonly Geometry[])[] = new Array(plan.length);
  let done = 0;
  const onDone = (patient: PatientDone): void => {
    geometries[patient.index] = patient.geometries;
    done++;
    options.onProgress?.({ label: "phantoms", done, total: plan.length, note: "patients" });
  };
  options.onProgress?.({ label: "phantoms", done: 0, total: plan.length, note: "patients" });
  const workers = Math.min(threadsFor(options.workers), plan.length);
  if (workers === 0) await renderHere({ spec, folder, first: 0, step: 1 }, onDone);
  else await renderInThreads(spec, folder, workers, onDone);

  for (const modality of spec.modalities) sync(join(folder, fileOf(modality)));
  const index: PhantomIndex = { generator: GENERATOR_VERSION, spec, counts, geometries };
  writeAtomic(join(folder, "index.json"), JSON.stringify(index));
  return index;
}

/**
 * Worker threads need compiled files: where this file itself runs as TypeScript (under vitest), the work is done in this
 * thread. The bytes are the same either way.
 */
function threadsFor(wanted: number | undefined): number {
  if (import.meta.url.endsWith(".ts")) return 0;
  return wanted ?? availableParallelism();
}

async function renderHere(share: Share, onDone: (patient: PatientDone) => void): Promise<void> {
  for (const patient of renderShare(share)) {
    onDone(patient);
    await new Promise((resolve) => setImmediate(resolve)); // lets a progress bar draw, and signals through
  }
}

async function renderInThreads(
  spec: FullSpec,
  folder: string,
  count: number,
  onDone: (patient: PatientDone) => void,
): Promise<void> {
  const workers: Worker[] = [];
  const run = (first: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const share: Share = { spec, folder, first, step: count };
      const worker = new Worker(new URL("./phantomWorker.js", import.meta.url), { workerData: share });
      workers.push(worker);
      worker.on("message", onDone);
      worker.on("error", reject);
      worker.on("exit", (code) =>
        code === 0 ? resolve() : reject(new Error(`phantom worker ended with code ${code}`)),
      );
    });
  try {
    await Promise.all(Array.from({ length: count }, (_, first) => run(first)));
  } catch (error) {
    await Promise.all(workers.map((worker) => worker.terminate()));
    throw error;
  }
}

function reserve(path: string, bytes: number): void {
  const file = openSync(path, "wx");
  try {
    ftruncateSync(file, bytes);
  } finally {
    closeSync(file);
  }
}

function sync(path: string): void {
  const file = openSync(path, "r+");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
