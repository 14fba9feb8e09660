"""ONNX files of ours in Python, and another project's file for ours: test/export.test.ts and test/embedOnnx.test.ts.

1. Files that `m3ret export` wrote, and the graphs of both training steps, pass onnx.checker with shape inference.
2. Python's onnxruntime gets from the exported encoders what PyTorch computes in float64 from the same weights, which are
   the formula of losses.py.
3. timm's VisionTransformer, exported by torch.onnx, is the file of another project.

Writes test/fixtures/onnx: expected.json and timm-tiny.onnx. Run from the repository's root, after `npm run build`:
    python test/reference/onnxEncoder.py          (onnx 1.23, onnxruntime 1.30, PyTorch 2.13, timm 1.0.29)
"""

import json
import math
import subprocess
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import onnx
import onnxruntime
import torch

sys.path.insert(0, str(Path(__file__).parent))
import losses  # noqa: E402

FIXTURES = Path("test/fixtures/onnx")
PD, PH, PW = losses.PATCH
ENCODERS = {"image-cls": (1, 8, 12), "volume-mean": (5, 8, 8)}
STANDARD = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # ImageNet's, as most encoders want


def pixels(batch, depth, height, width):
    """In [0, 1]; sample b starts at another phase."""
    n = 3 * depth * height * width
    angle = 0.37 * np.arange(n)[None] + 1.1 * np.arange(batch)[:, None]
    return (0.5 + 0.5 * np.sin(angle)).reshape(batch, 3, depth, height, width)


def reference(x, pooling):
    """The encoder in float64, from pixels, written from the design and not from our code."""
    b, c, depth, height, width = x.shape
    x = (torch.from_numpy(x) - 0.5) / 0.25
    grid = (math.ceil(depth / PD), height // PH, width // PW)
    x = torch.cat([x, x[:, :, -1:].expand(-1, -1, grid[0] * PD - depth, -1, -1)], 2)
    x = x.reshape(b, c, grid[0], PD, grid[1], PH, grid[2], PW).permute(0, 2, 4, 6, 3, 5, 7, 1)
    with torch.no_grad():
        positions = losses.positions(grid, losses.WIDTH)
        tokens = losses.encode(losses.make(losses.encoder_shapes()), "encoder/", x.reshape(b, math.prod(grid), -1), positions)
    return (tokens[:, 0] if pooling == "cls" else tokens[:, 1:].mean(1)).numpy()


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return session.run(None, {given.name: x.astype(np.float32)})[0], session


def relative(ours, theirs):
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def encoders(folder):
    expected = {}
    for name, size in ENCODERS.items():
        path, pooling = folder / f"encoder-{name}.onnx", name.split("-")[1]
        for batch in (1, 2, 5):
            x = pixels(batch, *size)
            ours, session = run(path, x)
            distance = relative(ours, reference(x, pooling))
            print(f"{path.name}, batch {batch}: {distance:.1e} from float64")
            assert distance < 1e-5
        assert [d.name for d in session.get_inputs()] == ["pixels"] and session.get_inputs()[0].shape[0] == "batch"
        assert session.get_outputs()[0].name == "embedding" and session.get_outputs()[0].shape == ["batch", losses.WIDTH]
        notes = session.get_modelmeta().custom_metadata_map
        assert notes["pooling"] == pooling and json.loads(notes["encoder"])["width"] == losses.WIDTH
        expected[name] = {"size": size, "pooling": pooling, "onnxruntime": ours.tolist(),
                          "float64": reference(x, pooling).tolist()}
    return expected


class WithoutTorchvision:
    """timm imports torchvision, for transforms that a model does not need; its binaries fit one PyTorch only."""

    def find_spec(self, name, path, target=None):
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

    def create_module(self, spec):
        made = MagicMock()
        made.__path__, made.__spec__, made.__name__ = [], spec, spec.name
        return made

    def exec_module(self, module):
        pass


def other():
    sys.meta_path.insert(0, WithoutTorchvision())
    from timm.models.vision_transformer import VisionTransformer

    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    model = VisionTransformer(img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2, num_classes=0).eval()
    for parameter in model.parameters():  # biases start as zeros, which would hide a mistake
        torch.nn.init.normal_(parameter, std=0.2)
    path = FIXTURES / "timm-tiny.onnx"
    batch = {"images": {0: "n"}, "features": {0: "n"}}
    torch.onnx.export(model, (torch.rand(2, 3, 16, 16),), path, input_names=["images"], output_names=["features"],
                      dynamic_axes=batch, opset_version=17, dynamo=False)
    onnx.checker.check_model(str(path), full_check=True)
    images = pixels(3, 4, 16, 16)  # as volumes of 4 slices
    mean, std = (np.array(STANDARD[name]).reshape(1, 3, 1, 1, 1) for name in ("mean", "std"))
    slices = ((images - mean) / std).transpose(0, 2, 1, 3, 4).reshape(12, 3, 16, 16)
    features, _ = run(path, slices)
    with torch.no_grad():
        assert relative(features, model(torch.from_numpy(slices).float()).numpy()) < 1e-5
    features = features.reshape(3, 4, -1)
    return {**STANDARD, "slices": features.tolist(), "volumes": features.mean(1).tolist()}


FIXTURES.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as name:
    made = Path(name)
    subprocess.run(["node", "test/reference/onnxGraphs.mjs", name], check=True)
    for file in sorted(made.glob("*.onnx")):
        onnx.checker.check_model(str(file), full_check=True)
        nodes = onnx.load(file).graph.node
        print(f"{file.name}: passes the checker, {len(nodes)} nodes, domains {sorted({n.domain or 'onnx' for n in nodes})}")
    versions = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "torch": torch.__version__}
    result = {"versions": versions, "encoders": encoders(made), "timm": other()}
(FIXTURES / "expected.json").write_text(json.dumps(result, indent=1) + "\n")
