/**
 * What an endoscope finds in each region: the wall of a tube or cavity, as a table over the way s along the axis and the
 * angle around it. Lengths are lumen units: 1 is the nominal radius. The shape and colour follow from the region, the
 * patient's seed and the finding; the camera adds nothing to them.
 */
import type { Random } from "../random.js";
import { clamp, cosine, exponential, sine, smoothstep } from "./phantomMath.js";
import type { Lesion } from "./phantomSkeleton.js";

export type Rgb = readonly [red: number, green: number, blue: number];

export const ALONG = 176; // table rows along s
export const AROUND = 112; // table columns around the axis
export const LENGTH = 9; // lumen units of s that the table covers

export interface Lumen {
  /** `[ALONG, AROUND]` distance from the axis to the wall. */
  readonly radius: Float32Array;
  /** `[ALONG, AROUND, 3]` colour of the wall, 0 to 1. */
  readonly colour: Float32Array;
  /** How much the wall shines, 0 to 1. */
  readonly gloss: number;
  /** How the axis bends per unit of s squared, right and down. */
  readonly bend: readonly [number, number];
  /** Beyond `from`, the tube splits into two of this radius that part by `spread` per unit of s. */
  readonly fork: { readonly from: number; readonly radius: number; readonly spread: number } | null;
  /** Fluid stands up to this height below the axis (y grows downwards), in its colour. */
  readonly pool: { readonly level: number; readonly colour: Rgb } | null;
  /** What the light loses and gains in the medium, per unit of way. */
  readonly haze: { readonly density: number; readonly colour: Rgb };
  /** Where the tube is closed at its far end, the camera stays in front of it. */
  readonly travel: number;
}

/** Unit direction of a table column. Columns are equal steps of the perimeter of a diamond: no arctangent is needed. */
export function columnDirection(column: number): readonly [number, number] {
  const q = (4 * (column + 0.5)) / AROUND;
  const side = Math.floor(q) % 4;
  const t = q - Math.floor(q);
  const corner = [
    [1 - t, t],
    [-t, 1 - t],
    [t - 1, -t],
    [t, t - 1],
  ][side];
  const norm = Math.sqrt(corner[0] * corner[0] + corner[1] * corner[1]);
  return [corner[0] / norm, corner[1] / norm];
}

/** The table column (fractional) of the direction (x, y). */
export function columnOf(x: number, y: number): number {
  const sum = Math.abs(x) + Math.abs(y) + 1e-12;
  const a = x / sum;
  const b = y / sum;
  const q = y >= 0 ? (x >= 0 ? b : 1 - a) : x < 0 ? 2 - b : 3 + a;
  return (q * AROUND) / 4 - 0.5;
}

/** A wall under construction: functions of the direction (cx, cy) and of s fill the tables one after another. */
class Wall {
  readonly radius: Float32Array = new Float32Array(ALONG * AROUND).fill(1);
  readonly colour: Float32Array = new Float32Array(ALONG * AROUND * 3);

