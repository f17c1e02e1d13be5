"""Fitting a head on a frozen tower: features of all pictures once, then as many heads as folds ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from realgrain.detector import weights
from realgrain.learning.data import balanced_weights
from realgrain.learning.features import Delivery, Extractor
from realgrain.learning.methods import probe
from realgrain.learning.problem import Problem
from realgrain.learning.recipe import Recipe
from realgrain.learning.remaking import remakes, with_remakes


@dataclass(frozen=True)
class FrozenModel:
    """A head, and the features that it can be asked about."""

    head: dict[str, np.ndarray]
    fitter: FrozenFitter

    @property
    def adapter(self) -> dict[str, np.ndarray]:
        """Nothing: the tower stays as it is."""
        return {}

    @property
    def diagnostics(self) -> dict[str, float]:
        """Nothing: a head is fitted to its optimum."""
        return {}

    def logits(self, problem: Problem, deliveries: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Logits (N,) in each delivery of pictures that the fitter has seen, whether or not the head was fitted on them."""
        deliveries = self.fitter.recipe.deliveries if deliveries is None else deliveries
        return {name: probe.logits(self.fitter.features(problem, name), self.head) for name in deliveries}

    def features(self, problem: Problem) -> dict[str, np.ndarray]:
        """Features (N, V, D) in each of the recipe's deliveries, of pictures that the fitter has seen."""
        return {name: self.fitter.features(problem, name) for name in self.fitter.recipe.deliveries}


class FrozenFitter:
    """Fits heads on any part of a problem.

    Attributes:
        made: aligned fakes, each of which is fitted on along with its photograph.
        drawn: (draws, N + remakes, V, D) features of augmented pictures in the training views, to fit on.
        delivered: (N, V, D) features in each of the recipe's deliveries.
    """

    def __init__(self, problem: Problem, recipe: Recipe) -> None:
        self.extractor = Extractor(weights.pull(recipe.base), recipe.views, recipe.block, recipe.precision == "bf16")
        drawing = replace(self.extractor, views=recipe.drawn_views)
        draws = [Delivery("augmented", recipe.augmentation, draw) for draw in range(recipe.draws)]
        self.recipe, self.made = recipe, remakes(problem, recipe.aligned)
        whole = with_remakes(problem, self.made)
        self.drawn = np.stack([drawing.extract(whole.samples, whole.sha256, draw) for draw in draws])
        self.delivered = {name: self.extractor.extract(problem.samples, problem.sha256, Delivery(name)) for name in recipe.deliveries}
        self._row = {sha256: row for row, sha256 in enumerate(whole.sha256)}

    def rows(self, problem: Problem) -> list[int]:
        """Where the pictures of a part are in the features."""
        return [self._row[sha256] for sha256 in problem.sha256]

    def features(self, problem: Problem, name: str) -> np.ndarray:
        """Features (N, V, D) of a part in a delivery; in one that is not the recipe's they are computed for this part alone."""
        if name in self.delivered:
            return self.delivered[name][self.rows(problem)]
        return self.extractor.extract(problem.samples, problem.sha256, Delivery(name))

    def fit(self, problem: Problem) -> FrozenModel:
        """Fit the head on every draw and view of every picture of a part, and of the remakes of its photographs."""
        problem = with_remakes(problem, self.made)
        drawn = self.drawn[:, self.rows(problem)]
        draws, _, views, size = drawn.shape
        fake, weight = np.repeat(problem.fake, draws * views), np.repeat(balanced_weights(problem.samples), draws * views)
        settings = {"penalty": self.recipe.penalty, "content_directions": self.recipe.content_directions}
        return FrozenModel(probe.fit(drawn.transpose(1, 0, 2, 3).reshape(-1, size), fake, weight, **settings), self)
