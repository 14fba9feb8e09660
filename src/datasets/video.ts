/**
 * Videos: MP4, MOV, AVI, MPEG, WebM, Matroska and animated GIF, decoded by FFmpeg in a process of its own: its libraries in a helper
 * that goes from file to file, or, where that does not run, the ffmpeg program, started for each file.
 */
import { resolve } from "node:path";
import type { Random } from "../random.js";
import { InputError, type Decoded, type Shape4 } from "../types.js";
import { contentOf, readHead, wrongContent, type Format } from "./sniff.js";
import { statedFrames } from "./videoCount.js";
import { FrameCollector, TooManyValues } from "./videoFrames.js";
import type { VideoChoice, VideoEngine, VideoInfo, VideoLog, VideoSource } from "./videoEngine.js";
import { helperEngine, NoAddon, whyNoHelper } from "./videoHelpers.js";
import { findFfmpeg, overMemory, saysNoMemory } from "./videoProcess.js";
import { programEngine } from "./videoProgram.js";

export interface VideoOptions {
  /** Keep at most this many frames, evenly spaced: of n frames, k are floor((i + ½) n / k), i = 0 … k − 1. */
  readonly maxFrames?: number;
  /** Instead: `frames` frames, `stride` apart, from a start that `random` draws (frame 0 without it). */
  readonly clip?: { readonly frames: number; readonly stride?: number; readonly random?: Random };
  /** Shrink so that the longer side has at most this many pixels, averaging over areas; never enlarged. */
  readonly size?: number;
  /** A constant rate: frames are repeated or left out to reach it. Where left out, every stored frame comes once. */
  readonly framesPerSecond?: number;
  /** Fill in the lines of the other field where frames are marked as interlaced (yadif, one frame for each). */
  readonly deinterlace?: boolean;
  /** A frame may hold this many pixels. */
  readonly maxPixels?: number;
  /** The result may hold this many numbers: where neither `maxFrames` nor `clip` is given, fewer frames are kept. */
  readonly maxValues?: number;
  /**
   * Bytes of memory that the process which decodes may take, of which some 130 MB are its own before it reads a file: the kernel
   * holds it to that on Linux; elsewhere it looks after itself, between frames.
   */
  readonly maxMemory?: number;
  /** Time to decode in, in seconds. */
  readonly maxSeconds?: number;
}

/** What ffmpeg calls the formats that are videos. Naming one keeps it from trying all the others on the file. */
const DEMUXERS: Partial<Record<Format, string>> = {
  mov: "mov",
  avi: "avi",
  mpeg: "mpeg",
  mpegts: "mpegts",
  mpegvideo: "mpegvideo",
  matroska: "matroska",
  asf: "asf",
  flv: "flv",
  gif: "gif",
};

export const isVideoFormat = (format: Format | null): boolean => format !== null && format in DEMUXERS;

/** A file on its way, and its limits. */
interface Video extends VideoSource {
  readonly maxValues: number;
  /** What the file is, for messages. */
  readonly what: string;
  /** Frames that its container says it holds, where it says so. */
  readonly stated: number | null;
}

/**
 * Reads a video: every stored frame once, or those that the options ask for, turned as the file says (phones store
 * pictures lying down). Values are 0…255 whatever the file stores; grey comes as three equal channels.
 *
 * @returns `[3, F, H, W]`, kind "video"; what was left out or changed is in `warnings`
 * @throws  `InputError`, one line, where the file is no video, has no frame that can be decoded, or passes a limit
 */
export async function readVideo(path: string, options: VideoOptions = {}): Promise<Decoded> {
  const { maxPixels = 2 ** 26, maxValues = 2 ** 28, maxSeconds = 300, maxMemory = 2 ** 31 } = options;
  const head = readHead(path);
  const { format, what } = contentOf(head);
  const demuxer = format === null ? undefined : DEMUXERS[format];
  if (demuxer === undefined) throw wrongContent(path, "a video", what);
  const video: Video = {
    path,
    demuxer,
    maxPixels,
    maxValues,
    maxSeconds,
    maxMemory,
    what,
    stated: statedFrames(path, format, head),
  };
  const why = process.env.FFMPEG_PATH ? "FFMPEG_PATH names a program" : whyNoHelper();
  if (why === null) {
    try {
      return await readWith(helperEngine, video, options);
    } catch (error) {
      if (!(error instanceof NoAddon)) throw error;
      sayFallback(error.message);
    }
  } else if (!process.env.FFMPEG_PATH) sayFallback(why);
  return readWith(programEngine(), video, options);
}

let said = false;

/** Once, because a folder may hold thousands. */
function sayFallback(why: string): void {
  const { program } = findFfmpeg();
  if (!said) process.emitWarning(`videos are decoded by ${program}, started for each file, because ${why}`);
  said = true;
}

