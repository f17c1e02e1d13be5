import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, get_scheduler

from realgrain.detector import weights
from realgrain.learning import processes
from realgrain.learning.backbone import load_tower
from realgrain.learning.draws import Draws
from realgrain.learning.network import Network
from realgrain.learning.recipe import RecipeError, Tuning, read_recipe
from realgrain.learning.trainer import determinism, make_trainer, rate_of
from realgrain.learning.tune import TunedFitter

STILL = {"adapter.dropout": 0.0, "tuning.patience": 50}  # no chance but in what is drawn; runs to its end


def rates(schedule, steps):
    """Rates of learning of a schedule made for an optimiser, step by step."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    made, found = schedule(optimiser), []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        made.step()
    return found


class TestSchedule:
    @pytest.mark.parametrize("warmup", [0.0, 0.25])
    @pytest.mark.parametrize(("name", "theirs"), [("constant", "constant_with_warmup"), ("linear", "linear"), ("cosine", "cosine")])
    def test_is_that_of_transformers(self, name, theirs, warmup):
        tuning = Tuning(schedule=name, warmup=warmup)
        ours = rates(lambda optimiser: LambdaLR(optimiser, rate_of(tuning, 20, 0.1)), 20)
        assert ours == pytest.approx(rates(lambda optimiser: get_scheduler(theirs, optimiser, int(warmup * 20), 20), 20))

    def test_step_is_that_of_torch(self):
        tuning = Tuning(schedule="step", step_epochs=2, step_factor=0.7)
        ours = rates(lambda optimiser: LambdaLR(optimiser, rate_of(tuning, 40, 1 / 3)), 40)  # three steps an epoch
        assert ours == pytest.approx(rates(lambda optimiser: torch.optim.lr_scheduler.StepLR(optimiser, 6, 0.7), 40))


class TestClip:
    @pytest.mark.parametrize("clip", [1e-6, 1.0, None])
    def test_is_the_recipes(self, recipe_of, problem, home, tmp_path, clip):
        recipe = recipe_of("lora", **({} if clip == 1 else {"tuning.clip": clip}))  # 1 is the default, as it was before there was a setting
        network = Network(load_tower(weights.pull(recipe.base)), recipe)
        trainer = make_trainer(network, recipe, Draws(problem, recipe), Draws(problem, recipe), tmp_path / "run")
        assert trainer.args.max_grad_norm == (clip or 0)

    def test_no_paper_names_one(self):
        full = sorted((Path(__file__).parents[2] / "recipes" / "full").glob("*.yaml"))
        assert all(recipe.tuning.clip is None for recipe in map(read_recipe, full) if recipe.tunes)


class TestBatch:
    def test_must_divide(self, recipe_of, problem, home, monkeypatch):
        with pytest.raises(RecipeError, match="batch 16 does not divide into 3 equal parts"):
            recipe_of("lora", **{"tuning.accumulate": 3})
        monkeypatch.setenv("WORLD_SIZE", "3")
        monkeypatch.setattr(processes, "wait", lambda: None)
        with pytest.raises(RecipeError, match=r"batch 16 .* 3 processes, 2 each .*: 18 would"):
            TunedFitter(recipe_of("lora", **{"tuning.accumulate": 2})).fit(problem)

    @pytest.mark.parametrize("kind", ["gaussian", "pin"])
    def test_parts_of_one_picture_get_noise_too(self, recipe_of, problem, home, kind):
        """No spread can be measured of them: that of the untuned features counts."""
        noise = {"noise.kind": kind, "noise.energy": 0.5, "noise.floor": 0.5}
        found = TunedFitter(recipe_of("lora", **noise, **{"tuning.batch": 4, "tuning.accumulate": 4, "tuning.epochs": 0.3})).fit(problem)
        assert 0.5 - 1e-4 < found.diagnostics["energy"] < 1
        assert found.diagnostics["clean_loss"] != found.diagnostics["noised_loss"]

    def test_taken_in_parts_is_the_same_step(self, recipe_of, problem, home):
        changes = {**STILL, "tuning.epochs": 1}
        whole, parts = (TunedFitter(recipe_of("lora", **changes, **{"tuning.accumulate": count})).fit(problem) for count in (1, 4))
        assert whole.diagnostics["steps"] == parts.diagnostics["steps"] > 2
        same(whole.head | whole.adapter, parts.head | parts.adapter)


def same(first, second, tolerance=1e-5):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_allclose(second[name], array, atol=tolerance, err_msg=name)


class TestDeterministic:
    def test_two_runs_give_the_same_bytes(self, recipe_of, problem, home):
        asked = []

        class Look(TrainerCallback):
            def on_step_end(self, *_, **__):
                asked.append(torch.are_deterministic_algorithms_enabled())

        changes = {"tuning.epochs": 0.5, "adapter.dropout": 0.3}
        runs = [TunedFitter(recipe_of("pinclip", **changes, **{"tuning.deterministic": True}), callbacks=(Look(),)).fit(problem) for _ in range(2)]
        assert runs[0].head["weight"].tobytes() == runs[1].head["weight"].tobytes()
        assert all(runs[0].adapter[name].tobytes() == array.tobytes() for name, array in runs[1].adapter.items())
        assert asked
        assert all(asked)
        assert not torch.are_deterministic_algorithms_enabled()

    def test_leaves_what_it_found(self):
        with determinism(True):
            assert torch.are_deterministic_algorithms_enabled()
            with determinism(False):
                assert torch.are_deterministic_algorithms_enabled()
        assert not torch.are_deterministic_algorithms_enabled()


class TestLog:
    def test_tells_losses_and_what_the_noise_did(self, recipe_of, problem, home, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        log = {"tuning.log": "tensorboard", "tuning.log_to": str(tmp_path / "log"), "tuning.patience": 50}
        TunedFitter(recipe_of("pinclip", **log)).fit(problem)
        (run,) = (tmp_path / "log").iterdir()
        found = EventAccumulator(str(run)).Reload()
        assert {"train/loss", "train/learning_rate", "eval/cross_entropy", "train/clean_loss", "train/deviation_ratio"} <= set(
            found.Tags()["scalars"]
        )
        (first, *_) = found.Scalars("train/loss")
        assert first.step == 10
        assert 0 < first.value < 10
        assert found.Scalars("train/deviation_ratio")[0].value > 0

    def test_of_no_noise_tells_nothing(self, recipe_of, problem, home, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        TunedFitter(recipe_of("lora", **{"tuning.log": "tensorboard", "tuning.log_to": str(tmp_path / "log")})).fit(problem)
        (run,) = (tmp_path / "log").iterdir()
        assert "train/deviation_ratio" not in EventAccumulator(str(run)).Reload().Tags()["scalars"]

    def test_needs_a_folder(self, recipe_of):
        for changes in ({"tuning.log": "tensorboard"}, {"tuning.log_to": "x"}):
            with pytest.raises(RecipeError, match="log and log_to go together"):
                recipe_of("lora", **changes)

    def test_says_what_to_install(self, recipe_of, problem, home, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(RecipeError, match=r"realgrain\[log\]"):
            TunedFitter(recipe_of("lora", **{"tuning.log": "tensorboard", "tuning.log_to": str(tmp_path)})).fit(problem)


@pytest.mark.slow
class TestProcesses:
    @pytest.fixture
    def trained(self, run, toy_manifest, tiny_tower, tmp_path):
        """Train by one process or by two, in a home each; gives what was learned, and what was said."""
        recipe = tmp_path / "r.yaml"
        settings = {
            "base": str(tiny_tower.folder),
            "block": 2,
            "deliveries": ["clean"],
            "tuning": {"epochs": 2, "batch": 16, "evaluate_every": 3, "rate": 1e-3, "head_rate": 1e-2, "schedule": "linear", "patience": 50},
            "folds": [{"fake": ["gan-a"], "real": ["camera-a"]}, {"fake": ["gan-b"], "real": ["camera-b"]}],
        }

        def train(count, **changes):
            recipe.write_text(json.dumps({**settings, **changes}))
            launched = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count] if count > 1 else []
            out = tmp_path / f"{count}"
            env = {"REALGRAIN_HOME": str(tmp_path / f"home{count}"), "OMP_NUM_THREADS": "1"}
            done = run(*launched, "-m", "realgrain", "train", recipe, "--data", toy_manifest, "-o", out, env=env)
            assert done.returncode == 0, done.stderr
            assert not list((tmp_path / f"home{count}" / "runs").iterdir())
            return (
                {**load_file(out / "head.safetensors"), **load_file(out / "adapter.safetensors")},
                json.loads((out / "card.json").read_text()),
                done,
            )

        return train

    @pytest.mark.parametrize("changes", [{"method": "lora"}, {"method": "lora", "adapter": {"blocks": 1}, "draws": 2}], ids=["pixels", "kept"])
    def test_two_learn_what_one_learns(self, trained, changes):
        if "draws" in changes:
            changes = {**changes, "tuning": {"cache_frozen": True, "batch": 16, "evaluate_every": 3, "rate": 1e-3, "head_rate": 1e-2}}
        alone, card, _ = trained(1, **changes)
        together, shared, done = trained(2, **changes)
        assert max(abs(array).max() for array in alone.values()) > 1e-2
        same(alone, together)
        for name in ("calibration", "operating_point"):
            assert flat(shared[name]) == pytest.approx(flat(card[name]), abs=1e-4)
        assert done.stderr.count("bundle ") == 1

    def test_a_frozen_tower_needs_one(self, run, toy_manifest, tiny_tower, tmp_path):
        (tmp_path / "r.yaml").write_text(f"base: {tiny_tower.folder}\n")
        launched = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "realgrain", "train"]
        done = run(*launched, tmp_path / "r.yaml", "--data", toy_manifest, "-o", tmp_path / "b", env={"OMP_NUM_THREADS": "1"})
        assert done.returncode != 0
        assert "fitted by one process, not by 2" in done.stderr


def flat(value):
    """Numbers inside, by where they are."""
    if isinstance(value, dict):
        return {f"{key}.{name}": number for key, inner in value.items() for name, number in flat(inner).items()}
    return {"": float(value)} if isinstance(value, int | float) else {}
