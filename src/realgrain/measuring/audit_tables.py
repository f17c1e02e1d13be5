"""Shows an audit as text tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from realgrain.measuring.audit_results import Alike, Audit, Check
from realgrain.measuring.results import Estimate

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

COLOURS = {"ok": "green", "warning": "yellow", "leak": "bold red", "not judged": "dim"}
SHOWN = 10  # groups of duplicates; the JSON has all


def render(found: Audit) -> RenderableType:
    """A row for each check, pictures by source and label, duplicates, what did not open, and the verdict in a sentence."""
    from rich.console import Group
    from rich.text import Text

    lists = [
        *_groups("the same bytes", found.duplicates),
        *_groups("nearly the same picture", found.near_duplicates),
        *(f"not read: {error}" for error in found.failed),
    ]
    return Group(_checks(found), _sources(found), *(Text(line) for line in lists), Text(conclusion(found)))


def conclusion(found: Audit) -> str:
    """The audit in a sentence."""
    if found.leaks:
        return f"leak: a detector could score on this set by {', '.join(found.leaks)}"
    if all(check.auc is None for check in found.checks):
        return "undecided: too few pictures, or one label only, to tell whether files give the label away; nothing else that was looked at leaks"
    unknown = [check.name for check in found.checks if check.verdict == "not judged"]
    return "ok: nothing that was looked at leaks the label" + (f"; not judged: {', '.join(unknown)}" if unknown else "")


def _checks(found: Audit) -> Table:
    from rich.table import Table
    from rich.text import Text

    rule = f"a leak: AUC surely above {found.bound:g}, of marks {found.mark_bound:g}; 95 % intervals from {found.resamples} resamples"
    title = f"{found.real} real and {found.fake} fake pictures ({rule})"
    table = Table("check", "verdict", "AUC", "on unseen sources", "what", title=title, title_justify="left")
    for check in found.checks:
        verdict = Text(check.verdict, style=COLOURS[check.verdict])
        table.add_row(check.name, verdict, _estimate(check.auc), _estimate(check.unseen), Text(_words(check)))
    return table


def _words(check: Check) -> str:
    return check.words if check.content is None else f"{check.words}; content alone: AUC {_estimate(check.content)}"


def _sources(found: Audit) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("source", "real", "fake", title="Pictures by source and label", title_justify="left")
    for source, counts in found.sources.items():
        table.add_row(Text(source or "(unnamed)"), str(counts["real"]), str(counts["fake"]))
    return table


def _groups(title: str, groups: Sequence[Alike]) -> list[str]:
    first = [
        *(one for one in groups if one.across_labels or one.across_splits),
        *(one for one in groups if not (one.across_labels or one.across_splits)),
    ]
    lines = [f"{title}: {', '.join(map(_named, one.pictures, one.labels, one.splits))}" for one in first[:SHOWN]]
    return lines + [f"{title}: and {len(groups) - SHOWN} more groups"] * (len(groups) > SHOWN)


def _named(path: str, label: str, split: str) -> str:
    return f"{path} ({label}{', ' if split else ''}{split})"


def _estimate(estimate: Estimate | None) -> str:
    return "–" if estimate is None or estimate.value is None else f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"
