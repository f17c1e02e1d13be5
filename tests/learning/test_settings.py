from pathlib import Path

import pytest
import yaml

from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.settings import as_yaml, meant, names

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))
RECIPES = [path for path in RECIPES if path.parent.name != "plans"]


def test_names_reach_everything():
    found = names(Recipe)
    assert {"penalty", "tuning.rate", "augmentation.p_blur", "noise.kind", "views.views", "folds"} <= set(found)
    assert len(found) == len(set(found))
    inside = Recipe().model_dump()
    for name in found:
        value = inside
        for part in name.split("."):
            value = value[part]
        assert not isinstance(value, dict)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("tuning.rat", "tuning.rate"),
        ("tunning.batch", "tuning.batch"),
        ("rank", "adapter.rank"),
        ("penalti", "penalty"),
        ("augmentation.p_blurr", "augmentation.p_blur"),
    ],
)
def test_meant(wrong, right):
    assert right in meant(wrong, Recipe)
    assert right in names(Recipe)


def test_nothing_is_like_it():
    assert meant("xyzzy", Recipe) == ""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_yaml_is_the_recipe_again(path):
    recipe = read_recipe(path)
    assert Recipe.model_validate(yaml.safe_load(as_yaml(recipe))) == recipe


def test_every_setting_has_words():
    lines = as_yaml(Recipe()).splitlines()
    told = [(before.strip(), line.strip()) for before, line in zip(["", *lines], lines, strict=False) if not line.strip().startswith("#")]
    assert len(told) > 60
    assert [line for before, line in told if not before.startswith("# ")] == []