  /** Calls `change` with every cell, and stores the radius it returns. */
  shape(change: (radius: number, s: number, cx: number, cy: number) => number): void {
    this.#each((i, s, cx, cy) => {
      this.radius[i] = change(this.radius[i], s, cx, cy);
    });
  }

  /** Moves each cell's colour towards `target` by the weight that `amount` returns. */
  paint(target: Rgb, amount: (s: number, cx: number, cy: number) => number): void {
    this.#each((i, s, cx, cy) => {
      const weight = clamp(amount(s, cx, cy), 0, 1);
      if (weight === 0) return;
      for (let c = 0; c < 3; c++) this.colour[3 * i + c] += weight * (target[c] - this.colour[3 * i + c]);
    });
  }

  /**
   * A ball beside the axis: the wall comes no farther than its surface, and takes its colour there.
   */
  ball(x: number, y: number, s0: number, r: number, colour: Rgb): void {
    this.#each((i, s, cx, cy) => {
      const rr = r * r - (s - s0) * (s - s0);
      if (rr <= 0) return;
      const along = x * cx + y * cy;
      const inner = along * along - (x * x + y * y - rr);
      if (along <= 0 || inner <= 0) return;
      const t = along - Math.sqrt(inner);
      if (t <= 0.02 || t >= this.radius[i]) return;
      this.radius[i] = t;
      for (let c = 0; c < 3; c++) this.colour[3 * i + c] = colour[c];
    });
  }

  /** Vessels: random walks over the wall that branch, in the colour of blood. */
  vessels(random: Random, count: number, colour: Rgb, strength: number, width: number): void {
    const walk = (s: number, column: number, heading: number, left: number, w: number): void => {
      let [row, col, turn] = [(s * ALONG) / LENGTH, column, heading];
      for (let step = 0; step < left; step++) {
        turn += random.uniform(-0.35, 0.35);
        row += 0.8 * cosine(turn);
        col += 1.1 * sine(turn);
        if (row < 1 || row > ALONG - 2) return;
        this.#dot(row, col, w, colour, strength);
        if (w > 0.5 && random.chance(0.06)) {
          walk((row * LENGTH) / ALONG, col, turn + random.pick([-0.9, 0.9]), Math.floor(0.6 * left), 0.65 * w);
        }
      }
    };
    for (let k = 0; k < count; k++) {
      walk(random.uniform(0, LENGTH), random.uniform(0, AROUND), random.uniform(0, 6.28), 60, width);
    }
  }

  #dot(row: number, column: number, width: number, colour: Rgb, strength: number): void {
    const reach = Math.ceil(width);
    for (let r = Math.floor(row) - reach; r <= Math.floor(row) + reach; r++) {
      if (r < 0 || r >= ALONG) continue;
      for (let k = Math.floor(column) - reach; k <= Math.floor(column) + reach; k++) {
        const [dr, dk] = [r - row, k - column];
        const weight = strength * clamp(1.2 - Math.sqrt(dr * dr + dk * dk) / width, 0, 1);
        const i = r * AROUND + (((k % AROUND) + AROUND) % AROUND);
        for (let c = 0; c < 3; c++) this.colour[3 * i + c] += weight * (colour[c] - this.colour[3 * i + c]);
      }
    }
  }

  /** Rounds edges that are sharper than the table can show: twice a mean with the neighbours. */
  soften(): void {
    for (let pass = 0; pass < 2; pass++) {
      const old = this.radius.slice();
      for (let a = 0; a < ALONG; a++) {
        const [up, row, down] = [Math.max(0, a - 1), a, Math.min(ALONG - 1, a + 1)].map((r) => r * AROUND);
        for (let k = 0; k < AROUND; k++) {
          const [left, right] = [(k + AROUND - 1) % AROUND, (k + 1) % AROUND];
          const beside = old[row + left] + old[row + right] + old[up + k] + old[down + k];
          this.radius[row + k] = 0.4 * old[row + k] + 0.15 * beside;
        }
      }
    }
  }

  #each(visit: (i: number, s: number, cx: number, cy: number) => void): void {
    for (let a = 0, i = 0; a < ALONG; a++) {
      const s = ((a + 0.5) * LENGTH) / ALONG;
      for (let k = 0; k < AROUND; k++, i++) visit(i, s, DIRECTIONS[k][0], DIRECTIONS[k][1]);
    }
  }
}

const DIRECTIONS: readonly (readonly [number, number])[] = Array.from({ length: AROUND }, (_, k) => columnDirection(k));

/** A bump of height 1 around (s0, direction), falling off over `along` and `around` (as a chord). */
function bump(
  s: number,
  cx: number,
  cy: number,
  s0: number,
  at: readonly [number, number],
  along: number,
  chord: number,
): number {
  const ds = (s - s0) / along;
  const dx = (cx - at[0]) / chord;
  const dy = (cy - at[1]) / chord;
  return exponential(-(ds * ds + dx * dx + dy * dy));
}

