/**
 * Windows bitmaps. Ours, because libvips reads none and fast-bmp leaves out palettes, rows stored from the top and headers
 * of 40 bytes with 32 bits. After Microsoft's description of BITMAPINFOHEADER, BITMAPV4HEADER and BITMAPCOREHEADER.
 */

export interface Bitmap {
  readonly width: number;
  readonly height: number;
  /** Grey where every colour of the palette is. */
  readonly bands: 1 | 3 | 4;
  /** `[H, W, bands]`, first row on top. */
  readonly samples: Uint8Array;
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
 * Decodes 1, 4, 8, 16, 24 and 32 bits without compression, with a palette or with bit fields; alpha where a header of
 * version 4 gives it a mask. Throws a plain `Error` for run-length codes, and for a file that ends too early.
 */
export function decodeBitmap(bytes: Uint8Array): Bitmap {
  const header = headerOf(bytes);
  const { width, height, topDown, bits, start } = header;
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (start + stride * (height - 1) + Math.ceil((width * bits) / 8) > bytes.length)
    throw new Error("it ends too early");
  const rowAt = (y: number): number => start + stride * (topDown ? y : height - 1 - y);
  if (bits <= 8) return paletted(bytes, header, rowAt);
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
      for (const { shift, most } of fields) samples[to++] = Math.round((((word >>> shift) & most) * 255) / most);
    }
  }
  return { width, height, bands, samples };
}

function paletted(bytes: Uint8Array, { width, height, bits, palette }: Header, rowAt: (y: number) => number): Bitmap {
  const grey = palette.every(([r, g, b]) => r === g && g === b);
  const bands = grey ? 1 : 3;
  const samples = new Uint8Array(width * height * bands);
  const perByte = 8 / bits;
  const most = 2 ** bits - 1;
  for (let y = 0, to = 0; y < height; y++) {
    const row = rowAt(y);
    for (let x = 0; x < width; x++) {
      const index = (bytes[row + Math.floor(x / perByte)] >> (8 - bits * ((x % perByte) + 1))) & most;
      if (index >= palette.length) throw new Error(`a pixel of colour ${index} in a palette of ${palette.length}`);
      for (let c = 0; c < bands; c++) samples[to++] = palette[index][c];
    }
  }
  return { width, height, bands, samples };
}

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
  if (compression !== 0 && !(fields && bits >= 16)) {
    throw new Error(`compression ${compression} is not supported; expected 0 (none) or 3 (bit fields)`);
  }
  const mask = (i: number): number => (54 + 4 * i + 4 <= bytes.length ? view.getUint32(54 + 4 * i, true) : 0);
  const usual = bits === 16 ? [0x7c00, 0x3e0, 0x1f, 0] : [0xff0000, 0xff00, 0xff, 0];
  const masks = fields ? [mask(0), mask(1), mask(2), length >= 56 || compression === 6 ? mask(3) : 0] : usual;
  if (masks.slice(0, 3).some((m) => m === 0)) throw new Error("bit fields without a colour");

  const entry = core ? 3 : 4;
  const stored = core ? 0 : view.getUint32(46, true);
  const colours = bits > 8 ? 0 : Math.min(2 ** bits, stored === 0 ? 2 ** bits : stored);
  const at = 14 + length;
  if (at + colours * entry > bytes.length) throw new Error("it ends in its palette");
  const palette = Array.from({ length: colours }, (_, i): [number, number, number] => {
    const b = at + i * entry;
    return [bytes[b + 2], bytes[b + 1], bytes[b]];
  });
  return { width, height: Math.abs(rows), topDown: rows < 0, bits, compression, masks, palette, start };
}

/** Where the bits of a mask are, and the largest number in them: of 0xff00, 8 and 255. */
function fieldOf(mask: number): { shift: number; most: number } {
  const shift = 31 - Math.clz32(mask & -mask);
  return { shift, most: mask >>> shift };
}
