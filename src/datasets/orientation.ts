/** Which way the axes of a volume point in the patient, in nibabel's words. */

/** A row of three numbers: a position or a direction in RAS+ world coordinates (x to the right, y anterior, z superior). */
export type Vector = readonly [number, number, number];

/** Where one voxel axis points: the world axis closest to it (0 = R/L, 1 = A/P, 2 = S/I) and its sign. */
export interface AxisDirection {
  readonly world: 0 | 1 | 2;
  readonly sign: 1 | -1;
}

const LETTERS = ["LR", "PA", "IS"] as const;

export const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

export const cross = (a: Vector, b: Vector): Vector => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

export const lengthOf = (a: Vector): number => Math.sqrt(dot(a, a));

const scaled = (a: Vector, factor: number): Vector => [a[0] * factor, a[1] * factor, a[2] * factor];

/**
 * The world axis closest to each of three voxel axes; every world axis is used once. The rule is that of
 * `nibabel.orientations.io_orientation`: remove zooms and shear (the orthogonal polar factor), then let the voxel axis
 * with the clearest direction choose first.
 *
 * @param axes  for voxel axes i, j, k: the world step of one voxel, that is the columns of the affine (any length)
 * @returns     null where the axes do not span space (a zero, parallel or non-finite axis)
 *
 * `closestAxes([[-2, 0, 0], [0, 0, 3], [0, 1, 0]])` is −R, +S, +A: "LSA".
 */
export function closestAxes(
  axes: readonly [Vector, Vector, Vector],
): [AxisDirection, AxisDirection, AxisDirection] | null {
  const lengths = axes.map(lengthOf);
  if (!lengths.every((length) => Number.isFinite(length) && length > 0)) return null;
  const columns = orthogonalFactor([
    scaled(axes[0], 1 / lengths[0]),
    scaled(axes[1], 1 / lengths[1]),
    scaled(axes[2], 1 / lengths[2]),
  ]);
  if (columns === null) return null;

  const clearness = columns.map((column) => Math.max(...column.map(Math.abs)));
  const clearestFirst = [0, 1, 2].sort((a, b) => clearness[b] - clearness[a] || a - b);
  const found: AxisDirection[] = [];
  const free = new Set<0 | 1 | 2>([0, 1, 2]);
  for (const axis of clearestFirst) {
    const column = columns[axis];
    const world = [...free].reduce((best, w) => (Math.abs(column[w]) > Math.abs(column[best]) ? w : best));
    found[axis] = { world, sign: column[world] < 0 ? -1 : 1 };
    free.delete(world);
  }
  return [found[0], found[1], found[2]];
}

/** Three letters for the positive ends of axes i, j, k: the identity is "RAS", a plain axial DICOM slice is "LPS". */
export function orientationLetters(directions: readonly AxisDirection[]): string {
  return directions.map(({ world, sign }) => LETTERS[world][sign > 0 ? 1 : 0]).join("");
}

/**
 * The orthogonal polar factor of a 3×3 matrix given by its columns, by Newton's iteration X ← (X + X⁻ᵀ)/2 (Higham 1986),
 * which converges quadratically for any matrix that has an inverse. X⁻ᵀ has the columns (b × c, c × a, a × b)/det.
 */
function orthogonalFactor(columns: readonly [Vector, Vector, Vector]): [Vector, Vector, Vector] | null {
  let [a, b, c] = columns;
  for (let round = 0; round < 60; round++) {
    const determinant = dot(a, cross(b, c));
    if (!(Math.abs(determinant) > 1e-12)) return null;
    const inverse = [cross(b, c), cross(c, a), cross(a, b)];
    const next = [a, b, c].map((column, i): Vector => {
      const [x, y, z] = scaled(inverse[i], 1 / determinant);
      return [(column[0] + x) / 2, (column[1] + y) / 2, (column[2] + z) / 2];
    });
    const moved = Math.max(...next.map((v, i) => Math.max(...v.map((x, k) => Math.abs(x - [a, b, c][i][k])))));
    [a, b, c] = next;
    if (moved < 1e-14) break;
  }
  return [a, b, c];
}
