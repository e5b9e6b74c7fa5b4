#!/usr/bin/env python3
"""What scikit-learn says of scores and labels: the fixtures of trainer/tests/metrics.rs.

    metrics.py --write [--dir DIR]   draws scores and labels, writes them with the answers
    metrics.py --check [--dir DIR]   computes the answers for the committed scores anew and compares

Scores are multiples of 2^-10, so that float32 and the decimal text are exact. Needs tests/oracles/requirements.txt
(numpy, scikit-learn).
"""

import argparse
import json
import pathlib
import sys

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

DEFAULT_DIR = pathlib.Path(__file__).resolve().parents[2] / "trainer/tests/data/metrics"
FILE = "image_level.json"
TOLERANCE = 1e-12


def cases():
    random = np.random.default_rng(20240)
    drawn = {}
    for name, count, share, levels, shift in [
        ("distinct scores", 60, 0.4, 1 << 20, 0.2),
        ("few levels, many ties", 80, 0.5, 5, 0.3),
        ("two levels", 30, 0.3, 2, 0.2),
        ("rare anomalies", 90, 0.05, 1 << 20, 0.5),
        ("rare normals, ties", 50, 0.94, 7, 0.1),
        ("worse than chance", 40, 0.5, 1 << 20, -0.6),
    ]:
        labels = random.random(count) < share
        labels[:2] = True, False
        scores = random.normal(labels * shift, 0.3)
        scores = np.round(scores * levels / 2) * 2 / levels if levels < 100 else scores
        drawn[name] = {"scores": (np.round(scores * 1024) / 1024).tolist(), "anomalous": labels.tolist()}
    drawn["all equal"] = {"scores": [0.5] * 9, "anomalous": [i % 3 == 0 for i in range(9)]}
    drawn["negative zero ties with zero"] = {"scores": [0.0, -0.0, 1.0, -1.0], "anomalous": [True, False, False, True]}
    return drawn


def answers(case):
    scores, labels = np.array(case["scores"]), np.array(case["anomalous"])
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    precision, recall = precision[:-1], recall[:-1]
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros_like(precision), where=recall > 0)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)[0]
    rates, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(labels, scores),
        "average_precision": average_precision_score(labels, scores),
        "f1_max": f1[best],
        "f1_threshold": thresholds[best],
        "recall_at_false_positive_rate_5": hits[rates <= 0.05].max(),
        "false_positive_rate_at_recall_100": rates[hits >= 1.0].min(),
    }


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
    print(f"{path.name}: agrees with scikit-learn to {TOLERANCE}")


if __name__ == "__main__":
    main()
