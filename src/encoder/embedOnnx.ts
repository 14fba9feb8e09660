/** Samples to vectors with an encoder in an ONNX file. */
import {
  loadRuntime,
  plainReason,
  sessionOptions,
  toOrt,
  type OrtSession,
  type Provider,
  type Runtime,
} from "../engine/runtime.js";
import { EngineUnavailable } from "../engine/unavailable.js";
import { InputError, sizeOf, type Sample } from "../types.js";
import { planOnnx, type OnnxEncoderOptions, type OnnxPlan } from "./onnxEncoder.js";

/** An ONNX file that is ready to embed. */
export interface OnnxEncoder {
  readonly plan: OnnxPlan;
  /**
   * One vector per sample, in order, not normalised: [n, d]. A sample of several slices or frames that meets an encoder
   * of one is embedded slice by slice, and its vector is their mean; an image that meets an encoder of several is repeated.
   *
   * @throws InputError where a sample's size is not the encoder's, or the file gives other than finite numbers [b, d]
   */
  embed(samples: readonly Sample[]): Promise<Float32Array>;
  dispose(): Promise<void>;
}

export interface OpenOnnxOptions extends OnnxEncoderOptions {
  /** Inputs at a time, where the file does not insist on a number. */
  readonly batchSize?: number;
  /** What computes; default: the processor. */
  readonly provider?: Provider;
  /** Where ONNX Runtime comes from. */
  readonly runtime?: () => Promise<Runtime>;
}

/** @throws InputError of one line where the file is not usable (`planOnnx`), or ONNX Runtime is missing or rejects it */
export async function openOnnxEncoder(path: string, options: OpenOnnxOptions = {}): Promise<OnnxEncoder> {
  const plan = planOnnx(path, options);
  const runtime = await (options.runtime ?? loadRuntime)().catch((error: unknown) => {
    if (!(error instanceof EngineUnavailable)) throw error;
    throw new InputError(`${path}: an ONNX file is run by ONNX Runtime alone, and ${error.reason}`);
  });
  let session: OrtSession;
  try {
    // By its path, because weights may stand in a file beside it.
    session = await runtime.InferenceSession.create(path, sessionOptions({ provider: options.provider }));
  } catch (error) {
    throw new InputError(`${path}: ONNX Runtime rejects it: ${plainReason(error)}`);
  }
  const batchSize = plan.batch ?? options.batchSize ?? 32;
  return {
    plan,
    embed: (samples) => embedWith(runtime, session, plan, samples, batchSize),
    dispose: () => session.release(),
  };
}

/** One input of the encoder: a whole sample, or its slice z. */
interface Piece {
  readonly row: number;
  readonly z: number;
}

async function embedWith(
  runtime: Runtime,
  session: OrtSession,
  plan: OnnxPlan,
  samples: readonly Sample[],
  batchSize: number,
): Promise<Float32Array> {
  const pieces = samples.flatMap((sample, row) => piecesOf(plan, sample, row));
  const counts = new Float64Array(samples.length);
  for (const { row } of pieces) counts[row]++;
  let sums = new Float64Array(0);
  let d = 0;
  for (let from = 0; from < pieces.length; from += batchSize) {
    const part = pieces.slice(from, from + batchSize);
    // A file that insists on its batch gets the last one filled up.
    const b = plan.batch ?? part.length;
    const { data, width } = await runBatch(runtime, session, plan, samples, part, b);
    if (from === 0) [d, sums] = [width, new Float64Array(samples.length * width)];
    if (width !== d) throw new InputError(`${plan.file.path}: gave vectors of ${d} numbers, and then of ${width}`);
    part.forEach(({ row }, i) => {
      for (let t = 0; t < d; t++) sums[row * d + t] += data[i * d + t] / counts[row];
    });
  }
  const wrong = sums.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) {
    throw new InputError(
      `${plan.file.path}: expected finite numbers, got ${sums[wrong]} for ${samples[Math.floor(wrong / d)].id}`,
    );
  }
  return Float32Array.from(sums);
}

function piecesOf({ file, size }: OnnxPlan, { id, shape }: Sample, row: number): Piece[] {
  const [depth, h, w] = size;
  const [, own, height, width] = shape;
  const deepEnough = depth === 1 || own === depth || own === 1;
  if (height !== h || width !== w || !deepEnough) {
    throw new InputError(`${file.path}: reads [D, H, W] = [${size}], but ${id} is [${shape.slice(1)}]`);
  }
  return Array.from({ length: depth === 1 ? own : 1 }, (_, z) => ({ row, z }));
}

async function runBatch(
  runtime: Runtime,
  session: OrtSession,
  { file, input, output, rank, size, standard }: OnnxPlan,
  samples: readonly Sample[],
  part: readonly Piece[],
  b: number,
): Promise<{ data: Float32Array; width: number }> {
  const [depth, h, w] = size;
  const plane = h * w;
  const each = 3 * depth * plane;
  const data = new Float32Array(b * each);
  for (let i = 0; i < b; i++) {
    const { row, z } = part[i] ?? part[0];
    const { pixels, shape } = samples[row];
    for (let c = 0; c < 3; c++) {
      const [mean, std] = standard ? [standard.mean[c], standard.std[c]] : [0, 1];
      for (let at = 0; at < depth; at++) {
        const from = (c * shape[1] + Math.min(z + at, shape[1] - 1)) * plane;
        const to = i * each + (c * depth + at) * plane;
        for (let k = 0; k < plane; k++) data[to + k] = (pixels[from + k] - mean) / std;
      }
    }
  }
  const shape = rank === 4 ? [b, 3, h, w] : [b, 3, depth, h, w];
  let result;
  try {
    result = (await session.run({ [input]: toOrt(runtime, { shape, data }) }, { [output]: null }))[output];
  } catch (error) {
    throw new InputError(`${file.path}: ONNX Runtime cannot run it on [${shape}]: ${plainReason(error)}`);
  }
  const { dims } = result;
  if (dims.length !== 2 || dims[0] !== b || sizeOf(dims) === 0) {
    throw new InputError(`${file.path}: expected ${output} of shape [${b}, d], got [${dims}]`);
  }
  return { data: result.data as Float32Array, width: dims[1] };
}
