/** What a file will turn out to be, from its first bytes: told before anything is decoded. */
import { statSync } from "node:fs";
import { readBytes } from "../files.js";
import type { Kind } from "../types.js";
import { kindOfArray } from "./arrayFile.js";
import { seriesAddress } from "./dicomSlices.js";
import { tiffPages } from "./imageTiff.js";
import { contentOf, readHead } from "./sniff.js";
import { isVideoFormat } from "./video.js";

/**
 * A folder, a series in one or a NIfTI file is a volume, a video format is a video, a GIF or WebP file is one where it moves, a TIFF file of
 * several pages is a volume, an array of numpy what its shape says. Everything else is taken for a picture: a DICOM file alone may still turn out to be an
 * ultrasound loop when it is read, and the reader knows better.
 */
export function likelyKind(path: string): Kind {
  if (seriesAddress(path) !== null) return "volume";
  if (statSync(path).isDirectory() || VOLUME_NAME.test(path)) return "volume";
  const head = readHead(path);
  const { format } = contentOf(head);
  if (format === "nifti") return "volume";
  if (format === "gif") return gifMoves(readBytes(path)) ? "video" : "image";
  if (format === "webp") return webpMoves(head) ? "video" : "image";
  if (format === "tiff") return hasPages(readBytes(path)) ? "volume" : "image";
  if (format === "npy" || format === "zip") return kindOfArray(path, format);
  if (format === null) return VIDEO_NAME.test(path) ? "video" : "image"; // nothing else to go by
  return isVideoFormat(format) ? "video" : "image";
}

/** What a name says, without a look at the file: a name that says nothing is a picture's. */
export function kindOfName(path: string): Kind {
  if (VOLUME_NAME.test(path)) return "volume";
  return VIDEO_NAME.test(path) ? "video" : "image";
}

const VOLUME_NAME = /\.(nii|nii\.gz|hdr|img|mgz)$/i;
const VIDEO_NAME = /\.(mp4|m4v|mov|avi|mpe?g|ts|mkv|webm|gif|wmv)$/i;

/** A second image descriptor (0x2c), past the blocks before it: GIF89a specification, section 20. */
function gifMoves(bytes: Uint8Array): boolean {
  const paletteBytes = (packed: number): number => (packed & 0x80 ? 3 * 2 ** ((packed & 7) + 1) : 0);
  const pastBlocks = (from: number): number => {
    let at = from;
    while (at < bytes.length && bytes[at] !== 0) at += bytes[at] + 1;
    return at + 1;
  };
  let images = 0;
  for (let at = 13 + paletteBytes(bytes[10]); at < bytes.length;) {
    if (bytes[at] === 0x21) at = pastBlocks(at + 2);
    else if (bytes[at] === 0x2c) {
      if (++images === 2) return true;
      at = pastBlocks(at + 11 + paletteBytes(bytes[at + 9])); // one byte of code size comes before the blocks
    } else return false;
  }
  return false;
}

/** The animation bit of the extended header: WebP container specification, "VP8X". */
const webpMoves = (head: Uint8Array): boolean =>
  Buffer.from(head.subarray(12, 16)).toString("latin1") === "VP8X" && (head[20] & 2) !== 0;

/** True for two directories or more. */
function hasPages(bytes: Uint8Array): boolean {
  try {
    return tiffPages(bytes).length > 1;
  } catch {
    return false; // damaged: the reader will say so
  }
}
