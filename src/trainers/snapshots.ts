/** Encoders kept on the way of a run, so that one can see what grew when. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { loadEncoder, saveEncoder, type Provenance } from "../encoder/checkpoint.js";
import type { Encoder } from "../encoder/vit.js";

/** Shares of a run at which an encoder is kept: doubling, because most happens early. The end is in the run's own folder. */
export const SNAPSHOT_SHARES: readonly number[] = [0, 1 / 16, 1 / 8, 1 / 4, 1 / 2];

/** Steps done at those shares of a run, each once and none of them the end: 450 steps give [0, 28, 56, 113, 225]. */
export function snapshotSteps(steps: number, shares: readonly number[] = SNAPSHOT_SHARES): number[] {
  const rounded = shares.map((share) => Math.round(share * steps));
  return [...new Set(rounded)].filter((step) => step >= 0 && step < steps).sort((a, b) => a - b);
}

const SNAPSHOTS = "snapshots";

/** Writes RUN/snapshots/STEP/encoder.safetensors, as `saveEncoder` does; `step` is how many steps were done. */
export function saveSnapshot(runFolder: string, step: number, encoder: Encoder, provenance: Provenance): void {
  saveEncoder(join(runFolder, SNAPSHOTS, String(step).padStart(7, "0")), encoder, { ...provenance, step });
}

/** Removes what a run without a state has left: a fresh start would mix its snapshots with another run's. */
export function removeSnapshots(runFolder: string): void {
  rmSync(join(runFolder, SNAPSHOTS), { recursive: true, force: true });
}

export interface Snapshot {
  /** Steps done. */
  readonly step: number;
  readonly folder: string;
  readonly load: () => Encoder;
}

/** What a run has kept, by step, the trained encoder last; only that one where the run kept none, and none where it has not ended. */
export function listSnapshots(runFolder: string): Snapshot[] {
  const folder = join(runFolder, SNAPSHOTS);
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  const kept = names.map((name) => ({ step: Number(name), folder: join(folder, name) }));
  const whole = (one: { folder: string }) => existsSync(join(one.folder, "encoder.safetensors"));
  const end = whole({ folder: runFolder })
    ? [{ step: Number(loadEncoder(runFolder).provenance.steps), folder: runFolder }]
    : [];
  return [...kept.filter(whole), ...end].map((one) => ({ ...one, load: () => loadEncoder(one.folder).encoder }));
}
