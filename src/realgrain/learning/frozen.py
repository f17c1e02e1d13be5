"""Fitting a head on a frozen tower: features of all pictures once, then as many heads as folds ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realgrain.detector import weights
from realgrain.learning.data import balanced_weights
from realgrain.learning.features import Delivery, Extractor
from realgrain.learning.methods import probe
from realgrain.learning.problem import Problem
from realgrain.learning.recipe import Recipe


@dataclass(frozen=True)
class FrozenModel:
    """A head, and the features that it can be asked about."""

    head: dict[str, np.ndarray]
    fitter: FrozenFitter

    @property
    def adapter(self) -> dict[str, np.ndarray]:
        """Nothing: the tower stays as it is."""
        return {}

    def logits(self, problem: Problem) -> dict[str, np.ndarray]:
        """Logits (N,) in each delivery of pictures that the fitter has seen, whether or not the head was fitted on them."""
        rows = self.fitter.rows(problem)
        return {name: probe.logits(features[rows], self.head) for name, features in self.fitter.delivered.items()}


class FrozenFitter:
    """Fits heads on any part of a problem.

    Attributes:
        drawn: (draws, N, V, D) features of augmented pictures, to fit on.
        delivered: (N, V, D) features in each delivery, to be asked about.
    """

    def __init__(self, problem: Problem, recipe: Recipe) -> None:
        extractor = Extractor(weights.pull(recipe.base), recipe.views, recipe.block, recipe.precision == "bf16")
        draws = [Delivery("augmented", recipe.augmentation, draw) for draw in range(recipe.draws)]
        self.recipe = recipe
        self.drawn = np.stack([extractor.extract(problem.samples, problem.sha256, draw) for draw in draws])
        self.delivered = {name: extractor.extract(problem.samples, problem.sha256, Delivery(name)) for name in recipe.deliveries}
        self._row = {sha256: row for row, sha256 in enumerate(problem.sha256)}

    def rows(self, problem: Problem) -> list[int]:
        """Where the pictures of a part are in the features."""
        return [self._row[sha256] for sha256 in problem.sha256]

    def fit(self, problem: Problem) -> FrozenModel:
        """Fit the head on every draw and view of every picture of a part."""
        drawn = self.drawn[:, self.rows(problem)]
        draws, _, views, size = drawn.shape
        fake, weight = np.repeat(problem.fake, draws * views), np.repeat(balanced_weights(problem.samples), draws * views)
        settings = {"penalty": self.recipe.penalty, "content_directions": self.recipe.content_directions}
        return FrozenModel(probe.fit(drawn.transpose(1, 0, 2, 3).reshape(-1, size), fake, weight, **settings), self)
