/**
 * Windows bitmaps. Ours, because libvips reads none and fast-bmp leaves out palettes, run-length codes, rows stored from the top
 * and headers of 40 bytes with 32 bits. After Microsoft's description of BITMAPINFOHEADER, BITMAPV4HEADER and BITMAPCOREHEADER.
 */

export interface Bitmap {
  readonly width: number;
  readonly height: number;
  /** Grey where every colour of the palette is. */
  readonly bands: 1 | 3 | 4;
  /** `[H, W, bands]`, first row on top. */
  readonly samples: Uint8Array;
  /** Pixels whose colour the palette lacks: they are black, as in Pillow and browsers. */
  readonly beyond: number;
}

interface Header {
  readonly width: number;
  readonly height: number;
  readonly topDown: boolean;
  readonly bits: number;
  readonly compression: number;
  /** Of R, G, B and alpha, for 16 and 32 bits. */
  readonly masks: readonly number[];
  readonly palette: readonly (readonly [number, number, number])[];
  readonly start: number;
}

/** The size that the header tells, before anything is decoded. Throws a plain `Error` where there is no header. */
export function bitmapSize(bytes: Uint8Array): { width: number; height: number } {
  const { width, height } = headerOf(bytes);
  return { width, height };
}

/**
 * Decodes 1, 4, 8, 16, 24 and 32 bits without compression, with a palette or with bit fields, and run-length codes of 4 and 8
 * bits; alpha where a header of version 4 gives it a mask and a pixel of it is not 0. Fields of fewer than 8 bits are stretched and
 * rounded down, as Pillow does: of 5 bits, 16 becomes ⌊16 · 255 / 31⌋ = 131. Throws a plain `Error` for other compressions, and for a file that
 * ends too early.
 */
export function decodeBitmap(bytes: Uint8Array): Bitmap {
  const header = headerOf(bytes);
  const { width, height, topDown, bits, compression, start } = header;
  if (compression === RLE8 || compression === RLE4) return painted(unrolled(bytes, header), header);
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (start + stride * (height - 1) + Math.ceil((width * bits) / 8) > bytes.length)
    throw new Error("it ends too early");
  const rowAt = (y: number): number => start + stride * (topDown ? y : height - 1 - y);
  if (bits <= 8) return painted(unpacked(bytes, header, rowAt), header);
  const bands = bits !== 24 && header.masks[3] !== 0 ? 4 : 3;
  const samples = new Uint8Array(width * height * bands);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields = header.masks.slice(0, bands).map(fieldOf);
  for (let y = 0, to = 0; y < height; y++) {
    let at = rowAt(y);
    for (let x = 0; x < width; x++) {
      if (bits === 24) {
        samples[to++] = bytes[at + 2];
        samples[to++] = bytes[at + 1];
        samples[to++] = bytes[at];
        at += 3;
        continue;
      }
      const word = bits === 16 ? view.getUint16(at, true) : view.getUint32(at, true);
      at += bits / 8;
      for (const { shift, most } of fields) samples[to++] = Math.floor((((word >>> shift) & most) * 255) / most);
    }
  }
  const bitmap: Bitmap = { width, height, bands, samples, beyond: 0 };
  return bands === 4 ? seen(bitmap) : bitmap;
}

/** Writers fill an alpha channel that they do not use with 0: a picture that nobody could see has none. */
function seen(bitmap: Bitmap): Bitmap {
  const { samples } = bitmap;
  for (let i = 3; i < samples.length; i += 4) if (samples[i] !== 0) return bitmap;
  return { ...bitmap, bands: 3, samples: samples.filter((_, i) => i % 4 !== 3) };
}

/** Palette numbers of 1, 4 or 8 bits, first row on top. */
function unpacked(bytes: Uint8Array, { width, height, bits }: Header, rowAt: (y: number) => number): Uint8Array {
  const indices = new Uint8Array(width * height);
  const perByte = 8 / bits;
  const most = 2 ** bits - 1;
  for (let y = 0, to = 0; y < height; y++) {
    const row = rowAt(y);
    for (let x = 0; x < width; x++) {
      indices[to++] = (bytes[row + Math.floor(x / perByte)] >> (8 - bits * ((x % perByte) + 1))) & most;
    }
  }
  return indices;
}

/**
 * Palette numbers from run-length codes: `n v` is n pixels of v (of 4 bits: its two halves in turn); `0 n`, n > 2, is followed by n
 * pixels as they are, in whole words; `0 0` ends a row, `0 1` the picture, `0 2 x y` goes on x further and y rows up. Rows come
 * from the bottom; what is left out is colour 0, and what goes over the end of a row is dropped.
 */
