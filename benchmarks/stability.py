"""What stability costs, and what it takes away: judges labelled pictures with it and without.

    python benchmarks/stability.py data/manifest.csv --each 10 -o results/benchmarks/stability.json

Of each source of the test split the pictures whose sha256 comes first are taken. Each is judged both ways in turn, so that what else the machine does
falls on both alike; time is that of one picture after another on the threads given.
"""

import argparse
import statistics
import time
from collections import Counter
from pathlib import Path

from pydantic import BaseModel
from tqdm import tqdm

from realgrain.detector.calibration import Rate, rate_of
from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector, load
from realgrain.detector.verdict import Report
from realgrain.learning.data import Sample, read_manifest
from realgrain.learning.problem import first_of_each
from realgrain.measuring.ledger import write_result


class Found(BaseModel):
    """Milliseconds a picture (median), with and without; verdicts by label of the picture; and the share of verdicts that a re-save would change."""

    pictures: int
    threads: int
    milliseconds: dict[str, float]
    times_as_much: float
    verdicts: dict[str, dict[str, dict[str, int]]]
    unstable: dict[str, Rate]


def judged(detectors: dict[str, Detector], samples: list[Sample]) -> tuple[dict[str, list[Report]], dict[str, float]]:
    """Reports of each detector, and the median time of one in milliseconds."""
    reports: dict[str, list[Report]] = {name: [] for name in detectors}
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for sample in tqdm(samples, "judging", disable=None):
        for name, detector in detectors.items():
            start = time.perf_counter()
            reports[name].append(detector.detect(sample.file))
            times[name].append(time.perf_counter() - start)
    return reports, {name: 1000 * statistics.median(each) for name, each in times.items()}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Cost of stability, and what it takes away.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--each", type=int, default=10, help="pictures of each source")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    samples = first_of_each([sample for sample in read_manifest(options.manifest) if sample.split == options.split], options.each)
    detectors = {name: load(threads=options.threads, policy=Policy(stability=name == "with")) for name in ("without", "with")}
    reports, milliseconds = judged(detectors, samples)
    verdicts = {
        label: {
            name: dict(Counter(report.verdict.label for report, sample in zip(each, samples, strict=True) if sample.label == label))
            for name, each in reports.items()
        }
        for label in ("real", "fake")
    }
    lost = {}
    for verdict in ("ai", "camera"):
        pairs = [(now, then) for now, then in zip(reports["with"], reports["without"], strict=True) if then.verdict.label == verdict]
        if pairs:
            lost[verdict] = rate_of(sum(now.verdict.label != then.verdict.label for now, then in pairs), len(pairs))
    times = milliseconds["with"] / milliseconds["without"]
    result = Found(pictures=len(samples), threads=options.threads, milliseconds=milliseconds, times_as_much=times, verdicts=verdicts, unstable=lost)
    write_result(options.output, result, [options.manifest])
    print(result.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
