/** Magnetic resonance: the spin-echo signal equation, a coil's uneven field, and Rician noise. */
import type { Random } from "../random.js";
import type { Decoded } from "../types.js";
import type { Anatomy } from "./phantomAnatomy.js";
import { clamp, exponential, quantise } from "./phantomMath.js";
import { BLOOD, tissueTable, type TissueProperties } from "./phantomTissue.js";
import { drawStack, resample, stackOrientation, stackSpacing, type PictureSpec } from "./phantomView.js";

/** Repetition and echo time, ms. */
export interface Sequence {
  readonly weighting: "T1" | "T2" | "PD";
  readonly tr: number;
  readonly te: number;
}

/**
 * The spin-echo signal, relative to fully relaxed water.
 *
 *     S = PD (1 − e^(−TR/T1)) e^(−TE/T2)          T1, T2, TR, TE in ms
 *
 * Brain (Stanisz 2005) at TR 500, TE 15: white matter outshines grey, and fluid is dark; at TR 4000, TE 100 the reverse.
 */
export function spinEcho(tissue: Pick<TissueProperties, "t1" | "t2" | "protons">, tr: number, te: number): number {
  return tissue.protons * (1 - exponential(-tr / tissue.t1)) * exponential(-te / tissue.t2);
}

/** T1-, T2- or proton-density weighting, each as likely, with the times that sites use. */
export function drawSequence(random: Random): Sequence {
  const weighting = random.pick(["T1", "T2", "PD"] as const);
  if (weighting === "T1") return { weighting, tr: random.uniform(380, 700), te: random.uniform(9, 18) };
  if (weighting === "T2") return { weighting, tr: random.uniform(3000, 5500), te: random.uniform(75, 115) };
  return { weighting, tr: random.uniform(2200, 3800), te: random.uniform(14, 32) };
}

/**
 * An MRI as its file would hold it: uint16 in arbitrary units, `[1, depth, size, size]`.
 *
 * Blood flows out of the slice between the pulses of a spin echo and gives little signal. The coil's field is a
 * polynomial of second order within ±35 %; noise is added to both channels, so that the magnitude is Rician.
 */
export function simulateMri(anatomy: Anatomy, random: Random, spec: PictureSpec): Decoded {
  const stack = drawStack(anatomy, random, spec.ctPlane ?? "coronal");
  const { tr, te } = drawSequence(random);
  const flow = random.uniform(0.1, 0.5);
  const table = tissueTable((tissue, label) => spinEcho(tissue, tr, te) * (label === BLOOD ? flow : 1));
  const signal = resample(anatomy, table, stack, spec);

  const coil = Array.from({ length: 6 }, () => random.uniform(-0.16, 0.16));
  const brightest = Math.max(...table);
  const noise = brightest / random.uniform(18, 50);
  const units = random.uniform(500, 3500) / brightest; // whatever the receiver was set to
  const { size, depth } = spec;
  for (let d = 0, i = 0; d < depth; d++) {
    for (let h = 0; h < size; h++) {
      for (let w = 0; w < size; w++, i++) {
        const [x, y, z] = [(2 * w) / size - 1, (2 * d) / depth - 1, (2 * h) / size - 1];
        const field = 1 + coil[0] * x + coil[1] * y + coil[2] * z + coil[3] * x * x + coil[4] * z * z + coil[5] * x * z;
        const a = signal[i] * clamp(field, 0.65, 1.35) + noise * random.normal();
        const b = noise * random.normal();
        signal[i] = quantise(units * Math.sqrt(a * a + b * b), 0, 65535);
      }
    }
  }
  return {
    pixels: signal,
    shape: [1, depth, size, size],
    kind: "volume",
    modality: "mri",
    spacingMm: stackSpacing(anatomy, stack, spec),
    orientation: stackOrientation(stack),
    dtype: "uint16",
    warnings: [],
  };
}
