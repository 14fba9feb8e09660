"""What TensorBoard itself reads from an event file of ours (pip install tensorboard; npm run build first).

    python test/reference/eventFile.py        writes test/fixtures/eventFile.json
"""

import base64
import json
import subprocess
import tempfile
from pathlib import Path

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

HERE = Path(__file__).parent


def main():
    with tempfile.TemporaryDirectory() as folder:
        made = json.loads(subprocess.check_output(["node", HERE / "eventFile.mjs", folder], text=True))
        path = next(Path(folder).glob("*tfevents*"))
        # The loader raises where a checksum is wrong; the accumulator is what the scalar dashboard reads from.
        events = list(LegacyEventFileLoader(str(path)).Load())
        assert len(events) == 1 + len(made["lines"]), len(events)
        accumulator = EventAccumulator(folder)
        accumulator.Reload()
        tags = accumulator.Tags()["scalars"]
        scalars = {tag: [[e.step, e.wall_time, e.value] for e in accumulator.Scalars(tag)] for tag in tags}
        found = {
            "version": tensorboard.__version__,
            **made,
            "bytes": base64.b64encode(path.read_bytes()).decode(),
            "tags": sorted(tags),
            "scalars": scalars,
        }
    (HERE.parent / "fixtures/eventFile.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
