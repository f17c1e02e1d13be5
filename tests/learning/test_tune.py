import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from realgrain.detector.detect import load
from realgrain.learning import methods
from realgrain.learning.backbone import encode, load_tower, taps
from realgrain.learning.data import Fold, ManifestError
from realgrain.learning.network import Network
from realgrain.learning.problem import Problem
from realgrain.learning.recipe import RecipeError
from realgrain.learning.train import fitter_of, train
from realgrain.learning.tune import TunedFitter, kept_back

FROZEN = {"probe", "level", "realgrain"}
TUNED = [name for name in methods.names() if name not in FROZEN]


class TestMethods:
    def test_are_files(self):
        assert set(TUNED) >= {"lora", "effort", "lol", "mpft", "pinclip"}

    @pytest.mark.parametrize("method", methods.names())
    def test_defaults_are_settings(self, method, recipe_of):
        assert recipe_of(method).tunes == (method not in FROZEN)

    def test_lol_and_mpft_differ_in_the_mask_alone(self, recipe_of):
        lol, mpft = (recipe_of(name).model_dump() for name in ("lol", "mpft"))
        assert {key for key in lol if lol[key] != mpft[key]} == {"method", "masking"}

    @pytest.mark.parametrize(("method", "rate"), [("lora", 1e-4), ("pinclip", 1e-4), ("effort", 2e-4)])
    def test_one_rate_for_all_that_moves(self, method, rate):
        """As those that they follow have one optimiser for everything."""
        tuning = methods.defaults(method)["tuning"]
        assert (tuning["rate"], tuning["head_rate"]) == (rate, rate)

    def test_a_recipe_goes_over_its_methods_defaults(self, recipe_of):
        recipe = recipe_of("mpft", **{"masking.ratio": 0.25})
        assert (recipe.masking.kind, recipe.masking.ratio, recipe.adapter.kind) == ("texture", 0.25, "full")

    def test_unknown(self, recipe_of):
        with pytest.raises(RecipeError, match="no method 'psychic'; there are effort"):
            recipe_of("psychic")


class TestEncode:
    @pytest.mark.parametrize("block", [None, 1, 3])
    def test_is_what_features_are(self, tiny_tower, block):
        tower = load_tower(tiny_tower)
        views = torch.randn(3, 3, 224, 224)
        tokens, embeddings = taps(tower, views, bf16=False)
        expected = embeddings if block is None else tokens[:, block - 1]
        torch.testing.assert_close(encode(tower, views, block), expected, atol=1e-5, rtol=1e-5)

    def test_all_tokens_kept_changes_nothing_and_fewer_do(self, tiny_tower):
        tower = load_tower(tiny_tower)
        views = torch.randn(2, 3, 224, 224)
        every = torch.arange(49).repeat(2, 1)
        torch.testing.assert_close(encode(tower, views, 2, every), encode(tower, views, 2))
        assert (encode(tower, views, 2, every[:, :20]) - encode(tower, views, 2)).abs().max() > 1e-3

    def test_dropped_patches_are_not_looked_at(self, tiny_tower):
        tower = load_tower(tiny_tower)
        views = torch.randn(1, 3, 224, 224)
        changed = views.clone()
        changed[:, :, :32, :32] = 7  # patch 0
        kept = torch.arange(1, 49)[None]
        torch.testing.assert_close(encode(tower, views, None, kept), encode(tower, changed, None, kept))


class TestNetwork:
    @pytest.mark.parametrize("method", TUNED)
    def test_evaluation_is_deterministic_and_starts_at_even_odds(self, method, recipe_of, tiny_tower):
        network = Network(load_tower(tiny_tower), recipe_of(method)).eval()
        views = torch.randn(2, 3, 224, 224)
        first, again = network(views)["logits"], network(views)["logits"]
        assert torch.equal(first, again)
        assert torch.equal(first, torch.zeros(2))

    @pytest.mark.parametrize("fill", ["mean", "black", "drop"])
    def test_masks_in_training_only(self, fill, recipe_of, tiny_tower):
        network = Network(load_tower(tiny_tower), recipe_of("mpft", **{"masking.fill": fill}))
        torch.nn.init.normal_(network.linear.weight)
        views = torch.rand(2, 3, 224, 224)
        trained, evaluated = network.train()(views)["logits"], network.eval()(views)["logits"]
        assert (trained - evaluated).abs().max() > 1e-4

    def test_folding_the_scale_into_the_head_changes_nothing(self, recipe_of, tiny_tower):
        network = Network(load_tower(tiny_tower), recipe_of("lora")).eval()
        torch.nn.init.normal_(network.linear.weight)
        features = torch.randn(20, 32) * 3 + 1
        network.look(features, torch.arange(20) % 2 == 0)
        head, _ = network.shipped()
        np.testing.assert_allclose(features.numpy() @ head["weight"] + head["bias"], network.head(features).detach().numpy(), atol=1e-4)


