/**
 * The codecs of compressed DICOM frames behind one small interface. They are the WebAssembly builds in dcmjs-codecs (libjpeg-turbo,
 * CharLS, OpenJPEG, OpenJPH, libjxl), loaded when the first compressed frame is met.
 */
import type { Context as CodecContext, NativeCodecs as Codecs } from "dcmjs-codecs";
import { inflateRawSync } from "node:zlib";
import { InputError } from "../types.js";
import { decodeDeepColour, loadDeepColour } from "./dicomDeepColour.js";
import { codestreamOf, jpegXlBits, type Codestream } from "./dicomCodestream.js";

/** What the header says of every frame. */
export interface FrameForm {
  readonly rows: number;
  readonly columns: number;
  readonly samplesPerPixel: 1 | 3;
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly signed: boolean;
  readonly photometric: string;
}

/** Samples of one frame, little endian, pixel by pixel. */
export interface DecodedFrame {
  readonly bytes: Uint8Array;
  /** 1, 2 or 4; 0 where the samples are packed bits. */
  readonly bytesPerSample: number;
  /** Whether colours still are brightness and two differences. */
  readonly ybr: boolean;
  /** Plane by plane, where it is not pixel by pixel. */
  readonly planar: boolean;
}

type Decoder = "decodeRle" | "decodeJpeg" | "decodeJpegLs" | "decodeJpeg2000" | "decodeHtJpeg2000" | "decodeJpegXl";

interface Compression {
  readonly name: string;
  readonly how: Decoder | "raw" | "inflate" | null;
}

/** Transfer syntaxes with encapsulated frames, and how their frames are opened; null: a video stream, not frames (PS3.6, annex A). */
const COMPRESSIONS: Readonly<Record<string, Compression>> = {
  "1.2.840.10008.1.2.1.98": { name: "Encapsulated Uncompressed", how: "raw" },
  "1.2.840.10008.1.2.4.50": { name: "JPEG Baseline", how: "decodeJpeg" },
  "1.2.840.10008.1.2.4.51": { name: "JPEG Extended", how: "decodeJpeg" },
  "1.2.840.10008.1.2.4.57": { name: "JPEG Lossless", how: "decodeJpeg" },
  "1.2.840.10008.1.2.4.70": { name: "JPEG Lossless SV1", how: "decodeJpeg" },
  "1.2.840.10008.1.2.4.80": { name: "JPEG-LS Lossless", how: "decodeJpegLs" },
  "1.2.840.10008.1.2.4.81": { name: "JPEG-LS Near-Lossless", how: "decodeJpegLs" },
  "1.2.840.10008.1.2.4.90": { name: "JPEG 2000 Lossless", how: "decodeJpeg2000" },
  "1.2.840.10008.1.2.4.91": { name: "JPEG 2000", how: "decodeJpeg2000" },
  "1.2.840.10008.1.2.4.92": { name: "JPEG 2000 Multi-component Lossless", how: "decodeJpeg2000" },
  "1.2.840.10008.1.2.4.93": { name: "JPEG 2000 Multi-component", how: "decodeJpeg2000" },
  "1.2.840.10008.1.2.4.94": { name: "JPIP Referenced", how: null },
  "1.2.840.10008.1.2.4.95": { name: "JPIP Referenced Deflate", how: null },
  "1.2.840.10008.1.2.4.100": { name: "MPEG-2", how: null },
  "1.2.840.10008.1.2.4.101": { name: "MPEG-2 High", how: null },
  "1.2.840.10008.1.2.4.102": { name: "MPEG-4 AVC", how: null },
  "1.2.840.10008.1.2.4.103": { name: "MPEG-4 AVC BD-compatible", how: null },
  "1.2.840.10008.1.2.4.104": { name: "MPEG-4 AVC 2D", how: null },
  "1.2.840.10008.1.2.4.105": { name: "MPEG-4 AVC 3D", how: null },
  "1.2.840.10008.1.2.4.106": { name: "MPEG-4 AVC Stereo", how: null },
  "1.2.840.10008.1.2.4.107": { name: "HEVC", how: null },
  "1.2.840.10008.1.2.4.108": { name: "HEVC 10-bit", how: null },
  "1.2.840.10008.1.2.4.110": { name: "JPEG XL Lossless", how: "decodeJpegXl" },
  "1.2.840.10008.1.2.4.111": { name: "JPEG XL JPEG Recompression", how: "decodeJpegXl" },
  "1.2.840.10008.1.2.4.112": { name: "JPEG XL", how: "decodeJpegXl" },
  "1.2.840.10008.1.2.4.201": { name: "HTJ2K Lossless", how: "decodeHtJpeg2000" },
  "1.2.840.10008.1.2.4.202": { name: "HTJ2K Lossless RPCL", how: "decodeHtJpeg2000" },
  "1.2.840.10008.1.2.4.203": { name: "HTJ2K", how: "decodeHtJpeg2000" },
  "1.2.840.10008.1.2.5": { name: "RLE Lossless", how: "decodeRle" },
  "1.2.840.10008.1.2.8.1": { name: "Deflated Image Frame", how: "inflate" },
};

