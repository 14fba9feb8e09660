/** Videos: MP4, MOV, AVI, MPEG, WebM, Matroska and animated GIF, decoded by ffmpeg in a process of its own. */
import { resolve } from "node:path";
import type { Random } from "../random.js";
import { InputError, type Decoded, type Shape4 } from "../types.js";
import { contentOf, readHead, wrongContent, type Format } from "./sniff.js";
import { statedFrames } from "./videoCount.js";
import { FrameCollector, TooManyValues } from "./videoFrames.js";
import { findFfmpeg, inputArguments, PIPES, runFfmpeg, type FfmpegLog } from "./videoProcess.js";

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
  gif: "gif",
};

export const isVideoFormat = (format: Format | null): boolean => format !== null && format in DEMUXERS;

interface Limits {
  readonly maxPixels: number;
  readonly maxValues: number;
  readonly maxSeconds: number;
}

/** A file, and how it is opened. */
interface Source extends Limits {
  readonly path: string;
  readonly demuxer: string;
}

/** Which frames are asked for. */
interface Choice {
  /** How many will come, if the file holds as many as it was said to. */
  readonly expected: number;
  /** ffmpeg's `select` filter in terms of the frame number `n`; null for all frames. */
  readonly select: string | null;
  readonly warnings: readonly string[];
}

/**
 * Reads a video: every stored frame once, or those that the options ask for, turned as the file says (phones store
 * pictures lying down). Values are 0…255 whatever the file stores; grey comes as three equal channels.
 *
 * @returns `[3, F, H, W]`, kind "video"; what was left out or changed is in `warnings`
 * @throws  `InputError`, one line, where the file is no video, has no frame that can be decoded, or passes a limit
 */
