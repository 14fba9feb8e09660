/** Pictures as they are stored: PNG, JPEG, TIFF, WebP, GIF, BMP and Netpbm, of 8 or 16 bits and more in TIFF. */
import sharp, { type Metadata, type Sharp } from "sharp";
import { readBytes } from "../files.js";
import { InputError, type Decoded, type Kind } from "../types.js";
import { bitmapSize, decodeBitmap } from "./imageBmp.js";
import { pictureHeader } from "./imageHeader.js";
import { decodePnm, pnmHeader } from "./imagePnm.js";
import { planesOf, type Colours, type Planes } from "./imagePlanes.js";
import { decodePlainPng } from "./imagePng.js";
import { decodeSmallJpeg } from "./imageSmallJpeg.js";
import { asUnsigned, tiffPages, type TiffPage } from "./imageTiff.js";
import { decodeTiffPage, isForUs, loadUnpacker, tiffType } from "./imageTiffBlocks.js";
import { contentOf, wrongContent, type Format } from "./sniff.js";

export interface ImageOptions {
  /** Pixels of all pages together, at most. */
  readonly maxPixels?: number;
  /** Time to decode in, in whole seconds: damaged headers can promise millions of empty tiles. */
  readonly maxSeconds?: number;
  /**
   * What several pages are. Without it, pages of a TIFF file are the slices of a volume where all are grey and have one size
   * and type, otherwise the first is read; pages of a WebP file are the frames of a video.
   */
  readonly pages?: "first" | "volume";
}

const FORMATS: readonly (Format | null)[] = ["png", "jpeg", "tiff", "webp", "gif", "bmp", "pnm"];

export const isImageFormat = (format: Format | null): boolean => FORMATS.includes(format);

/** What libvips calls a type: numpy's name, the array that holds it, and its white. */
const TYPES = {
  uchar: { dtype: "uint8", array: Uint8Array, white: 255 },
  char: { dtype: "int8", array: Int8Array, white: 127 },
  ushort: { dtype: "uint16", array: Uint16Array, white: 65535 },
  uint: { dtype: "uint32", array: Uint32Array, white: 4294967295 },
  int: { dtype: "int32", array: Int32Array, white: 2147483647 },
  float: { dtype: "float32", array: Float32Array, white: 1 },
} as const;

/**
 * Reads a picture. Grey stays one channel, colour (a palette too) is three; a JPEG that lies on its side is turned as its EXIF
 * tag says; what is transparent is put on black; CMYK becomes RGB. No colour profile and no gamma is applied: the values
 * are those in the file, 0…255 or 0…65535, or any number in a TIFF file of floats.
 *
 * @returns `[1 or 3, D, H, W]`, D = 1 but for pages; an 8-bit white pixel is 255, a 16-bit one 65535
 * @throws  `InputError`, one line, for anything that is not a whole picture, and for one with too many pixels
 */
export async function readImage(path: string, options: ImageOptions = {}): Promise<Decoded> {
  return decodeImage(readBytes(path), path, options);
}

/** `readImage` for bytes in memory; `path` is for messages only. */
export async function decodeImage(bytes: Uint8Array, path: string, options: ImageOptions = {}): Promise<Decoded> {
  const { maxPixels = 2 ** 27, maxSeconds = 60, pages } = options;
  const { format, what } = contentOf(bytes);
  if (!isImageFormat(format)) throw wrongContent(path, "a PNG, JPEG, TIFF, WebP, GIF, BMP or Netpbm picture", what);
  const check: Check = (width, height, depth = 1) => {
    if (width * height * depth <= maxPixels) return;
    const size = `${width} x ${height}${depth > 1 ? ` x ${depth}` : ""}`;
    throw new InputError(`${path}: ${size} pixels are over the limit maxPixels, ${maxPixels}`);
  };
  try {
    if (format === "bmp") return fromBitmap(bytes, check);
    if (format === "pnm") return fromPnm(bytes, check);
    const limits = { pages, maxSeconds };
    if (format !== "tiff") return await fromVips(bytes, path, format, limits, check);
    const directories = tiffPages(bytes);
    if (isForUs(directories[0])) return await fromTiff(bytes, directories, path, limits, check);
    const hidden = asUnsigned(bytes, directories);
    const read = await fromVips(hidden ?? bytes, path, format, limits, check);
    return hidden === null ? read : signed(read);
  } catch (error) {
    if (error instanceof InputError) throw error;
    const reason = (error instanceof Error ? error.message : String(error)).trim().split("\n")[0];
    if (/^timeout: /.test(reason) || /timeout: \d+% complete/.test(String(error))) {
      throw new InputError(`${path}: decoding took longer than the limit maxSeconds, ${maxSeconds} s`);
    }
    const verdict = reason.includes("not supported") ? "" : "damaged or truncated ";
    throw new InputError(`${path}: ${verdict}${what.replace(/^an? /, "")}: ${reason}`);
  }
}

