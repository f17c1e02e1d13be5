"""Monitoring on paper: each signal by day, and below the same days how strong the evidence for a change is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realgrain.measuring.drift_results import Drift, Signal, Spread
from realgrain.measuring.paper import plain, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, BAND, ALARM = "#1b1f24", "#4477aa", "#bb3311"
MARKS = "osv^D<>pP*Xh"  # one for each category, so that they differ without colour
TICKS = 12  # days named below a plot


def draw(found: Drift) -> bytes:
    """A PNG with a row for each signal: on the left its distribution (median and the middle 50 % and 90 %, or shares), on the right the evidence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.5 * len(found.signals) + 0.8), dpi=110, layout="constrained")
    days = [day.day for day in found.days]
    for (left, right), signal in zip(figure.subplots(len(found.signals), 2, squeeze=False), found.signals, strict=True):
        _distribution(left, signal, len(found.reference))
        _evidence(right, signal, len(found.reference), found.log10_alarm)
        for axes in (left, right):
            _days(axes, days)
    figure.suptitle(
        f"Dotted: the reference window. A line is crossed by chance with a probability of at most {found.alpha:g}, all days and signals together",
        fontsize=10,
    )
    return png(figure)


def _distribution(axes: Axes, signal: Signal, reference: int) -> None:
    days = [(place, day.spread) for place, day in enumerate(signal.days, reference) if day.spread.n]
    places, spreads = [place for place, _ in days], [spread for _, spread in days]
    axes.set_title(f"{signal.name}: {'no alarm' if signal.alarm is None else f'alarm on {plain(signal.alarm)}'}", fontsize=9, loc="left")
    axes.set_ylabel(signal.unit, fontsize=8)
    axes.axvspan(-0.5, reference - 0.5, color="0.93")
    if signal.reference.shares:
        for mark, name in zip(MARKS, signal.reference.shares, strict=False):
            axes.plot(places, [spread.shares[name] for spread in spreads], marker=mark, ms=4, lw=1, label=plain(name))
            axes.hlines(signal.reference.shares[name], -0.5, reference - 0.5, color=INK, lw=0.8, ls=":")
        axes.legend(fontsize=7, ncols=3, frameon=False)
        return
    for low, high, alpha in (("5", "95", 0.2), ("25", "75", 0.4)):
        axes.fill_between(places, _at(spreads, low), _at(spreads, high), color=BAND, alpha=alpha, lw=0)
        axes.hlines([signal.reference.quantiles[q] for q in (low, high)], -0.5, reference - 0.5, color=INK, lw=0.8, ls=":")
    axes.plot(places, _at(spreads, "50"), color=INK, marker="o", ms=3, lw=1)
    axes.hlines(signal.reference.quantiles["50"], -0.5, reference - 0.5, color=INK, lw=1.2, ls=":")


def _at(spreads: list[Spread], quantile: str) -> list[float]:
    return [spread.quantiles[quantile] for spread in spreads]


def _evidence(axes: Axes, signal: Signal, reference: int, bar: float) -> None:
    places = range(reference, reference + len(signal.days))
    axes.axvspan(-0.5, reference - 0.5, color="0.93")
    axes.plot(places, [day.log10_evidence for day in signal.days], color=INK, marker="o", ms=3, lw=1)
    axes.axhline(bar, color=ALARM, lw=1, ls="--")
    axes.annotate("alarm", (1, bar), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7, color=ALARM)
    axes.set_ylabel("evidence, log10", fontsize=8)


def _days(axes: Axes, days: list[str]) -> None:
    step = -(-len(days) // TICKS)
    axes.set_xlim(-0.5, len(days) - 0.5)
    axes.set_xticks(range(0, len(days), step), [plain(day[-24:]) for day in days[::step]], rotation=30, ha="right", fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
