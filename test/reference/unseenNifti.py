"""NIfTI and Analyze files of every kind, and what nibabel reads in them.

    python test/reference/unseenNifti.py FOLDER [NAME…]        (nibabel 5, numpy)
"""

import gzip
import itertools
import struct
import sys

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension
from unseenCases import Cases

cases = Cases(sys.argv[1], set(sys.argv[2:]) or None)
rng = np.random.default_rng(2612)
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
RGBA = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
UNITS = {0: 1, 1: 1000, 2: 1, 3: 0.001}
CLASSES = {"n1": nib.Nifti1Image, "n2": nib.Nifti2Image, "pair1": nib.Nifti1Pair, "pair2": nib.Nifti2Pair, "spm": nib.Spm99AnalyzeImage, "analyze": nib.AnalyzeImage}


def numbers(kind, shape):
    if kind in (RGB, RGBA):
        array = np.zeros(shape, kind)
        for name in kind.names:
            array[name] = rng.integers(0, 256, shape)
        return array
    kind = np.dtype(kind)
    if kind.kind == "f":
        return rng.normal(0, 100, shape).astype(kind)
    info = np.iinfo(kind)
    low, high = max(info.min, -(2**40)), min(info.max, 2**40)
    return rng.integers(low, high, shape, dtype="i8", endpoint=True).astype(kind)


def expect(name, path=None, unit=None):
    """nibabel's first volume, in its closest canonical orientation, as [C, D, H, W]."""
    image = nib.load(cases.path(path or name))
    header = image.header
    colours = image.get_data_dtype().names
    data = image.dataobj.get_unscaled() if colours else np.asarray(image.dataobj)
    data = np.stack([data[c] for c in colours[:3]]) if colours else data[None]
    data = data.reshape(data.shape + (1,) * max(0, 4 - data.ndim))
    data = data.reshape(*data.shape[:4], -1, order="F")[..., 0]
    orientation = nib.io_orientation(image.affine)
    values = np.stack([nib.apply_orientation(one, orientation) for one in data]).transpose(0, 3, 2, 1)
    sizes = nib.affines.voxel_sizes(image.affine)
    order = np.argsort(orientation[:, 0])
    scale = UNITS[int(header["xyzt_units"]) & 7] if unit is None and "xyzt_units" in header else 1
    cases.expect(name, values.astype("f4"), spacingMm=[float(sizes[axis]) * scale for axis in order[::-1]], orientation="RAS")


def save(name, array, affine=None, form="n1", endian="<", change=None, extensions=(), path=None):
    """change: a function of the header's structured array, after everything else was set."""
    if not cases.wants(name):
        return
    affine = np.diag([2, 3, 4, 1.0]) if affine is None else affine
    kind = CLASSES[form]
    header = kind.header_class(endianness=endian)
    header.set_data_dtype(array.dtype.newbyteorder(endian))
    image = kind(array, affine, header=header)
    for extension in extensions:
        image.header.extensions.append(extension)
    image.header.set_data_dtype(array.dtype.newbyteorder(endian))
    if form not in ("spm", "analyze"):
        image.header.set_slope_inter(1, 0)
    image.to_filename(cases.path(name))
    if change is not None:
        alter(name, form, endian, change)
    expect(name)


def alter(name, form, endian, change):
    path = cases.path(name)
    bytes_ = path.read_bytes()
    packed = bytes_[:2] == b"\x1f\x8b"
    plain = gzip.decompress(bytes_) if packed else bytes_
    kind = CLASSES[form].header_class
    dtype = kind.template_dtype.newbyteorder(endian)
    header = np.frombuffer(plain[: dtype.itemsize], dtype).copy()
    change(header)
    plain = header.tobytes() + plain[dtype.itemsize :]
    path.write_bytes(gzip.compress(plain) if packed else plain)


def put(**fields):
    def change(header):
        for field, value in fields.items():
            header[field] = value

    return change


