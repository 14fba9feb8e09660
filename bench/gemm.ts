/** How fast this machine multiplies matrices: what no step can beat. */
import { matMul, type BenchOptions, type BenchReport, type Engine } from "m3ret";
import type { Peer } from "./parts/peer.js";
import { ratio, runPlan, type Sides } from "./parts/report.js";

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

/** GFLOPS of the square product by the faster side. */
export async function gemmPeak({ engine, peer }: Sides): Promise<number> {
  return Math.max(await ourGflops(engine, SHAPES[0]), peer ? await peerGflops(peer, SHAPES[0]) : 0);
}

export function bench(options: BenchOptions): Promise<BenchReport> {
  return runPlan(
    {
      name: "gemm",
      cases: SHAPES,
      nameOf: (shape) => shape.join(" x "),
      async measure(shape, { engine, peer }) {
        const ours = await ourGflops(engine, shape);
        const theirs = peer && (await peerGflops(peer, shape));
        return {
          ours: Math.round(ours),
          peer: theirs && Math.round(theirs),
          unit: "GFLOPS",
          ratio: ratio(1 / ours, theirs && 1 / theirs),
        };
      },
    },
    options,
  );
}
