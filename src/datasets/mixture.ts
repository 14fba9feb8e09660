/**
 * In which order the rows of a manifest are trained on: a pure function of seed, epoch and position, so that a run goes
 * on exactly where it stopped, and any number of workers divide the work without talking to each other.
 */
import { Random } from "../random.js";
import {
  InputError,
  KINDS,
  MODALITIES,
  SPLITS,
  UNSEEN_MODALITY,
  assertPretrainable,
  type Kind,
  type Modality,
} from "../types.js";
import type { Manifest } from "./manifest.js";
import { permutation } from "./permutation.js";
import { share } from "./split.js";

/** Rows that are drawn from together, and their part of the batches; without shares, every row is drawn once an epoch. */
export interface Stratum {
  readonly name: string;
  readonly rows: Uint32Array;
  readonly share?: number;
}

export interface MixtureOptions {
  readonly seed: number | string;
  readonly batchSize: number;
  /** Batches of an epoch where strata have shares. Default: as many as all rows fill. */
  readonly batches?: number;
}

/** Where a run stands: the next batch to come. It is all that resuming needs. */
export interface MixtureState {
  readonly epoch: number;
  readonly position: number;
}

/** Which part of the batches this process or thread takes: those whose position is `index` modulo `of`. */
export interface Shard {
  readonly index: number;
  readonly of: number;
}

export interface MixtureBatch {
  readonly epoch: number;
  readonly position: number;
  /** The state after this batch. */
  readonly next: MixtureState;
  readonly stratum: string;
  readonly rows: Uint32Array;
}

export interface Mixture {
  /** Batches of one epoch, of all shards together. */
  readonly batches: number;
  /** Of each stratum: batches an epoch, and how often a row of it is seen in one, on average. */
  readonly plan: readonly { name: string; rows: number; batches: number; rounds: number }[];
  at(state: MixtureState): MixtureBatch;
  /** The state before the batch of a step, counted through all epochs. */
  stateAt(step: number): MixtureState;
  /** From a state on, epoch after epoch, without end. */
  from(state: MixtureState, shard?: Shard): Generator<MixtureBatch, never>;
}

/** Part of the batches for a modality, in any unit; or for each kind of its files, such as pictures and videos of endoscopy. */
export type Shares = Readonly<Partial<Record<Modality, number | Readonly<Partial<Record<Kind, number>>>>>>;

export interface Strata {
  readonly strata: Stratum[];
  /** Rows that are not drawn from: MRI, the other sides of the split, and what has no share. */
  readonly leftOut: { readonly mri: number; readonly judged: number; readonly withoutShare: number };
}

/**
 * Strata of what may enter pretraining: the rows of `train`, one stratum for each modality and kind ("endoscopy video"),
 * because a batch holds one shape. A share given to a modality is divided between its kinds as its rows are.
 *
 * @throws InputError where MRI is given a share, or what has a share has no rows to train on
 */
export function strataOf(manifest: Manifest, shares?: Shares): Strata {
  const { modalityOf, kindOf, splitOf, length } = manifest;
  for (const modality of Object.keys(shares ?? {}) as Modality[]) assertPretrainable(modality);
  const where = manifest.sets.join(", ");
  const train = SPLITS.indexOf("train");
  const mri = MODALITIES.indexOf(UNSEEN_MODALITY);
  const codes = MODALITIES.length * KINDS.length;
  const counts = new Uint32Array(codes);
  const leftOut = { mri: 0, judged: 0, withoutShare: 0 };
  for (let row = 0; row < length; row++) {
    if (modalityOf[row] === mri) leftOut.mri++;
    else if (splitOf[row] !== train) leftOut.judged++;
    else counts[modalityOf[row] * KINDS.length + kindOf[row]]++;
  }

  const strata: { name: string; rows: Uint32Array; share?: number }[] = [];
  const stratumOf = new Int32Array(codes).fill(-1);
  MODALITIES.forEach((modality, m) => {
    if (m === mri) return;
    const share = shares?.[modality];
    const ofKinds = counts.subarray(m * KINDS.length, (m + 1) * KINDS.length);
    const total = ofKinds.reduce((sum, count) => sum + count, 0);
    if (typeof share === "number" && total === 0) {
      throw new InputError(`${where}: a share of ${modality}, but no file of it to train on`);
    }
    KINDS.forEach((kind, k) => {
      const part = typeof share === "number" ? (share * ofKinds[k]) / total : share?.[kind];
      if (typeof share === "object" && part !== undefined && ofKinds[k] === 0) {
        throw new InputError(`${where}: a share of ${modality} ${kind}, but no file of it to train on`);
      }
      if (ofKinds[k] === 0) return;
      if (shares !== undefined && part === undefined) leftOut.withoutShare += ofKinds[k];
      else {
        stratumOf[m * KINDS.length + k] = strata.length;
        strata.push({ name: `${modality} ${kind}`, rows: new Uint32Array(ofKinds[k]), share: part });
      }
    });
  });
  if (strata.length === 0) throw new InputError(`${where}: nothing to train on (MRI never is, nor gallery and query)`);
  const filled = new Uint32Array(strata.length);
  for (let row = 0; row < length; row++) {
    if (modalityOf[row] === mri || splitOf[row] !== train) continue;
    const s = stratumOf[modalityOf[row] * KINDS.length + kindOf[row]];
    if (s >= 0) strata[s].rows[filled[s]++] = row;
  }
  return { strata, leftOut };
}

