/** What decodes videos: a library in a helper process, or the ffmpeg program. Both answer the same questions. */
import type { FrameCollector } from "./videoFrames.js";

/** A file, how it is opened, and what it may cost. */
export interface VideoSource {
  readonly path: string;
  /** FFmpeg's name of the container: naming one keeps it from trying all the others on the file. */
  readonly demuxer: string;
  readonly maxPixels: number;
  readonly maxSeconds: number;
  /** Bytes that the process which decodes may take. */
  readonly maxMemory: number;
}

/** Frames as they come out: what happens to them before and after some are chosen. */
export interface VideoFilters {
  /** Before: fill in the other field's lines of frames that are marked as interlaced. */
  readonly deinterlace: boolean;
  /** Before: a constant rate. */
  readonly framesPerSecond?: number;
  /** After: the longer side at most. */
  readonly size?: number;
}

/** Which frames are asked for. */
export interface VideoChoice {
  /** How many will come, if the file holds as many as it was said to. */
  readonly expected: number;
  /** Their numbers, rising; null for all frames. */
  readonly frames: readonly number[] | null;
  /** The same as ffmpeg's `select` filter, in terms of the frame number `n`. */
  readonly select: string | null;
  readonly warnings: readonly string[];
}

/** What a file says of its pictures. */
export interface VideoInfo {
  readonly interlaced: boolean;
  /** Degrees counterclockwise that a viewer has to turn them. */
  readonly turned: number;
  /** As stored, before turning; null where the file has no video. */
  readonly size: readonly [width: number, height: number] | null;
  /** Of one pixel, width : height; null where it is not said or square. */
  readonly aspect: readonly [number, number] | null;
}

export interface VideoLog {
  readonly info: VideoInfo;
  /** What went wrong on the way, a few lines at most. */
  readonly errors: readonly string[];
}

export interface VideoEngine {
  /** Decodes into `sink`; no more than `atMost` frames. An error that the sink throws ends it. */
  decode(
    source: VideoSource,
    filters: VideoFilters,
    choice: VideoChoice,
    atMost: number | undefined,
    sink: FrameCollector,
  ): Promise<VideoLog>;
  /** Packets in the container, which are most often frames: nothing is decoded. */
  countPackets(source: VideoSource): Promise<VideoLog & { frames: number }>;
  /** Frames before any is chosen. */
  countFrames(source: VideoSource, filters: VideoFilters): Promise<number>;
}
