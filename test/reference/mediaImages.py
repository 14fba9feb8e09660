"""Makes test/fixtures/media: small pictures of our own in many formats, and what Pillow and tifffile read in them.

    python test/reference/mediaImages.py        (pillow 12, tifffile, numpy)

images.json maps a file to its pixels as the reference sees them, [C, D, H, W] flattened, and to its type.
"""

import json
import struct
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps

OUT = Path(__file__).parent.parent / "fixtures" / "media"
OUT.mkdir(exist_ok=True)
expected = {}
rng = np.random.default_rng(11)


def note(name, array, dtype, kind="image"):
    """array [D, H, W] or [D, H, W, C]"""
    array = array[..., None] if array.ndim == 3 else array
    planes = np.moveaxis(array, -1, 0).astype("f8")
    expected[name] = {
        "shape": list(planes.shape),
        "dtype": dtype,
        "kind": kind,
        "pixels": [round(float(x), 6) for x in planes.ravel()],
    }


def as_pillow_reads(name, dtype="uint8"):
    """Transparent pixels on black, turned as EXIF says, everything but grey in RGB."""
    picture = ImageOps.exif_transpose(Image.open(OUT / name))
    if picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info:
        rgba = np.asarray(picture.convert("RGBA")).astype("f8")
        over = np.floor(rgba[..., :3] * rgba[..., 3:] / 255 + 0.5)
        grey = picture.mode == "LA"
        note(name, (over[..., 0] if grey else over)[None], dtype)
        return
    if picture.mode == "1":
        picture = picture.convert("L")
    palette_is_grey = picture.mode == "P" and all(
        len(set(picture.getpalette()[3 * i : 3 * i + 3])) == 1 for i in range(len(picture.getpalette()) // 3)
    )
    if palette_is_grey:
        picture = picture.convert("L")
    note(name, np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))[None], dtype)


