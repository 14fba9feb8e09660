/** Decoding with FFmpeg's libraries, frame by frame, in the process that calls. */
import {
  ENOMEM,
  FfmpegError,
  NO_MEMORY,
  type Addon,
  type CodecContext,
  type FormatContext,
  type Frame,
  type Stream,
} from "./videoAddon.js";
import { FilterChain } from "./videoAddonFilters.js";
import type { VideoFilters, VideoInfo } from "./videoEngine.js";

/** What is asked of one file. */
export interface AddonRequest {
  /** Absolute: this process may have been started elsewhere. */
  readonly path: string;
  readonly demuxer: string;
  readonly maxPixels: number;
  readonly maxMemory: number;
  /** Count what the container holds, count decoded frames, or decode them. */
  readonly task: "packets" | "count" | "frames";
  readonly filters: VideoFilters;
  /** The numbers of the frames that are asked for, rising; null for all. */
  readonly frames: readonly number[] | null;
  readonly atMost: number | null;
  /** To decode with; 0 for as many as there are processors. */
  readonly threads: number;
}

/** Takes a chosen frame: red, green and blue, each of `width · height` bytes or more, which are gone afterwards. */
export type TakeFrame = (
  width: number,
  height: number,
  planes: readonly [red: Buffer, green: Buffer, blue: Buffer],
) => void;

export interface AddonAnswer {
  readonly frames: number;
  readonly info: VideoInfo;
  readonly errors: readonly string[];
}

// FFmpeg's constants.
const VIDEO = 0; // AVMEDIA_TYPE_VIDEO
const NOT_A_FILM = 0x400 | 0x800; // AV_DISPOSITION_ATTACHED_PIC, AV_DISPOSITION_TIMED_THUMBNAILS
const DISCARD_ALL = 48; // AVDISCARD_ALL
const INTERLACED = 8; // AV_FRAME_FLAG_INTERLACED
const DISPLAY_MATRIX = 5; // AV_PKT_DATA_DISPLAYMATRIX
const MOST_PIXELS = 2 ** 31 - 1; // of the option max_pixels
const EAGAIN = -11;
const NO_TIME = -(2n ** 63n); // AV_NOPTS_VALUE

/** As FFmpeg itself says it. */
const TOO_LARGE = "picture size exceeds specified max pixel count";

/** Pixels between two looks at how much memory is in use: a look costs as much as decoding some thousand. */
const LOOK = 2 ** 24;

/** Answers one request; what FFmpeg refuses is in `errors`. */
export function answer(addon: Addon, request: AddonRequest, take: TakeFrame): AddonAnswer {
  const container = new addon.FormatContext();
  let info: VideoInfo = { interlaced: false, turned: 0, size: null, aspect: null };
  const errors: string[] = [];
  let frames = 0;
  try {
    const { stream, index } = open(addon, container, request);
    info = infoOf(stream);
    if (request.task === "packets") frames = countPackets(addon, container, index);
    else {
      const film = new Film(addon, stream, request, take);
      try {
        film.play(container, index);
        errors.push(...film.errors);
        info = { ...info, interlaced: film.interlaced };
      } finally {
        frames = film.frames;
        film.close();
      }
    }
  } catch (error) {
    if (!(error instanceof FfmpegError)) throw error;
    errors.push(error.message);
  } finally {
    container.closeInputSync();
  }
  return { frames, info, errors };
}

function open(addon: Addon, container: FormatContext, { path, demuxer, maxPixels }: AddonRequest) {
  const check = (code: number): void => {
    if (code < 0) throw new FfmpegError(addon.FFmpegError.strerror(code));
  };
  const options = new addon.Dictionary();
  // What a file refers to can only be a file; the absolute path after `file:` can be taken for no other protocol.
  options.set("protocol_whitelist", "file", 0);
  check(container.openInputSync(`file:${path}`, addon.InputFormat.findInputFormat(demuxer), options));
  const tooLarge = ({ codecpar: { codecType, width, height } }: Stream): boolean =>
    codecType === VIDEO && width * height > maxPixels;
  const inLimits = (): void => {
    if (container.streams?.some(tooLarge)) throw new FfmpegError(TOO_LARGE);
  };
  inLimits();
  check(container.findStreamInfoSync(null));
  inLimits();
  const streams = container.streams ?? [];
  const index = streams.findIndex(
    ({ codecpar, disposition }) => codecpar.codecType === VIDEO && (disposition & NOT_A_FILM) === 0,
  );
  if (index < 0) throw new FfmpegError("it holds no video");
  streams.forEach((other, i) => {
    if (i !== index) other.discard = DISCARD_ALL;
  });
  return { stream: streams[index], index };
}

