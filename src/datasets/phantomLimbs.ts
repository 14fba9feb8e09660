/** Shoulder, knee and hand, drawn for the right side; the painter mirrors them for the left. */
import { cosine, sine } from "./phantomMath.js";
import type { Vec3 } from "./phantomPainter.js";
import { around, bone, rib, sized, type RegionPlan } from "./phantomSkeleton.js";
import {
  AIR,
  BLOOD,
  CALCIUM,
  CARTILAGE,
  CORTEX,
  FAT,
  FLUID,
  LUNG,
  MASS,
  MUSCLE,
  SPONGY,
  TENDON,
} from "./phantomTissue.js";

export const SHOULDER: RegionPlan = {
  halfCm: 12.5,
  enlarge: 1,
  halfDepth: 0.66,
  paired: true,
  draw(p, r, lesion, build) {
    const skin = 0.04 + 0.07 * build.fat;
    const away = r.uniform(0, 0.3); // abduction: how far the arm is held from the chest
    const l = lesion.random;
    const out = lesion.finding === "dislocation" ? sized(lesion, 0.6, 1) : 0;
    const head: Vec3 = [-0.24 + 0.22 * out, -0.02 - 0.14 * out, -0.1 + 0.34 * out];
    const elbow: Vec3 = [-0.4 - away, 0, 1.7];
    const between = (t: number): Vec3 => [
      head[0] - 0.1 + t * (elbow[0] - head[0] + 0.1),
      head[1],
      head[2] + 0.1 + t * (elbow[2] - head[2]),
    ];

    for (const [tissue, inset] of [
      [FAT, 0],
      [MUSCLE, skin],
    ] as const) {
      p.block(tissue, [1.15, 0.02, 0.85], [1.1 - inset, 0.55 - inset, 1.25 - inset]);
      p.tube(
        tissue,
        [
          [1.35, 0.08, -2],
          [1.3, 0.06, -0.5],
        ],
        0.42 - inset,
      );
      p.tube(
        tissue,
        [
          [-0.1, 0.06, -0.26],
          [0.5, 0.08, -0.4],
          [1.3, 0.08, -0.8],
        ],
        [0.26 - inset, 0.26 - inset, 0.32 - inset],
      );
      p.ellipsoid(tissue, [-0.2, 0, -0.06], [0.42 - inset, 0.4 - inset, 0.45 - inset]);
      p.tube(tissue, [[-0.3, 0, 0], between(0.5), elbow], [0.36 - inset, 0.3 - inset, 0.26 - inset]);
    }
    p.tube(
      FAT,
      [
        [-0.02, 0, 0.42],
        [0.1, 0.05, 0.95],
      ],
      0.07,
      [MUSCLE],
    ); // armpit
    p.tube(
      FAT,
      [
        [-0.38, -0.1, -0.3],
        [-0.46, -0.1, 0.4],
      ],
      0.02,
      [MUSCLE],
    );

    // Chest wall.
    p.ellipsoid(LUNG, [1.02, 0.02, 0.95], [0.66, 0.4, 1.15]);
    for (let k = 0; k < 6; k++) {
      rib(
        p,
        { x: 1.05, y: 0.02, rx: 0.7 * Math.min(1, 0.62 + 0.14 * k), ry: 0.43, drop: 0.3, radius: 0.036 },
        -0.18 + 0.26 * k,
        -1,
        2.8,
      );
    }

    // Clavicle, scapula, humerus.
    const slope = r.uniform(-0.06, 0.06);
    bone(
      p,
      [
        [1.2, -0.32, -0.3],
        [0.6, -0.34, -0.4 + slope],
        [0.1, -0.12, -0.47],
        [-0.14, 0, -0.43],
      ],
      [0.07, 0.05, 0.05, 0.055],
      0.025,
    );
    p.plate(
      CORTEX,
      [
        [0.08, 0.12, 0.0],
        [0.42, 0.36, 0.72],
      ],
      [
        [0.36, 0.3, -0.3],
        [0.66, 0.38, 0.5],
      ],
      0.026,
    );
    bone(
      p,
      [
        [0.06, 0.1, 0.0],
        [0.42, 0.34, 0.74],
      ],
      [0.06, 0.035],
      0.02,
    );
    bone(
      p,
      [
        [-0.14, 0.02, -0.42],
        [0.05, 0.22, -0.34],
        [0.6, 0.36, -0.2],
      ],
      [0.062, 0.055, 0.04],
      0.025,
    );
    bone(
      p,
      [
        [0.08, 0, -0.16],
        [0.1, -0.18, -0.3],
        [0, -0.26, -0.24],
      ],
      [0.06, 0.05, 0.045],
      0.02,
    );
    p.ellipsoid(CORTEX, [0.02, 0.05, -0.07], [0.075, 0.12, 0.165]);
    p.ellipsoid(SPONGY, [0.05, 0.06, -0.07], [0.07, 0.1, 0.14]);
    p.ellipsoid(CARTILAGE, [-0.045, 0.03, -0.07], [0.04, 0.12, 0.16], 0, [FAT, MUSCLE, CORTEX]);
    p.tube(
      TENDON,
      [
        [0.35, 0.2, -0.34],
        [-0.02, 0.02, -0.34],
        [-0.3, 0, -0.3],
      ],
      0.05,
      [FAT, MUSCLE],
    );
    const ball = 0.205 * around(r, 0.06);
    const shaft = 0.1 * around(r, 0.1);
    const cortex = 0.04 * around(r, 0.2);
    const humerus: readonly Vec3[] = [between(0), between(0.25), elbow];
    p.ellipsoid(CARTILAGE, head, [ball + 0.02, ball + 0.02, ball + 0.02], 0, [FAT, MUSCLE, TENDON, CARTILAGE]);
    p.ellipsoid(CORTEX, head, [ball, ball, ball]);
    p.tube(CORTEX, humerus, [0.19, shaft, shaft]);
    p.ellipsoid(CORTEX, [head[0] - 0.14, head[1] - 0.03, head[2] - 0.04], [0.09, 0.1, 0.12]);
    p.ellipsoid(SPONGY, head, [ball - 0.022, ball - 0.022, ball - 0.022]);
    p.tube(SPONGY, humerus, [0.165, shaft - cortex, shaft - cortex]);
    p.tube(
      BLOOD,
      [
        [1.2, -0.05, -0.2],
        [0.5, -0.12, 0.05],
        [0.1, -0.05, 0.4],
        [-0.1 - 0.5 * away, 0.02, 1.5],
      ],
      0.045,
      [FAT, MUSCLE],
    );

    if (lesion.finding === "calcific-tendinitis") {
      const size = sized(lesion, 0.055, 0.1);
      const c: Vec3 = [head[0] - 0.05 + l.uniform(-0.08, 0.08), 0, head[2] - ball - 0.03];
      p.ellipsoid(CALCIUM, c, [2 * size, 1.3 * size, size], -0.25);
      p.ellipsoid(CALCIUM, [c[0] - 1.5 * size, c[1], c[2] + 0.9 * size], [size, size, 0.9 * size]);
    }
    if (lesion.finding === "osteolysis") {
      const size = sized(lesion, 0.13, 0.23);
      const c = between(0.08 + l.uniform(0, 0.08));
      p.ellipsoid(CORTEX, c, [1.12 * size + 0.02, 1.12 * size + 0.02, 1.35 * size], 0, [
        MUSCLE,
        FAT,
        SPONGY,
        CARTILAGE,
      ]);
      p.ellipsoid(MASS, c, [1.12 * size, 1.12 * size, 1.3 * size]);
    }
    return -0.02;
  },
};

