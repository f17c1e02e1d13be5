"""Shows published figures beside ours, as tables of text and as what other tables are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realgrain.measuring.peers import OfSets, Pair, Peer, Peers

if TYPE_CHECKING:
    from rich.console import RenderableType

NONE = "–"
COLUMNS = ("method", "pictures", "accuracy", "ours", "real / fake", "ours", "AP", "ours", "trained on", "differs")
FIGURES = range(2, 8, 2)
"""Places among them of theirs; ours is next to it."""


def as_tables(found: Peers) -> RenderableType:
    """A row for each method, then one for each set that has published figures, and below what must be known to compare."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def table(title: str, heads: list[str], rows: list[list[str]]) -> Table:
        made = Table(title=Text(title), title_justify="left")
        for head in heads:
            made.add_column(Text(head))
        for row in rows:
            made.add_row(*(Text(cell) for cell in row))
        return made

    tables = [table(f"Published on {found.benchmark}, mean over sets in percent, and this run", *means(found))] if found.peers else []
    tables += [table(title(of), *by_set(of)) for of in found.sets]
    return Group(*tables, *(Text(f"* {line}") for line in notes(found)))


def means(found: Peers) -> tuple[list[str], list[list[str]]]:
    """Headings and a row for each method, of ``COLUMNS`` but those of figures that none has."""
    rows = [_cells(peer) for peer in found.peers]
    empty = {place + ours for place in FIGURES if all(row[place] == NONE for row in rows) for ours in (0, 1)}
    kept = [place for place in range(len(COLUMNS)) if place not in empty]
    return [COLUMNS[place] for place in kept], [[row[place] for place in kept] for row in rows]


def title(of: OfSets) -> str:
    """Of a table of single sets."""
    metric = "AP" if of.metric == "ap" else of.metric.replace("_", " ")
    return f"Published on single sets{'' if of.condition == 'clean' else f', {of.condition}'}: {metric} in percent, and this run"


def by_set(of: OfSets) -> tuple[list[str], list[list[str]]]:
    """Headings and a row for each set: its name, ours, and that of each method."""
    rows = [
        [name, _ours(ours), *(_theirs(peer.theirs[name]) if name in peer.theirs else NONE for peer in of.peers)] for name, ours in of.ours.items()
    ]
    return ["set", "ours", *(peer.method for peer in of.peers)], rows


def notes(found: Peers) -> list[str]:
    """What stands below such tables."""
    alike: dict[str, dict[str, None]] = {}
    for peer in (peer for of in found.sets for peer in of.peers):
        words = "; ".join([f"trained on {peer.trained_on}" if peer.trained_on else "what it was trained on was not seen", *peer.differs])
        alike.setdefault(words, {})[peer.method] = None
    single = [f"On single sets, {', '.join(methods)}: {words}." for words, methods in alike.items()]
    return [*found.convention, *single, *([f"{found.more} more published means are left out."] if found.more else [])]


def _cells(peer: Peer) -> list[str]:
    figures = [*_both(peer.main), *_classes(peer.real, peer.fake), *_both(peer.ap)]
    return [peer.method, peer.condition, *figures, peer.trained_on or "not seen", "; ".join(peer.differs)]


def _both(pair: Pair | None) -> tuple[str, str]:
    if pair is None:
        return NONE, NONE
    spread = "" if pair.deviation is None else f" ± {pair.deviation:.1f}"
    kind = " (balanced)" if pair.metric == "balanced_accuracy" else ""
    worst = "" if pair.worst is None else f" (worst {_ours(pair.worst_value)}, {pair.worst})"
    return f"{_theirs(pair.theirs)}{spread}{kind}", f"{_ours(pair.ours)}{worst}"


def _classes(real: Pair | None, fake: Pair | None) -> tuple[str, str]:
    if real is None and fake is None:
        return NONE, NONE
    (real_theirs, real_ours), (fake_theirs, fake_ours) = _both(real), _both(fake)
    return f"{real_theirs} / {fake_theirs}", f"{real_ours} / {fake_ours}"


def _theirs(value: float) -> str:
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"


def _ours(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"
