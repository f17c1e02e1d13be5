"""Shows runs as text tables: their verification, two of them side by side, all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realgrain.measuring.overview import COLUMNS, Overview, cells
from realgrain.measuring.paired_sets import OVER_SETS
from realgrain.measuring.pairing import Paired, PairedCondition, PairedRuns
from realgrain.measuring.verifying import Verification

if TYPE_CHECKING:
    from rich.console import RenderableType


def checks(found: Verification) -> RenderableType:
    """A row for each check, with its faults; below, the seed of the draw, and how this machine is another than the run's."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "", "what")
    for check in found.checks:
        table.add_row(check.name, "ok" if check.ok else "WRONG", Text("\n".join([check.detail, *check.faults])))
    drawn = Text(f"* pictures to score again were drawn with seed {found.seed}; --seed repeats it")
    return Group(table, drawn, *(Text(f"* not as in the run: {note}") for note in found.notes))


def pairs(found: PairedRuns) -> RenderableType:
    """A row for each condition and metric."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    a, b = found.a.bundle, found.b.bundle
    title = f"A: {a.name} {a.hash[:8]}, B: {b.name} {b.hash[:8]} (95 % intervals from {found.resamples} paired resamples)"
    table = Table("condition", "real", "fake", "metric", "A", "B", "B − A", "p", title=Text(title), title_justify="left")
    for name, of in found.conditions.items():
        for metric, paired in rows(of):
            table.add_row(Text(name), str(of.n_real), str(of.n_fake), metric, *_paired(paired))
    tests = "p of AUC: DeLong's test; of balanced accuracy, each at its own thresholds: an exact sign test of the decisions; of means: none"
    return Group(table, Text(tests), *(Text(f"* {note}") for note in found.notes))


def rows(of: PairedCondition) -> list[tuple[str, Paired | None]]:
    """Each figure of a condition, and what it is called."""
    means = [(f"mean of {words} over {of.n_sets} sets", of.over_sets.get(name)) for name, words in OVER_SETS.items() if of.n_sets]
    return [("AUC", of.auc), ("balanced accuracy", of.balanced_accuracy), *means]


def _paired(of: Paired | None) -> tuple[str, ...]:
    if of is None:
        return ("–",) * 4
    interval = "" if of.low is None or of.high is None else f" ({of.low:+.3f} to {of.high:+.3f})"
    return f"{of.a:.3f}", f"{of.b:.3f}", f"{of.difference:+.3f}{interval}", "–" if of.p is None else f"{of.p:.2g}"


def lines(found: Overview) -> RenderableType:
    """The ledger."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*COLUMNS)
    for line in found.lines:
        table.add_row(*(Text(cell) for cell in cells(line)))
    return table