/** A frame that is sound, and of a kind that is not read; the message follows the name of the compression. */
export class UnsupportedFrame extends Error {}

/** Opens the frames of one transfer syntax. `decode` throws plain errors: the caller knows the file and the frame. */
export interface FrameDecoder {
  readonly name: string;
  decode(frame: Uint8Array): DecodedFrame;
}

/**
 * The decoder of a transfer syntax for frames of one form, its library loaded.
 *
 * @throws `InputError`, one line: a syntax that is unknown, holds a video stream, or whose codecs cannot be loaded
 */
export async function frameDecoder(syntax: string, path: string, form: FrameForm): Promise<FrameDecoder> {
  const compression = COMPRESSIONS[syntax];
  if (compression === undefined) {
    // Only what has the form of a UID is shown: a damaged length can put a patient's name into this text.
    if (!/^[0-9.]{1,64}$/.test(syntax))
      throw new InputError(`${path}: damaged DICOM file: its transfer syntax is not a UID`);
    const shown = /^1\.2\.840\.10008\.1\.2(\.\d{1,3}){1,3}$/.test(syntax)
      ? `unknown transfer syntax ${syntax}`
      : "a private transfer syntax";
    throw new InputError(`${path}: ${shown} is not supported; expected a standard one`);
  }
  const { name, how } = compression;
  if (how === null) {
    throw new InputError(`${path}: transfer syntax ${name} (${syntax}) is not supported; expected frames of pictures`);
  }
  if (how === "raw") return { name, decode: (frame) => asStored(frame, form) };
  if (how === "inflate") return { name, decode: (frame) => asStored(inflated(frame, form), form) };
  await loadCodecs(path, name);
  if (how === "decodeJpeg2000" && form.samplesPerPixel === 3 && form.bitsAllocated > 8) await loadDeepColour(path);
  return { name, decode: (frame) => decodeWith(how, frame, form) };
}

function asStored(bytes: Uint8Array, form: FrameForm): DecodedFrame {
  const bytesPerSample = form.bitsAllocated % 8 === 0 ? form.bitsAllocated / 8 : 0;
  return { bytes, bytesPerSample, ybr: form.photometric.startsWith("YBR_FULL"), planar: false };
}

function inflated(frame: Uint8Array, { rows, columns, samplesPerPixel, bitsAllocated }: FrameForm): Uint8Array {
  // A frame may end with a byte of padding; anything longer is no frame of this file.
  const most = Math.ceil((rows * columns * samplesPerPixel * bitsAllocated) / 8) + 2;
  return inflateRawSync(frame, { maxOutputLength: most });
}

let library: { Context: typeof CodecContext; NativeCodecs: typeof Codecs } | null = null;
let spoilt = false;

