import numpy as np
import pytest

from realgrain.learning.assembled import assemble
from realgrain.learning.mixing import Part, mix
from realgrain.learning.recipe import read_recipe
from realgrain.learning.tune import TunedFitter


@pytest.fixture
def recipe_of(tiny_tower, tmp_path):
    def read(**changes):
        path = tmp_path / "recipe.yaml"
        path.write_text(f"method: lora\nbase: {tiny_tower.folder}\nblock: 3\ndeliveries: [clean]\nadapter: {{blocks: 1}}\n")
        return read_recipe(path, {"tuning.epochs": 1, "tuning.batch": 16, "tuning.rate": 1e-2, "tuning.head_rate": 1e-2, **changes})

    return read


@pytest.mark.slow
@pytest.mark.parametrize("cache", [False, True])
def test_scores_as_the_model_that_it_is_made_of(cache, recipe_of, problem, home):
    recipe = recipe_of(**{"tuning.cache_frozen": cache})
    tuned = TunedFitter(recipe).fit(problem)
    again = assemble(recipe, tuned.head, tuned.adapter)
    expected = tuned.logits(problem)["clean"]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(again.logits(problem)["clean"], expected, atol=2e-2 if cache else 1e-4)


@pytest.mark.slow
def test_nothing_of_the_tuning_is_the_untuned_tower(recipe_of, problem, home):
    recipe = recipe_of()
    tuned = TunedFitter(recipe).fit(problem)
    head, adapter = mix([Part(0.0, tuned.head, tuned.adapter), Part(1.0, tuned.head, {})])
    found = assemble(recipe, head, adapter).logits(problem)["clean"]
    np.testing.assert_allclose(found, assemble(recipe, tuned.head, {}).logits(problem)["clean"], atol=1e-4)
    assert np.abs(found - tuned.logits(problem)["clean"]).max() > 1e-3
