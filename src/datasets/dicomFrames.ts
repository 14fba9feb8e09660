/** Where the frames of encapsulated pixel data are: items, offset tables, frames of several fragments (PS3.5, A.4). */
import { beginsPicture } from "./dicomCodestream.js";
import type { PixelElement } from "./dicomFile.js";

interface Fragment {
  /** Of the item's tag, from the first byte after the basic offset table: what offset tables count. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

const ITEM = 0xe000fffe; // (FFFE,E000), as a little-endian word
const SEQUENCE_END = 0xe0ddfffe;

/**
 * The bytes of each frame, in order. A frame may be cut into several fragments: the extended offset table says where frames
 * begin, or the basic one; without a table that fits, there is one fragment a frame, or one frame, or a frame begins wherever a
 * fragment begins with the signature of a compressed picture.
 *
 * @throws plain errors: no items, a fragment beyond the end of the file, or fragments that do not make so many frames
 */
export function encapsulatedFrames(pixels: PixelElement, frames: number, warnings: string[]): Uint8Array[] {
  const { table, fragments } = itemsOf(pixels.bytes, warnings);
  if (fragments.length < frames) throw new Error(`expected ${frames} frames, got ${fragments.length} fragments`);
  const given = pixels.extendedOffsets ?? table;
  if (given !== null && given.length > 0) {
    const groups = given.length === frames ? groupsAt(fragments, given) : null;
    if (groups !== null) return groups.map(joined);
    // With as many fragments as frames the table adds nothing, and writers get it wrong.
    warnings.push("the offset table does not fit the frames: frames were told by their fragments");
  }
  if (fragments.length === frames) return fragments.map(({ bytes }) => bytes);
  if (frames === 1) return [joined(fragments)];
  const begins = fragments.filter(({ bytes }) => beginsPicture(bytes)).map(({ offset }) => offset);
  const groups = begins.length === frames ? groupsAt(fragments, begins) : null;
  if (groups !== null) return groups.map(joined);
  throw new Error(`expected ${frames} frames, got ${fragments.length} fragments and no offset table that fits`);
}

function itemsOf(bytes: Uint8Array, warnings: string[]): { table: number[] | null; fragments: Fragment[] } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fragments: Fragment[] = [];
  let table: number[] | null = null;
  let base = 0;
  for (let at = 0; at + 8 <= bytes.length;) {
    const tag = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    if (tag === SEQUENCE_END) return { table, fragments };
    if (tag !== ITEM) {
      if (table === null) throw new Error("expected the items of encapsulated pixel data");
      warnings.push("what follows the last fragment is not a fragment and was ignored");
      return { table, fragments };
    }
    const from = at + 8;
    if (length > bytes.length - from) {
      throw new Error(`truncated: a fragment of ${length} bytes, and ${bytes.length - from} are left`);
    }
    if (table === null) {
      table = Array.from({ length: length >> 2 }, (_, i) => view.getUint32(from + 4 * i, true));
      base = from + length;
    } else {
      fragments.push({ offset: at - base, bytes: bytes.subarray(from, from + length) });
    }
    at = from + length;
  }
  warnings.push("the pixel data have no end mark");
  return { table, fragments };
}

/** Fragments by frame, or null where an offset is not the beginning of a fragment, or not beyond the one before. */
function groupsAt(fragments: readonly Fragment[], offsets: readonly number[]): Fragment[][] | null {
  const groups: Fragment[][] = [];
  for (const fragment of fragments) {
    if (fragment.offset === offsets[groups.length]) groups.push([fragment]);
    else if (groups.length === 0) return null;
    else groups[groups.length - 1].push(fragment);
  }
  return groups.length === offsets.length ? groups : null;
}

function joined(fragments: readonly Fragment[]): Uint8Array {
  return fragments.length === 1 ? fragments[0].bytes : Buffer.concat(fragments.map(({ bytes }) => bytes));
}
