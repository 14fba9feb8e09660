/** NIfTI-1 and NIfTI-2 volumes (`.nii`, `.nii.gz`), turned to the RAS orientation. */
import { gunzipSync } from "node:zlib";
import { readHeader, type NIFTI1, type NIFTI2 } from "nifti-reader-js";
import { readBytes } from "../files.js";
import { InputError, type Decoded, type Shape3 } from "../types.js";
import { closestAxes, lengthOf, type AxisDirection, type Vector } from "./orientation.js";
import { BYTES_PER_SAMPLE, samplesFrom, type SampleType } from "./samples.js";
import { contentOf, wrongContent } from "./sniff.js";

type Header = NIFTI1 | NIFTI2;

/** nifti1.h, `datatype` codes: name, type of one number, and how many numbers make a voxel. */
const DATATYPES: Readonly<Record<number, readonly [dtype: string, type: SampleType, perVoxel: 1 | 3 | 4]>> = {
  2: ["uint8", "uint8", 1],
  4: ["int16", "int16", 1],
  8: ["int32", "int32", 1],
  16: ["float32", "float32", 1],
  64: ["float64", "float64", 1],
  128: ["uint8", "uint8", 3], // RGB24
  256: ["int8", "int8", 1],
  512: ["uint16", "uint16", 1],
  768: ["uint32", "uint32", 1],
  1024: ["int64", "int64", 1],
  1280: ["uint64", "uint64", 1],
  2304: ["uint8", "uint8", 4], // RGBA32
};

const REFUSED: Readonly<Record<number, string>> = {
  1: "binary",
  32: "complex64",
  1536: "float128",
  1792: "complex128",
  2048: "complex256",
};

/** xyzt_units & 7: metres, millimetres, micrometres; 0 is unknown and taken for millimetres, as everybody does. */
const MM_PER_UNIT: Readonly<Record<number, number>> = { 0: 1, 1: 1000, 2: 1, 3: 0.001 };

/**
 * Reads a NIfTI file: voxel = stored × scl_slope + scl_inter (a slope of 0 or NaN means no scaling; RGB is never scaled),
 * then axes are permuted and flipped, without resampling, to the closest RAS orientation, as nibabel's
 * `as_closest_canonical` does. With that array's axes (i, j, k) = (left→right, posterior→anterior, inferior→superior), ours
 * are W = i, H = j, D = k: `pixels[0, d, h, w]` is nibabel's `data[w, h, d]`. Of a 4D file the first volume is read.
 *
 * The affine is the sform where its code is above 0, else the qform, else none: then the array stays as stored.
 *
 * @returns `[1 or 3, D, H, W]`; a stored 10 with slope 2 and intercept −3 is 17
 * @throws  `InputError`, one line, for anything that is not a whole single-file NIfTI image of real numbers
 */
export async function readNifti(path: string): Promise<Decoded> {
  return decodeNifti(gunzipped(readBytes(path), path), path);
}

/** The bytes themselves, or what a gzip file holds. */
export function gunzipped(bytes: Uint8Array, path: string): Uint8Array {
  if (contentOf(bytes).format !== "gzip") return bytes;
  try {
    return gunzipSync(bytes);
  } catch (error) {
    const reason =
      (error as Error).message === "unexpected end of file" ? "it ends too early" : (error as Error).message;
    throw new InputError(`${path}: damaged or truncated gzip file: ${reason}`);
  }
}

/** `readNifti` for unzipped bytes in memory; `path` is for messages only. */
export function decodeNifti(bytes: Uint8Array, path: string): Decoded {
  const { format, what } = contentOf(bytes);
  if (format !== "nifti") throw wrongContent(path, "a NIfTI file", what);
  const header = parseHeader(bytes, path);
  const warnings: string[] = [];

  const extents = extentsOf(header, path);
  const volumes = extents.slice(3).reduce((product, extent) => product * extent, 1);
  if (volumes > 1) {
    const sizes = extents.join("×");
    warnings.push(`${extents.length}D file of ${sizes}: the first of ${volumes} volumes was read`);
  }
  const [ni, nj, nk] = extents;
  const voxels = ni * nj * nk;

  const datatype = DATATYPES[header.datatypeCode];
  if (datatype === undefined) {
    const name = REFUSED[header.datatypeCode] ?? "unknown";
    throw new InputError(
      `${path}: NIfTI datatype ${header.datatypeCode} (${name}) is not supported; expected real numbers or RGB`,
    );
  }
  const [dtype, type, perVoxel] = datatype;
  const stored = voxelBytes(bytes, header, voxels * volumes * perVoxel * BYTES_PER_SAMPLE[type], path);
  const samples = samplesFrom(stored, type, voxels * perVoxel, header.littleEndian);
  if (perVoxel === 4) warnings.push("the alpha channel was dropped");

  const affine = affineOf(bytes, header);
  if (affine === null)
    warnings.push("no affine (sform and qform codes are 0): axes are as stored, orientation unknown");
  const directions = affine === null ? null : closestAxes(affine);
  if (affine !== null && directions === null) {
    warnings.push("the affine is singular: axes are as stored, orientation unknown");
  }
  const layout = canonicalLayout([ni, nj, nk], directions);
  const scale = perVoxel === 1 ? scalingOf(header, warnings) : null;
  const pixels = gather(samples, layout, perVoxel, scale);

  const [d, h, w] = layout.shape;
  return {
    pixels,
    shape: [perVoxel === 1 ? 1 : 3, d, h, w],
    kind: d > 1 ? "volume" : "image",
    modality: null,
    spacingMm: spacingOf(header, directions === null ? null : affine, layout, warnings),
    orientation: directions === null ? null : "RAS",
    dtype,
    warnings,
  };
}

