/** From stored values to units: rescale, modality look-up table, padding (PS3.3, C.11.1 and C.7.5.1.1.2). */
import { frameDecimals, type DicomFile } from "./dicomFile.js";
import type { Samples } from "./dicomSamples.js";
import { lookUpTable, type LookUpTable } from "./dicomTables.js";

/** Slope and intercept of every frame, or the table in their place. */
export interface Units {
  readonly slopes: readonly number[];
  readonly intercepts: readonly number[];
  readonly table: LookUpTable | null;
}

const TRANSFORMATION = "x00289145"; // Pixel Value Transformation Sequence

/** What turns stored values into units, frame by frame; a modality look-up table stands in the place of slope and intercept. */
export function unitsOf(file: DicomFile, frames: number, signed: boolean): Units {
  const { data } = file;
  const each = (tag: string, otherwise: number): number[] =>
    Array.from({ length: frames }, (_, f) => frameDecimals(data, f, TRANSFORMATION, tag)?.[0] ?? otherwise);
  const item = data.elements.x00283000?.items?.[0]?.dataSet;
  const table =
    item?.elements.x00283006 === undefined
      ? null
      : lookUpTable(file, item, "x00283002", "x00283006", signed, "modality look-up table");
  return { slopes: each("x00281053", 1), intercepts: each("x00281052", 0), table };
}

/**
 * One grey frame in units: value × slope + intercept, rounded once, or the table's entry.
 *
 * @param unused  upper bits to clear, or to fill with the sign, counted in 32
 */
export function writeGrey(
  values: Samples,
  from: number,
  to: Float32Array,
  { unused, signed }: { unused: number; signed: boolean },
  units: Units,
  frame: number,
): void {
  const slope = units.slopes[frame];
  const intercept = units.intercepts[frame];
  const n = to.length;
  // What float32 holds exactly is turned into floats by the engine's own copy first: a loop over every type of array that there
  // is runs ten times slower than one over floats.
  const exact = values.BYTES_PER_ELEMENT <= 2 || values instanceof Float32Array;
  if (exact) to.set(values.subarray(from, from + n));
  const raw = exact ? to : values.subarray(from, from + n);
  if (units.table !== null) {
    const { first, entries } = units.table;
    const last = entries.length - 1;
    for (let i = 0; i < n; i++) {
      const value = unused === 0 ? raw[i] : signed ? (raw[i] << unused) >> unused : (raw[i] << unused) >>> unused;
      to[i] = entries[Math.min(last, Math.max(0, value - first))];
    }
  } else if (unused === 0 && slope === 1 && intercept === 0) {
    if (!exact) to.set(raw);
  } else if (unused === 0) {
    for (let i = 0; i < n; i++) to[i] = raw[i] * slope + intercept;
  } else if (signed) {
    for (let i = 0; i < n; i++) to[i] = ((raw[i] << unused) >> unused) * slope + intercept;
  } else {
    for (let i = 0; i < n; i++) to[i] = ((raw[i] << unused) >>> unused) * slope + intercept;
  }
}

/**
 * The range of values, in units and with both ends, that PixelPaddingValue and PixelPaddingRangeLimit set apart: what was never
 * scanned. Null where a file names none, or where frames have units of their own.
 */
export function paddingOf(
  { data }: DicomFile,
  { float, signed }: { float: 32 | 64 | null; signed: boolean },
  { slopes, intercepts, table }: Units,
): readonly [low: number, high: number] | null {
  const stored = (integer: string, float32: string, float64: string): number | undefined => {
    if (float === 32) return data.float(float32);
    if (float === 64) return data.double(float64);
    if (data.elements[integer]?.length !== 2) return undefined;
    return signed ? data.int16(integer) : data.uint16(integer);
  };
  const value = stored("x00280120", "x00280122", "x00280124");
  if (value === undefined || new Set(slopes).size > 1 || new Set(intercepts).size > 1) return null;
  const ends = [value, stored("x00280121", "x00280123", "x00280125") ?? value].map((end) =>
    table === null
      ? Math.fround(end * slopes[0] + intercepts[0])
      : table.entries[Math.min(table.entries.length - 1, Math.max(0, end - table.first))],
  );
  return [Math.min(...ends), Math.max(...ends)];
}
