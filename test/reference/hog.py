"""scikit-image's histograms of oriented gradients: test/fixtures/hog.json.

    python test/reference/hog.py          (scikit-image 0.26)
"""

import json
from pathlib import Path

import numpy as np
from skimage.feature import hog

rng = np.random.default_rng(3)
cases = []
for (height, width), orientations, cell, block in [((32, 32), 9, 8, 2), ((27, 35), 8, 6, 3), ((16, 24), 9, 4, 1)]:
    y, x = np.mgrid[:height, :width]
    plane = np.round(0.5 + 0.3 * np.sin(0.4 * x + 0.1 * y) + 0.2 * rng.random((height, width)), 4)
    values = hog(plane, orientations, (cell, cell), (block, block), block_norm="L2-Hys", feature_vector=True)
    cases.append({"size": [height, width], "orientations": orientations, "cell": cell, "block": block,
                  "plane": plane.ravel().tolist(), "hog": np.round(values, 9).tolist()})
path = Path(__file__).parent.parent / "fixtures" / "hog.json"
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
