"""Is the false-positive rate that a verdict states the one that pictures of sources never seen get? Each profile with data, on the test split.

    realgrain score data/manifest.csv --split test --conditions clean web hard -o test.parquet
    python benchmarks/realised.py test.parquet -o results/verdicts/false-positives.json

Twice: thresholds of the bundle on photographs of the test sources; and of each calibration source, thresholds of the other sources alone (the logits
beside the card are predictions for sources that the head was not fitted on). A verdict states two rates of its group of content: that of its
calibration pictures, and the worst of a source that its threshold was set without. Both are compared with what is realised, by group as well.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel

from realgrain.detector import profiles
from realgrain.detector.bundle import read_bundle
from realgrain.detector.calibration import Rate, rate_of
from realgrain.detector.decision import highest
from realgrain.detector.thresholds import Logits, flags, standing, thresholds, unseen, without
from realgrain.measuring.ledger import write_result

ASKED = (0.01, 0.05)


class LeftOut(BaseModel):
    """Of a calibration source: both rates that would be stated without it, and the one that it gets. The second takes two other sources or more."""

    stated: Rate
    stated_at_worst: Rate | None
    realised: Rate

    @property
    def surpasses(self) -> bool:
        """Whether it gets more than the upper ends of both intervals."""
        return self.realised.value > max(rate.high for rate in (self.stated, self.stated_at_worst) if rate)


class InGroup(BaseModel):
    """Of one group of content: what a verdict states, and what is realised.

    Attributes:
        stated: of the calibration pictures.
        supported: whether they can support the rate asked.
        at_worst: the surely highest rate of a source left out, which is the second that is stated; None: there is no other source.
        realised: of photographs of the test sources; None: none are of this group.
        left_out: by calibration source.
        left_out_together: of all calibration pictures, each at the threshold that its source had no part in; None of one source.
        surpassing: those that get more than the upper ends of both intervals that would be stated without them.
    """

    stated: Rate
    supported: bool
    at_worst: Rate | None
    realised: Rate | None
    left_out: dict[str, LeftOut]
    left_out_together: Rate | None
    surpassing: list[str]


class Held(BaseModel):
    """Of one profile and one rate that was asked for. Each picture is counted at the threshold of its group of content.

    Attributes:
        stated: of all calibration pictures together; verdicts state that of a group.
        realised: of all photographs of the test sources.
        left_out: of all calibration pictures, each at the threshold of its group that its source had no part in.
        by_group: both as they are stated.
        by_source: realised by source.
        kept: whether the realised rate is at most the upper end of what was stated first, in each group.
        within: whether it lies in that interval.
        kept_at_worst: whether it is at most the upper end of the second.
    """

    stated: Rate
    realised: Rate
    left_out: Rate | None
    by_group: dict[int, InGroup]
    by_source: dict[str, Rate]
    kept: bool
    within: bool
    kept_at_worst: bool


class Found(BaseModel):
    """By profile, then by rate asked."""

    bundle: str
    profiles: dict[str, dict[str, Held]]


def gathered(rows: list[dict], deliveries: tuple[str, ...], groups: int) -> Logits:
    """Highest logit of each real picture over the deliveries in which it is of a group, by group and source, as ``profiles.gather`` takes it.

    Raises:
        SystemExit: a delivery was not scored.
    """
    found: dict[tuple[int, str], dict[str, float]] = {}
    seen = set()
    for row in rows:
        if row["label"] == "real" and row["condition"] in deliveries and not row["error"]:
            seen.add(row["condition"])
            of = found.setdefault((int(row["content_group"]) if groups > 1 else 0, row["source"]), {})
            of[row["path"]] = max(of.get(row["path"], -np.inf), row["logit"])
    if missing := set(deliveries) - seen:
        raise SystemExit(f"the table has no rows of real pictures in condition {', '.join(sorted(missing))}")
    return {
        group: {source: np.sort(list(each.values())) for (number, source), each in sorted(found.items()) if number == group}
        for group in range(groups)
    }


def flagged(logits: Logits, at: dict[int, float], source: str | None = None) -> Rate:
    """Share of logits at or above the threshold of their group; where there is none, none is flagged."""
    chosen = [(values, group) for group, of in logits.items() for name, values in of.items() if source in (None, name)]
    return rate_of(sum(int(np.sum(values >= at.get(group, np.inf))) for values, group in chosen), sum(len(values) for values, _ in chosen))


def together(rates: Iterable[Rate | None]) -> Rate | None:
    """Of all the pictures that some rates are of; None of none."""
    known = [rate for rate in rates if rate]
    return rate_of(sum(rate.k for rate in known), sum(rate.n for rate in known)) if known else None


def worst_of(rates: dict[str, Rate]) -> Rate | None:
    """The one that is surely highest, as a verdict's sentence takes it; None of none."""
    worst = highest(rates)
    return worst and worst.rate


def in_group(real: Logits, group: int, test: Mapping[str, np.ndarray], asked: float) -> InGroup:
    """Calibrate on real pictures; count on the test pictures in a group. Without a source, a group has the kind of threshold that it has with all."""
    own = standing(real, asked)
    at, supported = thresholds(real, asked, own)[group]
    left_out = {}
    for source, found in unseen(real, group, asked, own).items():
        others = without(real, source)
        stated = flags(others[group], thresholds(others, asked, own)[group][0])
        left_out[source] = LeftOut(stated=stated, stated_at_worst=worst_of(unseen(others, group, asked, own)), realised=found)
    return InGroup(
        stated=flags(real[group], at),
        supported=supported,
        at_worst=worst_of({source: of.realised for source, of in left_out.items()}),
        realised=flags(test, at) if test else None,
        left_out=left_out,
        left_out_together=together(of.realised for of in left_out.values()),
        surpassing=[source for source, of in left_out.items() if of.surpasses],
    )


def held(real: Logits, test: Logits, asked: float) -> Held:
    """Calibrate on ``real``; count on ``test``."""
    at = {group: line for group, (line, _) in thresholds(real, asked, standing(real, asked)).items()}
    groups = {group: in_group(real, group, test[group], asked) for group, of in real.items() if of}
    tested = [(of.realised.value, of) for of in groups.values() if of.realised]
    return Held(
        stated=flagged(real, at),
        realised=flagged(test, at),
        left_out=together(of.left_out_together for of in groups.values()),
        by_group=groups,
        by_source={source: flagged(test, at, source) for source in sorted({source for of in test.values() for source in of})},
        kept=all(value <= of.stated.high for value, of in tested),
        within=all(of.stated.low <= value <= of.stated.high for value, of in tested),
        kept_at_worst=all(value <= (of.at_worst or of.stated).high for value, of in tested),
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
        real = {group: profiles.from_arrays(name, group, "real", bundle.statistics) for group in range(profile.groups)}
        test = gathered(rows, profile.deliveries, profile.groups)
        found[name] = {f"{asked:g}": held(real, test, asked) for asked in ASKED}
    write_result(options.output, Found(bundle=bundle.hash, profiles=found), [options.scores])
    for name, rates in found.items():
        for asked, of in rates.items():
            print(f"{name}, at most {asked} asked: stated {of.stated}, realised {of.realised}, {'kept' if of.kept else 'NOT kept'}")


if __name__ == "__main__":
    main()
