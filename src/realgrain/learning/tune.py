"""Tuning a tower by transformers' Trainer: balanced batches, early stopping on training sources, checkpoints to resume from."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from realgrain.detector import weights
from realgrain.learning import backbone, features
from realgrain.learning.data import balanced_weights
from realgrain.learning.features import Delivery
from realgrain.learning.network import Network
from realgrain.learning.problem import Problem
from realgrain.learning.recipe import Recipe
from realgrain.picture.image import open_picture
from realgrain.picture.views import make_views

LOOK = 256  # pictures, at most, that the scale of the features is taken from


class Draws(Dataset[dict[str, torch.Tensor]]):
    """Augmented pictures, one of their views each; every look at one is another draw, or, when fixed, always the same."""

    def __init__(self, problem: Problem, recipe: Recipe, *, fixed: bool) -> None:
        self.problem, self.recipe, self.fixed = problem, recipe, fixed

    def __len__(self) -> int:
        return len(self.problem.samples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample, sha256 = self.problem.samples[index], self.problem.sha256[index]
        # torch's own generator, because its state is what a checkpoint keeps
        draw = 0 if self.fixed else int(torch.randint(2**31, ()))
        spec = self.recipe.views
        pixels = Delivery("augmented", self.recipe.augmentation, draw).apply(open_picture(sample.file).pixels, sha256)
        view = (draw if not self.fixed else int(sha256[:8], 16)) % spec.count
        return {"views": torch.from_numpy(make_views(pixels, spec)[view]), "fake": torch.tensor(float(sample.fake))}


class Balanced(Sampler[int]):
    """As many pictures an epoch as there are, drawn by their weights; each epoch its own draw, the same in a run that resumes."""

    def __init__(self, weight: np.ndarray, seed: int) -> None:
        self.weight, self.seed, self.epoch = torch.from_numpy(weight), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's draw."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.weight)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.multinomial(self.weight, len(self), replacement=True, generator=generator).tolist()


class _BalancedTrainer(Trainer):
    """A Trainer whose batches are balanced over classes and sources."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        drawn = train_dataset if isinstance(train_dataset, Draws) else self.train_dataset
        if not isinstance(drawn, Draws):
            raise TypeError("balanced batches need to know the pictures' sources")
        return Balanced(balanced_weights(drawn.problem.samples), self.args.seed)


@dataclass(frozen=True)
class TunedModel:
    """A tuned tower with its head."""

    head: dict[str, np.ndarray]
    adapter: dict[str, np.ndarray]
    network: Network

    def logits(self, problem: Problem) -> dict[str, np.ndarray]:
        """Logits (N,) in each of the recipe's deliveries."""
        recipe = self.network.recipe

        @torch.inference_mode()
        def score(views: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.network(views)["logits"],)

        def delivered(name: str) -> np.ndarray:
            found = features.run(score, problem.samples, problem.sha256, Delivery(name), recipe.views)
            return np.concatenate([logits for (logits,) in found]).mean(axis=1)

        self.network.eval()
        return {name: delivered(name) for name in recipe.deliveries}


@dataclass(frozen=True)
class TunedFitter:
    """Tunes towers as a recipe says."""

    recipe: Recipe

    def fit(self, problem: Problem) -> TunedModel:
        """Tune on the pictures of a part, all but a few of each source, which decide when to stop.

        A run that was killed goes on from its last checkpoint. What it computes is kept in the cache until it ends.

        Raises:
            WeightsError: the base cannot be had.
            NoiseCollapse: the noise stopped teaching anything.
        """
        torch.manual_seed(self.recipe.tuning.seed)
        kept = _kept_back(problem, self.recipe)
        training, validation = problem.keep(~kept), problem.keep(kept)
        network = Network(backbone.load_tower(weights.pull(self.recipe.base)), self.recipe)
        network.look(*self._look(network, training))
        folder = weights.home() / "runs" / _name(problem, self.recipe)
        trainer = self._trainer(network, training, validation, str(folder))
        trainer.train(resume_from_checkpoint=get_last_checkpoint(folder) if folder.is_dir() else None)
        shutil.rmtree(folder, ignore_errors=True)
        network.eval()
        return TunedModel(*network.shipped(), network)

    def _look(self, network: Network, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, D) of the untuned tower on some of the pictures, spread evenly, and their labels."""
        rows = np.unique(np.linspace(0, len(problem.samples) - 1, LOOK).astype(int))
        some = problem.keep(np.isin(np.arange(len(problem.samples)), rows))
        items = [Draws(some, self.recipe, fixed=True)[index] for index in range(len(some.samples))]
        with torch.inference_mode():
            batches = torch.stack([item["views"] for item in items]).split(features.BATCH)
            found = torch.cat([backbone.encode(network.tower, views, self.recipe.block) for views in batches])
        return found, torch.stack([item["fake"] for item in items]) > 0.5

    def _trainer(self, network: Network, training: Problem, validation: Problem, folder: str) -> Trainer:
        tuning = self.recipe.tuning
        steps = math.ceil(tuning.epochs * len(training.samples) / tuning.batch)
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=tuning.batch,
            per_device_eval_batch_size=tuning.batch,
            max_steps=steps,
            lr_scheduler_type=tuning.schedule,
            warmup_steps=int(tuning.warmup * steps),
            bf16=self.recipe.precision == "bf16",
            eval_strategy="steps",
            eval_steps=tuning.evaluate_every,
            save_strategy="steps",
            save_steps=tuning.evaluate_every,
            save_total_limit=1,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            logging_steps=10,
            seed=tuning.seed,
            report_to="none",
            remove_unused_columns=False,
            label_names=["fake"],
            use_cpu=not torch.cuda.is_available(),
            disable_tqdm=not sys.stderr.isatty(),
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        trainer = _BalancedTrainer(
            network,
            arguments,
            train_dataset=Draws(training, self.recipe, fixed=False),
            eval_dataset=Draws(validation, self.recipe, fixed=True),
            optimizers=(_optimiser(network, self.recipe), None),
            callbacks=[EarlyStoppingCallback(tuning.patience)],
        )
        trainer.remove_callback(PrinterCallback)  # it writes to stdout, which belongs to results
        return trainer


def _optimiser(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    slow = [weight for weight in network.tower.parameters() if weight.requires_grad]
    inside = {id(weight) for weight in slow}
    fast = [weight for weight in network.parameters() if weight.requires_grad and id(weight) not in inside]
    tuning = recipe.tuning
    groups = [{"params": slow, "lr": tuning.rate}, {"params": fast, "lr": tuning.head_rate}]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=tuning.decay)


def _kept_back(problem: Problem, recipe: Recipe) -> np.ndarray:
    """Which pictures (N,) bool decide when to stop: a share of each source, at least one, twins together."""
    rng = np.random.default_rng(recipe.tuning.seed)
    kept = np.zeros(len(problem.samples), bool)
    for label in (True, False):
        for source in sorted(set(problem.source[problem.fake == label])):
            rows = np.flatnonzero((problem.fake == label) & (problem.source == source))
            kept[rng.permutation(rows)[: max(1, round(recipe.tuning.validation * len(rows)))]] = True
    return np.isin(problem.twins, problem.twins[kept])


def _name(problem: Problem, recipe: Recipe) -> str:
    """Of a run: the same pictures and settings resume each other and nothing else does."""
    content = json.dumps([recipe.model_dump(mode="json"), problem.sha256])
    return hashlib.sha256(content.encode()).hexdigest()[:24]