/** Pictures in a file: more than one in an animation. 0 where the file is damaged. */
export async function pagesOf(bytes: Uint8Array): Promise<number> {
  try {
    return (await sharp(bytes, { limitInputPixels: false }).metadata()).pages ?? 1;
  } catch {
    return 0;
  }
}

/** Numbers that came through as unsigned ones of 16 bits: 0xffff is −1. */
function signed(read: Decoded): Decoded {
  const { pixels } = read;
  for (let i = 0; i < pixels.length; i++) pixels[i] = (pixels[i] << 16) >> 16;
  return { ...read, dtype: "int16" };
}

type Check = (width: number, height: number, depth?: number) => void;

function fromBitmap(bytes: Uint8Array, check: Check): Decoded {
  const size = bitmapSize(bytes);
  check(size.width, size.height);
  const { width, height, bands, samples, beyond } = decodeBitmap(bytes);
  const planes = planesOf(samples, bands, bands === 1 ? "grey" : "rgb", 255);
  const lacking = beyond > 0 ? [`${beyond} pixels of colours that the palette lacks are black`] : [];
  return decoded(planes, "image", [1, height, width], "uint8", [...lacking, ...noteAlpha(planes)]);
}

function fromPnm(bytes: Uint8Array, check: Check): Decoded {
  const header = pnmHeader(bytes);
  if (header === null) throw new Error("it ends in its header");
  const { width, height, bands, most } = header;
  check(width, height);
  const samples = decodePnm(bytes, header);
  const planes = planesOf(samples, bands, bands === 1 ? "grey" : "rgb", most < 256 ? 255 : 65535);
  const white = samples instanceof Uint8Array ? 255 : 65535;
  const scaled = most === white || most === 1 ? [] : [`values of 0 to ${most} were brought to 0 to ${white}`];
  return decoded(planes, "image", [1, height, width], most < 256 ? "uint8" : "uint16", scaled);
}

interface Limits {
  readonly pages: ImageOptions["pages"];
  readonly maxSeconds: number;
}

/** Pages that libvips does not read. */
async function fromTiff(
  bytes: Uint8Array,
  directories: readonly TiffPage[],
  path: string,
  { pages: asked, maxSeconds }: Limits,
  check: Check,
): Promise<Decoded> {
  const [one] = directories;
  const { width, height, samplesPerPixel, orientation, photometric } = one;
  const dtype = tiffType(one);
  check(width, height);
  const grey = photometric <= 1;
  const alike = directories.every(
    (page) =>
      page.width === width &&
      page.height === height &&
      page.samplesPerPixel === samplesPerPixel &&
      page.photometric === photometric &&
      tiffType(page) === dtype,
  );
  const seen = { pages: directories.length, space: grey ? "b-w" : "rgb" } as const;
  const { depth, kind, warnings } = await pagesToRead(path, seen, "tiff", asked, () => Promise.resolve(alike));
  check(width, height, depth);
  await loadUnpacker(one);
  const deadline = performance.now() + 1000 * maxSeconds;
  const parts = directories.slice(0, depth).map((page) => {
    const white = dtype.startsWith("float") ? 1 : 2 ** (dtype.startsWith("int") ? page.bits - 1 : page.bits) - 1;
    const samples = decodeTiffPage(bytes, page, deadline);
    const bands = samplesPerPixel;
    if (page.associated && bands % 2 === 0) for (let i = bands - 1; i < samples.length; i += bands) samples[i] = white;
    const planes = planesOf(samples, bands, grey ? "grey" : "rgb", white);
    if (photometric === 0 && /^uint(8|16)$/.test(dtype)) planes.pixels.forEach((v, i, all) => (all[i] = white - v));
    return planes;
  });
  if (photometric === 0 && !/^uint(8|16)$/.test(dtype)) warnings.push("white is zero: values are as stored");
  const [first] = parts;
  const plane = width * height;
  let pixels = first.pixels;
  if (depth > 1) {
    pixels = new Float32Array(first.channels * depth * plane);
    parts.forEach((part, d) => {
      for (let c = 0; c < part.channels; c++) {
        pixels.set(part.pixels.subarray(c * plane, (c + 1) * plane), (c * depth + d) * plane);
      }
    });
  }
  const straight = decoded({ ...first, pixels }, kind, [depth, height, width], dtype, [
    ...warnings,
    ...noteAlpha(first),
  ]);
  return depth === 1 && orientation > 1 && orientation <= 8 ? turned(straight, orientation) : straight;
}