export async function readVideo(path: string, options: VideoOptions = {}): Promise<Decoded> {
  const { maxPixels = 2 ** 26, maxValues = 2 ** 28, maxSeconds = 300 } = options;
  const head = readHead(path);
  const { format, what } = contentOf(head);
  const demuxer = format === null ? undefined : DEMUXERS[format];
  if (demuxer === undefined) throw wrongContent(path, "a video", what);
  const source: Source = { path, demuxer, maxPixels, maxValues, maxSeconds };

  const atOnce = await readAtOnce(source, options, statedFrames(path, format, head));
  if (atOnce !== null) return atOnce;
  const looked = await countPackets(source);
  const interlaced = isInterlaced(looked.info);
  const everyFrameOnce = passthrough(looked.info);
  const filters = filtersOf(options, interlaced);
  const countFrames = () => countDecoded(source, filters, everyFrameOnce);

  // A container may count fields, or packets that give no picture; a constant rate makes another count.
  const asked = options.clip?.frames ?? options.maxFrames;
  let exact = asked !== undefined && (options.framesPerSecond !== undefined || looked.frames === 0);
  let count = exact ? await countFrames() : looked.frames;
  if (count === 0 && asked !== undefined) throw notDecoded(source, what, looked.errors);
  let choice = choose(count, options);
  for (;;) {
    const sink = new FrameCollector(choice.expected, maxValues);
    try {
      const { errors } = await decode(source, filters, everyFrameOnce, choice, asked, sink);
      if (choice.select !== null && sink.frames < choice.expected && !exact) {
        [count, exact] = [await countFrames(), true];
        if (count > 0) choice = choose(count, options, choice.warnings);
        if (count > 0) continue;
      }
      if (sink.frames === 0) throw notDecoded(source, what, [...looked.errors, ...errors]);
      return finished(source, options, sink, looked.info, errors, choice.warnings);
    } catch (error) {
      if (!(error instanceof TooManyValues)) throw error;
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

/**
 * All frames in one run of ffmpeg, where the container states how many there are and this ffmpeg has run before; null where
 * frames have to be chosen or filled in, or where nothing came.
 */
async function readAtOnce(source: Source, options: VideoOptions, stated: number | null): Promise<Decoded | null> {
  const everyFrameOnce = passthroughOf.get(findFfmpeg().program);
  const all = options.maxFrames === undefined && options.clip === undefined && options.framesPerSecond === undefined;
  if (!all || stated === null || everyFrameOnce === undefined) return null;
  const sink = new FrameCollector(stated, source.maxValues);
  const choice: Choice = { expected: stated, select: null, warnings: [] };
  const onInfo = (info: string) => {
    if (isInterlaced(info)) throw new NeedsALook();
  };
  try {
    const log = await decode(source, filtersOf(options, false), everyFrameOnce, choice, undefined, sink, onInfo);
    return sink.frames === 0 ? null : finished(source, options, sink, log.info, log.errors, []);
  } catch (error) {
    if (error instanceof TooManyValues || error instanceof NeedsALook) return null;
    throw error;
  }
}

/** What a file says of itself asks for other filters. */
class NeedsALook extends Error {}

const isInterlaced = (info: string): boolean => /Video: .*\b(?:top|bottom) (?:coded )?first/.test(info);

function finished(
  source: Source,
  options: VideoOptions,
  sink: FrameCollector,
  info: string,
  errors: readonly string[],
  before: readonly string[],
): Decoded {
  const { pixels, shape } = sink.finish();
  const ofFile = info.split(/^(?:Stream mapping|Output #)/m)[0];
  const warnings = [...before, ...notesOf(ofFile, shape, isInterlaced(ofFile), options)];
  if (errors.length > 0)
    warnings.push(`damaged: ${plain(source, errors[0])}; the frames that could be decoded were kept`);
  const unknown = { modality: null, spacingMm: null, orientation: null };
  return { pixels, shape, kind: "video", ...unknown, dtype: "uint8", warnings };
}

/** Which of `count` frames `options` ask for, and what that leaves out. */
export function choose(count: number, { maxFrames, clip }: VideoOptions, before: readonly string[] = []): Choice {
  if (clip !== undefined) {
    const frames = Math.min(clip.frames, count);
    const longest = frames > 1 ? Math.floor((count - 1) / (frames - 1)) : 1;
    const stride = Math.max(1, Math.min(clip.stride ?? 1, longest));
    const start = clip.random?.int(Math.max(1, count - (frames - 1) * stride)) ?? 0;
    const said = `a clip: ${frames} of ${count} frames, ${stride} apart, from frame ${start}`;
    const last = start + (frames - 1) * stride;
    const select = `between(n,${start},${last})*not(mod(n-${start},${stride}))`;
    return { expected: frames, select, warnings: [...before, said] };
  }
  if (maxFrames === undefined || count <= maxFrames) return { expected: count, select: null, warnings: before };
  // Frame n is one of floor((i + ½) N / k) where ceil((2 n k − N) / 2N) counts one more at n + 1 than at n.
  const least = (n: string) => `ceil((2*${n}*${maxFrames}-${count})/${2 * count})`;
  const said = `${maxFrames} of ${count} frames were kept, evenly spaced`;
  return { expected: maxFrames, select: `gt(${least("(n+1)")},${least("n")})`, warnings: [...before, said] };
}

function filtersOf({ deinterlace = true, framesPerSecond, size }: VideoOptions, interlaced: boolean): Filters {
  const first: string[] = [];
  if (interlaced && deinterlace) first.push("yadif=mode=send_frame:deint=interlaced");
  if (framesPerSecond !== undefined) first.push(`fps=${framesPerSecond}`);
  const shrunk = (side: string) => `max(1,round(${side}*min(1,${size}/max(iw,ih))))`;
  const last = size === undefined ? [] : [`scale=w='${shrunk("iw")}':h='${shrunk("ih")}':flags=area`];
  return { first, last };
}

/** Filters before and after frames are chosen. */
interface Filters {
  readonly first: readonly string[];
  readonly last: readonly string[];
}

/** The option that makes every decoded frame come out once; `-vsync` until FFmpeg 5, `-fps_mode` after it. */
function passthrough(info: string): string[] {
  const major = Number(/libavutil\s+(\d+)\./.exec(info)?.[1] ?? 0);
  const option = [major >= 58 ? "-fps_mode" : "-vsync", "passthrough"];
  if (major > 0) passthroughOf.set(findFfmpeg().program, option);
  return option;
}

/** That option of the programs that have run. */
const passthroughOf = new Map<string, readonly string[]>();

async function decode(
  source: Source,
  filters: Filters,
  everyFrameOnce: readonly string[],
  choice: Choice,
  atMost: number | undefined,
  sink: FrameCollector,
  onInfo?: (info: string) => void,
): Promise<FfmpegLog> {
  // Interleaved first, as every viewer shows them; then each colour by itself, which is how they are kept.
  const select = choice.select === null ? [] : [`select='${choice.select}'`];
  const chain = [...filters.first, ...select, ...filters.last, "format=rgb24", "format=gbrp", "extractplanes=r+g+b"];
  const enough = atMost === undefined ? [] : ["-frames:v", String(atMost)]; // what comes after need not be decoded
  const given = [
    ...inputArguments(source.path, source.demuxer, source.maxPixels),
    ...["-filter_complex", `[0:V:0]${chain.join(",")}[r][g][b]`],
    ...["[r]", "[g]", "[b]"].flatMap((plane, i) => {
      return ["-map", plane, ...everyFrameOnce, ...enough, "-c:v", "pgm", "-f", "image2pipe", PIPES[i]];
    }),
  ];
  const onData = [0, 1, 2].map((channel) => (chunk: Buffer) => sink.push(channel, chunk));
  return runFfmpeg(source.path, given, { maxSeconds: source.maxSeconds, onData, onInfo });
}

/** Packets in the container, which are most often frames: nothing is decoded. */
async function countPackets(source: Source): Promise<FfmpegLog & { frames: number }> {
  const { frames, ...log } = await counted(source, ["-c", "copy"]);
  return { ...log, frames };
}

async function countDecoded(source: Source, { first }: Filters, everyFrameOnce: readonly string[]): Promise<number> {
  const chain = first.length > 0 ? ["-vf", first.join(",")] : [];
  return (await counted(source, [...everyFrameOnce, ...chain])).frames;
}

async function counted(source: Source, how: readonly string[]): Promise<FfmpegLog & { frames: number }> {
  let progress = "";
  const given = [
    ...inputArguments(source.path, source.demuxer, source.maxPixels),
    ...["-map", "0:V:0", ...how, "-nostats", "-progress", "pipe:1", "-f", "null", "-"],
  ];
  const onData = (chunk: Buffer): void => {
    progress = (progress + chunk.toString("latin1")).slice(-4096);
  };
  const log = await runFfmpeg(source.path, given, { maxSeconds: source.maxSeconds, onData: [onData] });
  const last = [...progress.matchAll(/^frame=\s*(\d+)$/gm)].at(-1);
  return { ...log, frames: Number(last?.[1] ?? 0) };
}

/** What the file says that changed the pixels, or that somebody who measures in them should know. */
function notesOf(
  info: string,
  [, , height, width]: Shape4,
  interlaced: boolean,
  { deinterlace = true, framesPerSecond, size = Infinity }: VideoOptions,
): string[] {
  const notes: string[] = [];
  if (interlaced) {
    notes.push(deinterlace ? "interlaced: the other field's lines were filled in" : "interlaced, and left as it is");
  }
  const turned = Number(/displaymatrix: rotation of (-?[\d.]+)/.exec(info)?.[1] ?? 0);
  if (turned !== 0)
    notes.push(
      `turned by ${Math.abs(turned)} degrees ${turned > 0 ? "counterclockwise" : "clockwise"}, as the file says`,
    );
  if (framesPerSecond !== undefined) notes.push(`brought to ${framesPerSecond} frames per second`);
  const stored = /Video: .*?, (\d+)x(\d+)/.exec(info);
  if (stored !== null && Math.max(Number(stored[1]), Number(stored[2])) > size) {
    notes.push(`shrunk to ${width} x ${height} pixels from ${stored[1]} x ${stored[2]}`);
  }
  const aspect = /Video: .*?, \d+x\d+ \[SAR (\d+):(\d+) /.exec(info);
  if (aspect !== null && aspect[1] !== aspect[2]) {
    notes.push(`pixels are not square (${aspect[1]}:${aspect[2]}) and were left so`);
  }
  return notes;
}

/** An error line without the path, which stands before it anyway. */
const plain = ({ path }: Source, line: string): string => line.replace(`file:${resolve(path)}: `, "");

function notDecoded(source: Source, what: string, errors: readonly string[]): InputError {
  const kind = what.replace(/^an? /, "");
  const over = errors.find((line) => /exceeds specified max pixel count/.test(line));
  if (over !== undefined) {
    return new InputError(`${source.path}: a frame has more pixels than the limit maxPixels, ${source.maxPixels}`);
  }
  const reason = errors.length > 0 ? plain(source, errors[0]) : "it holds no frame";
  return new InputError(`${source.path}: damaged or truncated ${kind}: ${reason}`);
}
