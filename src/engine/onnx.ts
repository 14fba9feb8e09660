/**
 * ONNX models as plain data, and their serialisation (https://onnx.ai/onnx/repo-docs/IR.html). Only what our graphs use
 * is declared: one graph, no subgraphs, shapes that are known but for the size of the batch.
 */
import protobuf from "protobufjs";
import type { Dtype } from "./shapes.js";

/** int64 is for shapes, axes and bounds, which tfjs keeps in attributes and ONNX in tensors. */
export type OnnxDtype = Dtype | "int64";

export interface OnnxType {
  /** −1 stands for the size of the batch, where it is known only when the graph runs (`dynamicBatch.ts`). */
  readonly shape: readonly number[];
  readonly dtype: OnnxDtype;
}

export interface Literal extends OnnxType {
  readonly data: Float32Array | Int32Array | Uint8Array | BigInt64Array;
}

/** Whole numbers are ints, `{ float }` is one float, a list is ints, a text is a string. */
export type OnnxAttribute = number | { readonly float: number } | readonly number[] | string;

export interface OnnxNode {
  readonly op: string;
  /** Empty for ONNX itself, `com.microsoft` for what ONNX Runtime adds. */
  readonly domain: string;
  /** An empty name stands for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** Nodes stand in an order in which they can run. */
export interface OnnxGraph {
  readonly inputs: Readonly<Record<string, OnnxType>>;
  readonly outputs: Readonly<Record<string, OnnxType>>;
  readonly nodes: readonly OnnxNode[];
  readonly constants: Readonly<Record<string, Literal>>;
  /** Type of every name in the graph. */
  readonly types: ReadonlyMap<string, OnnxType>;
}

/** Reductions take their axes as inputs from 18 on; nothing newer is needed. */
export const OPSET = 18;
const IR_VERSION = 9;
/** Numbers of `TensorProto.DataType`. */
export const DATA_TYPES: Readonly<Record<OnnxDtype, number>> = { float32: 1, int32: 6, int64: 7, bool: 9 };
/** Numbers of `AttributeProto.AttributeType`. */
const ATTRIBUTE_TYPES = { float: 1, int: 2, string: 3, ints: 7 } as const;

/** What a dimension of −1 is called in a file. */
export const BATCH = "batch";

/** The part of onnx.proto (field numbers from the specification) that our models use. */
const SCHEMA = `
  syntax = "proto3";
  message Attribute { string name = 1; float f = 2; int64 i = 3; bytes s = 4; repeated int64 ints = 8; int32 type = 20; }
  message Node {
    repeated string input = 1; repeated string output = 2; string name = 3; string op_type = 4;
    repeated Attribute attribute = 5; string domain = 7;
  }
  message Tensor { repeated int64 dims = 1; int32 data_type = 2; string name = 8; bytes raw_data = 9; }
  message Dimension { oneof value { int64 dim_value = 1; string dim_param = 2; } }
  message Shape { repeated Dimension dim = 1; }
  message TensorType { int32 elem_type = 1; Shape shape = 2; }
  message Type { TensorType tensor_type = 1; }
  message ValueInfo { string name = 1; Type type = 2; }
  message Graph {
    repeated Node node = 1; string name = 2; repeated Tensor initializer = 5;
    repeated ValueInfo input = 11; repeated ValueInfo output = 12;
  }
  message OperatorSet { string domain = 1; int64 version = 2; }
  message Note { string key = 1; string value = 2; }
  message Model {
    int64 ir_version = 1; string producer_name = 2; string producer_version = 3; string doc_string = 6; Graph graph = 7;
    repeated OperatorSet opset_import = 8; repeated Note metadata_props = 14;
  }
`;
/** Reads and writes `ModelProto`; fields that are not declared are passed over in reading. */
export const Model = protobuf.parse(SCHEMA, { keepCase: true }).root.lookupType("Model");

function valueInfos(types: Readonly<Record<string, OnnxType>>): object[] {
  return Object.entries(types).map(([name, { shape, dtype }]) => {
    const dim = shape.map((extent) => (extent < 0 ? { dim_param: BATCH } : { dim_value: extent }));
    return { name, type: { tensor_type: { elem_type: DATA_TYPES[dtype], shape: { dim } } } };
  });
}

function attribute(name: string, value: OnnxAttribute): object {
  if (typeof value === "number") return { name, i: value, type: ATTRIBUTE_TYPES.int };
  if (typeof value === "string") return { name, s: Buffer.from(value), type: ATTRIBUTE_TYPES.string };
  if ("float" in value) return { name, f: value.float, type: ATTRIBUTE_TYPES.float };
  return { name, ints: value, type: ATTRIBUTE_TYPES.ints };
}

/** What a file says of itself besides its graph. */
export interface OnnxNotes {
  readonly producerVersion?: string;
  /** One paragraph for whoever opens the file in a viewer. */
  readonly about?: string;
  /** `metadata_props`: any names, text values. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The bytes of an ONNX file: the same graph and notes give the same bytes. */
export function serialiseOnnx(graph: OnnxGraph, { producerVersion, about, metadata = {} }: OnnxNotes = {}): Uint8Array {
  const domains = new Set(graph.nodes.map(({ domain }) => domain).filter((domain) => domain !== ""));
  return Model.encode({
    ir_version: IR_VERSION,
    producer_name: "m3ret",
    producer_version: producerVersion,
    doc_string: about,
    metadata_props: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    opset_import: [{ domain: "", version: OPSET }, ...[...domains].map((domain) => ({ domain, version: 1 }))],
    graph: {
      name: "m3ret",
      node: graph.nodes.map(({ op, domain, inputs, outputs, attributes }) => ({
        input: inputs,
        output: outputs,
        // Profiles name nodes: the first output is unique.
        name: outputs[0],
        op_type: op,
        domain,
        attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      })),
      initializer: Object.entries(graph.constants).map(([name, { shape, dtype, data }]) => ({
        name,
        dims: shape,
        data_type: DATA_TYPES[dtype],
        raw_data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      })),
      input: valueInfos(graph.inputs),
      output: valueInfos(graph.outputs),
    },
  }).finish();
}
