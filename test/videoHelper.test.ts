/** The process that decodes videos: it may fall over, and must not take anything with it. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { readVideo, type VideoOptions } from "../src/datasets/video.js";
import { addonPackage, findAddon } from "../src/datasets/videoAddon.js";
import { turnOf } from "../src/datasets/videoAddonDecode.js";
import { whyNoHelper } from "../src/datasets/videoHelpers.js";
import { findFfmpeg } from "../src/datasets/videoProcess.js";
import { Random } from "../src/random.js";

const scratch = mkdtempSync(join(tmpdir(), "m3ret-helper-"));
const at = (name: string): string => join(scratch, name);
const program = findFfmpeg().program;
const make = (name: string, ...given: string[]): string => {
  execFileSync(program, ["-nostdin", "-v", "error", "-y", ...given, `file:${at(name)}`]);
  return at(name);
};
const helper = fileURLToPath(new URL("../dist/datasets/videoHelper.js", import.meta.url));
const readers = new URL("../dist/datasets/read.js", import.meta.url).href;

beforeAll(() => {
  make(
    "film.mp4",
    "-f",
    "lavfi",
    "-i",
    "testsrc2=s=80x60:r=20:d=2",
    "-c:v",
    "libx264",
    "-qp",
    "4",
    "-pix_fmt",
    "yuv420p",
  );
  make("grey.avi", "-f", "lavfi", "-i", "testsrc2=s=82x60:r=20:d=1,hue=s=0", "-c:v", "mpeg4", "-q:v", "2");
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(scratch, { recursive: true }));

test("its absence is named: the package is not there, or not for this platform", () => {
  expect(whyNoHelper(null)).toMatch(/is not installed$|is not built$/);
  expect(addonPackage("linux", "x64")).toBe("@seydx/node-av-linux-x64");
  expect(addonPackage("win32", "arm64")).toBe("@seydx/node-av-win32-arm64-msvc");
});

test("a display matrix turns counterclockwise by its angle", () => {
  const matrix = (a: number, b: number, c: number, d: number): Buffer => {
    const bytes = Buffer.alloc(36);
    [a, b, 0, c, d, 0, 0, 0, 2 ** 14].forEach((value, i) => bytes.writeInt32LE(i < 8 ? value * 2 ** 16 : value, 4 * i));
    return bytes;
  };
  expect(turnOf(matrix(1, 0, 0, 1))).toBe(0);
  expect(turnOf(matrix(0, 1, -1, 0))).toBe(-90);
  expect(turnOf(matrix(0, -1, 1, 0))).toBe(90);
  expect(Math.abs(turnOf(matrix(-1, 0, 0, -1)))).toBe(180);
  expect(turnOf(null)).toBe(0);
  expect(turnOf(Buffer.alloc(36))).toBe(0);
});

describe.skipIf(whyNoHelper() !== null)("the helper (needs dist: npm run build)", () => {
  test.each<[string, string, VideoOptions]>([
    ["all frames", "film.mp4", {}],
    ["grey frames", "grey.avi", {}],
    ["evenly spaced frames", "film.mp4", { maxFrames: 7 }],
    ["a clip", "film.mp4", { clip: { frames: 5, stride: 3, random: new Random(4) } }],
    ["a constant rate", "film.mp4", { framesPerSecond: 10 }],
  ])("%s are those of the ffmpeg program", async (_, name, options) => {
    const clip = options.clip && { ...options.clip, random: new Random(4) };
    const one = await readVideo(at(name), options);
    vi.stubEnv("FFMPEG_PATH", program);
    const other = await readVideo(at(name), clip ? { ...options, clip } : options);
    expect(one.shape).toEqual(other.shape);
    expect(one.warnings).toEqual(other.warnings);
    let most = 0;
    for (let i = 0; i < one.pixels.length; i++) most = Math.max(most, Math.abs(one.pixels[i] - other.pixels[i]));
    expect(most).toBeLessThanOrEqual(2); // another FFmpeg rounds otherwise
  });

  test("what is asked at once is answered to whoever asked", async () => {
    const names = ["film.mp4", "grey.avi", "film.mp4", "grey.avi", "film.mp4"];
    const shapes = await Promise.all(names.map(async (name) => (await readVideo(at(name))).shape));
    expect(shapes.map(([, frames, , width]) => [frames, width])).toEqual(
      names.map((name) => (name === "film.mp4" ? [40, 80] : [20, 82])),
    );
  });

  test("a helper that is killed costs one video, and that in one line", async () => {
    const script = `
      import { readFile } from ${JSON.stringify(readers)};
      import { readdirSync, readFileSync } from "node:fs";
      const children = () => readFileSync("/proc/self/task/" + process.pid + "/children", "utf8").trim().split(" ").map(Number);
      await readFile(process.argv[1]);
      const [child] = children();
      const answer = readFile(process.argv[1]).then(() => "read", (error) => error.name + ": " + error.message);
      process.kill(child, "SIGKILL");
      console.log(await answer);
      console.log((await readFile(process.argv[1])).shape.join());`;
    if (!existsSync(`/proc/self/task/${process.pid}/children`)) return;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script, at("film.mp4")], { stdio: "pipe" });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk));
    await once(child, "close");
    expect(said).toBe(`InputError: ${at("film.mp4")}: damaged video: the decoder ended by SIGKILL\n3,40,60,80\n`);
  });

  test("it keeps no process alive, and ends when whoever started it does", async () => {
    const child = spawn(process.execPath, [helper, findAddon()!], { stdio: "pipe" });
    child.stdin.end();
    const [code] = (await once(child, "close")) as [number];
    expect(code).toBe(0);
    const script = `import { readFile } from ${JSON.stringify(readers)}; console.log((await readFile(process.argv[1])).shape.join());`;
    const began = performance.now();
    const said = execFileSync(process.execPath, ["--input-type=module", "-e", script, at("film.mp4")], {
      encoding: "utf8",
    });
    expect(said).toBe("3,40,60,80\n");
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test("a film whose container says less than its stream holds is refused by maxPixels", async () => {
    const honest = readFileSync(at("grey.avi"));
    const format = honest.indexOf("strf") + 12; // BITMAPINFOHEADER: width and height
    expect([honest.readInt32LE(format), honest.readInt32LE(format + 4)]).toEqual([82, 60]);
    honest.writeInt32LE(16, format);
    honest.writeInt32LE(12, format + 4);
    writeFileSync(at("lie.avi"), honest);
    await expect(readVideo(at("lie.avi"), { maxPixels: 1000 })).rejects.toThrow(
      `${at("lie.avi")}: a frame has more pixels than the limit maxPixels, 1000`,
    );
  });

  test.runIf(process.platform === "linux")("what takes more memory than maxMemory is refused by name", async () => {
    const large = "testsrc2=s=4000x3000:r=3:d=1"; // 18 MB a frame as stored, 36 MB in colours
    const path = make("large.ts", "-f", "lavfi", "-i", large, "-c:v", "mpeg2video", "-q:v", "9");
    const options = { maxFrames: 2, size: 32 };
    const maxMemory = 200_000_000;
    const said = `${path}: decoding takes more memory than the limit maxMemory, ${maxMemory} bytes`;
    await expect(readVideo(path, { ...options, maxMemory, maxSeconds: 20 })).rejects.toThrow(said);
    expect((await readVideo(path, options)).shape).toEqual([3, 2, 24, 32]);
    expect((await readVideo(at("film.mp4"), { maxFrames: 2, maxMemory })).shape).toEqual([3, 2, 60, 80]);
  });

  test("a film with two sizes of frames goes on in the first", async () => {
    for (const [i, size] of ["64x48", "96x64"].entries()) {
      make(`${i}.ts`, "-f", "lavfi", "-i", `testsrc2=s=${size}:r=10:d=1`, "-c:v", "mpeg2video", "-q:v", "2");
    }
    writeFileSync(at("both.ts"), Buffer.concat([readFileSync(at("0.ts")), readFileSync(at("1.ts"))]));
    const { shape } = await readVideo(at("both.ts"));
    expect(shape.slice(2)).toEqual([48, 64]);
    expect(shape[1]).toBeGreaterThan(12);
  });
});
