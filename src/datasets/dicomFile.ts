/** From the bytes of a DICOM file to its tags: the container (PS3.10), transfer syntaxes and functional groups. */
import { constants } from "node:buffer";
import { gunzipSync, inflateRawSync } from "node:zlib";
import dicomParser, { type DataSet } from "dicom-parser";
import { InputError } from "../types.js";
import { withKnownVrs } from "./dicomLongVrs.js";
import { contentOf, wrongContent } from "./sniff.js";

const IMPLICIT_LITTLE = "1.2.840.10008.1.2";
const EXPLICIT_LITTLE = "1.2.840.10008.1.2.1";
const DEFLATED = "1.2.840.10008.1.2.1.99";
const EXPLICIT_BIG = "1.2.840.10008.1.2.2";

/** The element that holds the pixels, cut to what the file holds of it. */
export interface PixelElement {
  readonly tag: "x7fe00008" | "x7fe00009" | "x7fe00010";
  readonly vr: string | undefined;
  /** The value: samples, or the items of encapsulated frames and all that follows them. */
  readonly bytes: Uint8Array;
  /** The length that the file declares. */
  readonly declared: number;
  readonly encapsulated: boolean;
  /** Extended Offset Table (7FE0,0001), where there is one. */
  readonly extendedOffsets: readonly number[] | null;
}

/** A parsed file. `data` keeps the bytes; nothing in it is ever printed but numbers and closed vocabularies. */
export interface DicomFile {
  readonly path: string;
  /** What stands before the pixels. */
  readonly data: DataSet;
  readonly pixels: PixelElement | null;
  /** The transfer syntax in use, where the file does not say: the one that was recognised. */
  readonly syntax: string;
  readonly littleEndian: boolean;
  readonly warnings: readonly string[];
}

const PIXELS = "x7fe00010";
const EXTENDED_OFFSETS = "x7fe00001";
const UNDEFINED_LENGTH = 0xffffffff;
/** A gzipped file or a deflated data set may unpack to this much, unless `maxBytes` says otherwise: 1 GiB. */
const MOST_INFLATED = 2 ** 30;
/** zlib takes no larger limit. */
const MOST_IN_A_BUFFER = constants.MAX_LENGTH;

/** Whether bytes begin with the mark of gzip. */
export const isGzip = ([first, second]: Uint8Array): boolean => first === 0x1f && second === 0x8b;

/**
 * Parses the tags of a DICOM file, with or without preamble and meta header, in any transfer syntax, gzipped or not. Parsing ends
 * where the pixels begin, so that a long file is as quick to look at as a short one.
 *
 * @throws `InputError`, one line
 */
export function parseDicom(stored: Uint8Array, path: string, maxBytes: number = MOST_INFLATED): DicomFile {
  const bytes = isGzip(stored) ? gunzipped(stored, path, maxBytes) : stored;
  const { format, what } = contentOf(bytes);
  if (format !== "dicom") throw wrongContent(path, "a DICOM file", what);
  const warnings: string[] = [];
  const meta = readMeta(bytes);
  let body = bytes.subarray(meta.end);
  if (meta.syntax === DEFLATED)
    body = unpacked("deflated DICOM", path, maxBytes, (limits) => inflateRawSync(body, limits));

  const seen = recogniseSyntax(body);
  const declared = meta.syntax === DEFLATED ? EXPLICIT_LITTLE : (meta.syntax ?? seen);
  // Some writers name an explicit syntax and write an implicit data set, or the other way round: the bytes decide.
  let parsedAs = declared;
  if ((seen === IMPLICIT_LITTLE) !== (declared === IMPLICIT_LITTLE) && body.length >= 8) {
    warnings.push("the data set is not written in the transfer syntax that the file names; read as it is written");
    parsedAs = seen;
  }
  if (meta.syntax === null) warnings.push("no meta header: the transfer syntax was recognised from the bytes");

  const { data, pixels } = parseBody(body, parsedAs, path);
  return { path, data, pixels, syntax: meta.syntax ?? parsedAs, littleEndian: parsedAs !== EXPLICIT_BIG, warnings };
}

/** True for the transfer syntaxes whose pixels are not in frames of their own. */
export function isNative(syntax: string): boolean {
  return [IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG].includes(syntax);
}

/** Runs a reader of tags: dicom-parser throws plain strings where a value lies outside the file. */
export function guarded<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw asDamage(path, thrown);
  }
}

/** What a reader of tags threw, as an `InputError` where the file is to blame. */
export function asDamage(path: string, thrown: unknown): unknown {
  return typeof thrown === "string"
    ? new InputError(`${path}: truncated or damaged DICOM file: ${thrown.split("\n")[0]}`)
    : thrown;
}

/** All numbers of a DS or IS element, or null where it is absent, empty or not numeric. */
export function decimals(data: DataSet, tag: string): number[] | null {
  const text = data.string(tag);
  if (text === undefined || text.trim() === "") return null;
  const values = text.split("\\").map((part) => (part.trim() === "" ? NaN : Number(part)));
  return values.every(Number.isFinite) ? values : null;
}

/** The data sets that speak for frame `f`: its own functional groups, the shared ones, then the top level. */
export function groupsOf(data: DataSet, frame: number, sequenceTag: string): DataSet[] {
  const own = data.elements.x52009230?.items?.[frame]?.dataSet;
  const shared = data.elements.x52009229?.items?.[0]?.dataSet;
  const inside = (set: DataSet | undefined): DataSet | undefined => set?.elements[sequenceTag]?.items?.[0]?.dataSet;
  return [inside(own), inside(shared), data].filter((set): set is DataSet => set !== undefined);
}

