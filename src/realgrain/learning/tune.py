"""Tuning a tower by transformers' Trainer: balanced batches, early stopping on training sources, checkpoints to resume from."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from realgrain.detector import weights
from realgrain.learning import backbone, features
from realgrain.learning.data import balanced_weights
from realgrain.learning.features import Delivery
from realgrain.learning.incentive import Diagnostics
from realgrain.learning.methods import probe
from realgrain.learning.network import WINDOW, Network
from realgrain.learning.problem import Problem
from realgrain.learning.recipe import Recipe
from realgrain.learning.stem import Stem
from realgrain.picture.image import open_picture
from realgrain.picture.views import make_views

LOOK = 256  # pictures, at most, that the scale of the features is taken from


class Draws(Dataset[dict[str, torch.Tensor]]):
    """Augmented pictures, one of their views each; every look at one is another draw, or, when fixed, always the same.

    With a stem, which must have been filled, there are as many draws as the recipe says, and tokens take the place of views.
    """

    def __init__(self, problem: Problem, recipe: Recipe, stem: Stem | None = None, *, fixed: bool) -> None:
        self.problem, self.recipe, self.stem, self.fixed = problem, recipe, stem, fixed

    def __len__(self) -> int:
        return len(self.problem.samples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample, sha256 = self.problem.samples[index], self.problem.sha256[index]
        # torch's own generator, because its state is what a checkpoint keeps
        draw = 0 if self.fixed else int(torch.randint(2**31, ()))
        view = (draw if not self.fixed else int(sha256[:8], 16)) % self.recipe.views.count
        fake = torch.tensor(float(sample.fake))
        if self.stem is not None:
            delivery = self.delivery(draw // self.recipe.views.count % self.recipe.draws)
            return {"tokens": torch.from_numpy(self.stem.read(sha256, delivery, masked=not self.fixed)[view]).float(), "fake": fake}
        pixels = self.delivery(draw).apply(open_picture(sample.file).pixels, sha256)
        return {"views": torch.from_numpy(make_views(pixels, self.recipe.views)[view]), "fake": fake}

    def delivery(self, draw: int) -> Delivery:
        """A draw of the recipe's augmentation."""
        return Delivery("augmented", self.recipe.augmentation, draw)

    def fill(self) -> None:
        """Have the stem, if there is one, compute what these draws need."""
        if self.stem is not None:
            for draw in range(1 if self.fixed else self.recipe.draws):
                self.stem.fill(self.problem, self.delivery(draw), masked=not self.fixed)


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
    """A tuned tower with its head.

    Attributes:
        diagnostics: of the last steps of training, by name: losses, and what the noise did (``noise.Diagnostics``).
    """

    head: dict[str, np.ndarray]
    adapter: dict[str, np.ndarray]
    diagnostics: dict[str, float]
    network: Network
    stem: Stem | None

    def logits(self, problem: Problem, deliveries: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Logits (N,) in each delivery; None: in those of the recipe."""
        self.network.eval()
        return {name: self._delivered(problem, name) for name in (self.network.recipe.deliveries if deliveries is None else deliveries)}

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
        tower = weights.pull(self.recipe.base)
        network = Network(backbone.load_tower(tower), self.recipe)
        stem = Stem(network, tower.sha256) if self.recipe.tuning.cache_frozen else None
        training, validation = (Draws(problem.keep(part), self.recipe, stem, fixed=fixed) for part, fixed in ((~kept, False), (kept, True)))
        training.fill()
        validation.fill()
        network.look(*self._look(network, training.problem, stem))
        folder = weights.home() / "runs" / _name(problem, self.recipe)
        trainer = self._trainer(network, training, validation, str(folder))
        trainer.train(resume_from_checkpoint=get_last_checkpoint(folder) if folder.is_dir() else None)
        shutil.rmtree(folder, ignore_errors=True)
        network.eval()
        return TunedModel(*network.shipped(), _last_steps(network.history), network, stem)

    def _look(
        self, network: Network, problem: Problem, stem: Stem | None
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, np.ndarray] | None, torch.Tensor]:
        """Features (N, D) of the untuned tower, their labels, the head to start from, and what noise is added to: of some of the pictures, spread
        evenly, or of all if a head is fitted to them.
        """
        from_probe = self.recipe.tuning.head_start == "probe"
        count = len(problem.samples) if from_probe else min(LOOK, len(problem.samples))
        some = problem.keep(np.isin(np.arange(len(problem.samples)), np.linspace(0, len(problem.samples) - 1, count).astype(int)))
        drawn = Draws(some, self.recipe, stem, fixed=True)
        drawn.fill()
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

    def _trainer(self, network: Network, training: Draws, validation: Draws, folder: str) -> Trainer:
        tuning = self.recipe.tuning
        steps = math.ceil(tuning.epochs * len(training) / tuning.batch)
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
            train_dataset=training,
            eval_dataset=validation,
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


def _last_steps(history: Sequence[Diagnostics]) -> dict[str, float]:
    """Means over the last steps, and how many there were in all."""
    last = [asdict(step) for step in history[-WINDOW:]]
    return {"steps": len(history)} | {name: sum(step[name] for step in last) / len(last) for name in (last[0] if last else ())}


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
