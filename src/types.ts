/**
 * The nouns that every station of the house shares: what a decoded file is, what a sample is, and what a number may be
 * called. Shapes are always written `[C, D, H, W]`: channels, depth (slices or frames), height, width.
 */

/** What made the picture. Nothing in the encoder knows it: it labels data, tables and colours. */
export type Modality = "xray" | "ultrasound" | "endoscopy" | "ct" | "mri";

export const MODALITIES: readonly Modality[] = ["xray", "ultrasound", "endoscopy", "ct", "mri"];

/** The paper pretrains without MRI, and judges transfer to it; `assertPretrainable` enforces the same here. */
export const UNSEEN_MODALITY: Modality = "mri";

/** The modalities that pretraining may see. */
export const PRETRAIN_MODALITIES: readonly Modality[] = MODALITIES.filter((m) => m !== UNSEEN_MODALITY);

/** How the D axis is to be read: a single picture (D = 1), frames, or slices. */
export type Kind = "image" | "video" | "volume";

export const KINDS: readonly Kind[] = ["image", "video", "volume"];

/** `[C, D, H, W]`. */
export type Shape4 = readonly [channels: number, depth: number, height: number, width: number];

/** `[D, H, W]`. */
export type Shape3 = readonly [depth: number, height: number, width: number];

/** How a window becomes grey: PS3.3, C.11.2.1.2 and C.11.2.1.3. */
export type VoiCurve = "linear" | "linearExact" | "sigmoid";

/**
 * What a file says of its display (DICOM's "values of interest"), for values as they stand in `pixels`: a table whose first
 * entry is for the value `first`, with entries of `bits` bits, or a window.
 */
export type Voi =
  | { readonly first: number; readonly bits: number; readonly table: Uint16Array }
  | { readonly centre: number; readonly width: number; readonly curve: VoiCurve };

/**
 * A file as its reader saw it: every value in stored units after rescale slope and intercept (Hounsfield units for CT),
 * before any windowing, resampling, resizing or reorientation of intensity.
 *
 * Invariant: `pixels.length === C * D * H * W` of `shape`; C is 1 or 3.
 */
export interface Decoded {
  readonly pixels: Float32Array;
  readonly shape: Shape4;
  readonly kind: Kind;
  /** From the file itself where it says so (DICOM), otherwise null. */
  readonly modality: Modality | null;
  /** Distance between voxel centres along D, H and W, or null where the file does not know. */
  readonly spacingMm: Shape3 | null;
  /** Three letters, first for increasing W, then H, then D (nibabel's order of axes i, j, k), or null. */
  readonly orientation: string | null;
  /** The stored type, as numpy spells it: `uint8`, `int16`, `float32`… */
  readonly dtype: string;
  /** Values that the file sets apart as never scanned (DICOM's pixel padding), both ends included; in `pixels` as they are. */
  readonly padding?: readonly [low: number, high: number] | null;
  /** How the file wants to be shown; `pixels` are as they are without it. */
  readonly voi?: Voi | null;
  /**
   * For each slice how far it has slid within its plane, in mm along H and W, against the middle slice of a straight stack: a
   * tilted gantry shears a volume. Left out or null where nothing slid.
   */
  readonly slidMm?: readonly (readonly [h: number, w: number])[] | null;
  readonly warnings: readonly string[];
}

/**
 * One thing that can be embedded and retrieved. `pixels` is `[C = 3, D, H, W]` in [0, 1]; grey is repeated to three
 * channels, and `grey` says so, so that a transform may work on one channel and repeat the result.
 */
export interface Sample {
  readonly id: string;
  readonly pixels: Float32Array;
  readonly shape: Shape4;
  readonly grey: boolean;
  readonly kind: Kind;
  readonly modality: Modality;
  /** The patient or case: a group is on one side of a split, and a query never retrieves its own group. */
  readonly group: string;
  /** Column to value, such as `{ region: "chest", finding: "nodule" }`. */
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Between the labels of a picture that has several, in a column that holds label sets: `Effusion|Mass`, as ChestX-ray14 has it.
 * Which columns do is a fact of a data set (`labelSetsOf`): in any other, the sign means nothing.
 */
export const LABEL_SEPARATOR = "|";

/** `train` is all that pretraining sees; `gallery` and `query` judge it. Groups never cross. */
export type Split = "train" | "gallery" | "query";

export const SPLITS: readonly Split[] = ["train", "gallery", "query"];

/**
 * Wrong input from outside: the command line prints `error: message` in one line and exits with 2. A file may have a line end or an
 * escape sequence in its name: control characters are shown as `\n` or `\u001b` are.
 */
export class InputError extends Error {
  override readonly name = "InputError";

  constructor(message: string) {
    // eslint-disable-next-line no-control-regex -- they are what is looked for
    super(message.replace(/[\u0000-\u001f\u007f]/g, (character) => JSON.stringify(character).slice(1, -1)));
  }
}

/**
 * The one exception to "MRI never enters pretraining": a ceiling is an encoder that was allowed MRI, so that one sees what
 * transfer could reach at best. It is asked for by name (`ceiling: true`), these words stand in its run's identity, its
 * checkpoint and the name of its rows, and no table takes it for a trained encoder.
 */
export const CEILING = "ceiling: saw MRI";

/** Asks for the exception; absent everywhere but in the training of a ceiling. */
export interface CeilingOption {
  readonly ceiling?: true;
}

/** Throws unless the modality may enter pretraining: MRI is only ever judged on, except by a ceiling (`CEILING`). */
export function assertPretrainable(modality: Modality, { ceiling }: CeilingOption = {}): void {
  if (modality === UNSEEN_MODALITY && !ceiling) {
    throw new InputError(
      "MRI never enters pretraining: the paper judges transfer to it; expected one of " +
        PRETRAIN_MODALITIES.join(", "),
    );
  }
}

/** Number of elements of a shape: `sizeOf([3, 1, 64, 64])` is 12,288; `sizeOf([])` is 1. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** What long work says of itself; a terminal, a notebook cell or nobody draws it. */
export interface Progress {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  readonly note?: string;
  /** Some parts take much longer than others, so that the pace of the last seconds says little: that of the whole is better. */
  readonly uneven?: true;
}

export type OnProgress = (progress: Progress) => void;

/** One line of a benchmark. Times and rates are of the fastest round: what disturbs a machine only makes it slower. */
export interface BenchCase {
  readonly case: string;
  readonly ours: number;
  /** Null where the peer is not there. */
  readonly peer: number | null;
  readonly unit: string;
  /** Above 1, we are ahead. */
  readonly ratio: number | null;
  readonly [more: string]: number | string | null;
}

/** What `m3ret bench` answers. */
export interface BenchReport {
  readonly name: string;
  readonly cases: readonly BenchCase[];
  readonly machine: Readonly<Record<string, number | string>>;
  /** Why there is no peer, where there is none. */
  readonly note?: string;
}

export interface BenchOptions {
  /** Only cases whose name contains this. */
  readonly only?: string;
  readonly rounds?: number;
  /** What computes our side, as `--engine` spells it; on a GPU the peer computes there too. Default: `startEngine()`. */
  readonly engine?: string;
  readonly onCase?: (done: number, total: number, name: string) => void;
}
