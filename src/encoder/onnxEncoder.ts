/** What an ONNX file, ours or another project's, has to be so that it can embed samples, and what it wants of them. */
import { basename } from "node:path";
import type { Preprocessing } from "../datasets/catalog.js";
import type { EncoderEntry } from "../datasets/encoderEntry.js";
import { readOnnxFile, type OnnxFile, type OnnxPort } from "../engine/onnxFile.js";
import { InputError, type Shape3 } from "../types.js";
import { EMBEDDING } from "./exportGraph.js";

/** What a file does not say of itself: an entry of `encoders`, or given by hand, with a name for tables. */
export type OnnxEncoderOptions = Partial<Omit<EncoderEntry, "file">> & { readonly name?: string };

/** How a file is fed and read. */
export interface OnnxPlan {
  readonly file: OnnxFile;
  /** For tables: the entry's, the method of an encoder of ours, or the file's own name. */
  readonly name: string;
  readonly input: string;
  readonly output: string;
  /** How an encoder of ours has pooled; of others, what the entry says of the vector, or else the output's name. */
  readonly pooling: string;
  /** 4: [b, 3, H, W]. 5: [b, 3, D, H, W]. */
  readonly rank: 4 | 5;
  /** [D, H, W] of one input; D = 1 where the rank is 4. */
  readonly size: Shape3;
  /** The batch that the file insists on, or null where any will do. */
  readonly batch: number | null;
  /** Pixels become (x − mean) / std; null where the graph does that itself. */
  readonly standard: { readonly mean: readonly number[]; readonly std: readonly number[] } | null;
  readonly fit: Preprocessing["fit"] | null;
  readonly licence: string;
  readonly home: string;
  /** Of the split that an encoder of ours was trained on: with another, it would be judged on patients it has seen. */
  readonly seed: number | null;
}

const spelled = ({ name, dtype, shape }: OnnxPort): string =>
  `${name} ${dtype} ${shape ? `[${shape.join(", ")}]` : ""}`;

/**
 * Reads a file and checks that it can be used: one float32 input [b, 3, H, W] or [b, 3, D, H, W], one float32 output
 * [b, d]. A file that m3ret wrote says all else itself; of others, mean and std must be told, and sizes where the file
 * leaves them open.
 *
 * @throws InputError of one line that names the file, what was expected and what came
 */
export function planOnnx(path: string, options: OnnxEncoderOptions = {}): OnnxPlan {
  const file = readOnnxFile(path);
  const ours = file.producer.startsWith("m3ret") && "encoder" in file.metadata;
  const input = inputOf(file);
  const { rank, size } = sizeOfInput(file, input, options);
  const batch = input.shape![0];
  const output = outputOf(file, options.output ?? (ours ? EMBEDDING : undefined));
  return {
    file,
    name: options.name ?? (ours ? file.metadata.method : basename(path).replace(/\.onnx$/i, "")),
    input: input.name,
    output,
    pooling: ours ? file.metadata.pooling : (options.vector ?? output),
    rank,
    size,
    batch: typeof batch === "number" && batch > 0 ? batch : null,
    standard: standardOf(file, ours, options),
    fit: options.fit ?? null,
    licence: options.licence ?? file.metadata.licence ?? file.metadata.model_license ?? "not stated",
    home: options.home ?? (file.producer || "not stated"),
    seed: ours ? seedOf(file) : null,
  };
}

function seedOf({ metadata }: OnnxFile): number | null {
  const seed = /"seed":(\d+)/.exec(metadata.provenance ?? "");
  return seed ? Number(seed[1]) : null;
}

function inputOf({ path, inputs }: OnnxFile): OnnxPort {
  const [input] = inputs;
  if (inputs.length !== 1 || input.dtype !== "float32") {
    throw new InputError(`${path}: expected one float32 input, got ${inputs.map(spelled).join("; ") || "none"}`);
  }
  return input;
}

function sizeOfInput({ path }: OnnxFile, port: OnnxPort, { size, input }: OnnxEncoderOptions) {
  const { shape } = port;
  const rank = shape?.length;
  if (!shape || (rank !== 4 && rank !== 5) || (typeof shape[1] === "number" && shape[1] !== 3)) {
    throw new InputError(`${path}: expected an input [b, 3, H, W] or [b, 3, D, H, W], got ${spelled(port)}`);
  }
  if (input && input.split(",").length !== rank) {
    throw new InputError(`${path}: expected an input [${input}], as its entry says, got ${spelled(port)}`);
  }
  const sides = rank === 4 ? [1, ...shape.slice(2)] : shape.slice(2);
  const known = sides.map((side, axis) => (typeof side === "number" && side > 0 ? side : size?.[axis]));
  if (known.includes(undefined)) {
    throw new InputError(`${path}: leaves the size of ${spelled(port)} open; add --size D,H,W (1,H,W for pictures)`);
  }
  if (size && known.some((side, axis) => side !== size[axis])) {
    throw new InputError(`${path}: expected samples of [D, H, W] = [${size}], but the file reads ${spelled(port)}`);
  }
  return { rank, size: known as unknown as Shape3 } as const;
}

/** The output asked for, or the only one that can be an embedding. */
function outputOf({ path, outputs }: OnnxFile, name: string | undefined): string {
  const all = outputs.map(spelled).join("; ");
  const usable = outputs.filter(({ dtype, shape }) => dtype === "float32" && (!shape || shape.length === 2));
  if (name !== undefined) {
    const found = outputs.find((output) => output.name === name);
    if (!found) throw new InputError(`${path}: has no output "${name}"; its outputs are ${all}`);
    if (!usable.includes(found)) {
      throw new InputError(`${path}: expected an output float32 [b, d], got ${spelled(found)}`);
    }
    return name;
  }
  if (usable.length === 1) return usable[0].name;
  if (usable.length === 0) throw new InputError(`${path}: expected an output float32 [b, d], got ${all}`);
  throw new InputError(`${path}: several outputs can be the embedding: ${all}; add --output NAME`);
}

function standardOf({ path }: OnnxFile, ours: boolean, { mean, std }: OnnxEncoderOptions): OnnxPlan["standard"] {
  if (ours) {
    if (mean || std) throw new InputError(`${path}: standardises its pixels itself; expected no mean and std`);
    return null;
  }
  if (!mean || !std) {
    throw new InputError(
      `${path}: does not say how its pixels are standardised; add --mean and --std (0,0,0 and 1,1,1 for not at all), ` +
        "or an entry under encoders in datasets.yaml",
    );
  }
  return { mean, std };
}

/**
 * What samples have to be for this encoder: the data set's own intensities and orientation, the encoder's sizes. An encoder
 * of pictures sees every slice or frame that the data set prepares; one with depth sees that depth of them.
 */
export function preprocessingFor({ size, fit }: OnnxPlan, of: Preprocessing): Preprocessing {
  const [depth, h, w] = size;
  const deep = (own: Shape3): Shape3 => [depth > 1 ? depth : own[0], h, w];
  const sizes = { image: [1, h, w] as const, video: deep(of.size.video), volume: deep(of.size.volume) };
  return { ...of, size: sizes, fit: fit ?? of.fit };
}
