/**
 * Small JPEG pictures, decoded in this thread by the codec of compressed DICOM frames (libjpeg-turbo as WebAssembly). libvips
 * gives the same values, and spends half a millisecond on the way to its threads and back, ten times what 64 × 64 pixels take.
 */
import { frameDecoder } from "./dicomCodecs.js";
import type { PictureHeader } from "./imageHeader.js";

/** Pixels and bytes of a file that is small: beyond it, libvips is as fast. */
const SMALL = { pixels: 2 ** 16, bytes: 2 ** 18 };

/** It takes as long to load the codec as libvips takes for so many pictures. */
const WORTH_LOADING = 200;

/** DICOM's name for JPEG as cameras write it. */
const JPEG_BASELINE = "1.2.840.10008.1.2.4.50";

let seen = 0;

/**
 * The samples of a small JPEG, pixel by pixel; null where it is not small, not plain, or not worth it yet, and where the codec
 * does not like it: libvips then says why.
 */
export async function decodeSmallJpeg(
  bytes: Uint8Array,
  { width, height, space, plainJpeg }: PictureHeader,
  path: string,
): Promise<Uint8Array | null> {
  if (!plainJpeg || width * height > SMALL.pixels || bytes.length > SMALL.bytes || ++seen <= WORTH_LOADING) return null;
  const samplesPerPixel = space === "b-w" ? 1 : 3;
  const photometric = samplesPerPixel === 1 ? "MONOCHROME2" : "YBR_FULL";
  const form = {
    rows: height,
    columns: width,
    samplesPerPixel,
    bitsAllocated: 8,
    bitsStored: 8,
    signed: false,
  } as const;
  try {
    const decoder = await frameDecoder(JPEG_BASELINE, path, { ...form, photometric }); // loads the codec, once or after damage
    const { bytes: samples, ybr } = decoder.decode(bytes);
    return ybr ? null : samples;
  } catch {
    return null;
  }
}
