#!/usr/bin/env python3
"""AUPRO and pixel AUROC of small maps: the fixtures of trainer/tests/metrics.rs.

    pro.py --write [--dir DIR]   draws maps and masks, writes them with the answers
    pro.py --check [--dir DIR]   computes the answers for the committed maps anew and compares

There is no packaged exact AUPRO, so this is its definition written down as directly as can be: regions by
scipy.ndimage.label, one threshold a distinct score, every share counted anew for every threshold. Needs
tests/oracles/requirements.txt (numpy, scipy, scikit-learn).
"""

import argparse
import json
import pathlib
import sys

import numpy as np
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score

DEFAULT_DIR = pathlib.Path(__file__).resolve().parents[2] / "trainer/tests/data/metrics"
FILE = "pixel_level.json"
TOLERANCE = 1e-10
TOUCHING = np.ones((3, 3))


def draw(random, images, side, levels, separation):
    masks, maps = [], []
    for image in range(images):
        mask = np.zeros((side, side), bool)
        if image % 3 != 2:  # every third image is normal
            for _ in range(random.integers(1, 4)):
                y, x = random.integers(0, side - 2, 2)
                mask[y : y + random.integers(1, 4), x : x + random.integers(1, 5)] = True
        values = random.normal(mask * separation, 1.0)
        values = np.round(values * levels / 8) * 8 / levels if levels < 100 else values
        masks.append(mask)
        maps.append(np.round(values * 256) / 256)
    return masks, maps


def cases():
    random = np.random.default_rng(3)
    drawn = {}
    for name, images, side, levels, separation in [
        ("distinct scores", 5, 10, 1 << 20, 1.0),
        ("many ties", 6, 9, 12, 1.5),
        ("no better than chance", 3, 12, 1 << 20, 0.0),
        ("nearly perfect", 3, 8, 1 << 20, 6.0),
    ]:
        masks, maps = draw(random, images, side, levels, separation)
        drawn[name] = {
            "width": side,
            "masks": [np.flatnonzero(mask).tolist() for mask in masks],
            "maps": [values.ravel().tolist() for values in maps],
        }
    return drawn


def answers(case):
    width = case["width"]
    maps = np.array(case["maps"]).reshape(len(case["maps"]), -1, width)
    masks = np.zeros(maps.shape, bool)
    for mask, marked in zip(masks, case["masks"]):
        mask.ravel()[marked] = True
    regions = []
    for values, mask in zip(maps, masks):
        numbered, count = label(mask, structure=TOUCHING)
        regions += [values[numbered == number] for number in range(1, count + 1)]
    background = maps[~masks]
    thresholds = np.unique(maps)[::-1]
    rates = np.array([0.0] + [np.mean(background >= t) for t in thresholds])
    overlaps = np.array([0.0] + [np.mean([np.mean(region >= t) for region in regions]) for t in thresholds])
    expected = {"pixel_auroc": roc_auc_score(masks.ravel(), maps.ravel()), "regions": len(regions)}
    for limit in (0.05, 0.3, 1.0):
        inside = rates <= limit
        x = np.append(rates[inside], limit)
        beyond = np.interp(limit, rates, overlaps) if inside.sum() < len(rates) else overlaps[-1]
        y = np.append(overlaps[inside], max(beyond, overlaps[inside][-1]))
        expected[f"aupro_{limit}"] = np.trapezoid(y, x) / limit
    return expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=pathlib.Path, default=DEFAULT_DIR)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true")
    mode.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    path = arguments.dir / FILE
    if arguments.write:
        written = [{"name": name, **case, "expected": answers(case)} for name, case in cases().items()]
        arguments.dir.mkdir(parents=True, exist_ok=True)
        path.write_text("[\n" + ",\n".join(json.dumps(case) for case in written) + "\n]\n")
        return
    differing = 0
    for case in json.loads(path.read_text()):
        for metric, value in answers(case).items():
            if abs(value - case["expected"][metric]) > TOLERANCE:
                print(f"{case['name']}, {metric}: {value} now, {case['expected'][metric]} committed")
                differing += 1
    if differing:
        sys.exit(1)
    print(f"{path.name}: agrees with the definition to {TOLERANCE}")


if __name__ == "__main__":
    main()
