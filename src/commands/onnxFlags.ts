/** What the command line says of an encoder in an ONNX file that does not say it itself. */
import type { Command } from "commander";
import type { OpenOnnxOptions } from "../encoder/embedOnnx.js";
import { COMPILED, type EngineName } from "../engine/engine.js";
import { InputError, type Shape3 } from "../types.js";
import { integerList } from "./shared.js";

export interface OnnxFlags {
  readonly size?: Shape3;
  readonly mean?: OpenOnnxOptions["mean"];
  readonly std?: OpenOnnxOptions["std"];
  readonly output?: string;
  readonly engine?: EngineName;
}

/** `--size 1,224,224` */
export function sizeFlag(text: string): Shape3 {
  const sides = integerList("size")(text);
  if (sides.length !== 3) throw new InputError(`--size: expected D,H,W, got "${text}"`);
  return sides as unknown as Shape3;
}

/** `--size` for samples of a data set. */
export function sampleSize(command: Command): Command {
  return command.option("--size <D,H,W>", "of the samples, instead of the data set's own; an image is 1,H,W", sizeFlag);
}

/** `--mean 0.485,0.456,0.406` */
function channels(name: string): (text: string) => [number, number, number] {
  return (text) => {
    const values = text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
    const wrong =
      values.length !== 3 || !values.every(Number.isFinite) || (name === "std" && values.some((x) => x <= 0));
    if (wrong)
      throw new InputError(`--${name}: expected three numbers${name === "std" ? " above 0" : ""}, got "${text}"`);
    return values as [number, number, number];
  };
}

export function onnxFlags(command: Command): Command {
  return command
    .option(
      "--size <D,H,W>",
      "of the samples, instead of the data set's own, or of an .onnx file's open input",
      sizeFlag,
    )
    .option(
      "--mean <R,G,B>",
      "subtracted from an .onnx file's pixels, where neither it nor an entry says",
      channels("mean"),
    )
    .option("--std <R,G,B>", "what they are divided by then", channels("std"))
    .option("--output <NAME>", "of an .onnx file, where several could be the embedding");
}

/** @throws InputError for the engines `eager` and `dawn`: only ONNX Runtime runs these files */
export function onnxOptions({ size, mean, std, output, engine = "compiled" }: OnnxFlags): OpenOnnxOptions {
  if (engine === "eager" || engine === "dawn")
    throw new InputError(`--engine ${engine}: an .onnx file is run by ONNX Runtime alone`);
  return { size, mean, std, output, provider: COMPILED[engine] };
}