def turned(angles, sizes=(2, 3, 4), flip=1):
    a, b, c = angles
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rz @ ry @ rx @ np.diag([flip * sizes[0], sizes[1], sizes[2]])
    affine[:3, 3] = 10, -20, 30
    return affine


ALL = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", RGB, RGBA]
OLD = ["u1", "i2", "i4", "f4", "f8"]
for form, endian in itertools.product(CLASSES, "<>"):
    for kind in OLD if form in ("spm", "analyze") else ALL:
        label = {RGB: "rgb", RGBA: "rgba"}.get(kind, kind)
        ending = "nii" if form in ("n1", "n2") else "hdr"
        name = f"{form}_{label}_{'le' if endian == '<' else 'be'}.{ending}"
        save(name, numbers(kind, (3, 4, 5)), form=form, endian=endian)
for rank in range(1, 8):
    shape = (4, 3, 5, 2, 3, 2, 2)[:rank]
    for form in ("n1", "n2", "pair1"):
        save(f"rank{rank}_{form}.{'hdr' if form == 'pair1' else 'nii.gz'}", numbers("i2", shape), form=form)
save("singletons.nii", numbers("i2", (4, 3, 1, 1, 3)))
save("flat.nii", numbers("i2", (4, 1, 3)))
save("point.nii", numbers("i2", (1, 1, 1)))
for slope, inter in [(0, 5), (np.nan, 0), (np.nan, np.nan), (2, np.nan), (-0.5, 10), (1e-7, 0), (1, 0), (1, -1024), (np.inf, 1), (2, np.inf), (-np.inf, 0), (0, np.nan), (1e10, 0)]:
    for form, kind in [("n1", "i2"), ("n2", "f4"), ("n1", RGB)]:
        if form == "n1" and kind is RGB and slope != 2:
            continue
        label = "rgb" if kind is RGB else kind
        name = f"slope_{slope}_{inter}_{form}_{label}.nii"
        try:
            save(name, numbers(kind, (3, 4, 5)), form=form, change=put(scl_slope=slope, scl_inter=inter))
        except Exception as error:  # nibabel refuses a slope with no usable intercept
            print(name, error)
            cases.cases.pop(name, None)
angles = {"straight": (0, 0, 0), "oblique": (0.3, 0.2, -0.4), "steep": (0.8, 0.1, 0.2), "quarter": (np.pi / 2, 0, 0), "other": (0, np.pi / 2, 0.1), "third": (0, 0, -np.pi / 2), "half": (np.pi, 0, 0.05)}
for (label, three), flip, form in itertools.product(angles.items(), (1, -1), ("n1", "n2")):
    affine = turned(three, flip=flip)
    save(f"affine_{label}_{flip}_{form}.nii", numbers("i2", (3, 4, 5)), affine, form)
    save(f"qform_{label}_{flip}_{form}.nii", numbers("i2", (3, 4, 5)), affine, form, change=put(sform_code=0, qform_code=1))
    if form == "n1":
        save(f"neither_{label}_{flip}.nii", numbers("i2", (3, 4, 5)), affine, form, change=put(sform_code=0, qform_code=0))
        save(f"sform_{label}_{flip}.hdr", numbers("i2", (3, 4, 5)), affine, "pair1", change=put(sform_code=2, qform_code=0))
shear = turned((0.1, 0.2, 0.3))
shear[0, 1] += 1.5
save("sheared.nii", numbers("i2", (3, 4, 5)), shear)
save("big_quaternion.nii", numbers("i2", (3, 4, 5)), change=put(sform_code=0, qform_code=1, quatern_b=1.0000001, quatern_c=0, quatern_d=0))
for code in (1, 2, 3, 4, 5):
    save(f"code{code}.nii", numbers("i2", (3, 4, 5)), turned((0.1, 0, 0)), change=put(sform_code=code, qform_code=0))
