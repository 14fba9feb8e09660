/**
 * Damaged files for the readers: real or committed files, changed by a seeded generator, are read in a process of their
 * own. Whatever it holds, a file is read or refused in one line, within 10 seconds and 2 GiB, and never ends the process.
 */
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { parseDicom } from "dicom-parser";
import { Random } from "../src/random.js";
import { realdata } from "./readersFixture.js";

export interface Failure {
  readonly mutation: number;
  readonly file: string;
  readonly how: string;
  readonly kind: "crash" | "hang" | "memory" | "shape" | "not an InputError" | "bad message" | "printed a stack";
  readonly detail: string;
}

export interface FuzzReport {
  readonly read: number;
  readonly refused: number;
  readonly failures: readonly Failure[];
  readonly slowestMs: number;
  readonly peakMiB: number;
}

const SECONDS = 10;
const MEBIBYTES = 2048;
const LARGEST = 2 * 2 ** 20; // of the files that are changed

/** What the readers say of one file; `peak` is that of the process so far. */
interface Answer {
  readonly ok: boolean;
  readonly name?: string;
  readonly message?: string;
  readonly shapeFits?: boolean;
  readonly ms: number;
  readonly peakMiB: number;
}

/** Runs in the child: one path a line comes in, one answer a line goes out. */
const CHILD = `
  import { createInterface } from "node:readline";
  const { readFile } = await import(process.argv[1]);
  for await (const path of createInterface({ input: process.stdin })) {
    const started = performance.now();
    let answer;
    try {
      const { pixels, shape } = await readFile(path);
      answer = { ok: true, shapeFits: shape.every((n) => n >= 1) && pixels.length === shape.reduce((a, b) => a * b, 1) };
    } catch (error) {
      answer = { ok: false, name: error?.name, message: String(error?.message ?? error) };
    }
    const peakMiB = process.resourceUsage().maxRSS / 1024;
    console.log("answer " + JSON.stringify({ ...answer, ms: performance.now() - started, peakMiB }));
  }
`;

/** The readers are compiled files, as a user has them: those of `M3RET_BUILD`, or of `dist`. */
export const build = process.env.M3RET_BUILD ?? fileURLToPath(new URL("../dist", import.meta.url));
export const noBuild = !existsSync(join(build, "datasets/read.js"));

class Reader {
  #child: ChildProcessWithoutNullStreams | null = null;
  #lines: AsyncIterator<string> | null = null;
  stderr = "";

