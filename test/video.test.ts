import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { readFile } from "../src/datasets/read.js";
import { contentOf, readHead } from "../src/datasets/sniff.js";
import { readVideo } from "../src/datasets/video.js";
import { statedFrames } from "../src/datasets/videoCount.js";
import { FrameCollector } from "../src/datasets/videoFrames.js";
import { findFfmpeg } from "../src/datasets/videoProcess.js";
import { Random } from "../src/random.js";
import type { Decoded } from "../src/types.js";
import { inputErrorOf, noRealdata, realdata, whereRealdata } from "./readersFixture.js";

const scratch = mkdtempSync(join(tmpdir(), "m3ret-video-"));
const at = (name: string): string => join(scratch, name);

/** A film of ours: frame n is a grey of 4 n + 20, with a white top left corner. */
const film = (frames: number): string =>
  `nullsrc=s=64x48:r=10:d=${frames / 10},geq=lum='if(lt(X,16)*lt(Y,16),235,4*N+20)':cb=128:cr=128`;

const make = (name: string, ...given: string[]): string => {
  execFileSync(findFfmpeg().program, ["-nostdin", "-v", "error", "-y", ...given, `file:${at(name)}`]);
  return at(name);
};

const meanOfFrame = ({ pixels, shape: [, frames, height, width] }: Decoded, frame: number): number => {
  const plane = height * width;
  let sum = 0;
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < plane; i++) sum += pixels[(c * frames + frame) * plane + i];
  }
  return sum / (3 * plane);
};

/** The shade of the last pixel, which tells the number of the frame. */
const shades = ({ pixels, shape: [, frames, height, width] }: Decoded): number[] =>
  Array.from({ length: frames }, (_, f) => pixels[(f + 1) * height * width - 1]);

/** Frames of `film` by their shade: 4 n + 20 in 16…235 is (4 n + 4) · 255 / 219 in 0…255. */
const numbers = (decoded: Decoded): number[] =>
  shades(decoded).map((shade) => Math.max(0, Math.round((shade * 219) / 255 / 4 - 1)));

beforeAll(() => {
  const lossless = ["-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv420p"];
  make("film.mp4", "-f", "lavfi", "-i", film(40), ...lossless);
});

afterEach(() => vi.unstubAllEnvs());

test.each([
  ["film.mov", "-c:v", "mpeg4", "-q:v", "1"],
  ["film.avi", "-c:v", "mpeg4", "-q:v", "1"],
  ["film.mkv", "-c:v", "libx264", "-qp", "0"],
  ["film.webm", "-c:v", "libvpx", "-b:v", "4M", "-auto-alt-ref", "0"],
  ["film.mpeg", "-c:v", "mpeg2video", "-q:v", "1", "-r", "25"],
  ["film.ts", "-c:v", "mpeg2video", "-q:v", "1", "-r", "25"],
  ["film.m1v", "-c:v", "mpeg1video", "-q:v", "1", "-r", "25"],
  ["film.gif", "-pix_fmt", "gray"],
])("%s is read whole, whatever its name", async (name, ...codec) => {
  const path = make(name, "-i", `file:${at("film.mp4")}`, ...codec);
  const frames = codec.includes("25") && !name.endsWith(".ts") ? 100 : 40; // MPEG-PS knows a constant rate only
  copyFileSync(path, at("disguised.dcm"));
  const decoded = await readFile(at("disguised.dcm"));
  expect(decoded).toMatchObject({ kind: "video", dtype: "uint8", modality: null, warnings: [] });
  expect(decoded.shape[0]).toBe(3);
  expect(Math.abs(decoded.shape[1] - frames)).toBeLessThanOrEqual(codec.includes("25") ? 4 : 0);
  expect(decoded.shape.slice(2)).toEqual([48, 64]);
  expect(decoded.pixels.length).toBe(3 * decoded.shape[1] * 48 * 64);
  const seen = numbers(decoded);
  expect(seen[0]).toBe(0);
  expect(seen.at(-1)).toBe(39);
  expect(seen.every((n, i) => i === 0 || n >= seen[i - 1])).toBe(true);
});

const stated = (path: string): number | null => {
  const head = readHead(path);
  return statedFrames(path, contentOf(head).format, head);
};

