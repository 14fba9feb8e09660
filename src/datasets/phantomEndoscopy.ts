/** Endoscopy video: a camera with its own lamp moves through the patient's lumen. */
import type { Random } from "../random.js";
import type { Decoded } from "../types.js";
import { ALONG, AROUND, columnOf, LENGTH, type Lumen } from "./phantomLumen.js";
import { clamp, cosine, exponential, power, quantise, sine, smoothstep } from "./phantomMath.js";
import type { PictureSpec } from "./phantomView.js";

/** What one ray found. */
interface Hit {
  /** Way travelled, lumen units. */
  way: number;
  /** Cosine between the wall's normal and the ray: 1 is square on. */
  facing: number;
  red: number;
  green: number;
  blue: number;
  shine: number;
}

/**
 * An endoscopy video as its decoder would give it: uint8 RGB, `[3, depth, size, size]`, D the frames.
 *
 * Rays are marched to the wall; the lamp sits at the lens, so that light falls off with the way and the slant:
 *
 *     colour = albedo · (0.06 + 0.94 cos ι) / (1 + 0.4 way²) + gloss · cos⁴⁰ι / (1 + 0.3 way²)
 *     stored = 255 (1 − e^(−exposure · colour))^(1/γ)
 *
 * The camera advances, sways and rolls; the barrel vignettes the picture and its mask cuts the corners.
 */
export function simulateEndoscopy(lumen: Lumen, random: Random, spec: PictureSpec): Decoded {
  const { size, depth } = spec;
  const wide = random.uniform(0.95, 1.4); // tangent of half the field of view
  const roll = random.uniform(-0.35, 0.35);
  const brightness = random.uniform(0.75, 1.35);
  const gamma = random.uniform(0.9, 1.25);
  const balance = [random.uniform(0.92, 1.08), random.uniform(0.95, 1.05), random.uniform(0.85, 1.12)];
  const start = random.uniform(0.05, 0.35);
  const speed = (lumen.travel * random.uniform(0.7, 1.1)) / Math.max(1, depth - 1);
  const aim = [random.uniform(-0.22, 0.22), random.uniform(-0.22, 0.22)];
  const stand = [random.uniform(-0.2, 0.2), random.uniform(-0.2, 0.2)];
  const sway = [0, 1, 2, 3].map(() => random.uniform(0, 6.28));
  const corner = random.uniform(1.06, 1.32); // radius of the mask; 1.41 would leave the corners

  // Automatic exposure, from a coarse look along the axis.
  const hit: Hit = { way: 0, facing: 0, red: 0, green: 0, blue: 0, shine: 0 };
  const seen = new Float64Array(3);
  let light = 0;
  for (let k = 0; k < 144; k++) {
    const [dx, dy] = [wide * (((k % 12) + 0.5) / 6 - 1), wide * ((Math.floor(k / 12) + 0.5) / 6 - 1)];
    march(lumen, start + 0.5 * speed * depth, stand[0], stand[1], dx + aim[0], dy + aim[1], hit);
    shade(lumen, hit, seen);
    light += (seen[0] + seen[1] + seen[2]) / 432;
  }
  const exposure = (0.75 * brightness) / Math.max(light, 0.02);

  const pixels = new Float32Array(3 * depth * size * size);
  const plane = depth * size * size;
  for (let frame = 0; frame < depth; frame++) {
    const t = depth > 1 ? frame / (depth - 1) : 0;
    const s = start + speed * frame;
    const x = stand[0] + 0.08 * sine(4 * t + sway[0]);
    const y = stand[1] + 0.08 * sine(5 * t + sway[1]);
    const [ax, ay] = [aim[0] + 0.09 * sine(4 * t + sway[2]), aim[1] + 0.09 * sine(3 * t + sway[3])];
    const turn = roll + 0.12 * sine(2.5 * t + sway[0]);
    const [cos, sin] = [cosine(turn), sine(turn)];
    for (let h = 0; h < size; h++) {
      for (let w = 0; w < size; w++) {
        const u = (2 * (w + 0.5)) / size - 1;
        const v = (2 * (h + 0.5)) / size - 1;
        const off = u * u + v * v;
        const mask = 1 - smoothstep(corner - 0.05, corner + 0.03, Math.sqrt(off));
        if (mask === 0) continue;
        const dx = wide * (cos * u - sin * v) + ax;
        const dy = wide * (sin * u + cos * v) + ay;
        march(lumen, s, x, y, dx, dy, hit);
        shade(lumen, hit, seen);
        const vignette = mask * (1 - 0.28 * off);
        for (let c = 0; c < 3; c++) {
          const value = power(1 - exponential(-exposure * balance[c] * vignette * seen[c]), 1 / gamma);
          pixels[c * plane + (frame * size + h) * size + w] = quantise(255 * value + 1.6 * cheapNoise(random), 0, 255);
        }
      }
    }
  }
  return {
    pixels,
    shape: [3, depth, size, size],
    kind: "video",
    modality: "endoscopy",
    spacingMm: null,
    orientation: null,
    dtype: "uint8",
    warnings: [],
  };
}

