"""What each condition does to a run, or to several on the same axes: a plot for each family of conditions, and one of the deliveries side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from realgrain.measuring.finished import Finished
from realgrain.measuring.paper import plain
from realgrain.measuring.report_plots import Plot, both, dress, legend, sheet
from realgrain.measuring.report_words import estimate
from realgrain.measuring.results import OWN, Estimate
from realgrain.picture.conditions import CONDITIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILIES = {
    "jpeg": "JPEG quality",
    "webp": "WebP quality",
    "blur": "Gaussian blur, sigma in pixels",
    "noise": "Gaussian noise, sigma in 8-bit levels",
    "resize": "resized by",
    "resample": "shrunk by, and brought back",
    "crop": "centre crop, share of each side",
}
"""Conditions named by one of these and a number, as a curve from ``clean`` on; all others stand side by side."""
SIZED = "resize"  # the family in which clean is the number 1
METRICS = {"auc": "AUC", "balanced_accuracy_at_threshold": "balanced accuracy"}
INKS, MARKERS, LINES = ("fake", "real", "ink", "soft"), "osD^vP*", ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
NONE = Estimate(value=None)
Ticks = Sequence[tuple[str, str]]
"""What each place of the axis is called, and the condition that stands there."""


@dataclass(frozen=True)
class _Series:
    """A line of a plot: a figure by condition. ``place`` decides how it looks, so that no two of a few are told apart by colour alone."""

    title: str
    place: int
    figures: Mapping[str, Estimate]

    def at(self, ticks: Ticks) -> list[Estimate]:
        return [self.figures.get(name, NONE) for _, name in ticks]


def robustness(runs: Mapping[str, Finished]) -> list[Plot]:
    """A plot for each family of conditions, and one of those that are of none; nothing where there is only one condition, or no figure.

    Of one run AUC and balanced accuracy are drawn. Of several it is AUC, a line for each run: what readers compare lies in one plot, and the page
    does not grow with their number.

    Args:
        runs: by the name that each has on the page.
    """
    names = list(dict.fromkeys(name for run in runs.values() for name in run.evaluation.conditions))
    lines = [line for line in _lines(runs) if any(line.figures[name].value is not None for name in line.figures)]
    if not lines or len(names) < 2:
        return []
    families: dict[str, list[tuple[float, str]]] = {}
    alone = []
    for name in names:
        family, number = _family(name)
        if number is None:
            alone.append(name)
        else:
            families.setdefault(family, []).append((number, name))
    found = []
    order = {name: place for place, name in enumerate(CONDITIONS)}
    for family in (name for name in FAMILIES if name in families):
        members = sorted(families[family], key=lambda one: order.get(one[1], len(order)))
        ticks = [(f"{number:g}", name) for number, name in members]
        if "clean" in names:
            ticks = (
                sorted([*ticks, ("1 (clean)", "clean")], key=lambda one: float(one[0].split()[0]))
                if family == SIZED
                else [("clean", "clean"), *ticks]
            )
        found.append(_curve(FAMILIES[family], ticks, lines, joined=True))
    if len(alone) > 1:
        found.append(_curve("delivery", [(name, name) for name in alone], lines, joined=False))
    return found


def _lines(runs: Mapping[str, Finished]) -> list[_Series]:
    if len(runs) > 1:
        return [_Series(f"AUC of {name}", place, _figures(run, "auc")) for place, (name, run) in enumerate(runs.items())]
    return [_Series(words, place, _figures(run, metric)) for run in runs.values() for place, (metric, words) in enumerate(METRICS.items())]


def _figures(run: Finished, metric: str) -> dict[str, Estimate]:
    return {name: of.metrics[metric] for name, of in run.evaluation.conditions.items()}


def _family(condition: str) -> tuple[str, float | None]:
    match = re.fullmatch(r"([a-z]+)-(\d+(?:\.\d+)?)", condition)
    return (match[1], float(match[2])) if match and match[1] in FAMILIES else (condition, None)


def _curve(words: str, ticks: Ticks, lines: Sequence[_Series], *, joined: bool) -> Plot:
    def draw(theme: dict[str, str]) -> Figure:
        figure = sheet(theme, 3.1 + 0.16 * (len(lines) if len(lines) > len(METRICS) else 0))
        axes = figure.subplots()
        dress(axes, theme)
        for line in lines:
            of, colour = line.at(ticks), theme[INKS[line.place % len(INKS)]]
            aside = 0.16 * (line.place - (len(lines) - 1) / 2) * (2 / max(2, len(lines)))  # or one interval would hide another
            places = np.arange(len(ticks)) + aside
            axes.plot(
                places,
                [np.nan if one.value is None else one.value for one in of],
                marker=MARKERS[line.place % len(MARKERS)],
                linestyle=LINES[line.place % len(LINES)] if joined else "",
                color=colour,
                label=plain(line.title, 48),
                markersize=5,
            )
            for place, one in zip(places, of, strict=True):
                if one.low is not None and one.high is not None:
                    axes.plot([place, place], [one.low, one.high], color=colour, linewidth=1.2, alpha=0.8)
        axes.axhline(0.5, color=theme["soft"], linewidth=1, linestyle=(0, (1, 3)))
        long = max(len(tick) for tick, _ in ticks) * len(ticks) > 46
        axes.set_xticks(range(len(ticks)), [tick for tick, _ in ticks], rotation=60 if long else 0, ha="right" if long else "center")
        axes.set(xlabel=words, ylim=(None, 1.01), xlim=(-0.5, len(ticks) - 0.5))
        legend(axes, theme, above=len(lines) > len(METRICS))
        return figure

    values = "; ".join(
        f"{tick}: " + ", ".join(f"{line.title} {estimate(one)}" for line, one in zip(lines, of, strict=True))
        for (tick, _), *of in zip(ticks, *(line.at(ticks) for line in lines), strict=True)
    )
    own = f", each at {OWN}" if any(line.title == METRICS["balanced_accuracy_at_threshold"] for line in lines) else ""
    bars = "Bars: 95 % intervals; dotted" if any(one.low is not None for line in lines for one in line.at(ticks)) else "Dotted"
    return both(f"Robustness: {words}", values, f"{bars}: chance{own}.", draw)
