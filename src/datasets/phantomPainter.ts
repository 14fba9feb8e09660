/**
 * Paints tissues into a labelled grid. Shapes are given in *region units*: 1 is half the nominal field of view, the
 * origin its centre; x grows to the patient's left (the right of the picture), y to the back, z to the feet.
 *
 * Between the shapes and the grid stands the patient: a scale per axis, a shift, and a slow bend, so that the same
 * drawing instructions give a different body each time. Later paint covers earlier paint.
 */
import type { Random } from "../random.js";
import { cosine, sine, smoothstep } from "./phantomMath.js";

export type Vec3 = readonly [x: number, y: number, z: number];

/** Half the width and height of the painted grid, in region units: the widest field of view still sees body. */
export const GRID_HALF = 1.4;
const VOXELS_ACROSS = 128;
/** Region units per voxel. */
export const PITCH: number = (2 * GRID_HALF) / VOXELS_ACROSS;

/** Tissues that paint may cover; everything where absent. */
export type Over = readonly number[];

/** A cross-section of a `column` at height z: an ellipse around (x, y). */
export interface Section {
  readonly z: number;
  readonly x?: number;
  readonly y?: number;
  readonly rx: number;
  readonly ry: number;
}

export interface Body {
  readonly scale: Vec3;
  readonly shift: Vec3;
  /** Amplitude of the slow bend, region units. */
  readonly bend: number;
  /** A left limb is a right limb in the mirror. */
  readonly mirrored: boolean;
}

export class Painter {
  readonly nx: number = VOXELS_ACROSS;
  readonly nz: number = VOXELS_ACROSS;
  readonly ny: number;
  /** `[nz, ny, nx]` labels. */
  readonly labels: Uint8Array;
  readonly #body: Body;
  readonly #x: Float64Array;
  readonly #y: Float64Array;
  readonly #z: Float64Array;
  /** Sideways bend per z, and vertical bend per x, region units. */
  readonly #bendX: Float64Array;
  readonly #bendZ: Float64Array;
  readonly #leastBendZ: number;
  readonly #mostBendZ: number;
  readonly #halfDepth: number;

  /** @param halfDepth half the front-to-back extent of the grid, region units */
  constructor(halfDepth: number, body: Body, random: Random) {
    this.#body = body;
    this.#halfDepth = halfDepth;
    this.ny = Math.ceil((2 * halfDepth) / PITCH);
    this.labels = new Uint8Array(this.nx * this.ny * this.nz);
    const mirror = body.mirrored ? -1 : 1;
    const axis = (n: number, half: number, k: 0 | 1 | 2): Float64Array =>
      Float64Array.from({ length: n }, (_, i) => ((i + 0.5) * PITCH - half - body.shift[k]) / body.scale[k]);
    this.#x = axis(this.nx, GRID_HALF, 0).map((x) => x * mirror);
    this.#y = axis(this.ny, this.#halfDepth, 1);
    this.#z = axis(this.nz, GRID_HALF, 2);
    const wave = (positions: Float64Array): Float64Array => {
      const [p, q] = [random.uniform(0, 6.28), random.uniform(0, 6.28)];
      const [a, b] = [random.uniform(-1, 1) * body.bend, random.uniform(-0.4, 0.4) * body.bend];
      return positions.map((t) => a * (sine(1.6 * t + p) - sine(p)) + b * (cosine(3.7 * t + q) - cosine(q)));
    };
    this.#bendX = wave(this.#z);
    this.#bendZ = wave(this.#x);
    this.#leastBendZ = Math.min(...this.#bendZ);
    this.#mostBendZ = Math.max(...this.#bendZ);
  }

  /** An ellipsoid around `c` with radii `r`; `tilt` turns it in the frontal plane (radians, x towards z). */
  ellipsoid(tissue: number, c: Vec3, r: Vec3, tilt = 0, over?: Over): void {
    this.#quadric(tissue, c, r, tilt, 0, over);
  }

