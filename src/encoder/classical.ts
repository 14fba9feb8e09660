/** Descriptors that learn nothing: histograms of oriented gradients, and of intensities. Baselines beside raw pixels. */
import type { Sample } from "../types.js";

export interface HogOptions {
  /** Bins of the half circle. */
  readonly orientations?: number;
  /** Side of a cell, in pixels. */
  readonly cell?: number;
  /** Cells along the side of a block. */
  readonly block?: number;
}

/** L2-Hys: length 1, nothing above 0.2, length 1 again (Lowe 2004, §6.1). */
function normaliseBlock(block: Float64Array): void {
  for (const limit of [0.2, Infinity]) {
    const norm = Math.sqrt(block.reduce((sum, x) => sum + x * x, 0) + 1e-10);
    block.forEach((x, i) => (block[i] = Math.min(limit, x / norm)));
  }
}

/**
 * Histograms of oriented gradients of one plane (Dalal & Triggs, CVPR 2005), as scikit-image's `hog` computes them: central
 * differences (0 at the border), unsigned directions in `orientations` bins without interpolation, mean magnitude by
 * cell, blocks of cells that overlap by all but one, each normalised by L2-Hys.
 *
 * @param plane [height, width]; what a last whole cell does not cover is left out
 * @returns     [blocksY, blocksX, block, block, orientations], flat; a plane that is the same everywhere gives zeros
 */
export function hog(
  plane: ArrayLike<number>,
  [height, width]: readonly [number, number],
  { orientations = 9, cell = 8, block = 2 }: HogOptions = {},
): Float64Array {
  const [rows, columns] = [Math.floor(height / cell), Math.floor(width / cell)];
  const cells = new Float64Array(rows * columns * orientations);
  for (let y = 0; y < rows * cell; y++) {
    for (let x = 0; x < columns * cell; x++) {
      const at = y * width + x;
      const dy = y > 0 && y < height - 1 ? plane[at + width] - plane[at - width] : 0;
      const dx = x > 0 && x < width - 1 ? plane[at + 1] - plane[at - 1] : 0;
      if (dx === 0 && dy === 0) continue; // a flat place adds nothing, and most of a picture's background is flat
      const degrees = (180 * Math.atan2(dy, dx)) / Math.PI;
      const half = ((degrees % 180) + 180) % 180;
      const bin = Math.min(orientations - 1, Math.floor((half * orientations) / 180));
      const home = (Math.floor(y / cell) * columns + Math.floor(x / cell)) * orientations;
      cells[home + bin] += Math.sqrt(dx * dx + dy * dy) / (cell * cell);
    }
  }
  const [blocksY, blocksX] = [Math.max(0, rows - block + 1), Math.max(0, columns - block + 1)];
  const size = block * block * orientations;
  const out = new Float64Array(blocksY * blocksX * size);
  for (let by = 0; by < blocksY; by++) {
    for (let bx = 0; bx < blocksX; bx++) {
      const one = out.subarray((by * blocksX + bx) * size, (by * blocksX + bx + 1) * size);
      for (let y = 0; y < block; y++) {
        const from = ((by + y) * columns + bx) * orientations;
        one.set(cells.subarray(from, from + block * orientations), y * block * orientations);
      }
      normaliseBlock(one);
    }
  }
  return out;
}

/** Mean over channels, slice by slice: [D][H · W]. */
function greyPlanes({ pixels, shape }: Sample): Float64Array[] {
  const [channels, depth, height, width] = shape;
  const size = height * width;
  return Array.from({ length: depth }, (_, z) => {
    const plane = new Float64Array(size);
    for (let c = 0; c < channels; c++) {
      const from = (c * depth + z) * size;
      for (let i = 0; i < size; i++) plane[i] += pixels[from + i] / channels;
    }
    return plane;
  });
}

/**
 * HOG of a sample: of the mean over channels; of a volume or video the mean over the HOGs of its slices or frames.
 * At 32 × 32 pixels and by default 3 × 3 blocks of 36 numbers: 324.
 */
export function hogVector(sample: Sample, options: HogOptions = {}): Float32Array {
  const planes = greyPlanes(sample);
  const [, , height, width] = sample.shape;
  const all = planes.map((plane) => hog(plane, [height, width], options));
  return Float32Array.from(all[0], (_, i) => all.reduce((sum, one) => sum + one[i], 0) / all.length);
}

/**
 * How often each intensity occurs: 32 equal bins over [0, 1] for each channel, all slices or frames together, shares of 1,
 * and their square roots, so that a dot product is the Bhattacharyya coefficient of two histograms. It knows nothing of
 * places: where it retrieves well, exposure or background tells the classes.
 *
 * @returns [channels · bins]
 */
export function histogramVector({ pixels, shape }: Sample, bins = 32): Float32Array {
  const [channels] = shape;
  const size = pixels.length / channels;
  const counts = new Float64Array(channels * bins);
  for (let i = 0; i < pixels.length; i++) {
    const bin = Math.min(bins - 1, Math.max(0, Math.floor(pixels[i] * bins)));
    counts[Math.floor(i / size) * bins + bin]++;
  }
  return Float32Array.from(counts, (count) => Math.sqrt(count / size / channels));
}
