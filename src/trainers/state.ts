/** A training run on disk: one file with weights, teacher, moments, step and the state of chance. */
import { loadSafetensors, saveSafetensors } from "../engine/safetensors.js";
import type { NamedArrays } from "../engine/arrays.js";
import type { RandomState } from "../random.js";
import { InputError, type CeilingOption } from "../types.js";

export interface TrainState extends CeilingOption {
  /** Steps done. */
  readonly step: number;
  /** `params/…`, `teacher/…`, `first/…`, `second/…` (AdamW's moments). */
  readonly arrays: NamedArrays;
  /** The run's generator; every step forks it by the step's number. */
  readonly random: RandomState;
}

/** What must be the same for a run to go on: anything that its losses depend on. */
export type RunIdentity = Readonly<Record<string, unknown>>;

export function saveState(path: string, state: TrainState, identity: RunIdentity): void {
  saveSafetensors(path, state.arrays, {
    step: String(state.step),
    random: JSON.stringify(state.random),
    identity: JSON.stringify(identity),
  });
}

/** @throws InputError where the file is no training state, or of a run with other settings (it names the first) */
export function loadState(path: string, identity: RunIdentity): TrainState {
  const { arrays, metadata } = loadSafetensors(path);
  const { step, random, identity: stored } = metadata;
  if (!step || !random || !stored) throw new InputError(`${path}: expected a training state, got other safetensors`);
  const before = fromJson<Record<string, unknown>>(path, stored);
  const now = JSON.parse(JSON.stringify(identity)) as Record<string, unknown>;
  for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [was, is] = [JSON.stringify(before[key]), JSON.stringify(now[key])];
    const wayOn = key === "engine" ? `; --engine ${String(before.engine)} goes on` : "";
    if (was !== is) throw new InputError(`${path}: cannot resume: ${key} was ${was}, now ${is}${wayOn}`);
  }
  const ceiling = before.ceiling === undefined ? {} : ({ ceiling: true } as const);
  return { step: Number(step), arrays, random: fromJson<RandomState>(path, random), ...ceiling };
}

function fromJson<T>(path: string, text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new InputError(`${path}: expected a training state, got damaged metadata`);
  }
}