async function loadCodecs(path: string, name: string): Promise<void> {
  if (library !== null && !spoilt) return;
  try {
    if (library === null) {
      const loaded = await import("dcmjs-codecs");
      // A CommonJS package: Node gives its exports as the default, bundlers give them by name.
      const { Context, NativeCodecs, log } = "default" in loaded ? (loaded.default as typeof loaded) : loaded;
      log.setLevel("silent"); // what a codec prints of a damaged frame comes back as an error
      await NativeCodecs.initializeAsync();
      library = { Context, NativeCodecs };
    } else {
      await library.NativeCodecs.initializeAsync();
    }
    spoilt = false;
  } catch (error) {
    const reason = (error as Error).message.split("\n")[0];
    throw new InputError(`${path}: the codecs for ${name} cannot be loaded (package dcmjs-codecs): ${reason}`);
  }
}

/** Checks the compressed header against the file's before a codec allocates anything. */
function decodeWith(how: Decoder, frame: Uint8Array, form: FrameForm): DecodedFrame {
  const stream = how === "decodeRle" ? null : codestreamOf(frame);
  if (how === "decodeRle") assertRleFits(frame, form);
  else if (how !== "decodeJpegXl") assertStreamFits(stream, form);
  const ybr = form.samplesPerPixel === 3 && isYbr(how, stream, form);
  if (library === null) throw new Error("the codecs are not loaded");
  if (how === "decodeJpeg2000" && stream !== null && stream.precision > 8) {
    if (stream.precision > 16)
      throw new UnsupportedFrame(`of ${stream.precision} bits a sample is not supported; expected at most 16`);
    // OpenJPEG in dcmjs-codecs gives the lower halves of deep colours only.
    if (stream.components === 3) {
      return { bytes: decodeDeepColour(frame, 3 * form.rows * form.columns), bytesPerSample: 2, ybr, planar: false };
    }
  }
  const { Context, NativeCodecs } = library;
  // OpenJPH there cuts what is below zero: without the sign in its header, a picture comes lifted by half its range.
  const lifted = how === "decodeHtJpeg2000" && stream?.signAt != null;
  const context = new Context({
    width: form.columns,
    height: form.rows,
    // What the stream holds: 8 bits may stand in cells of 16.
    bitsAllocated: stream === null ? form.bitsAllocated : stream.precision <= 8 ? 8 : 16,
    bitsStored: Math.min(form.bitsStored, stream?.precision ?? 32),
    samplesPerPixel: form.samplesPerPixel,
    pixelRepresentation: form.signed && !lifted ? 1 : 0,
    planarConfiguration: 0,
    photometricInterpretation: form.samplesPerPixel === 1 ? "MONOCHROME2" : ybr ? "YBR_FULL" : "RGB",
    encodedBuffer: lifted ? unsigned(frame, stream) : frame,
  });
  try {
    const inCodec = ybr && how === "decodeJpeg"; // libjpeg turns colours while they are in its cache
    const decoded = NativeCodecs[how](context, { convertColorspaceToRgb: inCodec });
    const bytes = decoded.getDecodedBuffer() ?? new Uint8Array(0);
    const samples = form.rows * form.columns * form.samplesPerPixel;
    const bytesPerSample = bytes.length / samples;
    if (decoded.getWidth() !== form.columns || decoded.getHeight() !== form.rows || ![1, 2, 4].includes(bytesPerSample))
      throw new Error(`expected ${samples} samples, got ${bytes.length} bytes`);
    if (lifted) lower(bytes, bytesPerSample, stream.precision);
    if (how === "decodeJpegXl") unstretch(bytes, bytesPerSample, jpegXlBits(frame));
    return { bytes, bytesPerSample, ybr: ybr && !inCodec, planar: stream?.planar === true };
  } catch (error) {
    // A codec that stopped in the middle keeps its memory, or worse: the next file gets a fresh one.
    spoilt = true;
    NativeCodecs.release();
    throw error;
  }
}

