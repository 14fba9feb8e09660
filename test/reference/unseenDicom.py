"""DICOM files of every kind that a hospital may hand over, and what is in them.

    python test/reference/unseenDicom.py FOLDER [NAME…]        (pydicom 3, imagecodecs, pillow, numpy)

Values are known because we put them there; those of lossy codecs are what CharLS, OpenJPEG, OpenJPH and libjpeg-turbo give.
"""

import io
import itertools
import struct
import sys
import zlib

import imagecodecs as ic
import numpy as np
import PIL.Image
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from unseenCases import Cases

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
NATIVE = {"implicit": IMPLICIT, "explicit": EXPLICIT, "big": BIG, "deflated": DEFLATED}
JPEG, JPEG12, LOSSLESS, SV1 = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
LS, LSNEAR, J2K, J2KLOSSY = (f"1.2.840.10008.1.2.4.{n}" for n in (80, 81, 90, 91))
J2KMC, JXL, JXLLOSSY = (f"1.2.840.10008.1.2.4.{n}" for n in (92, 110, 112))
HTJ2K, HTRPCL, HTLOSSY = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
RLE, RAWFRAMES, DEFLATEDFRAMES = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"
rng = np.random.default_rng(2611)
cases = Cases(sys.argv[1], set(sys.argv[2:]) or None)


def smooth(frames, rows, columns, top, bottom=0, colours=0):
    """Something like a picture, so that codecs have something to do; the first two cells are the ends of the range."""
    f, y, x = np.mgrid[:frames, :rows, :columns]
    wave = (np.sin(x / 3 + f) + np.cos(y / 4 - f) + 2) / 4
    grey = np.rint(bottom + (top - bottom) * np.clip(wave + rng.normal(0, 0.02, wave.shape), 0, 1))
    grey.flat[:2] = bottom, top
    if not colours:
        return grey.astype("i8")
    return np.stack([grey, np.flip(grey, 1), np.flip(grey, 2)], -1).astype("i8")


def planes(array):
    """[frames, rows, columns] or with colours last, to [C, D, H, W]."""
    return np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]


def packed(array, bits, big=False, vr="OW"):
    flat = array.ravel()
    if bits in (8, 16, 32, 64):
        data = flat.astype(f"{'>' if big else '<'}i{bits // 8}" if (array < 0).any() else f"{'>' if big else '<'}u{bits // 8}").tobytes()
        if bits == 8 and big and vr == "OW":
            data += b"\0" * (len(data) % 2)
            data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
        return data
    cells = (flat[:, None] >> np.arange(bits)) & 1
    data = np.packbits(cells.astype("u1").ravel(), bitorder="little").tobytes()
    if big:
        data += b"\0" * (len(data) % 2)
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    return data


