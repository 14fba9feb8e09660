/** One patient, one modality, one acquisition. */
import { Random } from "../random.js";
import type { Decoded, Kind, Modality } from "../types.js";
import { anatomyOf } from "./phantomAnatomy.js";
import { simulateCt } from "./phantomCt.js";
import { simulateEndoscopy } from "./phantomEndoscopy.js";
import { lumenOf } from "./phantomLumen.js";
import { simulateMri } from "./phantomMri.js";
import type { Patient } from "./phantomPatient.js";
import { simulateUltrasound } from "./phantomUltrasound.js";
import type { PictureSpec } from "./phantomView.js";
import { simulateXray } from "./phantomXray.js";

/** How each modality is stored. */
export const STORED: Readonly<Record<Modality, { kind: Kind; dtype: "uint8" | "int16" | "uint16"; channels: 1 | 3 }>> =
  {
    xray: { kind: "image", dtype: "uint8", channels: 1 },
    ultrasound: { kind: "image", dtype: "uint8", channels: 1 },
    endoscopy: { kind: "video", dtype: "uint8", channels: 3 },
    ct: { kind: "volume", dtype: "int16", channels: 1 },
    mri: { kind: "volume", dtype: "uint16", channels: 1 },
  };

/**
 * What the modality's device would store of the patient. Pure: the patient fixes the anatomy, `random` the
 * acquisition (pose, exposure, noise), and the same two give the same bytes on every platform.
 *
 * @returns pixels in stored units: Hounsfield units (CT), 0–255 (X-ray, ultrasound, endoscopy), arbitrary (MRI)
 */
export function simulate(patient: Patient, modality: Modality, random: Random, spec: PictureSpec): Decoded {
  const anatomy = anatomyOf(patient);
  switch (modality) {
    case "ct":
      return simulateCt(anatomy, random, spec);
    case "xray":
      return simulateXray(anatomy, random, spec);
    case "ultrasound":
      return simulateUltrasound(anatomy, random, spec);
    case "mri":
      return simulateMri(anatomy, random, spec);
    case "endoscopy":
      return simulateEndoscopy(
        lumenOf(patient.region, anatomy.lesion, new Random(`${patient.seed} ${patient.region}`)),
        random,
        spec,
      );
  }
}

/** The generator of a patient's acquisition by one modality: independent of every other. */
export function acquisitionOf(patient: Patient, modality: Modality): Random {
  return new Random(`${patient.seed} acquisition ${modality}`);
}
