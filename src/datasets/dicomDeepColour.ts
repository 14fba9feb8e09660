/** JPEG 2000 in colours of more than 8 bits, through OpenJPEG in @cornerstonejs/codec-openjpeg: that in dcmjs-codecs spoils them. */
import type { OpenJpeg } from "@cornerstonejs/codec-openjpeg/decodewasmjs";
import { InputError } from "../types.js";

let openjpeg: OpenJpeg | null = null;

/** Loads the library, once. Throws an `InputError` that names `path` where it cannot be. */
export async function loadDeepColour(path: string): Promise<void> {
  if (openjpeg !== null) return;
  try {
    const { default: load } = await import("@cornerstonejs/codec-openjpeg/decodewasmjs");
    const silent = (): void => undefined; // what it prints of a damaged frame would stand in the midst of an answer
    openjpeg = await load({ print: silent, printErr: silent });
  } catch (error) {
    const reason = (error as Error).message.split("\n")[0];
    throw new InputError(`${path}: the codec for JPEG 2000 in deep colours cannot be loaded: ${reason}`);
  }
}

/**
 * Samples of 16 bits, little endian, pixel by pixel, of a codestream whose header was checked. Throws plain errors.
 *
 * @param samples  how many there must be
 */
export function decodeDeepColour(frame: Uint8Array, samples: number): Uint8Array {
  if (openjpeg === null) throw new Error("the codec for deep colours is not loaded");
  try {
    const decoder = new openjpeg.J2KDecoder();
    decoder.getEncodedBuffer(frame.length).set(frame);
    decoder.decode();
    const bytes = Uint8Array.from(decoder.getDecodedBuffer());
    decoder.delete();
    if (bytes.length !== 2 * samples) throw new Error(`expected ${samples} samples, got ${bytes.length} bytes`);
    return bytes;
  } catch (error) {
    openjpeg = null; // after a failure the next file gets a fresh one
    throw error instanceof Error ? error : new Error("the codestream is damaged", { cause: error });
  }
}
