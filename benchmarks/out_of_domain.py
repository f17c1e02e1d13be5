"""Does a detector know what is no photograph? Rendered and packaged non-photographs, and photographs of sources that it never saw.

    python benchmarks/out_of_domain.py data/manifest.csv --each 20 -o results/out_of_domain/realgrain.json

Photographs are those of the test split, and so are the pictures that web pages show; of each source the ones whose sha256 comes first. For each
kind: how many are outside, and what the verdicts would have been without the check.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import web_pages
from non_photographs import write
from pydantic import BaseModel

from realgrain.detector.calibration import Rate, rate_of
from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector, load
from realgrain.detector.verdict import Report, decide
from realgrain.faces.show import progress
from realgrain.learning.data import read_manifest
from realgrain.learning.problem import first_of_each
from realgrain.measuring.ledger import write_result
from realgrain.picture.conditions import condition
from realgrain.picture.image import Picture

DELIVERIES = ("clean", "web", "hard")


class Kind(BaseModel):
    """Of one kind.

    Attributes:
        outside: share of the files as they are.
        deliveries: in each delivery.
        by_borders: for their straight borders, whatever their distance.
        distance: median.
        borders: median length.
        verdicts: on the files as they are.
        verdicts_unchecked: what they would be without the check.
    """

    outside: Rate
    deliveries: dict[str, Rate]
    by_borders: Rate
    distance: float
    borders: float
    verdicts: dict[str, int]
    verdicts_unchecked: dict[str, int]


class Found(BaseModel):
    """What the card states, and what was found; ``separates`` is the share of pairs in which the non-photograph is farther out (AUC)."""

    bundle: str
    threshold: float
    borders_threshold: float
    stated_false_alarm_of_borders: Rate
    stated_false_alarm: Rate
    non_photographs: dict[str, Kind]
    photographs: dict[str, Kind]
    false_alarm: Rate
    generated: dict[str, Kind]
    separates: float


def outside(report: Report) -> bool:
    """Whether the verdict is ``unsure`` for it."""
    return "out_of_domain" in report.verdict.reasons


def kind(detector: Detector, delivered: dict[str, list[Report]]) -> Kind:
    """Summarise reports of one kind, of the files as they are and delivered otherwise."""
    reports = delivered["clean"]
    places, borders = [report.domain for report in reports if report.domain], [report.borders for report in reports if report.borders]
    bare = [decide(report.logit, min(report.picture.width, report.picture.height), detector.bundle.card, report.decision)[0] for report in reports]
    distances = sorted(place.distance for place in places)
    return Kind(
        outside=rate_of(sum(map(outside, reports)), len(reports)),
        deliveries={name: rate_of(sum(map(outside, of)), len(of)) for name, of in delivered.items()},
        by_borders=rate_of(sum(found.outside for found in borders), len(borders)),
        distance=distances[len(distances) // 2],
        borders=sorted(found.length for found in borders)[len(borders) // 2],
        verdicts=dict(Counter(report.verdict.label for report in reports)),
        verdicts_unchecked=dict(Counter(verdict.label for verdict in bare)),
    )


def judged(detector: Detector, paths: Iterable[Path], doing: str) -> dict[str, list[Report]]:
    """Reports of those that open, in each delivery."""
    pictures = [picture for path in paths if isinstance(picture := detector.open(path), Picture)]
    found: dict[str, list[Report]] = {}
    for name in DELIVERIES:
        pixels = [condition(name)(picture.pixels) for picture in pictures]
        changed = [replace(picture, pixels=of, width=of.shape[1], height=of.shape[0]) for picture, of in zip(pictures, pixels, strict=True)]
        found[name] = list(progress(map(detector.judge, changed), len(changed), f"{doing}, {name}"))
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Does a detector know what is no photograph?")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--each", type=int, default=20, help="of each kind and source")
    parser.add_argument("--seed", type=int, default=1, help="of what is rendered; the method was chosen on 0")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    detector = load(options.bundle, policy=Policy(stability=False))
    domain = detector.bundle.card.domain
    borders = detector.bundle.card.borders
    if domain is None or borders is None:
        raise SystemExit("this bundle does not know what is outside; train it again with this version")
    samples = first_of_each([sample for sample in read_manifest(options.manifest) if sample.split == options.split], options.each)
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), options.each, options.seed)
        files |= web_pages.write(Path(folder), samples, options.each, options.seed)
        others = {name: judged(detector, paths, name) for name, paths in files.items() if paths}
    seen: dict[str, dict[str, dict[str, list[Report]]]] = {}
    for label in ("real", "fake"):
        sources = sorted({sample.source for sample in samples if sample.label == label})
        seen[label] = {
            source: judged(detector, [sample.file for sample in samples if (sample.label, sample.source) == (label, source)], source)
            for source in sources
        }
    photographs = [report for of in seen["real"].values() for report in of["clean"]]
    near = [report.domain for report in photographs if report.domain]
    far = [report.domain for of in others.values() for report in of["clean"] if report.domain]
    farther = sum(out.distance > within.distance for out in far for within in near)
    result = Found(
        bundle=detector.bundle.hash,
        threshold=domain.threshold,
        borders_threshold=borders.threshold,
        stated_false_alarm_of_borders=borders.false_alarm,
        stated_false_alarm=domain.false_alarm,
        non_photographs={name: kind(detector, reports) for name, reports in others.items()},
        photographs={name: kind(detector, reports) for name, reports in seen["real"].items()},
        false_alarm=rate_of(sum(map(outside, photographs)), len(photographs)),
        generated={name: kind(detector, reports) for name, reports in seen["fake"].items()},
        separates=farther / (len(far) * len(near)),
    )
    write_result(options.output, result, [options.manifest])
    print(result.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
