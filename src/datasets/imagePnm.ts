/**
 * Netpbm pictures: PBM, PGM and PPM, packed or as text, after the format's own manual pages. Ours, because libvips comes without them, and
 * mammograms of MIAS are PGM.
 */

export interface PnmHeader {
  readonly width: number;
  readonly height: number;
  readonly bands: 1 | 3;
  /** 1 for bits. */
  readonly most: number;
  readonly plain: boolean;
  /** Where the pixels begin. */
  readonly start: number;
}

const GAP = String.raw`(?:\s|#[^\n\r]*[\n\r])+`;
const HEADER = new RegExp(
  `^P(?:([14])${GAP}(\\d{1,9})${GAP}(\\d{1,9})|([2356])${GAP}(\\d{1,9})${GAP}(\\d{1,9})${GAP}(\\d{1,5}))\\s`,
);

/** What the first bytes say, or null where they are no such header; comments of more than a few thousand letters are too long. */
export function pnmHeader(bytes: Uint8Array): PnmHeader | null {
  if (bytes[0] !== 0x50 || bytes[1] < 0x31 || bytes[1] > 0x36) return null;
  const found = HEADER.exec(
    Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4096)).toString("latin1"),
  );
  if (found === null) return null;
  const kind = found[1] ?? found[4];
  const [width, height] = found[1] === undefined ? [found[5], found[6]] : [found[2], found[3]];
  return {
    width: Number(width),
    height: Number(height),
    bands: kind === "3" || kind === "6" ? 3 : 1,
    most: Number(found[7] ?? 1),
    plain: kind <= "3",
    start: found[0].length,
  };
}

/**
 * Samples of a picture, `[H, W, bands]`: 0…255 where the header's largest value fits into a byte, else 0…65535. As Pillow does, a largest
 * value of another size is brought to white, so that 7 of 15 is round(7 · 255 / 15) = 119; bits are 0 for black and 255.
 *
 * Throws a plain `Error` for a picture that ends too early, and for a size or a largest value that cannot be.
 */
export function decodePnm(bytes: Uint8Array, header: PnmHeader): Uint8Array | Uint16Array {
  const { width, height, bands, most, plain, start } = header;
  if (width === 0 || height === 0) throw new Error(`a size of ${width} x ${height}`);
  if (most === 0 || most > 65535) throw new Error(`a largest value of ${most}; expected 1 to 65535`);
  const bits = bytes[1] === 0x31 || bytes[1] === 0x34;
  const count = width * height * bands;
  const stride = bits ? Math.ceil(width / 8) : width * bands * (most < 256 ? 1 : 2);
  const least = !plain ? stride * height : bits ? count : 2 * count - 1;
  if (bytes.length - start < least) throw new Error("it ends too early");
  const samples = most < 256 ? new Uint8Array(count) : new Uint16Array(count);
  const white = most < 256 ? 255 : 65535;
  const put = (i: number, value: number): void => {
    if (value > most) throw new Error(`a value of ${value}, over the largest, ${most}`);
    samples[i] = most === white ? value : Math.round((value / most) * white);
  };
  if (plain) {
    const next = numbersOf(bytes, start, bits);
    for (let i = 0; i < count; i++) put(i, bits ? 1 - next() : next());
    return samples;
  }
  for (let y = 0, to = 0; y < height; y++) {
    const row = start + y * stride;
    for (let x = 0; x < width * bands; x++, to++) {
      if (bits) put(to, 1 - ((bytes[row + (x >> 3)] >> (7 - (x & 7))) & 1));
      else put(to, most < 256 ? bytes[row + x] : (bytes[row + 2 * x] << 8) | bytes[row + 2 * x + 1]);
    }
  }
  return samples;
}

/** One number of the text after the other; bits need nothing between them. */
function numbersOf(bytes: Uint8Array, start: number, bits: boolean): () => number {
  let at = start;
  const digit = (): number => bytes[at] - 0x30; // NaN at the end
  const isDigit = (): boolean => digit() >= 0 && digit() <= 9;
  return () => {
    for (; at < bytes.length && !isDigit(); at++) {
      if (bytes[at] === 0x23) while (at < bytes.length && bytes[at] !== 10 && bytes[at] !== 13) at++; // a comment
    }
    if (at >= bytes.length) throw new Error("it ends too early");
    if (bits) return Math.min(1, bytes[at++] - 0x30);
    let value = 0;
    for (; isDigit(); at++) value = Math.min(value * 10 + digit(), 2 ** 24);
    return value;
  };
}
