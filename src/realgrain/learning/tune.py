"""Tuning a tower: early stopping on training sources, checkpoints to resume from, and a model to score with at the end."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import TrainerCallback, TrainerState
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import SAFE_WEIGHTS_NAME

from realgrain.detector import weights
from realgrain.learning import backbone, features, processes
from realgrain.learning.collapse import NoiseCollapse
from realgrain.learning.data import ManifestError, balanced_weights, labels_missing
from realgrain.learning.draws import Draws
from realgrain.learning.features import Delivery
from realgrain.learning.incentive import Diagnostics
from realgrain.learning.methods import probe
from realgrain.learning.network import Network
from realgrain.learning.problem import Problem
from realgrain.learning.recipe import Recipe
from realgrain.learning.remaking import with_remakes
from realgrain.learning.stem import Stem
from realgrain.learning.trainer import WINDOW, determinism, make_trainer

LOOK = 256  # pictures, at most, that the scale of the features is taken from


@dataclass(frozen=True)
class TunedModel:
    """A tuned tower with its head.

    Attributes:
        start: the head that tuning started from, on the untuned tower.
        diagnostics: of the last batches of training, by name: losses, and what the noise did (``noise.Diagnostics``).
    """

    head: dict[str, np.ndarray]
    adapter: dict[str, np.ndarray]
    start: dict[str, np.ndarray]
    diagnostics: dict[str, float]
    network: Network
    stem: Stem | None

    def logits(self, problem: Problem, deliveries: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Logits (N,) in each delivery; None: in those of the recipe."""
        self.network.eval()
        return {name: self._delivered(problem, name) for name in (self.network.recipe.deliveries if deliveries is None else deliveries)}

    def features(self, problem: Problem) -> None:
        """None: they would take as long again as scoring all pictures in all deliveries, for each fold."""

    @torch.inference_mode()
    def _delivered(self, problem: Problem, name: str) -> np.ndarray:
        views, bf16 = self.network.recipe.views, self.network.recipe.precision == "bf16"

        def score(**seen: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16 and self.stem is not None):
                return self.network(**seen)["logits"].float()

        if self.stem is not None:
            found = torch.cat([score(tokens=tokens) for tokens in self.stem.batches(problem, Delivery(name))])
            return found.unflatten(0, (len(problem.samples), -1)).mean(1).numpy()
        each = features.run(lambda seen: (score(views=seen),), problem.samples, problem.sha256, Delivery(name), views)
        return np.concatenate([logits for (logits,) in each]).mean(axis=1)


@dataclass(frozen=True)
class TunedFitter:
    """Tunes towers as a recipe says.

    Attributes:
        made: aligned fakes, each of which is trained on along with its photograph; None: there are none.
        callbacks: of transformers' Trainer, called in each run.
    """

    recipe: Recipe
    made: Problem | None = None
    callbacks: tuple[TrainerCallback, ...] = ()

    def fit(self, problem: Problem) -> TunedModel:
        """Tune on the pictures of a part, all but a few of each source, which decide when to stop.

        A run that was killed goes on from its last checkpoint. What it computes is kept in the cache until it ends. Where torchrun started several
        processes, they share each batch, and every one of them returns the model.

        Raises:
            WeightsError: the base cannot be had.
            NoiseCollapse: the noise stopped teaching anything.
            RecipeError: the batch does not divide among the processes, or TensorBoard is asked for and not installed.
            ManifestError: what decides when to stop leaves nothing of a label to train on.
        """
        with determinism(self.recipe.tuning.deterministic):
            return self._fit(problem if self.made is None else with_remakes(problem, self.made))

    def _fit(self, problem: Problem) -> TunedModel:
        torch.manual_seed(self.recipe.tuning.seed)
        kept = kept_back(problem, self.recipe)
        tower = weights.pull(self.recipe.base)
        network = Network(backbone.load_tower(tower), self.recipe)
        stem = Stem(network, tower.sha256) if self.recipe.tuning.cache_frozen else None
        training, validation = (Draws(problem.keep(part), self.recipe, stem) for part in (~kept, kept))
        training.fill(fixed=False)
        validation.fill(fixed=True)
        network.look(*self._look(network, training.problem, stem))
        start, _ = network.shipped()
        folder = weights.home() / "runs" / _name(problem, self.recipe)
        trainer = make_trainer(network, self.recipe, training, validation, folder, self.callbacks)
        try:
            trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder))
        except NoiseCollapse:
            _remove(folder)
            raise
        processes.wait()  # the others may still be reading the best checkpoint
        _remove(folder)
        network.eval().cpu()
        return TunedModel(*network.shipped(), start, _last_steps(network.history, trainer.state.global_step), network, stem)

    def _look(
        self, network: Network, problem: Problem, stem: Stem | None
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, np.ndarray] | None, torch.Tensor]:
        """Features (N, D) of the untuned tower, their labels, the head to start from, and what noise is added to: of some of the pictures, spread
        evenly, or of all if a head is fitted to them.
        """
        from_probe = self.recipe.tuning.head_start == "probe"
        count = len(problem.samples) if from_probe else min(LOOK, len(problem.samples))
        some = problem.keep(np.isin(np.arange(len(problem.samples)), np.linspace(0, len(problem.samples) - 1, count).astype(int)))
        drawn = Draws(some, self.recipe, stem)
        drawn.fill(fixed=True)
        network.eval()
        found, perturbed = [], []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            for start in range(0, count, features.BATCH):
                items = [drawn[index] for index in range(start, min(start + features.BATCH, count))]
                key = "views" if stem is None else "tokens"
                seen = torch.stack([item[key] for item in items])
                tokens = network.stem(seen, None) if stem is None else seen
                reached = network.reach(tokens)
                found.append(network.read(reached).float())
                perturbed.append(reached.float().reshape(len(reached), -1, reached.shape[-1]).mean(1))
        known, fake, places = torch.cat(found), torch.from_numpy(some.fake), torch.cat(perturbed)
        if not from_probe:
            return known, fake, None, places
        settings = {"penalty": self.recipe.penalty, "content_directions": self.recipe.content_directions}
        return known, fake, probe.fit(known.numpy(), some.fake, balanced_weights(some.samples), **settings), places


