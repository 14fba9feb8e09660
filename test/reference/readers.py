"""Makes test/fixtures/readers: small files of our own, and what pydicom, nibabel and Pillow read in them.

    python test/reference/readers.py        (pydicom 3, nibabel 5, pillow, numpy)

expected.json maps a file or folder to its samples as the reference sees them, in our order [C, D, H, W].
"""

import io
import json
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels import apply_color_lut, apply_rescale, pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

OUT = Path(__file__).parent.parent / "fixtures" / "readers"
expected = {}
rng = np.random.default_rng(7)


def describe(name, array, **more):
    """array [C, D, H, W] float64; six voxels spread over it, and population statistics of its finite values."""
    array = np.asarray(array, dtype="f8")
    finite = array[np.isfinite(array)]
    places = [np.unravel_index(i, array.shape) for i in np.linspace(0, array.size - 1, 6).astype(int)]
    expected[name] = {
        "shape": list(array.shape),
        "min": finite.min(),
        "max": finite.max(),
        "mean": finite.mean(),
        "std": finite.std(),
        "voxels": [[[int(x) for x in p], float(array[p]) if np.isfinite(array[p]) else None] for p in places],
        **more,
    }


# --- pictures -------------------------------------------------------------------------------------------------------


def png_by_hand(array):
    """Pillow cannot write 16-bit RGB."""
    height, width, channels = array.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def pictures():
    grey = rng.integers(0, 256, (5, 7), dtype="u1")
    colour = rng.integers(0, 256, (5, 7, 3), dtype="u1")
    alpha = rng.integers(0, 256, (5, 7, 4), dtype="u1")
    deep = rng.integers(0, 65536, (5, 7), dtype="u2")
    deep_colour = rng.integers(0, 65536, (5, 7, 3), dtype="u2")
    planes = lambda a: a.transpose(2, 0, 1)[:, None]

    Image.fromarray(grey).save(OUT / "grey8.png")
    describe("grey8.png", grey[None, None], dtype="uint8")
    Image.fromarray(colour).save(OUT / "rgb8.png")
    describe("rgb8.png", planes(colour), dtype="uint8")
    Image.fromarray(alpha, "RGBA").save(OUT / "rgba8.png")
    describe("rgba8.png", planes(alpha)[:3], dtype="uint8")
    (OUT / "grey16.png").write_bytes(png_by_hand(deep[..., None]))
    describe("grey16.png", deep[None, None], dtype="uint16")
    (OUT / "rgb16.png").write_bytes(png_by_hand(deep_colour))
    describe("rgb16.png", planes(deep_colour), dtype="uint16")
    bits = Image.fromarray(((grey > 99) * 255).astype("u1")).convert("1")
    bits.save(OUT / "bits.png")
    describe("bits.png", np.asarray(bits.convert("L"))[None, None], dtype="uint8")
    palette = Image.fromarray(colour).quantize(9)
    palette.save(OUT / "palette.png")
    describe("palette.png", planes(np.asarray(palette.convert("RGB"))), dtype="uint8")

    smooth = np.add.outer(np.arange(16) * 7, np.arange(24) * 5).astype("u1")
    Image.fromarray(smooth).save(OUT / "grey.jpg", quality=90)
    describe("grey.jpg", np.asarray(Image.open(OUT / "grey.jpg"))[None, None], dtype="uint8")
    rgb = np.stack([smooth, smooth[::-1], smooth[:, ::-1]], -1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(OUT / "rotated.jpg", quality=90, exif=exif)
    describe("rotated.jpg", planes(np.asarray(Image.open(OUT / "rotated.jpg"))), dtype="uint8")


# --- DICOM ----------------------------------------------------------------------------------------------------------

AXIAL = [1, 0, 0, 0, 1, 0]


def dicom(name, array, modality, syntax=ExplicitVRLittleEndian, photometric="MONOCHROME2", stored=None, vr="OW", **tags):
    """array: [frames, H, W] or [frames, H, W, 3] of the stored type."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3." + str(len(expected) + 1)
    meta.TransferSyntaxUID = syntax
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.Modality = modality
    ds.PatientName = "Nobody^At All"
    ds.PatientID = "SECRET-ID"
    ds.SeriesInstanceUID = "1.2.3.4"
    ds.Rows, ds.Columns = array.shape[1:3]
    ds.SamplesPerPixel = 3 if array.ndim == 4 else 1
    ds.PhotometricInterpretation = photometric
    if array.ndim == 4:
        ds.PlanarConfiguration = 0
    if len(array) > 1:
        ds.NumberOfFrames = len(array)
    big = syntax == ExplicitVRBigEndian
    if array.dtype.kind == "f":
        ds.FloatPixelData = array.tobytes()
        ds.BitsAllocated = 32
    else:
        ds.BitsAllocated = 8 * array.dtype.itemsize
        ds.BitsStored = stored or ds.BitsAllocated
        ds.HighBit = ds.BitsStored - 1
        ds.PixelRepresentation = int(array.dtype.kind == "i")
        data = array.astype(array.dtype.newbyteorder(">" if big else "<")).tobytes()
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = vr
    for tag, value in tags.items():
        setattr(ds, tag, value)
    return save(name, ds)


def save(name, ds):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def as_pydicom_reads(path):
    """[C, D, H, W] after palette, YBR to RGB and rescale."""
    ds = pydicom.dcmread(path)
    pixels = pixel_array(ds)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, ds)
    else:
        pixels = apply_rescale(pixels.astype("f8"), ds)
    colour = ds.SamplesPerPixel == 3 or ds.PhotometricInterpretation == "PALETTE COLOR"
    frames = int(ds.get("NumberOfFrames", 1))
    pixels = pixels.reshape((frames, ds.Rows, ds.Columns) + ((3,) if colour else ()))
    return pixels.transpose(3, 0, 1, 2) if colour else pixels[None]


def dicoms():
    def check(path, **more):
        describe(path.name, as_pydicom_reads(path), **more)

    ct = rng.integers(-1000, 3000, (1, 5, 6), dtype="i2")
    slice_tags = dict(
        PixelSpacing=[0.7, 0.8], SliceThickness=2.5, ImageOrientationPatient=AXIAL, ImagePositionPatient=[0, 0, 0]
    )
    about_ct = dict(modality="ct", dtype="int16", spacingMm=[2.5, 0.7, 0.8], orientation="LPS", kind="image")
    for name, syntax in [
        ("ct_implicit.dcm", ImplicitVRLittleEndian),
        ("ct_explicit.dcm", ExplicitVRLittleEndian),
        ("ct_big_endian.dcm", ExplicitVRBigEndian),
        ("ct_deflated.dcm", DeflatedExplicitVRLittleEndian),
    ]:
        check(dicom(name, ct, "CT", syntax, RescaleSlope=2, RescaleIntercept=-1024, **slice_tags), **about_ct)

    # Without preamble and meta header: the data set alone.
    for name, syntax in [("bare_implicit.dcm", ImplicitVRLittleEndian), ("bare_explicit.dcm", ExplicitVRLittleEndian)]:
        whole = pydicom.dcmread(OUT / "ct_explicit.dcm")
        buffer = io.BytesIO()
        bare = Dataset()
        bare.update({tag: whole[tag] for tag in whole.keys()})
        pydicom.dcmwrite(buffer, bare, implicit_vr=syntax.is_implicit_VR, little_endian=True)
        (OUT / name).write_bytes(buffer.getvalue())
        describe(name, as_pydicom_reads(OUT / "ct_explicit.dcm"), **about_ct)

    # 12 bits in 16, with rubbish above them (old overlays), unsigned and signed.
    low = rng.integers(0, 4096, (1, 4, 5), dtype="u2")
    for name, dtype in [("unsigned12.dcm", "u2"), ("signed12.dcm", "i2")]:
        rubbish = (low | (rng.integers(0, 16, low.shape, dtype="u2") << 12)).astype("u2").view(dtype)
        path = dicom(name, rubbish, "MR", stored=12)
        value = low.astype("i4") if dtype == "u2" else np.where(low >= 2048, low.astype("i4") - 4096, low.astype("i4"))
        kind = dict(modality="mri", dtype="uint16" if dtype == "u2" else "int16")
        describe(name, value[None], spacingMm=None, orientation=None, **kind)

    film = rng.integers(0, 1024, (1, 4, 3), dtype="u2")
    check(
        dicom("mono1.dcm", film, "CR", photometric="MONOCHROME1", stored=10, ImagerPixelSpacing=[0.2, 0.1]),
        modality="xray", dtype="uint16", spacingMm=[1, 0.2, 0.1], orientation=None, kind="image",
    )  # fmt: skip
    check(dicom("byte.dcm", rng.integers(0, 256, (1, 3, 3), dtype="u1"), "DX", vr="OB"), modality="xray", dtype="uint8")
    check(dicom("word.dcm", rng.integers(0, 2**32, (1, 3, 4), dtype="u4"), "RTDOSE"), modality=None, dtype="uint32")
    check(dicom("signed_byte.dcm", rng.integers(-128, 128, (1, 3, 3), dtype="i1"), "OT", vr="OB"), dtype="int8")
    # Nine 8-bit cells in 16-bit words: big endian turns the words round (PS3.5, 8.1.1), and pydicom writes bytes as given.
    odd = rng.integers(0, 256, (1, 3, 3), dtype="u1")
    ds = pydicom.dcmread(dicom("byte_big_endian.dcm", odd, "DX", ExplicitVRBigEndian, vr="OW"))
    ds.PixelData = np.frombuffer(odd.tobytes() + b"\0", dtype="<u2").astype(">u2").tobytes()
    ds["PixelData"].VR = "OW"
    save("byte_big_endian.dcm", ds)
    describe("byte_big_endian.dcm", odd[None], dtype="uint8")

    rgb = rng.integers(0, 256, (1, 4, 5, 3), dtype="u1")
    check(dicom("rgb.dcm", rgb, "ES", photometric="RGB", vr="OB"), modality="endoscopy", dtype="uint8")
    planar = dicom("rgb_planar.dcm", rgb, "ES", photometric="RGB", vr="OB")
    ds = pydicom.dcmread(planar)
    ds.PlanarConfiguration = 1
    ds.PixelData = rgb.transpose(0, 3, 1, 2).tobytes()
    save("rgb_planar.dcm", ds)
    describe("rgb_planar.dcm", rgb.transpose(3, 0, 1, 2), modality="endoscopy", dtype="uint8")
    check(dicom("ybr.dcm", rgb, "US", photometric="YBR_FULL", vr="OB"), modality="ultrasound", dtype="uint8")
    half = rng.integers(0, 256, (1, 4, 6, 2), dtype="u1")  # Y Y Cb Cr for every two pixels
    path = dicom("ybr422.dcm", rgb, "US", photometric="YBR_FULL_422", vr="OB")
    ds = pydicom.dcmread(path)
    ds.Columns = 6
    ds.PixelData = half.tobytes()
    check(save("ybr422.dcm", ds), modality="ultrasound", dtype="uint8")

    index = rng.integers(0, 6, (1, 4, 5), dtype="u1")
    tables = rng.integers(0, 65536, (3, 4), dtype="u2")  # index 0 is below the first, 5 beyond the last
    lut = {}
    for colour, table in zip(["Red", "Green", "Blue"], tables):
        lut[colour + "PaletteColorLookupTableDescriptor"] = [4, 1, 16]
        lut[colour + "PaletteColorLookupTableData"] = table.astype("<u2").tobytes()
    check(dicom("palette.dcm", index, "US", photometric="PALETTE COLOR", vr="OB", **lut), dtype="uint16")

    clip = rng.integers(0, 256, (3, 4, 5, 3), dtype="u1")
    check(dicom("clip.dcm", clip, "US", photometric="RGB", vr="OB"), kind="video", spacingMm=None)
    stack = rng.integers(0, 500, (4, 3, 5), dtype="u2")
    check(
        dicom("stack.dcm", stack, "NM", PixelSpacing=[2, 3], SpacingBetweenSlices=4),
        kind="volume", spacingMm=[4, 2, 3], dtype="uint16",
    )  # fmt: skip
    check(dicom("float.dcm", rng.normal(size=(1, 3, 4)).astype("f4"), "OT"), dtype="float32")

    # Enhanced CT: everything per frame, slices going down, each with its own slope.
    frames, shared = [], Dataset()
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]  # sagittal: columns to the back, rows down
    measures.PixelSpacing, measures.SliceThickness = [1.5, 1.25], 9
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    for f in range(3):
        frame, position, value = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [10 + 3 * f, 0, 0]
        value.RescaleSlope, value.RescaleIntercept, value.RescaleType = 1 + f, -10 * f, "HU"
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([value])
        frames.append(frame)
    enhanced = rng.integers(0, 100, (3, 4, 5), dtype="u2")
    dicom(
        "enhanced.dcm", enhanced, "CT",
        SharedFunctionalGroupsSequence=Sequence([shared]), PerFrameFunctionalGroupsSequence=Sequence(frames),
    )  # fmt: skip
    slopes, intercepts = np.array([1, 2, 3])[:, None, None], np.array([0, -10, -20])[:, None, None]
    # W to the back, H down, D to the patient's left (+x in DICOM; the normal is -x, frames run against it)
    about = dict(kind="volume", modality="ct", spacingMm=[3, 1.5, 1.25], orientation="PIL")
    describe("enhanced.dcm", (enhanced * slopes + intercepts)[None], **about)

    ds = pydicom.dcmread(OUT / "ct_explicit.dcm")
    del ds.PixelData
    ds.Modality = "SR"
    del ds.Rows, ds.Columns
    save("report.dcm", ds)
    ds = pydicom.dcmread(OUT / "stack.dcm")
    ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    save("rle.dcm", ds)


def series():
    def write(folder, file, value, z, uid="1.2.3.4", shape=(3, 4), **tags):
        array = np.full((1, *shape), value, dtype="i2")
        array[0, 0, 1] = value + 50
        position = dict(ImageOrientationPatient=AXIAL, ImagePositionPatient=[0, 0, z]) if z is not None else {}
        more = dict(PixelSpacing=[0.5, 0.6], SliceThickness=2, RescaleSlope=1, RescaleIntercept=-100)
        dicom(f"{folder}/{file}.dcm", array, "CT", SeriesInstanceUID=uid, **more, **position, **tags)
        return array[0].astype("f8") - 100

    # File names, instance numbers and positions all disagree: positions win.
    order = [("c", 30, 5), ("a", 10, -5), ("e", 50, 15), ("b", 20, 0), ("d", 40, 10)]
    slices = {z: write("series", n, v, z, InstanceNumber=9 - i) for i, (n, v, z) in enumerate(order)}
    (OUT / "series" / "notes.txt").write_text("not a slice\n")
    about = dict(kind="volume", modality="ct", dtype="int16", orientation="LPS")
    describe("series", np.stack([slices[z] for z in sorted(slices)])[None], spacingMm=[5, 0.5, 0.6], **about)

    gap = [write("series_gap", n, v, z) for n, v, z in [("a", 1, 0), ("b", 2, 2), ("c", 3, 4), ("d", 4, 8)]]
    describe("series_gap", np.stack(gap)[None], spacingMm=[2, 0.5, 0.6], **about)

    mixed = [write("series_mixed", n, v, z) for n, v, z in [("a", 1, 0), ("b", 2, 2), ("c", 3, 4)]]
    write("series_mixed", "x", 9, 0, uid="1.2.3.5")
    describe("series_mixed", np.stack(mixed)[None], spacingMm=[2, 0.5, 0.6], **about)

    numbered = [write("series_numbered", n, v, None, InstanceNumber=i) for n, v, i in [("b", 1, 1), ("a", 2, 2)]]
    describe("series_numbered", np.stack(numbered)[None], spacingMm=[2, 0.5, 0.6], kind="volume", orientation=None)

    write("series_sizes", "a", 1, 0)
    write("series_sizes", "b", 2, 2, shape=(3, 5))


# --- NIfTI ----------------------------------------------------------------------------------------------------------


def nifti(name, array, affine, slope=None, inter=None, sform=1, qform=0, big=False, version=1, **header_fields):
    """The header and the stored array, byte by byte, so that no library scales behind our back."""
    kind = nib.Nifti2Header if version == 2 else nib.Nifti1Header
    header = kind(endianness=">" if big else "<")
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header["pixdim"][1:4] = nib.affines.voxel_sizes(affine)
    if qform:
        header.set_qform(affine, code=qform)
    if sform:
        header.set_sform(affine, code=sform)
    header["scl_slope"] = np.nan if slope is None else slope
    header["scl_inter"] = np.nan if inter is None else inter
    header["magic"] = b"n+2" if version == 2 else b"n+1"
    header["vox_offset"] = 544 if version == 2 else 352
    for field, value in header_fields.items():
        header[field] = value
    stored = array.astype(array.dtype.newbyteorder(">" if big else "<")) if array.dtype.fields is None else array
    data = header.binaryblock + b"\0\0\0\0" + stored.tobytes(order="F")
    if name.endswith(".gz"):
        import gzip

        data = gzip.compress(data, mtime=0)
    (OUT / name).write_bytes(data)


def as_nibabel_reads(name, canonical=True):
    image = nib.load(OUT / name)
    data = np.asarray(nib.as_closest_canonical(image).dataobj if canonical else image.dataobj)
    while data.ndim > 3:
        data = data[..., 0]
    while data.ndim < 3:
        data = data[..., None]
    return data.astype("f8").transpose(2, 1, 0)[None], image


def niftis():
    def check(name, **more):
        data, image = as_nibabel_reads(name)
        sizes = nib.affines.voxel_sizes(nib.as_closest_canonical(image).affine)
        about = dict(dtype=str(image.get_data_dtype().newbyteorder("=")), orientation="RAS", kind="volume")
        describe(name, data, **{**about, "spacingMm": [float(s) for s in sizes[2::-1]], **more})

    shape = (4, 3, 5)
    plain = np.diag([2.0, 2.5, 3.0, 1.0])
    for code in ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8"]:
        limits = np.iinfo(code)
        top = min(limits.max, 2**40)
        nifti(f"{code}.nii", rng.integers(max(limits.min, -top), top, shape, dtype=code), plain)
        check(f"{code}.nii")
    for code in ["f4", "f8"]:
        nifti(f"{code}.nii", rng.normal(size=shape).astype(code), plain)
        check(f"{code}.nii")

    numbers = rng.integers(-500, 500, shape, dtype="i2")
    nifti("scaled.nii.gz", numbers, plain, slope=2, inter=-3)
    check("scaled.nii.gz")
    nifti("slope0.nii", numbers, plain, slope=0, inter=7)
    check("slope0.nii")
    nifti("big_endian.nii", numbers, plain, big=True, slope=0.5, inter=1)
    check("big_endian.nii")
    nifti("big_endian_f8.nii", rng.normal(size=shape), plain, big=True)
    check("big_endian_f8.nii")
    nifti("nifti2.nii.gz", numbers, plain, version=2, slope=2, inter=-3)
    check("nifti2.nii.gz")

    nifti("las.nii", numbers, np.diag([-2.0, 2.5, 3.0, 1.0]))
    check("las.nii")
    permuted = np.array([[0, 0, -3.0, 1], [2.0, 0, 0, 2], [0, -2.5, 0, 3], [0, 0, 0, 1]])  # A I L
    nifti("permuted.nii", numbers, permuted)
    check("permuted.nii")
    a, b = np.deg2rad(25), np.deg2rad(-35)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tip = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    oblique = np.eye(4)
    oblique[:3, :3] = turn @ tip @ permuted[:3, :3]
    nifti("oblique.nii", numbers, oblique)
    check("oblique.nii")
    nifti("qform_only.nii", numbers, oblique, sform=0, qform=1)
    check("qform_only.nii")
    # A qform with the higher code does not beat the sform.
    nifti("both_forms.nii", numbers, permuted, sform=1, qform=2)
    header = nib.Nifti1Header.from_fileobj(open(OUT / "both_forms.nii", "rb"))
    header.set_qform(plain, code=2)
    body = (OUT / "both_forms.nii").read_bytes()[348:]
    (OUT / "both_forms.nii").write_bytes(header.binaryblock + body)
    check("both_forms.nii")
    nifti("no_affine.nii", numbers, plain, sform=0)
    check("no_affine.nii")

    holes = rng.normal(size=shape).astype("f4")
    holes[0, 0, 0], holes[1, 1, 1], holes[2, 2, 2] = np.nan, np.inf, -np.inf
    nifti("holes.nii", holes, plain)
    check("holes.nii")
    nifti("four.nii", rng.integers(0, 99, (4, 3, 5, 2), dtype="i2"), np.diag([-2.0, 2.5, 3.0, 1.0]))
    check("four.nii")
    nifti("flat.nii", rng.integers(0, 99, (4, 3), dtype="u1"), plain)
    data, _ = as_nibabel_reads("flat.nii", canonical=False)
    describe("flat.nii", data, orientation="RAS", kind="image", spacingMm=[3, 2.5, 2], dtype="uint8")
    nifti("metres.nii", numbers, np.diag([0.002, 0.0025, 0.003, 1.0]), xyzt_units=1)
    check("metres.nii", spacingMm=[3, 2.5, 2])

    colours = np.zeros(shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel in "RGB":
        colours[channel] = rng.integers(0, 256, shape)
    nifti("rgb.nii", colours, np.diag([-2.0, 2.5, 3.0, 1.0]), slope=2, inter=1)
    planes = np.stack([colours[c][::-1].transpose(2, 1, 0) for c in "RGB"])
    describe("rgb.nii", planes, orientation="RAS", dtype="uint8", spacingMm=[3, 2.5, 2])
    nifti("complex.nii", np.zeros(shape, dtype="c8"), plain)
    nifti("pair.hdr", numbers, plain, magic=b"ni1")


OUT.mkdir(parents=True, exist_ok=True)
pictures()
dicoms()
series()
niftis()
(OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