interface Scene {
  readonly wall: Wall;
  readonly random: Random;
  gloss: number;
  bend: [number, number];
  fork: Lumen["fork"];
  pool: Lumen["pool"];
  haze: Lumen["haze"];
  travel: number;
  /** Where findings appear. */
  site: number;
}

const BLOOD_RED: Rgb = [0.62, 0.08, 0.07];

/** The healthy scenes, by region. */
const SCENES: Readonly<Record<string, (scene: Scene, tint: (colour: Rgb) => Rgb) => void>> = {
  /** Lateral ventricle: ivory walls, red choroid plexus, and the foramen of Monro at the end. */
  head(scene, tint) {
    const { wall, random } = scene;
    wall.paint(tint([0.93, 0.84, 0.74]), () => 1);
    const plexus = columnDirection(random.uniform(0.18, 0.32) * AROUND); // on the floor
    wall.shape(
      (r, s, cx, cy) =>
        r *
        (1 + 0.22 * Math.abs(cx) - 0.1 * cy) *
        (s < 3.4 ? 1 : 1 - 0.72 * smoothstep(3.4, 4.3, s) + 0.5 * smoothstep(4.6, 5.6, s)),
    );
    const frill = (s: number): number => 0.75 + 0.25 * sine(11 * s) * cosine(17 * s);
    wall.shape(
      (r, s, cx, cy) => r - 0.24 * frill(s) * bump(s, cx, cy, s, plexus, 1, 0.3) * (1 - smoothstep(4.2, 5, s)),
    );
    wall.paint([0.8, 0.22, 0.18], (s, cx, cy) => 1.1 * frill(s) * bump(s, cx, cy, s, plexus, 1, 0.28));
    wall.vessels(random, 6, [0.5, 0.16, 0.3], 0.7, 0.9);
    scene.gloss = 0.35;
    scene.site = 2.4;
    scene.travel = 1;
  },

  /** Larynx from above: white vocal cords about a dark slit, then the rings of the windpipe. */
  neck(scene, tint) {
    const { wall, random } = scene;
    const cords = random.uniform(2.5, 3);
    const ring = random.uniform(0.44, 0.58);
    const open = random.uniform(0.4, 1.2);
    wall.paint(tint([0.9, 0.5, 0.45]), () => 1);
    wall.paint(tint([0.96, 0.8, 0.7]), (s) => (s > cords ? smoothstep(-0.3, 0.7, sine((6.2832 * s) / ring)) * 0.8 : 0));
    wall.shape((r, s, cx, cy) => {
      const rings = s > cords ? 0.06 * sine((6.2832 * s) / ring) : 0;
      const back = cy > 0.6 ? 0.25 * (cy - 0.6) : 0; // the back wall is flat, without cartilage
      // The cords leave a slit, pointed in front (above) and open behind: |x| < width + lean · y.
      const slit = (0.1 + 0.14 * open) / Math.max(0.02, Math.abs(cx) - 0.3 * open * cy);
      const ds = (s - cords) / 0.16;
      const pinch = Math.max(0, 1 - slit) * exponential(-ds * ds);
      const entry = s < cords ? 0.18 * smoothstep(cords - 1.6, 0, s) : 0;
      return r * (1 - rings - back + entry) * (1 - pinch) - (s > cords ? 0.12 : 0);
    });
    wall.paint([0.98, 0.96, 0.93], (s, cx) => (Math.abs(s - cords) < 0.22 ? smoothstep(0.1, 0.5, Math.abs(cx)) : 0));
    wall.vessels(random, 5, BLOOD_RED, 0.4, 0.8);
    scene.gloss = 0.6;
    scene.site = cords - 0.85;
    scene.travel = 1.1;
  },

  /** Main bronchus: fine rings, long folds, and the carina where it forks. */
  chest(scene, tint) {
    const { wall, random } = scene;
    const ring = random.uniform(0.3, 0.42);
    const folds = random.uniform(0, 6.28);
    wall.paint(tint([0.86, 0.45, 0.4]), () => 1);
    wall.paint(tint([0.97, 0.76, 0.66]), (s, _, cy) =>
      cy < 0.6 ? 0.75 * smoothstep(0, 0.9, sine((6.2832 * s) / ring)) : 0,
    );
    wall.shape((r, s, cx, cy) => {
      const rings = cy < 0.6 ? 0.045 * sine((6.2832 * s) / ring) : 0.05 * sine(14 * cx + folds);
      return r * (1 - rings - (cy > 0.6 ? 0.12 : 0)) * (1 + 0.1 * Math.abs(cx) * smoothstep(2, 4, s));
    });
    wall.vessels(random, 8, BLOOD_RED, 0.45, 0.8);
    scene.gloss = 0.6;
    scene.fork = {
      from: random.uniform(3.7, 4.3),
      radius: random.uniform(0.46, 0.52),
      spread: random.uniform(0.24, 0.34),
    };
    scene.site = 2.9;
    scene.travel = 1.5;
  },

  /** Colon: a three-cornered tube with sharp folds between its haustra. */
  abdomen(scene, tint) {
    const { wall, random } = scene;
    const spacing = random.uniform(0.95, 1.4);
    const depth = random.uniform(0.3, 0.42);
    const turn = random.uniform(0, 6.28);
    const [ct, st] = [cosine(turn), sine(turn)];
    const corners = (cx: number, cy: number): number => {
      const [x, y] = [ct * cx - st * cy, st * cx + ct * cy];
      return x * (x * x - 3 * y * y); // cos 3θ
    };
    wall.paint(tint([0.92, 0.52, 0.36]), () => 1);
    const ridge = (s: number): number => {
      const t = s / spacing - Math.round(s / spacing);
      return exponential(-(t * t * spacing * spacing) / 0.011);
    };
    const skew = random.uniform(0.15, 0.4);
    wall.shape((r, s, cx, cy) => {
      const c = corners(cx, cy);
      return r * (1.04 + 0.14 * c) * (1 - depth * (0.75 - 0.35 * c) * ridge(s + skew * cx * cy));
    });
    wall.paint(tint([0.98, 0.7, 0.54]), (s, cx, cy) => 0.7 * ridge(s + skew * cx * cy));
    wall.vessels(random, 26, BLOOD_RED, 0.5, 0.95);
    scene.gloss = 0.85;
    scene.site = 2.5;
    scene.travel = 1.8;
  },

  /** Bladder: one wide round room, pale, with a net of vessels. */
  pelvis(scene, tint) {
    const { wall, random } = scene;
    const room = random.uniform(1.75, 2.05);
    wall.paint(tint([0.94, 0.72, 0.5]), () => 1);
    wall.shape((_, s) => {
      const t = (s - 1.5) / 2.6;
      return room * Math.sqrt(Math.max(0.0004, 1 - t * t));
    });
    wall.vessels(random, 44, [0.66, 0.12, 0.08], 0.75, 1.25);
    scene.gloss = 0.45;
    scene.haze = { density: 0.05, colour: [0.5, 0.42, 0.12] };
    scene.site = 3.1;
    scene.travel = 0.8;
  },

  /** Shoulder joint: the humeral head as a white ball, the flat socket facing it. */
  shoulder(scene, tint) {
    const { wall, random } = scene;
    closed(scene, random.uniform(4.6, 5.4), 1.35);
    wall.paint(tint([0.82, 0.4, 0.36]), () => 1);
    wall.vessels(random, 22, BLOOD_RED, 0.6, 1);
    wall.ball(3.0, 0.2, 2.6, 2.3, tint([0.88, 0.86, 0.8]));
    wall.ball(0.55, 1.25, 3.4, 0.6, tint([0.95, 0.9, 0.8])); // rim of the socket
    scene.gloss = 0.75;
    scene.haze = { density: 0.06, colour: [0.35, 0.36, 0.36] };
    scene.site = 2.6;
    scene.travel = 0.7;
  },

  /** Knee joint: the condyle above, the plateau below, a meniscus at the side and yellow fat in front. */
  knee(scene, tint) {
    const { wall, random } = scene;
    closed(scene, random.uniform(4.4, 5), 1.5);
    wall.paint(tint([0.93, 0.72, 0.35]), () => 1);
    wall.vessels(random, 12, BLOOD_RED, 0.55, 0.9);
    wall.ball(0, 2.75, 2.6, 2.3, tint([0.96, 0.92, 0.78]));
    wall.ball(random.uniform(-0.25, 0.25), -1.7, 2.5, random.uniform(1.25, 1.45), tint([0.97, 0.95, 0.86]));
    wall.ball(1.35, 0.42, 2.8, 0.72, tint([0.9, 0.9, 0.86]));
    wall.ball(-1.4, 0.42, 2.8, 0.7, tint([0.9, 0.9, 0.86]));
    scene.gloss = 0.8;
    scene.haze = { density: 0.05, colour: [0.36, 0.34, 0.26] };
    scene.site = 2.5;
    scene.travel = 0.6;
  },

  /** Carpal tunnel: pearly tendons run along the floor under the ligament's cross fibres. */
  hand(scene, tint) {
    const { wall, random } = scene;
    wall.paint(tint([0.9, 0.62, 0.6]), () => 1);
    wall.paint(tint([0.95, 0.92, 0.9]), (s, _, cy) => (cy < -0.35 ? 0.55 + 0.45 * sine(19 * s) : 0));
    const cords = [0.02, 0.13, 0.25, 0.37, 0.48].map((turn) =>
      columnDirection((turn + random.uniform(-0.015, 0.015)) * AROUND),
    );
    for (const cord of cords) {
      const wave = random.uniform(0, 6.28);
      wall.shape((r, s, cx, cy) => r - (0.3 + 0.04 * sine(s + wave)) * bump(s, cx, cy, s, cord, 1, 0.3));
      wall.paint(tint([0.93, 0.93, 0.95]), (s, cx, cy) => 1.25 * bump(s, cx, cy, s, cord, 1, 0.24));
    }
    wall.vessels(random, 6, BLOOD_RED, 0.55, 0.8);
    scene.gloss = 0.7;
    scene.site = 2.3;
    scene.travel = 1.4;
  },
};

