/** PNG and JPEG pictures of 8 or 16 bits, as stored. */
import sharp from "sharp";
import { readBytes } from "../files.js";
import { InputError, type Decoded } from "../types.js";
import { samplesFrom } from "./samples.js";
import { contentOf, wrongContent } from "./sniff.js";

/**
 * Reads a PNG or JPEG file. Grey stays one channel, colour (a palette too) is three, transparency is dropped, and no
 * colour profile, gamma or EXIF rotation is applied: the values are those in the file, 0…255 or 0…65535.
 *
 * @returns `[1 or 3, 1, H, W]`; an 8-bit white pixel is 255, a 16-bit one 65535
 * @throws  `InputError`, one line, for anything that is not a whole PNG or JPEG file
 */
export async function readImage(path: string): Promise<Decoded> {
  return decodeImage(readBytes(path), path);
}

/** `readImage` for bytes in memory; `path` is for messages only. */
export async function decodeImage(bytes: Uint8Array, path: string): Promise<Decoded> {
  const { format, what } = contentOf(bytes);
  if (format !== "png" && format !== "jpeg") throw wrongContent(path, "a PNG or JPEG file", what);

  const warnings: string[] = [];
  try {
    // "error" stops at damage; libvips' mere warnings (an odd ICC profile, a stray byte) let the pixels through.
    const image = sharp(bytes, { failOn: "error", ignoreIcc: true });
    const { depth, space, orientation, hasAlpha } = await image.metadata();
    if (orientation !== undefined && orientation !== 1) {
      warnings.push(`EXIF orientation ${orientation} was not applied: pixels are as stored`);
    }
    if (hasAlpha) warnings.push("the alpha channel was dropped");
    if (space === "cmyk") warnings.push("CMYK was converted to RGB");

    const deep = depth === "ushort";
    const grey = space === "b-w" || space === "grey16";
    const spaceOut = deep ? (grey ? "grey16" : "rgb16") : grey ? "b-w" : "srgb";
    const { data, info } = await image
      .removeAlpha()
      .toColourspace(spaceOut)
      .raw({ depth: deep ? "ushort" : "uchar" })
      .toBuffer({ resolveWithObject: true });

    const channels = info.channels;
    const expected = grey ? 1 : 3;
    if (channels !== expected) throw new Error(`decoded to ${channels} channels, expected ${expected}`);
    const type = deep ? "uint16" : "uint8";
    const plane = info.width * info.height;
    const interleaved = samplesFrom(data, type, plane * channels, true);
    const pixels = new Float32Array(plane * channels);
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < plane; i++) pixels[c * plane + i] = interleaved[i * channels + c];
    }
    return {
      pixels,
      shape: [channels, 1, info.height, info.width],
      kind: "image",
      modality: null,
      spacingMm: null,
      orientation: null,
      dtype: type,
      warnings,
    };
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).trim().split("\n")[0];
    throw new InputError(`${path}: damaged or truncated ${what.replace(/^an? /, "")}: ${reason}`);
  }
}