function infoOf({ codecpar, sampleAspectRatio }: Stream): VideoInfo {
  const { num, den } = sampleAspectRatio.num > 0 ? sampleAspectRatio : codecpar.sampleAspectRatio;
  return {
    interlaced: false,
    turned: turnOf(codecpar.getCodedSideData(DISPLAY_MATRIX)),
    size: [codecpar.width, codecpar.height],
    aspect: num > 0 && den > 0 && num !== den ? [num, den] : null,
  };
}

/** The 3 × 3 matrix of a display, of which the first two columns turn and mirror: nine int32, the first six in 16.16. */
export const displayMatrix = (bytes: Buffer | null): number[] | null =>
  bytes !== null && bytes.length >= 36 ? Array.from({ length: 9 }, (_, i) => bytes.readInt32LE(4 * i)) : null;

/** Degrees counterclockwise: −atan2(m₁ / |(m₁, m₄)|, m₀ / |(m₀, m₃)|), as libavutil's display.h has it; 0 where nothing turns. */
export function turnOf(bytes: Buffer | null): number {
  const m = displayMatrix(bytes);
  if (m === null) return 0;
  const [across, down] = [Math.hypot(m[0], m[3]), Math.hypot(m[1], m[4])];
  if (across === 0 || down === 0) return 0;
  const degrees = (-Math.atan2(m[1] / down, m[0] / across) * 180) / Math.PI;
  return degrees === 0 ? 0 : degrees;
}

function countPackets(addon: Addon, container: FormatContext, index: number): number {
  const packet = new addon.Packet();
  packet.alloc();
  let count = 0;
  while (container.readFrameSync(packet) >= 0) {
    if (packet.streamIndex === index) count++;
    packet.unref();
  }
  packet.free();
  return count;
}

/** One stream on its way through decoder and filters. */
class Film {
  readonly errors: string[] = [];
  interlaced = false;
  /** That came out, chosen ones only where frames are chosen. */
  frames = 0;
  readonly #codec: CodecContext;
  readonly #decoded: Frame;
  readonly #between: Frame;
  readonly #ready: Frame;
  #before: FilterChain | null = null;
  #after: FilterChain | null = null;
  #size: readonly [number, number] | null = null;
  #bytes = Buffer.alloc(0);
  /** Of frames after the first filters. */
  #number = 0;
  /** Pixels since memory was looked at. */
  #unseen = 0;

  constructor(
    private readonly addon: Addon,
    private readonly stream: Stream,
    private readonly request: AddonRequest,
    private readonly take: TakeFrame,
  ) {
    const { codecpar, timeBase } = stream;
    const codec = addon.Codec.findDecoder(codecpar.codecId);
    if (codec === null) throw new FfmpegError("no decoder for its codec");
    this.#codec = new addon.CodecContext();
    this.#codec.allocContext3(codec);
    const filled = this.#codec.parametersToContext(codecpar);
    this.#codec.pktTimebase = timeBase;
    this.#codec.threadCount = request.threads;
    // Before it allocates: what comes in the stream may be larger than the container says.
    addon.Option.setInt(this.#codec, "max_pixels", Math.min(request.maxPixels, MOST_PIXELS), 0);
    const opened = this.#codec.open2Sync(codec, null); // options would be freed twice
    if (opened === EAGAIN) throw new FfmpegError(NO_MEMORY); // for the stack of a thread
    if (filled < 0 || opened < 0) throw new FfmpegError(addon.FFmpegError.strerror(Math.min(filled, opened)));
    [this.#decoded, this.#between, this.#ready] = [0, 1, 2].map(() => {
      const frame = new addon.Frame();
      frame.alloc();
      return frame;
    });
  }

