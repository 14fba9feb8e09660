/** Any file or folder that holds a picture, a clip or a volume. */
import { readBytes } from "../files.js";
import type { Decoded } from "../types.js";
import { readArrayFile } from "./arrayFile.js";
import { decodeDicom, type DicomOptions } from "./dicom.js";
import { isDicomDir } from "./dicomDir.js";
import { readDicomDir, readDicomSeries, readNumberedSeries } from "./dicomSeries.js";
import { isFolder, seriesAddress } from "./dicomSlices.js";
import { decodeImage, pagesOf, type ImageOptions } from "./image.js";
import { isNiftiFile, readNifti, type NiftiOptions } from "./nifti.js";
import { unpackedHead } from "./niftiBytes.js";
import { contentOf, expectedFromName, readHead, wrongContent } from "./sniff.js";
import { isVideoFormat, readVideo, type VideoOptions } from "./video.js";

export { recycle } from "./pixelMemory.js";

/** What a reader of one format may be told. */
export interface ReadOptions {
  readonly video?: VideoOptions;
  readonly image?: ImageOptions;
  readonly nifti?: NiftiOptions;
  readonly dicom?: DicomOptions;
}

/**
 * Reads a picture, a video, a DICOM or a NIfTI file (those two gzipped too) or an array of numpy, told apart by content and never by name; a folder
 * or a DICOMDIR is one DICOM series, read as one volume; `FOLDER#2` is the second of several series in a folder.
 *
 * @throws `InputError`, one line: `notes.dcm: expected a DICOM file, got a text file`
 */
export async function readFile(path: string, { video, image, nifti, dicom }: ReadOptions = {}): Promise<Decoded> {
  if (isFolder(path)) return readDicomSeries(path, dicom);
  const part = seriesAddress(path);
  if (part !== null) return readNumberedSeries(part.folder, part.number, dicom);
  const head = readHead(path);
  if (await isNiftiFile(path, head)) return readNifti(path, nifti);
  const likely = contentOf(head).format;
  if (likely !== "gif" && isVideoFormat(likely)) return readVideo(path, video); // long ones are never in memory
  if (likely === "npy" || likely === "zip") return readArrayFile(path, likely);
  const bytes = readBytes(path);
  const { format, what } = contentOf(bytes);
  switch (format) {
    case "png":
    case "jpeg":
    case "tiff":
    case "webp":
    case "bmp":
    case "pnm":
      return decodeImage(bytes, path, image);
    case "gif":
      return (await pagesOf(bytes)) > 1 ? readVideo(path, video) : decodeImage(bytes, path, image);
    case "dicom":
      return isDicomDir(bytes, path) ? readDicomDir(path, dicom) : decodeDicom(bytes, path, dicom);
    case "gzip": {
      const inside = contentOf(await unpackedHead(path));
      if (inside.format === "dicom") return decodeDicom(bytes, path, dicom);
      throw wrongContent(path, "a NIfTI or DICOM file in the gzip file", inside.what);
    }
    default:
      throw wrongContent(path, expectedFromName(path), what);
  }
}
