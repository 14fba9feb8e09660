/** How fast this machine multiplies matrices: what no step can beat. */
import { matMul, startEngine, type Engine } from "m3ret";
import { startPeer, type Peer } from "./peer.js";
import { ratio, surroundings, type BenchCase, type BenchOptions, type BenchReport } from "./report.js";

/** Rows, inner extent and columns: a square, and the products of ViT-S at 1,040 tokens. */
const SHAPES = [
  [2048, 2048, 2048],
  [1040, 384, 1536],
  [1040, 1536, 384],
  [1040, 384, 1152],
] as const;

type Shape = (typeof SHAPES)[number];

const REPEATS = 8;

async function ourGflops(engine: Engine, [m, k, n]: Shape): Promise<number> {
  const ones = (rows: number, columns: number) => ({
    shape: [rows, columns],
    data: new Float32Array(rows * columns).fill(0.5),
  });
  const inputs = { a: ones(m, k), b: ones(k, n) };
  const f = await engine.prepare(({ a, b }) => ({ c: matMul(a, b) }), inputs);
  let best = Infinity;
  for (let i = 0; i < REPEATS; i++) {
    const began = performance.now();
    await f.run(inputs);
    best = Math.min(best, performance.now() - began);
  }
  await f.dispose();
  return (2 * m * k * n) / best / 1e6;
}

async function peerGflops(peer: Peer, [m, k, n]: Shape): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < REPEATS; i++) best = Math.min(best, (await peer.ask({ do: "gemm", m, k, n, count: 1 })).seconds);
  return (2 * m * k * n) / best / 1e9;
}

/** GFLOPS of the square product on both sides. */
export async function gemmPeak(engine: Engine, peer: Peer | null): Promise<{ ours: number; peer: number | null }> {
  return { ours: await ourGflops(engine, SHAPES[0]), peer: peer && (await peerGflops(peer, SHAPES[0])) };
}

export async function bench({ only = "", onCase }: BenchOptions): Promise<BenchReport> {
  const engine = await startEngine();
  const peer = await startPeer();
  const found = "absent" in peer ? null : peer;
  const chosen = SHAPES.filter((shape) => shape.join(" x ").includes(only));
  const cases: BenchCase[] = [];
  for (const shape of chosen) {
    onCase?.(cases.length, chosen.length, shape.join(" x "));
    const ours = await ourGflops(engine, shape);
    const theirs = found && (await peerGflops(found, shape));
    const time = (rate: number) => 1 / rate;
    cases.push({
      case: shape.join(" x "),
      ours: Math.round(ours),
      peer: theirs && Math.round(theirs),
      unit: "GFLOPS",
      ratio: ratio(time(ours), theirs && time(theirs)),
    });
  }
  found?.stop();
  return { name: "gemm", cases, ...surroundings(engine, peer) };
}