/** A picture whose first row and column are where the TIFF or EXIF tag says, as it is to be seen. */
function turned(picture: Decoded, orientation: number): Decoded {
  const [channels, , height, width] = picture.shape;
  const sideways = orientation >= 5;
  const [h, w] = sideways ? [width, height] : [height, width];
  const fromRight = [2, 3, 7, 8].includes(orientation);
  const fromBelow = [3, 4, 6, 7].includes(orientation);
  const pixels = new Float32Array(picture.pixels.length);
  for (let i = 0, to = 0; i < channels * h; i++) {
    const [plane, y] = [Math.floor(i / h) * h * w, i % h];
    for (let x = 0; x < w; x++, to++) {
      const [row, column] = sideways ? [x, y] : [y, x];
      const [r, c] = [fromBelow ? height - 1 - row : row, fromRight ? width - 1 - column : column];
      pixels[to] = picture.pixels[plane + r * width + c];
    }
  }
  const warnings = [...picture.warnings, `turned as EXIF orientation ${orientation} says`];
  return { ...picture, pixels, shape: [channels, 1, h, w], warnings };
}

/** What a header says of the picture. */
type Seen = Pick<Metadata, "width" | "height" | "depth" | "space" | "hasAlpha" | "pages" | "orientation">;

async function fromVips(
  bytes: Uint8Array,
  path: string,
  format: Format | null,
  { pages: asked, maxSeconds }: Limits,
  check: Check,
): Promise<Decoded> {
  // "error" stops at damage; libvips' mere warnings (an odd ICC profile, a stray byte) let the pixels through.
  const quick = pictureHeader(bytes, format);
  // Whatever our reading of the header missed, libvips decodes no more pixels than were checked.
  const limitInputPixels = quick === null ? false : quick.width * quick.height;
  const open = (pages: number): Sharp =>
    sharp(bytes, { failOn: "error", ignoreIcc: true, limitInputPixels, ...(pages > 1 ? { pages } : {}) });
  const one: Seen = quick ?? (await open(1).metadata());
  check(one.width, one.height);
  const small = quick && (decodePlainPng(bytes, quick) ?? (await decodeSmallJpeg(bytes, quick, path)));
  if (small) {
    const planes = planesOf(small, small.length / (one.width * one.height), one.space === "b-w" ? "grey" : "rgb", 255);
    return decoded(planes, "image", [1, one.height, one.width], "uint8", []);
  }
  const { depth, kind, warnings } = await pagesToRead(path, one, format, asked, () =>
    // libvips opens pages together only where size and type agree.
    open(one.pages ?? 1)
      .metadata()
      .then(
        () => true,
        () => false,
      ),
  );
  check(one.width, one.height, depth);

  const type = TYPES[one.depth as keyof typeof TYPES];
  if (type === undefined) throw new InputError(`${path}: pixels of type ${one.depth} are not supported`);
  const colours: Colours = ["b-w", "grey16"].includes(one.space) ? "grey" : one.space === "cmyk" ? "cmyk" : "rgb";
  const orientation = depth === 1 ? (one.orientation ?? 1) : 1;
  const image = orientation === 1 ? open(depth) : open(depth).autoOrient();
  if (orientation !== 1) warnings.push(`turned as EXIF orientation ${orientation} says`);
  const known = ["b-w", "grey16", "srgb", "rgb16", "scrgb", "rgb", "cmyk"].includes(one.space);
  // sharp gives the alpha of colour only, and goes from CMYK through sRGB and back unless it is told to stay.
  const withAlpha = colours === "grey" && one.hasAlpha;
  const space = !known ? "srgb" : withAlpha ? (one.space === "grey16" ? "rgb16" : "srgb") : one.space;
  if (colours === "cmyk") image.pipelineColourspace("cmyk");
  const { data, info } = await image
    .timeout({ seconds: maxSeconds })
    .toColourspace(space)
    .raw({ depth: one.depth as keyof typeof TYPES })
    .toBuffer({ resolveWithObject: true });
  if (!known) warnings.push(`${one.space} was converted to RGB`);
  const moving = format === "png" ? animatedPng(bytes) : 0;
  if (moving > 1) warnings.push(`picture 1 of ${moving} was read: an animated PNG`);
  if (colours === "cmyk") warnings.push("CMYK was converted to RGB, without an ink profile");

  const samples = new type.array(...aligned(data, type.array.BYTES_PER_ELEMENT));
  const planes = planesOf(samples, info.channels, colours, type.white);
  return decoded(planes, kind, [depth, info.height / depth, info.width], type.dtype, [
    ...warnings,
    ...noteAlpha(planes),
  ]);
}