export const KNEE: RegionPlan = {
  halfCm: 10,
  enlarge: 1,
  halfDepth: 0.84,
  paired: true,
  draw(p, r, lesion, build) {
    const stout = around(r, 0.07) + 0.1 * build.fat;
    const skin = 0.05 + 0.1 * build.fat;
    const bowed = r.uniform(-0.1, 0.1); // varus or valgus
    const outline = [
      { z: -1.7, x: bowed, y: 0.05, rx: 0.7 * stout, ry: 0.74 * stout },
      { z: -0.55, x: 0.4 * bowed, y: 0, rx: 0.56 * stout, ry: 0.6 },
      { z: 0, y: -0.02, rx: 0.52 * stout, ry: 0.58 },
      { z: 0.45, y: 0.02, rx: 0.47 * stout, ry: 0.52 },
      { z: 0.95, x: 0.2 * bowed, y: 0.08, rx: 0.52 * stout, ry: 0.58 },
      { z: 2, x: 0.6 * bowed, y: 0.05, rx: 0.45 * stout, ry: 0.5 },
    ];
    p.column(FAT, outline);
    p.column(MUSCLE, outline, skin);
    p.ellipsoid(FAT, [0, 0, 0], [0.5, 0.54, 0.42], 0, [MUSCLE]);
    for (const [x, y] of [
      [0.28, 0.2],
      [-0.3, 0.22],
      [0.34, -0.2],
      [-0.34, -0.18],
    ] as const) {
      p.tube(
        FAT,
        [
          [x, y, -1.6],
          [0.8 * x, y, -0.5],
        ],
        0.025,
        [MUSCLE],
      );
      p.tube(
        FAT,
        [
          [x, y, 0.5],
          [0.8 * x, y, 1.7],
        ],
        0.02,
        [MUSCLE],
      );
    }

    const l = lesion.random;
    const wet = lesion.finding === "joint-effusion" ? sized(lesion, 0.75, 1.25) : 0;
    if (wet > 0) {
      for (const s of [-1, 1]) {
        p.ellipsoid(FAT, [s * 0.4, -0.14, -0.24], [0.22 * wet, 0.34, 0.42 * wet], s * -0.15, [AIR, MUSCLE]);
        p.ellipsoid(FLUID, [s * 0.38, -0.14, -0.24], [0.17 * wet, 0.28, 0.36 * wet], s * -0.15);
      }
      p.ellipsoid(FLUID, [0, -0.4, -0.5], [0.34, 0.13 * wet, 0.32 * wet]);
    }

    // Femur, tibia, fibula, patella, and the joint between.
    const joint = around(r, 0.06);
    const femur = [
      { z: -1.7, x: bowed, rx: 0.15, ry: 0.15 },
      { z: -0.75, x: 0.4 * bowed, rx: 0.155, ry: 0.16 },
      { z: -0.42, rx: 0.26 * joint, ry: 0.23 },
      { z: -0.2, rx: 0.38 * joint, ry: 0.3 },
      { z: -0.1, rx: 0.39 * joint, ry: 0.3 },
    ];
    const tibia = [
      { z: 0.06, rx: 0.39 * joint, ry: 0.28 },
      { z: 0.2, rx: 0.36 * joint, ry: 0.27 },
      { z: 0.6, y: -0.04, rx: 0.19, ry: 0.2 },
      { z: 2, x: 0.5 * bowed, y: -0.04, rx: 0.16, ry: 0.17 },
    ];
    const cortex = 0.05 * around(r, 0.2);
    p.block(CARTILAGE, [0, 0.02, -0.005], [0.4 * joint, 0.3, 0.085]);
    p.column(CORTEX, femur, 0, 0.2);
    for (const s of [-1, 1]) p.ellipsoid(CORTEX, [s * 0.2 * joint, 0.06, -0.17], [0.185 * joint, 0.31, 0.15]);
    p.column(SPONGY, femur, cortex, 0.2);
    for (const s of [-1, 1]) p.ellipsoid(SPONGY, [s * 0.2 * joint, 0.06, -0.17], [0.155 * joint, 0.28, 0.12]);
    p.ellipsoid(FAT, [0, 0.2, -0.06], [0.07, 0.2, 0.13]);
    p.tube(
      TENDON,
      [
        [0.05, 0.2, -0.14],
        [-0.03, -0.06, 0.06],
      ],
      0.028,
    );
    p.column(CORTEX, tibia, 0, 0.2);
    p.column(SPONGY, tibia, cortex, 0.2);
    p.tube(
      CORTEX,
      [
        [-0.035, 0, 0.05],
        [0.035, 0, 0.05],
      ],
      0.035,
    );
    for (const s of [-1, 1])
      p.ellipsoid(TENDON, [s * 0.34 * joint, 0.02, 0.0], [0.09, 0.26, 0.045], 0, [CARTILAGE, FAT]);
    bone(
      p,
      [
        [-0.35, 0.2, 0.24],
        [-0.33, 0.18, 0.5],
        [-0.3, 0.16, 1.9],
      ],
      [0.1, 0.06, 0.06],
      0.028,
    );
    bone(
      p,
      [
        [-0.02, -0.42, -0.26],
        [-0.02, -0.42, -0.14],
      ],
      [0.15, 0.13],
      0.03,
    );
    p.tube(
      TENDON,
      [
        [0, -0.4, -1],
        [0, -0.44, -0.35],
      ],
      0.06,
      [FAT, MUSCLE],
    );
    p.tube(
      TENDON,
      [
        [0, -0.44, -0.05],
        [0, -0.34, 0.36],
      ],
      0.05,
      [FAT, MUSCLE],
    );
    p.tube(
      BLOOD,
      [
        [0.05, 0.3, -1.6],
        [0.03, 0.38, 0],
        [0.02, 0.3, 1.6],
      ],
      0.05,
    );

    if (lesion.finding === "osteosarcoma") {
      const size = sized(lesion, 0.24, 0.4);
      const c: Vec3 = [lesion.side * 0.2, l.uniform(-0.08, 0.08), -0.5 - l.uniform(0, 0.1)];
      p.ellipsoid(MASS, c, [size, size, 1.2 * size]);
      for (let k = 0; k < 16; k++) {
        const [a, b] = [l.uniform(0, 6.28), l.uniform(-0.8, 0.8)];
        const tip: Vec3 = [c[0] + 0.9 * size * cosine(a), c[1] + 0.8 * size * b, c[2] + 0.9 * size * sine(a)];
        p.tube(CALCIUM, [c, tip], [0.3 * size, 0.06 * size], [MASS, SPONGY, CORTEX]);
      }
    }
    if (lesion.finding === "loose-bodies") {
      const n = lesion.extent < 0.5 ? 5 : 8;
      for (let k = 0; k < n; k++) {
        const radius = sized(lesion, 0.05, 0.085) * l.uniform(0.8, 1.2);
        const s = k % 2 === 0 ? 1 : -1;
        p.ellipsoid(
          CALCIUM,
          [s * l.uniform(0.38, 0.46), l.uniform(-0.18, 0.12), l.uniform(-0.42, 0.12)],
          [radius, radius, 0.85 * radius],
        );
      }
    }
    return -0.06;
  },
};

