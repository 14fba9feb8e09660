/** How a file wants to be shown: its VOI look-up table, or the window beside it (PS3.3, C.11.2). */
import type { DataSet } from "dicom-parser";
import { InputError, type Voi, type VoiCurve } from "../types.js";
import { decimals, groupsOf, type DicomFile } from "./dicomFile.js";
import { lookUpTable } from "./dicomTables.js";
import type { Units } from "./dicomUnits.js";

const FRAME_VOI = "x00289132"; // Frame VOI LUT Sequence

const CURVES: Readonly<Record<string, VoiCurve>> = {
  LINEAR: "linear",
  LINEAR_EXACT: "linearExact",
  SIGMOID: "sigmoid",
};

/**
 * The first VOI table of a file, or else its first window; null where it has neither, or where frames have different ones. Both
 * stand for values in units, after rescale. What is damaged is left out with a warning: the pixels do not need it.
 */
export function voiOf(file: DicomFile, frames: number, units: Units, signed: boolean, warnings: string[]): Voi | null {
  const { data } = file;
  try {
    const item = data.elements.x00283010?.items?.[0]?.dataSet;
    if (item?.elements.x00283006 !== undefined) return tableOf(file, item, units, signed);
  } catch (error) {
    if (!(error instanceof InputError) && typeof error !== "string") throw error;
    warnings.push("the VOI look-up table is damaged and was left out");
  }
  const windows = Array.from({ length: frames }, (_, f) => windowOf(data, f));
  return windows.every((window) => JSON.stringify(window) === JSON.stringify(windows[0])) ? windows[0] : null;
}

function tableOf(file: DicomFile, item: DataSet, units: Units, signed: boolean): Voi {
  const { vr } = item.elements.x00283002;
  // Without a VR of its own the first value is signed where what comes out of the rescale may be.
  const below = signed || units.intercepts.some((intercept) => intercept < 0);
  const signedFirst = vr === "SS" || (vr !== "US" && below);
  const { first, bits, entries } = lookUpTable(file, item, "x00283002", "x00283006", signedFirst, "VOI look-up table");
  return { first, bits, table: Uint16Array.from(entries) };
}

function windowOf(data: DataSet, frame: number): Voi | null {
  for (const group of groupsOf(data, frame, FRAME_VOI)) {
    const centre = decimals(group, "x00281050")?.[0];
    const width = decimals(group, "x00281051")?.[0];
    if (centre === undefined || width === undefined) continue;
    const curve = CURVES[(group.string("x00281056") ?? "LINEAR").trim()] ?? "linear";
    return width >= 1 || (curve !== "linear" && width > 0) ? { centre, width, curve } : null;
  }
  return null;
}
