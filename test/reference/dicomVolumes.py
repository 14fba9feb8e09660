"""Makes test/fixtures/dicomVolumes: displays (VOI), enhanced frames out of order, a tilted and a repeated series; and what
pydicom's apply_voi_lut makes of the displays.

    python test/reference/dicomVolumes.py        (pydicom 3, numpy)
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

OUT = Path(__file__).parent.parent / "fixtures" / "dicomVolumes"
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
rng = np.random.default_rng(23)
expected = {}


def dataset(array, syntax=EXPLICIT, modality="DX", **tags):
    """array [frames, rows, columns]"""
    ds = FileDataset(None, {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3"
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = modality, "MONOCHROME2", 1
    ds.NumberOfFrames, ds.Rows, ds.Columns = array.shape
    ds.BitsAllocated = ds.BitsStored = 8 * array.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(array.dtype.kind == "i")
    ds.PixelData = array.astype(array.dtype.newbyteorder(">" if syntax == BIG else "<")).tobytes()
    ds["PixelData"].VR = "OW" if array.itemsize > 1 else "OB"
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def save(name, ds):
    path = OUT / f"{name}.dcm"
    path.parent.mkdir(exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return pydicom.dcmread(path)


# --- displays ---------------------------------------------------------------------------------------------------------


def table(first, bits, entries, vr=None, data="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", vr or ("SS" if first < 0 else "US"), [len(entries) % 65536, first, bits])
    item.add_new("LUTData", data, entries if data == "US" else np.asarray(entries, "<u2").tobytes())
    return Sequence([item])


def shown(name, ds, low, high):
    """[low, high]: what pydicom shows as black and as white."""
    ds = save(name, ds)
    values = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
    expected[name] = ((values.astype("f8") - low) / (high - low)).ravel().tolist()


grey = rng.integers(0, 4096, (1, 5, 6), dtype="u2")
signed = rng.integers(-1500, 1500, (1, 5, 6), dtype="i2")
small = rng.integers(0, 256, (1, 5, 6), dtype="u1")
curve = np.sort(rng.integers(0, 65536, 3000)).tolist()
shown("table", dataset(grey, VOILUTSequence=table(500, 16, curve)), 0, 65535)
shown("table_implicit", dataset(grey, IMPLICIT, VOILUTSequence=table(500, 16, curve, data="OW")), 0, 65535)
shown("table_big", dataset(grey, BIG, VOILUTSequence=table(500, 16, curve)), 0, 65535)
twelve = np.sort(rng.integers(0, 4096, 1000)).tolist()
shown("table_signed", dataset(signed, VOILUTSequence=table(-400, 12, twelve)), 0, 4095)
hounsfield = dataset(signed.astype("i4").clip(0).astype("u2"), RescaleSlope=1, RescaleIntercept=-1024)
hounsfield.VOILUTSequence = table(-900, 12, twelve)
shown("table_rescaled", hounsfield, 0, 4095)
both = dataset(grey, VOILUTSequence=table(500, 16, curve), WindowCenter=100, WindowWidth=20)
shown("table_before_window", both, 0, 65535)
for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
    window = dataset(signed, WindowCenter=40, WindowWidth=400, VOILUTFunction=function)
    shown("window_" + function.lower(), window, -32768, 32767)
several = dataset(signed, WindowCenter=[-600, 40], WindowWidth=[1500, 400])
shown("window_several", several, -32768, 32767)
narrow = dataset(np.arange(20, 50, dtype="u1").reshape(1, 5, 6), WindowCenter=40, WindowWidth=1)
shown("window_one", narrow, 0, 255)
(OUT / "expected.json").write_text(json.dumps(expected) + "\n")

# --- volumes ----------------------------------------------------------------------------------------------------------


def enhanced(name, places, times=None, indices=None, rows=None, modality="MR", size=(3, 4)):
    """Frame i is all of the value 100 + i; places: its height in mm; indices: dimension index values, the last is the place."""
    n = len(places)
    ds = dataset(np.arange(100, 100 + n, dtype="i2")[:, None, None] * np.ones((1,) + size, "i2"), modality=modality)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.25], 3
    orientation.ImageOrientationPatient = rows or [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for i, height in enumerate(places):
        group, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [1, 2, height] if np.isscalar(height) else list(height)
        group.PlanePositionSequence = Sequence([place])
        if times:
            content.TemporalPositionIndex = times[i]
        if indices:
            content.DimensionIndexValues = indices[i]
        group.FrameContentSequence = Sequence([content])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    if indices:
        pointers = [0x00209241, 0x00200032]  # effective echo time's group is not looked at; the position is
        items = []
        for pointer in pointers:
            item = Dataset()
            item.DimensionIndexPointer = pointer
            items.append(item)
        ds.DimensionIndexSequence = Sequence(items)
    save(name, ds)


enhanced("shuffled", [6, 0, 9, 3])
enhanced("downwards", [9, 6, 3, 0])
enhanced("times", [0, 0, 3, 3, 6, 6], times=[2, 1, 2, 1, 2, 1])
enhanced("dimensions", [3, 3, 0, 0], indices=[[2, 2], [1, 2], [2, 1], [1, 1]])
enhanced("uneven", [0, 0, 3, 6])
tilted = [0, 0.9659258, 0.2588190]  # columns of a gantry at 15 degrees
enhanced("tilted", [(1, 2, 3 * i) for i in range(5)], rows=[1, 0, 0] + tilted, modality="CT", size=(9, 4))
enhanced("far", [(1, 2 + 40 * i, 3 * i) for i in range(5)])


def slices(folder, heights, series="1.2.3.4", first=1, orientation=(1, 0, 0, 0, 1, 0), times=None, size=(4, 5)):
    for i, height in enumerate(heights):
        ds = dataset(np.full((1,) + size, 10 * first + i, "i2"), modality="CT", SeriesInstanceUID=series)
        del ds.NumberOfFrames
        ds.InstanceNumber = first + i
        ds.ImageOrientationPatient, ds.ImagePositionPatient = list(orientation), [0, 0, height]
        ds.PixelSpacing, ds.SliceThickness = [0.5, 0.5], 2
        if times:
            ds.TemporalPositionIdentifier = times[i]
        save(f"{folder}/{series[-1]}{first + i:02d}", ds)


slices("tilted_series", [3 * i for i in range(5)], orientation=[1, 0, 0] + tilted, size=(9, 5))
slices("repeated", [0, 2, 4, 0, 2, 4], times=[2, 2, 2, 1, 1, 1])
slices("two_series", [0, 2, 4], series="1.2.3.5")
slices("two_series", [0, 3, 6, 9], series="1.2.3.6", first=20, size=(6, 7))
slices("two_series", [0], series="1.2.3.7", first=40, orientation=[0, 1, 0, 0, 0, -1])  # a scout
for path in sorted((OUT / "tilted_series").glob("*.dcm")):
    (OUT / "gzipped").mkdir(exist_ok=True)
    (OUT / "gzipped" / (path.name + ".gz")).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
