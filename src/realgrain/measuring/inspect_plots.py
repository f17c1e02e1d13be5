"""Clouds of features on paper: their principal components and their neighbourhoods (t-SNE), real pictures in cold hues, generated ones in warm."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realgrain.learning.problem import Problem
from realgrain.measuring.inspect import group_names, standardise
from realgrain.measuring.paper import DARK, LIGHT, plain, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLD, WARM = (0.42, 0.74), (-0.09, 0.14)  # ranges of hue, in turns: green to violet, pink to amber
MOST = 8  # groups of a label that get a colour of their own; smaller ones share one
REST = "others"


def project(features: NDArray[np.floating], *, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Features (N, D), N at least 4, in the plane: (N, 2) by the name of the projection, its axes' share of the variance in that name."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = standardise(features)
    components = PCA(2, svd_solver="full").fit(points)
    first, second = components.explained_variance_ratio_
    perplexity = min(30.0, (len(points) - 1) / 3)  # 30 as van der Maaten and Hinton 2008 advise, and what few points allow
    # exact: the approximate one runs threads of its own, which crashed once beside torch's; it is quick enough for some thousands of pictures
    near = TSNE(2, perplexity=perplexity, metric="cosine", init="random", method="exact", random_state=seed).fit_transform(points)
    return {f"Principal components ({first:.0%} and {second:.0%} of the variance)": components.transform(points), "t-SNE (cosine)": near}


def legend_groups(problem: Problem) -> dict[tuple[bool, str], NDArray[np.bool_]]:
    """Pictures (N,) of each (fake, name): real sources, then generators, the largest first; of many, the smallest together."""
    made, source, fake = group_names(problem), problem.source, problem.fake
    groups: dict[tuple[bool, str], NDArray[np.bool_]] = {}
    for label, names in ((False, source), (True, made)):
        mine = fake == label
        found, counts = np.unique(names[mine], return_counts=True)
        ranked = [str(found[row]) for row in np.lexsort((found, -counts))]
        own = ranked if len(ranked) <= MOST else ranked[: MOST - 1]
        groups |= {(label, name): mine & (names == name) for name in own}
        if len(own) < len(ranked):
            groups[label, REST] = mine & ~np.isin(names, own)
    return groups


def colours(groups: dict[tuple[bool, str], NDArray[np.bool_]], *, dark: bool) -> dict[tuple[bool, str], tuple[float, float, float]]:
    """RGB, 0 to 1, of each group: hues spread over its label's range, alternately lighter and darker."""
    found = {}
    for label, (low, high) in ((False, COLD), (True, WARM)):
        mine = [group for group in groups if group[0] == label]
        for place, group in enumerate(mine):
            lightness = (0.74, 0.56)[place % 2] if dark else (0.34, 0.55)[place % 2]
            found[group] = colorsys.hls_to_rgb((low + (high - low) * place / max(len(mine) - 1, 1)) % 1, lightness, 0.75)
    return found


def draw(planes: dict[str, NDArray[np.float64]], problem: Problem, *, title: str = "", dark: bool = False, tall: bool = False) -> bytes:
    """A PNG of projections, one panel each, with a legend.

    Args:
        planes: of ``project``.
        problem: the pictures, in the same order.
        title: above all.
        dark: light ink on dark paper.
        tall: panels below each other, for narrow screens.
    """
    from matplotlib.figure import Figure

    theme, groups = DARK if dark else LIGHT, legend_groups(problem)
    hue = colours(groups, dark=dark)
    rows, columns = (len(planes), 1) if tall else (1, len(planes))
    legend = -(-len(groups) // (2 if tall else 4)) * 0.23 + 0.25  # inches
    figure = Figure(figsize=(5.4 * columns, 4.9 * rows + legend), dpi=130, facecolor=theme["paper"], layout="constrained")
    for axes, (name, points) in zip(figure.subplots(rows, columns, squeeze=False).ravel(), planes.items(), strict=True):
        for (fake, group), mine in groups.items():
            axes.scatter(
                *points[mine].T,
                s=26 if fake else 20,
                marker="^" if fake else "o",
                color=[hue[fake, group]],
                alpha=0.8,
                linewidths=0.4,
                edgecolors=theme["paper"],
                label=f"{'generated' if fake else 'real'}: {plain(group)} ({mine.sum()})",
            )
        _dress(axes, name, theme)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    box = figure.legend(handles, labels, loc="outside lower center", ncols=2 if tall else 4, frameon=False, fontsize=8, labelcolor=theme["ink"])
    box.set_in_layout(True)
    if title:
        figure.suptitle(plain(title), color=theme["ink"], fontsize=11)
    return png(figure)


def _dress(axes: Axes, name: str, theme: dict[str, str]) -> None:
    """Without numbers: the scale of a projection means nothing."""
    axes.set_title(name, color=theme["ink"], fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(theme["paper"])
    for spine in axes.spines.values():
        spine.set_color(theme["rule"])
