"""Are verdicts given, are they right, and do they survive being sent on? Ours beside those of the peer sahu65, on the same pictures.

    python benchmarks/sahu65_scores.py data/manifest.csv --split test -o sahu65.parquet
    python benchmarks/verdicts.py data/manifest.csv sahu65.parquet -o results/verdicts/default.json

Every picture of the test split is judged as it is, as `realgrain detect` judges it. Some are then sent on in twelve ways and judged again: a verdict
has turned round where it was `ai` and is `camera`, or the other way. Stability can take a verdict back and never turn it round, so that of what was
sent on it is looked at only where the verdict without it has turned round.
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import BaseModel

from realgrain.detector.calibration import Rate, rate_of
from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector, load
from realgrain.detector.verdict import Report, Verdict, decide
from realgrain.faces.show import progress
from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.ledger import write_result
from realgrain.picture.conditions import condition
from realgrain.picture.image import Picture, open_picture

WAYS = (
    *("jpeg-95", "jpeg-80", "jpeg-60", "jpeg-40", "webp-90", "webp-60"),
    *("resize-0.75", "resize-1.5", "crop-0.75", "blur-0.5", "web", "hard"),
)
"""What is done to a picture that is sent on; none of them is a view of ``detector.stability``."""
OURS = {"ai": "ai", "camera": "camera", "unsure": "unsure", "likely_ai": "ai", "likely_real": "camera", "inconclusive": "unsure"}
"""The peer's words for ours."""


class Given(BaseModel):
    """Of some pictures: verdicts by label, the share that got one, the share of those that is right, and errors by label."""

    verdicts: dict[str, dict[str, int]]
    covered: Rate
    right: Rate | None
    real_called_ai: Rate
    fake_called_camera: Rate
    fake_called_ai: Rate


class Sent(BaseModel):
    """Of pictures sent on in each way: verdicts that turned round, of all and of those that had been given; with stability and without.

    ``pictures_turned`` counts each picture once, however many of its copies turned: copies of one are not independent, so that this one's interval is
    the one to go by.
    """

    pictures: int
    ways: tuple[str, ...]
    turned: Rate
    turned_of_decided: Rate | None
    pictures_turned: Rate
    pictures_turned_of_decided: Rate | None
    turned_without_stability: Rate
    turned_of_decided_without_stability: Rate | None
    turned_without_stability_by_way: dict[str, int]


class Found(BaseModel):
    """All of it; ``both`` names how many pictures each could judge."""

    bundle: str
    runtime: str
    both: int
    ours: Given
    ours_without_stability: Given
    sahu65: Given
    why_unsure: dict[str, int]
    sent: Sent


def share(k: int, n: int) -> Rate | None:
    """A rate; None of nothing."""
    return rate_of(k, n) if n else None


def given(pairs: Iterable[tuple[str, str]]) -> Given:
    """Sum up labels of pictures and their verdicts."""
    counts = Counter(pairs)
    verdicts = {label: {verdict: counts[label, verdict] for verdict in ("ai", "camera", "unsure")} for label in ("real", "fake")}
    real, fake = (sum(verdicts[label].values()) for label in ("real", "fake"))
    decided = sum(verdicts[label][verdict] for label in verdicts for verdict in ("ai", "camera"))
    return Given(
        verdicts=verdicts,
        covered=rate_of(decided, real + fake),
        right=share(verdicts["real"]["camera"] + verdicts["fake"]["ai"], decided),
        real_called_ai=rate_of(verdicts["real"]["ai"], real),
        fake_called_camera=rate_of(verdicts["fake"]["camera"], fake),
        fake_called_ai=rate_of(verdicts["fake"]["ai"], fake),
    )


def opposite(one: Verdict, other: Verdict) -> bool:
    """Whether one says ``ai`` and the other ``camera``."""
    return {one.label, other.label} == {"ai", "camera"}


def bare(report: Report, detector: Detector) -> Verdict:
    """The verdict without a look at stability."""
    side = min(report.picture.width, report.picture.height)
    return decide(report.logit, side, detector.bundle.card, report.decision, None, report.domain, report.borders)[0]