function parseHeader(bytes: Uint8Array, path: string): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 4);
  const size = view.getInt32(0, true) === 348 || view.getInt32(0, false) === 348 ? 348 : 540;
  if (bytes.length < size) {
    throw new InputError(`${path}: truncated NIfTI file: its header needs ${size} bytes, got ${bytes.length}`);
  }
  // The header alone: extensions after it hold nothing we need, and a broken one must not stop us.
  const header = readHeader(new Uint8Array(bytes.subarray(0, size)).buffer, true);
  if (/^ni/.test(header.magic)) {
    throw new InputError(
      `${path}: expected a single-file NIfTI (.nii), got the header of a .hdr/.img pair without voxels`,
    );
  }
  return header;
}

/** dim[1 … dim[0]], at least three of them. */
function extentsOf(header: Header, path: string): number[] {
  const rank = header.dims[0];
  if (!(rank >= 1 && rank <= 7)) throw new InputError(`${path}: NIfTI dim[0] is ${rank}; expected 1 to 7`);
  const extents = header.dims.slice(1, 1 + rank);
  const wrong = extents.find((extent) => !(Number.isSafeInteger(extent) && extent >= 1));
  if (wrong !== undefined) {
    throw new InputError(`${path}: NIfTI dimensions are ${extents.join("×")}; expected every one to be at least 1`);
  }
  while (extents.length < 3) extents.push(1);
  return extents;
}

function voxelBytes(bytes: Uint8Array, header: Header, needed: number, path: string): Uint8Array {
  const firstPossible = header.magic.startsWith("n+2") ? 544 : 352;
  const offset = Math.max(firstPossible, Math.trunc(header.vox_offset) || 0);
  const available = Math.max(0, bytes.length - offset);
  if (available < needed) {
    throw new InputError(`${path}: truncated NIfTI file: expected ${needed} bytes of voxels, got ${available}`);
  }
  return bytes.subarray(offset, offset + needed);
}

/** The columns for i, j, k of the affine in use, or null where the file gives none. */
function affineOf(bytes: Uint8Array, header: Header): [Vector, Vector, Vector] | null {
  if (header.sform_code > 0) {
    // Read here: the library overwrites a NIfTI-1 sform by the qform when the latter has the higher code.
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const little = header.littleEndian;
    const second = header.magic.startsWith("n+2");
    const cell = (row: number, column: number): number =>
      second
        ? view.getFloat64(400 + 8 * (4 * row + column), little)
        : view.getFloat32(280 + 4 * (4 * row + column), little);
    const column = (c: number): Vector => [cell(0, c), cell(1, c), cell(2, c)];
    return [column(0), column(1), column(2)];
  }
  if (header.qform_code > 0) {
    const rows = header.getQformMat();
    const column = (c: number): Vector => [rows[0][c], rows[1][c], rows[2][c]];
    return [column(0), column(1), column(2)];
  }
  return null;
}

/** Slope and intercept, or null for none: slope 0 or not finite in a header means no scaling. */
function scalingOf(header: Header, warnings: string[]): readonly [slope: number, intercept: number] | null {
  const { scl_slope: slope, scl_inter: intercept } = header;
  if (slope === 0 || !Number.isFinite(slope)) return null;
  if (!Number.isFinite(intercept)) {
    warnings.push(`scl_inter is ${intercept}: 0 was used`);
    return [slope, 0];
  }
  return slope === 1 && intercept === 0 ? null : [slope, intercept];
}

/** How to walk the stored array so that it comes out in `[D, H, W]` order. */
interface Layout {
  readonly shape: Shape3;
  /** For D, H, W: which stored axis (0 = i, 1 = j, 2 = k). */
  readonly axes: readonly [number, number, number];
  /** For D, H, W: the step in voxels of the stored array, negative where flipped. */
  readonly steps: Shape3;
  readonly start: number;
}

function canonicalLayout(extents: Shape3, directions: readonly AxisDirection[] | null): Layout {
  const strides = [1, extents[0], extents[0] * extents[1]];
  const found = directions ?? ([0, 1, 2] as const).map((world): AxisDirection => ({ world, sign: 1 }));
  const stored = (world: number): number => found.findIndex((direction) => direction.world === world);
  const axes = [stored(2), stored(1), stored(0)] as const;
  const step = (axis: number): number => found[axis].sign * strides[axis];
  const start = axes.reduce((at, axis) => at + (found[axis].sign < 0 ? (extents[axis] - 1) * strides[axis] : 0), 0);
  return {
    shape: [extents[axes[0]], extents[axes[1]], extents[axes[2]]],
    axes,
    steps: [step(axes[0]), step(axes[1]), step(axes[2])],
    start,
  };
}

function gather(
  samples: ArrayLike<number>,
  layout: Layout,
  perVoxel: 1 | 3 | 4,
  scale: readonly [number, number] | null,
): Float32Array {
  const [depth, height, width] = layout.shape;
  const [stepD, stepH, stepW] = layout.steps;
  const [slope, intercept] = scale ?? [1, 0];
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

/** From the affine (lengths of its columns) where there is one, else from pixdim. */
function spacingOf(
  header: Header,
  affine: readonly [Vector, Vector, Vector] | null,
  layout: Layout,
  warnings: string[],
): Shape3 | null {
  const unit = MM_PER_UNIT[header.xyzt_units & 7] ?? 1;
  const sizes = affine === null ? header.pixDims.slice(1, 4).map(Math.abs) : affine.map(lengthOf);
  if (!sizes.every((size) => Number.isFinite(size) && size > 0)) {
    warnings.push(`voxel sizes ${sizes.join("×")} are not usable: spacing unknown`);
    return null;
  }
  const [d, h, w] = layout.axes;
  return [sizes[d] * unit, sizes[h] * unit, sizes[w] * unit];
}
