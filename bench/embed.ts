/** Embedding throughput of a frozen encoder against PyTorch eager in inference mode: CLS and mean of all tokens. */
import { embedTokens, encoderConfig, initEncoder, Random, startEngine } from "m3ret";
import { startPeer } from "./peer.js";
import { ratio, surroundings, takeTurns, type BenchCase, type BenchOptions, type BenchReport } from "./report.js";

interface EmbedCase {
  readonly size: "tiny" | "small";
  readonly tokens: 64 | 196;
  readonly batch: number;
}

const CASES: readonly EmbedCase[] = [
  { size: "tiny", tokens: 64, batch: 64 },
  { size: "tiny", tokens: 196, batch: 32 },
  { size: "small", tokens: 64, batch: 32 },
  { size: "small", tokens: 196, batch: 16 },
];

export async function bench({ only = "", rounds = 7, onCase }: BenchOptions): Promise<BenchReport> {
  const engine = await startEngine();
  const peer = await startPeer();
  const found = "absent" in peer ? null : peer;
  const nameOf = ({ size, tokens, batch }: EmbedCase) =>
    `ViT-${size === "tiny" ? "Ti" : "S"}, ${tokens} tokens, batch ${batch}`;
  const chosen = CASES.filter((of) => nameOf(of).toLowerCase().includes(only.toLowerCase()));
  const cases: BenchCase[] = [];
  for (const of of chosen) {
    onCase?.(cases.length, chosen.length, nameOf(of));
    const { tokens, batch } = of;
    const config = encoderConfig(of.size, tokens === 64 ? [4, 8, 8] : [1, 16, 16]);
    const random = new Random(1);
    const patches = {
      shape: [batch, tokens, 768],
      data: Float32Array.from({ length: batch * tokens * 768 }, () => random.normal(0, 1)),
    };
    const side = Math.sqrt(tokens);
    const f = await engine.prepare(embedTokens(initEncoder(config, random), [1, side, side]), { patches });
    await found?.ask({
      do: "make",
      case: { method: "embed", encoder: config, patch: 768, tokens, batch },
    });
    const peers = found && (async () => (await found.ask({ do: "steps", count: 1 })).seconds);
    const times = await takeTurns(rounds, () => f.run({ patches }), peers);
    await f.dispose();
    const perSecond = (ms: number) => Number(((1000 * batch) / ms).toFixed(1));
    cases.push({
      case: nameOf(of),
      ours: perSecond(times.ours),
      peer: times.peer && perSecond(times.peer),
      unit: "samples/s",
      ratio: ratio(times.ours, times.peer),
    });
  }
  found?.stop();
  return { name: "embed", cases, ...surroundings(engine, peer) };
}
