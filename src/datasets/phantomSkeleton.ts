/** What the regions share: how a region is described, and the bones that several of them need. */
import type { Random } from "../random.js";
import { cosine, sine } from "./phantomMath.js";
import type { Over, Painter, Vec3 } from "./phantomPainter.js";
import { CARTILAGE, CORTEX, FLUID, SPONGY } from "./phantomTissue.js";

/** What is wrong, if anything, and where and how much. */
export interface Lesion {
  readonly finding: string;
  /** 0 the smallest, 1 the largest: small findings lie in [0, 0.3], large ones in [0.65, 1]. */
  readonly extent: number;
  /** +1 the patient's left, −1 the right. */
  readonly side: 1 | -1;
  readonly random: Random;
}

export interface Build {
  /** 0 lean … 1 stout. */
  readonly fat: number;
}

export interface RegionPlan {
  /** Centimetres per unit of the drawing. */
  readonly halfCm: number;
  /** How much larger than drawn it is shown: region units per unit of the drawing. */
  readonly enlarge: number;
  /** Region units from the middle to the front or back of the grid. */
  readonly halfDepth: number;
  /** Limbs come in two; a mirrored torso would be a rarity. */
  readonly paired: boolean;
  /** Paints the region and returns the y of the frontal plane worth looking at. */
  draw(p: Painter, random: Random, lesion: Lesion, build: Build): number;
}

/** A length that goes from `small` to `large` with the lesion's extent. */
export function sized(lesion: Lesion, small: number, large: number): number {
  return small + (large - small) * lesion.extent;
}

/** A factor near 1. */
export function around(random: Random, deviation: number): number {
  return random.uniform(1 - deviation, 1 + deviation);
}

/** A tubular bone: cortex outside, marrow inside. */
export function bone(p: Painter, points: readonly Vec3[], radii: readonly number[] | number, cortex: number): void {
  p.tube(CORTEX, points, radii);
  p.tube(SPONGY, points, typeof radii === "number" ? radii - cortex : radii.map((r) => Math.max(0.001, r - cortex)));
}

/**
 * Vertebrae from `top` to `bottom`, `step` apart, each a body with disc, pedicles, arch, transverse and spinous
 * process, around a canal. `width` is half the width of a body.
 */
export function spine(p: Painter, top: number, bottom: number, step: number, y: number, width: number): void {
  const w = width;
  for (let z = top; z < bottom; z += step) {
    p.block(CARTILAGE, [0, y, z + step / 2], [0.95 * w, 0.8 * w, 0.16 * step]);
    for (const side of [-1, 1]) {
      p.tube(
        CORTEX,
        [
          [side * 0.6 * w, y + 0.6 * w, z],
          [side * 0.55 * w, y + 1.35 * w, z],
        ],
        0.2 * w,
      );
      p.tube(
        CORTEX,
        [
          [side * 0.55 * w, y + 1.35 * w, z],
          [side * 1.9 * w, y + 1.4 * w, z - 0.05 * step],
        ],
        0.17 * w,
      );
      p.tube(
        CORTEX,
        [
          [side * 0.55 * w, y + 1.35 * w, z],
          [0, y + 1.95 * w, z + 0.1 * step],
        ],
        0.18 * w,
      );
    }
    p.tube(
      CORTEX,
      [
        [0, y + 1.9 * w, z],
        [0, y + 2.7 * w, z + 0.5 * step],
      ],
      0.18 * w,
    );
    p.block(CORTEX, [0, y, z], [w, 0.85 * w, 0.4 * step]);
    p.block(SPONGY, [0, y, z], [0.86 * w, 0.72 * w, 0.32 * step]);
  }
  p.tube(
    FLUID,
    [
      [0, y + 1.25 * w, top - step],
      [0, y + 1.25 * w, bottom + step],
    ],
    0.36 * w,
    NOT_BONE,
  );
}

const NOT_BONE: Over = [0, 1, 2, 13];

export interface RibCage {
  /** Centre and half axes of the ellipse that the rib follows, region units. */
  readonly x: number;
  readonly y: number;
  readonly rx: number;
  readonly ry: number;
  /** How far the front end hangs below the back end. */
  readonly drop: number;
  readonly radius: number;
}

/** One rib on one side: from the spine round to `reach` radians (π would be the breastbone). */
export function rib(p: Painter, cage: RibCage, z: number, side: number, reach: number, over?: Over): void {
  const points: Vec3[] = [];
  const n = 14;
  for (let i = 0; i <= n; i++) {
    const a = 0.15 + ((reach - 0.15) * i) / n; // 0 at the back
    points.push([
      cage.x + side * cage.rx * sine(a),
      cage.y + cage.ry * cosine(a),
      z + (cage.drop * (1 - cosine(a))) / 2,
    ]);
  }
  p.tube(CORTEX, points, cage.radius, over);
}
