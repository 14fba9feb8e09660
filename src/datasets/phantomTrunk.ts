/** Chest, abdomen and pelvis. Lengths are region units; radii were read off atlases by eye. */
import type { Random } from "../random.js";
import { cosine, sine } from "./phantomMath.js";
import type { Painter, Vec3 } from "./phantomPainter.js";
import { around, bone, rib, sized, spine, type RegionPlan } from "./phantomSkeleton.js";
import {
  BILE,
  BLOOD,
  BOWEL,
  CALCIUM,
  CARTILAGE,
  CORTEX,
  FAT,
  FLUID,
  GAS,
  HEART,
  KIDNEY,
  LIVER,
  LUNG,
  MASS,
  MUSCLE,
  SPLEEN,
  SPONGY,
} from "./phantomTissue.js";

const BOTH_SIDES: readonly number[] = [-1, 1];

/** Vessels that halve and thin out from a root, inside one tissue only. */
function tree(p: Painter, r: Random, over: number, root: Vec3, heading: Vec3, length: number, radius: number): void {
  if (radius < 0.009) return;
  const tip: Vec3 = [root[0] + length * heading[0], root[1] + length * heading[1], root[2] + length * heading[2]];
  p.tube(BLOOD, [root, tip], [radius, 0.75 * radius], [over]);
  for (let k = 0; k < 2; k++) {
    const turn = (): number => r.uniform(-0.65, 0.65);
    const next: Vec3 = [heading[0] + turn(), heading[1] + 0.6 * turn(), heading[2] + turn()];
    const norm = Math.sqrt(next[0] * next[0] + next[1] * next[1] + next[2] * next[2]) + 1e-9;
    tree(p, r, over, tip, [next[0] / norm, next[1] / norm, next[2] / norm], 0.78 * length, 0.68 * radius);
  }
}

