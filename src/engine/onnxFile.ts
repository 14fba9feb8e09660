/** What an ONNX file says of itself, ours or another project's: read without a runtime, and without its weights. */
import { readBytes } from "../files.js";
import { InputError } from "../types.js";
import { DATA_TYPES, Model } from "./onnx.js";

/** An input or an output of the file's graph. */
export interface OnnxPort {
  readonly name: string;
  /** As we spell it (`float32`), or the number of another `TensorProto.DataType`, such as `type 10` for float16. */
  readonly dtype: string;
  /** Whole numbers, names of dimensions that are known when it runs, and "?" for nameless ones; null where it says nothing. */
  readonly shape: readonly (number | string)[] | null;
}

export interface OnnxFile {
  readonly path: string;
  readonly producer: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Weights are not among them, though old files list them there. */
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
}

/** The messages of `onnx.ts` as protobufjs decodes them. */
interface Decoded {
  readonly producer_name: string;
  readonly producer_version: string;
  readonly metadata_props: readonly { readonly key: string; readonly value: string }[];
  readonly opset_import: readonly unknown[];
  readonly graph: {
    readonly initializer: readonly { readonly name: string }[];
    readonly input: readonly DecodedPort[];
    readonly output: readonly DecodedPort[];
  } | null;
}

interface DecodedPort {
  readonly name: string;
  readonly type: {
    readonly tensor_type: {
      readonly elem_type: number;
      readonly shape: {
        readonly dim: readonly { value?: "dim_value" | "dim_param"; dim_value: unknown; dim_param: string }[];
      } | null;
    } | null;
  } | null;
}

function portOf({ name, type }: DecodedPort): OnnxPort {
  const tensor = type?.tensor_type;
  const known = Object.entries(DATA_TYPES).find(([, number]) => number === tensor?.elem_type);
  const shape = tensor?.shape?.dim.map(({ value, dim_value, dim_param }) =>
    value === "dim_value" ? Number(String(dim_value)) : dim_param || "?",
  );
  return { name, dtype: known?.[0] ?? (tensor ? `type ${tensor.elem_type}` : "no tensor"), shape: shape ?? null };
}

/**
 * Reads the inputs, outputs and notes of an ONNX file.
 *
 * @throws InputError naming the file where it is none, or is cut short
 */
export function readOnnxFile(path: string): OnnxFile {
  const bytes = readBytes(path);
  let model: Decoded;
  try {
    model = Model.decode(bytes) as unknown as Decoded;
  } catch {
    throw new InputError(`${path}: expected an ONNX file, got something else or a cut file`);
  }
  const { graph, producer_name, producer_version, metadata_props } = model;
  if (!graph || graph.output.length === 0 || model.opset_import.length === 0) {
    throw new InputError(`${path}: expected an ONNX file, got one without a graph`);
  }
  const weights = new Set(graph.initializer.map(({ name }) => name));
  return {
    path,
    producer: [producer_name, producer_version].filter((part) => part !== "").join(" "),
    metadata: Object.fromEntries(metadata_props.map(({ key, value }) => [key, value])),
    inputs: graph.input.filter(({ name }) => !weights.has(name)).map(portOf),
    outputs: graph.output.map(portOf),
  };
}
