"""What a network is shown: which pictures, how degraded, and which of their views. The sampler has all the chance, the pictures have none.

So a run that resumes, and any number of workers or processes, see the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from realgrain.learning import processes
from realgrain.learning.features import Delivery
from realgrain.learning.problem import Problem
from realgrain.learning.recipe import Recipe
from realgrain.learning.stem import Stem
from realgrain.picture.image import open_picture
from realgrain.picture.views import make_views

Look = int | tuple[int, int]


class Draws(Dataset[dict[str, torch.Tensor]]):
    """Augmented pictures, one of their views each.

    ``draws[index]`` is the fixed look at a picture, as in evaluation; ``draws[index, draw]`` one of as many others as there are numbers. With a stem,
    which must have been filled, there are as many as the recipe says, and tokens take the place of views.
    """

    def __init__(self, problem: Problem, recipe: Recipe, stem: Stem | None = None) -> None:
        self.problem, self.recipe, self.stem = problem, recipe, stem

    def __len__(self) -> int:
        return len(self.problem.samples)

    def __getitem__(self, index: Look) -> dict[str, torch.Tensor]:
        fixed = not isinstance(index, tuple)
        row, draw = (index, 0) if fixed else index
        sample, sha256 = self.problem.samples[row], self.problem.sha256[row]
        view = (int(sha256[:8], 16) if fixed else draw) % self.recipe.drawn_views.count
        fake = torch.tensor(float(sample.fake))
        if self.stem is not None:
            delivery = self.delivery(draw // self.recipe.drawn_views.count % self.recipe.draws)
            return {"tokens": torch.from_numpy(self.stem.read(sha256, delivery, masked=not fixed)[view]).float(), "fake": fake}
        pixels = self.delivery(draw).apply(open_picture(sample.file).pixels, sha256)
        return {"views": torch.from_numpy(make_views(pixels, self.recipe.drawn_views)[view]), "fake": fake}

    def delivery(self, draw: int) -> Delivery:
        """A draw of the recipe's augmentation."""
        return Delivery("augmented", self.recipe.augmentation, draw)

    def fill(self, *, fixed: bool) -> None:
        """Have the stem, if there is one, compute what fixed looks, or the others, need; each process its share."""
        if self.stem is None:
            return
        share = self.problem.keep(np.arange(len(self)) % processes.world() == processes.rank())
        for draw in range(1 if fixed else self.recipe.draws):
            self.stem.fill(share, self.delivery(draw), masked=not fixed)
        processes.wait()


class Balanced(Sampler[tuple[int, int]]):
    """Pictures by their weights, and a draw for each: as many as a whole run takes, so that nothing has to be told where in it one is.

    They are drawn with replacement, so that classes and sources are balanced over a run and not in each batch: half of 32 is 16 give or take 3.

    Args:
        weight: (N,) of each picture; only ratios matter.
        seed: the same seed gives the same pictures and draws, however many there are.
        count: of pictures, over all steps.
    """

    def __init__(self, weight: np.ndarray, seed: int, count: int) -> None:
        self.weight, self.seed, self.count = torch.from_numpy(weight), seed, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(self.seed)
        size = len(self.weight)
        for start in range(0, self.count, size):
            indices = torch.multinomial(self.weight, size, replacement=True, generator=generator)
            draws = torch.randint(2**31, (size,), generator=generator)
            left = self.count - start
            yield from zip(indices[:left].tolist(), draws[:left].tolist(), strict=True)
