"""Runs as one HTML file: words, plots, worst errors, audit, published figures, lock file. It loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from realgrain.faces import page
from realgrain.measuring import peer_tables, peers, report_words, run_tables
from realgrain.measuring.audit_results import Audit
from realgrain.measuring.audit_tables import conclusion
from realgrain.measuring.finished import Finished
from realgrain.measuring.ledger import run_info
from realgrain.measuring.pairing import Paired, PairedRuns, PairingError, compare_runs
from realgrain.measuring.report_plots import Plot, plots
from realgrain.measuring.results import ConditionResult
from realgrain.measuring.robustness_plots import robustness
from realgrain.measuring.whole import write_whole
from realgrain.measuring.worst import Mistake, worst
from realgrain.picture.errors import printable

TABLE = {"auc": "AUC", "balanced_accuracy_at_threshold": "balanced accuracy", "tpr_at_1_fpr": "recall at 1 % FPR", "ece": "ECE"}
"""Figures of the table of conditions."""
MEANS = {"accuracy_at_half": "accuracy at 0.5", "balanced_accuracy_at_half": "balanced accuracy at 0.5", "ap": "AP"}
"""Figures whose mean over sets publications print."""
REAL_AND_GENERATORS = "one real accuracy and each generator's, at 0.5"
"""The convention of mAcc that is no mean over sets."""


@dataclass(frozen=True)
class Comparison:
    """Two runs, by their names and letters on the page, and how they compare, or why they do not."""

    first: str
    second: str
    sides: tuple[str, str]
    found: PairedRuns | None
    why: str


def write(runs: Sequence[Finished], roots: Sequence[Path | None], file: Path, resamples: int = 1000) -> None:
    """Write the page at once, or not at all.

    Args:
        runs: to show.
        roots: of the benchmark of each; None: its worst errors are named, not shown.
        file: to write.
        resamples: of the paired bootstrap between runs.
    """
    write_whole(file, render(runs, roots, run_info([]), resamples).encode())


def render(runs: Sequence[Finished], roots: Sequence[Path | None], info: dict[str, Any], resamples: int = 1000) -> str:
    """The page.

    Args:
        runs: to show, side by side where there are several.
        roots: of the benchmark of each, or None.
        info: of ``ledger.run_info``.
        resamples: of the paired bootstrap between runs.

    Raises:
        ValueError: a root is not that of its run's benchmark.
        OSError: it cannot be read.
    """
    names = _names(runs)
    drawn = _shown_plots(robustness(dict(zip(names, runs, strict=True))))
    parts = [_part(name, run, root) for name, run, root in zip(names, runs, roots, strict=True)]
    # one after the other, as they were given: a chain of n runs has n - 1 steps, all pairs would be a wall of tables
    pairs = [_compared((names[a], names[b]), (_letter(a), _letter(b)), (runs[a], runs[b]), resamples) for a, b in pairwise(range(len(runs)))]
    return page.fill(
        "run.html",
        parts=parts,
        robustness=drawn,
        pairs=pairs,
        run=info,
        figures=run_tables.rows,
        cells=paired_cells,
        estimate=report_words.estimate,
    )


def _names(runs: Sequence[Finished]) -> list[str]:
    """What each run is called on the page: its detector, and a letter where there are several."""
    shown = [f"{printable(run.lock.bundle.name, 60)} on {report_words.title(run)}" for run in runs]
    return shown if len(runs) == 1 else [f"{_letter(place)}: {name}" for place, name in enumerate(shown)]


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def _part(name: str, run: Finished, root: Path | None) -> dict[str, Any]:
    beside = peers.peers(run.lock, run.evaluation)
    return {
        "name": name,
        "summary": report_words.summary(run),
        "plots": _shown_plots(plots(run)),
        "metrics": TABLE,
        "means": {name: _means(of) for name, of in run.evaluation.conditions.items() if of.over_sets},
        "conditions": run.evaluation.conditions,
        "worst": {_titled(title, found): [_shown(one) for one in found] for title, found in worst(run, root).items()},
        "pictures": root is not None,
        "first": run.first,
        "audit": None if run.audit is None else _audit(run.audit),
        "peers": None if beside is None else _published(beside),
        "lock": run.lock.content().decode(),
        "sha256": run.lock.sha256,
    }


def _shown_plots(found: Sequence[Plot]) -> list[tuple[Plot, str, str]]:
    """Each with its URIs on light and dark paper."""
    return [(plot, page.uri(plot.light, "png"), page.uri(plot.dark, "png")) for plot in found]


def _means(of: ConditionResult) -> list[tuple[str, ...]]:
    """What is averaged, the mean, and of it the worst set, generator and real source."""
    kinds = (of.over_sets, of.over_generators, of.over_real_sources)
    rows = [
        (title, report_words.estimate(of.over_sets.get(name)), *(report_words.lowest(kind.get(name)) for kind in kinds))
        for name, title in MEANS.items()
    ]
    worst = (of.over_generators.get("fake_accuracy_at_half"), of.over_real_sources.get("real_accuracy_at_half"))
    third = report_words.estimate(of.macc.get("mean_of_real_and_generators_at_half"))
    return [*rows, (REAL_AND_GENERATORS, third, "–", *map(report_words.lowest, worst))]


def _titled(title: str, found: Sequence[Mistake]) -> str:
    wrong = sum(one.wrong for one in found)
    if wrong == len(found):
        return title
    return f"{title} ({wrong} of these {len(found)} are errors)" if wrong else f"{title} (none is an error)"


def _shown(one: Mistake) -> dict[str, Any]:
    chance = "" if one.probability is None else f", probability {one.probability:.2f}"
    kind = f"Generated picture by {printable(one.group, 60)}" if one.fake else f"Real picture from {printable(one.group, 60)}"
    return {
        "uri": None if one.pixels is None else page.thumbnail(one.pixels),
        "alt": f"{kind}, logit {one.logit:.2f}",
        "score": f"logit {one.logit:.2f}{chance}",
        "group": printable(one.group, 60),
        "path": printable(one.path, 120),
        "why": one.why,
        "wrong": one.wrong,
    }


def _audit(found: Audit) -> dict[str, Any]:
    return {
        "conclusion": conclusion(found),
        "checks": found.checks,
        "duplicates": len(found.duplicates),
        "near": len(found.near_duplicates),
    }


def _published(found: peers.Peers) -> dict[str, Any]:
    return {
        "title": found.benchmark,
        "means": peer_tables.means(found),
        "sets": [(peer_tables.title(of), *peer_tables.by_set(of)) for of in found.sets],
        "notes": peer_tables.notes(found),
    }


def _compared(names: tuple[str, str], sides: tuple[str, str], runs: tuple[Finished, Finished], resamples: int) -> Comparison:
    a, b = (run.folder for run in runs)
    try:
        return Comparison(*names, sides, compare_runs(a, b, resamples=resamples, sides=sides), "")
    except PairingError as error:
        return Comparison(*names, sides, None, str(error))


def paired_cells(of: Paired | None) -> list[str]:
    """A, B, their difference with its interval, p."""
    if of is None:
        return ["–"] * 4
    interval = "" if of.low is None or of.high is None else f" ({of.low:+.3f} to {of.high:+.3f})"
    return [f"{of.a:.3f}", f"{of.b:.3f}", f"{of.difference:+.3f}{interval}", "–" if of.p is None else f"{of.p:.2g}"]