class TestKeptBack:
    """What decides when to stop must leave something of both labels to train on."""

    def test_is_of_every_source(self, problem, recipe_of):
        kept = kept_back(problem, recipe_of("lora"))
        assert set(problem.source[kept]) == set(problem.source[~kept]) == set(problem.source)

    def test_one_picture_of_each_source(self, problem, recipe_of, home):
        rows = [int(np.flatnonzero(problem.source == source)[0]) for source in sorted(set(problem.source))]
        few = problem.keep(np.isin(np.arange(len(problem.samples)), rows))
        with pytest.raises(ManifestError, match=r"no fake picture is left to train on .*the fake sources \(diffusion-a, diffusion-b, gan-a, gan-b\)"):
            TunedFitter(recipe_of("lora")).fit(few)

    def test_near_duplicates_alone(self, problem, recipe_of, home):
        twins = np.where(problem.fake, np.arange(len(problem.samples)), len(problem.samples))
        with pytest.raises(ManifestError, match=r"no real picture is left to train on .*the real sources \(camera-a"):
            TunedFitter(recipe_of("lora")).fit(Problem(problem.samples, problem.sha256, twins))


class TestFit:
    @pytest.mark.slow
    @pytest.mark.parametrize("method", TUNED)
    def test_learns(self, method, problem, recipe_of, home):
        """From even odds to telling most toy pictures apart, in seconds; and nothing is left in the cache."""
        model = TunedFitter(recipe_of(method)).fit(problem)
        logits = model.logits(problem)["clean"]
        assert np.mean(logits[problem.fake][:, None] > logits[~problem.fake]) > 0.8
        assert not list((home / "runs").iterdir())

    @pytest.mark.slow
    @pytest.mark.parametrize("method", methods.names())
    def test_bundle_scores_as_what_was_trained_in_every_runtime(self, method, recipe_of, problem, toy_manifest, home, tmp_path):
        folds = [Fold(fake=("gan-a",), real=("camera-a",)), Fold(fake=("gan-b",), real=("camera-b",))]
        recipe = recipe_of(method, **{"tuning.epochs": 1, "draws": 1}).model_copy(update={"folds": tuple(folds)})
        bundle = train(recipe, toy_manifest, tmp_path / "bundle")
        assert bool(bundle.adapter) == (method not in FROZEN)
        some = problem.keep(np.arange(len(problem.samples)) % 16 == 0)
        trained = fitter_of(recipe, problem).fit(problem).logits(some, ["clean"])["clean"]
        files = [sample.file for sample in some.samples]
        found = np.array(
            [[report.logit for report in load(bundle, runtime=name).detect_many(files)] for name in ("torch", "onnxruntime", "openvino")]
        )
        assert np.ptp(found, axis=0).max() < 1e-4
        np.testing.assert_allclose(found[0], trained, atol=5e-3)  # features of a frozen tower are kept in half precision
        assert np.ptp(trained) > 0.05

    @pytest.mark.slow
    @pytest.mark.parametrize("patient", [False, True])
    def test_a_killed_run_ends_as_one_that_was_not(self, problem, recipe_of, home, patient):
        """SIGKILL after a checkpoint, and three more of which a kill left a part; the same steps, weights and diagnostics in the end.

        Once with its best checkpoint after the kill, once out of patience, of which a part was gone when it was killed.
        """
        recipe = recipe_of(
            "pinclip", **{"tuning.patience": 20 if patient else 2, "tuning.evaluate_every": 2} | ({} if patient else {"tuning.head_rate": 3.0})
        )
        whole = TunedFitter(recipe).fit(problem)
        child = multiprocessing.get_context("spawn").Process(target=fit_and_die, args=(recipe, problem))
        child.start()
        child.join(300)
        assert child.exitcode == -signal.SIGKILL
        (run,) = (home / "runs").iterdir()
        last = run / "checkpoint-4"
        for name, keep in (("checkpoint-6", 0), ("checkpoint-8", 20)):
            shutil.copytree(last, run / name)
            state = run / name / "trainer_state.json"
            state.write_bytes(state.read_bytes()[:keep]) if keep else state.unlink()
        shutil.copytree(last, run / "checkpoint-10", ignore=shutil.ignore_patterns("optimizer.pt"))
        resumed = TunedFitter(recipe.model_copy(update={"tuning": recipe.tuning.model_copy(update={"workers": 1})})).fit(problem)
        assert resumed.diagnostics == pytest.approx(whole.diagnostics, rel=1e-3)
        assert (whole.diagnostics["steps"] > 6) == patient
        np.testing.assert_allclose(resumed.head["weight"], whole.head["weight"], atol=1e-5)
        for name, array in whole.adapter.items():
            np.testing.assert_allclose(resumed.adapter[name], array, atol=1e-5)


class Die(TrainerCallback):
    """Kills its process after the second checkpoint."""

    def on_step_end(self, args, state, control, **_):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)


def fit_and_die(recipe, problem):
    TunedFitter(recipe, callbacks=(Die(),)).fit(problem)
