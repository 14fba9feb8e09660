/** Embedding throughput of a frozen encoder against PyTorch eager in inference mode: CLS and mean of all tokens. */
import { embedTokens, initEncoder, Random, type BenchOptions, type BenchReport } from "m3ret";
import { configOf, noise, PATCH_NUMBERS } from "./parts/models.js";
import { ratio, runPlan, takeTurns } from "./parts/report.js";

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

export function bench({ rounds = 7, ...options }: BenchOptions): Promise<BenchReport> {
  return runPlan(
    {
      name: "embed",
      cases: CASES,
      nameOf: ({ size, tokens, batch }) => `ViT-${size === "tiny" ? "Ti" : "S"}, ${tokens} tokens, batch ${batch}`,
      async measure({ size, tokens, batch }, { engine, peer }) {
        const config = configOf({ size, tokens });
        const random = new Random(1);
        const patches = noise([batch, tokens, PATCH_NUMBERS], random);
        const side = Math.sqrt(tokens);
        const f = await engine.prepare(embedTokens(initEncoder(config, random), [1, side, side]), { patches });
        await peer?.ask({
          do: "make",
          case: { method: "embed", encoder: config, patch: PATCH_NUMBERS, tokens, batch },
        });
        const times = await takeTurns(rounds, () => f.run({ patches }), peer);
        await f.dispose();
        const perSecond = (ms: number) => Number(((1000 * batch) / ms).toFixed(1));
        return {
          ours: perSecond(times.ours),
          peer: times.peer && perSecond(times.peer),
          unit: "samples/s",
          ratio: ratio(times.ours, times.peer),
        };
      },
    },
    options,
  );
}
