"""A run in plots: shares by generator and source, ROC where false alarms are few, and calibration. PNG, light or dark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from realgrain.detector.calibration import Rate, rate
from realgrain.measuring.finished import Finished
from realgrain.measuring.paper import DARK, LIGHT, plain, png
from realgrain.measuring.report_words import estimate
from realgrain.measuring.results import OWN, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 4.4  # inches: on the narrowest screens letters of 9 points are still read
DPI = 170
CURVES = 4  # conditions in one ROC plot
BINS = 10  # of the reliability diagram, equal in width
LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Plot:
    """The same plot on both papers.

    Attributes:
        alt: what it shows, for who does not see it.
    """

    title: str
    alt: str
    caption: str
    light: bytes
    dark: bytes


def plots(run: Finished) -> list[Plot]:
    """Those of ``run.first`` that the run has something for."""
    made = [_groups(run), _roc(run), _reliability(run)]
    return [plot for plot in made if plot is not None]


def both(title: str, alt: str, caption: str, draw: Callable[[dict[str, str]], Figure]) -> Plot:
    """A plot, drawn on each paper."""
    return Plot(title, alt, caption, png(draw(LIGHT)), png(draw(DARK)))


def sheet(theme: dict[str, str], high: float) -> Figure:
    """Paper to draw on, as wide as all plots are and as many inches high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDE, high), dpi=DPI, facecolor=theme["paper"], layout="constrained")


def dress(axes: Axes, theme: dict[str, str]) -> None:
    """Axes as all plots have them."""
    axes.set_facecolor(theme["paper"])
    axes.tick_params(colors=theme["ink"], labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=theme["ink"], fontsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme["rule"])
    axes.grid(color=theme["rule"], linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)


def legend(axes: Axes, theme: dict[str, str], *, above: bool = False) -> None:
    """What the lines are: where they leave room, or above them all."""
    axes.legend(
        fontsize=8,
        frameon=False,
        labelcolor=theme["ink"],
        loc="lower left" if above else "best",
        bbox_to_anchor=(0, 1.01) if above else None,
        borderaxespad=0 if above else None,
    )


def _groups(run: Finished) -> Plot | None:
    """Share judged rightly: of each generator's pictures, and of each real source's."""
    of = run.result
    rates: list[tuple[str, str, Rate | Estimate, int]] = []
    if of.recall_per_generator or of.fpr_per_source:
        at = OWN
        rates += [("fake", name, found, found.n) for name, found in of.recall_per_generator.items()]
        rates += [("real", name, _right(found), found.n) for name, found in of.fpr_per_source.items()]
    else:
        at = "a probability of 0.5"
        rates += [("fake", name, part.metrics["fake_accuracy_at_half"], part.n_fake) for name, part in of.generators.items()]
        rates += [("real", name, part.metrics["real_accuracy_at_half"], part.n_real) for name, part in of.real_sources.items()]
    rates = sorted((one for one in rates if one[2].value is not None), key=lambda one: (one[0], one[2].value or 0))
    if not rates:
        return None

    def draw(theme: dict[str, str]) -> Figure:
        figure = sheet(theme, 0.9 + 0.24 * len(rates))
        axes = figure.subplots()
        dress(axes, theme)
        for place, (label, _, found, _) in enumerate(rates):
            value = found.value or 0.0
            axes.barh(place, value, color=theme[label], height=0.62, alpha=0.75)
            axes.plot(value, place, "o", color=theme["ink"], markersize=3, clip_on=False)  # a share of 0 has no bar to see
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [place, place], color=theme["ink"], linewidth=1.4, solid_capstyle="butt")
        axes.set_yticks(range(len(rates)), [f"{plain(name, 26) or '(unnamed)'} ({n})" for _, name, _, n in rates])
        for tick, (label, *_) in zip(axes.get_yticklabels(), rates, strict=True):
            tick.set_color(theme[label])
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="share judged rightly")
        axes.grid(visible=False, axis="y")
        return figure

    words = "; ".join(f"{name or '(unnamed)'} {100 * (found.value or 0):.0f} %" for _, name, found, _ in rates)
    caption = f"At {at}; {run.first}. Bars: 95 % intervals; in brackets the number of pictures. Warm: generated; cold: real. Worst first."
    return both("By generator and by real source", f"Share judged rightly: {words}", caption, draw)


