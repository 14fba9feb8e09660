/**
 * What the first bytes of a PNG or JPEG file say of the picture: libvips knows too, and takes a third of a millisecond to
 * tell, because its answer comes from another thread.
 */
import type { Format } from "./sniff.js";

/** In libvips' words, as `sharp.metadata()` gives them. */
export interface PictureHeader {
  readonly width: number;
  readonly height: number;
  readonly depth: "uchar" | "ushort";
  readonly space: "b-w" | "grey16" | "srgb" | "rgb16";
  readonly hasAlpha: boolean;
  /** A JPEG of one pass, grey or of brightness and two differences, with its last marker. */
  readonly plainJpeg: boolean;
  /** A PNG of 8 bits, grey or colours, line by line. */
  readonly plainPng: boolean;
}

/**
 * The header of an ordinary picture: PNG of 8 or 16 bits, grey or colours, without a palette; JPEG of 8 bits, grey or colours. Null for
 * all others, and wherever an EXIF tag may turn the picture: libvips is to be asked.
 */
export function pictureHeader(bytes: Uint8Array, format: Format | null): PictureHeader | null {
  if (bytes.length < 64) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = format === "png" ? ofPng(view) : format === "jpeg" ? ofJpeg(view) : null;
  return found !== null && found.width > 0 && found.height > 0 ? found : null;
}

/** PNG (ISO 15948): IHDR is the first chunk; of those before the pixels, none may change what IHDR says. */
function ofPng(view: DataView): PictureHeader | null {
  const [IHDR, IDAT, other] = [0x49484452, 0x49444154, [0x504c5445, 0x74524e53, 0x65584966, 0x6163544c]];
  if (view.getUint32(8) !== 13 || view.getUint32(12) !== IHDR) return null;
  const [bits, type] = [view.getUint8(24), view.getUint8(25)];
  if (![8, 16].includes(bits) || ![0, 2, 4, 6].includes(type)) return null;
  let at = 33;
  for (; at + 8 <= view.byteLength && view.getUint32(at + 4) !== IDAT; at += 12 + view.getUint32(at)) {
    if (other.includes(view.getUint32(at + 4))) return null; // PLTE, tRNS, eXIf, acTL
  }
  if (at + 8 > view.byteLength) return null;
  const grey = type === 0 || type === 4;
  return {
    width: view.getUint32(16),
    height: view.getUint32(20),
    depth: bits === 8 ? "uchar" : "ushort",
    space: bits === 8 ? (grey ? "b-w" : "srgb") : grey ? "grey16" : "rgb16",
    hasAlpha: type >= 4,
    plainJpeg: false,
    plainPng: bits === 8 && type <= 2 && view.getUint16(26) === 0 && view.getUint8(28) === 0,
  };
}

/** JPEG (ISO 10918-1, annex B): marker segments up to the first scan. */
function ofJpeg(view: DataView): PictureHeader | null {
  let [jfif, adobe] = [false, false];
  let frame: { readonly at: number; readonly sequential: boolean } | null = null;
  for (let at = 2; at + 9 <= view.byteLength; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    const text = view.getUint32(at + 4);
    if (marker === 0xffda && frame !== null) return ofFrame(view, frame.at, frame.sequential && (jfif || !adobe));
    if (marker === 0xffe1 && text === 0x45786966) return null; // "Exif"
    if (marker === 0xffe0)
      jfif ||= text === 0x4a464946; // "JFIF"
    else if (marker === 0xffee)
      adobe ||= text === 0x41646f62; // "Adob"
    else if (marker >= 0xffc0 && marker <= 0xffc2 && frame === null) frame = { at, sequential: marker !== 0xffc2 };
    // Tables and notes; anything else (another process, a second frame, a thumbnail's end) is left to libvips.
    else if (![0xffdb, 0xffc4, 0xffdd, 0xfffe].includes(marker) && !(marker >= 0xffe1 && marker <= 0xffef)) return null;
  }
  return null;
}

/** @param plain whether there is one pass, and three components are brightness and two differences */
function ofFrame(view: DataView, at: number, plain: boolean): PictureHeader | null {
  if (at + 19 > view.byteLength) return null;
  const [bits, components] = [view.getUint8(at + 4), view.getUint8(at + 9)];
  if (bits !== 8 || ![1, 3].includes(components)) return null;
  const numbered = [0, 1, 2].every((i) => view.getUint8(at + 10 + 3 * i) === i + 1); // not R, G and B
  const ends = view.getUint16(view.byteLength - 2) === 0xffd9;
  return {
    width: view.getUint16(at + 7),
    height: view.getUint16(at + 5),
    depth: "uchar",
    space: components === 1 ? "b-w" : "srgb",
    hasAlpha: false,
    plainJpeg: plain && ends && (components === 1 || numbered),
    plainPng: false,
  };
}
