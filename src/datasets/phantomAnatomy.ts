/**
 * One labelled 3D anatomy per patient: the only thing that the modalities share. Everything follows from the patient's
 * fields; healthy and ill twins (the same seed, another finding) differ in the finding alone.
 */
import { Random } from "../random.js";
import { InputError } from "../types.js";
import { HEAD, NECK } from "./phantomHead.js";
import { HAND, KNEE, SHOULDER } from "./phantomLimbs.js";
import { Painter, PITCH, type Vec3 } from "./phantomPainter.js";
import type { Patient } from "./phantomPatient.js";
import type { Lesion, RegionPlan } from "./phantomSkeleton.js";
import { ABDOMEN, CHEST, PELVIS } from "./phantomTrunk.js";
import { CORTEX, SPONGY, type TissueProperties } from "./phantomTissue.js";

const PLANS: Readonly<Record<string, RegionPlan>> = {
  head: HEAD,
  neck: NECK,
  chest: CHEST,
  abdomen: ABDOMEN,
  pelvis: PELVIS,
  shoulder: SHOULDER,
  knee: KNEE,
  hand: HAND,
};

export interface Anatomy {
  /** `[nz, ny, nx]` indices into `TISSUES`; the voxels are cubes of `pitch` region units. */
  readonly labels: Uint8Array;
  readonly shape: readonly [nz: number, ny: number, nx: number];
  readonly pitch: number;
  /** Centimetres per region unit. */
  readonly halfCm: number;
  /** Region units from the middle to the front or back of the grid. */
  readonly halfDepth: number;
  /** The y (region units) of the frontal plane worth looking at. */
  readonly focusY: number;
  /** Hounsfield units of this patient's tissues. */
  hounsfield(tissue: TissueProperties, label: number): number;
  /** What the endoscope needs to know of the body; see `phantomLumen.ts`. */
  readonly lesion: Lesion;
}

/** Anatomies are a few MB and take tens of ms, and a patient's pictures are made in a row: the latest is remembered. */
let latest: { readonly key: string; readonly anatomy: Anatomy } | null = null;

/** The anatomy of a patient. The same patient gives the same labels on every platform. */
export function anatomyOf(patient: Patient): Anatomy {
  const key = [patient.seed, patient.region, patient.finding, patient.size].join("\n");
  if (latest?.key === key) return latest.anatomy;
  const plan = PLANS[patient.region];
  if (!plan)
    throw new InputError(`phantom: unknown region ${patient.region}; expected ${Object.keys(PLANS).join(", ")}`);

  const random = new Random(`${patient.seed} ${patient.region}`);
  const body = random.fork("body");
  const size = plan.enlarge * body.uniform(0.82, 1.12);
  const scale: Vec3 = [
    size * body.uniform(0.94, 1.06),
    size * body.uniform(0.95, 1.05),
    size * body.uniform(0.94, 1.06),
  ];
  const shift: Vec3 = [body.uniform(-0.05, 0.05), body.uniform(-0.02, 0.02), body.uniform(-0.06, 0.06)];
  const mirrored = body.chance(0.5) && plan.paired;
  const fat = body.uniform();
  const density = body.uniform(0.78, 1.12);
  const tint = Float32Array.from({ length: 32 }, () => body.uniform(-6, 6));

  const lesion = lesionOf(patient, random.fork("lesion"));
  const painter = new Painter(
    plan.halfDepth * plan.enlarge,
    { scale, shift, bend: 0.05, mirrored },
    random.fork("bend"),
  );
  const focus = plan.draw(painter, random.fork("organs"), lesion, { fat });

  const anatomy: Anatomy = {
    labels: painter.labels,
    shape: [painter.nz, painter.ny, painter.nx],
    pitch: PITCH,
    halfCm: plan.halfCm / plan.enlarge,
    halfDepth: plan.halfDepth * plan.enlarge,
    focusY: focus * scale[1] + shift[1],
    hounsfield: (tissue, label) =>
      label === CORTEX || label === SPONGY
        ? tissue.hu * density
        : tissue.hu === -1000
          ? tissue.hu
          : tissue.hu + tint[label],
    lesion,
  };
  latest = { key, anatomy };
  return anatomy;
}

/** A seed decides how a body would fall ill, whether or not it does. */
function lesionOf(patient: Patient, random: Random): Lesion {
  const within = random.uniform();
  const extent = patient.size === "large" ? 0.65 + 0.35 * within : 0.3 * within;
  const side = random.chance(0.5) ? 1 : -1;
  return { finding: patient.finding, extent, side, random: random.fork("details") };
}
