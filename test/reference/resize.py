"""Writes test/fixtures/resize.json: what torch.nn.functional.interpolate gives, for test/resize.test.ts.

Run from the root of the repository with PyTorch 2.x: python test/reference/resize.py
"""

import json

import torch
import torch.nn.functional as F


def picture(shape):
    """The same numbers as `picture` in test/resize.test.ts: a fixed, rough pattern in [0, 1)."""
    n = 1
    for extent in shape:
        n *= extent
    values = [((i * 7919) % 101) / 101 for i in range(n)]
    return torch.tensor(values, dtype=torch.float64).reshape(1, *shape).to(torch.float32)


cases = []
for shape, size, antialias in [
    ([3, 1, 9, 13], [1, 5, 7], True),
    ([1, 1, 30, 17], [1, 4, 20], True),
    ([1, 1, 6, 6], [1, 1, 1], True),
    ([1, 1, 9, 13], [1, 5, 7], False),
    ([2, 1, 4, 5], [1, 9, 11], True),
    ([2, 4, 5, 6], [7, 9, 8], False),
    ([1, 6, 5, 4], [3, 5, 9], False),
]:
    x = picture(shape)
    if shape[1] == 1:
        y = F.interpolate(x[:, :, 0], size=size[1:], mode="bilinear", align_corners=False, antialias=antialias)
    else:
        y = F.interpolate(x, size=size, mode="trilinear", align_corners=False)
    cases.append(
        {
            "shape": shape,
            "size": size,
            "antialias": antialias,
            "expected": [float(f"{v:.7f}") for v in y.flatten().tolist()],
        }
    )

with open("test/fixtures/resize.json", "w") as file:
    json.dump({"torch": torch.__version__, "cases": cases}, file, separators=(",", ":"))
    file.write("\n")