def _remove(folder: Path) -> None:
    """The checkpoints of a run that is over, at once: the next start must not find a part of them."""
    if processes.rank() == 0 and folder.is_dir():
        gone = folder.with_suffix(".gone")
        shutil.rmtree(gone, ignore_errors=True)  # left by a kill
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that is whole, None without one: a kill may cut off its writing, which ends with the Trainer's state, or its removal."""
    if processes.rank() == 0:
        for checkpoint in folder.glob("checkpoint-*"):
            try:
                TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
                whole = all((checkpoint / name).is_file() for name in (SAFE_WEIGHTS_NAME, OPTIMIZER_NAME, SCHEDULER_NAME))
            except (OSError, ValueError):
                whole = False
            if not whole:
                shutil.rmtree(checkpoint)
    processes.wait()
    return get_last_checkpoint(folder) if folder.is_dir() else None


def _last_steps(history: Sequence[Diagnostics], steps: int) -> dict[str, float]:
    """Means over the last of them, and how many steps there were in all."""
    last = [asdict(step) for step in history[-WINDOW:]]
    return {"steps": steps} | {name: sum(step[name] for step in last) / len(last) for name in (last[0] if last else ())}


def kept_back(problem: Problem, recipe: Recipe) -> np.ndarray:
    """Which pictures (N,) bool decide when to stop: a share of each source, at least one, twins together.

    Raises:
        ManifestError: nothing of a label is left to train on.
    """
    rng = np.random.default_rng(recipe.tuning.seed)
    kept = np.zeros(len(problem.samples), bool)
    for label in (True, False):
        for source in sorted(set(problem.source[problem.fake == label])):
            rows = np.flatnonzero((problem.fake == label) & (problem.source == source))
            kept[rng.permutation(rows)[: max(1, round(recipe.tuning.validation * len(rows)))]] = True
    kept = np.isin(problem.twins, problem.twins[kept])
    for label in labels_missing(problem.keep(~kept).samples):
        sources = ", ".join(sorted({str(source) for source in problem.source[problem.fake == (label == "fake")]}))
        raise ManifestError(
            f"no {label} picture is left to train on beside those that decide when to stop, of each source at least one and its near-duplicates with "
            f"it (tuning.validation): the {label} sources ({sources or 'none'}) have too few pictures that differ"
        )
    return kept


def _name(problem: Problem, recipe: Recipe) -> str:
    """Of a run: the same pictures and settings resume each other and nothing else does. Settings that change no result do not count."""
    settings = recipe.model_dump(mode="json", exclude={"tuning": {"workers", "log", "log_to"}})
    content = json.dumps([settings, problem.sha256])
    return hashlib.sha256(content.encode()).hexdigest()[:24]