def turned(picture: Picture, before: Report, detector: Detector, quick: Detector, way: str) -> tuple[bool, bool]:
    """Whether the verdict turned round on the way: with stability, and without."""
    if bare(before, detector).label == "unsure":  # which turns round into nothing
        return False, False
    pixels = condition(way)(picture.pixels)
    arrived = replace(picture, pixels=pixels, width=pixels.shape[1], height=pixels.shape[0])
    if not opposite(bare(before, detector), quick.judge(arrived).verdict):
        return False, False
    return before.verdict.label != "unsure" and opposite(before.verdict, detector.judge(arrived).verdict), True


def in_turn(samples: Iterable[Sample], count: int) -> list[Sample]:
    """Pictures of each source and label in turn, in the order of the manifest."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.label, sample.source), []).append(sample)
    return [sample for sample in chain.from_iterable(zip_longest(*groups.values())) if sample is not None][:count]


def main() -> None:
    """Judge, send on, compare, write."""
    parser = argparse.ArgumentParser(description="Are verdicts given, are they right, and do they survive being sent on?")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("peer", type=Path, help="scores table of benchmarks/sahu65_scores.py")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pictures", type=int, default=200, help="to send on")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    detector = load(options.bundle, runtime=options.runtime, evidence=False)
    samples = [sample for sample in read_manifest(options.manifest) if sample.split == options.split]
    outcomes = progress(detector.detect_many([sample.file for sample in samples]), len(samples), "judging")
    judged = {sample.path: outcome for sample, outcome in zip(samples, outcomes, strict=True) if isinstance(outcome, Report)}
    table = pq.read_table(options.peer, filters=[("condition", "=", "clean"), ("error", "=", "")]).to_pylist()
    peer = {row["sha256"]: OURS[row["verdict"]] for row in table}
    both = [(sample, judged[sample.path]) for sample in samples if sample.path in judged and judged[sample.path].picture.sha256 in peer]
    if not both:
        raise SystemExit(f"{options.peer} has no picture of split {options.split!r}")
    sending = in_turn((sample for sample in samples if sample.path in judged), options.pictures)
    quick = replace(detector, policy=Policy(stability=False))
    found: dict[str, list[tuple[bool, bool]]] = {way: [] for way in WAYS}
    for sample in progress(sending, len(sending), "sending on"):
        picture = open_picture(sample.file)
        for way in WAYS:
            found[way].append(turned(picture, judged[sample.path], detector, quick, way))
    pairs = len(sending) * len(WAYS)
    with_, without = (sum(hit[column] for hits in found.values() for hit in hits) for column in (0, 1))
    once = sum(any(hit for hit, _ in hits) for hits in zip(*found.values(), strict=True))
    decided_pictures = sum(judged[sample.path].verdict.label != "unsure" for sample in sending)
    decided = len(WAYS) * decided_pictures
    decided_without = len(WAYS) * sum(bare(judged[sample.path], detector).label != "unsure" for sample in sending)
    result = Found(
        bundle=detector.bundle.hash,
        runtime=detector.runtime.name,
        both=len(both),
        ours=given((sample.label, report.verdict.label) for sample, report in both),
        ours_without_stability=given((sample.label, bare(report, detector).label) for sample, report in both),
        sahu65=given((sample.label, peer[report.picture.sha256]) for sample, report in both),
        why_unsure=dict(Counter(reason for _, report in both for reason in report.verdict.reasons)),
        sent=Sent(
            pictures=len(sending),
            ways=WAYS,
            turned=rate_of(with_, pairs),
            turned_of_decided=share(with_, decided),
            pictures_turned=rate_of(once, len(sending)),
            pictures_turned_of_decided=share(once, decided_pictures),
            turned_without_stability=rate_of(without, pairs),
            turned_of_decided_without_stability=share(without, decided_without),
            turned_without_stability_by_way={way: sum(hit for _, hit in hits) for way, hits in found.items()},
        ),
    )
    write_result(options.output, result, [options.manifest, options.peer])
    print(result.model_dump_json(indent=2))


if __name__ == "__main__":
    main()
