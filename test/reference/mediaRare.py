"""Makes test/fixtures/mediaRare: TIFF files of 64 bits and bitmaps in run-length codes, and what tifffile and Pillow read in them.

    python test/reference/mediaRare.py        (pillow 12, tifffile, numpy)
"""

import json
import struct
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

OUT = Path(__file__).parent.parent / "fixtures" / "mediaRare"
OUT.mkdir(exist_ok=True)
expected = {}
rng = np.random.default_rng(5)


def note(name, array, dtype, kind="image"):
    """array [D, H, W] or [D, H, W, C]; pixels as float32 holds them."""
    array = array[..., None] if array.ndim == 3 else array
    planes = np.moveaxis(array, -1, 0).astype("f4").astype("f8")
    expected[name] = {"shape": list(planes.shape), "dtype": dtype, "kind": kind, "pixels": planes.ravel().tolist()}


def tiff(name, array, kind="image", photometric="minisblack", **more):
    tifffile.imwrite(OUT / name, array, photometric=photometric, **more)
    read = tifffile.imread(OUT / name)
    assert (read == array).all()
    pages = 4 if photometric == "rgb" else 3
    note(name, read if read.ndim == pages else read[None], array.dtype.newbyteorder("=").name, kind)


doubles = 1000 * rng.normal(size=(5, 7))
wide = rng.integers(-(2**60), 2**60, (5, 7))
tiff("f64.tif", doubles)
tiff("f64_big_deflate.tif", doubles, byteorder=">", compression="zlib")
tiff("f64_bigtiff.tif", doubles, bigtiff=True)
tiff("f64_tiled.tif", rng.normal(size=(40, 37)), tile=(16, 16))
tiff("f64_rgb.tif", rng.normal(size=(5, 7, 3)), photometric="rgb")
planes = rng.normal(size=(3, 5, 7))
tifffile.imwrite(OUT / "f64_planes.tif", planes, photometric="rgb", planarconfig="separate")
note("f64_planes.tif", np.moveaxis(planes, 0, -1)[None], "float64")
tiff("f64_stack.tif", rng.normal(size=(3, 5, 7)), "volume")
tiff("i64.tif", wide)
tiff("u64.tif", wide.astype("u8"))


# Run-length codes: Pillow reads them and does not write them.
def bitmap(name, bits, size, codes, colours):
    width, height = size
    palette = b"".join(struct.pack("BBBB", b, g, r, 0) for r, g, b in colours)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, {8: 1, 4: 2}[bits], len(codes), 0, 0, len(colours), 0)
    start = 14 + 40 + len(palette)
    (OUT / name).write_bytes(b"BM" + struct.pack("<IHHI", start + len(codes), 0, 0, start) + head + palette + codes)
    picture = Image.open(OUT / name)
    grey = all(r == g == b for r, g, b in colours)
    note(name, np.asarray(picture.convert("L" if grey else "RGB"))[None], "uint8")


def encoded(indices, bits):
    """Runs where three or more are equal, numbers as they are elsewhere; rows from the bottom."""
    out = bytearray()
    for row in indices[::-1].tolist():
        x = 0
        while x < len(row):
            run = 1
            while x + run < len(row) and run < 255 and row[x + run] == row[x]:
                run += 1
            if run > 2 or len(row) - x < (3 if bits == 8 else 4):
                out += bytes([run, row[x] if bits == 8 else row[x] * 17])
                x += run
                continue
            # Of an odd number of pixels of four bits Pillow drops the last.
            literal = min(len(row) - x, 3 + int(rng.integers(0, 5)) if bits == 8 else 4 + 2 * int(rng.integers(0, 3)))
            if bits == 4 and literal % 2:
                literal -= 1
            part = row[x : x + literal]
            body = part if bits == 8 else [16 * a + b for a, b in zip(part[::2], part[1::2] + [0])]
            out += bytes([0, literal, *body]) + b"\0" * (len(body) % 2)
            x += literal
        out += b"\0\0"
    return bytes(out) + b"\0\1"


def spotted(colours, shape=(23, 41)):
    """Stretches of one colour between noise."""
    noise = rng.integers(0, colours, shape)
    noise[3:9, 4:30] = 2
    noise[12] = 5
    return noise


colours256 = rng.integers(0, 256, (256, 3)).tolist()
colours16 = rng.integers(0, 256, (16, 3)).tolist()
bitmap("rle8.bmp", 8, (41, 23), encoded(spotted(256), 8), colours256)
bitmap("rle4.bmp", 4, (41, 23), encoded(spotted(16), 4), colours16)
bitmap("rle8_grey.bmp", 8, (41, 23), encoded(spotted(200), 8), [[i, i, i] for i in range(200)])
# Two colours in turn, jumps, rows that end early, a run over the end of its row.
short4 = bytes([5, 0x12, 0, 2, 3, 2, 4, 0x34, 0, 0, 200, 0x55, 0, 0, 0, 6, 0x12, 0x34, 0x56, 0, 7, 0x61, 0, 0, 0, 1])
bitmap("rle4_short.bmp", 4, (12, 5), short4, colours16)
short8 = bytes([5, 12, 0, 2, 3, 2, 4, 34, 0, 0, 200, 55, 0, 0, 0, 3, 7, 8, 9, 0, 0, 0, 0, 1])
bitmap("rle8_short.bmp", 8, (12, 5), short8, colours256)
(OUT / "images.json").write_text(json.dumps(expected) + "\n")
