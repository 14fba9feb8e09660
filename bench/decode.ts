/**
 * Decoding of files against the Python readers that people know: pydicom, nibabel, Pillow and PyAV. Both sides go from the
 * path of a file to float32 pixels in memory, channels first, the same values in the same order (three channels of grey
 * pictures are Pillow's own; we keep one). The files are one's own: M3RET_REALDATA names the folder.
 *
 * `ratio` is of one worker thread on one core, where there is `taskset` to hold both sides to it with all their threads and processes;
 * `twoWorkers` is what two worker threads on two cores do, against that one core. Elsewhere both have all cores, which `cores` says.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { InputError, readFile, recycle, type BenchOptions, type BenchReport } from "m3ret";
import { ratio, runPlan, takeTurns } from "./parts/report.js";

interface DecodeCase {
  readonly reader: "pydicom" | "nibabel" | "Pillow" | "PyAV";
  readonly folders: readonly string[];
  readonly ending: RegExp;
  readonly most: number;
}

const CASES: readonly DecodeCase[] = [
  { reader: "pydicom", folders: ["ct", "mri", "dicom-conformance"], ending: /\.dcm$/i, most: 80 },
  { reader: "nibabel", folders: ["ct", "mri", "nifti-conformance"], ending: /\.nii(\.gz)?$/i, most: 16 },
  { reader: "Pillow", folders: ["xray", "ultrasound", "endoscopy", "by-sa"], ending: /\.(png|jpe?g)$/i, most: 120 },
  { reader: "PyAV", folders: ["ultrasound", "nc"], ending: /\.(mp4|mov|avi|mpe?g)$/i, most: 8 },
];

function dataFolder(): string {
  const folder = process.env.M3RET_REALDATA ?? "../shared/realdata";
  if (!existsSync(folder))
    throw new InputError(`${folder}: not there; M3RET_REALDATA names a folder of files to decode`);
  return folder;
}

/** Files of a case, in order of their names; every so many, so that all folders have their part. */
function filesOf({ folders, ending, most }: DecodeCase): string[] {
  const root = dataFolder();
  const found = folders
    .map((folder) => join(root, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((name) => ending.test(name))
        .map((name) => join(folder, name))
        .filter((path) => statSync(path).isFile())
        .sort(),
    );
  const stride = Math.max(1, found.length / most);
  return Array.from({ length: Math.min(most, found.length) }, (_, i) => found[Math.floor(i * stride)]);
}

/** Holds this process with all its threads to some cores, as `taskset` writes them; false where that cannot be done. */
function holdTo(cores: string): boolean {
  return spawnSync("taskset", ["-a", "-p", "-c", cores, String(process.pid)]).status === 0;
}

/** The cores that this process may use, or null where `taskset` is not there. */
function allowedCores(): string | null {
  const { status, stdout } = spawnSync("taskset", ["-p", "-c", String(process.pid)], { encoding: "utf8" });
  return status === 0 ? (/: ([\d,-]+)\s*$/.exec(stdout)?.[1] ?? null) : null;
}

/** A file, and how many numbers it decodes to: about what it costs. */
interface Decodable {
  readonly path: string;
  readonly values: number;
}

/** How long a turn takes at least: threads that have slept take a while to wake, and the last file is one thread's alone. */
const TURN_SECONDS = 0.5;
/** Every file comes so often in a turn at least: with two workers, the largest of few would else be all that one has time for. */
const LEAST_PASSES = 2;

/** The same files by worker threads that are up already, each the next files that nobody has; the largest come first. */
async function withWorkers<T>(
  count: number,
  work: (decode: (files: readonly Decodable[]) => Promise<void>) => Promise<T>,
) {
  const workers = Array.from({ length: count }, () => new Worker(new URL("./parts/decodeWorker.js", import.meta.url)));
  const some = (worker: Worker, paths: readonly string[]) => {
    const answered = once(worker, "message"); // rejects where the worker fails, and leaves no listener behind
    worker.postMessage(paths);
    return answered;
  };
  const decode = async (files: readonly Decodable[]) => {
    const waiting = [...files];
    const part = files.reduce((sum, { values }) => sum + values, 0) / (16 * count); // small files are not worth a message each
    const next = (): string[] => {
      const taken: string[] = [];
      for (let sum = 0; waiting.length > 0 && (sum === 0 || sum + waiting[0].values <= part);) {
        const { path, values } = waiting.shift()!;
        taken.push(path);
        sum += values;
      }
      return taken;
    };
    const run = async (worker: Worker) => {
      while (waiting.length > 0) await some(worker, next());
    };
    await Promise.all(workers.map(run));
  };
  try {
    return await work(decode);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

export function bench({ rounds = 5, ...options }: BenchOptions): Promise<BenchReport> {
  return runPlan(
    {
      name: "decode",
      script: "decode_peer.py",
      cases: CASES,
      nameOf: ({ reader, folders }) => `${reader}'s files of ${folders.join(", ")}`,
      async measure(of, { peer }) {
        // Only what both sides read: a file that one refuses would be a gift to it.
        const { files: ours, seconds } = await readable(filesOf(of));
        const passes = Math.max(LEAST_PASSES, Math.ceil(TURN_SECONDS / seconds));
        const all = allowedCores();
        const core = all === null ? null : Number(/^\d+/.exec(all)![0]);
        const paths = ours.map(({ path }) => path);
        const answer = await peer?.ask({ do: "make", reader: of.reader, files: paths, core });
        const both = answer ? new Set(answer.files as unknown as string[]) : new Set(paths);
        const once = ours.filter(({ path }) => both.has(path)).sort((a, b) => b.values - a.values);
        const files = once.flatMap((file) => Array.from({ length: passes }, () => file));
        if (files.length === 0) throw new InputError(`${dataFolder()}: no file of ${of.reader} that both sides read`);
        const held = core !== null && holdTo(String(core));
        const one = withWorkers(1, (decode) => takeTurns(rounds, () => decode(files), peer, passes));
        const times = await one.finally(() => all !== null && holdTo(all));
        const two = await withWorkers(2, (decode) => takeTurns(rounds, () => decode(files), null));
        const perSecond = (ms: number) => Number(((1000 * files.length) / ms).toFixed(1));
        return {
          ours: perSecond(times.ours),
          peer: times.peer && perSecond(times.peer),
          unit: "files/s",
          ratio: ratio(times.ours, times.peer),
          files: once.length,
          cores: held ? 1 : availableParallelism(),
          twoWorkers: availableParallelism() < 2 ? null : ratio(two.ours, times.ours),
        };
      },
    },
    options,
  );
}

/** The files that we read, and how long that took. */
async function readable(paths: readonly string[]): Promise<{ files: Decodable[]; seconds: number }> {
  const kept: Decodable[] = [];
  const began = performance.now();
  for (const path of paths) {
    try {
      const decoded = await readFile(path);
      kept.push({ path, values: decoded.pixels.length });
      recycle(decoded);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
    }
  }
  return { files: kept, seconds: (performance.now() - began) / 1000 };
}
