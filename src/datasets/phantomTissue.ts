/**
 * What each tissue does to X-rays, sound and spins. Values are rounded from the usual textbook tables: Hounsfield units
 * without contrast; T1 and T2 at 1.5 T after Stanisz et al. 2005 and de Bazelaire et al. 2004; acoustic impedance and
 * attenuation after Szabo, Diagnostic Ultrasound Imaging. They are starting points: each patient varies a little. Bone and
 * lung stop sound less than in life (2.6 instead of 5–10 dB/cm/MHz), so that their shadows are grey and not black.
 */

export interface TissueProperties {
  readonly name: string;
  /** Hounsfield units: −1000 air, 0 water. */
  readonly hu: number;
  /** Hounsfield units that iodine adds in a contrast-enhanced CT (portal phase). */
  readonly enhancement: number;
  /** Longitudinal relaxation, ms. */
  readonly t1: number;
  /** Transverse relaxation, ms. */
  readonly t2: number;
  /** Proton density, relative to water. */
  readonly protons: number;
  /** Acoustic impedance, MRayl. */
  readonly impedance: number;
  /** Backscattered amplitude, relative to the brightest soft tissue. */
  readonly echo: number;
  /** Attenuation of sound, dB per cm and MHz. */
  readonly attenuation: number;
}

type Row = readonly [string, number, number, number, number, number, number, number, number];

// name, HU, contrast, T1, T2, protons, impedance, echo, attenuation
const ROWS: readonly Row[] = [
  ["air", -1000, 0, 1000, 1, 0.0, 0.0004, 0.0, 10],
  ["fat", -100, 2, 300, 70, 0.9, 1.38, 0.3, 0.6],
  ["muscle", 50, 15, 1008, 44, 0.8, 1.7, 0.42, 0.9],
  ["liver", 62, 50, 576, 46, 0.78, 1.65, 0.62, 0.5],
  ["spleen", 46, 65, 1057, 79, 0.85, 1.63, 0.55, 0.45],
  ["kidney", 36, 130, 900, 80, 0.86, 1.62, 0.4, 0.5],
  ["fluid", 6, 0, 3200, 1200, 1.0, 1.5, 0.012, 0.05],
  ["blood", 45, 120, 1441, 150, 0.85, 1.61, 0.06, 0.15],
  ["heart", 48, 70, 1030, 42, 0.82, 1.67, 0.5, 0.5],
  ["lung", -790, 10, 1200, 25, 0.16, 0.6, 0.3, 2.2],
  ["cortical bone", 1150, 0, 250, 2, 0.12, 6.5, 0.6, 2.6],
  ["spongy bone", 260, 5, 330, 62, 0.72, 2.4, 0.3, 1.4],
  ["gas", -1000, 0, 1000, 1, 0.0, 0.0004, 0.0, 12],
  ["cartilage", 95, 5, 1024, 28, 0.72, 1.8, 0.16, 1.2],
  ["grey matter", 39, 8, 1124, 95, 0.86, 1.6, 0.34, 0.6],
  ["white matter", 29, 4, 760, 72, 0.7, 1.64, 0.55, 0.6],
  ["bowel", 38, 40, 950, 62, 0.82, 1.62, 0.55, 0.7],
  ["gland", 105, 80, 1000, 85, 0.85, 1.66, 0.75, 0.6],
  ["mass", 58, 55, 1350, 110, 0.9, 1.72, 0.2, 0.8],
  ["calcification", 1050, 0, 300, 2, 0.1, 6.8, 1.2, 5],
  ["tendon", 85, 4, 1000, 6, 0.4, 1.84, 0.85, 1.6],
  ["enamel", 2300, 0, 250, 1, 0.04, 8, 0.5, 10],
  ["bile", 12, 0, 2200, 700, 0.98, 1.52, 0.012, 0.06],
];

/** Index of each tissue in `TISSUES`, which is also its label in the anatomy's grid. */
export const AIR = 0;
export const FAT = 1;
export const MUSCLE = 2;
export const LIVER = 3;
export const SPLEEN = 4;
export const KIDNEY = 5;
export const FLUID = 6;
export const BLOOD = 7;
export const HEART = 8;
export const LUNG = 9;
export const CORTEX = 10;
export const SPONGY = 11;
export const GAS = 12;
export const CARTILAGE = 13;
export const GREY = 14;
export const WHITE = 15;
export const BOWEL = 16;
export const GLAND = 17;
export const MASS = 18;
export const CALCIUM = 19;
export const TENDON = 20;
export const ENAMEL = 21;
export const BILE = 22;

export const TISSUES: readonly TissueProperties[] = ROWS.map(
  ([name, hu, enhancement, t1, t2, protons, impedance, echo, attenuation]) => ({
    name,
    hu,
    enhancement,
    t1,
    t2,
    protons,
    impedance,
    echo,
    attenuation,
  }),
);

/** One number per tissue, as a table to look labels up in. */
export function tissueTable(value: (tissue: TissueProperties, label: number) => number): Float32Array {
  return Float32Array.from(TISSUES, value);
}
