"""Makes test/fixtures/media/arrays*.npz: every basic type of numpy, both byte orders, both memory orders, and ZIP64.

    python test/reference/mediaArrays.py        (numpy)

arrays.json holds the values, row major, as text: exact whatever the type.
"""

import json
import struct
import zlib
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent.parent / "fixtures" / "media"
rng = np.random.default_rng(5)
arrays = {}
for order in "<>":
    for kind in ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]:
        dtype = np.dtype(order + kind)
        if dtype.kind == "f":
            values = (100 * rng.normal(size=(2, 3, 4))).astype(dtype)
            values[0, 0, :3] = [np.inf, -np.inf, np.nan]
            values[0, 1, 0] = np.finfo(dtype).smallest_subnormal
        else:
            info = np.iinfo(dtype)
            values = rng.integers(info.min, info.max, (2, 3, 4), dtype=kind, endpoint=True).astype(dtype)
            values[0, 0, :2] = [info.min, info.max]
        name = kind + ("_big" if order == ">" else "")
        arrays[name] = values
        arrays[name + "_fortran"] = np.asfortranarray(values)
arrays["bool"] = rng.integers(0, 2, (3, 5)).astype(bool)
arrays["text"] = np.array(["", "a", "äé", "\U0001fa7b x"])
arrays["bytes"] = np.array([b"one", b"", b"three"])
arrays["scalar"] = np.array(7.5)
arrays["empty"] = np.zeros((0, 4), "f4")


def as_text(value):
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, (float, np.floating)):
        return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(str(float(value)), repr(float(value)))
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return str(value)


expected = {
    name: {"shape": list(a.shape), "values": [as_text(v) for v in np.ascontiguousarray(a).ravel()]}
    for name, a in arrays.items()
}
(OUT / "arrays.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n")
np.savez_compressed(OUT / "arrays.npz", **arrays)
np.save(OUT / "big_fortran.npy", arrays["i2_big_fortran"])


def zip64(path, members):
    """All sizes and offsets in the 64-bit fields, as files over 4 GB have them."""
    body, directory = b"", b""
    for name, data in members.items():
        name, packed, crc, offset = name.encode(), zlib.compress(data)[2:-4], zlib.crc32(data), len(body)
        extra = struct.pack("<HHQQ", 1, 16, len(data), len(packed))
        top = struct.pack("<HHHHHIII", 45, 0, 8, 0, 33, crc, 0xFFFFFFFF, 0xFFFFFFFF)
        body += b"PK\3\4" + top + struct.pack("<HH", len(name), len(extra)) + name + extra + packed
        extra = struct.pack("<HHQQQ", 1, 24, len(data), len(packed), offset)
        directory += b"PK\1\2" + struct.pack("<H", 45) + top
        directory += struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF) + name + extra
    start, count = len(body), len(members)
    end64 = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, start + len(directory), 1)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(body + directory + end64 + locator + end)


def npy(array):
    import io

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


zip64(OUT / "zip64.npz", {"x.npy": npy(np.arange(12, dtype="<i4").reshape(3, 4)), "y.npy": npy(np.ones(5))})
assert np.load(OUT / "zip64.npz")["x"].sum() == 66