export const CHEST: RegionPlan = {
  halfCm: 19,
  enlarge: 1.02,
  halfDepth: 0.68,
  paired: false,
  draw(p, r, lesion, build) {
    const [w, d] = [0.86 * around(r, 0.05), 0.53 * around(r, 0.07) + 0.04 * build.fat];
    const skin = 0.03 + 0.06 * build.fat;
    const outline = [
      { z: -1.7, y: 0, rx: 0.36, ry: 0.38 },
      { z: -1.02, y: 0.02, rx: 0.34, ry: 0.34 },
      { z: -0.78, y: 0.03, rx: 0.95 * w, ry: 0.4 },
      { z: -0.45, y: 0.02, rx: 1.03 * w, ry: 0.92 * d },
      { z: 0.2, y: 0, rx: 0.97 * w, ry: d },
      { z: 0.9, y: 0, rx: 0.92 * w + 0.06 * build.fat, ry: d },
      { z: 2, y: 0, rx: 0.9 * w + 0.1 * build.fat, ry: d },
    ];
    p.column(FAT, outline, 0, 0.3);
    p.column(MUSCLE, outline, skin, 0.3);
    const [cw, cd] = [0.8 * w, d - skin - 0.09];
    const cage = [
      { z: -0.95, y: 0.03, rx: 0.2, ry: 0.2 },
      { z: -0.55, y: 0.02, rx: 0.74 * cw, ry: 0.8 * cd },
      { z: 0.1, y: 0, rx: cw, ry: cd },
      { z: 0.9, y: 0, rx: 1.02 * cw, ry: cd },
      { z: 2, y: 0, rx: 0.95 * cw, ry: cd },
    ];
    p.column(FAT, cage, 0, 0.15);

    // Under the diaphragm, then the lungs above it.
    const dome = r.uniform(0.4, 0.58);
    const liver: Vec3 = [-0.3, -0.02, dome + 0.42];
    p.ellipsoid(LIVER, liver, [0.46, 0.4, 0.42], 0, [FAT]);
    p.ellipsoid(LIVER, [0.05, -0.18, dome + 0.42], [0.35, 0.22, 0.24], 0, [FAT]);
    p.ellipsoid(SPLEEN, [0.52, 0.16, dome + 0.4], [0.16, 0.2, 0.24], 0, [FAT]);
    p.ellipsoid(BOWEL, [0.36, -0.12, dome + 0.34], [0.23, 0.22, 0.24], 0, [FAT]);
    p.ellipsoid(GAS, [0.38, -0.14, dome + 0.27], [0.17, 0.16, 0.13 * around(r, 0.3)]);
    const l = lesion.random;
    const level = lesion.finding === "effusion" ? sized(lesion, 0.3, 0.72) : 0;
    for (const s of BOTH_SIDES) {
      const floor = dome + (s > 0 ? 0.07 : 0);
      const under = (x: number, y: number): number => {
        const t = (Math.abs(x) - 0.36) / 0.36;
        return floor + 0.3 * t * t + 0.28 * Math.max(0, y); // the dome falls off to the sides and the back
      };
      const [lx, lr] = [s * 0.385 * (w / 0.86), 0.335 * (w / 0.86)];
      const lung = (x: number, y: number, z: number): boolean => {
        const [u, v, q] = [(x - lx) / lr, y / (cd - 0.03), (z - 0.25) / 1.1];
        const narrow = z < 0 ? 1 - 0.32 * z * z : 1; // towards the apex
        return (
          u * u + (0.55 * v * v + 0.45 * v * v * v * v) + (z < 0.25 ? q * q * q * q : 0) < narrow && z < under(x, y)
        );
      };
      const [from, to]: [Vec3, Vec3] = [
        [lx - lr, -cd, -0.85],
        [lx + lr, cd, 1.4],
      ];
      p.fill(LUNG, from, to, lung);
      tree(p, r, LUNG, [s * 0.12, 0.02, 0.02], [s * 0.7, 0.1, 0.5], 0.2, 0.05);
      tree(p, r, LUNG, [s * 0.12, 0.02, -0.02], [s * 0.8, 0, -0.5], 0.2, 0.045);
      if (level > 0 && s === lesion.side) {
        // Fluid stands level, and creeps up along the chest wall.
        const surface = (x: number): number => {
          const t = Math.max(0, (s * x - 0.15) / 0.6);
          return floor + 0.3 - level - 0.3 * t * t;
        };
        p.fill(FLUID, from, to, (x, _, z) => z > surface(x), [LUNG, BLOOD]);
      }
    }

    // Heart and great vessels.
    const big = lesion.finding === "cardiomegaly" ? sized(lesion, 1.25, 1.5) : 1;
    const heart = around(r, 0.08) * big;
    const deep = Math.min(heart, 1.2); // it grows to the sides: front and back have no room
    const hx = 0.1 + 0.08 * (big - 1);
    const hz = dome - 0.17;
    const tilt = r.uniform(0.4, 0.75);
    p.ellipsoid(FAT, [hx, -0.11, hz], [0.35 * heart, 0.28 * deep, 0.27 * heart], tilt, [LUNG, FAT, FLUID, BLOOD]);
    p.ellipsoid(HEART, [hx, -0.11, hz], [0.34 * heart, 0.27 * deep, 0.26 * heart], tilt);
    p.ellipsoid(BLOOD, [hx + 0.09 * heart, -0.09, hz + 0.03], [0.18 * heart, 0.15, 0.12 * heart], tilt);
    p.ellipsoid(BLOOD, [hx - 0.16 * heart, -0.14, hz + 0.01], [0.11 * heart, 0.15, 0.16 * heart], tilt);
    const arch: readonly Vec3[] = [
      [0, -0.14, hz - 0.1],
      [-0.05, -0.14, -0.12],
      [0.02, -0.02, -0.3],
      [0.12, 0.1, -0.28],
      [0.13, 0.2, -0.1],
      [0.09, 0.22, 1.6],
    ];
    p.tube(BLOOD, arch, 0.066 * around(r, 0.12));
    p.tube(
      BLOOD,
      [
        [-0.11, -0.08, -0.5],
        [-0.12, -0.1, hz - 0.05],
      ],
      0.05,
    );
    for (const s of BOTH_SIDES)
      p.tube(
        BLOOD,
        [
          [s * 0.06, -0.02, -0.3],
          [s * 0.16, 0, -0.62],
          [s * 0.2, 0.02, -1.2],
        ],
        0.034,
      );
    p.tube(
      MUSCLE,
      [
        [0.03, 0.16, -1.6],
        [0.03, 0.17, 0.8],
      ],
      0.035,
    );
    p.tube(
      GAS,
      [
        [0, 0.03, -1.6],
        [0, 0.07, -0.18],
      ],
      0.046,
    );
    for (const s of BOTH_SIDES)
      p.tube(
        GAS,
        [
          [0, 0.07, -0.18],
          [s * 0.16, 0.06, 0],
          [s * 0.24, 0.06, 0.1],
        ],
        [0.04, 0.034, 0.02],
      );

    // Skeleton.
    spine(p, -1.5, 1.5, 0.145, 0.32, 0.078);
    const ribRadius = 0.023 * around(r, 0.15);
    for (let k = 0; k < 11; k++) {
      const z = -0.78 + 0.155 * k;
      const width = k < 5 ? 0.56 + 0.44 * (1 - (1 - (k + 1) / 5) * (1 - (k + 1) / 5)) : 1;
      const shape = {
        x: 0,
        y: 0.02,
        rx: (cw + 0.02) * width,
        ry: (cd + 0.01) * (0.55 + 0.45 * width),
        drop: 0.34,
        radius: ribRadius,
      };
      for (const s of BOTH_SIDES) rib(p, shape, z, s, k < 9 ? 2.6 : 1.9);
    }
    bone(
      p,
      [
        [0, -cd - 0.02, -0.5],
        [0, -cd - 0.03, 0.22],
      ],
      0.045,
      0.02,
    );
    for (const s of BOTH_SIDES) {
      bone(
        p,
        [
          [s * 0.07, -0.34, -0.62],
          [s * 0.35, -0.36, -0.74],
          [s * 0.72 * w, -0.08, -0.8],
        ],
        0.03,
        0.015,
      );
      p.plate(
        CORTEX,
        [
          [s * 0.72 * w, 0.14, -0.66],
          [s * 0.62 * w, 0.34, -0.1],
        ],
        [
          [s * 0.42 * w, 0.36, -0.6],
          [s * 0.5 * w, 0.38, -0.1],
        ],
        0.018,
      );
      bone(
        p,
        [
          [s * 0.86 * w, 0.02, -0.66],
          [s * 0.92 * w, 0.02, -0.6],
        ],
        0.085,
        0.025,
      );
    }

    if (lesion.finding === "lung-mass") {
      const radius = sized(lesion, 0.085, 0.2);
      const c: Vec3 = [lesion.side * l.uniform(0.32, 0.48), l.uniform(-0.18, 0.14), l.uniform(-0.4, 0.15)];
      p.ellipsoid(MASS, c, [radius, radius, radius], 0, [LUNG, BLOOD]);
      for (let k = 0; k < 9; k++) {
        const reach = (): number => l.uniform(-1.5, 1.5) * radius;
        p.tube(MASS, [c, [c[0] + reach(), c[1] + reach(), c[2] + reach()]], [0.35 * radius, 0.01], [LUNG]);
      }
    }
    return -0.06;
  },
};

