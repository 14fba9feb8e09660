/** The affine that SPM keeps in a `.mat` file beside an Analyze pair: a MAT-file of level 4 (MathWorks, "MAT-File Format", chapter 2). */
import { existsSync } from "node:fs";
import { readRange } from "../files.js";
import type { Vector } from "./orientation.js";

/** Far more than one matrix needs. */
const MOST_BYTES = 2 ** 16;

/** Bytes and reader of a number, by the tens digit of a matrix' type. */
const NUMBERS: readonly (readonly [bytes: number, read: (view: DataView, at: number, little: boolean) => number])[] = [
  [8, (view, at, little) => view.getFloat64(at, little)],
  [4, (view, at, little) => view.getFloat32(at, little)],
  [4, (view, at, little) => view.getInt32(at, little)],
  [2, (view, at, little) => view.getInt16(at, little)],
  [2, (view, at, little) => view.getUint16(at, little)],
  [1, (view, at) => view.getUint8(at)],
];

/**
 * The steps of one voxel along i, j and k in RAS+ millimetres, by nibabel's rule: the matrix `mat` as it is, or else `M` with x turned
 * round, as for every Analyze file. Null where there is no such file; a text where it cannot be used.
 */
export function spmAxes(headerPath: string): readonly [Vector, Vector, Vector] | string | null {
  const path = headerPath.replace(/\.(hdr|img)(\.gz)?$/i, ".mat");
  if (!existsSync(path)) return null;
  try {
    const matrices = matricesIn(readRange(path, 0, MOST_BYTES));
    const mat = matrices.get("mat") ?? matrices.get("M");
    if (mat === undefined) return "it holds neither mat nor M";
    const x = matrices.has("mat") ? 1 : -1;
    const column = (c: number): Vector => [x * mat[4 * c], mat[4 * c + 1], mat[4 * c + 2]];
    const axes = [column(0), column(1), column(2)] as const;
    return axes.flat().every(Number.isFinite) ? axes : "its matrix is not finite";
  } catch (error) {
    return error instanceof RangeError ? "it ends too early" : (error as Error).message;
  }
}

/** Matrices of 4 × 4, column after column, by name. */
function matricesIn(bytes: Uint8Array): Map<string, number[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Map<string, number[]>();
  for (let at = 0; at + 20 <= bytes.length;) {
    const little = view.getUint32(at, true) < 5000;
    const type = view.getUint32(at, little);
    const [rows, columns, imaginary, nameBytes] = [4, 8, 12, 16].map((more) => view.getUint32(at + more, little));
    const [size, read] = NUMBERS[Math.floor(type / 10) % 10] ?? [];
    if (type >= 5000 || size === undefined || read === undefined || nameBytes > 64)
      throw new Error("it is no MAT-file of level 4");
    const name = String.fromCharCode(...bytes.subarray(at + 20, at + 19 + nameBytes));
    const from = at + 20 + nameBytes;
    if (rows === 4 && columns === 4 && type % 10 === 0) {
      found.set(
        name,
        Array.from({ length: 16 }, (_, i) => read(view, from + size * i, little)),
      );
    }
    at = from + size * rows * columns * (imaginary === 0 ? 1 : 2);
  }
  return found;
}