def dataset(shape, bits, stored, signed=False, photometric="MONOCHROME2", syntax=EXPLICIT, **tags):
    ds = FileDataset(None, {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3.4"
    ds.PatientName, ds.PatientID, ds.Modality = "Nobody^At All", "NOBODY", "OT"
    ds.SeriesInstanceUID = "1.2.3.4.5"
    frames, ds.Rows, ds.Columns = shape[:3]
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3 if len(shape) == 4 else 1), photometric
    if len(shape) == 4:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, stored, stored - 1
    ds.PixelRepresentation = int(signed)
    for tag, value in tags.items():
        setattr(ds, tag, value)
    return ds


def write(name, ds, data=None, vr="OW"):
    if data is not None:
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = vr
        syntax = ds.file_meta.TransferSyntaxUID
        if syntax not in NATIVE.values():
            ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    syntax = ds.file_meta.TransferSyntaxUID
    unknown = syntax in (JXL, JXLLOSSY, RAWFRAMES, DEFLATEDFRAMES)  # to pydicom 3.0: written under a name of the same length
    stand_in = J2K if len(syntax) <= 22 else "1.2.840.10008.1.2.4.100"
    if unknown:
        ds.file_meta.TransferSyntaxUID = stand_in
    pydicom.dcmwrite(cases.path(name), ds, enforce_file_format=True)
    if unknown:
        padded = [uid.encode().ljust(len(uid) + len(uid) % 2, b"\0") for uid in (stand_in, syntax)]
        cases.path(name).write_bytes(cases.path(name).read_bytes().replace(*padded, 1))


def native(name, array, bits, stored=None, signed=False, vr="OW", values=None, **more):
    ds = dataset(array.shape, bits, stored or bits, signed, **more)
    big = more.get("syntax") == BIG
    if not cases.wants(name):
        return None
    order = np.moveaxis(array, -1, 1) if ds.get("PlanarConfiguration") == 1 else array
    write(name, ds, packed(order, bits, big, vr), vr)
    cases.expect(name, planes(array if values is None else values))
    return ds


# --- uncompressed --------------------------------------------------------------------------------------------------------


def uncompressed():
    for kind, syntax in NATIVE.items():
        for bits, stored, signed, frames in [
            (1, 1, 0, 1), (1, 1, 0, 3), (8, 8, 0, 1), (8, 8, 1, 2), (8, 6, 0, 1), (12, 12, 0, 2), (16, 12, 0, 1), (16, 12, 1, 2),
            (16, 16, 0, 2), (16, 16, 1, 1), (16, 10, 1, 1), (24, 24, 0, 1), (32, 32, 0, 1), (32, 32, 1, 2), (32, 20, 1, 1),
            (32, 17, 0, 1), (4, 4, 0, 1), (16, 1, 0, 1), (8, 1, 0, 1),
        ]:  # fmt: skip
            low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
            array = rng.integers(low, high, (frames, 5, 7), endpoint=True)
            array.flat[:2] = low, high
            name = f"native_{kind}_{bits}_{stored}{'s' if signed else 'u'}_{frames}.dcm"
            cells = array & (2**stored - 1) if signed and stored < bits else array
            values = array.astype("f4")
            native(name, cells, bits, stored, signed, values=values, syntax=syntax)
        for bits, frames in itertools.product((8, 16), (1, 3)):
            for layout in (0, 1):
                array = rng.integers(0, 2**bits, (frames, 3, 5, 3))
                name = f"rgb_{kind}_{bits}_{layout}_{frames}.dcm"
                native(name, array, bits, syntax=syntax, photometric="RGB", PlanarConfiguration=layout)
        floats(kind, syntax)
    array = rng.integers(0, 256, (1, 3, 5, 3))
    native("byte_big_ob.dcm", array[..., 0], 8, vr="OB", syntax=BIG)
    native("rgb_odd_ob.dcm", array, 8, vr="OB", photometric="RGB")
    native("high_bit.dcm", array[..., 0], 16, 8)
    native("mono1.dcm", array[..., 0], 8, photometric="MONOCHROME1")


def floats(kind, syntax):
    for width, frames in itertools.product((4, 8), (1, 2)):
        name = f"float_{kind}_{8 * width}_{frames}.dcm"
        values = rng.normal(0, 1000, (frames, 4, 5)).astype(f"f{width}")
        values.flat[0] = 1e-7
        ds = dataset(values.shape, 8 * width, 8 * width, syntax=syntax)
        del ds.BitsStored, ds.HighBit, ds.PixelRepresentation
        data = values.astype(f"{'>' if syntax == BIG else '<'}f{width}").tobytes()
        setattr(ds, "FloatPixelData" if width == 4 else "DoubleFloatPixelData", data)
        if cases.wants(name):
            write(name, ds)
            cases.expect(name, values[None].astype("f4"))


def ybr_to_rgb(ybr, bits=8):
    y, cb, cr = np.moveaxis(ybr.astype("f8"), -1, 0)
    middle = 2 ** (bits - 1)
    rgb = [y + 1.402 * (cr - middle), y - 0.344136 * (cb - middle) - 0.714136 * (cr - middle), y + 1.772 * (cb - middle)]
    return np.clip(np.floor(np.stack(rgb, -1) + 0.5), 0, 2**bits - 1)


def colours():
    for kind, bits, layout in itertools.product(("explicit", "big", "implicit"), (8, 16), (0, 1)):
        array = rng.integers(2 ** (bits - 2), 3 * 2 ** (bits - 2), (2, 4, 6, 3))
        name = f"ybr_{kind}_{bits}_{layout}.dcm"
        values = ybr_to_rgb(array, bits)
        native(name, array, bits, syntax=NATIVE[kind], photometric="YBR_FULL", PlanarConfiguration=layout, values=values)
        cases.cases.get(name, {})["near"] = 1
    for kind in ("explicit", "big"):
        half = rng.integers(60, 200, (2, 4, 3, 4))  # Y Y Cb Cr
        full = np.stack([half[..., :2].reshape(2, 4, 6), np.repeat(half[..., 2], 2, -1), np.repeat(half[..., 3], 2, -1)], -1)
        name = f"ybr422_{kind}.dcm"
        if cases.wants(name):
            ds = dataset((2, 4, 6, 3), 8, 8, photometric="YBR_FULL_422", syntax=NATIVE[kind])
            write(name, ds, packed(half, 8, kind == "big"))
            cases.expect(name, planes(ybr_to_rgb(full)), near=1)
    for kind, first, entries, table_bits, index_bits, signed in [
        ("explicit", 0, 256, 16, 8, 0), ("explicit", 5, 40, 8, 8, 0), ("big", 0, 200, 16, 8, 0), ("big", 3, 77, 8, 8, 0),
        ("implicit", 0, 65536, 16, 16, 0), ("explicit", -100, 300, 16, 16, 1), ("implicit", -5, 100, 16, 8, 1),
        ("explicit", 0, 16, 8, 4, 0), ("deflated", 10, 33, 8, 16, 0),
    ]:  # fmt: skip
        name = f"palette_{kind}_{first}_{entries}_{table_bits}_{index_bits}.dcm"
        if not cases.wants(name):
            continue
        low, high = (-(2 ** (index_bits - 1)), 2 ** (index_bits - 1) - 1) if signed else (0, 2**index_bits - 1)
        index = rng.integers(max(low, first - 20), min(high, first + entries + 20), (1, 5, 6), endpoint=True)
        ds = dataset(index.shape, index_bits, index_bits, signed, "PALETTE COLOR", NATIVE[kind])
        tables = rng.integers(0, 2**table_bits, (3, entries))
        for colour, table in zip(("Red", "Green", "Blue"), tables):
            descriptor = [entries % 65536, first % 65536 if not signed else first, table_bits]
            tag = pydicom.datadict.tag_for_keyword(f"{colour}PaletteColorLookupTableDescriptor")
            ds.add_new(tag, "SS" if signed else "US", descriptor)
            tag = pydicom.datadict.tag_for_keyword(f"{colour}PaletteColorLookupTableData")
            ds.add_new(tag, "OW", packed(table, table_bits, kind == "big") + b"\0" * (table.size * table_bits // 8 % 2))
        write(name, ds, packed(index, index_bits, kind == "big"))
        cases.expect(name, tables[:, np.clip(index - first, 0, entries - 1)])


# --- compressed ----------------------------------------------------------------------------------------------------------


def jpeg(array, **how):
    buffer = io.BytesIO()
    PIL.Image.fromarray(array.astype("u1")).save(buffer, "JPEG", **how)
    return buffer.getvalue()


def rle_encoded(array, bits):
    """PackBits of byte planes, most significant first, colour after colour (PS3.5, annex G)."""
    colours_last = array.reshape(*array.shape[:2], -1)
    segments = []
    for c in range(colours_last.shape[-1]):
        cells = colours_last[..., c].astype(f">i{bits // 8}" if (array < 0).any() else f">u{bits // 8}")
        for plane in range(bits // 8):
            rows = np.ascontiguousarray(cells).view("u1").reshape(*cells.shape, bits // 8)[..., plane]
            data = b"".join(ic.packbits_encode(row.tobytes()) for row in rows)
            segments.append(data + b"\0" * (len(data) % 2))
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)


def compressed(name, array, bits, stored, syntax, encode, values=None, signed=False, near=0, table="basic", cut=None, **more):
    if not cases.wants(name):
        return None
    ds = dataset(array.shape, bits, stored, signed, syntax=syntax, **more)
    frames = [encode(frame) for frame in array]
    pieces = [len(frame) if cut is None else max(2, len(frame) // cut // 2 * 2) for frame in frames]
    if table == "extended":
        data, offsets, lengths = encapsulate_extended(frames)
        ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets, lengths
    elif cut is None:
        data = encapsulate(frames, has_bot=table == "basic")
    else:
        items, offsets, at = b"", [], 0
        for frame, piece in zip(frames, pieces):
            offsets.append(at)
            frame += b"\0" * (len(frame) % 2)
            for start in range(0, len(frame), piece):
                part = frame[start : start + piece]
                item = struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part
                items, at = items + item, at + len(item)
        offsets = struct.pack(f"<{len(offsets)}I", *offsets) if table == "basic" else b""
        data = struct.pack("<HHI", 0xFFFE, 0xE000, len(offsets)) + offsets + items
    write(name, ds, data)
    cases.expect(name, planes(array if values is None else values), near=near)
    if syntax in (J2K, J2KLOSSY) and stored > 16:
        cases.refuse(name, f"of {stored} bits a sample is not supported; expected at most 16")
    return ds


def each(decode, encode, array):
    return np.stack([decode(encode(frame)) for frame in array])


def codecs():
    def typed(bits, signed=False):
        return f"{'i' if signed else 'u'}{(bits + 7) // 8 if bits <= 16 else 4}"

    # RLE
    for bits, stored, signed, colour in [(8, 8, 0, 0), (16, 12, 0, 0), (16, 16, 1, 0), (32, 32, 0, 0), (8, 8, 0, 3), (16, 16, 0, 3), (8, 8, 1, 0)]:
        low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
        array = smooth(2, 9, 13, high, low, colour)
        photometric = "RGB" if colour else "MONOCHROME2"
        for table in ("basic", "none"):
            name = f"rle_{bits}_{stored}{'s' if signed else 'u'}_{colour}_{table}.dcm"
            compressed(name, array, bits, stored, RLE, lambda a: rle_encoded(a, bits), array.astype("f4"), bool(signed), table=table, photometric=photometric)
    ybr = smooth(1, 8, 8, 200, 50, 3)
    compressed("rle_ybr.dcm", ybr, 8, 8, RLE, lambda a: rle_encoded(a, 8), ybr_to_rgb(ybr), near=1, photometric="YBR_FULL", PlanarConfiguration=1)

    # Baseline and extended
    grey8, rgb8 = smooth(2, 24, 40, 255), smooth(2, 24, 40, 255, 0, 3)
    for table, cut in [("basic", None), ("none", None), ("extended", None), ("basic", 3), ("none", 1), ("none", 3)]:
        how = dict(quality=90)
        values = np.stack([ic.jpeg8_decode(jpeg(frame, **how)) for frame in grey8])
        compressed(f"jpeg_grey_{table}_{cut}.dcm", grey8, 8, 8, JPEG, lambda a: jpeg(a, **how), values, near=2, table=table, cut=cut)
    for name, how, photometric in [
        ("420", dict(subsampling=2), "YBR_FULL_422"), ("422", dict(subsampling=1), "YBR_FULL_422"), ("444", dict(subsampling=0), "YBR_FULL"),
        ("progressive", dict(progressive=True), "YBR_FULL_422"), ("restart", dict(restart_marker_blocks=3), "YBR_FULL_422"),
        ("optimized", dict(optimize=True), "YBR_FULL_422"), ("rgb_said", dict(subsampling=0), "RGB"),
    ]:  # fmt: skip
        values = np.stack([np.asarray(PIL.Image.open(io.BytesIO(jpeg(frame, quality=92, **how)))) for frame in rgb8])
        compressed(f"jpeg_{name}.dcm", rgb8, 8, 8, JPEG, lambda a: jpeg(a, quality=92, **how), values, near=2, photometric=photometric)
    plain = lambda a: ic.jpeg8_encode(a.astype("u1"), 95, colorspace="RGB", outcolorspace="RGB")
    values = np.stack([ic.jpeg8_decode(plain(frame), colorspace="RGB", outcolorspace="RGB") for frame in rgb8])
    compressed("jpeg_rgb_plain.dcm", rgb8, 8, 8, JPEG, plain, values, near=2, photometric="RGB")
    odd = smooth(1, 17, 15, 255)
    compressed("jpeg_odd.dcm", odd, 8, 8, JPEG, lambda a: jpeg(a, quality=80), ic.jpeg8_decode(jpeg(odd[0], quality=80))[None], near=2)
    grey12 = smooth(2, 24, 40, 4095)
    twelve = lambda a: ic.jpeg8_encode(a.astype("u2"), 95, bitspersample=12)
    values = np.stack([ic.jpeg8_decode(twelve(frame)) for frame in grey12])
    compressed("jpeg_12.dcm", grey12, 16, 12, JPEG12, twelve, values, near=2)
    compressed("jpeg_12_rescaled.dcm", grey12, 16, 12, JPEG12, twelve, values - 1024.0, near=2, RescaleSlope=1, RescaleIntercept=-1024)
    values = np.stack([ic.jpeg8_decode(jpeg(frame, quality=90)) for frame in grey8])
    compressed("jpeg_extended_8.dcm", grey8, 8, 8, JPEG12, lambda a: jpeg(a, quality=90), values, near=2)
    compressed("jpeg_8_in_16.dcm", grey8, 16, 8, JPEG, lambda a: jpeg(a, quality=90), values, near=2)

    for label, syntax, encode in [
        ("lossless", SV1, lambda a: ic.ljpeg_encode(a.astype("u1"), bitspersample=8)), ("ls", LS, lambda a: ls(a.astype("u1"), 8)),
        ("j2k", J2K, lambda a: ic.jpeg2k_encode(a.astype("u1"), level=0, codecformat="j2k", reversible=True)),
        ("htj2k", HTJ2K, lambda a: ic.htj2k_encode(a.astype("u1"), reversible=True)),
        ("jxl", JXL, lambda a: ic.jpegxl_encode(a.astype("u1"), lossless=True)),
    ]:  # fmt: skip
        compressed(f"{label}_8_in_16.dcm", grey8, 16, 8, syntax, encode)

    # Lossless JPEG
    for bits, stored in [(8, 8), (16, 10), (16, 12), (16, 14), (16, 16), (8, 7)]:
        array = smooth(2, 19, 23, 2**stored - 1)
        for syntax, label in [(LOSSLESS, "57"), (SV1, "70")]:
            encode = lambda a: ic.ljpeg_encode(a.astype(typed(bits)), bitspersample=stored)
            compressed(f"lossless_{label}_{bits}_{stored}.dcm", array, bits, stored, syntax, encode)
            if stored in (12, 16):
                signed = array - 2 ** (stored - 1)
                wrapped = lambda a: ic.ljpeg_encode((a & (2**stored - 1)).astype(typed(bits)), bitspersample=stored)
                compressed(f"lossless_{label}_{bits}_{stored}_signed.dcm", signed, bits, stored, syntax, wrapped, signed=True)
    turbo = lambda a: ic.jpeg8_encode(a.astype("u1"), lossless=True)
    compressed("lossless_turbo_grey.dcm", grey8, 8, 8, SV1, turbo)
    for predictor in range(1, 8):
        chosen = lambda a: ic.jpeg8_encode(a.astype("u1"), lossless=True, predictor=predictor)
        compressed(f"lossless_predictor{predictor}.dcm", grey8[:1], 8, 8, LOSSLESS, chosen)
    lossless_rgb = lambda a: ic.jpeg8_encode(a.astype("u1"), lossless=True, colorspace="RGB", outcolorspace="RGB")
    compressed("lossless_rgb.dcm", rgb8, 8, 8, SV1, lossless_rgb, photometric="RGB")
    deep = smooth(1, 16, 16, 65535)
    compressed("lossless_turbo_16.dcm", deep, 16, 16, SV1, lambda a: ic.jpeg8_encode(a.astype("u2"), lossless=True, bitspersample=16))

    # JPEG-LS
    for bits, stored in [(8, 8), (8, 5), (16, 9), (16, 10), (16, 12), (16, 16)]:
        array = smooth(2, 19, 23, 2**stored - 1)
        compressed(f"ls_{bits}_{stored}.dcm", array, bits, stored, LS, lambda a: ls(a.astype(typed(bits)), stored))
        values = np.stack([ic.jpegls_decode(ls(frame.astype(typed(bits)), stored, 3)) for frame in array])
        near = lambda a: ls(a.astype(typed(bits)), stored, 3)
        # Where CharLS goes over the bits stored, pydicom cuts them off; so do we.
        compressed(f"ls_near_{bits}_{stored}.dcm", array, bits, stored, LSNEAR, near, values & (2**stored - 1))
        if stored in (12, 16):
            signed = array - 2 ** (stored - 1)
            wrap = lambda a: ls((a & (2**stored - 1)).astype("u2"), stored)
            compressed(f"ls_signed_{stored}.dcm", signed, bits, stored, LS, wrap, signed=True)
    compressed("ls_rgb.dcm", rgb8, 8, 8, LS, lambda a: ls(a.astype("u1"), 8), photometric="RGB")
    values = np.stack([ic.jpegls_decode(ls(frame.astype("u1"), 8, 2)) for frame in rgb8])
    compressed("ls_rgb_near.dcm", rgb8, 8, 8, LSNEAR, lambda a: ls(a.astype("u1"), 8, 2), values, photometric="RGB")

    # JPEG 2000 and HTJ2K
    for bits, stored, signed in [(8, 8, 0), (8, 8, 1), (16, 10, 0), (16, 12, 0), (16, 12, 1), (16, 16, 0), (16, 16, 1), (8, 1, 0), (32, 20, 0)]:
        low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
        array = smooth(2, 33, 41, high, low)
        kind = typed(bits, signed)
        sign = "s" if signed else "u"
        for container in ("j2k", "jp2"):
            encode = lambda a: ic.jpeg2k_encode(a.astype(kind), level=0, codecformat=container, reversible=True, bitspersample=stored)
            compressed(f"{container}_{stored}{sign}.dcm", array, bits, stored, J2K, encode, signed=bool(signed))
        encode = lambda a: ic.jpeg2k_encode(a.astype(kind), level=45, codecformat="j2k", reversible=False, bitspersample=stored)
        if stored > 1:
            values = each(ic.jpeg2k_decode, encode, array)
            compressed(f"j2k_lossy_{stored}{sign}.dcm", array, bits, stored, J2KLOSSY, encode, values, signed=bool(signed), near=2)
        if signed and stored == 12:  # the stream says unsigned, as some writers do
            wrap = lambda a: ic.jpeg2k_encode((a & 4095).astype("u2"), level=0, codecformat="j2k", reversible=True, bitspersample=12)
            compressed("j2k_unsigned_stream.dcm", array, bits, stored, J2K, wrap, signed=True)
        if stored <= 16:
            for syntax, label in [(HTJ2K, "201"), (HTRPCL, "202"), (HTLOSSY, "203")]:
                encode = lambda a: ic.htj2k_encode(a.astype(kind), reversible=True)
                compressed(f"htj2k_{label}_{stored}{sign}.dcm", array, bits, stored, syntax, encode, signed=bool(signed))
    for mct, photometric in [(True, "YBR_RCT"), (False, "RGB")]:
        encode = lambda a: ic.jpeg2k_encode(a.astype("u1"), level=0, codecformat="j2k", reversible=True, mct=mct)
        compressed(f"j2k_rgb_{mct}.dcm", rgb8, 8, 8, J2K, encode, photometric=photometric)
    encode = lambda a: ic.jpeg2k_encode(a.astype("u1"), level=40, codecformat="jp2", reversible=False, mct=True)
    compressed("j2k_rgb_ict.dcm", rgb8, 8, 8, J2KLOSSY, encode, each(ic.jpeg2k_decode, encode, rgb8), near=2, photometric="YBR_ICT")
    encode = lambda a: ic.jpeg2k_encode(a.astype("u1"), level=0, codecformat="j2k", reversible=True, mct=False)
    compressed("j2k_ybr_full.dcm", rgb8, 8, 8, J2K, encode, ybr_to_rgb(rgb8), near=1, photometric="YBR_FULL")
    encode = lambda a: ic.jpeg2k_encode(a.astype("u2"), level=0, codecformat="j2k", reversible=True, mct=True)
    compressed("j2k_rgb_16.dcm", smooth(1, 9, 9, 65535, 0, 3), 16, 16, J2K, encode, photometric="YBR_RCT")
    encode = lambda a: ic.htj2k_encode(a.astype("u1"), reversible=True)
    compressed("htj2k_rgb.dcm", rgb8, 8, 8, HTJ2K, encode, photometric="YBR_RCT")
    deep_rgb = smooth(1, 19, 23, 65535, 0, 3)
    for label, syntax, encode in [
        ("htj2k", HTJ2K, lambda a: ic.htj2k_encode(a.astype("u2"), reversible=True)), ("ls", LS, lambda a: ls(a.astype("u2"), 16)),
        ("jxl", JXL, lambda a: ic.jpegxl_encode(a.astype("u2"), lossless=True)),
        ("lossless", SV1, lambda a: ic.jpeg8_encode(a.astype("u2"), lossless=True, bitspersample=16, colorspace="RGB", outcolorspace="RGB")),
    ]:  # fmt: skip
        compressed(f"{label}_rgb_16.dcm", deep_rgb, 16, 16, syntax, encode, photometric="RGB")
    for table, cut in [("none", 4), ("basic", 4), ("extended", None)]:
        encode = lambda a: ic.jpeg2k_encode(a.astype("u2"), level=0, codecformat="j2k", reversible=True)
        compressed(f"j2k_{table}_{cut}.dcm", smooth(3, 33, 41, 65535), 16, 16, J2K, encode, table=table, cut=cut)

    # JPEG XL, and frames that are not pictures
    for bits, stored in [(8, 8), (16, 16), (16, 12), (16, 10), (8, 5)]:
        array = smooth(2, 17, 19, 2**stored - 1)
        encode = lambda a: ic.jpegxl_encode(a.astype(typed(bits)), lossless=True, bitspersample=stored)
        compressed(f"jxl_{stored}.dcm", array, bits, stored, JXL, encode)
    compressed("jxl_rgb.dcm", rgb8, 8, 8, JXL, lambda a: ic.jpegxl_encode(a.astype("u1"), lossless=True), photometric="RGB")
    encode = lambda a: ic.jpegxl_encode(a.astype("u1"), level=90, lossless=False)
    compressed("jxl_lossy.dcm", rgb8, 8, 8, JXLLOSSY, encode, each(ic.jpegxl_decode, encode, rgb8), near=2, photometric="RGB")
    raw = smooth(3, 5, 7, 4095)
    compressed("frames_raw.dcm", raw, 16, 12, RAWFRAMES, lambda a: a.astype("<u2").tobytes())
    squeezed = lambda a: zlib.compress(a.astype("<u2").tobytes(), wbits=-15)
    compressed("frames_deflated.dcm", raw, 16, 12, DEFLATEDFRAMES, squeezed)
    bits = rng.integers(0, 2, (3, 8, 8))
    squeezed = lambda a: zlib.compress(np.packbits(a.astype("u1"), bitorder="little").tobytes(), wbits=-15)
    compressed("frames_deflated_bits.dcm", bits, 1, 1, DEFLATEDFRAMES, squeezed)


def ls(array, stored, near=0):
    return ic.jpegls_encode(array, level=near)  # CharLS is told as many bits as the largest value has


# --- containers ----------------------------------------------------------------------------------------------------------


def element(group, number, vr, value, little=True, implicit=False, undefined=False):
    order = "<" if little else ">"
    length = 0xFFFFFFFF if undefined else len(value)
    if implicit:
        return struct.pack(order + "HHI", group, number, length) + value
    if vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"):
        return struct.pack(order + "HH2sHI", group, number, vr.encode(), 0, length) + value
    return struct.pack(order + "HH2sH", group, number, vr.encode(), length) + value


def item(content, undefined=False):
    if undefined:
        return struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + content + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
GRID = np.arange(12).reshape(1, 3, 4) * 301


def by_hand(name, before=b"", after=b"", syntax=EXPLICIT, preamble=b"\0" * 128 + b"DICM", meta=True, implicit=None, pixels=None, leave=(), **changed):
    """A file of elements written by hand. before: elements that sort between (0018,…) and (0028,0002)."""
    if not cases.wants(name):
        return
    implicit = syntax == IMPLICIT if implicit is None else implicit
    head = b""
    if meta:
        info = element(2, 2, "UI", b"1.2.840.10008.5.1.4.1.1.7\0") + element(2, 3, "UI", b"1.2\0\0"[:4]) + element(2, 0x10, "UI", syntax.encode() + b"\0" * (len(syntax) % 2))
        head = element(2, 0, "UL", struct.pack("<I", len(info))) + info
    parts = {
        (8, 0x16): ("UI", b"1.2.840.10008.5.1.4.1.1.7\0"), (8, 0x60): ("CS", b"OT"), (0x28, 2): ("US", struct.pack("<H", 1)),
        (0x28, 4): ("CS", b"MONOCHROME2 "), (0x28, 0x10): ("US", struct.pack("<H", 3)), (0x28, 0x11): ("US", struct.pack("<H", 4)),
        (0x28, 0x100): ("US", struct.pack("<H", 16)), (0x28, 0x101): ("US", struct.pack("<H", 16)),
        (0x28, 0x102): ("US", struct.pack("<H", 15)), (0x28, 0x103): ("US", struct.pack("<H", 0)),
    }  # fmt: skip
    for key, value in changed.pop("parts", {}).items():
        parts[key] = value
    body = b""
    for key in sorted(parts):
        if key == (0x28, 2):
            body += before
        if key not in leave:
            body += element(*key, *parts[key], implicit=implicit)
    body += element(0x7FE0, 0x10, "OW", GRID.astype("<u2").tobytes(), implicit=implicit) if pixels is None else pixels
    body += after
    if syntax == DEFLATED:
        body = zlib.compress(body, wbits=-15)
    cases.path(name).write_bytes(preamble + head + body)
    cases.expect(name, changed.get("values", GRID)[None])


def containers():
    sub = element(8, 0x60, "CS", b"MR") + element(0x28, 0x10, "US", struct.pack("<H", 99))
    sub_implicit = element(8, 0x60, "CS", b"MR", implicit=True) + element(0x28, 0x10, "US", struct.pack("<H", 99), implicit=True)
    by_hand("plain.dcm")
    by_hand("no_preamble.dcm", preamble=b"")
    by_hand("no_meta.dcm", preamble=b"", meta=False)
    by_hand("no_meta_implicit.dcm", preamble=b"", meta=False, syntax=IMPLICIT)
    by_hand("preamble_no_meta.dcm", meta=False)
    by_hand("preamble_no_meta_implicit.dcm", meta=False, syntax=IMPLICIT)
    by_hand("explicit_said_implicit_written.dcm", implicit=True)
    by_hand("implicit_said_explicit_written.dcm", syntax=IMPLICIT, implicit=False)
    lengths = {(8, 0): ("UL", struct.pack("<I", 42)), (0x28, 0): ("UL", struct.pack("<I", 90))}
    by_hand("group_lengths.dcm", parts=lengths)
    by_hand("group_lengths_implicit.dcm", parts=lengths, syntax=IMPLICIT)
    by_hand("group_lengths_no_meta.dcm", parts=lengths, preamble=b"", meta=False)
    by_hand("group_lengths_implicit_no_meta.dcm", parts=lengths, preamble=b"", meta=False, syntax=IMPLICIT)
    for undefined_item, undefined_sequence in itertools.product((False, True), repeat=2):
        content = item(sub, undefined_item) + item(b"", undefined_item) + (SEQUENCE_END if undefined_sequence else b"")
        by_hand(f"sequence_{undefined_item}_{undefined_sequence}.dcm", element(0x18, 0x9006, "SQ", content, undefined=undefined_sequence))
        content = item(sub_implicit, undefined_item) + (SEQUENCE_END if undefined_sequence else b"")
        by_hand(f"sequence_implicit_{undefined_item}_{undefined_sequence}.dcm", element(0x18, 0x9006, "SQ", content, implicit=True, undefined=undefined_sequence), syntax=IMPLICIT)
        by_hand(f"un_sequence_{undefined_item}_{undefined_sequence}.dcm", element(0x19, 0x1001, "UN", content, undefined=undefined_sequence))
        by_hand(f"private_implicit_sequence_{undefined_item}_{undefined_sequence}.dcm", element(0x19, 0x1001, "UN", content, implicit=True, undefined=undefined_sequence), syntax=IMPLICIT)
        nested = item(element(0x18, 0x9006, "SQ", item(sub, undefined_item) + SEQUENCE_END, undefined=True), undefined_item) + (SEQUENCE_END if undefined_sequence else b"")
        by_hand(f"nested_{undefined_item}_{undefined_sequence}.dcm", element(0x18, 0x9006, "SQ", nested, undefined=undefined_sequence))
    by_hand("sequence_empty.dcm", element(0x18, 0x9006, "SQ", b""))
    by_hand("sequence_empty_undefined.dcm", element(0x18, 0x9006, "SQ", SEQUENCE_END, undefined=True))
    for vr, size in [("OV", 16), ("SV", 8), ("UV", 8), ("OL", 8), ("OD", 16), ("OF", 8), ("OB", 6), ("OW", 6), ("UC", 10), ("UR", 10), ("UT", 10), ("UN", 10), ("FD", 8), ("FL", 4), ("AT", 4), ("SL", 4), ("SS", 2), ("UL", 4)]:  # fmt: skip
        value = bytes(range(1, size + 1)) if vr not in ("UC", "UR", "UT") else b"abcdefghij"[:size]
        by_hand(f"vr_{vr}.dcm", element(0x19, 0x10, "LO", b"SOMEBODY") + element(0x19, 0x1002, vr, value))
        by_hand(f"vr_{vr}_empty.dcm", element(0x19, 0x10, "LO", b"SOMEBODY") + element(0x19, 0x1002, vr, b""))
    for vr in ("OV", "SV", "UV"):
        content = item(element(8, 0x60, "CS", b"MR") + element(0x19, 0x1002, vr, bytes(range(8))), True) + SEQUENCE_END
        by_hand(f"vr_{vr}_in_sequence.dcm", element(0x18, 0x9006, "SQ", content, undefined=True))
    by_hand("vr_unknown_short.dcm", struct.pack("<HH2sH", 0x19, 0x1002, b"ZZ", 4) + b"abcd")
    by_hand("vr_none.dcm", struct.pack("<HH2sH", 0x19, 0x1002, b"??", 4) + b"abcd")
    by_hand("private_creators.dcm", element(0x19, 0x10, "LO", b"A ") + element(0x19, 0x11, "LO", b"B ") + element(0x19, 0x1001, "LO", b"x" * 30) + element(0x19, 0x1101, "DS", b"1.5 "))
    by_hand("long_text.dcm", element(0x18, 0x1030, "UT", b"x" * 70000))
    by_hand("padding_after.dcm", after=element(0xFFFC, 0xFFFC, "OB", b"\0" * 64))
    by_hand("signature_after.dcm", after=element(0xFFFA, 0xFFFA, "SQ", item(sub)))
    by_hand("zeros_after.dcm", after=b"\0" * 4096)
    by_hand("rubbish_after.dcm", after=b"\x01\x02\x03")
    by_hand("pixels_un.dcm", pixels=element(0x7FE0, 0x10, "UN", GRID.astype("<u2").tobytes()))
    by_hand("pixels_ob.dcm", pixels=element(0x7FE0, 0x10, "OB", GRID.astype("<u2").tobytes()))
    by_hand("pixels_group_length.dcm", pixels=element(0x7FE0, 0, "UL", struct.pack("<I", 36)) + element(0x7FE0, 0x10, "OW", GRID.astype("<u2").tobytes()))
    by_hand("pixels_longer.dcm", pixels=element(0x7FE0, 0x10, "OW", GRID.astype("<u2").tobytes() + b"\0" * 100))
    icon = element(0x28, 2, "US", struct.pack("<H", 1)) + element(0x28, 0x10, "US", struct.pack("<H", 1)) + element(0x28, 0x11, "US", struct.pack("<H", 2)) + element(0x7FE0, 0x10, "OB", b"\1\2")
    by_hand("icon.dcm", pixels=element(0x88, 0x200, "SQ", item(icon)) + element(0x7FE0, 0x10, "OW", GRID.astype("<u2").tobytes()))
    by_hand("icon_undefined.dcm", pixels=element(0x88, 0x200, "SQ", item(icon, True) + SEQUENCE_END, undefined=True) + element(0x7FE0, 0x10, "OW", GRID.astype("<u2").tobytes()))
    fragments = item(b"") + item(b"\xff\xd8\xff\xd9") + SEQUENCE_END
    icon = element(0x28, 0x10, "US", struct.pack("<H", 1)) + element(0x7FE0, 0x10, "OB", fragments, undefined=True)
    by_hand("icon_encapsulated.dcm", pixels=element(0x88, 0x200, "SQ", item(icon, True) + SEQUENCE_END, undefined=True) + element(0x7FE0, 0x10, "OW", GRID.astype("<u2").tobytes()))
    for key, label in [((0x28, 2), "samples"), ((0x28, 4), "photometric"), ((0x28, 0x101), "bits_stored"), ((0x28, 0x102), "high_bit"), ((0x28, 0x103), "representation"), ((8, 0x60), "modality"), ((8, 0x16), "class")]:
        by_hand(f"without_{label}.dcm", leave=(key,))
    for text in (b"1 ", b"01", b"1\0", b"+1", b" 1", b"", b"1.0 "):
        by_hand(f"frames_{text.hex()}.dcm", parts={(0x28, 8): ("IS", text)})
    for slope, intercept in [(b"2 ", b"-1024 "), (b"+1.5E0", b"1e1 "), (b"  0.25", b"-0.5\0"), (b"-1", b"4095"), (b"1.0 ", b""), (b"", b""), (b"1,5 ", b"0 ")]:
        number = lambda text, otherwise: float(text.strip(b" \0") or otherwise)
        name = f"rescale_{slope.hex()}_{intercept.hex()}.dcm"
        parts = {(0x28, 0x1052): ("DS", intercept), (0x28, 0x1053): ("DS", slope)}
        if b"," not in slope:
            by_hand(name, parts=parts, values=GRID * number(slope, 1) + number(intercept, 0))
    by_hand("deflated.dcm", syntax=DEFLATED)
    by_hand("windows.dcm", parts={(0x28, 0x1050): ("DS", b"40\\400"), (0x28, 0x1051): ("DS", b"80\\2000 ")})
    by_hand("one_window_odd.dcm", parts={(0x28, 0x1050): ("DS", b"40"), (0x28, 0x1051): ("DS", b"")})
    by_hand("charset.dcm", parts={(8, 5): ("CS", b"ISO_IR 100\\ISO 2022 IR 87 ")})
    by_hand("short_group2.dcm", parts={(8, 8): ("CS", b"DERIVED\\SECONDARY\\OTHER ")})
    by_hand("retired_type.dcm", parts={(8, 1): ("UL", struct.pack("<I", 5))})
    by_hand("leading_zero_group.dcm", parts={(4, 0x1500): ("CS", b"A ")})


# --- geometry ------------------------------------------------------------------------------------------------------------

PLANES = {
    "LPS": ([1, 0, 0], [0, 1, 0]), "LSA": ([1, 0, 0], [0, 0, 1]), "PIR": ([0, 1, 0], [0, 0, -1]), "RAS": ([-1, 0, 0], [0, -1, 0]),
    "PLI": ([0, 1, 0], [1, 0, 0]),
}  # fmt: skip


def oblique(row, column, angle=0.2):
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return tilt @ turn @ row, tilt @ turn @ column


def letters(row, column, along):
    """Of the closest axes; DICOM's x and y point left and back."""
    found = ""
    for vector in (row, column, along):
        axis = int(np.argmax(np.abs(vector)))
        found += ("RAI", "LPS")[int(vector[axis] > 0)][axis]
    return found


def geometry():
    for label, (row, column) in PLANES.items():
        for angle, upwards in itertools.product((0, 0.2), (True, False)):
            u, v = oblique(np.array(row, "f8"), np.array(column, "f8"), angle)
            normal = np.cross(u, v)
            cosines = [float(f"{x:.6f}") for x in (*u, *v)]
            along = normal if upwards else -normal
            where = lambda k: [float(f"{x:.4f}") for x in np.array([10, -20, 30]) + 2.5 * k * along]
            array = smooth(4, 5, 6, 4000, -1000)
            name = f"enhanced_{label}_{angle}_{upwards}.dcm"
            about = dict(spacingMm=[2.5, 0.7, 0.4], orientation=letters(u, v, along))
            if cases.wants(name):
                ds = dataset(array.shape, 16, 16, True, Modality="CT")
                shared, measures, orientation = Dataset(), Dataset(), Dataset()
                measures.PixelSpacing, measures.SliceThickness = [0.7, 0.4], 5
                orientation.ImageOrientationPatient = cosines
                shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
                ds.SharedFunctionalGroupsSequence = Sequence([shared])
                frames = []
                for k in range(4):
                    frame, position, value = Dataset(), Dataset(), Dataset()
                    position.ImagePositionPatient = where(k)
                    value.RescaleSlope, value.RescaleIntercept, value.RescaleType = 1 + k / 2, -k, "HU"
                    frame.PlanePositionSequence, frame.PixelValueTransformationSequence = Sequence([position]), Sequence([value])
                    frames.append(frame)
                ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
                write(name, ds, packed(array, 16))
                k = np.arange(4)[:, None, None]
                cases.expect(name, (array * (1 + k / 2) - k)[None], **about)
            folder = f"series_{label}_{angle}_{upwards}"
            if cases.wants(folder):
                for k in range(4):
                    ds = dataset((1, 5, 6), 16, 16, True, Modality="CT", ImageOrientationPatient=cosines, ImagePositionPatient=where(k))
                    ds.PixelSpacing, ds.SliceThickness, ds.RescaleSlope, ds.RescaleIntercept = [0.7, 0.4], 5, 1 + k / 2, -k
                    ds.SOPInstanceUID, ds.InstanceNumber = f"1.2.3.{k}", [3, 1, 4, 2][k]
                    write(f"{folder}/{'cadb'[k]}.dcm", ds, packed(array[k : k + 1], 16))
                k = np.arange(4)[:, None, None]
                stack = array * (1 + k / 2) - k
                up = stack if upwards else stack[::-1]
                cases.expect(folder, up[None], spacingMm=[2.5, 0.7, 0.4], orientation=letters(u, v, normal))
    array = smooth(3, 5, 6, 4000)

    def placed(name, array=array, spacing=None, orientation=None, **tags):
        ds = dataset(array.shape, 16, 16, **tags)
        if cases.wants(name):
            write(name, ds, packed(array, 16))
            cases.expect(name, array[None], spacingMm=spacing, orientation=orientation)

    placed("dose.dcm", Modality="RTDOSE", PixelSpacing=[2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 0],
           GridFrameOffsetVector=[0, 4, 8], spacing=[4, 2, 3], orientation="LPS")  # fmt: skip
    placed("dose_down.dcm", Modality="RTDOSE", PixelSpacing=[2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 0],
           GridFrameOffsetVector=[0, -4, -8], spacing=[4, 2, 3], orientation="LPI")  # fmt: skip
    placed("nuclear.dcm", Modality="NM", PixelSpacing=[2, 3], SpacingBetweenSlices=-4, spacing=[4, 2, 3])
    one = array[:1]
    placed("film.dcm", one, Modality="CR", ImagerPixelSpacing=[0.2, 0.1], spacing=[1, 0.2, 0.1])
    placed("scanned.dcm", one, Modality="OT", NominalScannedPixelSpacing=[0.2, 0.1], spacing=[1, 0.2, 0.1])
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    region.RegionLocationMinX0, region.RegionLocationMinY0, region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 0, 0, 5, 4
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    placed("ultrasound_regions.dcm", one, Modality="US", SequenceOfUltrasoundRegions=Sequence([region]))


# --- what frames may be besides -------------------------------------------------------------------------------------------


def further():
    index, tables = smooth(2, 9, 13, 15), rng.integers(0, 65536, (3, 16))
    byte_codecs = [
        ("rle", RLE, lambda a: rle_encoded(a, 8)), ("lossless", SV1, lambda a: ic.ljpeg_encode(a.astype("u1"), bitspersample=8)),
        ("ls", LS, lambda a: ls(a.astype("u1"), 8)), ("jxl", JXL, lambda a: ic.jpegxl_encode(a.astype("u1"), lossless=True)),
        ("j2k", J2K, lambda a: ic.jpeg2k_encode(a.astype("u1"), level=0, codecformat="j2k", reversible=True)),
        ("raw", RAWFRAMES, lambda a: a.astype("u1").tobytes()),
        ("deflated", DEFLATEDFRAMES, lambda a: zlib.compress(a.astype("u1").tobytes(), wbits=-15)),
    ]  # fmt: skip
    palette = {}
    for colour, table in zip(("Red", "Green", "Blue"), tables):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [16, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = table.astype("<u2").tobytes()
    grey, rgb = smooth(2, 9, 13, 255), smooth(2, 24, 40, 255, 0, 3)
    for label, syntax, encode in byte_codecs:
        name = f"palette_{label}.dcm"
        if cases.wants(name):
            ds = dataset(index.shape, 8, 8, photometric="PALETTE COLOR", syntax=syntax, **palette)
            write(name, ds, encapsulate([encode(frame) for frame in index]))
            cases.expect(name, tables[:, index])
        units = dict(photometric="MONOCHROME1", RescaleSlope=-2, RescaleIntercept=7)
        compressed(f"mono1_{label}.dcm", grey, 8, 8, syntax, encode, grey * -2.0 + 7, **units)
        if label in ("rle", "ls", "raw", "deflated"):
            for photometric, layout in itertools.product(("RGB", "YBR_FULL"), (0, 1)):  # compressed frames have no planes but RLE's
                values = rgb if photometric == "RGB" else ybr_to_rgb(rgb)
                how = dict(near=0 if photometric == "RGB" else 1, photometric=photometric, PlanarConfiguration=layout)
                compressed(f"{photometric}_{label}_{layout}.dcm", rgb, 8, 8, syntax, encode, values, **how)
    deep, low = smooth(3, 5, 7, 65535, 0, 3), smooth(3, 5, 7, 30000, -30000)
    compressed("raw_rgb_16.dcm", deep, 16, 16, RAWFRAMES, lambda a: a.astype("<u2").tobytes(), photometric="RGB")
    compressed("raw_signed_16.dcm", low, 16, 16, RAWFRAMES, lambda a: a.astype("<i2").tobytes(), signed=True)
    bits = rng.integers(0, 2, (3, 5, 7))
    in_bytes = lambda a: np.packbits(a.astype("u1").ravel(), bitorder="little").tobytes()
    compressed("raw_bits.dcm", bits, 1, 1, RAWFRAMES, in_bytes)
    compressed("rle_bits.dcm", bits, 8, 1, RLE, lambda a: rle_encoded(a, 8))
    large = smooth(2, 60, 60, 65535)
    compressed("rle_cut.dcm", large, 16, 16, RLE, lambda a: rle_encoded(a, 16), cut=3)
    compressed("ls_cut_none.dcm", large, 16, 16, LS, lambda a: ls(a.astype("u2"), 16), table="none", cut=3)
    compressed("jxl_cut_none.dcm", large, 16, 16, JXL, lambda a: ic.jpegxl_encode(a.astype("u2"), lossless=True), table="none", cut=3)
    two = np.concatenate([smooth(1, 9, 9, 255), smooth(1, 9, 9, 4095)])
    kind = lambda a: a.astype("u1" if a.max() < 256 else "u2")
    compressed("ls_two_precisions.dcm", two, 16, 12, LS, lambda a: ls(kind(a), 12))
    encode = lambda a: ic.jpeg2k_encode(kind(a), level=0, codecformat="j2k", reversible=True, bitspersample=8 if a.max() < 256 else 12)
    compressed("j2k_two_precisions.dcm", two, 16, 12, J2K, encode)
    if cases.wants("empty_fragment.dcm"):
        frame = ls(grey[0].astype("u1"), 8)
        frame += b"\0" * (len(frame) % 2)
        write("empty_fragment.dcm", dataset(grey[:1].shape, 8, 8, syntax=LS), item(b"") + item(frame) + item(b""))
        cases.expect("empty_fragment.dcm", grey[:1][None])
    if cases.wants("too_few.dcm"):
        write("too_few.dcm", dataset((4, 5, 7), 8, 8), bytes(3 * 35), "OB")
        cases.refuse("too_few.dcm", "truncated DICOM file: expected 140 bytes of pixel data, got 106")
    for label in ("time_first", "space_first"):
        if not cases.wants(f"enhanced_{label}.dcm"):
            continue
        array = smooth(6, 5, 6, 1000)
        ds = dataset(array.shape, 16, 16, Modality="MR")
        shared, measures, orientation, frames = Dataset(), Dataset(), Dataset(), []
        measures.PixelSpacing, measures.SliceThickness, orientation.ImageOrientationPatient = [1, 2], 3, [1, 0, 0, 0, 1, 0]
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
        for f in range(6):
            time, place = (f % 2, f // 2) if label == "time_first" else (f // 3, f % 3)
            frame, position, content = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient, content.TemporalPositionIndex = [0, 0, 3.0 * place], time + 1
            frame.PlanePositionSequence, frame.FrameContentSequence = Sequence([position]), Sequence([content])
            frames.append(frame)
        ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(frames)
        write(f"enhanced_{label}.dcm", ds, packed(array, 16))
        order = [0, 2, 4, 1, 3, 5] if label == "time_first" else list(range(6))
        cases.expect(f"enhanced_{label}.dcm", array[order][None], spacingMm=[3, 1, 2], orientation="LPS")


uncompressed()
colours()
codecs()
containers()
geometry()
further()
cases.close()
print(len(cases.cases), "cases")
