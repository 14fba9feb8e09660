/** Helper processes that decode videos with FFmpeg's libraries: started when first needed, kept for the next file. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread } from "node:worker_threads";
import { InputError } from "../types.js";
import { addonPackage, findAddon } from "./videoAddon.js";
import type { AddonAnswer, AddonRequest } from "./videoAddonDecode.js";
import type { VideoEngine, VideoLog, VideoSource } from "./videoEngine.js";
import type { FrameCollector } from "./videoFrames.js";
import { overMemory, saysNoMemory, withMemory } from "./videoProcess.js";

/** Raised where the addon does not run here, with the reason. */
export class NoAddon extends Error {}

/** The helper's program: beside this file, or where the build puts it when the sources themselves are run. */
const program = ["./videoHelper.js", "../../dist/datasets/videoHelper.js"]
  .map((name) => fileURLToPath(new URL(name, import.meta.url)))
  .find((path) => existsSync(path));

/** Why there can be no helper, or null. */
export function whyNoHelper(addon = findAddon()): string | null {
  if (program === undefined) return "the package is not built";
  return addon === null ? `${addonPackage()} is not installed` : null;
}

/** One process. It keeps nothing alive: whoever waits for it holds a timer. */
class Helper {
  readonly #child: ChildProcess;
  #job: Job | null = null;
  #said = "";
  #text = "";
  #answer: AddonAnswer | null = null;
  /** Of the frame that is under way: bytes of a plane, planes, and bytes still to come. */
  #plane = 0;
  #planes = 3;
  #left = 0;
  #ready = false;
  ended = false;

  constructor(
    addon: string,
    readonly maxMemory: number,
  ) {
    const environment: NodeJS.ProcessEnv = { ...process.env, AV_LOG_FORCE_NOCOLOR: "1" };
    delete environment.NODE_OPTIONS; // a debugger or a loader of the parent is nothing for it
    const [command, given] = withMemory(maxMemory, process.execPath, [program!, addon]);
    this.#child = spawn(command, given, { stdio: "pipe", env: environment, windowsHide: true });
    this.#child.unref();
    for (const stream of this.#child.stdio) (stream as unknown as { unref(): void }).unref();
    this.#child.stdin!.on("error", () => undefined); // its end is told by "close"
    this.#child.stdout!.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#child.stderr!.on("data", (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString("utf8")).slice(-65536);
      this.#finish();
    });
    this.#child.on("error", (error) => this.#end(error.message));
    this.#child.on("close", (code, signal) => this.#end(signal ?? `code ${code}`));
  }

  /** `path` is for messages. */
  run(
    request: AddonRequest,
    { path, maxSeconds }: VideoSource,
    onBytes: (channel: number, bytes: Uint8Array) => void,
  ): Promise<AddonAnswer> {
    return new Promise<AddonAnswer>((done, fail) => {
      const timer = setTimeout(() => {
        this.stop(new InputError(`${path}: decoding took longer than the limit maxSeconds, ${maxSeconds} s`));
      }, maxSeconds * 1000);
      this.#job = { path, timer, onBytes, done, fail };
      this.#said = "";
      // In ASCII, so that no letter is cut in two on the way.
      const ascii = JSON.stringify(request).replace(
        /[\u0080-\uffff]/g,
        (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
      );
      this.#child.stdin!.write(`${ascii}\n`);
    });
  }

  stop(why: Error): void {
    this.ended = true;
    this.#child.kill("SIGKILL");
    this.#settle((job) => job.fail(why));
  }

  #take(chunk: Buffer): void {
    try {
      for (let at = 0; at < chunk.length && !this.ended;)
        at = this.#left > 0 ? this.#bytes(chunk, at) : this.#line(chunk, at);
    } catch (error) {
      this.stop(error as Error);
    }
  }

  #bytes(chunk: Buffer, at: number): number {
    const after = Math.ceil(this.#left / this.#plane) - 1; // planes that follow this one
    const end = Math.min(chunk.length, at + this.#left - after * this.#plane);
    const bytes = chunk.subarray(at, end);
    for (const channel of this.#planes === 1 ? [0, 1, 2] : [2 - after]) this.#job?.onBytes(channel, bytes);
    this.#left -= end - at;
    return end;
  }

  #line(chunk: Buffer, at: number): number {
    const newline = chunk.indexOf(10, at);
    this.#text += chunk.toString("latin1", at, newline < 0 ? chunk.length : newline);
    if (newline < 0) return chunk.length;
    const said = JSON.parse(this.#text) as FrameHeader | AddonAnswer | { ready: true };
    this.#text = "";
    if ("width" in said) {
      this.#plane = said.width * said.height;
      this.#planes = said.planes;
      this.#left = said.planes * this.#plane;
      const header = Buffer.from(`P5\n${said.width} ${said.height}\n255\n`);
      for (let channel = 0; channel < 3; channel++) this.#job?.onBytes(channel, header);
    } else if ("ready" in said) this.#ready = true;
    else this.#answer = said;
    this.#finish();
    return newline + 1;
  }

  /** Both streams have to be at their end: neither waits for the other. */
  #finish(): void {
    if (this.#answer === null || !this.#said.includes("\0")) return;
    const errors = this.#said
      .slice(0, this.#said.indexOf("\0"))
      .split(/[\r\n]+/)
      .map((line) => line.replace(/\[[^\]]* @ [^\]]*\] */g, "").trim())
      .filter((line) => line !== "");
    const answer = { ...this.#answer, errors: [...errors, ...this.#answer.errors].slice(0, 8) };
    this.#answer = null;
    this.#settle((job) => job.done(answer));
  }

  #end(how: string): void {
    this.ended = true;
    this.#settle(({ path, fail }) => {
      const said =
        this.#said
          .trim()
          .split("\n")
          .find((line) => /Error|cannot|not found/.test(line)) ?? how;
      if (!this.#ready) fail(new NoAddon(said));
      else if (saysNoMemory(this.#said.split("\n"))) fail(overMemory(path, this.maxMemory));
      else fail(new InputError(`${path}: damaged video: the decoder ended by ${how}`));
    });
  }

  #settle(how: (job: Job) => void): void {
    const job = this.#job;
    this.#job = null;
    if (job === null) return;
    clearTimeout(job.timer);
    how(job);
  }
}