def pillow():
    colour = rng.integers(0, 256, (9, 14, 3), dtype="u1")
    smooth = np.asarray(Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype="u1")).resize((24, 16), Image.BICUBIC))
    grey = colour[..., 0]
    alpha = rng.integers(0, 256, (9, 14, 4), dtype="u1")
    bits = Image.fromarray(grey > 100)

    bits.save(OUT / "bits.png")
    Image.fromarray(colour).quantize(16).save(OUT / "palette.png")
    clear = Image.fromarray(colour).quantize(16)
    clear.save(OUT / "palette_clear.png", transparency=3)
    Image.fromarray(alpha).save(OUT / "alpha.png")
    Image.fromarray(alpha[..., :2], "LA").save(OUT / "grey_alpha.png")
    Image.fromarray(alpha).save(OUT / "alpha.webp", lossless=True, exact=True)
    Image.fromarray(colour).save(OUT / "colour.webp", lossless=True)
    Image.fromarray(smooth).save(OUT / "smooth.webp", quality=90)
    Image.fromarray(colour).quantize(32).save(OUT / "still.gif")
    for orientation in (3, 5, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(smooth).save(OUT / f"turned{orientation}.jpg", exif=exif, quality=95, subsampling=0)
    cmyk = np.asarray(Image.fromarray(smooth).resize((24, 16)).convert("CMYK")).copy()
    cmyk[..., 3] = smooth[..., 1] // 2
    Image.fromarray(cmyk, "CMYK").save(OUT / "cmyk.jpg", quality=95, subsampling=0)
    Image.fromarray(colour).save(OUT / "colour.bmp")
    Image.fromarray(grey).save(OUT / "grey.bmp")
    bits.save(OUT / "bits.bmp")
    Image.fromarray(colour).quantize(16).save(OUT / "palette.bmp")
    Image.fromarray(alpha).save(OUT / "alpha.bmp")
    Image.fromarray(colour).save(OUT / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(smooth).save(OUT / "jpeg.tif", compression="jpeg", quality=95)
    bits.save(OUT / "bits.tif", compression="group4")
    for path in sorted(OUT.glob("*.*")):
        if path.suffix in (".png", ".webp", ".gif", ".jpg", ".bmp", ".tif"):
            as_pillow_reads(path.name)
    # Rows from the top, which Pillow reads and does not write.
    top_down = bytearray((OUT / "colour.bmp").read_bytes())
    (height,) = struct.unpack_from("<i", top_down, 22)
    struct.pack_into("<i", top_down, 22, -height)
    (OUT / "top_down.bmp").write_bytes(top_down)
    as_pillow_reads("top_down.bmp")


def tiff():
    def write(name, array, dtype, kind="image", photometric="minisblack", **more):
        tifffile.imwrite(OUT / name, array, photometric=photometric, **more)
        read = tifffile.imread(OUT / name)
        pages = 4 if photometric == "rgb" else 3
        note(name, read if read.ndim == pages else read[None], dtype, kind)

    deep = rng.integers(0, 65536, (5, 7), dtype="u2")
    floats = (1000 * rng.normal(size=(5, 7))).astype("f4")
    write("u16.tif", deep, "uint16")
    write("u16_big.tif", deep, "uint16", byteorder=">")
    write("u16_deflate.tif", deep, "uint16", compression="zlib", predictor=True)
    write("u16_bigtiff.tif", deep, "uint16", bigtiff=True)
    write("u16_tiled.tif", np.tile(deep, (8, 8)), "uint16", tile=(16, 16))
    write("u32.tif", rng.integers(0, 2**32, (5, 7), dtype="u4"), "uint32")
    write("i32.tif", rng.integers(-(2**31), 2**31, (5, 7)).astype("i4"), "int32")
    write("i8.tif", rng.integers(-128, 128, (5, 7)).astype("i1"), "int8")
    signed = rng.integers(-32768, 32768, (5, 7)).astype("i2")
    write("i16.tif", signed, "int16")
    write("i16_big_deflate.tif", signed, "int16", byteorder=">", compression="zlib", predictor=True)
    write("i16_stack.tif", rng.integers(-1000, 3000, (4, 5, 7)).astype("i2"), "int16", "volume")
    write("i16_rgb.tif", rng.integers(-9, 9, (5, 7, 3)).astype("i2"), "int16", photometric="rgb")
    write("f16.tif", floats.astype("f2"), "float16")
    write("f32.tif", floats, "float32")
    write("f32_rgb.tif", rng.normal(size=(5, 7, 3)).astype("f4"), "float32", photometric="rgb")
    write("u16_rgb.tif", rng.integers(0, 65536, (5, 7, 3), dtype="u2"), "uint16", photometric="rgb")
    write("stack_u16.tif", rng.integers(0, 65536, (4, 5, 7), dtype="u2"), "uint16", "volume")
    write("stack_f32.tif", rng.normal(size=(3, 5, 7)).astype("f4"), "float32", "volume")
    white = rng.integers(0, 256, (5, 7), dtype="u1")
    tifffile.imwrite(OUT / "white_is_zero.tif", white, photometric="miniswhite")
    note("white_is_zero.tif", 255 - white[None], "uint8")


for old in OUT.glob("*.*"):
    if old.suffix not in (".json", ".npz", ".npy"):
        old.unlink()
pillow()
tiff()
with tifffile.TiffWriter(OUT / "unlike_pages.tif") as writer:
    writer.write(np.full((5, 7), 9, "u2"), photometric="minisblack")
    writer.write(np.full((3, 7), 9, "u2"), photometric="minisblack")
tifffile.imwrite(OUT / "colour_pages.tif", rng.integers(0, 256, (3, 5, 7, 3), dtype="u1"), photometric="rgb")
frames = [Image.fromarray(np.full((9, 14, 3), shade, "u1")) for shade in (10, 100, 200)]
frames[0].save(OUT / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
(OUT / "images.json").write_text(json.dumps(expected) + "\n")
