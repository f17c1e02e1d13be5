"""Reports for people and for scripts, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from textwrap import fill
from typing import TYPE_CHECKING, TypeVar

from realgrain.detector.bundle import Card
from realgrain.detector.calibration import Rate
from realgrain.detector.verdict import Report

if TYPE_CHECKING:
    from rich.console import Console

Item = TypeVar("Item")
WIDE = 10_000  # columns; where no terminal sets a width, a line is a line, so that grep works
WORDS = {"ai": "AI-generated", "camera": "camera", "unsure": "unsure"}
WHY = {
    "near_threshold": "between thresholds",
    "too_small": "picture too small",
    "uncalibrated": "no calibration",
    "unstable": "changes with a re-save",
    "out_of_domain": "not like the pictures it was validated on",
}


def progress(items: Iterable[Item], total: int, doing: str) -> Iterator[Item]:
    """Pass items through, with a progress bar on stderr if that is a terminal and there is more than one."""
    if total < 2 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=doing, total=total, console=Console(stderr=True), transient=True)


def console() -> Console:
    """Standard output for tables and text."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE)


class JsonLines:
    """One report a line on stdout, as soon as it is there."""

    def add(self, report: Report) -> None:
        """Print a report."""
        print(report.model_dump_json(), flush=True)

    def close(self) -> None:
        """Nothing is left to print."""


class Table:
    """A line for each picture, and below them what the verdicts mean."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._reports: list[Report] = []

    def add(self, report: Report) -> None:
        """Keep a report for the table."""
        self._reports.append(report)

    def close(self) -> None:
        """Print the table."""
        if not self._reports:
            return
        from rich.table import Table as Grid
        from rich.text import Text

        looked = [report.evidence for report in self._reports if report.evidence is not None]
        columns = ["picture", "verdict", "probability of AI", *(["what the file says of itself"] if looked else [])]
        grid = Grid(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for report in self._reports:
            why = ", ".join(WHY[reason] for reason in report.verdict.reasons)
            words = WORDS[report.verdict.label] + (f": {why}" if why else "")
            chance = "-" if report.probability is None else f"{report.probability:.2f}"
            says = [] if report.evidence is None else [Text(report.evidence.brief() or "nothing", overflow="fold")]
            grid.add_row(Text(report.picture.name, overflow="fold"), words, chance, *says)
        out = console()
        out.print(grid)
        for words in (explain(self._card), *dict.fromkeys(evidence.caution for evidence in looked)):
            out.print("\n" + fill(words, min(out.width, 100)), markup=False, highlight=False)


def explain(card: Card) -> str:
    """What the verdicts of a detector mean, with its measured error rates, in plain words."""
    point = card.operating_point
    if point is None:
        return f"{card.name} is not calibrated: it gives no verdicts."
    flagged, missed = point.false_positive, point.missed
    return (
        f"'AI-generated' is said from a threshold that flagged {_share(flagged)} of {flagged.n} real validation photographs; at the threshold for "
        f"'camera', {_share(missed)} of {missed.n} generated validation pictures passed as photographs (95 % intervals; sources unseen in training; "
        f"the worst of {', '.join(point.deliveries)}). Between the two the verdict is 'unsure'. The probability supposes that both kinds are equally "
        "likely beforehand."
    )


def _share(rate: Rate) -> str:
    return f"{rate.value:.1%} [{rate.low:.1%} to {rate.high:.1%}]"
