/** Radiography: a digitally reconstructed radiograph, that is, Beer–Lambert line integrals through the CT's attenuation. */
import type { Random } from "../random.js";
import type { Decoded } from "../types.js";
import type { Anatomy } from "./phantomAnatomy.js";
import { hounsfieldTable } from "./phantomCt.js";
import { boxBlur, clamp, exponential, logarithm, power, quantile, smoothstep } from "./phantomMath.js";
import { drawView, type PictureSpec, type View } from "./phantomView.js";

/** Where the tube stands. */
export interface Projection {
  readonly view: View;
  /** Region units from the middle of the body to the focal spot: negative in front (AP), positive behind (PA). */
  readonly source: number;
  /** Sideways and headward angles of the beam, as tangents. */
  readonly slant: readonly [x: number, z: number];
}

/**
 * What lies on the way from the focal spot to each point of the detector.
 *
 *     water = ∫ max(0, 1 + HU/1000) dl      bone = ∫ max(0, HU − 100)/1000 dl        both in cm, [size, size]
 *
 * 10 cm of water give water = 10, bone = 0; 1 cm of cortex at 1100 HU gives water = 2.1, bone = 1.
 */
export function lineIntegrals(
  anatomy: Anatomy,
  projection: Projection,
  size: number,
): { water: Float32Array; bone: Float32Array } {
  const { labels, pitch, halfCm } = anatomy;
  const [nz, ny, nx] = anatomy.shape;
  const hu = hounsfieldTable(anatomy);
  const waterOf = hu.map((v) => Math.max(0, 1 + v / 1000));
  const boneOf = hu.map((v) => Math.max(0, v - 100) / 1000);
  const water = new Float32Array(size * size);
  const bone = new Float32Array(size * size);
  const { view, source, slant } = projection;

  for (let h = 0, i = 0; h < size; h++) {
    for (let w = 0; w < size; w++, i++) {
      const u = view.zoom * ((2 * (w + 0.5)) / size - 1);
      const v = view.zoom * ((2 * (h + 0.5)) / size - 1);
      // The ray meets the middle plane y = 0 here, and moves by these slopes per unit of y.
      const x0 = view.cos * u - view.sin * v + view.shift[0];
      const z0 = view.sin * u + view.cos * v + view.shift[1];
      const sx = (x0 - view.shift[0]) / -source + slant[0];
      const sz = (z0 - view.shift[1]) / -source + slant[1];
      const stepCm = pitch * halfCm * Math.sqrt(1 + sx * sx + sz * sz);
      let sumWater = 0;
      let sumBone = 0;
      for (let j = 0; j < ny; j++) {
        const y = (j - ny / 2 + 0.5) * pitch;
        let fx = (x0 + sx * y) / pitch + nx / 2 - 0.5;
        let fz = (z0 + sz * y) / pitch + nz / 2 - 0.5;
        fx = fx < 0 ? 0 : fx > nx - 1.001 ? nx - 1.001 : fx;
        fz = fz < 0 ? 0 : fz > nz - 1.001 ? nz - 1.001 : fz;
        const ix = fx | 0;
        const iz = fz | 0;
        const a = (iz * ny + j) * nx + ix;
        const b = a + ny * nx;
        const la = labels[a];
        const lb = labels[a + 1];
        const lc = labels[b];
        const ld = labels[b + 1];
        if ((la | lb | lc | ld) === 0) continue; // air all round
        const tx = fx - ix;
        const tz = fz - iz;
        const wa = (1 - tx) * (1 - tz);
        const wb = tx * (1 - tz);
        const wc = (1 - tx) * tz;
        const wd = tx * tz;
        sumWater += wa * waterOf[la] + wb * waterOf[lb] + wc * waterOf[lc] + wd * waterOf[ld];
        sumBone += wa * boneOf[la] + wb * boneOf[lb] + wc * boneOf[lc] + wd * boneOf[ld];
      }
      water[i] = sumWater * stepCm;
      bone[i] = sumBone * stepCm;
    }
  }
  return { water, bone };
}

/**
 * The fraction of the beam that gets through, for a beam of two energies.
 *
 *     I / I₀ = s e^(−0.26 water − 0.55 bone) + (1 − s) e^(−0.18 water − 0.17 bone)
 *
 * The coefficients (per cm) are those of water, and of what calcium adds to it, near 45 and 75 keV. `softness` is s: a low
 * tube voltage has more of the soft rays, which bone stops. 10 cm of water pass 0.120 at s = 0.5.
 */
