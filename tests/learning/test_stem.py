import numpy as np
import pytest
import torch

from realgrain.learning import processes
from realgrain.learning import stem as stems
from realgrain.learning.backbone import load_tower
from realgrain.learning.draws import Draws
from realgrain.learning.features import Delivery
from realgrain.learning.network import Network
from realgrain.learning.recipe import Recipe, RecipeError, read_recipe
from realgrain.learning.stem import Stem
from realgrain.learning.tune import TunedFitter

CLEAN = Delivery("clean")


@pytest.fixture
def recipe_of(tiny_tower, tmp_path):
    def read(method="pinclip", **changes) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(
            f"method: {method}\nbase: {tiny_tower.folder}\nblock: 3\ndeliveries: [clean]\nviews: {{views: [{{kind: crop}}, {{kind: resize}}]}}\n"
        )
        fast = {"epochs": 3, "batch": 16, "evaluate_every": 4, "rate": 1e-3, "head_rate": 1e-2, "cache_frozen": True}
        return read_recipe(path, {**{f"tuning.{name}": value for name, value in fast.items()}, "adapter.blocks": 1, **changes})

    return read


@pytest.fixture
def stem_of(recipe_of, tiny_tower, home):
    def make(**changes) -> Stem:
        return Stem(Network(load_tower(tiny_tower), recipe_of(**changes)).eval(), tiny_tower.sha256)

    return make


class TestStem:
    def test_then_the_rest_is_the_whole_tower(self, stem_of, problem):
        stem = stem_of()
        assert stem.network.frozen == 2
        torch.nn.init.normal_(stem.network.linear.weight)
        (tokens,) = list(stem.batches(problem.keep(np.arange(len(problem.samples)) < 3), CLEAN))
        pixels = [draws_of(problem, stem)(index) for index in range(3)]
        with torch.inference_mode():
            expected = stem.network(torch.cat(pixels))["logits"]
            torch.testing.assert_close(stem.network(tokens=tokens)["logits"], expected, atol=1e-2, rtol=1e-2)

    def test_is_computed_once(self, stem_of, problem, monkeypatch):
        stem = stem_of()
        stem.fill(problem, CLEAN, masked=False)
        monkeypatch.setattr(stems, "_save", lambda *_: pytest.fail("computed again"))
        stem.fill(problem, CLEAN, masked=False)
        with pytest.raises(pytest.fail.Exception):
            stem.fill(problem, Delivery("hard"), masked=False)

    @pytest.mark.parametrize(("fill", "tokens"), [("drop", 1 + 25), ("mean", 50)])
    def test_hides_patches_of_training_pictures(self, stem_of, problem, fill, tokens):
        stem = stem_of(**{"masking.kind": "random", "masking.fill": fill})
        some = problem.keep(np.arange(len(problem.samples)) < 2)
        stem.fill(some, CLEAN, masked=True)
        stem.fill(some, CLEAN, masked=False)
        masked, whole = (stem.read(some.sha256[0], CLEAN, masked=value) for value in (True, False))
        assert masked.shape == (2, tokens, 32)
        assert whole.shape == (2, 50, 32)
        assert np.abs(masked[:, 0] - whole[:, 0]).max() > 1e-3

    def test_masks_do_not_depend_on_neighbours(self, stem_of, problem):
        stem = stem_of(**{"masking.kind": "random"})
        stem.fill(problem, CLEAN, masked=True)
        together = stem.read(problem.sha256[5], CLEAN, masked=True)
        for file in stem._folder(CLEAN, True).iterdir():
            file.unlink()
        stem.fill(problem.keep(np.arange(len(problem.samples)) == 5), CLEAN, masked=True)
        np.testing.assert_allclose(stem.read(problem.sha256[5], CLEAN, masked=True), together, atol=2e-3)

    def test_dropping_by_chance_is_refused(self, recipe_of):
        with pytest.raises(RecipeError, match="probability 1"):
            recipe_of(**{"masking.kind": "random", "masking.fill": "drop", "masking.probability": 0.5})


def draws_of(problem, stem):
    """Views of a picture as it is."""
    from realgrain.picture.image import open_picture
    from realgrain.picture.views import make_views

    return lambda index: torch.from_numpy(make_views(open_picture(problem.samples[index].file).pixels, stem.network.recipe.views))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "pinclip", "effort", "lol"])
def test_tuning_on_what_is_kept_learns_and_scores_the_same_from_pixels(method, problem, recipe_of, home):
    recipe = recipe_of(method, **({"adapter.kind": "last"} if method == "lol" else {}))
    model = TunedFitter(recipe).fit(problem)
    kept = model.logits(problem)["clean"]
    assert np.mean(kept[problem.fake][:, None] > kept[~problem.fake]) > 0.8
    assert model.diagnostics["steps"] > 0
    with torch.inference_mode():
        seen = [model.network(draws_of(problem, model.stem)(index))["logits"].mean() for index in range(4)]
    np.testing.assert_allclose(seen, kept[:4], atol=0.05)


def test_draws_are_the_recipes(problem, recipe_of, stem_of):
    stem = stem_of(draws=2)
    drawn = Draws(problem, stem.network.recipe, stem)
    drawn.fill(fixed=False)
    assert len({tuple(drawn[0, draw]["tokens"].flatten()[:20].tolist()) for draw in range(40)}) == 2 * 2  # draws, views


def test_processes_fill_a_share_each(problem, stem_of, home, monkeypatch):
    stem = stem_of(draws=1)
    drawn = Draws(problem, stem.network.recipe, stem)
    monkeypatch.setattr(processes, "wait", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, share in (("1", 0.5), ("0", 1)):
        monkeypatch.setenv("RANK", rank)
        drawn.fill(fixed=False)
        assert len(list((home / "stems").rglob("*.npy"))) == share * len(problem.samples)


@pytest.mark.slow
def test_starts_from_the_probe(problem, recipe_of, home):
    """Before a step is taken, the network ranks as the frozen tower with its own head does."""
    changes = {"tuning.head_start": "probe", "tuning.rate": 1e-12, "tuning.head_rate": 1e-12, "draws": 1}
    model = TunedFitter(recipe_of("lora", **changes)).fit(problem)
    logits = model.logits(problem)["clean"]
    assert np.mean(logits[problem.fake][:, None] > logits[~problem.fake]) > 0.8