for units in (0, 1, 2, 3, 8, 10, 11, 17, 9):
    save(f"units{units}.nii", numbers("i2", (3, 4, 5)), change=put(xyzt_units=units))
    save(f"units{units}_n2_be.nii", numbers("i2", (3, 4, 5)), form="n2", endian=">", change=put(xyzt_units=units))
extension = [Nifti1Extension(6, b"a comment"), Nifti1Extension(4, b"<xml/>" * 50)]
for form, endian in itertools.product(("n1", "n2", "pair1"), "<>"):
    name = f"extended_{form}_{'le' if endian == '<' else 'be'}.{'hdr' if form == 'pair1' else 'nii.gz'}"
    save(name, numbers("i2", (3, 4, 5)), form=form, endian=endian, extensions=extension)
save("pixdim_negative.nii", numbers("i2", (3, 4, 5)), change=lambda h: (put(sform_code=0, qform_code=1)(h), h["pixdim"].__setitem__(Ellipsis, np.array([1, -2, 3, -4, 1, 1, 1, 1]))))
save("pixdim_zero.nii", numbers("i2", (3, 4, 5)), change=lambda h: (put(sform_code=0, qform_code=1)(h), h["pixdim"].__setitem__(Ellipsis, np.array([1, 0, 3, 4, 1, 1, 1, 1]))))
save("qfac_other.nii", numbers("i2", (3, 4, 5)), change=lambda h: (put(sform_code=0, qform_code=1)(h), h["pixdim"].__setitem__(Ellipsis, np.array([-1, 2, 3, 4, 1, 1, 1, 1]))))
for form in ("pair1", "spm", "analyze"):
    name = f"packed_{form}.hdr.gz"
    if cases.wants(name):
        CLASSES[form](numbers("i2", (3, 4, 5)), np.diag([-2, 3, 4, 1.0])).to_filename(cases.path(f"plain_{form}.img"))
        for part in ("hdr", "img"):
            cases.path(f"packed_{form}.{part}.gz").write_bytes(gzip.compress(cases.path(f"plain_{form}.{part}").read_bytes()))
        expect(name, f"packed_{form}.img.gz")
        expect(f"plain_{form}.img")
for voxel_offset in (368, 1024, 4000):
    name = f"offset{voxel_offset}.nii"
    save(name, numbers("i2", (3, 4, 5)))
    if cases.wants(name):
        plain = bytearray(cases.path(name).read_bytes())
        voxels = plain[352:]
        struct.pack_into("<f", plain, 108, voxel_offset)
        cases.path(name).write_bytes(bytes(plain[:352]).ljust(voxel_offset, b"\0") + voxels)
        expect(name)
save("trailing.nii", numbers("i2", (3, 4, 5)))
if cases.wants("trailing.nii"):
    cases.path("trailing.nii").write_bytes(cases.path("trailing.nii").read_bytes() + b"\1" * 999)
members = "two_members.nii.gz"
save(members, numbers("i2", (3, 4, 5)))
if cases.wants(members):
    plain = gzip.decompress(cases.path(members).read_bytes())
    cases.path(members).write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
save("nan_voxels.nii", np.where(numbers("u1", (3, 4, 5)) > 99, np.nan, 5).astype("f4"))
for code, name in [(1, "binary"), (32, "complex64"), (1536, "float128"), (1792, "complex128"), (2048, "complex256"), (777, "not in the standard")]:
    file = f"refused{code}.nii"
    if cases.wants(file):
        nib.Nifti1Image(numbers("f8", (3, 4, 5)), np.eye(4)).to_filename(cases.path(file))
        bits = {1: 1, 32: 64, 1536: 128, 1792: 128, 2048: 256}.get(code, 16)
        alter(file, "n1", "<", put(datatype=code, bitpix=bits))
        cases.refuse(file, f"datatype {code} \\({name}\\) is not supported")
cases.close()
print(len(cases.cases), "cases")
