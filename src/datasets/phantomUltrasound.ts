/** B-mode ultrasound: one frontal plane, insonated from the head side by a curved array. */
import type { Random } from "../random.js";
import type { Decoded } from "../types.js";
import type { Anatomy } from "./phantomAnatomy.js";
import { boxBlur, clamp, cosine, exponential, logarithm, sine } from "./phantomMath.js";
import { AIR, TISSUES, tissueTable } from "./phantomTissue.js";
import { sampler, type PictureSpec } from "./phantomView.js";

const BEAMS = 96;
const SAMPLES = 160;
const DECIBEL = 0.11512925464970229; // ln 10 / 20: one decibel of amplitude

/**
 * An ultrasound picture as its file would hold it: uint8, `[1, 1, size, size]`, black outside the fan.
 *
 * Per beam, from the transducer down, with impedance Z, attenuation α (dB/cm/MHz) and echogenicity e:
 *
 *     R = (Z₂ − Z₁) / (Z₂ + Z₁)                      echo of an interface; (1 − R²) goes on
 *     a(r + dr) = a(r) (1 − R²) 10^(−2 α f dr / 20)       there and back
 *     signal = a (g R + e · ξ),  ξ complex normal           scatterers: after the beam's blur, |signal| is Rayleigh speckle
 *     picture = gain + 20 log₁₀ |signal|                 within a dynamic range of 48–62 dB
 *
 * so that bone, stones and gas throw shadows and fluid brightens what lies behind it. The frequency is chosen for the depth
 * (f · depth ≈ 34 MHz cm). The section is the frontal one, which X-ray and coronal CT share; a real probe could not stand
 * at its upper edge, so, as with the first B-scanners, the patient sits in a water bath: water replaces the air
 * around the body, not the gas within it.
 */
export function simulateUltrasound(anatomy: Anatomy, random: Random, spec: PictureSpec): Decoded {
  const zoom = random.uniform(0.76, 1.28);
  const tilt = random.uniform(-0.27, 0.27);
  const halfAngle = random.uniform(0.56, 0.76);
  const face = random.uniform(0.5, 0.9) * zoom; // radius of the array
  const span = 2 * zoom; // depth of the picture
  const apexZ = -zoom - face + random.uniform(-0.25, 0.3);
  const apexX = random.uniform(-0.3, 0.3);
  const planeY = anatomy.focusY + random.uniform(-0.12, 0.12) * anatomy.halfDepth;

  const signal = echoes(
    anatomy,
    random,
    (beam, depth) => {
      const angle = tilt + halfAngle * beam;
      const r = face + span * depth;
      return [apexX + r * sine(angle), planeY, apexZ + r * cosine(angle)];
    },
    span * anatomy.halfCm,
  );

  // Logarithm, gain and dynamic range; then from beams to pixels.
  const range = random.uniform(48, 62);
  const gain = random.uniform(-3, 5);
  const bright = signal.map((s) => clamp(1 + (logarithm(s + 1e-6) / DECIBEL + 21 + gain) / range, 0, 1));
  const { size } = spec;
  const pixels = new Float32Array(size * size);
  for (let h = 0, i = 0; h < size; h++) {
    for (let w = 0; w < size; w++, i++) {
      let sum = 0;
      for (const [dh, dw] of QUARTERS) {
        const x = zoom * 1.12 * ((2 * (w + dw)) / size - 1);
        const z = zoom * 1.12 * ((2 * (h + dh)) / size - 1) + zoom + face;
        const r = Math.sqrt(x * x + z * z);
        // x / r = sin(angle): a short series for the arcsine is exact enough within ±45°.
        const beam = arcsine(x / r) / halfAngle;
        const depth = (r - face) / span;
        if (beam <= -1 || beam >= 1 || depth <= 0 || depth >= 1) continue;
        sum += bilinear(bright, ((beam + 1) / 2) * BEAMS - 0.5, depth * SAMPLES - 0.5);
      }
      pixels[i] = Math.round((255 * sum) / QUARTERS.length);
    }
  }
  return {
    pixels,
    shape: [1, 1, size, size],
    kind: "image",
    modality: "ultrasound",
    spacingMm: null, // the stored picture of a scan converter says nothing of its scale
    orientation: null,
    dtype: "uint8",
    warnings: [],
  };
}