/** A room instead of a tube: the wall comes together at s = end. */
function closed(scene: Scene, end: number, room: number): void {
  scene.wall.shape((_, s) => {
    const t = clamp(s / end, 0, 1);
    return room * Math.sqrt(Math.max(0.0004, 1 - t * t * t * t));
  });
}

/** How a finding looks from inside. `e` is its extent, 0 to 1; `at` the direction in which it lies. */
type Appearance = (scene: Scene, e: number, at: readonly [number, number], random: Random) => void;

const bulge =
  (colour: Rgb, height: number, along: number, chord: number, sheen = 0.85): Appearance =>
  (scene, e, at) => {
    const [h, a, c] = [height * (0.6 + 0.5 * e), along * (0.65 + 0.55 * e), chord * (0.65 + 0.55 * e)];
    scene.wall.shape((r, s, cx, cy) =>
      Math.max(0.06, r * (1 - h * smoothstep(0.12, 0.75, bump(s, cx, cy, scene.site, at, a, c)))),
    );
    scene.wall.paint(colour, (s, cx, cy) => sheen * smoothstep(0.15, 0.5, bump(s, cx, cy, scene.site, at, a, c)));
  };

const pit =
  (rim: Rgb, floor: Rgb): Appearance =>
  (scene, e, at) => {
    const size = 0.3 + 0.3 * e;
    const near = (s: number, cx: number, cy: number): number => bump(s, cx, cy, scene.site, at, size, size * 1.25);
    scene.wall.shape((r, s, cx, cy) => r * (1 + 0.9 * smoothstep(0.35, 0.8, near(s, cx, cy))));
    scene.wall.paint(rim, (s, cx, cy) => smoothstep(0.15, 0.35, near(s, cx, cy)));
    scene.wall.paint(floor, (s, cx, cy) => smoothstep(0.4, 0.6, near(s, cx, cy)));
  };

