"""What the three generators of unseen files share: a case is a file, and the values that must be read in it.

    for part in Dicom Nifti Images; do python test/reference/unseen$part.py /tmp/unseen/$part; done
    M3RET_UNSEEN=/tmp/unseen/Dicom:/tmp/unseen/Nifti:/tmp/unseen/Images npx vitest run test/unseen.test.ts

With names after the folder, only those are written: test/fixtures/unseen has a few that were once read wrongly or not at all.
"""

import json
from pathlib import Path

import numpy as np


class Cases:
    """Writes files into a folder; cases.json and one .f4 file of float32 values each say what must be read."""

    def __init__(self, folder, only=None):
        self.folder, self.only, self.cases = Path(folder), only, {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def wants(self, name):
        return self.only is None or name in self.only

    def path(self, name):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def expect(self, name, values, near=0, **more):
        """values [C, D, H, W]; near: what a lossy codec may be off by on 1 of 1000 values, and half of it on the others."""
        values = np.asarray(values)
        assert values.ndim == 4, (name, values.shape)
        self.cases[name] = {"shape": list(values.shape), "near": near, **more}
        self.path(name + ".f4").write_bytes(values.astype("<f4").tobytes())

    def refuse(self, name, reason):
        """reason: what the one line must say, as a regular expression."""
        self.cases[name] = {"refused": reason}
        self.path(name + ".f4").unlink(missing_ok=True)

    def close(self):
        (self.folder / "cases.json").write_text(json.dumps(self.cases, indent=1))
