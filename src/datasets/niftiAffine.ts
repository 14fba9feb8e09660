/** Where the axes of a NIfTI array point: sform, else qform, else what nibabel assumes of a header without either. */
import type { NIFTI1, NIFTI2 } from "nifti-reader-js";
import type { Vector } from "./orientation.js";

/**
 * The columns for i, j and k of the affine in use, by nibabel's rule (`Nifti1Header.get_best_affine`): the sform where
 * its code is one of the standard's (1 to 5), else the qform likewise, else voxel sizes alone with i running from right to
 * left.
 */
export function niftiAxes(header: NIFTI1 | NIFTI2, bytes: Uint8Array, warnings: string[]): [Vector, Vector, Vector] {
  if (isSet(header.sform_code, "sform", warnings)) return sform(header, bytes);
  const sizes = positiveSizes(header.pixDims, warnings);
  if (isSet(header.qform_code, "qform", warnings)) return qform(header, sizes, warnings);
  warnings.push(
    "no affine (sform and qform codes are 0): assumed, as nibabel does, that axes i, j, k point to L, A, S",
  );
  return [
    [-sizes[0], 0, 0],
    [0, sizes[1], 0],
    [0, 0, sizes[2]],
  ];
}

function isSet(code: number, form: string, warnings: string[]): boolean {
  if (code < 0 || code > 5) warnings.push(`${form} code ${code} is not in the standard: taken for 0`);
  return code >= 1 && code <= 5;
}

/** Read here: the library overwrites a NIfTI-1 sform by the qform when the latter has the higher code. */
function sform(header: NIFTI1 | NIFTI2, bytes: Uint8Array): [Vector, Vector, Vector] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = header.littleEndian;
  const second = bytes.length === 540;
  const cell = (row: number, column: number): number =>
    second
      ? view.getFloat64(400 + 8 * (4 * row + column), little)
      : view.getFloat32(280 + 4 * (4 * row + column), little);
  const column = (c: number): Vector => [cell(0, c), cell(1, c), cell(2, c)];
  return [column(0), column(1), column(2)];
}

/**
 * nifti1.h, "METHOD 2": the rotation of the unit quaternion (a, b, c, d), a = √(1 − b² − c² − d²), times the voxel sizes,
 * the third of them times qfac = pixdim[0]. A quaternion longer than 1 is divided by its length, and a is 0.
 */
function qform(header: NIFTI1 | NIFTI2, [x, y, z]: Vector, warnings: string[]): [Vector, Vector, Vector] {
  let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d];
  const squares = b * b + c * c + d * d;
  if (squares > 1) {
    const length = Math.sqrt(squares);
    if (length > 1 + 1e-6)
      warnings.push(`the qform's quaternion has length ${length.toPrecision(6)}: it was divided by it`);
    [b, c, d] = [b / length, c / length, d / length];
  }
  const a = Math.sqrt(Math.max(0, 1 - (b * b + c * c + d * d)));
  const stated = header.pixDims[0];
  if (Math.abs(stated) !== 1) warnings.push(`qfac (pixdim[0]) is ${stated}: 1 was used`);
  const k = z * (stated === -1 ? -1 : 1);
  return [
    [x * (a * a + b * b - c * c - d * d), x * 2 * (b * c + a * d), x * 2 * (b * d - a * c)],
    [y * 2 * (b * c - a * d), y * (a * a + c * c - b * b - d * d), y * 2 * (c * d + a * b)],
    [k * 2 * (b * d + a * c), k * 2 * (c * d - a * b), k * (a * a + d * d - b * b - c * c)],
  ];
}

/** pixdim[1 … 3], mended as nibabel mends them: the magnitude of a negative size, and 1 for 0. */
export function positiveSizes(pixDims: readonly number[], warnings: string[]): [number, number, number] {
  const stated = pixDims.slice(1, 4);
  if (stated.some((size) => !(size > 0))) {
    warnings.push(`voxel sizes (pixdim) are ${stated.join("×")}: magnitudes were taken, and 1 for 0`);
  }
  const [x, y, z] = stated.map((size) => Math.abs(size) || 1);
  return [x, y, z];
}