interface FrameHeader {
  readonly width: number;
  readonly height: number;
  readonly planes: 1 | 3;
}

interface Job {
  readonly path: string;
  readonly timer: NodeJS.Timeout;
  onBytes(channel: number, bytes: Uint8Array): void;
  done(answer: AddonAnswer): void;
  fail(why: Error): void;
}

const resting: Helper[] = [];
const waiting: (() => void)[] = [];
let busy = 0;

function takeResting(maxMemory: number): Helper | undefined {
  const at = resting.findLastIndex((helper) => helper.maxMemory === maxMemory);
  return at < 0 ? undefined : resting.splice(at, 1)[0];
}

type Question = Pick<AddonRequest, "task"> & Partial<AddonRequest>;

/** Asks a helper that rests, or a new one; as many at once as there are processors. */
async function ask(source: VideoSource, question: Question, sink: FrameCollector | null = null): Promise<AddonAnswer> {
  const { path, demuxer, maxPixels, maxMemory } = source;
  const nothing = { filters: { deinterlace: false }, frames: null, atMost: null };
  const threads = isMainThread ? 0 : 1; // beside a worker thread, others are at work
  const request: AddonRequest = {
    path: resolve(path),
    demuxer,
    maxPixels,
    maxMemory,
    threads,
    ...nothing,
    ...question,
  };
  if (busy >= availableParallelism()) await new Promise<void>((go) => waiting.push(go));
  busy++;
  try {
    let helper = takeResting(maxMemory);
    while (helper?.ended) helper = takeResting(maxMemory);
    helper ??= new Helper(findAddon()!, maxMemory);
    const answer = await helper.run(request, source, (channel, bytes) => sink?.push(channel, bytes));
    resting.push(helper);
    return answer;
  } finally {
    busy--;
    waiting.shift()?.();
  }
}

export const helperEngine: VideoEngine = {
  decode(source, filters, { frames }, atMost, sink): Promise<VideoLog> {
    return ask(source, { task: "frames", filters, frames, atMost: atMost ?? null }, sink);
  },
  countPackets: (source) => ask(source, { task: "packets" }),
  async countFrames(source, filters): Promise<number> {
    return (await ask(source, { task: "count", filters })).frames;
  },
};
