/**
 * FFmpeg's libraries as a Node addon: the binary packages of node-av, which hold one file each, without node-av itself, whose
 * installation would fetch a program from elsewhere. Only a helper process loads it: what decodes damaged files may fall over.
 */
import { createRequire } from "node:module";

/** The part of node-av's binding that is used, by FFmpeg's own names. Numbers below 0 are FFmpeg's errors. */
export interface Addon {
  readonly FormatContext: new () => FormatContext;
  readonly CodecContext: new () => CodecContext;
  readonly Packet: new () => Packet;
  readonly Frame: new () => Frame;
  readonly Dictionary: new () => Dictionary;
  readonly FilterGraph: new () => FilterGraph;
  readonly Codec: { findDecoder(id: number): object | null };
  readonly InputFormat: { findInputFormat(name: string): object | null };
  readonly Filter: { getByName(name: string): object | null };
  readonly FFmpegError: { strerror(code: number): string };
  readonly Option: { setInt(of: CodecContext, name: string, value: number, flags: number): number };
  avImageCopyToBuffer(
    to: Buffer,
    size: number,
    planes: readonly Buffer[],
    linesizes: readonly number[],
    format: number,
    width: number,
    height: number,
    align: number,
  ): number;
  readonly Log: { setLevel(level: number): void };
}

/** What is wrong with a file, in FFmpeg's words. */
export class FfmpegError extends Error {}

export const ENOMEM = -12;
export const NO_MEMORY = "Cannot allocate memory";

export interface Rational {
  readonly num: number;
  readonly den: number;
}

export interface Dictionary {
  set(key: string, value: string, flags: number): number;
  free(): void;
}

export interface FormatContext {
  readonly streams: readonly Stream[] | null;
  openInputSync(url: string, format: object | null, options: Dictionary | null): number;
  findStreamInfoSync(options: null): number; // options of another stream count than one make it fall over
  readFrameSync(packet: Packet): number;
  closeInputSync(): void;
}

export interface Stream {
  readonly codecpar: CodecParameters;
  readonly timeBase: Rational;
  readonly rFrameRate: Rational;
  readonly sampleAspectRatio: Rational;
  readonly disposition: number;
  discard: number;
}

export interface CodecParameters {
  readonly codecType: number;
  readonly codecId: number;
  readonly width: number;
  readonly height: number;
  readonly sampleAspectRatio: Rational;
  getCodedSideData(type: number): Buffer | null;
}

export interface CodecContext {
  pktTimebase: Rational;
  threadCount: number;
  allocContext3(codec: object): void;
  parametersToContext(parameters: CodecParameters): number;
  open2Sync(codec: object, options: null): number;
  sendPacketSync(packet: Packet | null): number;
  receiveFrameSync(frame: Frame): number;
  freeContext(): void;
}

export interface Packet {
  readonly streamIndex: number;
  alloc(): void;
  unref(): void;
  free(): void;
}

export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly format: number;
  readonly colorSpace: number;
  readonly colorRange: number;
  readonly sampleAspectRatio: Rational;
  readonly flags: number;
  readonly linesize: readonly number[];
  readonly data: readonly Buffer[] | null;
  readonly bestEffortTimestamp: bigint;
  pts: bigint;
  alloc(): void;
  unref(): void;
  free(): void;
}

export interface FilterGraph {
  nbThreads: number;
  alloc(): void;
  createFilter(filter: object, name: string, given: string | null): FilterContext | null;
  configSync(): number;
  free(): void;
}

export interface FilterContext {
  link(output: number, to: FilterContext, input: number): number;
  buffersrcAddFrameSync(frame: Frame | null, flags?: number): number;
  buffersinkGetFrameSync(frame: Frame): number;
  buffersinkGetTimeBase(): Rational;
}

/** The package for this platform. */
export function addonPackage(platform = process.platform, arch = process.arch): string {
  return `@seydx/node-av-${platform}-${arch}${platform === "win32" ? "-msvc" : ""}`;
}

/** Where the addon lies, or null where it was not installed. */
export function findAddon(): string | null {
  try {
    return createRequire(import.meta.url).resolve(`${addonPackage()}/node-av.node`);
  } catch {
    return null; // an optional dependency: there is none for some platforms
  }
}

export const loadAddon = (path: string): Addon => createRequire(import.meta.url)(path) as Addon;
