"""Figures that others published, with what must be known to compare ours with them. Data of the package, in ``published.csv``."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from realgrain.measuring.benchmarks.card import Known

METRICS = {
    "accuracy": "percent of all pictures at threshold 0.5",
    "balanced_accuracy": "percent, mean of the two classes at threshold 0.5",
    "real_accuracy": "percent of real pictures at threshold 0.5",
    "fake_accuracy": "percent of fakes at threshold 0.5",
    "ap": "average precision, percent",
}


class Figure(BaseModel):
    """One published figure.

    Attributes:
        method: as publications call it.
        benchmark: name in the registry.
        set: of the benchmark; empty for a mean.
        mean: sets that a mean is over: ``all``, or a name of ``Card.means``, or in words what differs; empty for a single set.
        condition: ``clean``, or what was done to the pictures.
        metric: of ``METRICS``.
        value: percent, as published.
        deviation: over the sets, percentage points; None where not published.
        trained_on: in words; empty where not seen.
        convention: what else differs from the card's convention, in words.
        source: where the figure was seen.
        known: how surely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    benchmark: str
    set: str = ""
    mean: str = ""
    condition: str = "clean"
    metric: str
    value: float
    deviation: float | None = None
    trained_on: str = ""
    convention: str = ""
    source: str
    known: Known


def published(benchmark: str) -> tuple[Figure, ...]:
    """All figures on a benchmark, in the file's order: means before single sets, best first within a table."""
    return tuple(figure for figure in every() if figure.benchmark == benchmark)


@cache
def every() -> tuple[Figure, ...]:
    """All figures on all benchmarks."""
    text = files("realgrain.measuring.benchmarks").joinpath("published.csv").read_text("utf-8")
    return tuple(Figure.model_validate({name: value for name, value in row.items() if value}) for row in csv.DictReader(text.splitlines()))
