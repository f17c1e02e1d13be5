"""Draws a clip over time: its frames' probabilities, the borders of its scenes, and where pictures are called unsure."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from realgrain.detector.calibration import probability
from realgrain.detector.clips import ClipReport
from realgrain.detector.decision import Decision
from realgrain.measuring.whole import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, OWN, GREY, FAINT = "#222222", "#1f5fa8", "#777777", "#cccccc"
DPI = 150
LETTERS = 118  # in a line of text


def draw(report: ClipReport, file: Path) -> None:
    """Write a PNG file, at once or not at all."""
    figure = figure_of(report)
    with whole(file) as scratch:
        figure.savefig(scratch, format="png", dpi=DPI, facecolor="white")


def figure_of(report: ClipReport) -> Figure:
    """Probability over seconds, or the logit where there is no scale; the band of pictures' ``unsure`` is hatched, scenes are numbered."""
    from matplotlib.figure import Figure

    scaled = report.frames[0].probability is not None
    times = [frame.time for frame in report.frames]
    values = [frame.logit if frame.probability is None else frame.probability for frame in report.frames]
    figure = Figure(figsize=(9, 4), layout="constrained")
    panel = figure.subplots()
    panel.plot(times, values, "o-", color=OWN, markersize=5, linewidth=1.1)
    low, high = _band(report.pictures) if scaled else (None, None)
    if high is not None:
        panel.axhspan(0 if low is None else low, high, facecolor="none", edgecolor=FAINT, hatch="///", linewidth=0)
        panel.axhline(high, color=GREY, linestyle="--", linewidth=0.9)
    if low is not None:
        panel.axhline(low, color=GREY, linestyle="--", linewidth=0.9)
    for scene in report.scenes:
        if scene.start:
            panel.axvline(scene.start, color=INK, linestyle=":", linewidth=0.9)
    if len(report.scenes) <= 2 * len(report.frames):  # beyond that nobody can read them
        for scene in report.scenes:
            middle = (scene.start + scene.end) / 2
            panel.annotate(str(scene.scene), (middle, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8, color=INK)
    panel.set(xlim=(0, report.clip.seconds), xlabel="seconds", ylabel="probability of AI, as a picture" if scaled else "logit")
    if scaled:
        panel.set(ylim=(-0.03, 1.03))
    band = " Hatched: where a picture would be called unsure." if high is not None else ""
    title = [report.clip.name.replace("$", r"\$"), f"Dotted: borders of scenes, whose numbers stand above.{band}", f"{report.sentence}."]
    figure.suptitle("\n".join(fill(line, LETTERS) for line in title) + "\n", fontsize=8, color=INK)
    return figure


def _band(pictures: Decision) -> tuple[float | None, float | None]:
    """Probabilities between which a picture is called unsure; the lower one is None where none is called a photograph."""
    if pictures.calibration is None or pictures.ai is None:
        return None, None
    ends = probability(pictures.calibration, np.array([-np.inf if pictures.camera is None else pictures.camera, pictures.ai]))
    return None if pictures.camera is None else float(ends[0]), float(ends[1])
