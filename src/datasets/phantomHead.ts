/** Head and neck. Lengths are region units unless a name says otherwise; radii were read off atlases by eye. */
import { boxedSines } from "./phantomFolds.js";
import type { Vec3 } from "./phantomPainter.js";
import { around, bone, rib, sized, spine, type RegionPlan } from "./phantomSkeleton.js";
import {
  BLOOD,
  CALCIUM,
  CARTILAGE,
  CORTEX,
  ENAMEL,
  FAT,
  FLUID,
  GAS,
  GLAND,
  GREY,
  LUNG,
  MASS,
  MUSCLE,
  SPONGY,
  TENDON,
  WHITE,
} from "./phantomTissue.js";

const BOTH_SIDES: readonly number[] = [-1, 1];

export const HEAD: RegionPlan = {
  halfCm: 13.5,
  enlarge: 1.22,
  halfDepth: 0.82,
  paired: false,
  draw(p, r, lesion, build) {
    const [w, d, h] = [0.57 * around(r, 0.06), 0.7 * around(r, 0.05), 0.62 * around(r, 0.06)];
    const skin = 0.03 + 0.03 * build.fat;
    const jaw = around(r, 0.12);
    const top: Vec3 = [0, 0.02, -0.26];

    // Soft outline: neck, face, scalp.
    const neck = [
      { z: 0.25, y: 0.14, rx: 0.36, ry: 0.36 },
      { z: 0.8, y: 0.16, rx: 0.33 * jaw, ry: 0.34 },
    ];
    const outline = [...neck, { z: 1.2, y: 0.16, rx: 0.5, ry: 0.36 }, { z: 2, y: 0.16, rx: 1.1, ry: 0.4 }];
    p.column(FAT, outline);
    p.column(MUSCLE, outline, skin + 0.02);
    const face = [
      { z: -0.3, y: -0.14, rx: 0.5, ry: 0.52 },
      { z: 0.3, y: -0.2, rx: 0.48 * jaw, ry: 0.5 },
      { z: 0.62, y: -0.24, rx: 0.36 * jaw, ry: 0.44 },
      { z: 0.8, y: -0.24, rx: 0.2 * jaw, ry: 0.36 },
    ];
    p.column(FAT, face);
    p.column(MUSCLE, face, skin + 0.01);
    p.ellipsoid(FAT, [0, -0.7, 0.3], [0.1, 0.14, 0.16]); // nose
    p.ellipsoid(FAT, top, [w + skin, d + skin, h + skin]);

    // Skull and what is in it.
    p.ellipsoid(CORTEX, top, [w, d, h]);
    const thickness = 0.05 * around(r, 0.25);
    const [bw, bd, bh] = [w - thickness, d - thickness, h - thickness];
    p.ellipsoid(MUSCLE, top, [bw, bd, bh]); // below the brain, behind the face
    p.block(SPONGY, [0, 0.1, 0.15], [0.42, 0.38, 0.06]); // base
    for (const s of BOTH_SIDES)
      p.tube(
        CORTEX,
        [
          [s * 0.12, -0.02, 0.14],
          [s * 0.4, 0.18, 0.15],
        ],
        0.045,
      );
    const folds = boxedSines(r, 9.5);
    const brain = (x: number, y: number, z: number): number => {
      const [u, v, q] = [x / bw, (y - top[1]) / bd, (z - top[2]) / bh];
      return u * u + v * v + q * q;
    };
    const box: readonly [Vec3, Vec3] = [
      [-bw, top[1] - bd, top[2] - bh],
      [bw, top[1] + bd, 0.12],
    ];
    const floor = (y: number): number => (y < -0.1 ? -0.08 : 0.1); // the front lobe lies above the eyes
    p.fill(GREY, ...box, (x, y, z) => z < floor(y) && brain(x, y, z) < 1);
    p.fill(FLUID, ...box, (x, y, z) => {
      const b = brain(x, y, z);
      return z < floor(y) && b < 1 && (b > 0.955 || (b > 0.72 && folds(x, y, z) > 0.62));
    });
    p.fill(
      WHITE,
      ...box,
      (x, y, z) => z < floor(y) - 0.04 && brain(x, y, z) < 0.62 + 0.16 * folds(x + 0.1, y, z - 0.1),
    );
    p.ellipsoid(CORTEX, [0, 0.4, 0.2], [0.4, 0.32, 0.25]);
    p.ellipsoid(GREY, [0, 0.4, 0.17], [0.37, 0.29, 0.22]);
    p.ellipsoid(WHITE, [0, 0.36, 0.14], [0.17, 0.15, 0.1]);
    p.fill(CARTILAGE, [-0.02, -0.7, -0.9], [0.02, 0.7, -0.3], (x, y, z) => Math.abs(x) < 0.014 && brain(x, y, z) < 1);

    const wet = (lesion.finding === "hydrocephalus" ? sized(lesion, 1.75, 2.7) : 1) * around(r, 0.15);
    for (const s of BOTH_SIDES) {
      p.ellipsoid(GREY, [s * 0.17, -0.06, -0.18], [0.07, 0.16, 0.08]); // basal ganglia
      const horn: readonly Vec3[] = [
        [s * 0.07, -0.3, -0.24],
        [s * 0.1, -0.05, -0.32],
        [s * 0.15, 0.24, -0.28],
        [s * 0.24, 0.3, -0.1],
        [s * 0.28, 0.06, -0.02],
      ];
      p.tube(FLUID, horn, [0.042 * wet, 0.05 * wet, 0.058 * wet, 0.045 * wet, 0.022 * wet]);
    }
    p.ellipsoid(FLUID, [0, -0.02, -0.14], [0.02 * wet, 0.13, 0.09 * Math.min(wet, 1.4)]);
    p.ellipsoid(FLUID, [0, 0.26, 0.12], [0.04 * wet, 0.04, 0.06]);

    // Face: bone first, then the cavities in it.
    p.ellipsoid(CORTEX, [0, -0.36, 0.28], [0.38, 0.28, 0.33]);
    p.ellipsoid(SPONGY, [0, -0.36, 0.28], [0.34, 0.24, 0.29]);
    for (const s of BOTH_SIDES) {
      p.ellipsoid(CORTEX, [s * 0.21, -0.46, 0.1], [0.2, 0.2, 0.175]);
      p.ellipsoid(FAT, [s * 0.21, -0.5, 0.1], [0.15, 0.24, 0.125]);
      p.ellipsoid(FLUID, [s * 0.21, -0.58, 0.1], [0.09, 0.09, 0.09]);
      p.tube(
        MUSCLE,
        [
          [s * 0.2, -0.5, 0.1],
          [s * 0.14, -0.3, 0.1],
        ],
        0.03,
      );
      p.ellipsoid(GAS, [s * 0.22, -0.38, 0.36], [0.11, 0.15, 0.12]);
      p.ellipsoid(GAS, [s * 0.085, -0.6, -0.1], [0.075, 0.05, 0.055 * around(r, 0.3)]);
      p.ellipsoid(LUNG, [s * 0.42, 0.2, 0.27], [0.075, 0.12, 0.1]); // mastoid cells
      bone(
        p,
        [
          [s * 0.33, -0.48, 0.24],
          [s * 0.49, -0.28, 0.2],
          [s * 0.5, -0.02, 0.16],
        ],
        0.04,
        0.02,
      );
    }
    p.ellipsoid(GAS, [0, -0.44, 0.3], [0.11, 0.3, 0.17]);
    p.block(CORTEX, [0.01, -0.44, 0.28], [0.013, 0.3, 0.17]);
    for (const s of BOTH_SIDES)
      p.tube(
        MUSCLE,
        [
          [s * 0.075, -0.6, 0.37],
          [s * 0.075, -0.25, 0.36],
        ],
        0.032,
      );
    p.ellipsoid(GAS, [0, -0.06, 0.22], [0.09, 0.09, 0.06]);
    p.ellipsoid(MUSCLE, [0, -0.3, 0.58], [0.22, 0.32, 0.12]); // tongue
    p.tube(
      GAS,
      [
        [0, -0.1, 0.34],
        [0, -0.06, 0.6],
        [0, 0, 1.5],
      ],
      0.055,
    );
    for (const [z, radius] of [
      [0.5, 0.03],
      [0.585, 0.028],
    ] as const) {
      const arch: readonly Vec3[] = [
        [-0.22, -0.28, z],
        [-0.18, -0.46, z],
        [0, -0.57, z],
        [0.18, -0.46, z],
        [0.22, -0.28, z],
      ];
      p.tube(ENAMEL, arch, radius);
    }
    const half = (s: number): readonly Vec3[] => [
      [s * 0.42 * jaw, -0.02, 0.26],
      [s * 0.4 * jaw, -0.06, 0.5],
      [s * 0.26 * jaw, -0.4, 0.68],
      [0, -0.56, 0.7],
    ];
    for (const s of BOTH_SIDES) bone(p, half(s), [0.05, 0.055, 0.06, 0.065], 0.03);
    spine(p, 0.36, 1.6, 0.13, 0.2, 0.12);

    const l = lesion.random;
    if (lesion.finding === "hydrocephalus") {
      // A shunt: its tube leaves the ventricle through a burr hole and runs down under the skin, opaque to X-rays.
      const [s, thick] = [lesion.side, sized(lesion, 0.026, 0.036)];
      const hole: Vec3 = [s * 0.8 * w, 0.02, top[2] - 0.62 * h];
      p.ellipsoid(FLUID, hole, [0.07, 0.07, 0.07], 0, [CORTEX]);
      p.tube(
        CALCIUM,
        [[s * 0.1, 0, -0.3], hole, [s * (w + 0.01), 0.04, -0.2], [s * 0.5, 0.1, 0.4], [s * 0.3, 0.1, 0.9]],
        thick,
      );
      p.ellipsoid(CALCIUM, hole, [1.7 * thick, 2 * thick, 1.7 * thick]);
    }
    if (lesion.finding === "meningioma") {
      const radius = sized(lesion, 0.16, 0.26);
      const c: Vec3 = [lesion.side * (bw * 0.8 - 0.62 * radius), l.uniform(-0.14, 0.06), l.uniform(-0.5, -0.36)];
      p.ellipsoid(FLUID, c, [radius * 1.3, radius * 1.25, radius * 1.3], 0, [GREY, WHITE]); // oedema
      p.ellipsoid(MASS, c, [radius, radius, radius], 0, [GREY, WHITE, FLUID, CARTILAGE]);
      p.ellipsoid(
        CALCIUM,
        [c[0] + lesion.side * 0.1 * radius, c[1], c[2]],
        [0.62 * radius, 0.6 * radius, 0.55 * radius],
      );
    }
    if (lesion.finding === "craniectomy") {
      const radius = sized(lesion, 0.24, 0.42);
      const c: Vec3 = [lesion.side * w * 0.86, l.uniform(-0.12, 0.12), top[2] - 0.3 * h];
      p.ellipsoid(MUSCLE, c, [0.3, radius * 1.3, radius], lesion.side * 0.5, [CORTEX, SPONGY]);
      p.ellipsoid(FLUID, c, [0.26, radius * 1.2, radius * 0.9], lesion.side * 0.5, [GREY]);
    }
    return -0.05;
  },
};