const wider =
  (most: number): Appearance =>
  (scene, e) => {
    scene.wall.shape((r) => r * (1.25 + (most - 1.25) * e));
  };

const squeezed =
  (axis: 0 | 1, most: number): Appearance =>
  (scene, e) => {
    scene.wall.shape((r, s, cx, cy) => {
      const part = axis === 0 ? cx : cy;
      return r * (1 - most * (0.55 + 0.45 * e) * part * part * smoothstep(0.6, 1.8, s));
    });
  };

const pooled =
  (colour: Rgb, highest: number): Appearance =>
  (scene, e) => {
    scene.pool = { level: 0.78 - (0.78 - highest) * (0.3 + 0.7 * e), colour };
  };

const clouded =
  (colour: Rgb): Appearance =>
  (scene, e) => {
    scene.haze = { density: 0.3 + 0.45 * e, colour };
  };

const many =
  (colour: Rgb, count: number, size: number): Appearance =>
  (scene, e, _, random) => {
    const n = Math.round(count * (0.7 + 0.5 * e));
    for (let k = 0; k < n; k++) {
      const r = size * (0.8 + 0.5 * e) * random.uniform(0.75, 1.2);
      const [x, y] = columnDirection(random.uniform(0, AROUND));
      const off = random.uniform(0.45, 0.75);
      scene.wall.ball(x * off, y * off, scene.site + random.uniform(-0.6, 0.7), r, colour);
    }
  };

