"""How much faster than the shipped detector is the one of one view? Both in turn, on the same pictures, from file bytes to verdict.

    python benchmarks/fast.py data/manifest.csv -o results/benchmarks/fast.json

Without a look at re-saves: that multiplies both alike.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from drawing import by_source
from pydantic import BaseModel
from rounds import LEAST, Ratio, ratio

from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector, load
from realgrain.faces.show import progress
from realgrain.learning.data import read_manifest
from realgrain.measuring.ledger import write_result

BUNDLES = ("default", "fast")


class Timed(BaseModel):
    """Of one runtime: median seconds a picture of each bundle, and the shipped one's time over that of ``fast``."""

    seconds: dict[str, float]
    times_as_fast: Ratio


class Found(BaseModel):
    """By runtime."""

    pictures: int
    bundles: dict[str, str]
    runtimes: dict[str, Timed]


def seconds(detector: Detector, files: list[bytes]) -> float:
    """A picture's, in the mean over the files."""
    started = time.perf_counter()
    for _ in detector.detect_many(files):
        pass
    return (time.perf_counter() - started) / len(files)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Time the shipped detector and the fast one, in turn.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--pictures", type=int, default=20, help="of a round, from each source in turn")
    parser.add_argument("--rounds", type=int, default=LEAST)
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime", "openvino"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    files = [sample.file.read_bytes() for sample in by_source(read_manifest(options.manifest), options.pictures)]
    found, hashes = {}, {}
    for runtime in options.runtimes:
        detectors = {name: load(name, runtime=runtime, policy=Policy(stability=False)) for name in BUNDLES}
        hashes = {name: detector.bundle.hash for name, detector in detectors.items()}
        for detector in detectors.values():
            seconds(detector, files[:2])  # what the first runs cost is another question
        turns = [
            {name: seconds(detector, files) for name, detector in detectors.items()} for _ in progress(range(options.rounds), options.rounds, runtime)
        ]
        times = {name: [turn[name] for turn in turns] for name in BUNDLES}
        found[runtime] = Timed(
            seconds={name: float(np.median(of)) for name, of in times.items()}, times_as_fast=ratio(times["default"], times["fast"])
        )
    result = Found(pictures=len(files), bundles=hashes, runtimes=found)
    write_result(options.output, result, [options.manifest])
    print(result.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
