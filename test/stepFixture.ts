/** Steps of both methods on batches of three kinds of samples, for runners to be held against each other. */
import type { NamedArrays } from "../src/engine/arrays.js";
import type { Runner } from "../src/engine/runner.js";
import type { EncoderConfig } from "../src/encoder/config.js";
import { Random } from "../src/random.js";
import { mae } from "../src/trainers/mae.js";
import type { Batch, Objective } from "../src/trainers/objective.js";
import { simdino } from "../src/trainers/simdino.js";
import { stepScalars } from "../src/trainers/step.js";
import { sizeOf, type Kind, type Sample, type Shape3 } from "../src/types.js";

export const encoder: EncoderConfig = { width: 24, depth: 2, heads: 2, mlpRatio: 4, patch: [2, 8, 8], channels: 3 };
const large: Record<Kind, Shape3> = { image: [1, 32, 32], video: [4, 32, 32], volume: [6, 32, 32] };
const small: Record<Kind, Shape3> = { image: [1, 16, 16], video: [2, 16, 16], volume: [2, 16, 16] };
export const KINDS = ["image", "video", "volume"] as const;
const range = { scale: [0.5, 1] as const };
export const OBJECTIVES: Record<string, () => Objective> = {
  MAE: () => mae({ encoder, view: { ...range, size: large }, learningRate: 1e-3 }),
  SimDINO: () =>
    simdino({
      encoder,
      views: { globals: { ...range, size: large, count: 2 }, locals: { ...range, size: small, count: 2 } },
      head: { hidden: 32, out: 16 },
      learningRate: 1e-3,
    }),
};

/** Waves of a length and direction that differ from sample to sample, with noise. */
export function wave(kind: Kind, seed: string): Sample {
  const random = new Random(seed);
  const shape = [3, ...large[kind]] as const;
  const [along, down] = [random.uniform(0.1, 1), random.uniform(0.1, 1)];
  const pixels = Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
    const [column, line] = [i % shape[3], Math.floor(i / shape[3]) % shape[2]];
    return 0.5 + 0.3 * Math.sin(along * column + down * line) + 0.05 * random.uniform(-1, 1);
  });
  return { id: seed, pixels, shape, grey: false, kind, modality: "ct", group: seed, labels: {} };
}

export const STEPS = 20;

function batchOf(objective: Objective, step: number): Batch {
  const kind = KINDS[step % KINDS.length];
  const samples = Array.from({ length: 8 }, (_, i) => wave(kind, `${step} ${i}`));
  return objective.collate(samples, new Random(step));
}

/** Terms of every step from `from` up to `to`. */
export async function advance(objective: Objective, runner: Runner, from: number, to: number) {
  const terms: Record<string, number>[] = [];
  for (let step = from; step < to; step++) {
    const scalars = stepScalars(step, objective.schedule(step, STEPS), objective);
    terms.push(await runner.step(batchOf(objective, step), scalars));
  }
  return terms;
}

type Terms = readonly Readonly<Record<string, number>>[];

/** The largest relative difference of any term of any step. */
export function worstTerm(ours: Terms, theirs: Terms): number {
  const all = theirs.flatMap((terms, i) => Object.keys(terms).map((name) => Math.abs(ours[i][name] / terms[name] - 1)));
  return all.includes(NaN) || ours.length !== theirs.length ? Infinity : Math.max(...all);
}

/**
 * The largest difference of any parameter, the teacher's included. Softmax does not see the biases of keys: their
 * gradient is rounding, which AdamW blows up to whole steps, so they are left out.
 */
export function worstParameter(ours: NamedArrays, theirs: NamedArrays): number {
  let worst = 0;
  for (const [name, { data, shape }] of Object.entries(theirs)) {
    if (!/^(params|teacher)/.test(name)) continue;
    const d = name.endsWith("qkv.bias") ? shape[0] / 3 : 0;
    data.forEach((x, i) => {
      const difference = Math.abs(x - ours[name].data[i]);
      if ((i < d || i >= 2 * d) && !(difference <= worst)) worst = Number.isNaN(difference) ? Infinity : difference;
    });
  }
  return worst;
}