/** A gut loop: a wall, and gas or nothing inside it; `bulge` makes haustra. */
function loop(p: Painter, path: readonly Vec3[], radius: number, gas: (i: number) => boolean, bulge: number): void {
  for (const pass of [0, 1]) {
    for (let i = 0; i + 1 < path.length; i++) {
      const [a, b] = [path[i], path[i + 1]];
      const length = Math.sqrt(
        (b[0] - a[0]) * (b[0] - a[0]) + (b[1] - a[1]) * (b[1] - a[1]) + (b[2] - a[2]) * (b[2] - a[2]),
      );
      const n = Math.max(2, Math.round(length / (0.85 * radius)));
      for (let k = 0; k < n; k++) {
        const at = (t: number): Vec3 => [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])];
        const outer = radius * (k % 2 === 0 ? 1 : 1 - bulge);
        if (pass === 0) p.tube(BOWEL, [at(k / n), at((k + 1) / n)], outer);
        else if (gas(i)) p.tube(GAS, [at(k / n), at((k + 0.9) / n)], outer - 0.03);
      }
    }
  }
}

export const ABDOMEN: RegionPlan = {
  halfCm: 18.5,
  enlarge: 1.02,
  halfDepth: 0.72,
  paired: false,
  draw(p, r, lesion, build) {
    const wet = lesion.finding === "ascites" ? sized(lesion, 0.35, 1) : 0;
    const swollen = 1 + 0.1 * wet + (lesion.finding === "ileus" ? 0.05 : 0);
    const [w, d] = [
      (0.74 + 0.12 * build.fat) * around(r, 0.05) * swollen,
      (0.47 + 0.1 * build.fat) * around(r, 0.06) * swollen,
    ];
    const skin = 0.04 + 0.09 * build.fat;
    const outline = [
      { z: -1.7, y: 0, rx: 0.96 * w, ry: 0.98 * d },
      { z: -0.6, y: 0, rx: 0.98 * w, ry: d },
      { z: 0.15, y: 0, rx: (0.9 + 0.09 * build.fat) * w, ry: d },
      { z: 0.9, y: 0, rx: 1.04 * w, ry: d },
      { z: 2, y: 0, rx: 1.04 * w, ry: d },
    ];
    p.column(FAT, outline, 0, 0.35);
    p.column(MUSCLE, outline, skin, 0.35);
    p.column(FAT, outline, skin + 0.055, 0.35);
    const [iw, id] = [w - skin - 0.06, d - skin - 0.06]; // inside the wall

    if (wet > 0) {
      const rim = 1 - 0.42 * wet - 0.12;
      p.fill(
        FLUID,
        [-iw, -id, -0.75],
        [iw, id, 1.6],
        (x, y, z) => {
          const [u, v] = [x / iw, (y + 0.05) / id];
          return u * u + v * v > rim || z > 1.05 - 0.4 * wet;
        },
        [FAT],
      );
      // Subcutaneous fat lies outside the wall: give it back.
      p.fill(
        FAT,
        [-w, -d, -1.6],
        [w, d, 1.6],
        (x, y) => {
          const [u, v] = [x / (w - skin), y / (d - skin)];
          return 0.65 * (u * u + v * v) + 0.35 * (u * u * u * u + v * v * v * v) > 1;
        },
        [FLUID],
      );
    }

    // Bases of the lungs, liver, spleen, stomach.
    const high = r.uniform(-0.08, 0.08);
    for (const s of BOTH_SIDES) p.ellipsoid(LUNG, [s * 0.38, 0.08, -1.32 + high], [0.33, 0.38, 0.5]);
    p.ellipsoid(HEART, [0.08, -0.18, -1.2 + high], [0.3, 0.2, 0.22]);
    const liver = around(r, 0.1);
    p.ellipsoid(LIVER, [-0.33, -0.04, -0.5 + high], [0.36 * liver, 0.37, 0.42 * liver], -0.15, CAVITY);
    p.ellipsoid(LIVER, [0.02, -0.17, -0.62 + high], [0.34, 0.2, 0.2], -0.2, CAVITY);
    tree(p, r, LIVER, [-0.12, 0, -0.45 + high], [-0.8, 0, -0.2], 0.22, 0.034);
    p.ellipsoid(BILE, [-0.24, -0.24, -0.14 + high], [0.06, 0.07, 0.12 * around(r, 0.2)], -0.2);
    p.ellipsoid(SPLEEN, [0.53 * (w / 0.8), 0.16, -0.5 + high], [0.14 * around(r, 0.15), 0.2, 0.24], 0.15, CAVITY);
    p.ellipsoid(BOWEL, [0.27, -0.15, -0.5 + high], [0.27, 0.2, 0.19], 0.5, CAVITY);
    p.ellipsoid(GAS, [0.32, -0.2, -0.6 + high], [0.19, 0.13, 0.12 * around(r, 0.35)], 0.4, [BOWEL]);
    for (const s of BOTH_SIDES) {
      const k = around(r, 0.1);
      const z = (s < 0 ? 0.04 : -0.06) + high;
      p.ellipsoid(KIDNEY, [s * 0.34, 0.16, z], [0.13 * k, 0.12 * k, 0.26 * k], s * -0.22);
      p.ellipsoid(FAT, [s * 0.28, 0.14, z], [0.06, 0.06, 0.13], 0, [KIDNEY]);
      p.tube(
        MUSCLE,
        [
          [s * 0.12, 0.26, -0.2],
          [s * 0.2, 0.22, 0.4],
          [s * 0.34, 0.05, 1.2],
        ],
        [0.07, 0.12, 0.13],
      );
      p.tube(
        MUSCLE,
        [
          [s * 0.2, 0.4, -1.6],
          [s * 0.2, 0.4, 1.6],
        ],
        0.11,
        [FAT, MUSCLE],
      );
    }

    // Gut: colon as a frame, small bowel within it.
    const ileus = lesion.finding === "ileus" ? sized(lesion, 1, 1.75) : 0;
    const frame: readonly Vec3[] = [
      [-0.5 * (w / 0.8), -0.1, 0.82],
      [-0.53 * (w / 0.8), 0.02, 0.3],
      [-0.46 * (w / 0.8), -0.14, 0.0],
      [-0.15, -0.3, r.uniform(0.08, 0.24)],
      [0.22, -0.3, r.uniform(0.02, 0.16)],
      [0.5 * (w / 0.8), -0.06, -0.2],
      [0.55 * (w / 0.8), 0.1, 0.35],
      [0.46 * (w / 0.8), 0, 0.85],
      [0.15, 0.05, 1.15],
    ];
    const gassy = [0.35, 0.5, 0.7, 0.85, 0.8, 0.6, 0.3, 0.35].map((chance) => r.chance(chance));
    const calibre = r.uniform(0.085, 0.115);
    const small = Array.from({ length: 9 }, (_, k) => {
      const z = 0.3 + 0.09 * k;
      const path = Array.from({ length: 4 }, (_, i): Vec3 => [
        -0.3 + 0.2 * i,
        r.uniform(-0.24, 0.14),
        z + r.uniform(-0.06, 0.06),
      ]);
      return { path, gas: r.chance(0.25) };
    });
    for (const { path, gas } of small) {
      if (ileus === 0) loop(p, path, 0.062, (i) => gas && i === 1, 0.1);
    }
    loop(p, frame, calibre, (i) => gassy[i], 0.22);
    if (ileus > 0) {
      const radius = 0.085 * ileus;
      const rows = lesion.extent < 0.5 ? 3 : 4;
      for (let k = 0; k < rows; k++) {
        const z = 0.2 + 2.3 * radius * k;
        const path = Array.from({ length: 5 }, (_, i): Vec3 => [
          -0.36 + 0.18 * i,
          -0.16,
          z + (i % 2 === 0 ? 0.04 : -0.02),
        ]);
        loop(p, path, radius, () => true, 0.12);
      }
    }

    spine(p, -1.5, 1.5, 0.215, 0.31, 0.115 * around(r, 0.06));
    p.tube(
      BLOOD,
      [
        [0.07, 0.15, -1.6],
        [0.05, 0.15, 0.5],
      ],
      0.05 * around(r, 0.15),
    );
    for (const s of BOTH_SIDES) {
      p.tube(
        BLOOD,
        [
          [0.03, 0.15, 0.5],
          [s * 0.2, 0.1, 0.95],
          [s * 0.3, 0.05, 1.6],
        ],
        0.034,
      );
      for (let k = 0; k < 4; k++) {
        rib(
          p,
          { x: 0, y: 0.02, rx: iw + 0.05, ry: id + 0.05, drop: 0.36, radius: 0.024 },
          -1.15 + 0.17 * k,
          s,
          2.1 - 0.35 * k,
        );
      }
      p.plate(
        CORTEX,
        [
          [s * 0.22, 0.36, 0.98],
          [s * 0.68, -0.06, 0.94],
        ],
        [
          [s * 0.24, 0.36, 1.7],
          [s * 0.6, 0.0, 1.7],
        ],
        0.03,
      );
    }
    p.tube(
      BLOOD,
      [
        [-0.08, 0.14, -1.5],
        [-0.08, 0.15, 0.5],
      ],
      0.055,
      [FAT, FLUID, LIVER, BOWEL],
    );

    const l = lesion.random;
    if (lesion.finding === "hydatid-cyst") {
      const radius = sized(lesion, 0.15, 0.28);
      const c: Vec3 = [-0.34 + l.uniform(-0.06, 0.06), l.uniform(-0.12, 0.02), -0.48 + high + l.uniform(-0.08, 0.08)];
      p.ellipsoid(CALCIUM, c, [radius, radius, radius]);
      p.ellipsoid(FLUID, c, [radius - 0.032, radius - 0.032, radius - 0.032]);
      p.ellipsoid(
        TENDONLIKE,
        [c[0] + 0.3 * radius, c[1], c[2] + 0.35 * radius],
        [0.4 * radius, 0.4 * radius, 0.3 * radius],
      );
    }
    return -0.07;
  },
};

