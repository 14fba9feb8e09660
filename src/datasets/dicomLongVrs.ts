/** OV, SV and UV, the value representations of 64-bit integers, which dicom-parser does not know to have long lengths (PS3.5, 7.1.2). */

/** Value representations whose length has 32 bits. */
const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
const UNKNOWN = new Set(["OV", "SV", "UV"]);
const UNDEFINED = 0xffffffff;

/**
 * Runs a parser over an explicit data set in which the elements of 64-bit integers, in sequences too, are called OB, and puts the
 * bytes back as they were.
 */
export function withKnownVrs<T>(body: Uint8Array, littleEndian: boolean, parse: () => T): T {
  const places = longVrsIn(body, littleEndian);
  const letters = places.map((at) => body[at]);
  const kinds = places.map((at) => body[at + 1]);
  for (const at of places) body.set([0x4f, 0x42], at); // OB
  try {
    return parse();
  } finally {
    places.forEach((at, i) => body.set([letters[i], kinds[i]], at));
  }
}

/** Where the letters of those representations stand: as far as the data set makes sense. */
function longVrsIn(body: Uint8Array, littleEndian: boolean): number[] {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const places: number[] = [];
  for (let at = 0; at + 12 <= body.length;) {
    if (view.getUint16(at, littleEndian) === 0xfffe) {
      at += 8; // an item begins or ends; what is in it follows
      continue;
    }
    const vr = String.fromCharCode(body[at + 4], body[at + 5]);
    if (!/^[A-Z]{2}$/.test(vr)) return places;
    if (!LONG.has(vr)) {
      at += 8 + view.getUint16(at + 6, littleEndian);
      continue;
    }
    const length = view.getUint32(at + 8, littleEndian);
    if (UNKNOWN.has(vr)) places.push(at + 4);
    if (vr === "SQ") at += 12;
    else if (length !== UNDEFINED) at += 12 + length;
    else at = vr === "UN" ? afterImplicit(view, at + 12) : afterFragments(view, at + 12, littleEndian);
  }
  return places;
}

/** Behind the end mark of encapsulated pixels, such as those of an icon. */
function afterFragments(view: DataView, from: number, littleEndian: boolean): number {
  for (let at = from; at + 8 <= view.byteLength;) {
    if (view.getUint16(at, littleEndian) !== 0xfffe) return view.byteLength;
    if (view.getUint16(at + 2, littleEndian) === 0xe0dd) return at + 8;
    at += 8 + view.getUint32(at + 4, littleEndian);
  }
  return view.byteLength;
}

/** Behind a sequence in an element of unknown representation: that is implicit little endian (PS3.5, 6.2.2, note 4). */
function afterImplicit(view: DataView, from: number): number {
  let depth = 1;
  for (let at = from; at + 8 <= view.byteLength;) {
    const length = view.getUint32(at + 4, true);
    if (view.getUint16(at, true) === 0xfffe) {
      const ends = view.getUint16(at + 2, true) === 0xe0dd;
      at += 8;
      if (ends && --depth === 0) return at;
    } else if (length === UNDEFINED) {
      depth++;
      at += 8;
    } else {
      at += 8 + length;
    }
  }
  return view.byteLength;
}
