import { execFile } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { packageRoot } from "./cliFixture.js";

/**
 * Trains in a process of its own, whose memory nothing else uses, on three shapes that come in any order, and prints the
 * resident memory in MB at the steps asked for.
 */
const SCRIPT = `
const { mae, Random, simdino, startEngine, train } = await import(process.argv[1]);
const at = JSON.parse(process.argv[3]);
const encoder = { width: 24, depth: 1, heads: 2, mlpRatio: 4, patch: [2, 4, 4], channels: 3 };
const size = { image: [1, 16, 16], video: [4, 16, 16], volume: [6, 16, 16] };
const small = { image: [1, 8, 8], video: [2, 8, 8], volume: [2, 8, 8] };
const views = { globals: { count: 2, scale: [0.5, 1], size }, locals: { count: 2, scale: [0.1, 0.4], size: small } };
const objective =
  process.argv[2] === "mae"
    ? mae({ encoder, view: { scale: [0.5, 1], size }, learningRate: 1e-3 })
    : simdino({ encoder, views, head: { hidden: 32, out: 16 }, learningRate: 1e-3 });
const kinds = [["xray", "image", 1], ["endoscopy", "video", 4], ["ct", "volume", 6]];
const samples = Array.from({ length: 36 }, (_, i) => {
  const [modality, kind, depth] = kinds[i % 3];
  const random = new Random("sample " + i);
  const pixels = Float32Array.from({ length: 3 * depth * 256 }, () => random.uniform(0, 1));
  return { id: String(i), pixels, shape: [3, depth, 16, 16], grey: false, kind, modality, group: "p" + i, labels: {} };
});
const options = { steps: at.at(-1), batchSize: 6, random: new Random(7), engine: await startEngine("compiled") };
const [megabytes, buckets] = [[], new Set()];
for await (const { step, bucket } of train(objective, samples, options)) {
  buckets.add(bucket);
  if (!at.includes(step + 1)) continue;
  gc();
  megabytes.push(process.memoryUsage.rss() / 2 ** 20);
}
console.log(JSON.stringify({ megabytes, buckets: buckets.size }));
`;

/**
 * What is not ours to keep small, and differs from run to run: garbage that V8 has not got to (up to 20 of 220 MB), and
 * pages that glibc keeps in an arena for each of V8's and ONNX Runtime's threads (up to 15 MB).
 */
const V8 = ["--expose-gc", "--max-semi-space-size=2"];
const MALLOC = { MALLOC_ARENA_MAX: "1" };

async function residentMemory(method: string, at: readonly number[]) {
  const index = pathToFileURL(join(packageRoot, "dist/index.js")).href;
  const args = [...V8, "--input-type=module", "-e", SCRIPT, index, method, JSON.stringify(at)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...MALLOC } });
  return JSON.parse(stdout) as { megabytes: number[]; buckets: number };
}

test.each(["mae", "simdino"])(
  "%s: step 1,000 has at most a twentieth more resident memory than step 100",
  async (method) => {
    const { megabytes, buckets } = await residentMemory(method, [100, 1000]);
    expect(buckets).toBe(3);
    expect(megabytes[1] / megabytes[0], `${megabytes.map(Math.round).join(" and ")} MB`).toBeLessThan(1.05);
  },
  600_000,
);
