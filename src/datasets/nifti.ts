/** NIfTI-1, NIfTI-2 and Analyze 7.5 volumes (`.nii`, `.hdr` with `.img`, each gzipped or not), turned to RAS. */
import { pixelMemory } from "./pixelMemory.js";
import { InputError, type Decoded, type Shape3 } from "../types.js";
import { MAX_BYTES, unpackedHead, unpackedRange } from "./niftiBytes.js";
import { hasHeader, parseHeader, withAxes, type VolumeHeader } from "./niftiHeader.js";
import { headerBeside, voxelsBeside } from "./niftiPair.js";
import { closestAxes, type AxisDirection } from "./orientation.js";
import { BYTES_PER_SAMPLE, samplesFrom, type Samples, type SampleType } from "./samples.js";
import { contentOf, wrongContent } from "./sniff.js";
import { spmAxes } from "./spmMat.js";

export interface NiftiOptions {
  /** Which volume of a file with more than three dimensions, from 0: for 4D the time point; the fourth axis counts fastest. */
  readonly volume?: number;
  /** What a gzip file may expand to, and the numbers of one volume may take in memory; 4 GiB where it is left out. */
  readonly maxBytes?: number;
}

/**
 * Reads a NIfTI or Analyze file: voxel = stored × slope + intercept (see `VolumeHeader`), then axes are permuted and
 * flipped, without resampling, to the closest RAS orientation, as nibabel's `as_closest_canonical` does. With that array's
 * axes (i, j, k) = (left→right, posterior→anterior, inferior→superior), ours are W = i, H = j, D = k: `pixels[0, d, h, w]`
 * is nibabel's `data[w, h, d]`. A pair is read by the name of either file, with the affine in SPM's
 * `.mat` file where there is one; header extensions are skipped.
 *
 * Of a file with more than three dimensions one volume becomes the sample: the first, or `volume`. A 5D vector file is
 * read one component at a time, so the components are not taken for channels.
 *
 * @returns `[1 or 3, D, H, W]`; a stored 10 with slope 2 and intercept −3 is 17
 * @throws  `InputError`, one line, for anything that is not a whole NIfTI or Analyze image of real numbers or colours
 */
export async function readNifti(path: string, options: NiftiOptions = {}): Promise<Decoded> {
  const maxBytes = options.maxBytes ?? MAX_BYTES;
  const { headerPath, head } = await headerOf(path);
  const stated = parseHeader(head, headerPath);
  const mat = stated.format === "Analyze" ? spmAxes(headerPath) : null;
  const header = mat === null || typeof mat === "string" ? stated : withAxes(stated, mat);
  const warnings = [...header.warnings];
  if (typeof mat === "string") {
    warnings.push(
      `the .mat file beside it, in which SPM keeps an affine that may turn the volume, was not used: ${mat}`,
    );
  }
  const voxelPath = header.paired ? voxelsBeside(headerPath, header.format) : headerPath;

  const volume = volumeOf(header, options.volume, path, warnings);
  const { dtype, perVoxel } = header.datatype;
  const [ni, nj, nk] = header.extents;
  const numbers = ni * nj * nk * perVoxel;
  const length = numbers * BYTES_PER_SAMPLE[dtype];
  const needed = Math.max(length, 4 * numbers); // as stored, and as float32
  if (!(needed <= maxBytes)) {
    const size = `${[ni, nj, nk].join("×")} takes ${needed} bytes`;
    throw new InputError(`${path}: one volume of ${size}, above the limit of ${maxBytes} (option maxBytes)`);
  }
  const stored = await unpackedRange(voxelPath, header.offset + volume * length, length, maxBytes);
  if (stored.length < length) {
    const found = `expected ${length} bytes of voxels, got ${stored.length}`;
    throw new InputError(`${voxelPath}: truncated ${header.format} file: ${found}`);
  }
  const samples = samplesFrom(stored, dtype, numbers, header.littleEndian);
  if (perVoxel === 4) warnings.push("the alpha channel was dropped");
  const rounded = beyondFloat32(samples, dtype);
  if (rounded > 0) warnings.push(`${rounded} values of ${dtype} were rounded to float32 (24 bits)`);

  const directions = closestAxes(header.axes);
  if (directions === null) warnings.push("the affine is singular: axes are as stored, orientation unknown");
  const layout = canonicalLayout([ni, nj, nk], directions);
  const [d, h, w] = layout.shape;
  return {
    pixels: gather(samples, layout, [ni, nj, nk], perVoxel, header.scaling),
    shape: [perVoxel === 1 ? 1 : 3, d, h, w],
    kind: d > 1 ? "volume" : "image",
    modality: null,
    spacingMm: header.sizesMm && along(layout, header.sizesMm),
    orientation: directions === null ? null : "RAS",
    dtype,
    warnings,
  };
}

