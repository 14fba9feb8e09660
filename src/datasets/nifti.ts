/** NIfTI-1, NIfTI-2 and Analyze 7.5 volumes (`.nii`, `.hdr` with `.img`, each gzipped or not), turned to RAS. */
import { InputError, type Decoded, type Shape3 } from "../types.js";
import { MAX_BYTES, unpackedHead, unpackedRange } from "./niftiBytes.js";
import { hasHeader, parseHeader, type VolumeHeader } from "./niftiHeader.js";
import { hasMat, headerBeside, voxelsBeside } from "./niftiPair.js";
import { closestAxes, type AxisDirection } from "./orientation.js";
import { BYTES_PER_SAMPLE, samplesFrom, type SampleType } from "./samples.js";
import { contentOf, wrongContent } from "./sniff.js";

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
 * is nibabel's `data[w, h, d]`. A pair is read by the name of either file; header extensions are skipped.
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
  const header = parseHeader(head, headerPath);
  const warnings = [...header.warnings];
  if (header.format === "Analyze" && hasMat(headerPath)) {
    warnings.push("the .mat file beside it was not read: SPM keeps an affine there that would turn the volume");
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
    pixels: gather(samples, layout, perVoxel, header.scaling ?? [1, 0]),
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
function beyondFloat32(samples: ArrayLike<number>, dtype: SampleType): number {
  if (!/^u?int(32|64)$/.test(dtype)) return 0;
  let count = 0;
  for (let i = 0; i < samples.length; i++) if (Math.fround(samples[i]) !== samples[i]) count++;
  return count;
}

/** How to walk the stored array so that it comes out in `[D, H, W]` order. */
interface Layout {
  readonly shape: Shape3;
  /** For D, H, W: which stored axis (0 = i, 1 = j, 2 = k). */
  readonly axes: Shape3;
  /** For D, H, W: the step in voxels of the stored array, negative where flipped. */
  readonly steps: Shape3;
  readonly start: number;
}

/** Of three things that belong to i, j and k, those of D, H and W. */
const along = ({ axes: [d, h, w] }: Pick<Layout, "axes">, ijk: readonly number[]): Shape3 => [ijk[d], ijk[h], ijk[w]];

function canonicalLayout(extents: Shape3, directions: readonly AxisDirection[] | null): Layout {
  const strides = [1, extents[0], extents[0] * extents[1]];
  const found = directions ?? ([0, 1, 2] as const).map((world): AxisDirection => ({ world, sign: 1 }));
  const stored = (world: number): number => found.findIndex((direction) => direction.world === world);
  const axes: Shape3 = [stored(2), stored(1), stored(0)];
  const steps = found.map(({ sign }, axis) => sign * strides[axis]);
  const start = found.reduce((at, { sign }, axis) => at + (sign < 0 ? (extents[axis] - 1) * strides[axis] : 0), 0);
  return { shape: along({ axes }, extents), axes, steps: along({ axes }, steps), start };
}

function gather(
  samples: ArrayLike<number>,
  layout: Layout,
  perVoxel: 1 | 3 | 4,
  [slope, intercept]: readonly [number, number],
): Float32Array {
  const [depth, height, width] = layout.shape;
  const [stepD, stepH, stepW] = layout.steps;
  const channels = perVoxel === 1 ? 1 : 3;
  const pixels = new Float32Array(channels * depth * height * width);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let d = 0; d < depth; d++) {
      for (let h = 0; h < height; h++) {
        let from = (layout.start + d * stepD + h * stepH) * perVoxel + c;
        for (let w = 0; w < width; w++) {
          pixels[at++] = samples[from] * slope + intercept;
          from += stepW * perVoxel;
        }
      }
    }
  }
  return pixels;
}
