"""Writes test/fixtures/media/videos.json: what ffprobe and ffmpeg say of the videos among the real files.

    python test/reference/mediaVideo.py REALDATA        (ffmpeg and ffprobe of Debian 12 on PATH, numpy)

For each video: the frames that ffprobe counts by decoding, the size, and the mean of the first and the last frame over all
three channels, 0 to 255.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(sys.argv[1])
OUT = Path(__file__).parent.parent / "fixtures" / "media" / "videos.json"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


def probe(path):
    answer = run(
        *"ffprobe -v error -count_frames -select_streams v:0 -of json".split(),
        *"-show_entries stream=width,height,nb_read_frames".split(),
        str(path),
    )
    (stream,) = json.loads(answer)["streams"]
    return int(stream["nb_read_frames"]), stream["height"], stream["width"]


expected = {}
for path in sorted(ROOT.rglob("*")):
    if path.suffix not in {".mp4", ".mov", ".avi", ".mpeg", ".gif"}:
        continue
    count, height, width = probe(path)
    raw = run(*"ffmpeg -v error -nostdin -i".split(), str(path), *"-vsync 0 -pix_fmt rgb24 -f rawvideo -".split())
    frames = np.frombuffer(raw, "u1").reshape(-1, height * width * 3)
    assert len(frames) == count, path
    expected[str(path.relative_to(ROOT))] = {
        "frames": count,
        "height": height,
        "width": width,
        "first": round(float(frames[0].mean()), 4),
        "last": round(float(frames[-1].mean()), 4),
    }
OUT.parent.mkdir(exist_ok=True)
OUT.write_text(json.dumps(expected, indent=1) + "\n")
