/** A chain of FFmpeg's filters for frames of one kind. */
import {
  ENOMEM,
  FfmpegError,
  NO_MEMORY,
  type Addon,
  type FilterContext,
  type FilterGraph,
  type Frame,
  type Stream,
} from "./videoAddon.js";

const KEEP_REFERENCE = 8; // AV_BUFFERSRC_FLAG_KEEP_REF

export class FilterChain {
  readonly #graph: FilterGraph;
  readonly #source: FilterContext;
  readonly #sink: FilterContext;
  readonly #kind: string;

  /**
   * @param like    a frame of the kind that will come
   * @param threads 0 for as many as there are processors
   */
  constructor(
    addon: Addon,
    like: Frame,
    { timeBase, rFrameRate }: Stream,
    private readonly filters: readonly string[],
    threads: number,
  ) {
    this.#kind = kindOf(like);
    this.#graph = new addon.FilterGraph();
    this.#graph.alloc();
    this.#graph.nbThreads = threads; // else as many as processors, for every frame: in a worker thread's helper, they get in each other's way
    const { num, den } = like.sampleAspectRatio;
    const given = [
      `video_size=${like.width}x${like.height}:pix_fmt=${like.format}`,
      `time_base=${timeBase.num}/${timeBase.den}:pixel_aspect=${num}/${Math.max(1, den)}`,
      `colorspace=${like.colorSpace}:range=${like.colorRange}`,
      ...(rFrameRate.num > 0 ? [`frame_rate=${rFrameRate.num}/${rFrameRate.den}`] : []),
    ].join(":");
    const made = [`buffer=${given}`, ...filters, "buffersink"].map((text, i) => {
      const [, name, options] = /^(\w+)(?:=(.*))?$/s.exec(text)!;
      const filter = this.#graph.createFilter(addon.Filter.getByName(name)!, `${i}`, options ?? null);
      if (filter === null) throw new Error(`there is no filter ${name}`);
      return filter;
    });
    // One by one: a graph that FFmpeg builds from text frees what the addon would free again.
    const linked = made.slice(1).map((filter, i) => made[i].link(0, filter, 0));
    const worst = Math.min(...linked, this.#graph.configSync());
    if (worst < 0) throw new Error(`filters ${filters.join(",")}: ${addon.FFmpegError.strerror(worst)}`);
    [this.#source, this.#sink] = [made[0], made.at(-1)!];
  }

  sees(frame: Frame): boolean {
    return kindOf(frame) === this.#kind;
  }

  fits(frame: Frame, filters: readonly string[]): boolean {
    return this.sees(frame) && filters.join() === this.filters.join();
  }

  /** Null at the end. */
  push(frame: Frame | null): void {
    inMemory(this.#source.buffersrcAddFrameSync(frame, KEEP_REFERENCE));
  }

  /** False where nothing is ready. */
  pull(into: Frame): boolean {
    return inMemory(this.#sink.buffersinkGetFrameSync(into)) >= 0;
  }

  close(): void {
    this.#graph.free();
  }
}

/** An answer of FFmpeg's, unless it is that there is no memory: it would go on without the frame. */
function inMemory(code: number): number {
  if (code === ENOMEM) throw new FfmpegError(NO_MEMORY);
  return code;
}

const kindOf = ({ width, height, format, colorSpace, colorRange }: Frame): string =>
  [width, height, format, colorSpace, colorRange].join(" ");
