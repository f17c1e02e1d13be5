"""Where noise is added, and what comes before and after it. Blocks are counted from the tower's own output."""

from collections import Counter

import numpy as np
import pytest
import torch

from realgrain.learning.anchors import prototypes
from realgrain.learning.backbone import encode, load_tower
from realgrain.learning.network import Network
from realgrain.learning.recipe import Recipe, RecipeError, read_recipe
from realgrain.learning.train import train
from realgrain.learning.tune import Draws, TunedFitter

PLACES = ("feature", "class_token", "tokens")
FAKE = torch.tensor([0.0, 1.0, 0.0, 1.0])


@pytest.fixture
def recipe_of(tiny_tower, tmp_path):
    """Pin noise on the tiny tower, changed."""

    def read(at="feature", block=2, **changes) -> Recipe:
        path = tmp_path / "r.yaml"
        path.write_text(f"method: pinclip\nbase: {tiny_tower.folder}\ndeliveries: [clean]\n")
        return read_recipe(path, {"block": block, "noise.at": at, "tuning.batch": 16, "tuning.epochs": 0.5, **changes})

    return read


@pytest.fixture
def network_of(recipe_of, tiny_tower):
    """A network with a head that looks, and anchors."""

    def make(*arguments, seed=0, **changes) -> Network:
        torch.manual_seed(seed)
        network = Network(load_tower(tiny_tower), recipe_of(*arguments, **changes))
        torch.nn.init.normal_(network.linear.weight)
        if network.recipe.noise.kind == "pin":
            network.noise.set_anchors(torch.randn(2, network.noise.dimension))
        return network

    return make


@pytest.fixture
def views():
    return torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("at", PLACES)
class TestPlace:
    def test_before_and_after_are_the_whole(self, at, block, network_of, views):
        network = network_of(at, block).eval()
        tokens = network.stem(views, None)
        reached = network.reach(tokens)
        size = 24 if (at, block) == ("feature", None) else 32
        assert reached.shape == ((4, 50, 32) if at == "tokens" else (4, size))
        expected = encode(network.tower, views, block)
        torch.testing.assert_close(network.read(reached), expected)
        torch.testing.assert_close(network.features(tokens), expected)
        torch.testing.assert_close(network(views)["logits"], network.head(expected))

    def test_nothing_runs_twice_but_what_comes_after_the_noise(self, at, block, network_of, views):
        network, runs = network_of(at, block).train(), Counter()
        named = {f"block {number}": layer for number, layer in enumerate(network.tower.vision_model.encoder.layers, 1)}
        for name, module in {**named, "projection": network.tower.visual_projection, "head": network.linear}.items():
            module.register_forward_hook(lambda *_, name=name: runs.update([name]))
        network(views, fake=FAKE)["loss"].backward()
        depth = block or 3
        assert [runs[f"block {number}"] for number in (1, 2, 3)] == [
            (0 if number > depth else 2 if at == "tokens" and number == depth else 1) for number in (1, 2, 3)
        ]
        assert runs["projection"] == (0 if block else 1 if at == "feature" else 2)
        assert runs["head"] == 2

    def test_the_generator_and_the_tower_learn(self, at, block, network_of, views):
        network = network_of(at, block).train()
        network(views, fake=FAKE)["loss"].backward()
        for name, weight in network.named_parameters():
            if weight.requires_grad:
                assert weight.grad is not None, name
        assert network.noise.query.weight.grad.abs().sum() > 0
        assert network.history[0].energy > 0

    def test_anchors_are_class_means_at_the_place(self, at, block, recipe_of, tiny_tower, problem):
        recipe = recipe_of(at, block)
        network = Network(load_tower(tiny_tower), recipe)
        problem = problem.keep(np.arange(len(problem.samples)) % 8 == 0)
        network.look(*TunedFitter(recipe)._look(network, problem, None))
        drawn = Draws(problem, recipe)
        tower = load_tower(tiny_tower)
        with torch.inference_mode():
            seen = tower(torch.stack([drawn[index]["views"] for index in range(len(drawn))]), output_hidden_states=True)
            last = seen.hidden_states[block or 3][:, 0]
            expected = {
                "feature": last if block else seen.image_embeds,
                "class_token": last if block else tower.vision_model.post_layernorm(last),
                "tokens": seen.hidden_states[(block or 3) - 1].mean(1),
            }[at]
        means = torch.nn.functional.normalize(prototypes(expected, torch.from_numpy(problem.fake)))
        torch.testing.assert_close(network.noise.anchors, means, atol=1e-4, rtol=1e-4)

    def test_equal_energy_is_equal(self, at, block, network_of, views):
        """A Gaussian run with the energy that a pin run reports has, as measured on what is drawn, that energy."""
        mine = network_of(at, block).train()
        for _ in range(3):
            mine(views, fake=FAKE)
        energy = float(np.mean([step.energy for step in mine.history]))
        control = network_of(at, block, **{"noise.kind": "gaussian", "noise.energy": energy}).train()
        control(views, fake=FAKE)
        reached = control.reach(control.stem(views, None)).detach()
        mean, deviation, _ = control.noise.eval()(reached)
        added = (mean**2 + deviation**2).mean().sqrt()
        assert (added / reached.flatten(0, -2).var(0).mean().sqrt()).item() == pytest.approx(energy, rel=1e-3)
        assert control.history[-1].energy == pytest.approx(energy, rel=1e-3)