/** Whether `readNifti` is the reader for a file: by its content, or for the voxels of a pair by the header beside them. */
export async function isNiftiFile(path: string, head?: Uint8Array): Promise<boolean> {
  return headerBeside(path) !== null || hasHeader(await unpackedHead(path, head));
}

async function headerOf(path: string): Promise<{ headerPath: string; head: Uint8Array }> {
  const headerPath = headerBeside(path) ?? path;
  const head = await unpackedHead(headerPath);
  if (!hasHeader(head)) throw wrongContent(headerPath, "a NIfTI or Analyze file", contentOf(head).what);
  return { headerPath, head };
}

/** The place of the wanted volume among those after the third dimension. */
function volumeOf({ extents }: VolumeHeader, wanted: number | undefined, path: string, warnings: string[]): number {
  const volumes = extents.slice(3).reduce((product, extent) => product * extent, 1);
  const file = `${extents.length}D file of ${extents.join("×")}`;
  if (wanted === undefined) {
    if (volumes > 1)
      warnings.push(`${file}: the first of ${volumes} volumes was read (option volume: 0 to ${volumes - 1})`);
    return 0;
  }
  if (Number.isSafeInteger(wanted) && wanted >= 0 && wanted < volumes) return wanted;
  throw new InputError(`${path}: expected a volume from 0 to ${volumes - 1} of this ${file}, got ${wanted}`);
}

/** How many integers float32 cannot hold: 16,777,217 is the first. */
function beyondFloat32(samples: Samples, dtype: SampleType): number {
  if (!/^u?int(32|64)$/.test(dtype)) return 0;
  let count = 0;
  for (let i = 0; i < samples.length; i++) if (Math.fround(samples[i]) !== samples[i]) count++;
  return count;
}

type Scaling = NonNullable<VolumeHeader["scaling"]>;

/** Where a stored voxel goes in the array of `[D, H, W]`. */
interface Layout {
  readonly shape: Shape3;
  /** For D, H, W: which stored axis (0 = i, 1 = j, 2 = k). */
  readonly axes: Shape3;
  /** For i, j, k: the step in voxels of the new array, negative where flipped. */
  readonly steps: Shape3;
  /** The place of the first stored voxel. */
  readonly start: number;
}

/** Of three things that belong to i, j and k, those of D, H and W. */
const along = ({ axes: [d, h, w] }: Pick<Layout, "axes">, ijk: readonly number[]): Shape3 => [ijk[d], ijk[h], ijk[w]];

function canonicalLayout(extents: Shape3, directions: readonly AxisDirection[] | null): Layout {
  const found = directions ?? ([0, 1, 2] as const).map((world): AxisDirection => ({ world, sign: 1 }));
  const stored = (world: number): number => found.findIndex((direction) => direction.world === world);
  const axes: Shape3 = [stored(2), stored(1), stored(0)];
  const shape = along({ axes }, extents);
  const strides = [1, shape[2], shape[2] * shape[1]]; // of worlds x, y and z, which become W, H and D
  const [i, j, k] = found.map(({ world, sign }) => sign * strides[world]);
  const start = [i, j, k].reduce((at, step, axis) => at + (step < 0 ? -step * (extents[axis] - 1) : 0), 0);
  return { shape, axes, steps: [i, j, k], start };
}