/** Pictures of an animated PNG, from the chunk acTL before its pixels; 0 for any other. */
function animatedPng(bytes: Uint8Array): number {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 8192));
  const at = head.indexOf("acTL");
  const pixels = head.indexOf("IDAT");
  return at > 0 && (pixels < 0 || at < pixels) && at + 8 <= head.length ? head.readUInt32BE(at + 4) : 0;
}

/** A typed array must begin at a multiple of its width, which a buffer from a pool need not do. */
function aligned(data: Buffer, width: number): [ArrayBuffer, number, number] {
  const fits = data.byteOffset % width === 0;
  const bytes = fits ? data : Uint8Array.from(data);
  return [bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / width];
}

async function pagesToRead(
  path: string,
  one: Pick<Seen, "pages" | "space">,
  format: Format | null,
  asked: ImageOptions["pages"],
  areAlike: () => Promise<boolean>,
): Promise<{ depth: number; kind: Kind; warnings: string[] }> {
  const { pages = 1, space } = one;
  if (pages === 1) return { depth: 1, kind: "image", warnings: [] };
  if (format === "webp" && asked !== "first") return { depth: pages, kind: "video", warnings: [] };
  const first = (why: string) => ({
    depth: 1,
    kind: "image" as const,
    warnings: [`page 1 of ${pages} was read${why}`],
  });
  if (asked === "first") return first("");
  if (asked === undefined && !["b-w", "grey16"].includes(space)) return first(": pages in colour are no clear volume");
  if (await areAlike()) {
    return { depth: pages, kind: "volume", warnings: [`${pages} pages were read as the slices of a volume`] };
  }
  if (asked === "volume")
    throw new InputError(`${path}: expected ${pages} pages of one size and type for a volume, got different ones`);
  return first(": pages differ in size or type");
}

const noteAlpha = ({ transparent }: Planes): string[] =>
  transparent ? ["what is transparent was put on black (alpha)"] : [];

function decoded(
  { pixels, channels }: Planes,
  kind: Kind,
  [depth, height, width]: readonly [number, number, number],
  dtype: string,
  warnings: readonly string[],
): Decoded {
  return {
    pixels,
    shape: [channels, depth, height, width],
    kind,
    modality: null,
    spacingMm: null,
    orientation: null,
    dtype,
    warnings,
  };
}