/** The light that comes back from where the ray ended, per channel. */
function shade(lumen: Lumen, hit: Hit, seen: Float64Array): void {
  const light = (0.06 + 0.94 * hit.facing) / (1 + 0.4 * hit.way * hit.way);
  const f2 = hit.facing * hit.facing;
  const f8 = f2 * f2 * f2 * f2;
  const glint = (0.9 * lumen.gloss * hit.shine * f8 * f8 * f8 * f8 * f8) / (1 + 0.3 * hit.way * hit.way);
  const clear = exponential(-lumen.haze.density * hit.way);
  const veil = 0.42 * (1 - clear);
  seen[0] = clear * (hit.red * light + glint) + veil * lumen.haze.colour[0];
  seen[1] = clear * (hit.green * light + glint) + veil * lumen.haze.colour[1];
  seen[2] = clear * (hit.blue * light + glint) + veil * lumen.haze.colour[2];
}

/** Roughly normal, deviation 1: the four bytes of one draw, summed (a sensor's noise needs no tails). */
function cheapNoise(random: Random): number {
  const bits = random.next();
  const sum = (bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24);
  return (sum - 510) / 147.8;
}

/** Walks from (x, y, s) along (dx, dy, 1) until the wall, and describes what is there. */
function march(lumen: Lumen, s0: number, x: number, y: number, dx: number, dy: number, hit: Hit): void {
  const { radius, bend, fork, pool } = lumen;
  const perUnit = Math.sqrt(1 + dx * dx + dy * dy);
  const lateral = Math.sqrt(dx * dx + dy * dy);
  let along = 0.02;
  let px = x;
  let py = y;
  let branch = 0;
  let gap: number;
  let before = along;
  for (let step = 0; step < 48; step++) {
    px = x + dx * along - bend[0] * along * along;
    py = y + dy * along - bend[1] * along * along;
    const s = s0 + along;
    if (s >= LENGTH - 0.1) break;
    if (pool !== null && py > pool.level) {
      const depth = clamp((0.6 * (py - pool.level)) / 0.1, 0, 1);
      hit.way = along * perUnit;
      hit.facing = clamp(dy / perUnit, 0.05, 1);
      [hit.red, hit.green, hit.blue] = pool.colour;
      // The surface mirrors the lamp in ripples.
      hit.shine = 1.5 * smoothstep(0.7, 1, sine(9 * s + 4 * px)) * depth;
      return;
    }
    if (fork !== null && s > fork.from) {
      const centre = 0.42 + fork.spread * (s - fork.from);
      const side = px < 0 ? -1 : 1;
      const [cx, cy] = [px - side * centre, py];
      gap = fork.radius - Math.sqrt(cx * cx + cy * cy);
      if (branch === 0 && gap < 0 && along - before <= 0.01) {
        // Entered the fork outside both branches: this is the carina, or the rim around it.
        hit.way = along * perUnit;
        hit.facing = 0.9 / perUnit + 0.1;
        [hit.red, hit.green, hit.blue] = [0.97, 0.74, 0.64];
        hit.shine = 0.4;
        return;
      }
      if (gap >= 0) branch = side;
      [px, py] = [cx, cy];
    } else {
      gap = wallAt(radius, s, px, py) - Math.sqrt(px * px + py * py);
    }
    if (gap < 0 && step > 0 && along - before > 0.01) {
      // Overshot: halfway back, and look again.
      along = (along + before) / 2;
      continue;
    }
    if (gap < 0.012) break;
    before = along;
    along += clamp((0.72 * gap) / (lateral + 0.45), 0.012, 0.4);
  }
  describe(lumen, s0 + along, px, py, dx, dy, perUnit, branch, hit);
  hit.way = along * perUnit;
}