/** Planes that are turned together: where k becomes W, a row of so many is one line of the cache. */
const PLANES = 16;
/** About so many numbers are turned together, 1 MB: they stay in the cache. */
const MOST = 2 ** 17;
/** Numbers between planes, so that they do not all fall on the same lines of the cache. */
const GAP = 24;

/**
 * The voxels in their new order, scaled. The engine's own copy turns stored planes (i, j) into floats: a loop over every
 * type of array that there is runs ten times slower than one over floats only.
 */
function gather(
  samples: Samples,
  { shape, steps, start }: Layout,
  [ni, nj, nk]: Shape3,
  perVoxel: 1 | 3 | 4,
  scaling: Scaling | null,
): Float32Array {
  const channels = perVoxel === 1 ? 1 : 3;
  const size = shape[0] * shape[1] * shape[2];
  const pixels = pixelMemory(channels * size);
  const plane = ni * nj * perVoxel;
  const planeOf = (k: number) => samples.subarray(k * plane, (k + 1) * plane);
  if (channels === 1 && scaling === null && Math.abs(steps[0]) === 1 && Math.abs(steps[1]) === ni) {
    const lowest = start + Math.min(0, steps[0] * (ni - 1)) + Math.min(0, steps[1] * (nj - 1));
    for (let k = 0; k < nk; k++) {
      const first = lowest + k * steps[2];
      pixels.set(planeOf(k), first);
      if (steps[1] < 0) pixels.subarray(first, first + plane).reverse(); // turns the rows as well
      if (steps[0] < 0 !== steps[1] < 0) reverseRows(pixels, first, ni, nj);
    }
    return pixels;
  }
  const planes = Math.min(PLANES, nk);
  const rows = Math.min(nj, Math.ceil(MOST / (planes * ni * perVoxel)));
  const part = rows * ni * perVoxel;
  const floats = new Float64Array(planes * (part + GAP));
  for (let k = 0; k < nk; k += planes) {
    for (let j = 0; j < nj; j += rows) {
      const [countJ, countK] = [Math.min(rows, nj - j), Math.min(planes, nk - k)];
      for (let i = 0; i < countK; i++) {
        const first = (k + i) * plane + j * ni * perVoxel;
        floats.set(samples.subarray(first, first + countJ * ni * perVoxel), i * (part + GAP));
      }
      const walks = [
        { count: ni, from: perVoxel, to: steps[0] },
        { count: countJ, from: ni * perVoxel, to: steps[1] },
        { count: countK, from: part + GAP, to: steps[2] },
      ].sort((a, b) => Math.abs(b.to) - Math.abs(a.to));
      for (let c = 0; c < channels; c++) {
        const to = c * size + start + j * steps[1] + k * steps[2];
        scatter(floats.subarray(c), pixels, to, walks, scaling ?? [1, 0]);
      }
    }
  }
  return pixels;
}

function reverseRows(pixels: Float32Array, first: number, width: number, rows: number): void {
  for (let row = 0, begin = first; row < rows; row++, begin += width) {
    for (let low = begin, high = begin + width - 1; low < high; low++, high--) {
      const value = pixels[low];
      pixels[low] = pixels[high];
      pixels[high] = value;
    }
  }
}

/** An axis: how many steps are made along it, and how long one is in the array that is read and in the one that is written. */
interface Walk {
  readonly count: number;
  readonly from: number;
  readonly to: number;
}

/** Values from the start of `values` to places from `start` on, scaled; the last axis moves fastest. */
function scatter(
  values: Float64Array,
  pixels: Float32Array,
  start: number,
  [x, y, z]: readonly Walk[],
  [slope, intercept]: Scaling,
): void {
  for (let i = 0; i < x.count; i++) {
    for (let j = 0; j < y.count; j++) {
      let from = i * x.from + j * y.from;
      let to = start + i * x.to + j * y.to;
      for (let k = 0; k < z.count; k++, from += z.from, to += z.to) pixels[to] = values[from] * slope + intercept;
    }
  }
}