test("a container states how many frames it holds, and a wrong statement changes nothing", async () => {
  const film = await readVideo(at("film.avi"));
  for (const name of ["film.mp4", "film.mov", "film.avi"]) expect(stated(at(name))).toBe(40);
  for (const name of ["film.mpeg", "film.m1v"]) expect(stated(at(name))).toBe((await readVideo(at(name))).shape[1]);
  for (const name of ["film.mkv", "film.ts", "film.gif"]) expect(stated(at(name))).toBeNull();
  const bytes = readFileSync(at("film.avi"));
  for (const wrong of [1, 39, 42, 1000, 2 ** 32 - 1]) {
    bytes.writeUInt32LE(wrong, bytes.indexOf("strh") + 40);
    writeFileSync(at("wrong.avi"), bytes);
    expect(stated(at("wrong.avi"))).toBe(wrong);
    expect(await readVideo(at("wrong.avi"))).toEqual(film);
  }
});

test("tables that are cut or damaged state nothing, or some number", () => {
  const random = new Random(11);
  for (const name of ["film.mp4", "film.mov", "film.avi", "film.mpeg"]) {
    const whole = readFileSync(at(name));
    for (let i = 0; i < 40; i++) {
      const bytes = Buffer.from(whole.subarray(0, i % 2 ? whole.length : random.int(whole.length)));
      for (let k = 0; k < i; k++) if (bytes.length > 0) bytes[random.int(bytes.length)] = random.int(256);
      writeFileSync(at("tables"), bytes);
      const count = statedFrames(at("tables"), contentOf(whole).format, bytes.subarray(0, 8192));
      expect(count === null || (Number.isInteger(count) && count > 0)).toBe(true);
    }
  }
});

test("frames come in order, each once, and channels apart", async () => {
  const decoded = await readVideo(at("film.mp4"));
  expect(decoded.shape).toEqual([3, 40, 48, 64]);
  expect(numbers(decoded)).toEqual(Array.from({ length: 40 }, (_, n) => n));
  const red = make("red.mp4", "-f", "lavfi", "-i", "color=red:s=32x32:r=5:d=1", "-c:v", "libx264", "-qp", "0");
  const { pixels, shape } = await readVideo(red);
  const channel = shape[1] * 32 * 32;
  expect(pixels[0]).toBeGreaterThan(245);
  expect(pixels[channel]).toBeLessThan(8);
  expect(pixels[2 * channel]).toBeLessThan(8);
});

test("the frames kept of a long video are floor((i + 1/2) n / k), and the rest is named", async () => {
  for (const k of [1, 3, 7, 16, 39]) {
    const decoded = await readVideo(at("film.mp4"), { maxFrames: k });
    expect(numbers(decoded)).toEqual(Array.from({ length: k }, (_, i) => Math.floor(((i + 0.5) * 40) / k)));
    expect(decoded.warnings).toEqual([`${k} of 40 frames were kept, evenly spaced`]);
  }
  expect((await readVideo(at("film.mp4"), { maxFrames: 40 })).warnings).toEqual([]);
});

test("a clip is consecutive frames at its stride, drawn by a seed, and every start is drawn", async () => {
  const clip = { frames: 4, stride: 3 };
  const of = async (seed?: number) =>
    numbers(
      await readVideo(at("film.mp4"), { clip: { ...clip, random: seed === undefined ? undefined : new Random(seed) } }),
    );
  expect(await of()).toEqual([0, 3, 6, 9]);
  const [first, ...others] = await of(5);
  expect(others).toEqual([first + 3, first + 6, first + 9]);
  expect(await of(5)).toEqual([first, ...others]);
  const whole = await readVideo(at("film.mp4"), { clip: { frames: 64, stride: 2 } });
  expect(numbers(whole)).toEqual(Array.from({ length: 40 }, (_, n) => n));
  expect(whole.warnings.join()).toBe("a clip: 40 of 40 frames, 1 apart, from frame 0");
});

test("frames are shrunk to a longest side, never enlarged, and keep their mean", async () => {
  const whole = await readVideo(at("film.mp4"));
  const small = await readVideo(at("film.mp4"), { size: 32 });
  expect(small.shape).toEqual([3, 40, 24, 32]);
  expect(small.warnings).toEqual(["shrunk to 32 x 24 pixels from 64 x 48"]);
  expect(Math.abs(meanOfFrame(small, 20) - meanOfFrame(whole, 20))).toBeLessThan(2);
  expect((await readVideo(at("film.mp4"), { size: 500 })).shape).toEqual(whole.shape);
});

test("a constant rate repeats or leaves out frames", async () => {
  expect((await readVideo(at("film.mp4"), { framesPerSecond: 20 })).shape[1]).toBe(80);
  const slow = await readVideo(at("film.mp4"), { framesPerSecond: 5, maxFrames: 4 });
  expect(slow.shape[1]).toBe(4);
  expect(slow.warnings).toEqual(["4 of 20 frames were kept, evenly spaced", "brought to 5 frames per second"]);
});

