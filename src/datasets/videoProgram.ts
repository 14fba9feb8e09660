/** Decoding by the ffmpeg program, which is started for each file. */
import type { VideoChoice, VideoEngine, VideoFilters, VideoInfo, VideoLog, VideoSource } from "./videoEngine.js";
import type { FrameCollector } from "./videoFrames.js";
import { findFfmpeg, inputArguments, PIPES, runFfmpeg, type FfmpegLog } from "./videoProcess.js";

/** What the program has said of each file: whether it is interlaced asks for other filters. */
interface Seen {
  readonly info: string;
  readonly everyFrameOnce: readonly string[];
}

/** Ffmpeg's first lines, without what they say of its output. */
function infoOf(info: string): VideoInfo {
  const ofFile = info.split(/^(?:Stream mapping|Output #)/m)[0];
  const size = /Video: .*?, (\d+)x(\d+)/.exec(ofFile);
  const aspect = /Video: .*?, \d+x\d+ \[SAR (\d+):(\d+) /.exec(ofFile);
  return {
    interlaced: /Video: .*\b(?:top|bottom) (?:coded )?first/.test(ofFile),
    turned: Number(/displaymatrix: rotation of (-?[\d.]+)/.exec(ofFile)?.[1] ?? 0),
    size: size && [Number(size[1]), Number(size[2])],
    aspect: aspect && aspect[1] !== aspect[2] ? [Number(aspect[1]), Number(aspect[2])] : null,
  };
}

const logOf = ({ info, errors }: FfmpegLog): VideoLog => ({ info: infoOf(info), errors });

/** The option that makes every decoded frame come out once; `-vsync` until FFmpeg 5, `-fps_mode` after it. */
function passthrough(info: string): string[] {
  const major = Number(/libavutil\s+(\d+)\./.exec(info)?.[1] ?? 0);
  return [major >= 58 ? "-fps_mode" : "-vsync", "passthrough"];
}

/** Filters before frames are chosen. */
function filtersBefore({ deinterlace, framesPerSecond }: VideoFilters, interlaced: boolean): string[] {
  return [
    ...(interlaced && deinterlace ? ["yadif=mode=send_frame:deint=interlaced"] : []),
    ...(framesPerSecond === undefined ? [] : [`fps=${framesPerSecond}`]),
  ];
}

function filtersAfter({ size }: VideoFilters): string[] {
  const shrunk = (side: string) => `max(1,round(${side}*min(1,${size}/max(iw,ih))))`;
  return size === undefined ? [] : [`scale=w='${shrunk("iw")}':h='${shrunk("ih")}':flags=area`];
}

const limitsOf = ({ maxSeconds, maxMemory }: VideoSource) => ({ maxSeconds, maxMemory });

async function counted(source: VideoSource, how: readonly string[]): Promise<FfmpegLog & { frames: number }> {
  let progress = "";
  const given = [
    ...inputArguments(source.path, source.demuxer, source.maxPixels),
    ...["-map", "0:V:0", ...how, "-nostats", "-progress", "pipe:1", "-f", "null", "-"],
  ];
  const onData = (chunk: Buffer): void => {
    progress = (progress + chunk.toString("latin1")).slice(-4096);
  };
  const log = await runFfmpeg(source.path, given, { ...limitsOf(source), onData: [onData] });
  const last = [...progress.matchAll(/^frame=\s*(\d+)$/gm)].at(-1);
  return { ...log, frames: Number(last?.[1] ?? 0) };
}

/** One for each video: it looks at the file first, and remembers what it saw. */
export function programEngine(): VideoEngine {
  findFfmpeg(); // or says at once that there is none
  let seen: Seen | null = null;
  const look = async (source: VideoSource): Promise<FfmpegLog & { frames: number }> => {
    const log = await counted(source, ["-c", "copy"]);
    seen = { info: log.info, everyFrameOnce: passthrough(log.info) };
    return log;
  };
  const lookOnce = async (source: VideoSource): Promise<Seen> => {
    if (seen === null) await look(source);
    return seen!;
  };
  return {
    async countPackets(source) {
      const log = await look(source);
      return { ...logOf(log), frames: log.frames };
    },
    async countFrames(source, filters) {
      const { info, everyFrameOnce } = await lookOnce(source);
      const before = filtersBefore(filters, infoOf(info).interlaced);
      const chain = before.length > 0 ? ["-vf", before.join(",")] : [];
      return (await counted(source, [...everyFrameOnce, ...chain])).frames;
    },
    async decode(source, filters, { select }: VideoChoice, atMost, sink: FrameCollector): Promise<VideoLog> {
      const { info, everyFrameOnce } = await lookOnce(source);
      // Interleaved first, as every viewer shows them; then each colour by itself, which is how they are kept.
      const chain = [
        ...filtersBefore(filters, infoOf(info).interlaced),
        ...(select === null ? [] : [`select='${select}'`]),
        ...[...filtersAfter(filters), "format=rgb24", "format=gbrp", "extractplanes=r+g+b"],
      ];
      const enough = atMost === undefined ? [] : ["-frames:v", String(atMost)]; // what comes after need not be decoded
      const given = [
        ...inputArguments(source.path, source.demuxer, source.maxPixels),
        ...["-filter_complex", `[0:V:0]${chain.join(",")}[r][g][b]`],
        ...["[r]", "[g]", "[b]"].flatMap((plane, i) => {
          return ["-map", plane, ...everyFrameOnce, ...enough, "-c:v", "pgm", "-f", "image2pipe", PIPES[i]];
        }),
      ];
      const onData = [0, 1, 2].map((channel) => (chunk: Buffer) => sink.push(channel, chunk));
      return logOf(await runFfmpeg(source.path, given, { ...limitsOf(source), onData }));
    },
  };
}
