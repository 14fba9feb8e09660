/** The headers of compressed pictures: how large they are, and in which colours, before anything is decoded. */

/** JPEG and JPEG-LS: the frame header (ISO 10918-1, B.2.2; 14495-1, C.2.2). JPEG 2000: SIZ and COD (15444-1, A.5.1 and A.6.1). */
export interface Codestream {
  readonly rows: number;
  readonly columns: number;
  readonly components: number;
  /** Bits a sample. */
  readonly precision: number;
  /** JPEG: what its markers say of its colours; null where they say nothing. */
  readonly ybr: boolean | null;
  /** JPEG 2000: whether decoding undoes a colour transform. */
  readonly colourTransform: boolean;
  /** JPEG 2000: where the description of the first component stands, 3 bytes each, if samples have a sign; else null. */
  readonly signAt: number | null;
  /** JPEG-LS: whether components come one after another (ILV 0), and are decoded so. */
  readonly planar: boolean;
}

/** The header of a JPEG, JPEG-LS or JPEG 2000 codestream (inside a JP2 file too), or null where there is none. */
export function codestreamOf(bytes: Uint8Array): Codestream | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12) return null;
  if (view.getUint16(0) === 0xffd8) return jpegOf(bytes, view);
  const start = view.getUint32(4) === 0x6a502020 ? startInJp2(view) : 0;
  return start === null ? null : jpeg2000Of(view, start);
}

/** True where a fragment begins a picture: it starts with SOI, or SOC and SIZ, or the signature of a JP2 or JPEG XL file. */
export function beginsPicture(bytes: Uint8Array): boolean {
  if (bytes.length < 12) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 12);
  if (view.getUint16(0) === 0xffd8 && bytes[2] === 0xff) return true;
  if (view.getUint32(0) === 0xff4fff51 || view.getUint16(0) === 0xff0a) return true;
  return view.getUint32(0) === 12 && [0x6a502020, 0x4a584c20].includes(view.getUint32(4));
}

function jpegOf(bytes: Uint8Array, view: DataView): Codestream | null {
  let jfif = false;
  let adobe: number | null = null;
  let found: Codestream | null = null;
  for (let at = 2; at + 4 <= bytes.length;) {
    if (bytes[at] !== 0xff) return null;
    const marker = bytes[at + 1];
    if (marker === 0xff || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += marker === 0xff ? 1 : 2; // a byte of filling, or a marker without a segment
      continue;
    }
    const length = view.getUint16(at + 2);
    const end = at + 2 + length;
    if (length < 2 || end > bytes.length) return null;
    const text = String.fromCharCode(...bytes.subarray(at + 4, Math.min(at + 9, end)));
    if (marker === 0xe0 && text.startsWith("JFIF")) jfif = true;
    if (marker === 0xee && text === "Adobe" && length >= 14) adobe = bytes[at + 15];
    // SOF0…SOF15 without DHT, JPG and DAC; SOF55 is that of JPEG-LS.
    if ((marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) || marker === 0xf7) {
      if (length < 8 || length < 8 + 3 * bytes[at + 9]) return null;
      const components = bytes[at + 9];
      const ids = Array.from({ length: components }, (_, i) => String.fromCharCode(bytes[at + 10 + 3 * i])).join("");
      const named = ids.toUpperCase() === "RGB";
      found = {
        precision: bytes[at + 4],
        rows: view.getUint16(at + 5),
        columns: view.getUint16(at + 7),
        components,
        ybr: marker === 0xf7 ? null : named ? false : jfif ? true : adobe === null ? null : adobe !== 0,
        colourTransform: false,
        signAt: null,
        planar: false,
      };
      if (marker !== 0xf7) return found;
    }
    if (marker === 0xda && found !== null) {
      const interleaved = bytes[at + 6 + 2 * bytes[at + 4]]; // after the components of the scan and NEAR
      return { ...found, planar: found.components > 1 && interleaved === 0 };
    }
    if (marker === 0xda || marker === 0xd9) return null;
    at = end;
  }
  return null;
}

/** Where the codestream box of a JP2 file begins. */
function startInJp2(view: DataView): number | null {
  for (let at = 0; at + 8 <= view.byteLength;) {
    const length = view.getUint32(at);
    if (view.getUint32(at + 4) === 0x6a703263) return at + (length === 1 ? 16 : 8); // jp2c
    if (length < 8) return null;
    at += length;
  }
  return null;
}

function jpeg2000Of(view: DataView, start: number): Codestream | null {
  const size = start + 2; // SIZ follows SOC at once
  if (size + 41 > view.byteLength || view.getUint32(start) !== 0xff4fff51) return null;
  const components = view.getUint16(size + 38);
  const columns = view.getUint32(size + 6) - view.getUint32(size + 14);
  const rows = view.getUint32(size + 10) - view.getUint32(size + 18);
  const precision = (view.getUint8(size + 40) & 0x7f) + 1;
  const signAt = view.getUint8(size + 40) >= 0x80 ? size + 40 : null;
  let colourTransform = false;
  for (let at = size + 2 + view.getUint16(size + 2); at + 4 <= view.byteLength;) {
    const marker = view.getUint16(at);
    if (marker === 0xff52 && at + 9 <= view.byteLength) colourTransform = view.getUint8(at + 8) !== 0; // COD
    if (marker === 0xff90 || marker >> 8 !== 0xff) break; // the first tile
    at += 2 + Math.max(2, view.getUint16(at + 2));
  }
  return { rows, columns, components, precision, ybr: null, colourTransform, signAt, planar: false };
}

/**
 * Bits a sample of a JPEG XL codestream (ISO 18181-1, annex D: SizeHeader, ImageMetadata), inside its container too; null where it
 * has a preview or moves, or is none. An `ff 0a` of the usual metadata is 8.
 */
export function jpegXlBits(bytes: Uint8Array): number | null {
  const start = bytes[0] === 0xff && bytes[1] === 0x0a ? 0 : startInJxl(bytes);
  if (start === null || bytes.length < start + 16) return null;
  let at = 8 * (start + 2);
  const u = (bits: number): number => {
    let value = 0;
    for (let i = 0; i < bits; i++, at++) value += ((bytes[at >> 3] >> (at & 7)) & 1) * 2 ** i;
    return value;
  };
  const size = (): void => {
    const small = u(1) === 1;
    const length = (): number => (small ? u(5) : u([9, 13, 18, 30][u(2)]));
    length();
    if (u(3) === 0) length(); // no ratio to the height: the width follows
  };
  size();
  if (u(1) === 1) return 8; // all as usual
  if (u(1) === 1) {
    u(3); // orientation
    if (u(1) === 1) size();
    if (u(1) === 1 || u(1) === 1) return null;
  }
  if (u(1) === 1) return null; // floats
  const choice = u(2);
  return choice === 3 ? 1 + u(6) : [8, 10, 12][choice];
}

/** Where the codestream begins in the boxes of a JPEG XL file. */
function startInJxl(bytes: Uint8Array): number | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 12 <= bytes.length;) {
    const [length, type] = [view.getUint32(at), view.getUint32(at + 4)];
    const head = length === 1 ? 16 : 8;
    if (type === 0x6a786c63) return at + head; // jxlc
    if (type === 0x6a786c70) return at + head + 4; // jxlp: parts, each with its number
    if (length < 8) return null;
    at += length;
  }
  return null;
}