/** Colour and slant of the wall near (px, py, s). */
function describe(
  lumen: Lumen,
  s: number,
  px: number,
  py: number,
  dx: number,
  dy: number,
  perUnit: number,
  branch: number,
  hit: Hit,
): void {
  const { radius, colour } = lumen;
  const r = Math.sqrt(px * px + py * py) + 1e-6;
  const [ex, ey] = [px / r, py / r];
  // The inward normal of the surface ρ = R(θ, s): −e_r + (R_θ / R) e_θ + R_s e_s, from differences of the table.
  const h = 0.05;
  const here = wallAt(radius, s, px, py);
  const slopeS =
    branch === 0 ? clamp((wallAt(radius, s + h, px, py) - wallAt(radius, s - h, px, py)) / (2 * h), -6, 6) : 0;
  const [qx, qy] = [px - h * r * ey, py + h * r * ex];
  const [rx, ry] = [px + h * r * ey, py - h * r * ex];
  const slopeT =
    branch === 0 ? clamp((wallAt(radius, s, qx, qy) - wallAt(radius, s, rx, ry)) / (2 * h * here), -6, 6) : 0;
  const nx = -ex - slopeT * ey;
  const ny = -ey + slopeT * ex;
  const norm = Math.sqrt(nx * nx + ny * ny + slopeS * slopeS) * perUnit;
  hit.facing = clamp(-(nx * dx + ny * dy + slopeS) / norm, 0, 1);
  hit.shine = 1;

  const a = clamp((s * ALONG) / LENGTH - 0.5, 0, ALONG - 1.001);
  const [ia, ta] = [Math.floor(a), a - Math.floor(a)];
  const k = columnOf(px, py);
  const floor = Math.floor(k);
  const tk = k - floor;
  const k0 = (floor + AROUND) % AROUND;
  const k1 = (k0 + 1) % AROUND;
  const mix = (c: number): number => {
    const near = colour[3 * (ia * AROUND + k0) + c] * (1 - tk) + colour[3 * (ia * AROUND + k1) + c] * tk;
    const far = colour[3 * ((ia + 1) * AROUND + k0) + c] * (1 - tk) + colour[3 * ((ia + 1) * AROUND + k1) + c] * tk;
    return near + ta * (far - near);
  };
  hit.red = mix(0);
  hit.green = mix(1);
  hit.blue = mix(2);
}

/** The wall's distance from the axis in the direction of (x, y), between table entries. */
function wallAt(radius: Float32Array, s: number, x: number, y: number): number {
  const a = clamp((s * ALONG) / LENGTH - 0.5, 0, ALONG - 1.001);
  const ia = a | 0;
  const ta = a - ia;
  const k = columnOf(x, y);
  const floor = Math.floor(k);
  const tk = k - floor;
  const k0 = floor < 0 ? floor + AROUND : floor >= AROUND ? floor - AROUND : floor;
  const k1 = k0 + 1 === AROUND ? 0 : k0 + 1;
  const row = ia * AROUND;
  const near = radius[row + k0] + tk * (radius[row + k1] - radius[row + k0]);
  const next = radius[row + AROUND + k0] + tk * (radius[row + AROUND + k1] - radius[row + AROUND + k0]);
  return near + ta * (next - near);
}
