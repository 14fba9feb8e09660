/** The ffmpeg program: where it is, and how it is run without trusting the file that it reads. */
import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { InputError } from "../types.js";

/** A program that decodes, and who named it. */
export interface Ffmpeg {
  readonly program: string;
  readonly from: "FFMPEG_PATH" | "PATH" | "@ffmpeg-installer/ffmpeg";
}

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
};

/**
 * The first there is of: the program that FFMPEG_PATH names, `ffmpeg` on PATH, and the one of the optional package
 * @ffmpeg-installer/ffmpeg.
 *
 * @throws `InputError` where FFMPEG_PATH names no program, or where none of the three is there, naming them
 */
export function findFfmpeg(environment: NodeJS.ProcessEnv = process.env, installed = installedFfmpeg): Ffmpeg {
  const named = environment.FFMPEG_PATH;
  if (named) {
    if (isProgram(named)) return { program: named, from: "FFMPEG_PATH" };
    throw new InputError(`FFMPEG_PATH=${named}: expected the path of the ffmpeg program, got no such program`);
  }
  const name = process.platform === "win32" ? "ffmpeg.exe" : "ffmpeg";
  const folders = (environment.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  const onPath = folders.map((folder) => join(folder, name)).find(isProgram);
  if (onPath !== undefined) return { program: onPath, from: "PATH" };
  const packaged = installed();
  if (packaged !== null && isProgram(packaged)) return { program: packaged, from: "@ffmpeg-installer/ffmpeg" };
  throw new InputError(
    "videos are decoded by ffmpeg, and there is none; tried: FFMPEG_PATH (not set), ffmpeg on PATH (not found), " +
      "the package @ffmpeg-installer/ffmpeg (not installed)",
  );
}

function installedFfmpeg(): string | null {
  try {
    return (createRequire(import.meta.url)("@ffmpeg-installer/ffmpeg") as { path: string }).path;
  } catch {
    return null; // an optional dependency: npm leaves it out where there is no program for the platform
  }
}

export interface RunOptions {
  /** Seconds until the program is stopped. */
  readonly maxSeconds: number;
  /** Bytes that it may take. */
  readonly maxMemory: number;
  /** What comes out of the program, from each of its pipes (`PIPES`); an error thrown here ends it. */
  readonly onData: readonly ((chunk: Buffer) => void)[];
}

/** What ffmpeg calls the pipes that it may write to, in the order of `onData`. */
export const PIPES = ["pipe:1", "pipe:3", "pipe:4"] as const;

/** What the program said of itself. */
export interface FfmpegLog {
  /** Its first lines, which describe the file. They may hold names of people: never show them. */
  readonly info: string;
  /** Lines of level error, at most a few. */
  readonly errors: readonly string[];
}

/**
 * Arguments that open the file at `path` as one container format and nothing else. The absolute path after `file:` can be
 * taken neither for an option nor for a protocol, and what a file refers to can only be a file.
 */
export function inputArguments(path: string, demuxer: string, maxPixels: number): string[] {
  const guards = ["-protocol_whitelist", "file,pipe", "-max_pixels", String(maxPixels)];
  return [...guards, "-f", demuxer, "-i", `file:${resolve(path)}`];
}

/**
 * A program and its arguments, started so that the system gives it no more than `maxMemory` bytes: headers lie about sizes, and
 * libraries believe them. On Linux the kernel holds it to that (RLIMIT_DATA, set by `ulimit -d`, which Node itself cannot);
 * elsewhere, and where there is no shell, nothing does. The program takes the shell's place, so that it can be killed.
 */
export function withMemory(maxMemory: number, program: string, given: readonly string[]): [string, string[]] {
  const shell = "/bin/sh";
  if (process.platform !== "linux" || !existsSync(shell)) return [program, [...given]];
  const limit = 'ulimit -S -d "$0" 2>/dev/null; exec "$@"'; // it fails where the limit is lower already
  return [shell, ["-c", limit, String(Math.ceil(maxMemory / 1024)), program, ...given]];
}

const NO_MEMORY = /cannot allocate memory|out of memory|bad_alloc|resource temporarily unavailable/i;

/** Whether lines of errors say that there was no memory: for a frame, for the stack of a thread, or for JavaScript. */
export const saysNoMemory = (errors: readonly string[]): boolean =>
  errors.some((line) => NO_MEMORY.test(line)) ||
  (errors.some((line) => line.includes("get_buffer() failed")) && !errors.some((line) => /size|invalid/i.test(line)));

export const overMemory = (path: string, maxMemory: number): InputError =>
  new InputError(`${path}: decoding takes more memory than the limit maxMemory, ${maxMemory} bytes`);

/** Frames closer in time than the output counts come out all the same: nothing is wrong with the file. */
const OF_OUR_OUTPUT = /non monotonically increasing dts to muxer/;

/** Runs ffmpeg, without a terminal, and waits for its end. `path` is for messages. */
export function runFfmpeg(
  path: string,
  given: readonly string[],
  { maxSeconds, maxMemory, onData }: RunOptions,
): Promise<FfmpegLog> {
  const { program } = findFfmpeg();
  const environment: NodeJS.ProcessEnv = { ...process.env, AV_LOG_FORCE_NOCOLOR: "1" };
  delete environment.FFREPORT; // it would write a log beside whoever runs this
  return new Promise((done, fail) => {
    const child = spawn(...withMemory(maxMemory, program, ["-nostdin", "-loglevel", "level+info", ...given]), {
      stdio: ["ignore", "pipe", "pipe", ...onData.slice(1).map(() => "pipe" as const)],
      env: environment,
      windowsHide: true,
    });
    let info = "";
    let rest = "";
    let stopped: Error | null = null;
    const errors: string[] = [];
    const stop = (why: Error): void => {
      stopped ??= why;
      child.kill("SIGKILL");
    };
    const timer = setTimeout(() => {
      stop(new InputError(`${path}: decoding took longer than the limit maxSeconds, ${maxSeconds} s`));
    }, maxSeconds * 1000);
    const tell = <T>(take: (something: T) => void, something: T): void => {
      if (stopped !== null) return;
      try {
        take(something);
      } catch (error) {
        stop(error as Error);
      }
    };
    onData.forEach((take, i) => {
      (child.stdio[i === 0 ? 1 : i + 2] as Readable).on("data", (chunk: Buffer) => tell(take, chunk));
    });
    child.stderr!.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString("utf8")).split(/[\r\n]+/);
      rest = lines.pop()!.slice(-4096);
      for (const line of lines) {
        if (/\[(error|fatal|panic)\]/.test(line) && !OF_OUR_OUTPUT.test(line)) {
          if (errors.length < 8) errors.push(line.replace(/\[[^\]]* @ [^\]]*\]|\[\w+\]/g, "").trim());
        } else if (info.length < 65536) info += line + "\n";
      }
    });
    child.on("error", (error) => {
      clearTimeout(timer);
      fail(new InputError(`${path}: ${program} cannot be run: ${error.message.split("\n")[0]}`));
    });
    child.on("close", () => {
      clearTimeout(timer);
      if (stopped !== null) fail(stopped);
      else done({ info, errors });
    });
  });
}
