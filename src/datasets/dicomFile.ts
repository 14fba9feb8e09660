/** From the bytes of a DICOM file to its tags: the container (PS3.10), transfer syntaxes and functional groups. */
import { inflateRawSync } from "node:zlib";
import dicomParser, { type DataSet } from "dicom-parser";
import { InputError } from "../types.js";
import { contentOf, wrongContent } from "./sniff.js";

const IMPLICIT_LITTLE = "1.2.840.10008.1.2";
const EXPLICIT_LITTLE = "1.2.840.10008.1.2.1";
const DEFLATED = "1.2.840.10008.1.2.1.99";
const EXPLICIT_BIG = "1.2.840.10008.1.2.2";

/** Names of the syntaxes whose pixels we cannot decode yet, for the error text (PS3.6, annex A). */
const COMPRESSED: Readonly<Record<string, string>> = {
  "1.2.840.10008.1.2.1.98": "Encapsulated Uncompressed",
  "1.2.840.10008.1.2.4.50": "JPEG Baseline",
  "1.2.840.10008.1.2.4.51": "JPEG Extended",
  "1.2.840.10008.1.2.4.57": "JPEG Lossless",
  "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
  "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
  "1.2.840.10008.1.2.4.81": "JPEG-LS Near-Lossless",
  "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
  "1.2.840.10008.1.2.4.91": "JPEG 2000",
  "1.2.840.10008.1.2.4.92": "JPEG 2000 Multi-component Lossless",
  "1.2.840.10008.1.2.4.93": "JPEG 2000 Multi-component",
  "1.2.840.10008.1.2.4.94": "JPIP Referenced",
  "1.2.840.10008.1.2.4.95": "JPIP Referenced Deflate",
  "1.2.840.10008.1.2.4.100": "MPEG-2",
  "1.2.840.10008.1.2.4.101": "MPEG-2 High",
  "1.2.840.10008.1.2.4.102": "MPEG-4 AVC",
  "1.2.840.10008.1.2.4.103": "MPEG-4 AVC BD-compatible",
  "1.2.840.10008.1.2.4.104": "MPEG-4 AVC 2D",
  "1.2.840.10008.1.2.4.105": "MPEG-4 AVC 3D",
  "1.2.840.10008.1.2.4.106": "MPEG-4 AVC Stereo",
  "1.2.840.10008.1.2.4.107": "HEVC",
  "1.2.840.10008.1.2.4.108": "HEVC 10-bit",
  "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
  "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
  "1.2.840.10008.1.2.4.112": "JPEG XL",
  "1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
  "1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
  "1.2.840.10008.1.2.4.203": "HTJ2K",
  "1.2.840.10008.1.2.5": "RLE Lossless",
  "1.2.840.10008.1.2.8.1": "Deflated Image Frame",
};

/** A parsed file. `data` keeps the bytes; nothing in it is ever printed but numbers and closed vocabularies. */
export interface DicomFile {
  readonly path: string;
  readonly data: DataSet;
  /** The transfer syntax in use, where the file does not say: the one that was recognised. */
  readonly syntax: string;
  readonly littleEndian: boolean;
  readonly warnings: readonly string[];
}

/**
 * Parses the tags of a DICOM file, with or without preamble and meta header, in any transfer syntax.
 *
 * @param headerOnly  stop before the pixel data: enough for sorting, quick for long series
 * @throws            `InputError`, one line
 */
export function parseDicom(bytes: Uint8Array, path: string, headerOnly = false): DicomFile {
  const { format, what } = contentOf(bytes);
  if (format !== "dicom") throw wrongContent(path, "a DICOM file", what);
  const warnings: string[] = [];
  const meta = readMeta(bytes);
  let body = bytes.subarray(meta.end);
  if (meta.syntax === DEFLATED) body = inflated(body, path);

  const seen = recogniseSyntax(body);
  const declared = meta.syntax === DEFLATED ? EXPLICIT_LITTLE : (meta.syntax ?? seen);
  // Some writers name an explicit syntax and write an implicit data set, or the other way round: the bytes decide.
  let parsedAs = declared;
  if ((seen === IMPLICIT_LITTLE) !== (declared === IMPLICIT_LITTLE) && body.length >= 8) {
    warnings.push("the data set is not written in the transfer syntax that the file names; read as it is written");
    parsedAs = seen;
  }
  if (meta.syntax === null) warnings.push("no meta header: the transfer syntax was recognised from the bytes");

  const options = { TransferSyntaxUID: parsedAs, ...(headerOnly ? { untilTag: "x7fe00010" } : {}) };
  const data = parseBody(body, options, warnings, path);
  return {
    path,
    data,
    syntax: meta.syntax ?? parsedAs,
    littleEndian: parsedAs !== EXPLICIT_BIG,
    warnings,
  };
}

/** Runs a reader of tags: dicom-parser throws plain strings where a value lies outside the file. */
export function guarded<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (typeof thrown !== "string") throw thrown;
    throw new InputError(`${path}: truncated or damaged DICOM file: ${thrown.split("\n")[0]}`);
  }
}

/** Throws for a transfer syntax whose pixels are compressed, unknown or private. */
export function assertUncompressed({ path, syntax }: DicomFile): void {
  if ([IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG].includes(syntax)) return;
  const name = COMPRESSED[syntax];
  // Only what has the form of a UID is shown: a damaged length can put a patient's name into this text.
  if (!/^[0-9.]{1,64}$/.test(syntax))
    throw new InputError(`${path}: damaged DICOM file: its transfer syntax is not a UID`);
  const subject = name === undefined ? `unknown transfer syntax ${syntax}` : `compressed DICOM, ${name} (${syntax}),`;
  throw new InputError(
    `${path}: ${subject} is not supported yet; expected an uncompressed or deflated transfer syntax`,
  );
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
    if (view.getUint16(at + 2, true) === 0x10) syntax = text(from, from + length).replace(/[\0 ]+$/, "");
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

function inflated(body: Uint8Array, path: string): Uint8Array {
  try {
    return inflateRawSync(body);
  } catch (error) {
    throw new InputError(`${path}: damaged or truncated deflated DICOM file: ${(error as Error).message}`);
  }
}

function parseBody(
  body: Uint8Array,
  options: { TransferSyntaxUID: string; untilTag?: string },
  warnings: string[],
  path: string,
): DataSet {
  try {
    return dicomParser.parseDicom(body, options);
  } catch (thrown) {
    // dicom-parser throws strings, errors, and { exception, dataSet } with what it had read so far.
    const { exception, dataSet } = thrown as { exception?: unknown; dataSet?: DataSet };
    const cause = exception ?? thrown;
    const reason = (cause instanceof Error ? cause.message : String(cause)).split("\n")[0];
    if (dataSet === undefined) throw new InputError(`${path}: damaged DICOM file: ${reason}`);
    const hasPixels = ["x7fe00010", "x7fe00008", "x7fe00009"].some((tag) => tag in dataSet.elements);
    if (hasPixels) {
      warnings.push("damaged after the pixel data; what follows was ignored");
      return dataSet;
    }
    if (dataSet.elements.x00280010 !== undefined) {
      throw new InputError(`${path}: truncated or damaged DICOM file: it ends before its pixel data does`);
    }
    throw new InputError(`${path}: damaged DICOM file: ${reason}`);
  }
}
