"""Features of labelled pictures, as fitting a head and measuring it need them: of pictures at hand, or of those that a bundle replays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from realgrain.learning.data import Sample
from realgrain.learning.features import Delivery, Extractor
from realgrain.learning.problem import Problem
from realgrain.learning.recipe import Recipe


@dataclass(frozen=True)
class Pool:
    """N pictures as a frozen tower sees them.

    Attributes:
        problem: the pictures; replayed ones have no file.
        rows: (M, D) float32 features to fit on.
        owner: (M,) which picture each is of.
        delivered: (N, D) float32 features to measure on, means over views, in each delivery.
    """

    problem: Problem
    rows: np.ndarray
    owner: np.ndarray
    delivered: dict[str, np.ndarray]

    def keep(self, kept: np.ndarray) -> Pool:
        """The pictures of a mask (N,) bool."""
        mine = kept[self.owner]
        place = np.cumsum(kept) - 1
        return Pool(self.problem.keep(kept), self.rows[mine], place[self.owner[mine]], {name: of[kept] for name, of in self.delivered.items()})


def extract(problem: Problem, recipe: Recipe, extractor: Extractor) -> Pool:
    """Look at pictures as training with a recipe does: each in its draws of the augmentation to fit on, and in the deliveries to measure on."""
    drawing = replace(extractor, views=recipe.drawn_views)
    draws = [Delivery("augmented", recipe.augmentation, draw) for draw in range(recipe.draws)]
    seen = np.concatenate([drawing.extract(problem.samples, problem.sha256, draw) for draw in draws], axis=1)
    return Pool(
        problem,
        seen.reshape(-1, seen.shape[-1]),
        np.repeat(np.arange(len(seen)), seen.shape[1]),
        {name: extractor.extract(problem.samples, problem.sha256, Delivery(name)).mean(axis=1) for name in recipe.deliveries},
    )


def replayed(kept: Mapping[str, Mapping[tuple[str, str], np.ndarray]]) -> Pool:
    """What ``replay.read`` gives, as pictures; they are fitted on as they were delivered, which is degraded too."""
    groups = next(iter(kept.values()))
    samples = [
        Sample(path=(name := f"replayed/{label}/{source}/{number}"), file=Path(name), label=label, source=source)
        for (label, source), of in groups.items()
        for number in range(len(of))
    ]
    delivered = {name: np.concatenate([of[group] for group in groups]) for name, of in kept.items()}
    count = len(samples)
    problem = Problem(samples, [sample.path for sample in samples], np.arange(count))
    return Pool(problem, np.concatenate(list(delivered.values())), np.tile(np.arange(count), len(delivered)), delivered)


def joined(first: Pool, second: Pool, *, apart: bool) -> Pool:
    """Two pools in one.

    Args:
        first: its pictures come first.
        second: has the same deliveries.
        apart: whether their groups of near-duplicates were numbered apart.
    """
    shift = first.problem.twins.max() + 1 if apart else 0
    problem = Problem(
        [*first.problem.samples, *second.problem.samples],
        [*first.problem.sha256, *second.problem.sha256],
        np.concatenate([first.problem.twins, second.problem.twins + shift]),
    )
    delivered = {name: np.concatenate([of, second.delivered[name]]) for name, of in first.delivered.items()}
    owner = np.concatenate([first.owner, second.owner + len(first.problem.samples)])
    return Pool(problem, np.concatenate([first.rows, second.rows]), owner, delivered)
