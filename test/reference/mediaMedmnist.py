"""Writes test/fixtures/media/pneumonia.json: counts and a few means of the real PneumoniaMNIST file, as numpy reads it.

    python test/reference/mediaMedmnist.py REALDATA        (numpy)
"""

import json
import sys
from pathlib import Path

import numpy as np

arrays = np.load(Path(sys.argv[1]) / "xray" / "pneumoniamnist_balanced.npz")
names = ["normal", "pneumonia"]
counts, means = {}, {}
for part, split in [("train", "train"), ("val", "gallery"), ("test", "query")]:
    labels = arrays[f"{part}_labels"].ravel()
    counts[split] = {name: int((labels == i).sum()) for i, name in enumerate(names)}
    for row in (0, len(labels) // 2, len(labels) - 1):
        means[f"pneumoniamnist/{part}/{row:06d}"] = round(float(arrays[f"{part}_images"][row].mean()), 5)
out = Path(__file__).parent.parent / "fixtures" / "media" / "pneumonia.json"
out.write_text(json.dumps({"counts": counts, "means": means}, indent=1) + "\n")
