"""The script behind the figures of adapting: what it leaves out, and what it refuses."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import adapt

from realgrain.learning import pool as pools
from realgrain.learning.data import Fold
from realgrain.learning.features import Extractor


@pytest.fixture
def recipe(tiny_recipe):
    folds = tuple(
        Fold(fake=(fake,), real=(real,)) for fake, real in zip(("gan-a", "gan-b", "diffusion-a"), ("camera-a", "camera-b", "camera-c"), strict=True)
    )
    return tiny_recipe.model_copy(update={"folds": folds, "deliveries": ("clean",)})


def test_new_and_test_pictures_are_apart_and_the_test_is_the_same_for_each_count():
    out, fake = np.arange(60) < 40, np.arange(60) % 2 == 0
    new, test = adapt.chosen(out, fake, [4, 10], seed=0)
    assert [mask.sum() for mask in new.values()] == [8, 20]
    assert (new[4] & ~new[10]).sum() == 0
    assert (test & new[10]).sum() == 0
    assert ((test | new[10]) == out).all()
    assert new[10][fake].sum() == 10
    assert not np.array_equal(adapt.chosen(out, fake, [4, 10], seed=1)[0][4], new[4])


def test_the_head_is_that_of_training(tiny_recipe, problem, tiny_tower, fitter, tiny_bundle):
    extractor = Extractor(tiny_tower, tiny_recipe.views, tiny_recipe.block, bf16=False)
    head = adapt.head_of(pools.extract(problem, tiny_recipe, extractor), tiny_recipe)
    np.testing.assert_allclose(head["weight"], tiny_bundle.head["weight"], rtol=1e-4, atol=1e-6)


def test_measures(recipe, toy_manifest, monkeypatch, tmp_path):
    monkeypatch.setattr(adapt, "LEAST", 2)
    monkeypatch.setattr(adapt, "read_recipe", lambda path: recipe)
    output = tmp_path / "found.json"
    arguments = [str(toy_manifest), "--recipe", str(toy_manifest), "--generator", "gan-a", "--counts", "5", "--seeds", "2", "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["adapt.py", *arguments])
    adapt.main()
    found = adapt.Found.model_validate(json.loads(output.read_text())["result"])
    assert (found.left_out, found.test_fake, found.test_real) == ("gan-a|camera-a", 4, 4)
    assert [(trial.replay, trial.seed) for trial in found.trials] == [("manifest", 0), ("bundle", 0), ("manifest", 1), ("bundle", 1)]
    assert [line.of for line in found.summary] == [2, 2]
    named = {row.name for trial in found.trials for row in trial.gate.rows}
    assert "gan-a|camera-a" not in named
    assert {"gan-b|camera-b", "diffusion-a|camera-c", "gan-a"} <= named
    assert all(trial.before == found.trials[0].before for trial in found.trials[:2])


def test_refuses_more_pictures_than_there_are(recipe, toy_manifest):
    with pytest.raises(SystemExit, match="too few for 32"):
        adapt.measure(recipe, toy_manifest, "gan-a", [8, 32], 1)
    with pytest.raises(SystemExit, match="not a generator"):
        adapt.measure(recipe, toy_manifest, "nothing", [8], 1)
