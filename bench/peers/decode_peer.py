"""The Python side of `m3ret bench decode`: files to float32 arrays, channels first, in one process.

Reads one JSON command per line and answers with one JSON line:

    {"do": "machine"}                                  versions
    {"do": "make", "reader": ..., "files": [...], "core": n}    answers {"files": [...]}: those that this side reads as well;
                                                       from then on it keeps to core n, where that is a number
    {"do": "steps", "count": n}                        decodes all of them n times; answers {"seconds": s}

Both sides end with the same values in the same order: nibabel turns to RAS and takes the first of several volumes.
pydicom takes the fastest plugin that is installed for each transfer syntax; rescale is applied. PyAV decodes with the
threads that it chooses by itself; they share one core. An array is free as soon as it is made, and numpy asks for pages of
2 MiB; our side hands the memory of a file back before it reads the next.
"""
import json
import os
import sys
import time
import warnings

import numpy as np

warnings.simplefilter("ignore")


def with_pydicom(path):
    import pydicom
    from pydicom.pixels import apply_rescale

    dataset = pydicom.dcmread(path)
    return np.ascontiguousarray(apply_rescale(dataset.pixel_array, dataset), dtype=np.float32)


def with_nibabel(path):
    import nibabel

    image = nibabel.load(path)
    if image.ndim > 3:
        image = image.slicer[(..., *[0] * (image.ndim - 3))]
    return np.ascontiguousarray(nibabel.as_closest_canonical(image).get_fdata(dtype=np.float32).T)


def with_pillow(path):
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        pixels = np.asarray(image if image.mode.startswith(("I", "F")) else image.convert("RGB"), dtype=np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if pixels.ndim == 3 else np.broadcast_to(pixels, (3, *pixels.shape)))


def with_pyav(path):
    import av

    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.ascontiguousarray(np.stack(frames).transpose(3, 0, 1, 2), dtype=np.float32)


READERS = {"pydicom": with_pydicom, "nibabel": with_nibabel, "Pillow": with_pillow, "PyAV": with_pyav}


def versions():
    from importlib.metadata import PackageNotFoundError, version

    names = ["pydicom", "pylibjpeg", "python-gdcm", "nibabel", "pillow", "av", "numpy"]
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def main():
    read, files = None, []
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "machine":
            answer = {"peer": versions()}
        elif command["do"] == "make":
            if command.get("core") is not None:
                os.sched_setaffinity(0, {command["core"]})
            read, files = READERS[command["reader"]], []
            for path in command["files"]:
                try:
                    read(path)
                    files.append(path)
                except Exception:  # the peer's readers raise whatever they like
                    pass
            answer = {"files": files}
        else:
            began = time.perf_counter()
            for _ in range(command["count"]):
                for path in files:
                    read(path)
            answer = {"seconds": time.perf_counter() - began}
        print(json.dumps(answer), flush=True)


main()
