"""Is the false-positive rate that a verdict states the one that pictures of sources never seen get? Each profile with data, on the test split.

    realgrain score data/manifest.csv --split test --conditions clean web hard -o test.parquet
    python benchmarks/realised.py test.parquet -o results/verdicts/false-positives.json

Twice: thresholds of the bundle on photographs of the test sources; and of each calibration source, thresholds of the other sources alone (the logits
beside the card are predictions for sources that the head was not fitted on).
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel

from realgrain.detector import profiles
from realgrain.detector.bundle import read_bundle
from realgrain.detector.calibration import Rate, threshold
from realgrain.detector.decision import flags
from realgrain.measuring.ledger import write_result

ASKED = (0.01, 0.05)


class Held(BaseModel):
    """Of one profile and one rate that was asked for.

    Attributes:
        stated: what a verdict says.
        supported: whether the calibration pictures can support the rate asked; the lowest that they can is ``stated.high``.
        realised: of all photographs of the test sources.
        by_source: the same of each.
        left_out: of each calibration source, what was stated without it and what it gets.
        kept: whether the realised rate is at most what was stated (the upper end of the interval).
        within: whether it lies in the interval.
    """

    stated: Rate
    supported: bool
    realised: Rate
    by_source: dict[str, Rate]
    left_out: dict[str, dict[str, Rate]]
    kept: bool
    within: bool


class Found(BaseModel):
    """By profile, then by rate asked."""

    bundle: str
    profiles: dict[str, dict[str, Held]]


def worst(rows: list[dict], deliveries: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Highest logit of each real picture over deliveries, by source.

    Raises:
        SystemExit: a delivery was not scored.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        if row["label"] == "real" and row["condition"] in deliveries and not row["error"]:
            found.setdefault(row["source"], {}).setdefault(row["path"], {})[row["condition"]] = row["logit"]
    if missing := set(deliveries) - {name for of in found.values() for each in of.values() for name in each}:
        raise SystemExit(f"the table has no rows of real pictures in condition {', '.join(sorted(missing))}")
    return {source: np.sort([max(each.values()) for each in of.values()]) for source, of in sorted(found.items())}


def held(real: dict[str, np.ndarray], test: dict[str, np.ndarray], asked: float) -> Held:
    """Calibrate on ``real``, by source; count on ``test``."""
    at, supported = threshold(profiles.pooled(real), asked)
    stated, realised = flags(real, at), flags(test, at)
    left_out = {}
    for source in real:
        others = {name: logits for name, logits in real.items() if name != source}
        if others:
            line, _ = threshold(profiles.pooled(others), asked)
            left_out[source] = {"stated": flags(others, line), "realised": flags({source: real[source]}, line)}
    return Held(
        stated=stated,
        supported=supported,
        realised=realised,
        by_source={source: flags({source: logits}, at) for source, logits in test.items()},
        left_out=left_out,
        kept=realised.value <= stated.high,
        within=stated.low <= realised.value <= stated.high,
    )


def main() -> None:
    """Count, write, print."""
    parser = argparse.ArgumentParser(description="Is the stated false-positive rate the realised one?")
    parser.add_argument("scores", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    rows = pq.read_table(options.scores).to_pylist()
    if {row["bundle"] for row in rows} != {bundle.hash}:
        raise SystemExit(f"{options.scores}: not all of it was scored by bundle {bundle.hash[:12]}")
    found: dict[str, dict[str, Held]] = {}
    for name, profile in bundle.card.profiles.items():
        real, test = profiles.from_arrays(name, "real", bundle.statistics), worst(rows, profile.deliveries)
        found[name] = {f"{asked:g}": held(real, test, asked) for asked in ASKED}
    write_result(options.output, Found(bundle=bundle.hash, profiles=found), [options.scores])
    for name, rates in found.items():
        for asked, of in rates.items():
            print(f"{name}, at most {asked} asked: stated {of.stated}, realised {of.realised}, {'kept' if of.kept else 'NOT kept'}")


if __name__ == "__main__":
    main()
