"""Makes test/fixtures/dicomPixels: what pixels may be in DICOM, a small file each, and what pydicom reads in them.

    python test/reference/dicomPixels.py        (pydicom 3, pillow, numpy)
"""

import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array
from pydicom.sequence import Sequence

OUT = Path(__file__).parent.parent / "fixtures" / "dicomPixels"
EXPLICIT, BIG, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
JPEG, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
rng = np.random.default_rng(11)
expected = {}


def dataset(array, syntax=EXPLICIT, photometric="MONOCHROME2", stored=None, **tags):
    """array [frames, rows, columns] or [frames, rows, columns, 3]."""
    ds = FileDataset(None, {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3"
    ds.Modality, ds.PhotometricInterpretation = "OT", photometric
    ds.NumberOfFrames, ds.Rows, ds.Columns = array.shape[:3]
    ds.SamplesPerPixel = 3 if array.ndim == 4 else 1
    if array.ndim == 4:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = 8 * array.itemsize
    ds.BitsStored = stored or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    ds.PixelData = array.astype(array.dtype.newbyteorder(">" if syntax == BIG else "<")).tobytes()
    ds["PixelData"].VR = "OW" if array.itemsize > 1 or syntax == BIG else "OB"
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def save(name, ds, values=None):
    """values [C, D, H, W]: what must be read, where pydicom is not the judge."""
    path = OUT / f"{name}.dcm"
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    if values is None:
        ds = pydicom.dcmread(path)
        values = pixel_array(ds)
        palette = ds.PhotometricInterpretation == "PALETTE COLOR"
        values = apply_color_lut(values, ds) if palette else apply_modality_lut(values, ds)
        shape = (int(ds.NumberOfFrames), ds.Rows, ds.Columns, 3 if palette else ds.SamplesPerPixel)
        values = np.moveaxis(values.reshape(shape), -1, 0)
    expected[name] = {"shape": list(values.shape), "values": values.astype("f4").ravel().tolist()}


def table(first, bits, entries):
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    item.ModalityLUTType = "US"
    return Sequence([item])


def encoded(array, **how):
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, **how)
    return buffer.getvalue()


OUT.mkdir(exist_ok=True)
for old in OUT.glob("*"):
    old.unlink()
grey = rng.integers(0, 4096, (3, 5, 6), dtype="u2")
signed = rng.integers(-2048, 2048, (1, 5, 6), dtype="i2")

entries = rng.integers(0, 60000, 40).tolist()
save("modality_lut", dataset(rng.integers(0, 60, (1, 5, 6), dtype="u1"), ModalityLUTSequence=table(10, 16, entries)))
low = dataset(rng.integers(-30, 30, (1, 5, 6), dtype="i2"), ModalityLUTSequence=table(-20, 16, entries))
save("modality_lut_signed", low)

# Sign and unused bits: the upper four bits of each cell hold an overlay that must not be seen.
save("twelve_of_sixteen", dataset(grey | 0xA000, stored=12), grey[None])
unsigned = dataset((signed.view("u2") & 0x0FFF) | 0x5000, stored=12)
unsigned.PixelRepresentation = 1
save("twelve_signed", unsigned, signed[None])
overlay = dataset(grey, stored=12, **{})
overlay.add_new(0x60000010, "US", 5)
overlay.add_new(0x60000011, "US", 6)
overlay.add_new(0x60000040, "CS", "G")
overlay.add_new(0x60000050, "SS", [1, 1])
overlay.add_new(0x60000100, "US", 1)
overlay.add_new(0x60000102, "US", 0)
overlay.add_new(0x60003000, "OW", b"\xff" * 4)
save("overlay", overlay, grey[None])

# Cells that do not end with a byte: 12 bits and 24 bits allocated, lowest bits first.
bits = ((grey.ravel()[:, None] >> np.arange(12)) & 1).astype("u1").ravel()
packed = dataset(grey, stored=12)
packed.BitsAllocated, packed.PixelData = 12, np.packbits(bits, bitorder="little").tobytes()
save("twelve_packed", packed, grey[None])
wide = rng.integers(0, 2**24, (1, 5, 6), dtype="u4")
three = dataset(wide)
three.BitsAllocated, three.BitsStored, three.HighBit = 24, 24, 23
three.PixelData = wide.view("u1").reshape(-1, 4)[:, :3].tobytes()
save("twenty_four", three, wide[None])

doubles = dataset(grey)
del doubles.PixelData, doubles.PixelRepresentation
doubles.BitsAllocated = 64
doubles.DoubleFloatPixelData = (grey / 7).astype("<f8").tobytes()
save("double", doubles, (grey / 7)[None])

# Every frame with its own rescale, position and the shared spacing; and padding.
enhanced = dataset(grey, stored=12, Modality="MR")
shared, measures, orientation = Dataset(), Dataset(), Dataset()
measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = [0.5, 0.25], 3, 2
orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
enhanced.SharedFunctionalGroupsSequence = Sequence([shared])
frames = []
for f in range(3):
    frame, rule, place = Dataset(), Dataset(), Dataset()
    rule.RescaleSlope, rule.RescaleIntercept, rule.RescaleType = f + 0.5, -100 * f, "US"
    place.ImagePositionPatient = [0, 0, 2.5 * f]
    frame.PixelValueTransformationSequence, frame.PlanePositionSequence = Sequence([rule]), Sequence([place])
    frames.append(frame)
enhanced.PerFrameFunctionalGroupsSequence = Sequence(frames)
save("enhanced", enhanced, np.stack([grey[f] * (f + 0.5) - 100 * f for f in range(3)])[None])
padded = dataset(signed, RescaleSlope=2, RescaleIntercept=-1000)
padded.add_new("PixelPaddingValue", "SS", -2000)
padded.add_new("PixelPaddingRangeLimit", "SS", -1500)
save("padding", padded)

# Colour.
rgb = rng.integers(0, 256, (2, 6, 6, 3), dtype="u1")
save("rgb_planes", dataset(rgb, photometric="RGB", PlanarConfiguration=1))
segments = dataset(rng.integers(0, 16, (1, 5, 6), dtype="u1"), photometric="PALETTE COLOR")
for colour, end in (("Red", 60000), ("Green", 30000), ("Blue", 500)):
    setattr(segments, f"{colour}PaletteColorLookupTableDescriptor", [16, 0, 16])
    runs = np.array([0, 3, 7, 5, 9, 1, 6, end, 0, 3, 1, 2, 3, 1, 4, 100], "<u2")
    setattr(segments, f"Segmented{colour}PaletteColorLookupTableData", runs.tobytes())
save("palette_segments", segments)

# Frames in fragments: the same pictures with no table, a basic one, an extended one, and a wrong one.
smooth = np.cumsum(rng.integers(0, 3, (3, 16, 16)), 2).astype("u1")
parts = [encoded(frame, format="JPEG2000", irreversible=False, no_jp2=True) for frame in smooth]


def fragmented(name, pixels, **extended):
    ds = dataset(smooth, J2K, **extended)
    ds.PixelData = pixels
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    save(name, ds, smooth[None])


fragmented("fragments_basic_table", encapsulate(parts, fragments_per_frame=2, has_bot=True))
fragmented("fragments_no_table", encapsulate(parts, fragments_per_frame=2, has_bot=False))
fragmented("one_each", encapsulate(parts, has_bot=False))
data, offsets, lengths = encapsulate_extended(parts)
fragmented("extended_table", data, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths)
wrong = bytearray(encapsulate(parts, has_bot=True))
wrong[12:16] = b"\x07\0\0\0"
fragmented("wrong_table", bytes(wrong))

lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in expected.items())
(OUT / "expected.json").write_text("{\n" + lines + "\n}\n")