export const HAND: RegionPlan = {
  halfCm: 10.5,
  enlarge: 1.04,
  halfDepth: 0.4,
  paired: true,
  draw(p, r, lesion, build) {
    const spread = r.uniform(0.6, 1.7);
    const long = around(r, 0.07);
    const skin = 0.022 + 0.02 * build.fat;
    const curl = r.uniform(-0.05, 0.12); // fingers bend towards the palm, −y
    const l = lesion.random;

    interface Ray {
      readonly joints: readonly Vec3[];
      readonly width: number;
    }
    const finger = (x: number, lean: number, length: number, width: number): Ray => {
      const [dx, dz] = [sine(lean), -cosine(lean)];
      const at = (t: number): Vec3 => [
        x * 0.55 + (x * 0.45 * Math.min(t, 0.4)) / 0.4 + dx * Math.max(0, t - 0.4),
        -curl * t * t,
        0.5 + dz * t,
      ];
      const root = 0.44; // length of the metacarpal
      return { joints: [0.03, root, root + 0.46 * length, root + 0.76 * length, root + length].map(at), width };
    };
    const rays: readonly Ray[] = [
      finger(-0.3, -0.13 * spread, 0.72 * long, 1),
      finger(-0.1, -0.03 * spread, 0.8 * long, 1.04),
      finger(0.1, 0.07 * spread, 0.74 * long, 0.98),
      finger(0.29, 0.18 * spread, 0.57 * long, 0.86),
      {
        joints: [
          [-0.2, -0.04, 0.5],
          [-0.36 - 0.05 * spread, -0.08, 0.24],
          [-0.47 - 0.1 * spread, -0.1, -0.02],
          [-0.52 - 0.13 * spread, -0.1, -0.2],
        ],
        width: 1.1,
      },
    ];

    // Soft tissue: fat, and muscle within it.
    for (const [tissue, inset] of [
      [FAT, 0],
      [MUSCLE, skin],
    ] as const) {
      p.column(
        tissue,
        [
          { z: 0.5, rx: 0.34, ry: 0.2 },
          { z: 0.72, rx: 0.3, ry: 0.19 },
          { z: 1.1, rx: 0.34, ry: 0.23 },
          { z: 2, rx: 0.45, ry: 0.3 },
        ],
        inset,
      );
      p.block(tissue, [0, -0.02, 0.3], [0.4 - inset, 0.17 - inset, 0.36 - inset]);
      p.tube(
        tissue,
        [
          [-0.2, -0.06, 0.5],
          [-0.3, -0.1, 0.26],
        ],
        0.16 - inset,
      );
      for (const { joints, width } of rays) p.tube(tissue, joints, 0.098 * width - inset, undefined, 0.95);
    }
    for (const { joints } of rays)
      p.tube(
        TENDON,
        joints.map(([x, y, z]): Vec3 => [x, y - 0.075, z]),
        0.022,
        [MUSCLE, FAT],
      );
    for (const x of [-0.1, 0, 0.1])
      p.tube(
        TENDON,
        [
          [x, -0.1, 0.3],
          [0.8 * x, -0.1, 1.9],
        ],
        0.035,
        [MUSCLE, FAT],
      );

    // Bones: each swells at both ends and leaves a gap of cartilage.
    const thick = 0.052 * around(r, 0.1);
    const broken = lesion.finding === "fracture" ? (lesion.extent < 0.5 ? [1 + l.int(2)] : [1, 2]) : [];
    rays.forEach(({ joints, width }, ray) => {
      for (let k = 0; k + 1 < joints.length; k++) {
        const [a, b] = [joints[k], joints[k + 1]];
        const along = (t: number): Vec3 => [
          a[0] + t * (b[0] - a[0]),
          a[1] + t * (b[1] - a[1]),
          a[2] + t * (b[2] - a[2]),
        ];
        const w = thick * width * (1 - 0.12 * k);
        p.tube(CARTILAGE, [along(0.02), along(0.98)], 0.75 * w);
        if (k === 0 && broken.includes(ray)) {
          // The far fragment slips sideways and turns.
          const slip = lesion.side * sized(lesion, 0.09, 0.13);
          const mid = along(0.5);
          p.ellipsoid(BLOOD, mid, [0.12, 0.12, 0.15], 0, [MUSCLE, FAT, TENDON, CARTILAGE]);
          bone(p, [along(0.08), along(0.2), along(0.44)], [1.15 * w, 0.8 * w, 0.8 * w], 0.022);
          const moved = (t: number, shift: number): Vec3 => [along(t)[0] + shift, along(t)[1], along(t)[2] + 0.02];
          bone(p, [moved(0.46, slip), moved(0.8, 0.45 * slip), moved(0.93, 0)], [0.8 * w, 0.8 * w, 1.2 * w], 0.022);
          continue;
        }
        bone(p, [along(0.09), along(0.3), along(0.7), along(0.91)], [1.2 * w, 0.78 * w, 0.78 * w, 1.15 * w], 0.022);
      }
    });
    const carpals: readonly (readonly [number, number, number])[] = [
      [-0.19, 0.57, 0.07],
      [-0.08, 0.56, 0.075],
      [0.05, 0.55, 0.085],
      [0.17, 0.57, 0.075],
      [-0.14, 0.7, 0.085],
      [0.0, 0.69, 0.08],
      [0.12, 0.69, 0.065],
    ];
    for (const [x, z, radius] of carpals) {
      const c: Vec3 = [x + r.uniform(-0.01, 0.01), 0.01, z];
      p.ellipsoid(CORTEX, c, [radius, 0.085, radius]);
      p.ellipsoid(SPONGY, c, [radius - 0.025, 0.06, radius - 0.025]);
    }
    bone(
      p,
      [
        [-0.1, 0.02, 0.87],
        [-0.12, 0.02, 1.02],
        [-0.13, 0.02, 1.9],
      ],
      [0.135, 0.1, 0.085],
      0.032,
    );
    bone(
      p,
      [
        [0.17, 0.04, 0.85],
        [0.17, 0.03, 1.0],
        [0.15, 0.02, 1.9],
      ],
      [0.085, 0.07, 0.07],
      0.028,
    );
    p.tube(
      BLOOD,
      [
        [-0.22, -0.1, 1.9],
        [-0.2, -0.11, 0.7],
      ],
      0.022,
      [FAT, MUSCLE],
    );

    if (lesion.finding === "ganglion") {
      const radius = sized(lesion, 0.13, 0.22);
      const c: Vec3 = [lesion.side * (0.3 + 0.4 * radius), 0.02, 0.52 + l.uniform(-0.06, 0.06)];
      p.ellipsoid(FAT, c, [radius + 0.03, radius + 0.03, radius + 0.03], 0, [AIR, MUSCLE]);
      p.ellipsoid(FLUID, c, [radius, radius, radius], 0, [AIR, FAT, MUSCLE, TENDON]);
    }
    if (lesion.finding === "enchondroma") {
      // It blows up a metacarpal from inside, and its cartilage calcifies in grains.
      const radius = sized(lesion, 0.1, 0.17);
      const [from, to] = rays[1 + l.int(2)].joints;
      const c: Vec3 = [0.45 * from[0] + 0.55 * to[0], 0.45 * from[1] + 0.55 * to[1], 0.45 * from[2] + 0.55 * to[2]];
      p.ellipsoid(FAT, c, [radius + 0.05, radius + 0.03, 1.3 * radius], 0, [AIR]);
      p.ellipsoid(CORTEX, c, [radius, 0.9 * radius, 1.3 * radius]);
      p.ellipsoid(MASS, c, [radius - 0.024, 0.9 * radius - 0.024, 1.3 * radius - 0.024]);
      for (let k = 0; k < 4; k++) {
        const [dx, dz] = [l.uniform(-0.5, 0.5) * radius, l.uniform(-0.6, 0.6) * radius];
        p.ellipsoid(CALCIUM, [c[0] + dx, c[1], c[2] + dz], [0.022, 0.022, 0.022]);
      }
    }
    return 0.0;
  },
};
