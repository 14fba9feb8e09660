/** Which pictures a study of phantoms has, and where each lies in the files of its modality. */
import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  InputError,
  MODALITIES,
  sizeOf,
  UNSEEN_MODALITY,
  type Modality,
  type Shape3,
  type Shape4,
  type Split,
} from "../types.js";
import { DEFAULT_SPLITS, drawPatients, type Patient } from "./phantomPatient.js";
import { acquisitionOf, simulate, STORED } from "./phantomSimulate.js";

/** Raised whenever the same spec would give other bytes: old caches are then left alone, and new ones made. */
export const GENERATOR_VERSION = 2;

export interface PhantomSpec {
  readonly patients: number;
  readonly seed: number;
  /** Height and width, pixels. */
  readonly size: number;
  /** Slices of a volume, frames of a video. */
  readonly depth: number;
  /** `coronal` (default) lays D along the X-ray beam; `axial` is how scanners store. */
  readonly ctPlane?: "coronal" | "axial";
  /** Fractions of the patients, summing to 1; 0.6, 0.2 and 0.2 where absent. */
  readonly splits?: Readonly<Record<Split, number>>;
  /** All five where absent. */
  readonly modalities?: readonly Modality[];
  /** MRI of the train split's patients as well: for a ceiling alone. The other pictures stay as they are. */
  readonly ceiling?: true;
}

/** A spec with nothing left open; without `ceiling` it reads as it did before there was any, and so does its hash. */
export type FullSpec = Required<Omit<PhantomSpec, "ceiling">> & Pick<PhantomSpec, "ceiling">;

/** Throws an `InputError` that names the first value that cannot be. */
export function fullSpec(spec: PhantomSpec): FullSpec {
  const whole = (name: "patients" | "size" | "depth", least: number): void => {
    if (!Number.isInteger(spec[name]) || spec[name] < least) {
      throw new InputError(`phantom: ${name} must be a whole number of at least ${least}; got ${spec[name]}`);
    }
  };
  whole("patients", 1);
  whole("size", 16);
  whole("depth", 1);
  if (!Number.isInteger(spec.seed)) throw new InputError(`phantom: seed must be a whole number; got ${spec.seed}`);
  const wanted = spec.modalities ?? MODALITIES;
  const unknown = wanted.find((m) => !MODALITIES.includes(m));
  if (unknown !== undefined) {
    throw new InputError(`phantom: unknown modality ${unknown}; expected ${MODALITIES.join(", ")}`);
  }
  const { train, gallery, query } = spec.splits ?? DEFAULT_SPLITS;
  return {
    patients: spec.patients,
    seed: spec.seed,
    size: spec.size,
    depth: spec.depth,
    ctPlane: spec.ctPlane ?? "coronal",
    splits: { train, gallery, query },
    modalities: MODALITIES.filter((m) => wanted.includes(m)),
    ...(spec.ceiling ? { ceiling: true } : {}),
  };
}

/** Twelve hex digits that differ whenever spec or generator do. */
export function specHash(spec: FullSpec): string {
  return createHash("sha256")
    .update(JSON.stringify([GENERATOR_VERSION, spec]))
    .digest("hex")
    .slice(0, 12);
}

export interface PlannedPicture {
  readonly modality: Modality;
  /** Position in the file of the modality, counted in pictures. */
  readonly slot: number;
}

export interface PlannedPatient {
  readonly patient: Patient;
  readonly split: Split;
  readonly pictures: readonly PlannedPicture[];
}

/** All patients and their pictures, in the order of ids. Only for a ceiling are patients of the train split seen by MRI. */
export function planOf(spec: FullSpec): readonly PlannedPatient[] {
  const used = new Map<Modality, number>();
  return drawPatients(spec.patients, spec.seed, spec.splits).map(([patient, split]) => ({
    patient,
    split,
    pictures: spec.modalities
      .filter((modality) => split !== "train" || modality !== UNSEEN_MODALITY || spec.ceiling)
      .map((modality) => {
        const slot = used.get(modality) ?? 0;
        used.set(modality, slot + 1);
        return { modality, slot };
      }),
  }));
}

/** `[C, D, H, W]` of every picture of a modality. */
export function shapeOf(modality: Modality, spec: FullSpec): Shape4 {
  const { kind, channels } = STORED[modality];
  return [channels, kind === "image" ? 1 : spec.depth, spec.size, spec.size];
}

/** Bytes of every picture of a modality. */
export function bytesOf(modality: Modality, spec: FullSpec): number {
  return sizeOf(shapeOf(modality, spec)) * (STORED[modality].dtype === "uint8" ? 1 : 2);
}

/** `ct.int16`: little-endian integers, picture after picture. */
export function fileOf(modality: Modality): string {
  return `${modality}.${STORED[modality].dtype}`;
}

/** What a picture knows of itself besides its pixels. */
export interface Geometry {
  readonly spacingMm: Shape3 | null;
  readonly orientation: string | null;
}

/** Makes every `step`-th patient, starting at `first`, and writes the pixels into their slots of the files in `folder`. */
export interface Share {
  readonly spec: FullSpec;
  readonly folder: string;
  readonly first: number;
  readonly step: number;
}

/** One patient is done; geometries stand in the order of its pictures. */
export interface PatientDone {
  readonly index: number;
  readonly geometries: readonly Geometry[];
}

/** Works through a share, one patient per turn. */
export function* renderShare({ spec, folder, first, step }: Share): Generator<PatientDone> {
  const plan = planOf(spec);
  const files = new Map(spec.modalities.map((m) => [m, openSync(join(folder, fileOf(m)), "r+")]));
  try {
    for (let index = first; index < plan.length; index += step) {
      const { patient, pictures } = plan[index];
      const geometries = pictures.map(({ modality, slot }): Geometry => {
        const decoded = simulate(patient, modality, acquisitionOf(patient, modality), spec);
        const bytes = toLittleEndian(decoded.pixels, STORED[modality].dtype);
        writeAll(files.get(modality)!, bytes, slot * bytes.length);
        return { spacingMm: decoded.spacingMm, orientation: decoded.orientation };
      });
      yield { index, geometries };
    }
  } finally {
    for (const file of files.values()) closeSync(file);
  }
}

function writeAll(file: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at, position + at);
}

function toLittleEndian(values: Float32Array, dtype: "uint8" | "int16" | "uint16"): Uint8Array {
  if (dtype === "uint8") return Uint8Array.from(values);
  const bytes = new Uint8Array(2 * values.length);
  for (let i = 0; i < values.length; i++) {
    bytes[2 * i] = values[i] & 255;
    bytes[2 * i + 1] = (values[i] >> 8) & 255;
  }
  return bytes;
}