test("a video that lies on its side is turned", async () => {
  // This ffmpeg's "rotate=90" is written as a display matrix that says: counterclockwise.
  const path = make("side.mp4", "-i", `file:${at("film.mp4")}`, "-c", "copy", "-metadata:s:v:0", "rotate=90");
  const { shape, pixels, warnings } = await readVideo(path);
  if (shape[2] === 48) return expect(warnings).toEqual([]); // newer ones write no rotation this way
  expect(shape).toEqual([3, 40, 64, 48]);
  expect(pixels[63 * 48]).toBeGreaterThan(200); // the white corner went from top left to bottom left
  expect(pixels[0]).toBeLessThan(50);
  expect(warnings.join()).toBe("turned by 90 degrees counterclockwise, as the file says");
});

test("the lines of the other field are filled in where frames are interlaced, and the count stays", async () => {
  // Each frame holds the lines of two films: a bright one above a dark one.
  const lines = "nullsrc=s=64x48:r=25:d=1,geq=lum='if(mod(Y,2),50,200)':cb=128:cr=128";
  const field = ["-flags", "+ilme+ildct", "-top", "1", "-c:v", "mpeg2video", "-q:v", "1"];
  const path = make("fields.ts", "-f", "lavfi", "-i", lines, "-vf", "setfield=tff", ...field);
  const contrast = ({ pixels }: Decoded) => Math.abs(pixels[20 * 64 + 30] - pixels[21 * 64 + 30]);
  const filled = await readVideo(path);
  const woven = await readVideo(path, { deinterlace: false });
  expect(filled.shape).toEqual(woven.shape);
  expect(contrast(woven)).toBeGreaterThan(100);
  expect(contrast(filled)).toBeLessThan(contrast(woven) / 2);
  expect(filled.warnings.join()).toMatch(/interlaced: the other field's lines were filled in/);
  expect(woven.warnings.join()).toMatch(/interlaced, and left as it is/);
});

test("a name cannot be an option, a protocol, a pattern or a command", async () => {
  const working = process.cwd();
  process.chdir(scratch);
  try {
    for (const name of ["-y.mp4", "concat:film.mp4", "http:x.mp4", "a%03d.mp4", "a;b $(c) 'd'.mp4"]) {
      copyFileSync("film.mp4", `./${name}`);
      expect((await readVideo(name)).shape[1], name).toBe(40);
    }
  } finally {
    process.chdir(working);
  }
});

test("a playlist that names other files is not a video", async () => {
  writeFileSync(at("list.m3u8"), `#EXTM3U\n#EXTINF:1,\n${at("film.mp4")}\n`);
  writeFileSync(at("list.mp4"), `ffconcat version 1.0\nfile ${at("film.mp4")}\n`);
  for (const name of ["list.m3u8", "list.mp4"]) {
    expect(await inputErrorOf(readVideo(at(name)))).toBe(`${at(name)}: expected a video, got a text file`);
  }
});

test("limits have names", async () => {
  const said = async (options: Parameters<typeof readVideo>[1]) => inputErrorOf(readVideo(at("film.mp4"), options));
  expect(await said({ maxPixels: 1000 })).toBe(
    `${at("film.mp4")}: a frame has more pixels than the limit maxPixels, 1000`,
  );
  expect(await said({ maxSeconds: 0.001 })).toMatch(/longer than the limit maxSeconds, 0.001 s/);
  expect(await said({ maxValues: 5000 })).toMatch(/40 frames of 9216 values are over the limit maxValues, 5000/);
  expect(await said({ maxFrames: 8, maxValues: 20000 })).toMatch(/8 frames of 9216 values are over the limit/);
});

test("a video that does not fit is sampled, and says so", async () => {
  const decoded = await readVideo(at("film.mp4"), { maxValues: 10 * 64 * 48 * 3 });
  expect(numbers(decoded)).toEqual(Array.from({ length: 10 }, (_, i) => Math.floor((i + 0.5) * 4)));
  expect(decoded.warnings).toEqual([
    `all frames are over the limit maxValues, ${10 * 64 * 48 * 3} numbers`,
    "10 of 40 frames were kept, evenly spaced",
  ]);
});

describe("the program", () => {
  const elsewhere = () => null;

  test("is the one that FFMPEG_PATH names, then that on PATH, then the installed package's", () => {
    const folder = at("bin");
    mkdirSync(folder);
    writeFileSync(join(folder, "ffmpeg"), "#!/bin/sh\n");
    chmodSync(join(folder, "ffmpeg"), 0o755);
    const program = join(folder, "ffmpeg");
    expect(findFfmpeg({ FFMPEG_PATH: program, PATH: "" }, elsewhere)).toEqual({ program, from: "FFMPEG_PATH" });
    expect(findFfmpeg({ PATH: `/nowhere:${folder}` }, elsewhere)).toEqual({ program, from: "PATH" });
    expect(findFfmpeg({ PATH: "" }, () => program).from).toBe("@ffmpeg-installer/ffmpeg");
  });

  test("says what was tried where there is none", async () => {
    expect(() => findFfmpeg({ PATH: "" }, elsewhere)).toThrow(/FFMPEG_PATH .*PATH .*@ffmpeg-installer/);
    vi.stubEnv("FFMPEG_PATH", "/nowhere/ffmpeg");
    expect(await inputErrorOf(readVideo(at("film.mp4")))).toMatch(/^FFMPEG_PATH=\/nowhere\/ffmpeg: expected the path/);
  });
});

test("pieces of any length give the same frames, whichever colour comes first", () => {
  const picture = (shade: number) => [
    ...Buffer.from("P5\n3 2\n255\n"),
    ...Array.from({ length: 6 }, (_, i) => shade + i),
  ];
  const colours = [0, 10, 20].map((first) => Uint8Array.from([0, 100, 200].flatMap((shade) => picture(first + shade))));
  for (const step of [1, 2, 5, 7, 29, 100]) {
    for (const room of [1, 3, 9]) {
      for (const order of [
        [0, 1, 2],
        [2, 0, 1],
      ]) {
        // prettier-ignore
        for (const together of [true, false]) {
          const sink = new FrameCollector(room, 1e6);
          const send = (c: number, from: number) => sink.push(c, colours[c].subarray(from, from + step));
          const starts = Array.from({ length: Math.ceil(colours[0].length / step) }, (_, i) => i * step);
          if (together) starts.forEach((from) => order.forEach((c) => send(c, from)));
          else order.forEach((c) => starts.forEach((from) => send(c, from)));
          const { pixels, shape } = sink.finish();
          expect(shape).toEqual([3, 3, 2, 3]);
          const wanted = [0, 10, 20].flatMap((c) => [0, 100, 200].flatMap((f) => [0, 1, 2, 3, 4, 5].map((i) => c + f + i)));
          expect([...pixels]).toEqual(wanted);
        }
      }
    }
  }
});

test("a frame that is not whole in every colour is left out", () => {
  const sink = new FrameCollector(2, 1e6);
  for (const [c, frames] of [2, 1, 2].entries())
    for (let f = 0; f < frames; f++) sink.push(c, Uint8Array.from([...Buffer.from("P5\n1 1\n255\n"), 10 * f + c]));
  expect(sink.finish()).toEqual({ pixels: Float32Array.of(0, 1, 2), shape: [3, 1, 1, 1] });
});

test("cut and damaged videos are videos or one line", async () => {
  const random = new Random(3);
  for (const name of ["film.mp4", "film.avi", "film.mkv", "film.mpeg", "film.ts", "film.gif"]) {
    const bytes = readFileSync(at(name));
    for (let i = 0; i < 4; i++) {
      const hurt = Uint8Array.from(bytes.subarray(0, i < 2 ? Math.ceil(bytes.length * (0.3 + 0.4 * i)) : bytes.length));
      if (i >= 2) for (let k = 0; k < 20; k++) hurt[random.int(hurt.length)] ^= 1 << random.int(8);
      const path = at(`hurt-${i}-${name}`);
      writeFileSync(path, hurt);
      const result = await readFile(path, { video: { maxSeconds: 20 } }).then(
        (decoded) => decoded,
        (error: unknown) => error as Error,
      );
      if (result instanceof Error) {
        expect(result.name, result.message).toBe("InputError");
        expect(result.message).toMatch(new RegExp(`^${path}: [^\n]+$`));
      } else expect(result.shape[1], path).toBeGreaterThan(0);
    }
  }
}, 60_000);

describe.skipIf(noRealdata)(`real videos${whereRealdata}`, () => {
  const expected = JSON.parse(readFileSync(new URL("./fixtures/media/videos.json", import.meta.url), "utf8")) as Record<
    string,
    { frames: number; height: number; width: number; first: number; last: number }
  >;

  test.each(Object.keys(expected))("%s has the frames that ffprobe counts, and ffmpeg's means", async (name) => {
    const { frames, height, width, first, last } = expected[name];
    const decoded = await readVideo(join(realdata, name));
    expect(decoded.shape).toEqual([3, frames, height, width]);
    expect(Math.abs(meanOfFrame(decoded, 0) - first)).toBeLessThan(2);
    expect(Math.abs(meanOfFrame(decoded, frames - 1) - last)).toBeLessThan(2);
  });
});