  #start(): void {
    const flags = [`--max-old-space-size=${MEBIBYTES}`, "--input-type=module", "-e", CHILD];
    const child = spawn(process.execPath, [...flags, join(build, "datasets/read.js")]);
    child.stdin.on("error", () => undefined); // its end is seen on its output
    child.stderr.on("data", (text: Buffer) => (this.stderr = (this.stderr + text.toString()).slice(-20_000)));
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async read(path: string, seconds: number = SECONDS): Promise<Answer | "crash" | "hang"> {
    if (this.#child === null) this.#start();
    this.stderr = "";
    this.#child?.stdin.write(path + "\n");
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"hang">((resolve) => (timer = setTimeout(() => resolve("hang"), seconds * 1000)));
    const answer = await Promise.race([this.#answer(), late]);
    clearTimeout(timer);
    if (typeof answer === "string" || answer.peakMiB > MEBIBYTES) this.stop();
    return answer;
  }

  async #answer(): Promise<Answer | "crash"> {
    for (;;) {
      const line = await this.#lines?.next();
      if (line === undefined || line.done === true) return "crash";
      if (line.value.startsWith("answer ")) return JSON.parse(line.value.slice(7)) as Answer;
    }
  }

  stop(): void {
    this.#child?.kill("SIGKILL");
    this.#child = null;
  }
}

/** Families of files, so that a few large families do not take all the mutations. */
export function corpus(): string[][] {
  const under = (root: string, pattern = /./, take = Infinity): string[] => {
    if (!existsSync(root)) return [];
    const files = readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && pattern.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => statSync(path).size <= LARGEST)
      .sort();
    const step = Math.max(1, files.length / take);
    return Array.from({ length: Math.min(files.length, take) }, (_, i) => files[Math.floor(i * step)]);
  };
  const fixtures = fileURLToPath(new URL("./fixtures/", import.meta.url));
  return [
    under(join(fixtures, "readers"), /\.dcm$/),
    under(join(fixtures, "readers"), /\.(png|jpg)$/),
    [...under(join(fixtures, "readers"), /\.nii/), ...under(join(fixtures, "nifti"), /\.(nii|nii\.gz|hdr)$/)],
    under(join(fixtures, "media")),
    under(join(fixtures, "mediaRare"), /\.(tif|bmp)$/),
    [...under(join(fixtures, "dicomPixels"), /\.dcm$/), ...under(join(fixtures, "dicomVolumes"), /\.dcm(\.gz)?$/)],
    under(join(realdata, "dicom-conformance")),
    under(join(realdata, "nifti-conformance")),
    under(join(realdata, "malformed")),
    ...["xray", "ultrasound", "endoscopy"].map((folder) =>
      under(join(realdata, folder), /\.(png|jpe?g|tiff?|bmp)$/, 5),
    ),
    under(join(realdata, "ultrasound"), /\.(mp4|avi|mov|mpg|gif)$/, 3),
  ].filter((family) => family.length > 0);
}

/** Numbers that lengths, counts and offsets are made to be. */
const EXTREMES = [
  0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
];

/** Changes bytes in one of five ways, in the first 2 KiB as often as anywhere. */
export function mutate(original: Uint8Array, random: Random): { bytes: Buffer; how: string } {
  const gzip = original[0] === 0x1f && original[1] === 0x8b && random.chance(0.5);
  let bytes = Buffer.from(gzip ? gunzipSync(original) : original);
  if (bytes.length === 0) return { bytes, how: "nothing to change" };
  const place = (): number => random.int(random.chance(0.5) ? Math.min(2048, bytes.length) : bytes.length);
  const steps: string[] = [];
  const rounds = random.chance(0.6) ? 1 : 2 + random.int(2);
  for (let round = 0; round < rounds && bytes.length > 0; round++) {
    const at = place();
    const end = Math.min(bytes.length, at + 1 + random.int(64));
    switch (random.pick([0, 0, 1, 2, 2, 2, 3, 4])) {
      case 0: {
        const flips = 1 + random.int(16);
        for (let i = 0; i < flips; i++) bytes[place()] ^= 1 << random.int(8);
        steps.push(`${flips} bits flipped`);
        break;
      }
      case 1:
        bytes = bytes.subarray(0, at);
        steps.push(`cut to ${at}`);
        break;
      case 2: {
        const value = random.chance(0.2) ? bytes.length : random.pick(EXTREMES);
        const field = Buffer.alloc(4);
        const width = random.pick([1, 2, 4]);
        if (random.chance(0.7)) field.writeUInt32LE(value);
        else field.writeUInt32BE((value << (32 - 8 * width)) >>> 0); // in its first `width` bytes
        field.copy(bytes, at, 0, Math.min(width, bytes.length - at));
        steps.push(`${value} written at ${at} in ${width} bytes`);
        break;
      }
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
        steps.push(`${end - at} bytes taken out at ${at}`);
        break;
      default:
        bytes.copy(bytes, place(), at, end);
        steps.push(`${end - at} bytes copied from ${at}`);
    }
  }
  return { bytes: gzip ? gzipSync(bytes) : bytes, how: (gzip ? "unzipped: " : "") + steps.join(", ") };
}

/**
 * Mutations `from` to `to − 1`; each depends on the seed and its own number only, so that one can be run alone. Files that
 * fail are kept in the folder `keep`, where one is given.
 */
export async function fuzz(from: number, to: number, seed: number, keep?: string): Promise<FuzzReport> {
  const families = corpus();
  const folder = mkdtempSync(join(tmpdir(), "m3ret-fuzz-"));
  const reader = new Reader();
  const failures: Failure[] = [];
  let [read, refused, slowestMs, peakMiB] = [0, 0, 0, 0];
  try {
    for (let mutation = from; mutation < to; mutation++) {
      const random = new Random(`${seed} ${mutation}`);
      const file = random.pick(random.pick(families));
      const original = readFileSync(file);
      const { bytes, how } = mutate(original, random);
      const path = join(folder, "changed" + (/\.\w+\.gz$/.exec(file)?.[0] ?? extname(file)));
      writeFileSync(path, bytes);
      if (path.endsWith(".hdr")) copyVoxels(file, path);
      let answer = await reader.read(path);
      if (answer === "hang") {
        // On a machine with other work the sound file may be as slow: then it says how long is long.
        const sound = await reader.read(file, 10 * SECONDS);
        const slow = typeof sound === "string" ? 0 : sound.ms / 1000;
        if (slow > SECONDS / 5) answer = await reader.read(path, Math.max(SECONDS, 5 * slow));
      }
      const wrong = whatIsWrong(answer, path, original, reader.stderr);
      if (wrong !== null) {
        failures.push({ mutation, file: basename(file), how, ...wrong });
        if (keep !== undefined) writeFileSync(join(keep, `${mutation}-${basename(path)}`), bytes);
      }
      if (typeof answer !== "string") {
        if (answer.ok) read++;
        else refused++;
        slowestMs = Math.max(slowestMs, answer.ms);
        peakMiB = Math.max(peakMiB, answer.peakMiB);
      }
      rmSync(path);
    }
  } finally {
    reader.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return { read, refused, failures, slowestMs, peakMiB };
}

function copyVoxels(header: string, to: string): void {
  const voxels = header.replace(/\.hdr$/, ".img");
  if (existsSync(voxels)) writeFileSync(to.replace(/\.hdr$/, ".img"), readFileSync(voxels));
}

export function whatIsWrong(
  answer: Answer | "crash" | "hang",
  path: string,
  original: Uint8Array,
  stderr: string,
): Pick<Failure, "kind" | "detail"> | null {
  if (answer === "hang") return { kind: "hang", detail: `no answer in ${SECONDS} s` };
  if (answer === "crash") return { kind: "crash", detail: stderr.slice(-300) };
  if (/^\s+at .*:\d+/m.test(stderr)) return { kind: "printed a stack", detail: stderr.slice(-300) };
  if (answer.peakMiB > MEBIBYTES) return { kind: "memory", detail: `${Math.round(answer.peakMiB)} MiB` };
  if (answer.ok) return answer.shapeFits === true ? null : { kind: "shape", detail: "pixels do not fit the shape" };
  const message = answer.message ?? "";
  if (answer.name !== "InputError")
    return { kind: "not an InputError", detail: `${answer.name}: ${message.slice(0, 300)}` };
  const said = message.replaceAll(path, "").replaceAll(basename(path), "");
  const bytesOfTheFile = /[\0-\x1f\x7f-\x9f\ufffd]/.test(said); // eslint-disable-line no-control-regex
  const leaked = identityOf(original).filter((value) => said.includes(value));
  if (bytesOfTheFile || said.length > 400 || leaked.length > 0 || /\bat .*\.js:\d+/.test(said)) {
    return { kind: "bad message", detail: JSON.stringify(said.slice(0, 300)) };
  }
  return null;
}

/** The patient's name, number and birth date in a DICOM file, where they are long enough to be told from other words. */
function identityOf(original: Uint8Array): string[] {
  try {
    const dataSet = parseDicom(original, { untilTag: "x00101000" });
    const values = ["x00100010", "x00100020", "x00100030"].map((tag) => dataSet.string(tag)?.trim() ?? "");
    return values.filter((value) => value.length >= 5);
  } catch {
    return []; // not DICOM, or damaged before us
  }
}
