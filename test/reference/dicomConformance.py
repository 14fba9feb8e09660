"""Makes test/fixtures/dicomConformance.json: what pydicom reads in the real DICOM files, as statistics without pixels.

    python test/reference/dicomConformance.py ../shared/realdata
    (pydicom 3.0.2 with python-gdcm 3.0.21 and pillow 12 as its plugins, numpy, nibabel)

Values are those of pydicom.pixels.pixel_array (colour as RGB) after apply_modality_lut or apply_color_lut, as float32
[C, D, H, W]. Lossless files carry the sha256 of those bytes; lossy and YBR ones 256 seeded positions instead. What pydicom has
no plugin for (High-Throughput JPEG 2000, deflated frames) is decoded by pillow's OpenJPEG and by zlib, frame by frame.
"""

import hashlib
import io
import json
import logging
import sys
import warnings
import zlib
from pathlib import Path

import nibabel
import numpy
import PIL.Image
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

HERE = Path(__file__).parent
LOSSLESS = {
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.8.1",
}  # fmt: skip


def stored(ds):
    """Values as stored (colour as RGB), and who decoded them."""
    syntax = ds.file_meta.TransferSyntaxUID
    frames = int(ds.get("NumberOfFrames", 1) or 1)
    if syntax in ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"):
        parts = [PIL.Image.open(io.BytesIO(f)) for f in generate_frames(ds.PixelData, number_of_frames=frames)]
        return numpy.stack([numpy.asarray(part) for part in parts]).squeeze(), "pillow"
    if syntax == "1.2.840.10008.1.2.8.1":
        parts = []
        for frame in generate_frames(ds.PixelData, number_of_frames=frames):
            raw = numpy.frombuffer(zlib.decompressobj(-15).decompress(frame), "u1")
            assert ds.BitsAllocated == 1
            parts.append(numpy.unpackbits(raw, bitorder="little")[: ds.Rows * ds.Columns])
        return numpy.stack(parts).reshape(frames, ds.Rows, ds.Columns), "zlib"
    return pixel_array(ds), "pydicom"


def four_dimensions(array, ds, colour):
    frames = int(ds.get("NumberOfFrames", 1) or 1)
    shape = (frames, ds.Rows, ds.Columns, 3) if colour else (frames, ds.Rows, ds.Columns, 1)
    return numpy.moveaxis(array.reshape(shape), -1, 0)


def in_units(array, ds):
    """The modality look-up table or rescale, of the top level or of each frame's functional groups."""
    groups = [*ds.get("PerFrameFunctionalGroupsSequence", [])]
    shared = [*ds.get("SharedFunctionalGroupsSequence", [])]
    if not any("PixelValueTransformationSequence" in group for group in groups + shared):
        return apply_modality_lut(array, ds)
    frames = array.reshape((int(ds.NumberOfFrames),) + array.shape[-2:]).astype("f8")
    for frame, own in zip(frames, groups):
        (rule,) = own.get("PixelValueTransformationSequence") or shared[0].PixelValueTransformationSequence
        frame[:] = frame * float(rule.RescaleSlope) + float(rule.RescaleIntercept)
    return frames


def orientation(ds):
    cosines = ds.get("ImageOrientationPatient")
    if cosines is None or len(cosines) != 6:
        return None
    row, column = numpy.array(cosines[:3], float), numpy.array(cosines[3:], float)
    affine = numpy.eye(4)
    affine[:3, :3] = numpy.stack([row, column, numpy.cross(row, column)], 1) * [[-1], [-1], [1]]
    return "".join(nibabel.aff2axcodes(affine))


def describe(path, name):
    ds = pydicom.dcmread(path, force=True)
    if not any(keyword in ds for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return None
    if "TransferSyntaxUID" not in getattr(ds, "file_meta", {}):
        return {"undecoded": "no transfer syntax"}
    syntax = str(ds.file_meta.TransferSyntaxUID)
    try:
        array, by = stored(ds)
    except Exception as error:
        return {"undecoded": type(error).__name__}
    photometric = ds.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        array = apply_color_lut(array, ds)
    else:
        array = in_units(array, ds)
    colour = photometric == "PALETTE COLOR" or ds.get("SamplesPerPixel", 1) == 3
    values = numpy.ascontiguousarray(four_dimensions(array, ds, colour).astype("<f4"))
    lossy = syntax not in LOSSLESS or photometric.startswith("YBR_FULL")
    wide = values.astype("f8")
    row = {
        "by": by,
        "shape": list(values.shape),
        "lossy": lossy,
        "min": float(wide.min()),
        "max": float(wide.max()),
        "mean": float(wide.mean()),
        "std": float(wide.std()),
    }
    if lossy:
        at = numpy.random.default_rng(7).integers(0, values.size, 256)
        row["at"] = at.tolist()
        row["values"] = values.ravel()[at].tolist()
    else:
        row["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
    spacing = ds.get("PixelSpacing") or ds.get("ImagerPixelSpacing") or ds.get("NominalScannedPixelSpacing")
    if spacing:
        row["pixelSpacingMm"] = [float(mm) for mm in spacing]
    if "PerFrameFunctionalGroupsSequence" not in ds:
        row["orientation"] = orientation(ds)
    return row


def main(root):
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    files = {}
    for folder in ("dicom-conformance", "malformed/dicom", "ultrasound/echo_dicom"):
        for path in sorted((root / folder).rglob("*")):
            if not path.is_file() or path.suffix in (".gz", ".txt", ".md"):
                continue
            name = path.relative_to(root).as_posix()
            try:
                row = describe(path, name)
            except Exception as error:
                row = {"undecoded": type(error).__name__}
            if row is not None:
                files[name] = row
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in files.items())
    (HERE.parent / "fixtures" / "dicomConformance.json").write_text("{\n" + lines + "\n}\n")
    decoded = sum("by" in row for row in files.values())
    print(len(files), "files with pixels,", decoded, "decoded")
    for name, row in files.items():
        if "undecoded" in row:
            print(name, row["undecoded"])


main(Path(sys.argv[1]))
