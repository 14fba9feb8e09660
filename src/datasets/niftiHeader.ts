/** What the headers of NIfTI-1, NIfTI-2 and Analyze 7.5 say of the voxels, brought to one form. */
import { NIFTI1, NIFTI2 } from "nifti-reader-js";
import { InputError } from "../types.js";
import { analyzeAxes, analyzeScaling } from "./analyze.js";
import { niftiAxes } from "./niftiAffine.js";
import { lengthOf, type Vector } from "./orientation.js";
import { BYTES_PER_SAMPLE, type SampleType } from "./samples.js";
import { contentOf } from "./sniff.js";

/** A datatype code that is read: name, type of one number, and how many numbers make a voxel. */
export interface Datatype {
  readonly dtype: SampleType;
  readonly perVoxel: 1 | 3 | 4;
}

/** nifti1.h, `datatype` codes; Analyze 7.5 knows 2, 4, 8, 16, 64 and 128. */
const DATATYPES: Readonly<Record<number, Datatype>> = {
  2: { dtype: "uint8", perVoxel: 1 },
  4: { dtype: "int16", perVoxel: 1 },
  8: { dtype: "int32", perVoxel: 1 },
  16: { dtype: "float32", perVoxel: 1 },
  64: { dtype: "float64", perVoxel: 1 },
  128: { dtype: "uint8", perVoxel: 3 }, // RGB24
  256: { dtype: "int8", perVoxel: 1 },
  512: { dtype: "uint16", perVoxel: 1 },
  768: { dtype: "uint32", perVoxel: 1 },
  1024: { dtype: "int64", perVoxel: 1 },
  1280: { dtype: "uint64", perVoxel: 1 },
  2304: { dtype: "uint8", perVoxel: 4 }, // RGBA32
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

export interface VolumeHeader {
  readonly format: "NIfTI" | "Analyze";
  readonly littleEndian: boolean;
  /** The voxels lie in an `.img` file beside this `.hdr`. */
  readonly paired: boolean;
  /** Where the voxels start in their file. */
  readonly offset: number;
  /** At least three; the first axis varies fastest. */
  readonly extents: readonly number[];
  readonly datatype: Datatype;
  /** value = stored × slope + intercept, or null for none. */
  readonly scaling: readonly [slope: number, intercept: number] | null;
  /** In RAS+ world coordinates, the step of one voxel along i, j and k, in the file's unit of length. */
  readonly axes: readonly [Vector, Vector, Vector];
  /** The lengths of those steps, or null where they are of no use. */
  readonly sizesMm: readonly [number, number, number] | null;
  readonly warnings: readonly string[];
}

/**
 * Whether a file starts like one of the three: NIfTI by its magic text, Analyze 7.5, which has none, by the header's size
 * and a number of dimensions that can be.
 */
export function hasHeader(head: Uint8Array): boolean {
  if (contentOf(head).format === "nifti") return true;
  if (head.length < 348) return false;
  const view = new DataView(head.buffer, head.byteOffset, 348);
  return [true, false].some((little) => {
    const rank = view.getInt16(40, little);
    return view.getInt32(0, little) === 348 && rank >= 1 && rank <= 7;
  });
}

/** Parses the first bytes of a `.nii` or `.hdr` file that `hasHeader` accepts. */
export function parseHeader(head: Uint8Array, path: string): VolumeHeader {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const size = view.getInt32(0, true) === 348 || view.getInt32(0, false) === 348 ? 348 : 540;
  if (head.length < size) {
    throw new InputError(`${path}: truncated NIfTI file: its header needs ${size} bytes, got ${head.length}`);
  }
  const header = size === 348 ? new NIFTI1() : new NIFTI2();
  // The header alone: extensions after it hold nothing we need, and a broken one must not stop us.
  const bytes = new Uint8Array(head.subarray(0, size)); // a copy with a buffer of its own, which a Buffer's slice has not
  header.readHeader(bytes.buffer);
  const marked = /^n[+i][12]/.exec(header.magic)?.[0];
  const format = marked === undefined ? "Analyze" : "NIfTI";
  const paired = marked === undefined || marked.startsWith("ni");

  if (size === 540 && header.intent_code >= 3000 && header.intent_code < 3100) {
    const what = `a CIFTI-2 file of surfaces or connections (intent code ${header.intent_code})`;
    throw new InputError(`${path}: expected a NIfTI volume, got ${what}`);
  }
  const warnings: string[] = [];
  const extents = extentsOf(header, format, path, warnings);
  const datatype = datatypeOf(header, format, path, warnings);
  const isNifti = format === "NIfTI";
  const axes = isNifti ? niftiAxes(header, bytes, warnings) : analyzeAxes(header, bytes, warnings);
  const scaling = isNifti ? scalingOf(header, warnings) : analyzeScaling(header, bytes, warnings);
  return {
    format,
    littleEndian: header.littleEndian,
    paired,
    offset: offsetOf(header, paired, path),
    extents,
    datatype,
    scaling: datatype.perVoxel > 1 ? null : scaling, // colours are never scaled
    axes,
    sizesMm: sizesOf(axes, isNifti ? (MM_PER_UNIT[header.xyzt_units & 7] ?? 1) : 1, warnings),
    warnings,
  };
}

/** The same header with an affine from elsewhere, in millimetres; its warnings are kept, but those about the axes it had. */
export function withAxes(header: VolumeHeader, axes: readonly [Vector, Vector, Vector]): VolumeHeader {
  const warnings: string[] = [];
  const sizesMm = sizesOf(axes, 1, warnings);
  return {
    ...header,
    axes,
    sizesMm,
    warnings: [...header.warnings.filter((line) => !/affine|axes/.test(line)), ...warnings],
  };
}

/** dim[1 … dim[0]], at least three of them. */
function extentsOf(header: NIFTI1 | NIFTI2, format: string, path: string, warnings: string[]): number[] {
  const rank = header.dims[0];
  if (!(rank >= 1 && rank <= 7)) throw new InputError(`${path}: ${format} dim[0] is ${rank}; expected 1 to 7`);
  const extents = header.dims.slice(1, 1 + rank);
  if (format === "Analyze") {
    for (let axis = 3; axis < rank; axis++) {
      if (extents[axis] !== 0) continue;
      warnings.push(`dim[${axis + 1}] is 0: taken for 1`);
      extents[axis] = 1;
    }
  }
  const wrong = extents.find((extent) => !(Number.isSafeInteger(extent) && extent >= 1));
  if (wrong !== undefined) {
    throw new InputError(`${path}: ${format} dimensions are ${extents.join("×")}; expected every one to be at least 1`);
  }
  while (extents.length < 3) extents.push(1);
  return extents;
}

function datatypeOf(header: NIFTI1 | NIFTI2, format: string, path: string, warnings: string[]): Datatype {
  const code = header.datatypeCode;
  if (!Object.hasOwn(DATATYPES, code)) {
    const name = REFUSED[code] ?? "not in the standard";
    throw new InputError(
      `${path}: ${format} datatype ${code} (${name}) is not supported; expected integers of 8 to 64 bits, float32, float64, RGB24 or RGBA32`,
    );
  }
  const datatype = DATATYPES[code];
  const bits = 8 * datatype.perVoxel * BYTES_PER_SAMPLE[datatype.dtype];
  if (header.numBitsPerVoxel !== bits) {
    warnings.push(`bitpix is ${header.numBitsPerVoxel}, and datatype ${code} has ${bits} bits: the datatype was taken`);
  }
  return datatype;
}

function offsetOf(header: NIFTI1 | NIFTI2, paired: boolean, path: string): number {
  const stated = Math.trunc(header.vox_offset) || 0;
  const first = paired ? 0 : header.magic.startsWith("n+2") ? 544 : 352;
  if (!Number.isSafeInteger(stated) || stated < 0) {
    throw new InputError(`${path}: vox_offset is ${header.vox_offset}; expected ${first} or more`);
  }
  return Math.max(first, stated);
}

/** A slope of 0, NaN or infinity means no scaling, as in nibabel. */
function scalingOf(header: NIFTI1 | NIFTI2, warnings: string[]): readonly [slope: number, intercept: number] | null {
  const { scl_slope: slope, scl_inter: intercept } = header;
  if (slope === 0 || !Number.isFinite(slope)) return null;
  if (!Number.isFinite(intercept)) {
    warnings.push(`scl_inter is ${intercept}: 0 was used`);
    return [slope, 0];
  }
  return slope === 1 && intercept === 0 ? null : [slope, intercept];
}

function sizesOf(
  axes: readonly [Vector, Vector, Vector],
  mmPerUnit: number,
  warnings: string[],
): [number, number, number] | null {
  const [i, j, k] = axes.map((axis) => lengthOf(axis) * mmPerUnit);
  if ([i, j, k].every((size) => Number.isFinite(size) && size > 0)) return [i, j, k];
  warnings.push(`voxel sizes ${[i, j, k].join("×")} are not usable: spacing unknown`);
  return null;
}
