/** Any file or folder that holds a picture, a clip or a volume. */
import { readBytes } from "../files.js";
import type { Decoded } from "../types.js";
import { decodeDicom } from "./dicom.js";
import { isFolder, readDicomSeries } from "./dicomSeries.js";
import { decodeImage } from "./image.js";
import { decodeNifti, gunzipped } from "./nifti.js";
import { contentOf, expectedFromName, wrongContent } from "./sniff.js";

/**
 * Reads a PNG, JPEG, DICOM or NIfTI file (gzipped NIfTI too), told apart by content and never by name; a folder is one DICOM
 * series, read as one volume.
 *
 * @throws `InputError`, one line: `notes.dcm: expected a DICOM file, got a text file`
 */
export async function readFile(path: string): Promise<Decoded> {
  if (isFolder(path)) return readDicomSeries(path);
  const bytes = readBytes(path);
  const { format, what } = contentOf(bytes);
  switch (format) {
    case "png":
    case "jpeg":
      return decodeImage(bytes, path);
    case "dicom":
      return decodeDicom(bytes, path);
    case "nifti":
      return decodeNifti(bytes, path);
    case "gzip": {
      const inner = gunzipped(bytes, path);
      const content = contentOf(inner);
      if (content.format === "nifti") return decodeNifti(inner, path);
      throw wrongContent(path, "a NIfTI file in the gzip file", content.what);
    }
    case null:
      throw wrongContent(path, expectedFromName(path), what);
  }
}