def _right(of: Rate) -> Rate:
    return Rate(k=of.n - of.k, n=of.n, value=1 - of.value, low=1 - of.high, high=1 - of.low)


def _roc(run: Finished) -> Plot | None:
    from sklearn.metrics import roc_curve

    names = [name for name in run.evaluation.conditions if run.evaluation.conditions[name].metrics["auc"].value is not None]
    names = [run.first, *(name for name in ("web", "hard", *names) if name in names and name != run.first)] if run.first in names else []
    names = list(dict.fromkeys(names))[:CURVES]
    if not names:
        return None
    curves = {}
    for name in names:
        scored = run.scored(name)
        curves[name] = roc_curve(scored.fake, scored.logit, drop_intermediate=False)[:2]
    finest = 1 / run.result.n_real

    def draw(theme: dict[str, str]) -> Figure:
        figure = sheet(theme, 3.5)
        axes = figure.subplots()
        dress(axes, theme)
        for (name, (fpr, tpr)), line in zip(curves.items(), LINES, strict=False):
            value = run.evaluation.conditions[name].metrics["auc"].value
            axes.step(
                np.maximum(fpr, finest / 2), tpr, where="post", color=theme["fake"], linestyle=line, linewidth=1.6, label=f"{name}, AUC {value:.3f}"
            )
        chance = np.geomspace(finest / 2, 1, 200)
        axes.plot(chance, chance, color=theme["soft"], linewidth=1, linestyle=(0, (1, 3)), label="chance")
        axes.axvline(finest, color=theme["soft"], linewidth=0.8)
        axes.set(xscale="log", xlim=(finest / 2, 1), ylim=(0, 1.01), xlabel="false-positive rate (logarithmic)", ylabel="share of generated found")
        axes.minorticks_off()
        legend(axes, theme)
        return figure

    words = "; ".join(f"{name} {estimate(run.evaluation.conditions[name].metrics['auc'])}" for name in names)
    caption = f"The thin upright line is one false alarm among the {run.result.n_real} real pictures; left of it is none at all."
    return both("ROC where false alarms are few", f"ROC curves; AUC of {words}", caption, draw)


def _reliability(run: Finished) -> Plot | None:
    scored = run.scored(run.first)
    known = np.isfinite(scored.probability)
    if not known.any():
        return None
    fake, chance = scored.fake[known], scored.probability[known]
    bins = np.minimum((chance * BINS).astype(int), BINS - 1)
    points = [(float(chance[bins == one].mean()), rate(fake[bins == one])) for one in range(BINS) if (bins == one).any()]

    def draw(theme: dict[str, str]) -> Figure:
        figure = sheet(theme, 4.0)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for axes in (above, below):
            dress(axes, theme)
        above.plot([0, 1], [0, 1], color=theme["soft"], linewidth=1, linestyle=(0, (1, 3)))
        for mean, of in points:
            above.plot([mean, mean], [of.low, of.high], color=theme["fake"], linewidth=1.4)
        above.plot([mean for mean, _ in points], [of.value for _, of in points], "o", color=theme["fake"], markersize=5)
        above.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="share that is generated")
        edges = np.linspace(0, 1, BINS + 1)
        below.hist([chance[~fake], chance[fake]], bins=edges, stacked=True, color=[theme["real"], theme["fake"]], label=["real", "generated"])
        below.set(xlabel="probability that the detector gives", ylabel="pictures")
        legend(below, theme)
        return figure

    figures = "; ".join(f"{mean:.2f}: {of.value:.2f} of {of.n}" for mean, of in points)
    ece, brier = (estimate(run.result.metrics[name]) for name in ("ece", "brier"))
    caption = f"ECE {ece}, Brier {brier}; {run.first}. On the dotted line a probability keeps its word; bars: exact 95 % intervals. "
    caption += f"{100 * fake.mean():.0f} % of these pictures are generated."
    return both("Does the probability keep its word?", f"Reliability: mean probability and share generated: {figures}", caption, draw)
