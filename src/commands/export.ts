/** `m3ret export`. */
import { Option, type Command } from "commander";
import { exportEncoder } from "../encoder/export.js";
import { POOLINGS, type Pooling } from "../encoder/vit.js";
import type { Kind, Shape3 } from "../types.js";
import { sizeFlag } from "./onnxFlags.js";
import { answer, jsonOption, requireFile } from "./shared.js";

interface Options {
  readonly encoder: string;
  readonly out: string;
  readonly pooling?: Pooling;
  readonly size?: Shape3;
  readonly data?: string;
  readonly kind?: Kind;
  readonly licence?: string;
  readonly catalog?: string;
  readonly json?: boolean;
}

const KINDS: readonly Kind[] = ["image", "video", "volume"];

export function addExport(m3ret: Command): void {
  m3ret
    .command("export")
    .description("write a trained encoder as one file: pixels in, embedding out")
    .requiredOption("--encoder <DIR>", "a folder that pretrain wrote")
    .requiredOption("--out <FILE>", "FILE.onnx, or FILE.safetensors for the weights alone")
    .addOption(
      new Option("--pooling <POOLING>", "cls or mean (default: mean for mae, otherwise cls)").choices(POOLINGS),
    )
    .option("--size <D,H,W>", "of the samples that the file reads; its batch may have any size", sizeFlag)
    .option("--data <NAME>", "take the size from this data set (default: what the encoder was trained on)")
    .addOption(new Option("--kind <KIND>", "and from this kind of its samples (default: image)").choices(KINDS))
    .option("--licence <TEXT>", "of the weights, noted in the file (default: MIT)")
    .option("--catalog <FILE>", "a datasets.yaml of your own")
    .addOption(jsonOption())
    .action(runExport);
}

function runExport({ encoder, out, json, catalog: catalogFile, ...options }: Options): void {
  requireFile("--out", out);
  const report = exportEncoder(encoder, out, { ...options, catalogFile });
  const { input, output, pooling, parameters, bytes } = report;
  const megabytes = (bytes / 2 ** 20).toFixed(1);
  answer(json, report, () =>
    input === null
      ? `${out}: ${parameters} parameters, ${megabytes} MB`
      : `${out}: ${input} to ${output} (${pooling}), ${parameters} parameters, ${megabytes} MB`,
  );
}