const QUARTERS: readonly (readonly [number, number])[] = [
  [0.25, 0.25],
  [0.25, 0.75],
  [0.75, 0.25],
  [0.75, 0.75],
];

/** Taylor series to x^9: 4e-4 at x = 0.7, the edge of the widest fan. */
function arcsine(x: number): number {
  const q = x * x;
  return x * (1 + q * (1 / 6 + q * (3 / 40 + q * (15 / 336 + (q * 105) / 3456))));
}

/** `[SAMPLES, BEAMS]` envelope of the echoes, amplitude 1 at a perfect reflector at the transducer's face. */
function echoes(
  anatomy: Anatomy,
  random: Random,
  point: (beam: number, depth: number) => readonly [number, number, number],
  depthCm: number,
): Float32Array {
  const megahertz = 34 / depthCm;
  const bath = TISSUES.findIndex((t) => t.name === "fluid");
  const table = (value: (t: (typeof TISSUES)[number]) => number): Float32Array =>
    tissueTable((t, label) => value(label === AIR ? { ...TISSUES[bath], echo: 0 } : t));
  const impedance = sampler(
    anatomy,
    table((t) => t.impedance),
  );
  const attenuation = sampler(
    anatomy,
    table((t) => t.attenuation),
  );
  const echo = sampler(
    anatomy,
    table((t) => t.echo),
  );

  const step = depthCm / SAMPLES;
  const compensation = random.uniform(0.52, 0.68); // dB/cm/MHz that the machine assumes
  const [real, imaginary, gains] = [0, 1, 2].map(() => new Float32Array(SAMPLES * BEAMS));
  for (let b = 0; b < BEAMS; b++) {
    const beam = (2 * (b + 0.5)) / BEAMS - 1;
    let amplitude = 1;
    let gain = 1;
    let before = impedance(...point(beam, 0));
    for (let s = 0; s < SAMPLES; s++) {
      const here = point(beam, (s + 0.5) / SAMPLES);
      const z = impedance(...here);
      const reflected = (z - before) / (z + before);
      before = z;
      const i = s * BEAMS + b;
      const scattered = 0.055 * echo(...here);
      real[i] = amplitude * (1.1 * reflected + scattered * random.normal());
      imaginary[i] = amplitude * scattered * random.normal();
      amplitude *= (1 - reflected * reflected) * exponential(-2 * DECIBEL * attenuation(...here) * megahertz * step);
      gain *= exponential(2 * DECIBEL * compensation * megahertz * step);
      gains[i] = Math.min(gain, 40);
    }
  }

  // The pulse is short along the beam and wide across it.
  blurBeams(real);
  blurBeams(imaginary);
  const floor = 4e-6; // the receiver's own noise
  return real.map((re, i) => {
    const [a, b] = [re + floor * random.normal(), imaginary[i] + floor * random.normal()];
    return gains[i] * Math.sqrt(a * a + b * b);
  });
}

function blurBeams(field: Float32Array): void {
  boxBlur(field, SAMPLES, BEAMS, 1, 1);
  // Once more across the beams only: every row is a picture of height 1.
  for (let s = 0; s < SAMPLES; s++) boxBlur(field.subarray(s * BEAMS, (s + 1) * BEAMS), 1, BEAMS, 1, 1);
}

function bilinear(field: Float32Array, beam: number, sample: number): number {
  const b = clamp(beam, 0, BEAMS - 1.001);
  const s = clamp(sample, 0, SAMPLES - 1.001);
  const [ib, is] = [Math.floor(b), Math.floor(s)];
  const [tb, ts] = [b - ib, s - is];
  const i = is * BEAMS + ib;
  const above = field[i] + tb * (field[i + 1] - field[i]);
  const below = field[i + BEAMS] + tb * (field[i + BEAMS + 1] - field[i + BEAMS]);
  return above + ts * (below - above);
}