/** Daughter membranes inside a cyst look like muscle to every modality. */
const TENDONLIKE = MUSCLE;
const CAVITY: readonly number[] = [FAT, FLUID, LUNG, HEART, LIVER];

export const PELVIS: RegionPlan = {
  halfCm: 18,
  enlarge: 1,
  halfDepth: 0.68,
  paired: false,
  draw(p, r, lesion, build) {
    const [w, d] = [(0.84 + 0.07 * build.fat) * around(r, 0.05), (0.48 + 0.08 * build.fat) * around(r, 0.05)];
    const skin = 0.05 + 0.1 * build.fat;
    const torso = [
      { z: -1.7, y: 0, rx: 0.88 * w, ry: 0.95 * d },
      { z: -0.5, y: 0, rx: 0.93 * w, ry: 0.98 * d },
      { z: 0.2, y: 0.03, rx: 1.08 * w, ry: 1.05 * d },
      { z: 0.55, y: 0.02, rx: 1.06 * w, ry: d },
      { z: 0.72, y: 0, rx: w, ry: 0.9 * d },
    ];
    p.column(FAT, torso, 0, 0.35);
    p.column(MUSCLE, torso, skin, 0.35);
    for (const s of BOTH_SIDES) {
      const leg = [
        { z: 0.3, x: s * 0.5 * w, rx: 0.5 * w, ry: 0.9 * d },
        { z: 0.75, x: s * 0.54 * w, rx: 0.5 * w, ry: 0.86 * d },
        { z: 2, x: s * 0.52 * w, rx: 0.43 * w, ry: 0.75 * d },
      ];
      p.column(FAT, leg);
      p.column(MUSCLE, leg, skin);
    }
    p.ellipsoid(FAT, [0, -0.05, -0.75], [0.55 * w, d - skin - 0.09, 1.0], 0, [MUSCLE]);
    p.ellipsoid(FAT, [0, 0.02, 0.12], [0.32, 0.34, 0.3], 0, [MUSCLE]);
    for (const s of BOTH_SIDES) {
      p.tube(
        FAT,
        [
          [s * 0.24, 0.3, 0.5],
          [s * 0.5, 0.26, 1.4],
        ],
        0.03,
        [MUSCLE],
      );
      p.tube(
        FAT,
        [
          [s * 0.36, -0.32, 0.2],
          [s * 0.4, -0.28, 1.4],
        ],
        0.05,
        [MUSCLE],
      );
      p.tube(
        MUSCLE,
        [
          [s * 0.26, 0.12, -1.4],
          [s * 0.38, -0.05, -0.2],
          [s * 0.5, -0.15, 0.3],
        ],
        0.11,
        [FAT],
      );
    }

    // Gut above the bladder, rectum behind it.
    for (let k = 0; k < 7; k++) {
      const c: Vec3 = [r.uniform(-0.4, 0.4), r.uniform(-0.25, 0.02), -0.95 + 0.13 * k];
      const gas = r.chance(0.35);
      const path: readonly Vec3[] = [c, [c[0] + r.uniform(0.1, 0.3), c[1], c[2] + r.uniform(-0.1, 0.1)]];
      p.tube(BOWEL, path, 0.085, [FAT]);
      if (gas) p.tube(GAS, path, 0.06, [BOWEL]);
    }
    p.tube(
      BOWEL,
      [
        [0.28, 0.1, -0.4],
        [0.1, 0.26, -0.2],
        [0, 0.3, 0.1],
        [0, 0.28, 0.45],
      ],
      0.075,
    );
    p.tube(
      GAS,
      [
        [0.04, 0.29, -0.1],
        [0, 0.3, 0.12],
      ],
      0.05 * around(r, 0.3),
      [BOWEL],
    );

    // Bone.
    const wide = around(r, 0.05);
    const crest = (s: number): readonly Vec3[] => [
      [s * 0.2, 0.38, -0.42],
      [s * 0.4, 0.3, -0.74],
      [s * 0.6, 0.14, -0.8],
      [s * 0.74 * wide, -0.04, -0.66],
      [s * 0.72 * wide, -0.16, -0.38],
    ];
    for (const s of BOTH_SIDES) {
      const edge = crest(s);
      const root: Vec3 = [s * 0.46 * wide, 0.06, 0.06];
      for (const [tissue, radius] of [
        [CORTEX, 0.036],
        [SPONGY, 0.016],
      ] as const) {
        for (let i = 0; i + 1 < edge.length; i++)
          p.plate(tissue, [edge[i], edge[i + 1]], [[s * 0.3 * wide, 0.24, -0.06], root], radius);
      }
      p.tube(CORTEX, edge, 0.05);
      p.tube(SPONGY, edge, 0.025);
      bone(p, [[s * 0.3, 0.24, -0.1], root], [0.08, 0.12], 0.025);
      p.ellipsoid(CORTEX, [s * 0.49 * wide, 0.02, 0.18], [0.19, 0.18, 0.19]);
      p.ellipsoid(SPONGY, [s * 0.46 * wide, 0.02, 0.16], [0.17, 0.16, 0.17]);
      p.ellipsoid(CARTILAGE, [s * 0.52 * wide, 0.01, 0.2], [0.16, 0.155, 0.16]);
      bone(
        p,
        [
          [s * 0.4, -0.06, 0.17],
          [s * 0.2, -0.26, 0.28],
          [s * 0.06, -0.31, 0.34],
        ],
        [0.075, 0.05, 0.06],
        0.02,
      );
      bone(
        p,
        [
          [s * 0.06, -0.3, 0.38],
          [s * 0.2, -0.14, 0.52],
          [s * 0.32, 0.08, 0.58],
        ],
        [0.05, 0.045, 0.07],
        0.02,
      );
      bone(
        p,
        [
          [s * 0.42, 0.12, 0.28],
          [s * 0.34, 0.12, 0.56],
        ],
        [0.09, 0.08],
        0.025,
      );
      const [hx, shaft] = [s * 0.53 * wide, s * 0.7 * wide];
      bone(
        p,
        [
          [hx, 0.01, 0.2],
          [shaft, 0.03, 0.38],
        ],
        [0.085, 0.09],
        0.025,
      );
      p.ellipsoid(CORTEX, [hx, 0.01, 0.2], [0.135, 0.135, 0.135]);
      p.ellipsoid(SPONGY, [hx, 0.01, 0.2], [0.112, 0.112, 0.112]);
      bone(
        p,
        [
          [shaft + s * 0.03, 0.03, 0.33],
          [shaft, 0.03, 0.52],
          [s * 0.6 * wide, 0.02, 1.8],
        ],
        [0.1, 0.095, 0.085],
        0.036,
      );
      p.tube(
        BLOOD,
        [
          [s * 0.12, 0.05, -1],
          [s * 0.3, -0.08, -0.1],
          [s * 0.4, -0.28, 0.5],
          [s * 0.42, -0.2, 1.5],
        ],
        0.034,
        [FAT, MUSCLE],
      );
    }
    p.ellipsoid(CARTILAGE, [0, -0.31, 0.36], [0.03, 0.06, 0.09]);
    spine(p, -1.55, -0.5, 0.225, 0.27, 0.125);
    for (let k = 0; k < 6; k++) {
      const c: Vec3 = [0, 0.3 + 0.04 * k - 0.008 * k * k, -0.44 + 0.115 * k];
      p.block(CORTEX, c, [0.25 - 0.038 * k, 0.09 - 0.008 * k, 0.075]);
      p.block(SPONGY, c, [0.22 - 0.036 * k, 0.065 - 0.007 * k, 0.06]);
      for (const s of BOTH_SIDES)
        if (k > 0 && k < 5) p.ellipsoid(FAT, [s * (0.13 - 0.012 * k), c[1], c[2] - 0.05], [0.026, 0.1, 0.022]);
    }

    // Bladder.
    const l = lesion.random;
    const full = around(r, 0.15) * (lesion.finding === "urinary-retention" ? sized(lesion, 1.6, 2.35) : 1);
    const [bx, by, bz] = [0.17 * full, 0.135 * Math.min(full, 1.6), 0.14 * full];
    const bladder: Vec3 = [0, -0.11, 0.24 - bz];
    p.ellipsoid(MUSCLE, bladder, [bx + 0.025, by + 0.025, bz + 0.025], 0, PELVIC);
    p.ellipsoid(FLUID, bladder, [bx, by, bz], 0, [...PELVIC, MUSCLE]);
    if (lesion.finding === "bladder-stone") {
      const radius = sized(lesion, 0.085, 0.135);
      p.ellipsoid(CALCIUM, [l.uniform(-0.05, 0.05), -0.08, 0.2 - radius], [1.2 * radius, radius, 0.85 * radius]);
    }
    if (lesion.finding === "dermoid-cyst") {
      const radius = sized(lesion, 0.14, 0.25);
      const c: Vec3 = [lesion.side * (0.12 + 0.6 * radius), -0.02, -0.14 - 0.3 * radius];
      p.ellipsoid(MASS, c, [radius + 0.025, radius + 0.025, radius + 0.025], 0, [...PELVIC, MUSCLE]);
      p.ellipsoid(FAT, c, [radius, radius, radius], 0, [MASS]);
      for (let k = 0; k < 4; k++) {
        const tooth: Vec3 = [
          c[0] + l.uniform(-0.5, 0.5) * radius,
          c[1] + l.uniform(-0.3, 0.3) * radius,
          c[2] + l.uniform(0, 0.6) * radius,
        ];
        p.tube(
          CALCIUM,
          [tooth, [tooth[0] + 0.25 * radius * cosine(k), tooth[1], tooth[2] + 0.25 * radius * sine(k)]],
          0.2 * radius,
        );
      }
    }
    return -0.08;
  },
};

const PELVIC: readonly number[] = [FAT, BOWEL, GAS, BLOOD];
