"""Reports for people and for scripts, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from textwrap import fill
from typing import TYPE_CHECKING, TypeVar

from realgrain.detector.clips import ClipReport
from realgrain.detector.decision import Decision, in_group, interval, of_real, shortfall, worth
from realgrain.detector.verdict import FRAMED, WHY, Report

if TYPE_CHECKING:
    from rich.console import Console

    from realgrain.evidence.claims import Evidence

Item = TypeVar("Item")
WIDE = 10_000  # columns; where no terminal sets a width, a line is a line, so that grep works
NOTES = 10  # on what files say of themselves that a table shows (our choice)
WORDS = {"ai": "AI-generated", "camera": "camera", "unsure": "unsure"}


def progress(items: Iterable[Item], total: int, doing: str) -> Iterator[Item]:
    """Pass items through, with a progress bar on stderr if that is a terminal and there is more than one."""
    if total < 2 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=doing, total=total, console=Console(stderr=True), transient=True)


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """Say on stderr what takes its time, while it does, if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(doing):
        yield


def console() -> Console:
    """Standard output for tables and text."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE)


class JsonLines:
    """One report a line on stdout, as soon as it is there."""

    def add(self, report: Report | ClipReport) -> None:
        """Print a report."""
        print(report.model_dump_json(), flush=True)

    def close(self) -> None:
        """Nothing is left to print."""


class Table:
    """A line for each picture, and below them what the verdicts mean; then each clip, with a line for each frame."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reports: list[Report] = []
        self._clips: list[ClipReport] = []

    def add(self, report: Report | ClipReport) -> None:
        """Keep a report for the table."""
        if isinstance(report, ClipReport):
            self._clips.append(report)
        else:
            self._reports.append(report)

    def close(self) -> None:
        """Print the tables."""
        self._pictures()
        for number, report in enumerate(self._clips):
            if number or self._reports:
                print()
            _clip(report)

    def _pictures(self) -> None:
        if not self._reports:
            return
        from rich.table import Table as Grid
        from rich.text import Text

        prior = next((report.posterior.prior for report in self._reports if report.posterior), None)
        looked = [report.evidence for report in self._reports if report.evidence is not None]
        columns = ["picture", "verdict", "probability of AI"]
        ratio = next((report.fused.ratio for report in self._reports if report.fused), None)
        columns += [] if prior is None else [f"with a prior of {prior:g}"]
        columns += [] if ratio is None else ["fused with trusted claims"]
        columns += ["what the file says of itself"] if looked else []
        grid = Grid(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for report in self._reports:
            why = ", ".join(WHY[reason] for reason in report.verdict.reasons)
            words = WORDS[report.verdict.label] + (f": {why}" if why else "")
            scale = report.decision.calibration
            chance = "-" if report.probability is None else f"{report.probability:.2f}{', tells nothing' if scale and scale.flat else ''}"
            after = [] if prior is None else ["-" if report.posterior is None else f"{report.posterior.probability:.2g}"]
            after += [] if ratio is None else ["-" if report.fused is None else f"{report.fused.probability:.2g}"]
            says = [] if report.evidence is None else [Text(_says(report.evidence), overflow="fold")]
            grid.add_row(Text(report.picture.name, overflow="fold"), words, chance, *after, *says)
        out = console()
        out.print(grid)
        decisions = list({report.decision.group: report.decision for report in self._reports}.values())
        notes = [explain(self._name, decisions), *dict.fromkeys(evidence.caution for evidence in looked)]
        if len(self._reports) == 1:
            notes.insert(0, f"{self._reports[0].picture.name}: {self._reports[0].sentence}.")
        elif framed := [report.picture.name for report in self._reports if report.borders and report.borders.outside]:
            notes.append(f"{_several(framed)}: {FRAMED}.")
        if prior is not None and (shown := self._reports[0].posterior):
            notes.append(f"The prior in odds, for {self._reports[0].picture.name}: {shown.arithmetic}.")
        if fused := next((report.fused for report in self._reports if report.fused), None):
            notes.append(fused.rule)
        notes += [f"Fused, for {report.picture.name}: {report.fused.arithmetic}." for report in self._reports if report.fused and report.fused.says]
        for note in [*notes, *_unread(self._reports)]:
            out.print("\n" + fill(note, min(out.width, 100)), markup=False, highlight=False)


def _says(evidence: Evidence) -> str:
    return evidence.brief() or ("nothing that was read: see the notes" if evidence.notes else "nothing")


def _several(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _unread(reports: Sequence[Report]) -> Iterator[str]:
    """What was not read, or not believed, of what files say of themselves: each note once, with the first files that it is of."""
    files: dict[str, list[str]] = {}
    for report in reports:
        for note in report.evidence.notes if report.evidence else ():
            files.setdefault(note, []).append(report.picture.name)
    for note, names in islice(files.items(), NOTES):
        yield f"Note, {_several(names)}: {note}."
    if len(files) > NOTES:
        yield f"There are {len(files) - NOTES:,} further notes: --json has them all."


def _clip(report: ClipReport) -> None:
    """A clip: its verdict, a line for each frame, and what it means."""
    from rich.table import Table as Grid
    from rich.text import Text

    facts, out = report.clip, console()
    why = ", ".join(WHY[reason] for reason in report.verdict.reasons)
    size = f"{facts.seconds:.1f} s, {len(report.scenes)} scene{'' if len(report.scenes) == 1 else 's'}, {facts.codec} {facts.width} x {facts.height}"
    out.print(Text(f"{facts.name} ({size}): {WORDS[report.verdict.label]}{f': {why}' if why else ''}"))
    grid = Grid("time", "scene", "probability of AI, as a picture", "logit", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for frame in report.frames:
        chance = "-" if frame.probability is None else f"{frame.probability:.2f}"
        grid.add_row(f"{frame.time:.2f} s", str(frame.scene), chance, f"{frame.logit:.2f}")
    out.print(grid)
    notes = [f"{report.sentence}.", *(f"{note}." for note in facts.notes)]
    if left := [scene for scene in report.scenes if not scene.frames]:
        notes.append(f"{len(left)} scene{'' if len(left) == 1 else 's'} not looked at: there are more scenes than frames to look at.")
    for note in notes:
        out.print("\n" + fill(note[0].upper() + note[1:], min(out.width, 100)), markup=False, highlight=False)


def explain(name: str, decisions: Sequence[Decision]) -> str:
    """What the verdicts of a detector mean, with its measured error rates, in plain words; those differ by group of content alone."""
    decision = decisions[0]
    if all(of.false_positive is None for of in decisions):
        return f"{shortfall(decision) or f'{name} is not calibrated: it gives no verdicts'}."
    among = f"'AI-generated' is said from a threshold: {'; '.join(of_real(of) + worth('ai', of) for of in decisions)}. "
    if decision.held_fpr is not None:
        among += "The upper end of an interval holds for new pictures drawn as the calibration ones were. "
    missed = [
        f"{interval(of.missed)} of generated pictures{in_group(of)} pass as photographs, n = {of.missed.n:,}{worth('camera', of)}"
        for of in decisions
        if of.missed
    ]
    if missed:
        among += f"'camera' is said below another, where {'; '.join(missed)}. "
    where = f"Intervals are 95 %; rates are the worst of {', '.join(decision.deliveries)}. Between the two the verdict is 'unsure'. "
    scale = "" if decision.calibration is None else "The probability supposes that both kinds are equally likely beforehand. "
    flat = [in_group(of).removeprefix(", ") or "here" for of in decisions if of.calibration is not None and of.calibration.flat]
    if flat:
        scale += f"It is 0.50 whatever the logit is where this did not tell generated pictures from photographs: {', '.join(flat)}."
    return (among + where + scale).strip()
