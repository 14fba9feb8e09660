/**
 * Analyze 7.5 headers (Mayo Clinic, "dbh.h"), the ancestor of NIfTI-1: the same 348 bytes, without orientation. What
 * SPM99 and SPM2 keep in its unused fields is read as `nibabel.Spm2AnalyzeImage` does, and every assumption is said.
 */
import type { NIFTI1, NIFTI2 } from "nifti-reader-js";
import { positiveSizes } from "./niftiAffine.js";
import type { Vector } from "./orientation.js";

/**
 * The steps of one voxel along i, j and k: voxel sizes, i from right to left ("radiological", nibabel's and SPM's
 * default). The header's `orient` byte is not applied; SPM's origin moves the volume and turns nothing.
 */
export function analyzeAxes(header: NIFTI1 | NIFTI2, bytes: Uint8Array, warnings: string[]): [Vector, Vector, Vector] {
  warnings.push(
    "an Analyze 7.5 header holds no orientation: assumed, as nibabel and SPM do, that axes i, j, k point to L, A, S, in mm",
  );
  const orient = bytes[252];
  if (orient >= 1 && orient <= 5) warnings.push(`the orient code ${orient} of the Analyze header was not applied`);
  const [x, y, z] = positiveSizes(header.pixDims, warnings);
  return [
    [-x, 0, 0],
    [0, y, 0],
    [0, 0, z],
  ];
}

/**
 * SPM2's rule: slope `funused1` (byte 112) and intercept `funused2` where the slope is finite and not 0; else the line that
 * takes glmin … glmax to cal_min … cal_max where both ranges are not empty; else none.
 *
 * With glmin 10, glmax 110, cal_min 0.2 and cal_max 0.8 a stored 60 is 0.5.
 */
export function analyzeScaling(
  header: NIFTI1 | NIFTI2,
  bytes: Uint8Array,
  warnings: string[],
): readonly [slope: number, intercept: number] | null {
  const { scl_slope: slope, scl_inter: intercept, cal_min: low, cal_max: high } = header;
  if (slope !== 0 && Number.isFinite(slope)) {
    const offset = Number.isFinite(intercept) ? intercept : 0;
    if (slope === 1 && offset === 0) return null;
    warnings.push(`scaled by ${slope} and ${offset}: funused1 and funused2 were taken for SPM's slope and intercept`);
    return [slope, offset];
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const storedHigh = view.getInt32(140, header.littleEndian);
  const storedLow = view.getInt32(144, header.littleEndian);
  const ratio = (high - low) / (storedHigh - storedLow);
  if (storedHigh === storedLow || ratio === 0 || !Number.isFinite(ratio)) return null;
  warnings.push(
    `scaled so that glmin…glmax (${storedLow}…${storedHigh}) become cal_min…cal_max (${low}…${high}), as SPM2 does`,
  );
  return [ratio, low - ratio * storedLow];
}
