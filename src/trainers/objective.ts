/** What the two self-supervised methods have in common, as the training loop sees them. */
import type { BatchArray, NamedArrays, NamedTensors } from "../engine/arrays.js";
import type { EncoderConfig } from "../encoder/config.js";
import type { Pooling } from "../encoder/vit.js";
import type { Random } from "../random.js";
import type { Shape3 } from "../types.js";
import type { Collate } from "./collate.js";
import type { AdamWOptions } from "./optimizer.js";

export type Method = "mae" | "simdino";

/** One batch: samples of one shape, ready for a backend. */
export interface Batch {
  /** Names the shapes: batches of one bucket run through one graph. */
  readonly bucket: string;
  readonly arrays: Readonly<Record<string, BatchArray>>;
  /** Patches along D, H, W of each kind of view in the batch. */
  readonly grids: Readonly<Record<string, Shape3>>;
}

/** Numbers that change from step to step. */
export interface Schedule {
  readonly learningRate: number;
  readonly weightDecay: number;
  /** How much of the teacher stays; methods without a teacher ignore it. */
  readonly teacherMomentum: number;
}

export interface Objective {
  readonly method: Method;
  readonly encoder: EncoderConfig;
  /** The vector that the loss trains, and retrieval reads: stored with the encoder. */
  readonly pooling: Pooling;
  readonly optimizer: AdamWOptions & { readonly clipNorm: number };
  /** Whether a slow copy of the parameters is kept as the teacher. */
  readonly teacher: boolean;
  /** Fresh parameters; the encoder's are named `encoder/…`. */
  init(random: Random): NamedArrays;
  /**
   * Augments samples of one kind and cuts them into patches. With a `spec` (see `collateBy`) worker threads do it ahead of
   * the step; a function of one's own has none, and runs in the training thread.
   */
  readonly collate: Collate;
  /**
   * The loss and what it is made of, all scalars; `loss` is minimised. A pure function of tensors, so that it can be
   * traced.
   */
  terms(params: NamedTensors, teacher: NamedTensors, batch: NamedTensors, grids: Batch["grids"]): NamedTensors;
  schedule(step: number, steps: number): Schedule;
  /** One sentence when the terms of a batch look like trouble, otherwise null. */
  warning(terms: Readonly<Record<string, number>>, batch: Batch): string | null;
  /** The two ends of the expansion term for a batch of b, where the method has one. */
  limits?(b: number): { readonly ceiling: number; readonly collapse: number };
}