/**
 * A batch is of one stratum. An epoch has `n_s` batches of stratum s, in an order shuffled over the whole epoch:
 *
 *     without shares   n_s = ⌈rows_s / b⌉: every row once, the last batch of a stratum may be short
 *     with shares      n_s = share_s of all batches, by largest remainder; rows come round in turn, each round shuffled
 *
 * Memory is the lists of rows alone. 10 rows of X-ray and 4 of CT in batches of 4, without shares, are 3 + 1 batches.
 */
export function mixture(strata: readonly Stratum[], options: MixtureOptions): Mixture {
  const { seed, batchSize } = options;
  const rowCount = strata.reduce((sum, { rows }) => sum + rows.length, 0);
  const shares = strata.flatMap((stratum) => (stratum.share === undefined ? [] : [stratum.share]));
  if (rowCount === 0 || strata.some(({ rows }) => rows.length === 0)) throw new InputError("a stratum without rows");
  if (shares.length > 0 && shares.length < strata.length) throw new InputError("a share for some strata, not for all");
  if (shares.some((part) => !(part > 0))) throw new InputError("expected shares above 0");
  const weighted = shares.length > 0;
  const counts = weighted
    ? share(options.batches ?? Math.ceil(rowCount / batchSize), shares)
    : strata.map(({ rows }) => Math.ceil(rows.length / batchSize));
  const batches = counts.reduce((sum, count) => sum + count, 0);
  const root = new Random(seed);

  // Permutations are a few numbers each; those of the present epoch are kept, because making one costs a generator.
  let kept = { epoch: -1, made: new Map<string, (place: number) => number>() };
  const shuffled = (epoch: number, what: string, n: number) => {
    if (kept.epoch !== epoch) kept = { epoch, made: new Map() };
    let order = kept.made.get(what);
    if (order === undefined) kept.made.set(what, (order = permutation(n, root.fork(`epoch ${epoch}, ${what}`))));
    return order;
  };

  const at = ({ epoch, position }: MixtureState): MixtureBatch => {
    if (!(position >= 0 && position < batches)) throw new RangeError(`batch ${position} of ${batches}`);
    let slot = shuffled(epoch, "batches", batches)(position);
    let s = 0;
    while (slot >= counts[s]) slot -= counts[s++];
    const { name, rows } = strata[s];
    const first = slot * batchSize;
    const length = weighted ? batchSize : Math.min(batchSize, rows.length - first);
    const drawn = new Uint32Array(length);
    for (let i = 0; i < length; i++) {
      const round = Math.floor((first + i) / rows.length);
      const order = shuffled(epoch, `${name} ${round}`, rows.length);
      drawn[i] = rows[order((first + i) % rows.length)];
    }
    const next = position + 1 < batches ? { epoch, position: position + 1 } : { epoch: epoch + 1, position: 0 };
    return { epoch, position, next, stratum: name, rows: drawn };
  };
  function* from(state: MixtureState, shard: Shard = { index: 0, of: 1 }): Generator<MixtureBatch, never> {
    for (let { epoch, position } = state; ; [epoch, position] = [epoch + 1, 0]) {
      for (; position < batches; position++) if (position % shard.of === shard.index) yield at({ epoch, position });
    }
  }
  const plan = strata.map(({ name, rows }, s) => ({
    ...{ name, rows: rows.length, batches: counts[s] },
    rounds: weighted ? (counts[s] * batchSize) / rows.length : 1,
  }));
  const stateAt = (step: number) => ({ epoch: Math.floor(step / batches), position: step % batches });
  return { batches, plan, at, stateAt, from };
}
