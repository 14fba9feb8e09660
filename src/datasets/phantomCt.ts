/** Computed tomography: Hounsfield units with partial volume, noise, a kernel, and what bone does to the beam. */
import type { Random } from "../random.js";
import type { Decoded } from "../types.js";
import type { Anatomy } from "./phantomAnatomy.js";
import { boxBlur, clamp, quantise } from "./phantomMath.js";
import { TISSUES, tissueTable } from "./phantomTissue.js";
import { drawStack, resample, stackOrientation, stackPoint, stackSpacing, type PictureSpec } from "./phantomView.js";

/** The Hounsfield units of each tissue of this patient, with `iodine` in [0, 1] of a full portal-phase contrast dose. */
export function hounsfieldTable(anatomy: Anatomy, iodine = 0): Float32Array {
  return tissueTable((tissue, label) => anatomy.hounsfield(tissue, label) + iodine * tissue.enhancement);
}

/**
 * A CT as its file would hold it: int16 Hounsfield units, `[1, depth, size, size]`.
 *
 *     HU = kernel ∗ (partial volume − hardening + streaks + noise)
 *
 * Hardening darkens what lies beside much bone (−5 HU per cm of bone across); photon starvation adds streaks along
 * the widest rows; noise grows with the path through the body and with 1/√dose. Half the scans have contrast agent,
 * three in five show the couch. Our own simplification: both beam effects act along the patient's left-right axis, the
 * longest path through most of the body, and stand in for a full reconstruction from projections.
 */
export function simulateCt(anatomy: Anatomy, random: Random, spec: PictureSpec): Decoded {
  const stack = drawStack(anatomy, random, spec.ctPlane ?? "coronal");
  const iodine = random.chance(0.5) ? random.uniform(0.5, 1.1) : 0;
  const dose = random.uniform(0.35, 1.8);
  const kernel = random.uniform(-0.75, 0.7); // negative smooths, positive sharpens
  const couch = random.chance(0.6) ? random.uniform(-620, -420) : null;

  const table = hounsfieldTable(anatomy, iodine);
  const values = resample(anatomy, table, stack, spec);
  const paths = lateralPaths(anatomy, table);
  const couchY = 0.94 * anatomy.halfDepth + random.uniform(-0.04, 0.02);
  const streakRow = Float32Array.from(paths.water, () => random.normal());
  const [nz, ny] = anatomy.shape;

  const { size, depth } = spec;
  for (let d = 0, i = 0; d < depth; d++) {
    for (let h = 0; h < size; h++) {
      for (let w = 0; w < size; w++, i++) {
        const [, y, z] = stackPoint(stack, spec, d, h, w);
        const k = clamp(Math.round(z / anatomy.pitch + nz / 2 - 0.5), 0, nz - 1);
        const j = clamp(Math.round(y / anatomy.pitch + ny / 2 - 0.5), 0, ny - 1);
        const [water, bone] = [paths.water[k * ny + j], paths.bone[k * ny + j]];
        const wide = water / paths.most; // 1 at the widest row of this body
        if (couch !== null && Math.abs(y - couchY) < 0.035) values[i] = Math.max(values[i], couch);
        if (values[i] > -500) values[i] += -5 * Math.min(bone, 12) + 9 * wide * wide * wide * streakRow[k * ny + j];
        values[i] += ((8 + 17 * wide) / Math.sqrt(dose)) * random.normal();
      }
    }
    applyKernel(values.subarray(d * size * size, (d + 1) * size * size), size, kernel);
  }
  for (let i = 0; i < values.length; i++) values[i] = quantise(values[i], -1024, 3071);

  return {
    pixels: values,
    shape: [1, depth, size, size],
    kind: "volume",
    modality: "ct",
    spacingMm: stackSpacing(anatomy, stack, spec),
    orientation: stackOrientation(stack),
    dtype: "int16",
    warnings: [],
  };
}

/** v + sharpness · (v − mean of the 3 × 3 neighbours), on one slice. */
function applyKernel(slice: Float32Array, size: number, sharpness: number): void {
  const smooth = slice.slice();
  boxBlur(smooth, size, size, 1);
  for (let i = 0; i < slice.length; i++) slice[i] += sharpness * (slice[i] - smooth[i]);
}

interface Paths {
  /** `[nz, ny]` cm of water that attenuate as much as the row from left to right. */
  readonly water: Float32Array;
  /** `[nz, ny]` cm of bone on the row. */
  readonly bone: Float32Array;
  /** The longest of the water paths. */
  readonly most: number;
}

function lateralPaths(anatomy: Anatomy, table: Float32Array): Paths {
  const { labels, pitch, halfCm } = anatomy;
  const [nz, ny, nx] = anatomy.shape;
  const water = new Float32Array(nz * ny);
  const bone = new Float32Array(nz * ny);
  const cm = pitch * halfCm;
  const attenuation = table.map((hu) => Math.max(0, 1 + hu / 1000) * cm);
  const isBone = Float32Array.from(TISSUES, (_, label) => (table[label] > 400 ? cm : 0));
  let most = 1e-6;
  for (let row = 0; row < nz * ny; row++) {
    let [w, b] = [0, 0];
    for (let n = 0; n < nx; n++) {
      const label = labels[row * nx + n];
      w += attenuation[label];
      b += isBone[label];
    }
    water[row] = w;
    bone[row] = b;
    if (w > most) most = w;
  }
  return { water, bone, most };
}