/** The same codestream with every component said to have no sign. */
function unsigned(frame: Uint8Array, { signAt, components }: Codestream): Uint8Array {
  const copy = Uint8Array.from(frame);
  for (let c = 0; c < components && signAt !== null; c++) copy[signAt + 3 * c] &= 0x7f;
  return copy;
}

/** Takes half of the range away, in place: 128 of 8 bits is 0, and 0 is −128, of which the cell holds the lower bits. */
function lower(bytes: Uint8Array, bytesPerSample: number, precision: number): void {
  const cells = wordsOf(bytes, bytesPerSample);
  for (let i = 0; i < cells.length; i++) cells[i] -= 2 ** (precision - 1);
}

/** libjxl gives the whole range of a cell, so that 4095 of 12 bits is 65535; here it is 4095 again, in place. */
function unstretch(bytes: Uint8Array, bytesPerSample: number, bits: number | null): void {
  const most = 2 ** (8 * bytesPerSample) - 1;
  if (bits === null || bits >= 8 * bytesPerSample) return;
  const cells = wordsOf(bytes, bytesPerSample);
  for (let i = 0; i < cells.length; i++) cells[i] = Math.round((cells[i] * (2 ** bits - 1)) / most);
}

function wordsOf(bytes: Uint8Array, bytesPerSample: number): Uint8Array | Uint16Array {
  return bytesPerSample === 1 ? bytes : new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
}

/** PS3.5, annex G: one segment for each byte of a sample; a run of 128 is at best two bytes. */
function assertRleFits(frame: Uint8Array, { rows, columns, samplesPerPixel, bitsAllocated }: FrameForm): void {
  const segments = samplesPerPixel * Math.ceil(bitsAllocated / 8);
  if (frame.length < 64) throw new Error(`an RLE header has 64 bytes, got ${frame.length}`);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const found = view.getUint32(0, true);
  if (found !== segments) throw new Error(`expected ${segments} RLE segments, got ${found}`);
  const fewest = 2 * Math.ceil((rows * columns) / 128);
  for (let i = 0; i < segments; i++) {
    const from = view.getUint32(4 + 4 * i, true);
    const to = i + 1 < segments ? view.getUint32(8 + 4 * i, true) : frame.length;
    if (from < 64 || to > frame.length || to - from < fewest)
      throw new Error(`RLE segment ${i + 1} of ${segments} does not hold ${rows} × ${columns} bytes`);
  }
}

function assertStreamFits(
  stream: Codestream | null,
  { rows, columns, samplesPerPixel, bitsAllocated }: FrameForm,
): void {
  if (stream === null) throw new Error("the compressed data do not begin with a header of their kind");
  if (stream.columns !== columns || stream.rows !== rows || stream.components !== samplesPerPixel) {
    throw new Error(
      `the DICOM header says ${rows} × ${columns} × ${samplesPerPixel}, ` +
        `the compressed data say ${stream.rows} × ${stream.columns} × ${stream.components}`,
    );
  }
  if (stream.precision > bitsAllocated)
    throw new Error(`${stream.precision} bits a sample do not fit into ${bitsAllocated} bits allocated`);
}

/**
 * Whether the samples in the stream are YBR. JPEG says so itself where it carries a JFIF or Adobe marker or names its
 * components R, G and B; otherwise the DICOM header decides. JPEG 2000 and JPEG XL undo their own colour transform.
 */
function isYbr(how: Decoder, stream: Codestream | null, { photometric }: FrameForm): boolean {
  if (how === "decodeJpeg" && stream !== null && stream.ybr !== null) return stream.ybr;
  if (how === "decodeJpeg2000" || how === "decodeHtJpeg2000")
    return photometric.startsWith("YBR_FULL") && stream?.colourTransform !== true;
  return how !== "decodeJpegXl" && photometric.startsWith("YBR_FULL");
}