export const NECK: RegionPlan = {
  halfCm: 9.5,
  enlarge: 1,
  halfDepth: 0.88,
  paired: false,
  draw(p, r, lesion, build) {
    const stout = around(r, 0.08) + 0.08 * build.fat;
    const skin = 0.04 + 0.07 * build.fat;
    const low = r.uniform(0.58, 0.85); // where the shoulders begin
    const outline = [
      { z: -1.7, y: 0.02, rx: 0.66, ry: 0.8 },
      { z: -0.7, y: -0.02, rx: 0.6, ry: 0.72 },
      { z: -0.25, y: 0.08, rx: 0.55 * stout, ry: 0.54 },
      { z: low, y: 0.08, rx: 0.6 * stout, ry: 0.56 },
      { z: low + 0.45, y: 0.05, rx: 1.35, ry: 0.66 },
      { z: 2, y: 0.05, rx: 1.7, ry: 0.75 },
    ];
    p.column(FAT, outline);
    p.column(MUSCLE, outline, skin);
    for (const s of BOTH_SIDES) {
      p.ellipsoid(FAT, [s * 0.3, -0.1, 0.1], [0.19, 0.26, 0.75], 0, [MUSCLE]);
      p.tube(
        MUSCLE,
        [
          [s * 0.5, 0.12, -0.8],
          [s * 0.4, -0.14, 0],
          [s * 0.12, -0.34, low + 0.15],
        ],
        0.1,
      );
      p.ellipsoid(LUNG, [s * 0.5, 0.15, low + 0.85], [0.4, 0.42, 0.52]);
    }
    spine(p, -1.3, 1.5, 0.235, 0.24, 0.2 * around(r, 0.08));

    // Bones of the jaw and the airway behind it.
    const jaw = around(r, 0.08);
    for (const s of BOTH_SIDES) {
      const half: readonly Vec3[] = [
        [s * 0.56 * jaw, 0.08, -1.35],
        [s * 0.52 * jaw, 0, -0.86],
        [s * 0.3 * jaw, -0.52, -0.68],
        [0, -0.68, -0.64],
      ];
      bone(p, half, [0.07, 0.085, 0.1, 0.11], 0.035);
      p.ellipsoid(GLAND, [s * 0.42, -0.18, -0.6], [0.12, 0.16, 0.13]);
      bone(
        p,
        [
          [s * 0.24, -0.12, -0.44],
          [s * 0.12, -0.34, -0.4],
          [0, -0.38, -0.4],
        ],
        0.034,
        0.02,
      );
      bone(
        p,
        [
          [s * 0.11, -0.36, low + 0.2],
          [s * 0.6, -0.34, low + 0.1],
          [s * 1.3, -0.05, low + 0.12],
        ],
        0.07,
        0.03,
      );
      for (let k = 0; k < 3; k++) {
        const cage = { x: s * 0.02, y: 0.12, rx: 0.55 + 0.16 * k, ry: 0.45, drop: 0.32, radius: 0.045 };
        rib(p, cage, low + 0.2 + 0.3 * k, s, 2.3);
      }
    }
    for (const z of [-1.02, -0.9])
      p.tube(
        ENAMEL,
        [
          [-0.3, -0.3, z],
          [-0.2, -0.52, z],
          [0, -0.62, z],
          [0.2, -0.52, z],
          [0.3, -0.3, z],
        ],
        0.05,
      );
    p.ellipsoid(CARTILAGE, [0, -0.22, -0.12], [0.2, 0.2, 0.2]);
    p.ellipsoid(FAT, [0, -0.22, -0.12], [0.15, 0.15, 0.17]);
    const windpipe = 0.098 * around(r, 0.15);
    const lateral = lesion.finding === "goitre" ? lesion.side * -sized(lesion, 0.05, 0.14) : 0;
    const trachea: readonly Vec3[] = [
      [0, -0.2, -0.06],
      [lateral, -0.17, 0.22],
      [lateral * 0.6, -0.12, 0.6],
      [0, -0.02, 1.6],
    ];
    p.tube(CARTILAGE, trachea, windpipe + 0.03);
    p.tube(
      GAS,
      [
        [0, 0, -1.6],
        [0, -0.03, -0.8],
        [0, -0.1, -0.45],
      ],
      0.12,
    );
    p.tube(
      GAS,
      [
        [0, -0.1, -0.45],
        [0, -0.2, -0.12],
        [0, -0.2, -0.06],
      ],
      [0.12, 0.05, 0.045],
    );
    p.tube(GAS, trachea, [0.05, windpipe, windpipe, windpipe]);
    p.tube(
      MUSCLE,
      [
        [0.02, 0.02, -0.2],
        [0.03, 0.08, 1.5],
      ],
      0.05,
      [FAT, MUSCLE],
    ); // gullet

    for (const s of BOTH_SIDES) {
      p.tube(
        BLOOD,
        [
          [s * 0.34, 0.02, -1.1],
          [s * 0.31, 0, -0.3],
          [s * 0.27, 0.02, 1.1],
        ],
        0.055,
      );
      p.tube(
        BLOOD,
        [
          [s * 0.42, 0.02, -1.0],
          [s * 0.4, -0.05, -0.3],
          [s * 0.37, -0.05, 1.0],
        ],
        0.07 * around(r, 0.2),
      );
    }

    // Thyroid, and what may be wrong.
    const l = lesion.random;
    const goitre = lesion.finding === "goitre" ? sized(lesion, 1.5, 2.3) : 1;
    const gland = around(r, 0.12);
    for (const s of BOTH_SIDES) {
      const g = gland * (s === lesion.side ? goitre : 1 + 0.55 * (goitre - 1));
      p.ellipsoid(GLAND, [lateral + s * (0.1 + 0.12 * g), -0.2, 0.24], [0.1 * g, 0.13 * g, 0.24 * g], 0, SOFT);
    }
    p.ellipsoid(GLAND, [lateral, -0.33, 0.3], [0.16, 0.05 * goitre, 0.07 * goitre], 0, SOFT);
    if (lesion.finding === "goitre") {
      const c = lateral + lesion.side * (0.1 + 0.12 * goitre);
      p.ellipsoid(CALCIUM, [c, -0.22, 0.3], [0.035 * goitre, 0.035 * goitre, 0.03 * goitre]);
    }
    if (lesion.finding === "lymphadenopathy") {
      const nodes = lesion.extent < 0.5 ? 4 : 6;
      for (let k = 0; k < nodes; k++) {
        const radius = sized(lesion, 0.11, 0.175) * l.uniform(0.85, 1.2);
        const c: Vec3 = [
          lesion.side * l.uniform(0.3, 0.48),
          l.uniform(-0.2, 0.1),
          -0.5 + (1.1 * k) / nodes + l.uniform(0, 0.12),
        ];
        p.ellipsoid(MASS, c, [radius, radius, 1.25 * radius]);
        if (k % 2 === 0) p.ellipsoid(CALCIUM, c, [0.4 * radius, 0.4 * radius, 0.45 * radius]);
      }
    }
    if (lesion.finding === "laryngocele") {
      const radius = sized(lesion, 0.14, 0.25);
      const c: Vec3 = [lesion.side * (0.17 + 0.8 * radius), -0.2, l.uniform(-0.34, -0.24)];
      p.ellipsoid(TENDON, c, [radius + 0.025, radius + 0.025, 1.3 * radius + 0.025]);
      p.ellipsoid(GAS, c, [radius, radius, 1.3 * radius]);
    }
    return -0.14;
  },
};

const SOFT: readonly number[] = [FAT, MUSCLE, BLOOD, GLAND];