  get #done(): boolean {
    const { atMost, frames } = this.request;
    return (atMost !== null && this.frames >= atMost) || (frames !== null && this.frames >= frames.length);
  }

  play(container: FormatContext, index: number): void {
    const packet = new this.addon.Packet();
    packet.alloc();
    while (!this.#done && container.readFrameSync(packet) >= 0) {
      if (packet.streamIndex === index) {
        const sent = this.#codec.sendPacketSync(packet);
        if (sent < 0) this.#note(sent);
        this.#receive();
      }
      packet.unref();
    }
    packet.free();
    if (this.#done) return;
    this.#codec.sendPacketSync(null);
    this.#receive();
    this.#flush();
  }

  close(): void {
    for (const frame of [this.#decoded, this.#between, this.#ready]) frame.free();
    this.#before?.close();
    this.#after?.close();
    this.#codec.freeContext();
  }

  /** For systems that hold nobody to a limit. */
  #look(pixels: number): void {
    this.#unseen += pixels;
    if (this.#unseen < LOOK) return;
    this.#unseen = 0;
    if (process.memoryUsage.rss() > this.request.maxMemory) throw new FfmpegError(NO_MEMORY);
  }

  #note(code: number): void {
    if (this.errors.length < 8) this.errors.push(this.addon.FFmpegError.strerror(code));
  }

  #receive(): void {
    const frame = this.#decoded;
    while (!this.#done) {
      const code = this.#codec.receiveFrameSync(frame);
      if (code === ENOMEM) this.#note(code); // it says otherwise that it wants more, or is at its end
      if (code < 0) break;
      if (frame.width * frame.height > this.request.maxPixels) throw new FfmpegError(TOO_LARGE);
      this.#look(frame.width * frame.height);
      if ((frame.flags & INTERLACED) !== 0) this.interlaced = true;
      if (frame.bestEffortTimestamp !== NO_TIME) frame.pts = frame.bestEffortTimestamp;
      this.#filterBefore(frame);
      frame.unref();
    }
  }

  /** Filters that count frames anew or look at their neighbours. */
  #filterBefore(frame: Frame): void {
    const { deinterlace, framesPerSecond } = this.request.filters;
    const filters: string[] = [];
    if (deinterlace && this.interlaced && this.request.task === "frames") {
      filters.push("yadif=mode=send_frame:deint=interlaced");
    }
    if (framesPerSecond !== undefined) filters.push(`fps=${framesPerSecond}`);
    if (filters.length === 0) return this.#choose(frame);
    if (this.#before === null || !this.#before.fits(frame, filters)) {
      this.#flush();
      this.#before = new FilterChain(this.addon, frame, this.stream, filters, this.request.threads);
    }
    this.#before.push(frame);
    this.#drain();
  }

  /** What the first filters still hold. */
  #flush(): void {
    if (this.#before === null) return;
    this.#before.push(null);
    this.#drain();
    this.#before.close();
    this.#before = null;
  }

  #drain(): void {
    while (!this.#done && this.#before!.pull(this.#between)) {
      this.#choose(this.#between);
      this.#between.unref();
    }
  }

  #choose(frame: Frame): void {
    const n = this.#number++;
    const { frames, task } = this.request;
    if (frames !== null && frames[this.frames] !== n) return;
    if (task === "frames") this.#show(frame);
    this.frames++;
  }

  /** One call copies all rows without what lies between them; the planes come as green, blue, red. */
  #takeFrame(width: number, height: number, { data, linesize, format }: Frame): void {
    const plane = width * height;
    if (this.#bytes.length !== 3 * plane) this.#bytes = Buffer.alloc(3 * plane);
    this.addon.avImageCopyToBuffer(this.#bytes, 3 * plane, data!, linesize, format, width, height, 1);
    const [green, blue, red] = [0, 1, 2].map((i) => this.#bytes.subarray(i * plane, (i + 1) * plane));
    this.take(width, height, [red, green, blue]);
  }

  #show(frame: Frame): void {
    const { size } = this.request.filters;
    // Colours first: averages of luma and of chroma would be darker or brighter than those of what is seen.
    const filters = [...turning(this.stream), COLOURS, ...(size === undefined ? [] : [shrinking(size), COLOURS])];
    // A film whose frames change in size goes on in the size of its first.
    if (this.#size !== null) filters.push(`scale=${this.#size[0]}:${this.#size[1]}`, COLOURS);
    if (this.#after === null || !this.#after.sees(frame)) {
      this.#after?.close();
      this.#after = new FilterChain(this.addon, frame, this.stream, filters, this.request.threads);
    }
    this.#after.push(frame);
    const ready = this.#ready;
    while (this.#after.pull(ready)) {
      const { width, height } = ready;
      this.#size ??= [width, height];
      this.#takeFrame(width, height, ready);
      ready.unref();
    }
  }
}

const COLOURS = "format=pix_fmts=gbrp";

const shrinking = (size: number): string => {
  const shrunk = (side: string) => `max(1,round(${side}*min(1,${size}/max(iw,ih))))`;
  return `scale=w='${shrunk("iw")}':h='${shrunk("ih")}':flags=area`;
};

/** Filters that show a picture as its matrix says: by quarters of a turn, mirrored or not, and by any other angle. */
function turning({ codecpar }: Stream): string[] {
  const bytes = codecpar.getCodedSideData(DISPLAY_MATRIX);
  const m = displayMatrix(bytes);
  if (m === null) return [];
  const clockwise = ((Math.round(-turnOf(bytes)) % 360) + 360) % 360;
  const near = (angle: number) => Math.abs(clockwise - angle) < 1;
  if (near(90)) return [`transpose=${m[3] > 0 ? "cclock_flip" : "clock"}`];
  if (near(180)) return [...(m[0] < 0 ? ["hflip"] : []), ...(m[4] < 0 ? ["vflip"] : [])];
  if (near(270)) return [`transpose=${m[3] < 0 ? "clock_flip" : "cclock"}`];
  if (near(0) || near(360)) return m[4] < 0 ? ["vflip"] : [];
  return [`rotate=${clockwise}*PI/180`];
}
