/** Colour in DICOM: brightness and colour differences, and palettes (PS3.3, C.7.6.3.1). */
import { InputError } from "../types.js";
import type { DicomFile } from "./dicomFile.js";
import { lookUpTable, type LookUpTable } from "./dicomTables.js";
import type { Samples } from "./dicomSamples.js";

/**
 * YBR_FULL to RGB, in place and rounded (PS3.3 C.7.6.3.1.2 turned round): R = Y + 1.402 Cr, G = Y − 0.344136 Cb − 0.714136 Cr,
 * B = Y + 1.772 Cb, with Cb and Cr about the middle of the range. Grey (Cb = Cr = 128) stays grey.
 *
 * @param red,green,blue  Y, Cb and Cr before
 */
export function toRgb(red: Float32Array, green: Float32Array, blue: Float32Array, bits: number): void {
  const top = 2 ** bits - 1;
  const middle = 2 ** (bits - 1);
  for (let i = 0; i < red.length; i++) {
    const y = red[i] + 0.5;
    const cb = green[i] - middle;
    const cr = blue[i] - middle;
    red[i] = Math.min(top, Math.max(0, Math.floor(y + 1.402 * cr)));
    green[i] = Math.min(top, Math.max(0, Math.floor(y - 0.344136 * cb - 0.714136 * cr)));
    blue[i] = Math.min(top, Math.max(0, Math.floor(y + 1.772 * cb)));
  }
}

/** Red, green and blue of every stored value. */
export type Palette = readonly [LookUpTable, LookUpTable, LookUpTable];

/** The red, green and blue look-up tables (PS3.3 C.7.6.3.1.5 and 6), plain or in segments (C.7.9.2). */
export function paletteOf(file: DicomFile, signed: boolean): Palette {
  const { data, path } = file;
  const one = (colour: string, descriptor: string, plain: string, segmented: string): LookUpTable => {
    const tag = data.elements[plain] === undefined ? segmented : plain;
    if (data.elements[tag] === undefined)
      throw new InputError(`${path}: PALETTE COLOR without a ${colour} look-up table`);
    return lookUpTable(file, data, descriptor, tag, signed, `${colour} palette`, tag === segmented);
  };
  return [
    one("red", "x00281101", "x00281201", "x00281221"),
    one("green", "x00281102", "x00281202", "x00281222"),
    one("blue", "x00281103", "x00281203", "x00281223"),
  ];
}

/** Writes one frame of palette colours. Values below the first mapped one take its entry, those beyond the last the last. */
export function lookUpColour(values: Samples, from: number, to: readonly Float32Array[], palette: Palette): void {
  for (let c = 0; c < 3; c++) {
    const { first, entries } = palette[c];
    const last = entries.length - 1;
    const channel = to[c];
    for (let i = 0; i < channel.length; i++) {
      channel[i] = entries[Math.min(last, Math.max(0, values[from + i] - first))];
    }
  }
}