export function transmission(water: number, bone: number, softness: number): number {
  return (
    softness * exponential(-0.26 * water - 0.55 * bone) + (1 - softness) * exponential(-0.18 * water - 0.17 * bone)
  );
}

/**
 * A radiograph as its file would hold it: uint8, bone bright, `[1, 1, size, size]`.
 *
 * Primary beam, scatter (a blurred veil of 0.15–0.6 of the primary), quantum noise, logarithm, automatic window,
 * edge enhancement, a gamma, and the collimator's shutters. The tube stands in front or behind, 90–200 cm away.
 */
export function simulateXray(anatomy: Anatomy, random: Random, spec: PictureSpec): Decoded {
  const { size } = spec;
  const view = drawView(random);
  const away = random.uniform(90, 200) / anatomy.halfCm;
  const projection: Projection = {
    view,
    source: random.chance(0.5) ? away : -away,
    slant: [random.uniform(-0.18, 0.18), random.uniform(-0.1, 0.1)], // 10° and 6°
  };
  const softness = random.uniform(0.25, 0.75);
  const scatter = random.uniform(0.15, 0.6);
  const quanta = random.uniform(1500, 9000); // per pixel, behind the middle of the body

  const fine = 2 * size;
  const { water, bone } = lineIntegrals(anatomy, projection, fine);
  const primary = new Float32Array(size * size);
  for (let h = 0; h < fine; h++) {
    for (let w = 0; w < fine; w++) {
      const i = h * fine + w;
      primary[(h >> 1) * size + (w >> 1)] += transmission(water[i], bone[i], softness) / 4;
    }
  }
  const veil = primary.slice();
  boxBlur(veil, size, size, Math.max(1, Math.round(size / 9)), 3);

  const middle = Math.max(quantile(primary, 0.3), 1e-5);
  const thickness = new Float32Array(size * size); // −ln of what the detector saw
  for (let i = 0; i < thickness.length; i++) {
    const seen = (primary[i] + scatter * veil[i]) / (1 + scatter);
    const noise = Math.sqrt((seen * middle) / quanta) * random.normal();
    thickness[i] = -logarithm(Math.max(seen + noise, 0.15 * middle * 0.05));
  }
  return {
    pixels: develop(thickness, size, random),
    shape: [1, 1, size, size],
    kind: "image",
    modality: "xray",
    spacingMm: null, // a projection has no one scale
    orientation: null,
    dtype: "uint8",
    warnings: [],
  };
}

/** What the console does before the picture is stored. */
function develop(thickness: Float32Array, size: number, random: Random): Float32Array {
  const flatten = random.uniform(0.2, 0.5);
  const enhance = random.uniform(0.2, 1.0);
  const gamma = random.uniform(0.6, 1.8);
  // Two bands: coarse differences are flattened, so that thick parts do not drown the rest, and fine ones lifted.
  const [coarse, fine] = [thickness.slice(), thickness.slice()];
  boxBlur(coarse, size, size, Math.max(1, Math.round(size / 8)), 2);
  boxBlur(fine, size, size, Math.max(1, Math.round(size / 24)), 2);
  // What the beam reached unhindered stays black.
  const most = quantile(thickness, 0.98);
  const edges = thickness.map(
    (v, i) => smoothstep(0, 0.15, v / most) * Math.max(0, v - flatten * coarse[i] + enhance * (v - fine[i])),
  );
  const low = quantile(edges, random.uniform(0.01, 0.1));
  const high = quantile(edges, random.uniform(0.97, 0.998)) + 0.05;

  // Shutters: four straight edges, turned a little against the picture.
  const collimated = random.chance(0.6);
  const tilt = random.uniform(-0.06, 0.06);
  const edge = [0, 1, 2, 3].map(() => (collimated ? random.uniform(0.7, 1.02) : 1.2));
  return edges.map((value, i) => {
    const u = (2 * ((i % size) + 0.5)) / size - 1;
    const v = (2 * (Math.floor(i / size) + 0.5)) / size - 1;
    const [a, b] = [u + tilt * v, v - tilt * u];
    const inside = Math.min(edge[0] + a, edge[1] - a, edge[2] + b, edge[3] - b);
    const open = smoothstep(-0.02, 0.03, inside);
    return Math.round(255 * open * power(clamp((value - low) / (high - low), 0, 1), gamma));
  });
}
