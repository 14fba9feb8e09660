/** What a file is, told from its first bytes and never from its name. */
import { extname } from "node:path";
import { readRange } from "../files.js";
import { InputError } from "../types.js";
import { pnmHeader } from "./imagePnm.js";

/** What we read, by one name each. A GIF file may turn out to be a picture or a video, a zip file an array of numpy. */
export type Format =
  | "png"
  | "jpeg"
  | "gif"
  | "bmp"
  | "tiff"
  | "webp"
  | "pnm"
  | "mov"
  | "avi"
  | "mpeg"
  | "mpegts"
  | "mpegvideo"
  | "matroska"
  | "asf"
  | "flv"
  | "dicom"
  | "nifti"
  | "gzip"
  | "npy"
  | "zip";

/** `format` is null for what we do not read; `what` finishes the sentence "got …". */
export interface Content {
  readonly format: Format | null;
  readonly what: string;
}

const ascii = (bytes: Uint8Array, from: number, to: number): string =>
  String.fromCharCode(...bytes.subarray(from, Math.min(to, bytes.length)));

/** Formats told by the text at an offset; null for those that people do try, and we do not read. */
const KNOWN: readonly (readonly [offset: number, magic: string, format: Format | null, what: string])[] = [
  [0, "GIF8", "gif", "a GIF file"],
  [0, "BM", "bmp", "a BMP file"],
  [0, "II*\0", "tiff", "a TIFF file"],
  [0, "MM\0*", "tiff", "a TIFF file"],
  [0, "II+\0", "tiff", "a TIFF file"], // BigTIFF
  [0, "MM\0+", "tiff", "a TIFF file"],
  [8, "WEBP", "webp", "a WebP file"],
  [8, "AVI ", "avi", "an AVI video"],
  [4, "ftypavif", null, "an AVIF file"],
  [4, "ftyphei", null, "a HEIC file"],
  [4, "ftypmif1", null, "a HEIC file"],
  [4, "ftyp", "mov", "an MP4 or MOV video"],
  [4, "moov", "mov", "a MOV video"],
  [4, "mdat", "mov", "a MOV video"],
  [4, "wide", "mov", "a MOV video"],
  [4, "free", "mov", "a MOV video"],
  [4, "skip", "mov", "a MOV video"],
  [0, "\0\0\x01\xba", "mpeg", "an MPEG video"],
  [0, "\0\0\x01\xb3", "mpegvideo", "an MPEG video"],
  [0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf", "a Windows Media video"],
  [0, "FLV\x01", "flv", "a Flash video"],
  [0, "\x1a\x45\xdf\xa3", "matroska", "a Matroska or WebM video"],
  [0, "PK\x03\x04", "zip", "a zip or npz file"],
  [0, "\x93NUMPY", "npy", "an npy file"],
  [0, "\x89HDF", null, "an HDF5 file"],
  [0, "%PDF", null, "a PDF file"],
  [257, "ustar", null, "a tar archive"],
  [0, "BZh", null, "a bzip2 file"],
  [0, "\xfd7zXZ", null, "an xz file"],
  [0, "NRRD", null, "an NRRD file"],
  [0, "CDF\x01", null, "a netCDF file (MINC 1)"],
  [0, "CDF\x02", null, "a netCDF file (MINC 1)"],
  [0, "MATRIX7", null, "an ECAT 7 file"],
  [0, "MATLAB 5.0 MAT", null, "a MATLAB file"],
  [0, "SIMPLE  =", null, "a FITS file"],
  [0, "TRACK\0", null, "a file of streamlines"],
  [0, "mrtrix tracks", null, "a file of streamlines"],
  [0, "Rar!", null, "a RAR archive"],
  [0, "7z\xbc\xaf\x27\x1c", null, "a 7-Zip archive"],
  [0, "\x28\xb5\x2f\xfd", null, "a Zstandard file"],
  [0, "\0\0\0\x0cjP  \r\n", null, "a JPEG 2000 picture outside of DICOM"],
  [0, "\xff\x4f\xff\x51", null, "a JPEG 2000 codestream outside of DICOM"],
  [0, "\0\0\0\x0cJXL ", null, "a JPEG XL picture outside of DICOM"],
  [0, "\xff\x0a", null, "a JPEG XL picture outside of DICOM"],
  [0, "8BPS", null, "a Photoshop file"],
  [0, "\0\0\x01\0", null, "an icon file"],
  [0, "DDS ", null, "a DDS file"],
  [0, "\x76\x2f\x31\x01", null, "an OpenEXR file"],
  [0, "ObjectType", null, "a MetaImage header"],
];

/** Enough of the beginning of a file for `contentOf`. */
export const HEAD = 8192;

/** The first bytes of a file, `HEAD` at most, or an `InputError` that names it. */
export const readHead = (path: string): Uint8Array => readRange(path, 0, HEAD);

/** MPEG transport stream: packets of 188 bytes, each beginning with 0x47, four of them or as many as there are. */
function isTransportStream(bytes: Uint8Array): boolean {
  const starts = [0, 188, 376, 564].filter((at) => at < bytes.length);
  return bytes.length >= 377 && starts.every((at) => bytes[at] === 0x47);
}

/** Reads the magic bytes. `contentOf(new Uint8Array(0)).what` is "an empty file". */
export function contentOf(bytes: Uint8Array): Content {
  if (bytes.length === 0) return { format: null, what: "an empty file" };
  if (ascii(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return { format: "png", what: "a PNG file" };
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return { format: "jpeg", what: "a JPEG file" };
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return { format: "gzip", what: "a gzip file" };
  if (pnmHeader(bytes) !== null) return { format: "pnm", what: "a Netpbm file" };
  if (isNifti(bytes)) return { format: "nifti", what: "a NIfTI file" };
  if (isDicom(bytes)) return { format: "dicom", what: "a DICOM file" };
  const text = isText(bytes);
  for (const [offset, magic, format, what] of KNOWN) {
    if (text && magic.length <= 2) continue; // "BMI of 12 patients" is a sentence, not a bitmap
    if (ascii(bytes, offset, offset + magic.length) === magic) return { format, what };
  }
  if (isTransportStream(bytes)) return { format: "mpegts", what: "an MPEG video" };
  if (isMgh(bytes)) return { format: null, what: "a FreeSurfer .mgh/.mgz volume (mri_convert writes it as NIfTI)" };
  if (firstWordIs(bytes, 348)) {
    return { format: null, what: bytes.length < 348 ? "the beginning of a NIfTI header" : "an Analyze 7.5 header" };
  }
  if (text) return { format: null, what: "a text file" };
  return { format: null, what: "a binary file of unknown kind" };
}

/** The one error line for a file that is not what was asked for: `scan.dcm: expected a DICOM file, got a text file`. */
export function wrongContent(path: string, expected: string, what: string): InputError {
  return new InputError(`${path}: expected ${expected}, got ${what}`);
}

/** What the name promises, for the text of an error only. */
export function expectedFromName(path: string): string {
  switch (extname(path.toLowerCase().replace(/\.gz$/, ""))) {
    case ".dcm":
    case ".dicom":
      return "a DICOM file";
    case ".npy":
    case ".npz":
      return "an array of numpy";
    case ".nii":
      return "a NIfTI file";
    case ".png":
    case ".jpg":
    case ".jpeg":
      return "a PNG or JPEG file";
    case ".tif":
    case ".tiff":
    case ".webp":
    case ".gif":
    case ".bmp":
    case ".pgm":
    case ".ppm":
      return "a picture";
    case ".mp4":
    case ".m4v":
    case ".mov":
    case ".avi":
    case ".mpg":
    case ".mpeg":
    case ".ts":
    case ".mkv":
    case ".wmv":
    case ".flv":
    case ".webm":
      return "a video";
    default:
      return "a picture, a video, a DICOM or a NIfTI file";
  }
}

const firstWordIs = (bytes: Uint8Array, value: number): boolean => {
  if (bytes.length < 4) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 4);
  return view.getInt32(0, true) === value || view.getInt32(0, false) === value;
};

/** NIfTI-1 and NIfTI-2, single file ("n+") or header of a pair ("ni"): the header size first, then the magic text. */
function isNifti(bytes: Uint8Array): boolean {
  if (firstWordIs(bytes, 348)) return /^n[+i]1$/.test(ascii(bytes, 344, 347));
  if (firstWordIs(bytes, 540)) return /^n[+i]2$/.test(ascii(bytes, 4, 7));
  return false;
}

/** FreeSurfer's MGH: big-endian words version = 1, width, height, depth, frames, and type 0, 1, 3 or 4. */
function isMgh(bytes: Uint8Array): boolean {
  if (bytes.length < 24) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 24);
  const [version, width, height, depth, frames, type] = [0, 4, 8, 12, 16, 20].map((at) => view.getInt32(at, false));
  return (
    version === 1 && [width, height, depth, frames].every((n) => n > 0 && n < 65536) && [0, 1, 3, 4].includes(type)
  );
}

/**
 * DICOM with its preamble ("DICM" at byte 128), or without one: then the data set begins at byte 0, in group 0002 or
 * 0008, either with the two letters of an explicit value representation or with an implicit 32-bit length that fits.
 */
function isDicom(bytes: Uint8Array): boolean {
  if (ascii(bytes, 128, 132) === "DICM") return true;
  if (bytes.length < 16) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const explicit = /^(AE|AS|CS|DA|DS|DT|IS|LO|LT|OB|PN|SH|ST|TM|UI|UL|UN|US)$/.test(ascii(bytes, 4, 6));
  const little = view.getUint16(0, true);
  const big = view.getUint16(0, false);
  if (explicit) return little === 2 || little === 8 || big === 8;
  const implicitLength = view.getUint32(4, true);
  return little === 8 && view.getUint16(2, true) <= 0x70 && implicitLength <= 128 && 8 + implicitLength < bytes.length;
}

function isText(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, 4096);
  if (head.includes(0)) return false;
  const controls = head.filter((b) => b < 32 && b !== 9 && b !== 10 && b !== 12 && b !== 13).length;
  const high = head.filter((b) => b > 126).length;
  return controls === 0 && high <= head.length / 3;
}
