/** Any file or folder that holds a picture, a clip or a volume. */
import { readBytes } from "../files.js";
import type { Decoded } from "../types.js";
import { decodeDicom } from "./dicom.js";
import { isDicomDir } from "./dicomDir.js";
import { readDicomDir, readDicomSeries } from "./dicomSeries.js";
import { isFolder } from "./dicomSlices.js";
import { decodeImage, pagesOf, type ImageOptions } from "./image.js";
import { isNiftiFile, readNifti, type NiftiOptions } from "./nifti.js";
import { unpackedHead } from "./niftiBytes.js";
import { contentOf, expectedFromName, readHead, wrongContent } from "./sniff.js";
import { isVideoFormat, readVideo, type VideoOptions } from "./video.js";

/** What a reader of one format may be told. */
export interface ReadOptions {
  readonly video?: VideoOptions;
  readonly image?: ImageOptions;
  readonly nifti?: NiftiOptions;
}

/**
 * Reads a picture, a video, a DICOM or a NIfTI file (gzipped NIfTI too), told apart by content and never by name; a folder
 * or a DICOMDIR is one DICOM series, read as one volume.
 *
 * @throws `InputError`, one line: `notes.dcm: expected a DICOM file, got a text file`
 */
export async function readFile(path: string, { video, image, nifti }: ReadOptions = {}): Promise<Decoded> {
  if (isFolder(path)) return readDicomSeries(path);
  const head = readHead(path);
  if (await isNiftiFile(path, head)) return readNifti(path, nifti);
  const likely = contentOf(head).format;
  if (likely !== "gif" && isVideoFormat(likely)) return readVideo(path, video); // long ones are never in memory
  const bytes = readBytes(path);
  const { format, what } = contentOf(bytes);
  switch (format) {
    case "png":
    case "jpeg":
    case "tiff":
    case "webp":
    case "bmp":
      return decodeImage(bytes, path, image);
    case "gif":
      return (await pagesOf(bytes)) > 1 ? readVideo(path, video) : decodeImage(bytes, path, image);
    case "dicom":
      return isDicomDir(bytes, path) ? readDicomDir(path) : decodeDicom(bytes, path);
    case "gzip":
      throw wrongContent(path, "a NIfTI file in the gzip file", contentOf(await unpackedHead(path)).what);
    default:
      throw wrongContent(path, expectedFromName(path), what);
  }
}