/** The first of `groupsOf` that gives numbers for a tag, or null. */
export function frameDecimals(data: DataSet, frame: number, sequenceTag: string, tag: string): number[] | null {
  for (const group of groupsOf(data, frame, sequenceTag)) {
    const values = decimals(group, tag);
    if (values !== null) return values;
  }
  return null;
}

/** The file meta information: group 0002, always explicit little endian (PS3.10, 7.1). */
function readMeta(bytes: Uint8Array): { syntax: string | null; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (from: number, to: number): string => String.fromCharCode(...bytes.subarray(from, to));
  let at = text(128, 132) === "DICM" ? 132 : 0;
  let syntax: string | null = null;
  while (at + 8 <= bytes.length && view.getUint16(at, true) === 2) {
    const long = /^(OB|OW|OF|SQ|UN|UT)$/.test(text(at + 4, at + 6));
    if (long && at + 12 > bytes.length) break;
    const length = long ? view.getUint32(at + 8, true) : view.getUint16(at + 6, true);
    const from = at + (long ? 12 : 8);
    if (view.getUint16(at + 2, true) === 0x10) syntax = text(from, from + Math.min(length, 256)).replace(/[\0 ]+$/, "");
    at = from + length;
  }
  return { syntax: syntax === "" ? null : syntax, end: Math.min(at, bytes.length) };
}

/** Explicit or implicit, little or big, told from the first element of a data set. */
function recogniseSyntax(body: Uint8Array): string {
  const explicit = /^[A-Z]{2}$/.test(String.fromCharCode(...body.subarray(4, 6)));
  if (!explicit) return IMPLICIT_LITTLE;
  // The first group is small (0008 as a rule), so the byte order that makes it small is the right one.
  return body[0] === 0 && body[1] !== 0 ? EXPLICIT_BIG : EXPLICIT_LITTLE;
}

/** What a gzipped DICOM file holds. Throws an `InputError` where it is damaged, or unpacks to more than `maxBytes`. */
export const gunzipped = (bytes: Uint8Array, path: string, maxBytes: number = MOST_INFLATED): Uint8Array =>
  unpacked("gzip", path, maxBytes, (limits) => gunzipSync(bytes, limits));

function unpacked(
  what: string,
  path: string,
  maxBytes: number,
  unpack: (limits: { maxOutputLength: number }) => Uint8Array,
): Uint8Array {
  try {
    return unpack({ maxOutputLength: Math.min(maxBytes, MOST_IN_A_BUFFER) });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ERR_BUFFER_TOO_LARGE") {
      throw new InputError(
        `${path}: the ${what} file unpacks to more than the limit of ${maxBytes} bytes (option maxBytes)`,
      );
    }
    const reason = message === "unexpected end of file" ? "it ends too early" : message.split("\n")[0];
    throw new InputError(`${path}: damaged or truncated ${what} file: ${reason}`);
  }
}

function parseBody(body: Uint8Array, syntax: string, path: string): { data: DataSet; pixels: PixelElement | null } {
  const parse = (): DataSet => parsedUntilPixels(body, syntax, path);
  const little = syntax !== EXPLICIT_BIG;
  const data = syntax === IMPLICIT_LITTLE ? parse() : withKnownVrs(body, little, parse);
  const table = data.elements[EXTENDED_OFFSETS];
  if (table === undefined) return { data, pixels: pixelElement(data, null) };
  const length = Math.min(table.length, body.length - table.dataOffset); // where damage has made it longer than the file
  const view = new DataView(body.buffer, body.byteOffset + table.dataOffset, length);
  const offsets = Array.from({ length: length >> 3 }, (_, i) => Number(view.getBigUint64(8 * i, little)));
  return { data, pixels: pixelElement(data, offsets) };
}

function pixelElement(data: DataSet, extendedOffsets: readonly number[] | null): PixelElement | null {
  for (const tag of ["x7fe00010", "x7fe00008", "x7fe00009"] as const) {
    const element = data.elements[tag];
    if (element === undefined || element.length === 0) continue;
    const encapsulated = element.length === UNDEFINED_LENGTH || element.hadUndefinedLength === true;
    const end = encapsulated ? data.byteArray.length : element.dataOffset + element.length;
    return {
      tag,
      vr: element.vr,
      bytes: data.byteArray.subarray(element.dataOffset, end), // ends where the file ends
      declared: element.length,
      encapsulated,
      extendedOffsets,
    };
  }
  return null;
}

function parsedUntilPixels(body: Uint8Array, syntax: string, path: string): DataSet {
  try {
    return dicomParser.parseDicom(body, { TransferSyntaxUID: syntax, untilTag: PIXELS });
  } catch (thrown) {
    // dicom-parser throws strings, errors, and { exception, dataSet } with what it had read so far.
    const { exception, dataSet } = thrown as { exception?: unknown; dataSet?: DataSet };
    const cause = exception ?? thrown;
    const reason = (cause instanceof Error ? cause.message : String(cause)).split("\n")[0];
    if (dataSet?.elements.x00280010 !== undefined) {
      throw new InputError(`${path}: truncated or damaged DICOM file: it ends before its pixel data does`);
    }
    throw new InputError(`${path}: damaged DICOM file: ${reason}`);
  }
}
