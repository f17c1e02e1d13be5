"""Draws what an ablation found: settings by delivery, and how they bear JPEG and blur. Figures alone, no plot window and no global state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from realgrain.measuring.results import Comparison, Measure
from realgrain.measuring.whole import whole

SHOWN = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}
FAMILIES = {"jpeg": "JPEG quality", "blur": "blur, sigma in pixels"}
"""Of conditions that a curve runs over -> what its axis counts."""
INK, OWN, GREY, FAINT = "#222222", "#1f5fa8", "#777777", "#cccccc"
DPI = 150
LETTERS = 12
"""Of a title, in an inch."""
WORDS = 60
"""Letters in a line of a setting's name."""
Row = Mapping[str, Comparison]
"""A setting: condition -> what it found there."""


def draw(found: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write PNG files, named after the protocol, and return their paths: settings by delivery, and, where there are such conditions, curves.

    All panels of a figure share the range of values, which is within 0 to 1 and holds 0.5, chance, and all that is drawn.

    Args:
        found: of ``realgrain.measuring.compare.compare``.
        folder: made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for protocol in dict.fromkeys(of.protocol for of in found):
        rows: dict[str, dict[str, Comparison]] = {}
        for of in found:
            if of.protocol == protocol:
                rows.setdefault(of.setting, {})[of.condition] = of
        name = re.sub(r"[^\w.-]+", "-", protocol)
        for kind, figure in (("deliveries", _deliveries(rows, protocol)), ("robustness", _robustness(rows, protocol))):
            if figure is not None:
                files.append(_saved(figure, folder / f"{name}-{kind}.png"))
    return files


def _deliveries(rows: Mapping[str, Row], protocol: str) -> Figure:
    """A panel for each metric and delivery, a line in it for each setting."""
    conditions = list(dict.fromkeys(name for row in rows.values() for name, of in row.items() if of.delivery))
    lines = max(fill(setting, WORDS).count("\n") + 1 for setting in rows)
    size = 4.5 + 2.3 * len(conditions), 1.7 + len(SHOWN) * (0.6 + max(0.3, 0.14 * lines) * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(SHOWN), len(conditions), sharex=True, sharey=True, squeeze=False)
    limits = _limits(row[name].metrics[metric] for row in rows.values() for name in conditions if name in row for metric in SHOWN)
    for (metric, title), line in zip(SHOWN.items(), panels, strict=True):
        for name, panel in zip(conditions, line, strict=True):
            _dots(panel, {setting: row[name] for setting, row in rows.items() if name in row}, list(rows), metric)
            panel.set(xlim=limits)
            panel.set_title(f"{title}, {name}", fontsize=9)
    base = (
        " Dashed: the baseline's mean; paired differences from it are in comparison.json."
        if any(of.baseline for row in rows.values() for of in row.values())
        else ""
    )
    _titled(figure, protocol, rows, f"Dot: mean over left-out folds and seeds. Circle: one seed. Dotted: chance.{base}")
    return figure


def _dots(panel: Axes, found: Row, settings: list[str], metric: str) -> None:
    panel.axvline(0.5, color=FAINT, linestyle=":")
    for setting, of in found.items():
        place, measure = settings.index(setting), of.metrics[metric]
        colour = INK if of.baseline else OWN
        if of.baseline:
            panel.axvline(measure.value, color=GREY, linestyle="--", linewidth=0.8)
        if measure.low is not None and measure.high is not None:
            panel.plot([measure.low, measure.high], [place, place], color=colour, linewidth=1.4, solid_capstyle="butt")
        panel.plot(measure.value, place, "o", color=colour, markersize=6)
        panel.plot(list(measure.seeds.values()), [place + 0.25] * len(measure.seeds), "o", mfc="none", mec=colour, markersize=3, mew=0.8)
    panel.set_yticks(range(len(settings)), [fill(setting + _mark(found.get(setting)), WORDS) for setting in settings], fontsize=8)
    panel.set_ylim(len(settings) - 0.4, -0.6)
    panel.grid(axis="x", color=FAINT, linewidth=0.4)


def _robustness(rows: Mapping[str, Row], protocol: str) -> Figure | None:
    """A line of panels for each setting, the baseline in grey behind it."""
    families = {family: levels for family in FAMILIES if len(levels := _levels(rows, family)) > 1}
    rows = {setting: row for setting, row in rows.items() if any(name in row for levels in families.values() for name in levels)}
    if not rows:
        return None
    columns = [(metric, family) for metric in SHOWN for family in families]
    figure = Figure(figsize=(1.0 + 3.0 * len(columns), 1.4 + 1.9 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), len(columns), sharey=True, sharex="col", squeeze=False)
    limits = _limits(row[name].metrics[m] for row in rows.values() for m, family in columns for name in families[family] if name in row)
    base = next((row for row in rows.values() if any(of.baseline for of in row.values())), None)
    for (setting, row), line in zip(rows.items(), panels, strict=True):
        for (metric, family), panel in zip(columns, line, strict=True):
            panel.axhline(0.5, color=FAINT, linestyle=":")
            if base is not None and base is not row:
                _curve(panel, base, families[family], metric, GREY)
            _curve(panel, row, families[family], metric, INK if row is base else OWN)
            panel.set(ylim=limits)
            panel.grid(color=FAINT, linewidth=0.4)
        mark = _mark(next(iter(row.values())))
        line[0].set_ylabel(fill(setting + mark, 28), fontsize=7)
    for (metric, family), top, bottom in zip(columns, panels[0], panels[-1], strict=True):
        top.set_title(SHOWN[metric])
        bottom.set_xlabel(FAMILIES[family])
        bottom.set_xticks(list(families[family].values()))
        if family == "jpeg":
            bottom.invert_xaxis()  # harder to the right, as for blur
    grey = " Grey: the baseline." if base is not None else ""
    _titled(figure, protocol, rows, f"Mean over left-out folds and seeds. Dotted: chance.{grey}")
    return figure


def _curve(panel: Axes, row: Row, levels: Mapping[str, float], metric: str, colour: str) -> None:
    known = [(level, row[name].metrics[metric]) for name, level in levels.items() if name in row]
    panel.plot([level for level, _ in known], [of.value for _, of in known], "o-", color=colour, markersize=3, linewidth=1.2)
    for level, of in known:
        if of.low is not None and of.high is not None:
            panel.plot([level, level], [of.low, of.high], color=colour, linewidth=0.9, solid_capstyle="butt")


def _levels(rows: Mapping[str, Row], family: str) -> dict[str, float]:
    """Conditions of a family, such as ``jpeg-80``, with their number, in its order."""
    names = {name for row in rows.values() for name in row if name.startswith(f"{family}-")}
    return dict(sorted(((name, float(name.removeprefix(f"{family}-"))) for name in names), key=lambda level: level[1]))


def _limits(measures: Iterator[Measure]) -> tuple[float, float]:
    values = [0.5]
    for of in measures:
        values += [value for value in (of.value, of.low, of.high, *of.seeds.values()) if value is not None]
    return max(-0.02, min(values) - 0.03), min(1.02, max(values) + 0.03)


def _mark(found: Comparison | None) -> str:
    return " *" if found is not None and found.notes else ""


def _titled(figure: Figure, protocol: str, rows: Mapping[str, Row], words: str) -> None:
    every = [of for row in rows.values() for of in row.values()]
    bars = " Bar: 95 % bootstrap interval over test pictures." if any(m.low is not None for of in every for m in of.metrics.values()) else ""
    parts = [f"{protocol}: settings on left-out sources", words + bars]
    if any(of.notes for of in every):
        parts.append("* Some runs have no scores or no pair: left out of the bars; comparison.json names them.")
    wide = int(figure.get_figwidth() * LETTERS)
    figure.suptitle("\n".join(fill(part, wide) for part in parts), fontsize=9, color=INK)


def _saved(figure: Figure, file: Path) -> Path:
    """At once, or not at all."""
    with whole(file) as scratch:
        figure.savefig(scratch, format="png", dpi=DPI, facecolor="white")
    return file
