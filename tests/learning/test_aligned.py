"""Aligned fakes as a part of training: they go with their photographs, and content alone cannot tell them."""

import numpy as np
import pytest

from realgrain.learning.adapters import Adapter
from realgrain.learning.aligned import Aligned
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.train import fitter_of

FEW = Aligned("autoencoder", ("nearest-plain",), steps=2, precision="f32")


@pytest.fixture
def aligned_recipe(tiny_recipe):
    return tiny_recipe.model_copy(update={"aligned": FEW})


@pytest.mark.slow
class TestFrozen:
    def test_learns_from_remakes_and_is_asked_about_pictures_alone(self, aligned_recipe, problem, home):
        fitter = FrozenFitter(problem, aligned_recipe)
        photographs = int((~problem.fake).sum())
        assert fitter.drawn.shape[1] == len(problem.samples) + photographs
        assert len(fitter.fit(problem).logits(problem)["clean"]) == len(problem.samples)

    def test_remakes_of_what_is_left_out_are_left_out(self, aligned_recipe, problem, home):
        """Features of the others may be anything: the head stays."""
        fitter = FrozenFitter(problem, aligned_recipe)
        part = problem.keep(problem.source != "camera-a")
        before = fitter.fit(part).head["weight"]
        out = [row for row, sample in enumerate(fitter.made.samples) if "/camera-a/" in sample.path]
        assert len(out) == 9
        fitter.drawn[:, [len(problem.samples) + row for row in out]] = 1e3
        np.testing.assert_array_equal(fitter.fit(part).head["weight"], before)


@pytest.mark.slow
def test_tuning_sees_them_too(aligned_recipe, problem, home):
    fitter = fitter_of(aligned_recipe.model_copy(update={"adapter": Adapter("lora", rank=2)}), problem)
    assert len(fitter.made.samples) == int((~problem.fake).sum())
