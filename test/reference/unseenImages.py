"""Pictures and arrays of every kind, and what is in them.

    python test/reference/unseenImages.py FOLDER [NAME…]        (pillow 12, tifffile, imagecodecs, numpy)
"""

import io
import itertools
import struct
import sys
import zlib

import imagecodecs as ic
import numpy as np
import tifffile
from PIL import Image
from unseenCases import Cases

cases = Cases(sys.argv[1], set(sys.argv[2:]) or None)
rng = np.random.default_rng(2613)


def planes(array):
    """[H, W] or [H, W, C] to [C, 1, H, W]."""
    return np.moveaxis(array, -1, 0)[:, None] if array.ndim == 3 else array[None, None]


def smooth(height, width, top=255, colours=0):
    y, x = np.mgrid[:height, :width]
    grey = np.rint((np.sin(x / 5) + np.cos(y / 7) + 2) / 4 * top)
    return np.stack([grey, grey[::-1], grey[:, ::-1]], -1) if colours else grey


def put(name, bytes_, values, **more):
    if cases.wants(name):
        cases.path(name).write_bytes(bytes_)
        cases.expect(name, values, **more)


# --- PNG ------------------------------------------------------------------------------------------------------------


def png(array, bits, kind, interlaced=False, palette=None, clear=None):
    """Adam7 where interlaced; rows with filter 0, 1 or 2 in turn."""
    height, width = array.shape[:2]
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    cells = array.reshape(height, width, channels).astype("i8")
    step = max(1, channels * bits // 8)

    def rows(part):
        raw, before = b"", None
        for y, row in enumerate(part):
            if bits < 8:
                flat = row.ravel()
                padded = np.pad(flat, (0, -len(flat) % (8 // bits))).reshape(-1, 8 // bits)
                line = (padded << np.arange(8 - bits, -1, -bits)).sum(1).astype("u1")
            else:
                line = np.frombuffer(row.astype(f">u{bits // 8}").tobytes(), "u1")
            filtered = line
            if y % 3 == 1:
                filtered = line - np.concatenate([np.zeros(step, "u1"), line[:-step]])[: len(line)]
            if y % 3 == 2:
                filtered = line - before
            raw += bytes([y % 3]) + filtered.tobytes()
            before = line
        return raw

    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        raw = b"".join(rows(cells[y::dy, x::dx]) for y, x, dy, dx in passes if cells[y::dy, x::dx].size)
    else:
        raw = rows(cells)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced))
    more = b"" if palette is None else chunk(b"PLTE", palette.astype("u1").tobytes())
    more += b"" if clear is None else chunk(b"tRNS", clear)
    packed = zlib.compress(raw)
    half = len(packed) // 2
    data = chunk(b"IDAT", packed[:half]) + chunk(b"IDAT", packed[half:])
    gamma = chunk(b"gAMA", struct.pack(">I", 45455))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + gamma + more + data + chunk(b"IEND", b"")


def pngs():
    for interlaced in (False, True):
        tail = "_interlaced" if interlaced else ""
        for bits in (1, 2, 4, 8, 16):
            grey = rng.integers(0, 2**bits, (11, 13))
            scale = 255 // (2**bits - 1) if bits < 8 else 1
            put(f"grey{bits}{tail}.png", png(grey, bits, 0, interlaced), planes(grey * scale))
            if bits < 16:
                palette = rng.integers(0, 256, (2**bits, 3))
                put(f"palette{bits}{tail}.png", png(grey, bits, 3, interlaced, palette), planes(palette[grey]))
        for bits in (8, 16):
            colour = rng.integers(0, 2**bits, (11, 13, 3))
            put(f"rgb{bits}{tail}.png", png(colour, bits, 2, interlaced), planes(colour))
            opaque = np.full((11, 13, 1), 2**bits - 1)
            put(f"rgba{bits}{tail}.png", png(np.concatenate([colour, opaque], -1), bits, 6, interlaced), planes(colour))
            put(f"grey_alpha{bits}{tail}.png", png(np.concatenate([colour[..., :1], opaque], -1), bits, 4, interlaced), planes(colour[..., 0]))
    grey_palette = np.repeat(np.arange(0, 256, 17)[:, None], 3, 1)
    index = rng.integers(0, 16, (7, 9))
    put("palette_grey.png", png(index, 4, 3, palette=grey_palette), np.repeat(planes(grey_palette[index][..., 0]), 3, 0))
    short = rng.integers(0, 256, (5, 3))
    put("palette_short.png", png(rng.integers(0, 5, (7, 9)) * 0 + 4, 8, 3, palette=short), planes(short[np.full((7, 9), 4)]))


# --- JPEG -----------------------------------------------------------------------------------------------------------


def jpegs():
    colour, grey = smooth(37, 53, colours=3).astype("u1"), smooth(37, 53).astype("u1")

    def save(name, image, near=2, **how):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", **how)
        values = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
        put(name, buffer.getvalue(), planes(values), near=near)

    for label, how in [("plain", {}), ("progressive", dict(progressive=True)), ("444", dict(subsampling=0)), ("422", dict(subsampling=1)), ("optimized", dict(optimize=True)), ("restart", dict(restart_marker_rows=1)), ("comment", dict(comment=b"hello"))]:
        save(f"colour_{label}.jpg", Image.fromarray(colour), quality=88, **how)
        save(f"grey_{label}.jpg", Image.fromarray(grey), quality=88, **how)
    for width in (1, 2, 7, 8, 9, 17):
        save(f"width{width}.jpg", Image.fromarray(colour[:, :width]), quality=90)
    turns = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: np.swapaxes(a, 0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2), 8: np.rot90}
    for number, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = number
        for label, image in (("colour", colour), ("grey", grey)):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "JPEG", quality=90, exif=exif, subsampling=0)
            values = turn(np.asarray(Image.open(io.BytesIO(buffer.getvalue()))))
            put(f"exif{number}_{label}.jpg", buffer.getvalue(), planes(values), near=2)
    rgb = ic.jpeg8_encode(colour, 95, colorspace="RGB", outcolorspace="RGB")
    put("rgb_plain.jpg", rgb, planes(ic.jpeg8_decode(rgb, colorspace="RGB", outcolorspace="RGB")), near=2)
    cmyk = Image.fromarray(np.concatenate([colour, grey[..., None] // 2], -1), "CMYK")
    buffer = io.BytesIO()
    cmyk.save(buffer, "JPEG", quality=95)
    ink = np.asarray(Image.open(io.BytesIO(buffer.getvalue()))).astype("f8")
    put("cmyk.jpg", buffer.getvalue(), planes((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255), near=3)
    put("lossless.jpg", ic.jpeg8_encode(grey, lossless=True), planes(grey))
    if cases.wants("twelve.jpg"):
        cases.path("twelve.jpg").write_bytes(ic.jpeg8_encode(smooth(24, 24, 4095).astype("u2"), 95, bitspersample=12))
        cases.refuse("twelve.jpg", "JPEG.*precision 12")


# --- TIFF -----------------------------------------------------------------------------------------------------------


def tiffs():
    def save(name, array, values=None, dtype=None, **how):
        if not cases.wants(name):
            return
        try:
            tifffile.imwrite(cases.path(name), array, **{"metadata": None, **how})
        except Exception as error:
            return print(name, "cannot be written:", error)
        cases.expect(name, planes(array) if values is None else values, **({} if dtype is None else {"dtype": dtype}))

    kinds = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
    compressions = {"none": None, "lzw": "lzw", "deflate": "zlib", "packbits": "packbits", "zstd": "zstd"}

    def numbers(kind, shape):
        kind = np.dtype(kind)
        if kind.kind == "f":
            return rng.normal(0, 100, shape).astype(kind)
        info = np.iinfo(kind)
        return rng.integers(max(info.min, -(2**40)), min(info.max, 2**40), shape, dtype="i8", endpoint=True).astype(kind)

    for kind in kinds:
        name = np.dtype(kind).name
        for compression, predictor, order in itertools.product(compressions, (1, 2, 3), "<>"):
            if (predictor == 3) != (kind[0] == "f") and predictor != 1 or (compression in ("none", "packbits") and predictor != 1):
                continue
            if order == ">" and compression not in ("none", "lzw"):
                continue
            tail = f"{kind}_{compression}_{predictor}_{'le' if order == '<' else 'be'}"
            save(f"{tail}.tif", numbers(kind, (21, 19)), byteorder=order, compression=compressions[compression], predictor=predictor if predictor > 1 else None, rowsperstrip=8, dtype=name)
        for layout in ("contig", "separate"):
            if layout == "separate":
                separate(save, kind, numbers, name)
            else:
                save(f"{kind}_rgb.tif", numbers(kind, (21, 19, 3)), dtype=name, photometric="rgb", planarconfig=layout)
        predictor = 3 if kind[0] == "f" else 2
        save(f"{kind}_tiled.tif", numbers(kind, (21, 19)), dtype=name, tile=(16, 16), compression="zlib", predictor=predictor)
        save(f"{kind}_tiled_rgb.tif", numbers(kind, (21, 19, 3)), dtype=name, tile=(16, 16), compression="lzw", predictor=predictor, photometric="rgb")
        save(f"{kind}_bigtiff.tif", numbers(kind, (21, 19)), dtype=name, bigtiff=True, compression="zlib", predictor=predictor)
        save(f"{kind}_bigtiff_be_tiled.tif", numbers(kind, (21, 19)), dtype=name, bigtiff=True, byteorder=">", tile=(16, 32), compression="zlib", predictor=predictor)
        stack = numbers(kind, (4, 21, 19))
        save(f"{kind}_stack.tif", stack, stack[None], dtype=name, photometric="minisblack", compression="zlib", predictor=predictor)
    white = numbers("u1", (21, 19))
    save("white_is_zero_u1.tif", white, planes(255 - white.astype("i4")), photometric="miniswhite")
    deep = numbers("u2", (21, 19))
    save("white_is_zero_u2.tif", deep, planes(65535 - deep.astype("i4")), photometric="miniswhite")
    bits = numbers("u1", (21, 19)) > 128
    save("bits.tif", bits, planes(bits * 255), photometric="minisblack")
    save("bits_ccitt.tif", bits, planes(bits * 255), photometric="minisblack", compression="packbits")
    index = rng.integers(0, 256, (21, 19), dtype="u1")
    table = rng.integers(0, 256, (3, 256), dtype="u2")
    save("palette.tif", index, planes(table[:, index].transpose(1, 2, 0)), photometric="palette", colormap=table * 257)
    rgba = numbers("u1", (21, 19, 4))
    rgba[..., 3] = 255
    save("rgba.tif", rgba, planes(rgba[..., :3]), photometric="rgb", extrasamples=["unassalpha"])
    grey_alpha = np.stack([numbers("u1", (21, 19)), np.full((21, 19), 255, "u1")], -1)
    save("grey_alpha.tif", grey_alpha, planes(grey_alpha[..., 0]), photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig")
    for kind in ("f4", "f8", "u2"):
        save(f"{kind}_predicted_stack_rgb.tif", numbers(kind, (21, 19, 3)), photometric="rgb", planarconfig="contig", compression="zlib", predictor=3 if kind[0] == "f" else 2, rowsperstrip=5)
    for depth in (10, 12, 14):
        packed = rng.integers(0, 2**depth, (21, 19), dtype="u2")
        save(f"packed{depth}.tif", packed, photometric="minisblack", bitspersample=depth, rowsperstrip=8, dtype="uint16")
        packed = rng.integers(0, 2**depth, (21, 19, 3), dtype="u2")
        save(f"packed{depth}_rgb.tif", packed, photometric="rgb", bitspersample=depth, dtype="uint16")
    for compression, said in [("jpeg2000", "JPEG 2000"), ("png", "PNG"), ("lzma", "LZMA"), ("lerc", "LERC"), ("jpegxl", "JPEG XL")]:
        if cases.wants(f"{compression}.tif"):
            tifffile.imwrite(cases.path(f"{compression}.tif"), numbers("u1", (21, 19)), compression=compression, metadata=None)
            cases.refuse(f"{compression}.tif", f": TIFF file: compression .* .{said}. is not supported; expected none")
    nan = numbers("f4", (21, 19))
    nan[3, 4] = np.nan
    save("nan.tif", nan)
    for number in (3, 6, 8):
        array = numbers("u1", (21, 19))
        turned = {3: np.rot90(array, 2), 6: np.rot90(array, -1), 8: np.rot90(array)}[number]
        save(f"orientation{number}.tif", array, planes(turned), extratags=[(274, 3, 1, number, True)])
    for name, array in [("complex.tif", numbers("f4", (5, 7)).astype("c8")), ("complex16.tif", numbers("f4", (5, 7)).astype("c16"))]:
        if cases.wants(name):
            tifffile.imwrite(cases.path(name), array, metadata=None)
            cases.refuse(name, "not supported")
    if cases.wants("f3.tif"):
        cases.refuse("f3.tif", "24")
        array = numbers("f4", (21, 19))
        words = array.view("u4")
        # sign, 7 bits of exponent (bias 63), 16 of fraction
        tifffile.imwrite(cases.path("f3.tif"), (words >> 8).view("u4"), metadata=None)
        plain = bytearray(cases.path("f3.tif").read_bytes())
        patch(plain, 258, 24)
        patch(plain, 339, 3)
        cases.path("f3.tif").write_bytes(plain)


def patch(plain, tag, value):
    """The value of a short tag of a little-endian classic file."""
    (at,) = struct.unpack_from("<I", plain, 4)
    for i in range(struct.unpack_from("<H", plain, at)[0]):
        entry = at + 2 + 12 * i
        if struct.unpack_from("<H", plain, entry)[0] == tag:
            struct.pack_into("<H", plain, entry + 8, value)


def separate(save, kind, numbers, name):
    array = numbers(kind, (3, 21, 19))
    for compression, predictor in [(None, None), ("zlib", 3 if kind[0] == "f" else 2)]:
        file = f"{kind}_rgb_separate_{'predicted' if predictor else 'plain'}.tif"
        save(file, array, array[:, None], dtype=name, photometric="rgb", planarconfig="separate", compression=compression, predictor=predictor)


# --- WebP, GIF, BMP -------------------------------------------------------------------------------------------------


def others():
    colour, grey = smooth(37, 53, colours=3).astype("u1"), smooth(37, 53).astype("u1")

    def save(name, image, kind, near=0, **how):
        buffer = io.BytesIO()
        image.save(buffer, kind, **how)
        values = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
        put(name, buffer.getvalue(), planes(values), near=near)

    save("lossless.webp", Image.fromarray(colour), "WEBP", lossless=True)
    save("lossy.webp", Image.fromarray(colour), "WEBP", near=2, quality=80)
    save("opaque.webp", Image.fromarray(np.concatenate([colour, np.full_like(colour[..., :1], 255)], -1)), "WEBP", lossless=True)
    save("grey.webp", Image.fromarray(grey), "WEBP", lossless=True)
    frames = [Image.fromarray(np.roll(colour, 5 * k, 1)) for k in range(4)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", lossless=True, save_all=True, append_images=frames[1:], duration=100)
    put("moving.webp", buffer.getvalue(), np.stack([np.asarray(frame) for frame in frames]).transpose(3, 0, 1, 2))
    still = Image.fromarray(colour).quantize(64)
    save("still.gif", still, "GIF")
    save("interlaced.gif", still, "GIF", interlace=1)
    for bits in (1, 4, 8):
        palette = rng.integers(0, 256, (2**bits, 3))
        index = rng.integers(0, 2**bits, (7, 13))
        for rle in (0, 1) if bits > 1 else (0,):
            for top_down in (False, True) if not rle else (False,):
                name = f"palette{bits}{'_rle' if rle else ''}{'_down' if top_down else ''}.bmp"
                put(name, bmp(index, bits, palette, rle, top_down), planes(palette[index]))
        put(f"os2_{bits}.bmp", bmp(index, bits, palette, core=True), planes(palette[index]))
        put(f"v5_{bits}.bmp", bmp(index, bits, palette, header=124), planes(palette[index]))
    true = rng.integers(0, 256, (7, 13, 3))
    for header in (12, 40, 52, 56, 64, 108, 124):
        put(f"true24_{header}.bmp", bmp(true, 24, header=header), planes(true))
    put("true24_down.bmp", bmp(true, 24, top_down=True), planes(true))
    put("true32.bmp", bmp(true, 32), planes(true))
    five = rng.integers(0, 32, (7, 13, 3))
    put("true16.bmp", bmp(five, 16), planes(np.floor(five * 255 / 31 + 0.5)), near=1)
    masks = (0xF800, 0x7E0, 0x1F)
    put("fields565.bmp", bmp(five, 16, masks=masks), planes(np.stack([five[..., 0] * 255 / 31, five[..., 1] * 2 * 255 / 63, five[..., 2] * 255 / 31], -1)), near=1)
    put("fields32.bmp", bmp(true, 32, masks=(0xFF, 0xFF00, 0xFF0000)), planes(true))
    few = rng.integers(0, 256, (5, 3))
    index = rng.integers(0, 5, (7, 13))
    put("palette_five.bmp", bmp(index, 8, few, used=5), planes(few[index]))


def bmp(array, bits, palette=None, rle=0, top_down=False, core=False, header=40, masks=None, used=0):
    height, width = array.shape[:2]
    header = 12 if core or header == 12 else header
    table = b""
    if palette is not None:
        bgr = palette[:, ::-1].astype("u1")
        table = b"".join(bytes(c) + (b"" if header == 12 else b"\0") for c in bgr)
    rows = []
    for row in array if top_down else array[::-1]:
        if bits <= 8:
            per = 8 // bits
            padded = np.pad(row, (0, -len(row) % per)).reshape(-1, per)
            line = (padded << np.arange(8 - bits, -1, -bits)).sum(1).astype("u1").tobytes()
        elif bits == 24:
            line = row[:, ::-1].astype("u1").tobytes()
        elif bits == 16:
            r, g, b = row.T
            line = ((r << 11 | 2 * g << 5 | b) if masks else (r << 10 | g << 5 | b)).astype("<u2").tobytes()
        else:
            r, g, b = row.T
            line = ((b << 16 | g << 8 | r) if masks else (r << 16 | g << 8 | b)).astype("<u4").tobytes()
        rows.append(line + b"\0" * (-len(line) % 4))
    data = b"".join(rows)
    if rle:
        data = b""
        for row in array[::-1]:
            for at in range(0, len(row), 5):
                part = [int(v) for v in row[at : at + 5]]
                if len(part) < 3:
                    data += b"".join(bytes([1, v if bits == 8 else v << 4]) for v in part)
                elif bits == 8:
                    data += bytes([0, len(part), *part]) + b"\0" * (len(part) % 2)
                else:
                    halves = [(part[i] << 4) | (part[i + 1] if i + 1 < len(part) else 0) for i in range(0, len(part), 2)]
                    data += bytes([0, len(part), *halves]) + b"\0" * (len(halves) % 2)
            data += b"\0\0"
        data += b"\0\1"
    compression = {8: 1, 4: 2}[bits] if rle else 3 if masks else 0
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, compression, len(data), 2835, 2835, used, 0)
        fields = struct.pack("<3I", *masks) if masks else b""
        info += fields if header == 40 else (fields or b"\0" * 12)[: header - 40].ljust(header - 40, b"\0")
    start = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + table + data


# --- arrays ---------------------------------------------------------------------------------------------------------


def arrays():
    def save(name, array, values):
        buffer = io.BytesIO()
        np.save(buffer, array)
        put(name, buffer.getvalue(), values)

    for kind in ("u1", "i1", "<u2", ">u2", "<i2", ">i2", "<u4", ">i4", "<i8", ">u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "?"):
        for order in "CF":
            array = (rng.normal(0, 1, (5, 6, 7)) * 50).astype(kind).copy(order)
            label = kind.replace("<", "le_").replace(">", "be_").replace("?", "bool")
            save(f"{label}_{order}.npy", array, array[None].astype("f4"))
    picture = rng.integers(0, 256, (5, 6), dtype="u1")
    save("flat.npy", picture, planes(picture))
    colour = rng.integers(0, 256, (5, 6, 3), dtype="u1")
    save("colour.npy", colour, planes(colour))
    clip = rng.integers(0, 256, (9, 5, 6, 3), dtype="u1")
    save("clip.npy", clip, np.moveaxis(clip, -1, 0))
    first = rng.integers(0, 256, (1, 4, 5, 6), dtype="u1")
    save("channel_first.npy", first, first)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, anything=picture)
    put("one.npz", buffer.getvalue(), planes(picture))
    for name, array, reason in [
        ("objects.npy", np.array([{}, None], dtype=object), "Python objects"), ("complex.npy", np.zeros((3, 3), "c8"), "not supported"),
        ("text.npy", np.array([["a", "b"]]), "numbers"), ("line.npy", np.arange(5), "dimension"), ("empty.npy", np.zeros((0, 5)), "empty|0"),
        ("table.npy", np.zeros((3, 3), [("a", "f4"), ("b", "u1")]), "table"), ("five.npy", np.zeros((2, 2, 2, 2, 2)), "dimension"),
    ]:  # fmt: skip
        if cases.wants(name):
            np.save(cases.path(name), array, allow_pickle=True)
            cases.refuse(name, reason)
    if cases.wants("several.npz"):
        np.savez(cases.path("several.npz"), first=picture, second=colour)
        cases.refuse("several.npz", "first, second")


def tiles():
    """A tile of one channel each; with alpha, colours are stored as they are over black."""
    for name, kind, how in (("tiles_u1.tif", "u1", {}), ("tiles_u2_lzw.tif", "u2", {"compression": "lzw", "predictor": True}), ("tiles_alpha.tif", "u1", {"extrasamples": ["assocalpha"]})):
        colour = smooth(21, 19, 250, colours=3).astype(kind) * (1 if kind == "u1" else 257)
        stored = [*colour.transpose(2, 0, 1), *([colour[..., 0] // 2 + 99] if "extrasamples" in how else [])]
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, np.stack(stored), photometric="rgb", planarconfig="separate", tile=(16, 16), **how)
        put(name, buffer.getvalue(), planes(colour))


pngs()
jpegs()
tiffs()
others()
arrays()
tiles()
cases.close()
print(len(cases.cases), "cases")