async function readWith(engine: VideoEngine, video: Video, options: VideoOptions): Promise<Decoded> {
  const { path, maxValues, stated } = video;
  const { deinterlace = true, framesPerSecond, size } = options;
  const filters = { deinterlace, framesPerSecond, size };
  const asked = options.clip?.frames ?? options.maxFrames;
  const countFrames = () => engine.countFrames(video, filters);

  // What the container states costs nothing; where it is wrong, all frames come nevertheless, at the price of a copy. It may count
  // fields, or packets that give no picture, and a constant rate makes another count.
  const all = asked === undefined && framesPerSecond === undefined;
  let trusted = all && stated !== null;
  let looked = trusted ? { frames: stated!, errors: [] as readonly string[] } : await engine.countPackets(video);
  let exact = asked !== undefined && (framesPerSecond !== undefined || looked.frames === 0);
  let count = exact ? await countFrames() : looked.frames;
  if (count === 0 && asked !== undefined) throw notDecoded(video, looked.errors);
  let choice = choose(count, options);
  for (;;) {
    const sink = new FrameCollector(choice.expected, maxValues);
    try {
      const log = await engine.decode(video, filters, choice, asked, sink);
      if (choice.select !== null && sink.frames < choice.expected && !exact) {
        [count, exact] = [await countFrames(), true];
        if (count > 0) choice = choose(count, options, choice.warnings);
        if (count > 0) continue;
      }
      if (sink.frames === 0) throw notDecoded(video, [...looked.errors, ...log.errors]);
      return finished(video, options, sink, log, choice.warnings);
    } catch (error) {
      if (!(error instanceof TooManyValues)) throw error;
      if (trusted) {
        trusted = false;
        looked = await engine.countPackets(video);
        choice = choose((count = looked.frames), options);
        continue;
      }
      const fitting = Math.floor(maxValues / error.valuesPerFrame);
      if (asked !== undefined || fitting === 0 || choice.select !== null) {
        const frames = choice.expected === 1 ? "1 frame" : `${choice.expected} frames`;
        throw new InputError(
          `${path}: ${frames} of ${error.valuesPerFrame} values are over the limit maxValues, ${maxValues}`,
        );
      }
      if (!exact) [count, exact] = [await countFrames(), true];
      choice = choose(count, { maxFrames: fitting }, [`all frames are over the limit maxValues, ${maxValues} numbers`]);
    }
  }
}

function finished(
  video: Video,
  options: VideoOptions,
  sink: FrameCollector,
  { info, errors }: VideoLog,
  before: readonly string[],
): Decoded {
  const { pixels, shape } = sink.finish();
  const warnings = [...before, ...notesOf(info, shape, options)];
  if (saysNoMemory(errors)) throw overMemory(video.path, video.maxMemory); // which frames were kept would be chance
  if (errors.length > 0)
    warnings.push(`damaged: ${plain(video, errors[0])}; the frames that could be decoded were kept`);
  const unknown = { modality: null, spacingMm: null, orientation: null };
  return { pixels, shape, kind: "video", ...unknown, dtype: "uint8", warnings };
}

/** Which of `count` frames `options` ask for, and what that leaves out. */
export function choose(count: number, { maxFrames, clip }: VideoOptions, before: readonly string[] = []): VideoChoice {
  if (clip !== undefined) {
    const frames = Math.min(clip.frames, count);
    const longest = frames > 1 ? Math.floor((count - 1) / (frames - 1)) : 1;
    const stride = Math.max(1, Math.min(clip.stride ?? 1, longest));
    const start = clip.random?.int(Math.max(1, count - (frames - 1) * stride)) ?? 0;
    const said = `a clip: ${frames} of ${count} frames, ${stride} apart, from frame ${start}`;
    const last = start + (frames - 1) * stride;
    const select = `between(n,${start},${last})*not(mod(n-${start},${stride}))`;
    const numbers = Array.from({ length: frames }, (_, i) => start + i * stride);
    return { expected: frames, frames: numbers, select, warnings: [...before, said] };
  }
  if (maxFrames === undefined || count <= maxFrames) {
    return { expected: count, frames: null, select: null, warnings: before };
  }
  // Frame n is one of floor((i + ½) N / k) where ceil((2 n k − N) / 2N) counts one more at n + 1 than at n.
  const least = (n: string) => `ceil((2*${n}*${maxFrames}-${count})/${2 * count})`;
  const said = `${maxFrames} of ${count} frames were kept, evenly spaced`;
  const select = `gt(${least("(n+1)")},${least("n")})`;
  const numbers = Array.from({ length: maxFrames }, (_, i) => Math.floor(((i + 0.5) * count) / maxFrames));
  return { expected: maxFrames, frames: numbers, select, warnings: [...before, said] };
}

/** What the file says that changed the pixels, or that somebody who measures in them should know. */
function notesOf(
  { interlaced, turned, size: stored, aspect }: VideoInfo,
  [, , height, width]: Shape4,
  { deinterlace = true, framesPerSecond, size = Infinity }: VideoOptions,
): string[] {
  const notes: string[] = [];
  if (interlaced) {
    notes.push(deinterlace ? "interlaced: the other field's lines were filled in" : "interlaced, and left as it is");
  }
  if (turned !== 0)
    notes.push(
      `turned by ${Math.abs(turned)} degrees ${turned > 0 ? "counterclockwise" : "clockwise"}, as the file says`,
    );
  if (framesPerSecond !== undefined) notes.push(`brought to ${framesPerSecond} frames per second`);
  if (stored !== null && Math.max(...stored) > size) {
    notes.push(`shrunk to ${width} x ${height} pixels from ${stored[0]} x ${stored[1]}`);
  }
  if (aspect !== null) notes.push(`pixels are not square (${aspect[0]}:${aspect[1]}) and were left so`);
  return notes;
}

/** An error line without the path, which stands before it anyway. */
const plain = ({ path }: Video, line: string): string => line.replace(`file:${resolve(path)}: `, "");

function notDecoded(video: Video, errors: readonly string[]): InputError {
  const { path, maxPixels, maxMemory } = video;
  const kind = video.what.replace(/^an? /, "");
  const over = errors.find((line) => /exceeds specified max pixel count/.test(line));
  if (over !== undefined) {
    return new InputError(`${path}: a frame has more pixels than the limit maxPixels, ${maxPixels}`);
  }
  if (saysNoMemory(errors)) return overMemory(path, maxMemory);
  const reason = errors.length > 0 ? plain(video, errors[0]) : "it holds no frame";
  return new InputError(`${path}: damaged or truncated ${kind}: ${reason}`);
}
