/** The section `encoders` of datasets.yaml: pretrained encoders in ONNX files, ours or other projects'. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { InputError, type Shape3 } from "../types.js";

/** How the axes of an encoder's input are ordered: b is the batch, 3 the channels. */
export type InputLayout = "b,3,H,W" | "b,3,D,H,W";

/** How a picture reaches the aspect ratio of its size: see `fitTo`. */
export const FITS = ["stretch", "pad", "crop"] as const;

export interface EncoderEntry {
  readonly title: string;
  /** Where it is from. */
  readonly home: string;
  readonly licence: string;
  /** As it is written; `locate` fills in `${NAME}` and makes it absolute. */
  readonly file: string;
  readonly input: InputLayout;
  /** [D, H, W] of one input; an encoder of pictures has D = 1. */
  readonly size: Shape3;
  /** Of each channel: pixels in [0, 1] become (x − mean) / std. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /** The output that holds one vector per sample, where there are several. */
  readonly output?: string;
  /** Instead of the data set's own. */
  readonly fit?: (typeof FITS)[number];
  /** What one vector is, where the file pools by itself: "the CLS token, projected to 512 numbers". */
  readonly vector?: string;
  /** Where to get the file, and how it is made. */
  readonly get?: string;
  /** Of a vision transformer in a safetensors file: what it is read by (default cls). */
  readonly pooling?: "cls" | "mean";
  /** Of the same, where it is not width / 64. */
  readonly heads?: number;
}

const LAYOUTS: readonly InputLayout[] = ["b,3,H,W", "b,3,D,H,W"];
const text = z.string().min(1);
const extent = z.int().positive();
const channels = z.tuple([z.number(), z.number(), z.number()]);

export const encoderEntry = z
  .strictObject({
    title: text,
    home: text,
    licence: text,
    file: text,
    input: z
      .array(z.union([z.string(), z.number()]))
      .refine((axes) => LAYOUTS.includes(axes.join() as InputLayout), "expected [b, 3, H, W] or [b, 3, D, H, W]")
      .transform((axes) => axes.join() as InputLayout),
    size: z.tuple([extent, extent, extent]),
    mean: channels,
    std: channels.refine((values) => values.every((value) => value > 0), "expected three numbers above 0"),
    output: text.optional(),
    vector: text.optional(),
    fit: z.enum(FITS).optional(),
    get: text.optional(),
    pooling: z.enum(["cls", "mean"]).optional(),
    heads: extent.optional(),
  })
  .refine(({ input, size }) => input === "b,3,D,H,W" || size[0] === 1, {
    path: ["size"],
    message: "expected [1, H, W] for an input of [b, 3, H, W]",
  });

/**
 * The place of a file or folder that a catalogue names: `${NAME}` is filled in from the environment, `${NAME:-default}`
 * has a default for when it is not set or empty, and a relative path starts at the folder of the catalogue.
 * `${DATA:-../data}/chest` in `/work/datasets.yaml` is `/data/chest` when DATA is not set.
 *
 * @param catalogFile where the path is written
 * @param whose       `data set "chest"`, for errors
 * @throws InputError that says what to set where a variable has neither value nor default, or nothing is there
 */
export function locate(catalogFile: string, path: string, whose: string, what: "folder" | "file"): string {
  const variables: string[] = [];
  const filled = path.replace(/\$\{(\w+)(?::-([^}]*))?\}/g, (_, variable: string, fallback?: string) => {
    variables.push(variable);
    const value = process.env[variable] || fallback;
    if (value === undefined) {
      throw new InputError(`${whose}: set ${variable} to the folder of its files (${catalogFile}: ${path})`);
    }
    return value;
  });
  const found = resolve(dirname(catalogFile), filled);
  if (existsSync(found)) return found;
  const whole = what === "folder" ? "to it" : "to its folder";
  const remedy =
    variables.length > 0 ? `set ${variables.join(" and ")} ${whole}` : `correct its path in ${catalogFile}`;
  throw new InputError(`${whose}: no ${what} ${found}; ${remedy}`);
}
