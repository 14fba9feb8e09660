/** What a file holds, in numbers: the check before anything is trained on it. */
import { readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { systemError } from "../files.js";
import { InputError, type Decoded, type Kind, type Modality, type Shape3 } from "../types.js";
import { filesIn, isFolder, splitSeries } from "./dicomSlices.js";
import { headerBeside } from "./niftiPair.js";
import { readFile, type ReadOptions } from "./read.js";

/** One row of `m3ret inspect --json`. */
export type InspectedFile =
  | {
      readonly path: string;
      readonly ok: true;
      readonly kind: Kind;
      readonly modality: Modality | null;
      readonly shape: Shape3;
      readonly channels: number;
      readonly spacingMm: Shape3 | null;
      readonly orientation: string | null;
      readonly dtype: string;
      readonly min: number;
      readonly max: number;
      readonly mean: number;
      readonly std: number;
      readonly warnings: readonly string[];
    }
  | { readonly path: string; readonly ok: false; readonly error: string };

export interface Statistics {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** Population standard deviation: the sum of squares is divided by n. */
  readonly std: number;
  readonly notFinite: number;
}

/**
 * Describes files and folders, one row each, in the order given. A folder is walked, files by name, then subfolders; of the
 * files directly in it, each DICOM series that is a volume is one row first: under the name of the folder, or, where it is
 * not the only DICOM there, as `FOLDER#1`, `FOLDER#2`… What cannot be read is a row with `ok: false` and one line of text; nothing is thrown.
 *
 * Statistics are over all channels, in stored units after rescale, of finite values; `shape` is `[D, H, W]`.
 */
export async function* inspect(paths: readonly string[], options?: ReadOptions): AsyncGenerator<InspectedFile> {
  for (const path of paths) yield* inspectPath(path, options, new Set());
}

/** Minimum, maximum, mean and population deviation in float64: of [1, 2, 3, 4] the mean is 2.5 and the deviation √1.25. */
export function statisticsOf(values: Float32Array): Statistics {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  let finite = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    finite++;
  }
  const notFinite = values.length - finite;
  if (finite === 0) return { min: NaN, max: NaN, mean: NaN, std: NaN, notFinite };
  const mean = sum / finite;
  // A second pass: subtracting squares of large means would lose the deviation of, say, 1000 ± 0.001.
  let squares = 0;
  for (const value of values) if (Number.isFinite(value)) squares += (value - mean) ** 2;
  return { min, max, mean, std: Math.sqrt(squares / finite), notFinite };
}

async function* inspectPath(
  path: string,
  options: ReadOptions | undefined,
  above: ReadonlySet<string>,
): AsyncGenerator<InspectedFile> {
  if (!isFolder(path)) {
    yield await inspectOne(path, options);
    return;
  }
  let files: string[];
  let folders: string[];
  let real: string;
  try {
    real = realpathSync(path);
    files = filesIn(path);
    folders = readdirSync(path)
      .filter((name) => !name.startsWith("."))
      .sort()
      .map((name) => join(path, name))
      .filter(isFolder);
  } catch (error) {
    yield { path, ok: false, error: oneLine(path, error) };
    return;
  }
  if (above.has(real)) return; // a link that leads back to a folder we are in
  const series = splitSeries(files);
  const volumes = series.filter(({ volume }) => volume);
  const alone = series.length === 1;
  for (let v = 0; v < volumes.length; v++) yield await inspectOne(alone ? path : `${path}#${v + 1}`, options);
  const inVolumes = new Set(volumes.flatMap(({ paths }) => paths));
  files = files.filter((file) => !inVolumes.has(file));
  files = files.filter((file) => headerBeside(file) === null); // the voxels of a pair are in the row of their header
  for (const file of files) yield await inspectOne(file, options);
  for (const folder of folders) yield* inspectPath(folder, options, new Set([...above, real]));
}

async function inspectOne(path: string, options: ReadOptions | undefined): Promise<InspectedFile> {
  try {
    return described(path, await readFile(path, options));
  } catch (error) {
    return { path, ok: false, error: oneLine(path, error) };
  }
}

function described(path: string, decoded: Decoded): InspectedFile {
  const { min, max, mean, std, notFinite } = statisticsOf(decoded.pixels);
  const [channels, ...shape] = decoded.shape;
  const warnings = [...decoded.warnings];
  if (notFinite > 0) warnings.push(`${notFinite} values are NaN or infinite and are left out of the statistics`);
  const { kind, modality, spacingMm, orientation, dtype } = decoded;
  return {
    path,
    ok: true,
    kind,
    modality,
    shape,
    channels,
    spacingMm,
    orientation,
    dtype,
    min,
    max,
    mean,
    std,
    warnings,
  };
}

function oneLine(path: string, error: unknown): string {
  if (error instanceof InputError) return error.message;
  const said = error instanceof Error ? systemError(path, error).message : `${path}: ${String(error)}`;
  return said.split("\n")[0];
}