const both =
  (...parts: readonly Appearance[]): Appearance =>
  (scene, e, at, random) => {
    for (const part of parts) part(scene, e, at, random);
  };

const APPEARANCES: Readonly<Record<string, Appearance>> = {
  hydrocephalus: wider(1.75),
  meningioma: bulge([0.8, 0.34, 0.3], 0.75, 0.65, 0.75),
  craniectomy: bulge([1, 0.62, 0.3], -0.1, 0.75, 0.85, 0.9), // light shines in where bone is missing
  goitre: both(squeezed(0, 0.5), bulge([0.86, 0.5, 0.46], 0.35, 0.7, 0.8, 0.3)),
  lymphadenopathy: many([0.93, 0.78, 0.6], 6, 0.26),
  laryngocele: pit([0.95, 0.66, 0.6], [0.16, 0.05, 0.05]),
  "lung-mass": bulge([0.9, 0.78, 0.66], 0.85, 0.55, 0.75),
  effusion: both(pooled([0.85, 0.66, 0.42], 0.12), squeezed(1, 0.25)),
  cardiomegaly: bulge([0.8, 0.36, 0.33], 0.7, 1.3, 1.1, 0.5),
  ileus: both(wider(1.6), pooled([0.48, 0.32, 0.1], 0.3)),
  "hydatid-cyst": bulge([0.93, 0.9, 0.78], 0.75, 0.7, 0.95, 0.8),
  ascites: squeezed(1, 0.62),
  "bladder-stone": (scene, e, _, random) => {
    const r = 0.42 + 0.4 * e;
    scene.wall.ball(random.uniform(-0.35, 0.35), 1.0, scene.site, r, [0.74, 0.58, 0.26]);
    scene.wall.ball(random.uniform(-0.5, 0.5), 1.1, scene.site - 0.5, 0.6 * r, [0.82, 0.68, 0.36]);
  },
  "dermoid-cyst": bulge([0.92, 0.84, 0.6], 0.62, 1.0, 0.8, 0.75),
  "urinary-retention": both(wider(1.45), (scene, _, __, random) => {
    // A bladder that has long pressed against an outlet grows beams of muscle.
    const [p, q] = [random.uniform(0, 6.28), random.uniform(0, 6.28)];
    const beams = (s: number, cx: number, cy: number): number =>
      smoothstep(0.5, 0.95, Math.max(sine(5 * s + 4 * cx + p), sine(4 * s - 5 * cy + q)));
    scene.wall.shape((r, s, cx, cy) => r * (1 - 0.12 * beams(s, cx, cy)));
    scene.wall.paint([0.99, 0.86, 0.68], (s, cx, cy) => 0.6 * beams(s, cx, cy));
  }),
  dislocation: (scene, e) => {
    scene.wall.shape((r, _, cx) => r * (1 + (0.5 + 0.4 * e) * smoothstep(0.2, 0.9, cx))); // the ball has left
    scene.wall.paint([0.6, 0.12, 0.1], (_, cx) => 0.85 * smoothstep(0.1, 0.7, cx));
  },
  "calcific-tendinitis": many([1, 1, 0.98], 4, 0.3),
  osteolysis: pit([0.75, 0.3, 0.22], [0.3, 0.08, 0.06]),
  "joint-effusion": clouded([0.72, 0.52, 0.14]),
  osteosarcoma: both(bulge([0.68, 0.2, 0.16], 0.8, 0.8, 0.95), many([0.98, 0.92, 0.85], 4, 0.16)),
  "loose-bodies": many([0.99, 0.98, 0.95], 7, 0.2),
  fracture: (scene, e, at) => {
    const near = (s: number, cx: number, cy: number): number => bump(s, cx, cy, scene.site, at, 0.7, 1.1);
    const crack = (s: number, cx: number, cy: number): number => {
      const d = (s - scene.site - 0.18 * sine(9 * cx) - 0.12 * sine(13 * cy)) / (0.07 + 0.06 * e);
      return exponential(-d * d);
    };
    scene.wall.paint([0.66, 0.1, 0.08], (s, cx, cy) => (0.75 + 0.3 * e) * near(s, cx, cy));
    scene.wall.paint([0.12, 0.02, 0.02], crack);
    scene.wall.shape(
      (r, s, cx, cy) =>
        r * (1 + 0.22 * crack(s, cx, cy)) * (s > scene.site ? 1 - 0.16 * (0.5 + e) * near(s, cx, cy) : 1),
    );
  },
  ganglion: bulge([0.92, 0.88, 0.76], 0.72, 0.6, 0.85),
  enchondroma: both(bulge([0.62, 0.74, 0.86], 0.75, 0.65, 0.85), many([0.98, 0.97, 0.9], 3, 0.14)),
};

