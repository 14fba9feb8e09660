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
