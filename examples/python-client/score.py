#!/usr/bin/env python3
"""Scores images against a few normal ones: the smallest useful client of the InCTRL scoring server."""

import argparse
import json
import pathlib
import sys

import grpc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
sys.path += [str(PROTO), str(PROTO / "third_party")]  # where the next line looks for .proto files
messages, services = grpc.protos_and_services("inctrl/v1/anomaly_detection_service.proto")

# Scoring has no side effect, so it may be sent again while the server restarts.
RETRY = {"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2}
POLICY = {"name": [{}], "retryPolicy": RETRY | {"retryableStatusCodes": ["UNAVAILABLE"]}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=pathlib.Path, help="images to score")
    parser.add_argument("--server", default="127.0.0.1:50051", help="host:port")
    parser.add_argument("--prompts", required=True, help="name of a stored prompt set")
    parser.add_argument("--threshold", type=float, help="a score at or above it is anomalous")
    args = parser.parse_args()
    options = [("grpc.service_config", json.dumps({"methodConfig": [POLICY]}))]
    failed = 0
    with grpc.insecure_channel(args.server, options) as channel:
        detector = services.AnomalyDetectionServiceStub(channel)
        for path in args.images:
            request = messages.DetectAnomalyRequest(prompt_set=f"promptSets/{args.prompts}")
            request.image.encoded = path.read_bytes()
            if args.threshold is not None:
                request.options.threshold = args.threshold
            try:
                answer = detector.DetectAnomaly(request, timeout=60)
                decision = messages.Decision.Name(answer.decision).removeprefix("DECISION_").lower()
                print(f"{path}\t{answer.score:.4f}\t{decision}\t{answer.provenance.revision}")
            except grpc.RpcError as error:
                failed += 1
                print(f"{path}: {error.code().name}: {error.details()}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