  /** A box with rounded edges: an ellipsoid whose squares are mixed with fourth powers. */
  block(tissue: number, c: Vec3, r: Vec3, tilt = 0, over?: Over): void {
    this.#quadric(tissue, c, r, tilt, 1, over);
  }

  #quadric(tissue: number, c: Vec3, r: Vec3, tilt: number, square: number, over?: Over): void {
    const [cos, sin] = [cosine(tilt), sine(tilt)];
    const reachX = Math.sqrt(r[0] * r[0] * cos * cos + r[2] * r[2] * sin * sin) * (1 + 0.42 * square);
    const reachZ = Math.sqrt(r[0] * r[0] * sin * sin + r[2] * r[2] * cos * cos) * (1 + 0.42 * square);
    const [ix, iy, iz] = [1 / r[0], 1 / r[1], 1 / r[2]];
    const [cx, cy, cz] = c;
    this.fill(
      tissue,
      [c[0] - reachX, c[1] - r[1], c[2] - reachZ],
      [c[0] + reachX, c[1] + r[1], c[2] + reachZ],
      (x, y, z) => {
        const v = (y - cy) * iy;
        const vv = v * v;
        if (vv >= 1) return false;
        const dx = x - cx;
        const dz = z - cz;
        const u = (cos * dx + sin * dz) * ix;
        const w = (cos * dz - sin * dx) * iz;
        const uu = u * u;
        const ww = w * w;
        return square === 0 ? uu + vv + ww < 1 : uu * uu + vv * vv + ww * ww < 1;
      },
      over,
    );
  }

  /**
   * A tube along a polyline with a radius per point; `flat` < 1 flattens it from front to back.
   */
  tube(tissue: number, points: readonly Vec3[], radii: readonly number[] | number, over?: Over, flat = 1): void {
    const radius = (i: number): number => (typeof radii === "number" ? radii : radii[i]);
    for (let i = 0; i + 1 < points.length; i++) {
      const [a, b, ra, rb] = [points[i], points[i + 1], radius(i), radius(i + 1)];
      const most = Math.max(ra, rb);
      const low: Vec3 = [Math.min(a[0], b[0]) - most, Math.min(a[1], b[1]) - most, Math.min(a[2], b[2]) - most];
      const high: Vec3 = [Math.max(a[0], b[0]) + most, Math.max(a[1], b[1]) + most, Math.max(a[2], b[2]) + most];
      const [ax, ay, az] = [b[0] - a[0], (b[1] - a[1]) / flat, b[2] - a[2]];
      const [x0, y0, z0] = a;
      const length2 = ax * ax + ay * ay + az * az + 1e-12;
      this.fill(
        tissue,
        low,
        high,
        (x, y, z) => {
          const px = x - x0;
          const py = (y - y0) / flat;
          const pz = z - z0;
          let t = (px * ax + py * ay + pz * az) / length2;
          t = t < 0 ? 0 : t > 1 ? 1 : t;
          const dx = px - t * ax;
          const dy = py - t * ay;
          const dz = pz - t * az;
          const r = ra + t * (rb - ra);
          return dx * dx + dy * dy + dz * dz < r * r;
        },
        over,
      );
    }
  }

  /** A plate: tubes from one line to another, close enough to leave no gap. */
  plate(tissue: number, from: readonly [Vec3, Vec3], to: readonly [Vec3, Vec3], radius: number, over?: Over): void {
    const between = (p: Vec3, q: Vec3, t: number): Vec3 => [
      p[0] + t * (q[0] - p[0]),
      p[1] + t * (q[1] - p[1]),
      p[2] + t * (q[2] - p[2]),
    ];
    const span = (p: Vec3, q: Vec3): number =>
      Math.sqrt((p[0] - q[0]) * (p[0] - q[0]) + (p[1] - q[1]) * (p[1] - q[1]) + (p[2] - q[2]) * (p[2] - q[2]));
    const n = Math.ceil(Math.max(span(...from), span(...to)) / (1.2 * radius));
    for (let i = 0; i <= n; i++) this.tube(tissue, [between(...from, i / n), between(...to, i / n)], radius, over);
  }

  /**
   * A body part along z with a smoothly changing cross-section. `square` in [0, 1] makes it boxier than an ellipse,
   * `inset` shrinks it on all sides.
   */
  column(tissue: number, sections: readonly Section[], inset = 0, square = 0, over?: Over): void {
    const [first, last] = [sections[0], sections[sections.length - 1]];
    // A column follows the sideways bend but keeps level sections: one lookup per plane is enough.
    for (let k = 0; k < this.nz; k++) {
      const z = this.#z[k];
      if (z < first.z || z > last.z) continue;
      let i = 0;
      while (i + 2 < sections.length && sections[i + 1].z < z) i++;
      const [p, q] = [sections[i], sections[i + 1]];
      const t = smoothstep(p.z, q.z, z);
      const mix = (a: number, b: number): number => a + t * (b - a);
      const [cx, cy] = [mix(p.x ?? 0, q.x ?? 0), mix(p.y ?? 0, q.y ?? 0)];
      const [rx, ry] = [mix(p.rx, q.rx) - inset, mix(p.ry, q.ry) - inset];
      if (rx <= 0 || ry <= 0) continue;
      const covers = this.#covers(over);
      for (let j = 0; j < this.ny; j++) {
        const v = (this.#y[j] - cy) / ry;
        const vv = v * v;
        if (vv >= 1) continue;
        const row = (k * this.ny + j) * this.nx;
        for (let n = 0; n < this.nx; n++) {
          const u = (this.#x[n] - this.#bendX[k] - cx) / rx;
          const uu = u * u;
          if (uu >= 1) continue;
          const round = uu + vv;
          if (round + square * (uu * uu + vv * vv - round) < 1 && covers[this.labels[row + n]] === 1) {
            this.labels[row + n] = tissue;
          }
        }
      }
    }
  }

  /** Anything: paints where `inside(x, y, z)` within the box `low` … `high`. */
  fill(tissue: number, low: Vec3, high: Vec3, inside: (x: number, y: number, z: number) => boolean, over?: Over): void {
    const covers = this.#covers(over);
    const [k0, k1] = this.#range(2, low[2] + this.#leastBendZ, high[2] + this.#mostBendZ);
    const [j0, j1] = this.#range(1, low[1], high[1]);
    const labels = this.labels;
    const [xs, bendZ] = [this.#x, this.#bendZ];
    for (let k = k0; k <= k1; k++) {
      const z = this.#z[k];
      const bendX = this.#bendX[k];
      const [n0, n1] = this.#range(0, low[0] + bendX, high[0] + bendX);
      for (let j = j0; j <= j1; j++) {
        const row = (k * this.ny + j) * this.nx;
        const y = this.#y[j];
        for (let n = n0; n <= n1; n++) {
          if (covers[labels[row + n]] === 1 && inside(xs[n] - bendX, y, z - bendZ[n])) labels[row + n] = tissue;
        }
      }
    }
  }

  #covers(over: Over | undefined): Uint8Array {
    if (over === undefined) return EVERYTHING;
    const covers = new Uint8Array(32);
    for (const tissue of over) covers[tissue] = 1;
    return covers;
  }

  /** Grid indices whose coordinate, bent already, may lie in [low, high] on one axis. */
  #range(axis: 0 | 1 | 2, low: number, high: number): [number, number] {
    const [n, half] = axis === 1 ? [this.ny, this.#halfDepth] : [VOXELS_ACROSS, GRID_HALF];
    const [from, to] = axis === 0 && this.#body.mirrored ? [-high, -low] : [low, high];
    const index = (t: number): number => (t * this.#body.scale[axis] + this.#body.shift[axis] + half) / PITCH - 0.5;
    return [Math.max(0, Math.floor(index(from))), Math.min(n - 1, Math.ceil(index(to)))];
  }
}

const EVERYTHING: Uint8Array = new Uint8Array(32).fill(1);