/** The lumen of one patient. The finding changes the shape; everything else comes from `random`. */
export function lumenOf(region: string, lesion: Lesion, random: Random): Lumen {
  const build = random.fork("lumen");
  const scene: Scene = {
    wall: new Wall(),
    random: build.fork("wall"),
    gloss: 0.6,
    bend: [build.uniform(-0.05, 0.05), build.uniform(-0.05, 0.05)],
    fork: null,
    pool: null,
    haze: { density: 0, colour: [0, 0, 0] },
    travel: 1.5,
    site: 2.5,
  };
  const calibre = build.uniform(0.85, 1.18);
  const [warm, pale] = [build.uniform(-0.06, 0.06), build.uniform(0.88, 1.05)];
  const tint = ([r, g, b]: Rgb): Rgb => [
    clamp(pale * (r + 0.3 * warm), 0, 1),
    clamp(pale * (g - 0.5 * warm), 0, 1),
    clamp(pale * (b - warm), 0, 1),
  ];
  SCENES[region](scene, tint);
  const angle = build.uniform(0, AROUND);
  APPEARANCES[lesion.finding]?.(scene, lesion.extent, columnDirection(angle), lesion.random.fork("scope"));
  scene.wall.shape((r) => r * calibre);
  scene.wall.soften();
  const { wall, gloss, bend, fork, pool, haze, travel } = scene;
  return { radius: wall.radius, colour: wall.colour, gloss, bend, fork, pool, haze, travel };
}
