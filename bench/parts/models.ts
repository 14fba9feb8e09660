/** The same training step and the same batch for both sides. */
import {
  decoderFor,
  encoderConfig,
  headFor,
  initState,
  mae,
  PUBLISHED_CODING_RATE,
  Random,
  simdino,
  stepFunction,
  stepScalars,
  type Engine,
  type Objective,
  type Runner,
  type Shape3,
  type StepInput,
} from "m3ret";

export interface StepCase {
  readonly method: "mae" | "simdino";
  readonly size: "tiny" | "small" | "base";
  /** Of an image of 64 × 64 in patches of 4 × 8 × 8, or 224 × 224 in patches of 1 × 16 × 16: 768 numbers either way. */
  readonly tokens: 64 | 196;
  readonly batch: number;
}

/** Numbers in one patch of either. */
export const PATCH_NUMBERS = 768;
/** SimDINO: two global views and two local ones of a quarter of their tokens. */
const LOCAL_VIEWS = 2;

export const stepName = ({ method, size, tokens, batch }: StepCase): string =>
  `${method === "mae" ? "MAE" : "SimDINO"} ViT-${{ tiny: "Ti", small: "S", base: "B" }[size]}, ${tokens} tokens, batch ${batch}`;

/** The encoder of a case. */
export function configOf({ size, tokens }: Pick<StepCase, "size" | "tokens">) {
  return encoderConfig(size, tokens === 64 ? [4, 8, 8] : [1, 16, 16]);
}

/** Normal numbers. */
export function noise(shape: readonly number[], random: Random) {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Float32Array.from({ length: size }, () => random.normal(0, 1)) };
}

/** What the peer needs to know to build the same. */
export function peerCase(of: StepCase): Record<string, unknown> {
  const encoder = configOf(of);
  return {
    method: of.method,
    encoder,
    decoder: decoderFor(encoder),
    head: headFor(encoder).hidden,
    patch: PATCH_NUMBERS,
    tokens: of.tokens,
    visible: of.tokens / 4,
    localViews: LOCAL_VIEWS,
    localTokens: of.tokens / 4,
    batch: of.batch,
  };
}

export function stepModel(of: StepCase): { objective: Objective; input: StepInput } {
  const { method, tokens, batch: b } = of;
  const encoder = configOf(of);
  const random = new Random(1);
  const side = Math.sqrt(tokens);
  const whole: Shape3 = [1, side, side];
  if (method === "mae") {
    const v = tokens / 4;
    const order = new Int32Array(b * tokens);
    for (let i = 0; i < b; i++) order.set(random.permutation(tokens), i * tokens);
    const view = { scale: [1, 1], size: { image: whole, video: whole, volume: whole } } as const;
    return {
      objective: mae({ encoder, view, learningRate: 1e-4 }),
      input: {
        bucket: "bench",
        arrays: {
          visible: noise([b, v, PATCH_NUMBERS], random),
          hidden: noise([b, tokens - v, PATCH_NUMBERS], random),
          order: { shape: [b, tokens], data: order },
        },
        grids: { whole },
      },
    };
  }
  const size = { image: whole, video: whole, volume: whole };
  const part: Shape3 = [1, side / 2, side / 2];
  return {
    objective: simdino({
      encoder,
      codingRate: PUBLISHED_CODING_RATE,
      views: { globals: { count: 2, scale: [1, 1], size }, locals: { count: LOCAL_VIEWS, scale: [1, 1], size } },
      learningRate: 1e-4,
    }),
    input: {
      bucket: "bench",
      arrays: {
        globals: noise([2 * b, tokens, PATCH_NUMBERS], random),
        locals: noise([LOCAL_VIEWS * b, tokens / 4, PATCH_NUMBERS], random),
      },
      grids: { globals: whole, locals: part },
    },
  };
}

/** Our side: a runner, and one step of it. */
export async function ourStep(engine: Engine, of: StepCase): Promise<{ step(): Promise<number>; runner: Runner }> {
  const { objective, input } = stepModel(of);
  const runner = await engine.runner(stepFunction(objective), initState(objective, new Random(3)).arrays);
  let done = 0;
  const step = async () => {
    const terms = await runner.step(input, stepScalars(done, objective.schedule(done % 1000, 1000), objective));
    done++;
    return terms.loss;
  };
  return { step, runner };
}

/**
 * Arithmetic of one step in matrix products, as the peer does it: 2 · rows · in · out for each, three times where there
 * is a gradient. In units of 10⁹.
 */
export function gigaflops(of: StepCase): number {
  const encoder = configOf(of);
  const { batch: b, tokens } = of;
  const stack = (rows: number, t: number, width: number, depth: number) =>
    depth * (2 * rows * 12 * width * width + 4 * rows * t * width);
  const embed = (rows: number) => 2 * rows * PATCH_NUMBERS * encoder.width;
  const trunk = (views: number, n: number) =>
    stack(views * b * (n + 1), n + 1, encoder.width, encoder.depth) + embed(views * b * n);
  if (of.method === "mae") {
    const decoder = decoderFor(encoder);
    const rows = b * (tokens + 1);
    const decoding = stack(rows, tokens + 1, decoder.width, decoder.depth);
    const ends =
      2 * b * (tokens / 4 + 1) * encoder.width * decoder.width + 2 * b * tokens * 0.75 * decoder.width * PATCH_NUMBERS;
    return (3 * (trunk(1, tokens / 4) + decoding + ends)) / 1e9;
  }
  const { hidden } = headFor(encoder);
  const head = (views: number) => 2 * views * b * (encoder.width * hidden + hidden * hidden + hidden * 256);
  const student = trunk(2, tokens) + trunk(LOCAL_VIEWS, tokens / 4) + head(2 + LOCAL_VIEWS);
  return (3 * student + trunk(2, tokens) + head(2)) / 1e9;
}
