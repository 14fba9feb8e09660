/** Fixed 3D sine-cosine positions: any grid has one, none has parameters. */
import type { Shape3 } from "../types.js";

/** `count` positions in `size` numbers (even): half sines, half cosines, wavelengths from 2π to 10000 · 2π. */
function axisCode(count: number, size: number): Float32Array {
  const half = size / 2;
  const code = new Float32Array(count * size);
  for (let position = 0; position < count; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position / Math.pow(10000, i / half);
      code[position * size + i] = Math.sin(angle);
      code[position * size + half + i] = Math.cos(angle);
    }
  }
  return code;
}

/**
 * Sine-cosine codes of a grid of patches (Vaswani et al. 2017, §3.5, once per axis, side by side).
 *
 *     code(z, y, x) = [ sin(z ω) cos(z ω) | sin(y ω) cos(y ω) | sin(x ω) cos(x ω) ],   ω_i = 10000^(−i / half)
 *
 * H and W get 2 ⌊width/6⌋ numbers each and D the rest, so that `width` need only be even. An image is one layer of the
 * grid: its codes equal those of a volume's first layer.
 *
 * @param grid  [D/pd, H/ph, W/pw]
 * @param width even, at least 6
 * @returns     [n, width], tokens in D, H, W raster order; the first token is sin 0 = 0 and cos 0 = 1 throughout
 */
export function sineCosine3d(grid: Shape3, width: number): Float32Array {
  if (width % 2 !== 0 || width < 6) throw new Error(`width ${width} has no 3D code; expected an even number from 6 on`);
  const inPlane = 2 * Math.floor(width / 6);
  const sizes = [width - 2 * inPlane, inPlane, inPlane];
  const codes = grid.map((count, axis) => axisCode(count, sizes[axis]));
  const [gd, gh, gw] = grid;
  const out = new Float32Array(gd * gh * gw * width);
  let at = 0;
  for (let z = 0; z < gd; z++) {
    for (let y = 0; y < gh; y++) {
      for (let x = 0; x < gw; x++) {
        [z, y, x].forEach((position, axis) => {
          const size = sizes[axis];
          out.set(codes[axis].subarray(position * size, (position + 1) * size), at);
          at += size;
        });
      }
    }
  }
  return out;
}

/** Keys' cubic kernel (1981) with a = −1/2: 1 at 0, 0 at 1 and from 2 on. */
function cubic(x: number): number {
  const t = Math.abs(x);
  if (t < 1) return 1.5 * t ** 3 - 2.5 * t ** 2 + 1;
  return t < 2 ? -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2 : 0;
}

/** [to, from]: cubic resampling along one axis, wider where it shrinks (antialiased), edges cut off; rows sum to 1. */
function cubicWeights(from: number, to: number): Float64Array {
  const scale = Math.max(1, from / to);
  const weights = new Float64Array(to * from);
  for (let i = 0; i < to; i++) {
    const centre = ((i + 0.5) * from) / to;
    const row = weights.subarray(i * from, (i + 1) * from);
    for (let j = 0; j < from; j++) row[j] = cubic((j + 0.5 - centre) / scale);
    const total = row.reduce((sum, x) => sum + x, 0);
    for (let j = 0; j < from; j++) row[j] /= total;
  }
  return weights;
}

/**
 * Learned positions for another grid than they were learned for: bicubic, antialiased, as timm resamples them. The same
 * grid gives the same positions.
 *
 * @param learned [rows · columns, width]
 * @param to      [rows, columns] wanted
 */
export function resamplePositions(
  learned: Float32Array,
  from: readonly [number, number],
  to: readonly [number, number],
  width: number,
): Float32Array {
  if (from[0] === to[0] && from[1] === to[1]) return learned;
  const [down, across] = [cubicWeights(from[0], to[0]), cubicWeights(from[1], to[1])];
  const out = new Float32Array(to[0] * to[1] * width);
  for (let y = 0; y < to[0]; y++) {
    for (let x = 0; x < to[1]; x++) {
      const sums = new Float64Array(width);
      for (let i = 0; i < from[0]; i++) {
        for (let j = 0; j < from[1]; j++) {
          const weight = down[y * from[0] + i] * across[x * from[1] + j];
          if (weight === 0) continue;
          for (let t = 0; t < width; t++) sums[t] += weight * learned[(i * from[1] + j) * width + t];
        }
      }
      out.set(sums, (y * to[1] + x) * width);
    }
  }
  return out;
}
