"""Random vision transformers as timm and Hugging Face store them, and their outputs: test/fixtures/timm.

    python test/reference/timmVit.py          (timm 1.0.29, transformers 5.18, PyTorch 2.13, safetensors 0.8)
"""

import json
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parent.parent / "fixtures" / "timm"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class WithoutTorchvision:
    """timm asks for torchvision's transforms, which no model needs; its binaries fit one PyTorch only."""

    def find_spec(self, name, path, target=None):
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

    def create_module(self, spec):
        made = MagicMock()
        made.__path__, made.__spec__, made.__name__ = [], spec, spec.name
        return made

    def exec_module(self, module):
        pass


def pixels(batch, side):
    """formulaSample of test/onnxFixture.ts: image b in [0, 1]."""
    angle = 0.37 * np.arange(3 * side * side)[None] + 1.1 * np.arange(batch)[:, None]
    x = torch.from_numpy((0.5 + 0.5 * np.sin(angle)).reshape(batch, 3, side, side))
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (x - mean) / std


def shake(model):
    """No array stays at the zeros and ones it starts with, which would hide a mistake."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter + 0.2 * torch.randn(parameter.shape))
    return model.double().eval()


def outputs(tokens, prefix):
    return {"cls": tokens[:, 0].tolist(), "mean": tokens[:, prefix:].mean(1).tolist()}


def main():
    FIXTURES.mkdir(parents=True, exist_ok=True)
    from transformers import Dinov2Config, Dinov2Model  # before the stand-in, whose version it would read

    sys.meta_path.insert(0, WithoutTorchvision())
    from timm.models.vision_transformer import VisionTransformer

    size = dict(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=3, dynamic_img_size=True)
    models = {
        "plain": VisionTransformer(**size),
        "registers": VisionTransformer(**size, init_values=0.5, reg_tokens=2, no_embed_class=True),
        "registers-with-positions": VisionTransformer(**size, reg_tokens=2),
    }
    expected = {}
    with torch.no_grad():
        for name, model in models.items():
            shake(model)
            save_file({k: v.float().contiguous() for k, v in model.state_dict().items()}, FIXTURES / f"{name}.safetensors")
            model.load_state_dict({k: v.float().double() for k, v in model.state_dict().items()})
            expected[name] = {
                str(side): outputs(model.forward_features(pixels(2, side)), model.num_prefix_tokens) for side in (16, 24, 12)
            }

        hf = Dinov2Config(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4, mlp_ratio=4,
                          layerscale_value=0.5)
        model = shake(Dinov2Model(hf))
        model.load_state_dict({k: v.float().double() for k, v in model.state_dict().items()})
        with tempfile.TemporaryDirectory() as folder:  # as published files have it: names in memory differ from those on disk
            model.float().save_pretrained(folder)
            save_file(load_file(Path(folder) / "model.safetensors"), FIXTURES / "dinov2.safetensors")
        model.double()
        tokens = model(pixels(2, 16)).last_hidden_state
        expected["dinov2"] = {"16": outputs(tokens, 1)}
    (FIXTURES / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


main()
