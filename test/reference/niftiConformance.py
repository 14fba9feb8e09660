"""What nibabel reads in NIfTI and Analyze files: shape, zooms, orientation codes, statistics and voxels.

    python test/reference/niftiConformance.py [REALDATA]        (nibabel 5, numpy)

Without an argument it writes small files of every datatype, byte order and format to test/fixtures/nifti, and
expected.json beside them. With the folder of real data it writes test/fixtures/niftiConformance.json: numbers only.
"""

import gzip
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "nifti"
rng = np.random.default_rng(11)
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
RGBA = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
CODES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "rgb", "rgba"]
SHAPE = (3, 2, 4)


def describe(path, volume=0):
    """The file's own shape, zooms and codes; statistics and voxels of one volume after as_closest_canonical."""
    image = nib.load(path)
    codes = nib.aff2axcodes(image.affine)
    colours = image.get_data_dtype().names
    data = image.dataobj.get_unscaled() if colours else np.asarray(image.dataobj)  # nibabel cannot scale colours
    stored_shape = list(data.shape)
    if data.dtype.names:
        data = np.stack([data[name] for name in data.dtype.names[:3]])
    else:
        data = data[None]
    data = data.reshape(*data.shape[:4], -1, order="F")[..., volume]
    orientation = nib.io_orientation(image.affine)
    canonical = np.stack([nib.apply_orientation(one, orientation) for one in data]).astype("f8").transpose(0, 3, 2, 1)
    sizes = nib.affines.voxel_sizes(image.affine)
    order = np.argsort(orientation[:, 0])  # stored axis of x, y and z
    finite = canonical[np.isfinite(canonical)]
    places = [np.unravel_index(i, canonical.shape) for i in np.linspace(0, canonical.size - 1, 7).astype(int)]
    return {
        "storedShape": stored_shape,
        "zooms": [float(z) for z in image.header.get_zooms()],
        "codes": "".join(codes),
        "volume": volume,
        "shape": list(canonical.shape),
        "spacing": [float(sizes[axis]) for axis in order[::-1]],
        "min": float(finite.min()),
        "max": float(finite.max()),
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "voxels": [[[int(x) for x in p], float(canonical[p]) if np.isfinite(canonical[p]) else None] for p in places],
    }


def numbers(code, shape):
    if code in ("rgb", "rgba"):
        array = np.zeros(shape, dtype=RGB if code == "rgb" else RGBA)
        for channel in array.dtype.names:
            array[channel] = rng.integers(0, 256, shape)
        return array
    if code[0] == "f":
        return rng.normal(size=shape).astype(code)
    limits = np.iinfo(code)
    top = min(limits.max, 2**50)
    return rng.integers(max(limits.min, -top), top, shape, dtype=code, endpoint=True)


def affine_at_random():
    """A turn of up to 20 degrees about each axis of a signed permutation, with voxels of different lengths."""
    matrix = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    for axis in range(3):
        a = np.deg2rad(rng.uniform(-20, 20))
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = np.cos(a), -np.sin(a), np.sin(a), np.cos(a)
        matrix = turn @ matrix
    affine = np.eye(4)
    affine[:3, :3] = matrix @ np.diag([0.8, 1.1, 3.0])
    affine[:3, 3] = rng.uniform(-50, 50, 3)
    return affine


def write(name, array, header, fields, extension=b"", pair=False):
    """Byte by byte, so that no library scales or mends behind our back."""
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    for field, value in fields.items():
        header[field] = value
    swapped = array if array.dtype.names else array.astype(array.dtype.newbyteorder(header.endianness))
    voxels = swapped.tobytes(order="F")
    pack = (lambda data: gzip.compress(data, mtime=0)) if name.endswith(".gz") else (lambda data: data)
    if pair:
        (OUT / name).write_bytes(pack(header.binaryblock))
        (OUT / name.replace(".hdr", ".img")).write_bytes(pack(voxels))
        return
    flag = b"\1\0\0\0" if extension else b"\0\0\0\0"
    (OUT / name).write_bytes(pack(header.binaryblock + flag + extension + voxels))


def nifti(name, code, version, big, affine, shape=SHAPE, form="sform", pair=False, extension=b"", **fields):
    header = (nib.Nifti2Header if version == 2 else nib.Nifti1Header)(endianness=">" if big else "<")
    array = numbers(code, shape)
    header.set_data_shape(array.shape)
    header.set_zooms([*nib.affines.voxel_sizes(affine), *[1] * (len(shape) - 3)])
    if form == "sform":
        header.set_sform(affine, code=1)
    if form == "qform":
        header.set_qform(affine, code=1)
    magic = ("ni" if pair else "n+") + str(version)
    offset = 0 if pair else (544 if version == 2 else 352) + len(extension)
    write(name, array, header, {"magic": magic.encode(), "vox_offset": offset, **fields}, extension, pair)