class TestTokens:
    def test_noise_passes_through_attention(self, network_of, views):
        """The class token gets none itself; what the patches got reaches the logit."""
        network = network_of("tokens").eval()
        reached = network.reach(network.stem(views, None))
        moved = reached.clone()
        moved[:, 1:] += torch.randn_like(moved[:, 1:])
        assert (network.head(network.read(moved)) - network.head(network.read(reached))).abs().max() > 1e-3

    @pytest.mark.parametrize("kind", ["none", "lora"])
    def test_the_last_block_is_never_taken_for_frozen(self, kind, network_of, views):
        network = network_of("tokens", 3, **{"adapter.kind": kind, "adapter.blocks": 1})
        assert network.frozen == 2
        expected = network.eval()(views)["logits"]
        torch.testing.assert_close(network(tokens=network.stem(views, None))["logits"], expected)
        network.train()(tokens=network.stem(views, None), fake=FAKE)["loss"].backward()
        assert network.noise.query.weight.grad.abs().sum() > 0

    def test_without_noise_there_is_no_place(self, network_of, recipe_of, tiny_tower):
        network = network_of("tokens", 3, **{"noise.kind": "none", "adapter.kind": "none"})
        assert (network.place, network.frozen, network.noise) == ("feature", 3, None)

    def test_with_patches_dropped(self, network_of, views):
        network = network_of("tokens", 3, **{"masking.kind": "random", "masking.fill": "drop"}).train()
        network(views, fake=FAKE)["loss"].backward()
        assert network.noise.query.weight.grad.isfinite().all()


class TestInUse:
    def used(self, network_of, views, at, draws) -> Network:
        network = network_of(at, 3, **{"noise.inference_draws": draws, "noise.floor": 0.5}).train()
        network(views, fake=FAKE)
        return network.eval()

    @pytest.mark.parametrize("at", PLACES)
    def test_evaluation_takes_the_mean_over_draws(self, at, network_of, views):
        clean, noisy = (self.used(network_of, views, at, draws) for draws in (0, 4))
        found = noisy(views)["logits"]
        assert found.shape == (4,)
        assert (found - clean(views)["logits"]).abs().max() > 1e-3
        torch.manual_seed(9)
        assert torch.equal(noisy(views)["logits"], found)
        torch.testing.assert_close(noisy(views[[2, 0]])["logits"], found[[2, 0]], atol=1e-4, rtol=1e-4)
        assert len(noisy.history) == 1

    def test_what_is_evaluated_is_what_is_used(self, network_of, views):
        network = self.used(network_of, views, "feature", 4)
        found = network(views, fake=FAKE)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(found["logits"], FAKE)
        torch.testing.assert_close(found["loss"], expected)
        assert torch.equal(found["logits"], network(views)["logits"])

    def test_no_bundle_carries_it(self, recipe_of, toy_manifest, tmp_path):
        with pytest.raises(RecipeError, match=r"noise.inference_draws 3: .*no noise in it.*realgrain ablate"):
            train(recipe_of(**{"noise.inference_draws": 3}), toy_manifest, tmp_path / "b")
        assert not (tmp_path / "b").exists()

    @pytest.mark.slow
    def test_a_fitted_model_scores_with_it(self, recipe_of, problem, home):
        changes = {"noise.inference_draws": 4, "noise.floor": 0.5, "tuning.evaluate_every": 1, "tuning.epochs": 1}
        model = TunedFitter(recipe_of("tokens", **changes)).fit(problem)
        found = model.logits(problem)["clean"]
        np.testing.assert_array_equal(model.logits(problem)["clean"], found)
        model.network.recipe = model.network.recipe.model_copy(update={"noise": recipe_of("tokens").noise})
        assert np.abs(model.logits(problem)["clean"] - found).max() > 1e-4