function unrolled(bytes: Uint8Array, { width, height, bits, start }: Header): Uint8Array {
  const indices = new Uint8Array(width * height);
  let [x, y, at] = [0, height - 1, start];
  const put = (index: number): void => {
    if (x < width) indices[y * width + x] = index;
    x++;
  };
  const pixel = (byte: number, i: number): number => (bits === 8 ? byte : i % 2 === 0 ? byte >> 4 : byte & 15);
  while (y >= 0 && !(y === 0 && x >= width)) {
    if (at + 2 > bytes.length) throw new Error("it ends too early");
    const [count, value] = [bytes[at], bytes[at + 1]];
    at += 2;
    if (count > 0) {
      for (let i = 0; i < count && x < width; i++) put(pixel(value, i));
    } else if (value === 0) {
      [x, y] = [0, y - 1];
    } else if (value === 1) {
      break;
    } else if (value === 2) {
      if (at + 2 > bytes.length) throw new Error("it ends too early");
      [x, y, at] = [x + bytes[at], y - bytes[at + 1], at + 2];
    } else {
      const length = bits === 8 ? value : (value + 1) >> 1;
      if (at + length > bytes.length) throw new Error("it ends too early");
      for (let i = 0; i < value; i++) put(pixel(bytes[at + (bits === 8 ? i : i >> 1)], i));
      at += length + (length % 2);
    }
  }
  return indices;
}

/** Palette numbers to colours; grey where every colour of the palette is. */
function painted(indices: Uint8Array, { width, height, palette }: Header): Bitmap {
  const bands = palette.every(([r, g, b]) => r === g && g === b) ? 1 : 3;
  const samples = new Uint8Array(indices.length * bands);
  let beyond = 0;
  for (let i = 0, to = 0; i < indices.length; i++) {
    const colour = palette[indices[i]] ?? BLACK;
    if (colour === BLACK) beyond++;
    for (let c = 0; c < bands; c++) samples[to++] = colour[c];
  }
  return { width, height, bands, samples, beyond };
}

const BLACK: readonly number[] = [0, 0, 0];

/** Values of the field biCompression. */
const RLE8 = 1;
const RLE4 = 2;

function headerOf(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 26) throw new Error("it ends in its header");
  const start = view.getUint32(10, true);
  const length = view.getUint32(14, true);
  const core = length === 12;
  if (!core && (length < 40 || 14 + length > bytes.length)) throw new Error(`a header of ${length} bytes`);
  const width = core ? view.getUint16(18, true) : view.getInt32(18, true);
  const rows = core ? view.getInt16(20, true) : view.getInt32(22, true);
  const bits = view.getUint16(core ? 24 : 28, true);
  const compression = core ? 0 : view.getUint32(30, true);
  if (width <= 0 || rows === 0) throw new Error(`a size of ${width} x ${rows}`);
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw new Error(`${bits} bits in a pixel; expected 1, 4, 8, 16, 24 or 32`);
  const fields = compression === 3 || compression === 6;
  const runs = (compression === RLE8 && bits === 8) || (compression === RLE4 && bits === 4);
  if (compression !== 0 && !runs && !(fields && bits >= 16)) {
    const expected = "expected 0 (none), 1 or 2 (run lengths of 8 or 4 bits) or 3 (bit fields)";
    throw new Error(`compression ${compression} with ${bits} bits is not supported; ${expected}`);
  }
  if (runs && rows < 0) throw new Error("run lengths with rows stored from the top");
  const mask = (i: number): number => (54 + 4 * i + 4 <= bytes.length ? view.getUint32(54 + 4 * i, true) : 0);
  const usual = bits === 16 ? [0x7c00, 0x3e0, 0x1f, 0] : [0xff0000, 0xff00, 0xff, 0];
  const masks = fields ? [mask(0), mask(1), mask(2), length >= 56 || compression === 6 ? mask(3) : 0] : usual;
  if (masks.slice(0, 3).some((m) => m === 0)) throw new Error("bit fields without a colour");

  const entry = core ? 3 : 4;
  const stored = core ? 0 : view.getUint32(46, true);
  const colours = bits > 8 ? 0 : Math.min(2 ** bits, stored === 0 ? 2 ** bits : stored);
  const at = 14 + length;
  // Some writers forget their palette when they say where the pixels begin.
  const first = bits > 8 ? start : Math.max(start, at + colours * entry);
  if (at + colours * entry > bytes.length) throw new Error("it ends in its palette");
  const palette = Array.from({ length: colours }, (_, i): [number, number, number] => {
    const b = at + i * entry;
    return [bytes[b + 2], bytes[b + 1], bytes[b]];
  });
  return { width, height: Math.abs(rows), topDown: rows < 0, bits, compression, masks, palette, start: first };
}

/** Where the bits of a mask are, and the largest number in them: of 0xff00, 8 and 255. */
function fieldOf(mask: number): { shift: number; most: number } {
  const shift = 31 - Math.clz32(mask & -mask);
  return { shift, most: mask >>> shift };
}
