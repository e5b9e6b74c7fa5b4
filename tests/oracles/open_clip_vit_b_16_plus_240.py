"""open_clip's ViT-B-16-plus-240 with weights that the Rust test can draw for itself.

The released weights are 835 MB and need a download; what a parity test needs is only that both sides have the same
ones. Each weight is a function of its tensor's name and its index (SplitMix64), so that 208 million of them need no
file: `model/tests/support/generated.rs` draws the same. This script asks open_clip for features of two images, drawn
the same way, and of two sentences.

    --write   writes the fixture model/tests/data/open_clip_vit_b_16_plus_240.safetensors
    --check   computes again and compares; exit status 1 on a difference
"""

import argparse
import math
import pathlib
import sys

import numpy as np
import open_clip
import torch
from drawn import draw
from safetensors import safe_open
from safetensors.torch import save_file

MODEL = "ViT-B-16-plus-240"
FIXTURE = pathlib.Path(__file__).parents[2] / "model/tests/data/open_clip_vit_b_16_plus_240.safetensors"
OBJECT = "airplane"
SENTENCES = [f"a photo of {OBJECT} for anomaly detection.", f"a photo without {OBJECT} for anomaly detection."]
IMAGES = 2
TAPS = [7, 9, 11]
# Patch tokens that are kept: corners, edges and some inside of the 15 x 15 grid.
KEPT_TOKENS = [0, 14, 31, 67, 112, 155, 210, 224]
# Largest difference to the fixture, relative to the largest entry; other CPUs add in another order.
TOLERANCE = 2e-5


def weights(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A weight that keeps activations of order 1: variance 1 / fan-in, layer norms near 1, small offsets."""
    values = draw(name, math.prod(shape))
    if name.endswith("bias"):
        values *= np.float32(0.1)
    elif len(shape) == 1 and name.endswith("weight"):
        values = np.float32(1) + np.float32(0.1) * values
    elif "embedding" in name:
        values *= np.float32(0.5)
    else:
        fan_in = shape[0] if name.endswith("proj") or name.endswith("projection") else math.prod(shape[1:])
        values *= np.float32(math.sqrt(3 / fan_in))
    return torch.from_numpy(values.reshape(shape))


def answers() -> dict[str, torch.Tensor]:
    model = open_clip.create_model(MODEL, pretrained=None).eval()
    state = {name: weights(name, tuple(old.shape)) for name, old in model.state_dict().items() if old.ndim}
    missing, surplus = model.load_state_dict(state, strict=False)
    assert (missing, surplus) == (["logit_scale"], []), (missing, surplus)

    pixels = torch.from_numpy(2 * draw("pixels", IMAGES * 3 * 240 * 240)).view(IMAGES, 3, 240, 240)
    found = {}
    for tap in TAPS:

        def keep(_module, _inputs, output, tap=tap):
            found[f"patch_tokens_{tap}"] = output[:, 1:][:, KEPT_TOKENS].contiguous().clone()

        model.visual.transformer.resblocks[tap - 1].register_forward_hook(keep)
    assert model.visual.transformer.batch_first
    with torch.inference_mode():
        found["class"] = model.encode_image(pixels)
        ids = open_clip.get_tokenizer(MODEL)(SENTENCES)
        found["text"] = model.encode_text(ids, normalize=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    found = answers()
    if arguments.write:
        origin = {"open_clip": open_clip.__version__, "torch": torch.__version__, "tokens": str(KEPT_TOKENS)}
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