def analyze(name, code, big, **fields):
    header = nib.Spm2AnalyzeHeader(endianness=">" if big else "<")
    array = numbers(code, SHAPE)
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_zooms([0.8, 1.1, 3.0])
    write(name, array, header, fields, pair=True)


def generate():
    OUT.mkdir(parents=True, exist_ok=True)
    expected = {}
    for big in [False, True]:
        end = "be" if big else "le"
        for code in CODES:
            for version in [1, 2]:
                form = "qform" if rng.random() < 0.4 else "sform"
                scaled = rng.random() < 0.5
                fields = {"scl_slope": -0.37, "scl_inter": 12.5} if scaled else {"scl_slope": 0, "scl_inter": 3}
                nifti(f"n{version}_{code}_{end}.nii", code, version, big, affine_at_random(), form=form, **fields)
        for code in ["u1", "i2", "i4", "f4", "f8", "rgb"]:
            analyze(f"analyze_{code}_{end}.hdr", code, big)
        nifti(f"pair_{end}.hdr", "i2", 1, big, affine_at_random(), pair=True, scl_slope=2, scl_inter=-3)
        nifti(f"pair2_{end}.hdr.gz", "f4", 2, big, affine_at_random(), pair=True)
        analyze(f"spm_{end}.hdr", "i2", big, scl_slope=0.25, scl_inter=0, origin=[2, 1, 2, 0, 0])
        analyze(f"range_{end}.hdr", "i2", big, scl_slope=0, glmin=-100, glmax=900, cal_min=0, cal_max=1)
        nifti(f"none_{end}.nii.gz", "i2", 1, big, np.diag([2, 3, 4, 1]), form=None)
        esize = (32).to_bytes(4, "big" if big else "little") + (6).to_bytes(4, "big" if big else "little")
        nifti(f"extension_{end}.nii", "i2", 1, big, affine_at_random(), extension=esize + b"x" * 24)
        nifti(f"time_{end}.nii.gz", "i2", 1, big, affine_at_random(), shape=(*SHAPE, 5))
        nifti(f"vector_{end}.nii", "f4", 1, big, affine_at_random(), shape=(*SHAPE, 2, 3), intent_code=1007)
    nifti("nan_slope.nii", "i2", 1, False, affine_at_random(), scl_slope=np.nan, scl_inter=np.nan)
    nifti("inf_slope.nii", "i2", 1, False, affine_at_random(), scl_slope=np.inf, scl_inter=1)
    nifti("tiny_slope.nii", "u2", 1, False, affine_at_random(), scl_slope=1e-7, scl_inter=1)
    turned = affine_at_random()
    nifti("qfac_zero.nii", "i2", 1, False, np.abs(np.diag(np.diag(turned))) + np.eye(4) * 1e-3, form="qform")
    header = bytearray((OUT / "qfac_zero.nii").read_bytes())
    header[76:80] = b"\0\0\0\0"
    (OUT / "qfac_zero.nii").write_bytes(header)
    nifti("negative_code.nii", "i2", 1, False, turned, sform_code=-1)
    nifti("flat.nii", "i2", 1, False, np.diag([-2.0, 2, 2, 1]), shape=(5, 4, 1))
    for path in sorted(OUT.glob("*")):
        if path.suffix == ".json" or ".img" in path.name:
            continue
        expected[path.name] = describe(path)
        for volume in {"time": [4], "vector": [1, 2, 5]}.get(path.name.split("_")[0], []):
            expected[f"{path.name} {volume}"] = describe(path, volume)
    (OUT / "expected.json").write_text(json.dumps(expected) + "\n")
    print(len(expected), "entries,", sum(path.stat().st_size for path in OUT.glob("*")), "bytes")


def conformance(root):
    expected = {}
    for path in sorted((root / "nifti-conformance").rglob("*")):
        if not path.is_file() or path.suffix == ".mgz":
            continue
        name = str(path.relative_to(root))
        try:
            expected[name] = describe(path)
            if "64D" in name or "functional" in name:
                expected[f"{name} 3"] = describe(path, 3)
        except FileNotFoundError:
            expected[name] = None  # a header without its voxels
    for folder in ["ct/nifti", "mri/nifti"]:
        for path in sorted((root / folder).glob("*")):
            expected[str(path.relative_to(root))] = describe(path)
    (FIXTURES / "niftiConformance.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(len(expected), "entries")


if len(sys.argv) > 1:
    conformance(Path(sys.argv[1]))
else:
    generate()
