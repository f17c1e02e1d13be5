"""transformers' Trainer, set up as a recipe says: balanced batches, steps that mean the same on any number of processes, early stopping, logs."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, Sampler
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState

from realgrain.learning import processes
from realgrain.learning.collapse import check_collapse
from realgrain.learning.data import balanced_weights
from realgrain.learning.draws import Balanced, Draws
from realgrain.learning.incentive import Diagnostics
from realgrain.learning.network import Network
from realgrain.learning.recipe import Recipe, RecipeError, Tuning

LOG_EVERY = 10  # steps
WINDOW = 50
"""Batches that diagnostics are the mean of, and over which noise must look collapsed before training stops; our choice."""
LEAST_WINDOW = 5
"""Of a short run: a few more than by chance look alike; our choice."""


class BalancedTrainer(Trainer):
    """A Trainer whose batches are balanced over classes and sources, and whose log tells what the noise did."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        drawn = train_dataset if isinstance(train_dataset, Draws) else self.train_dataset
        if not isinstance(drawn, Draws):
            raise TypeError("balanced batches need to know the pictures' sources")
        count = self.args.max_steps * self.args.train_batch_size * self.args.gradient_accumulation_steps * processes.world()
        return Balanced(balanced_weights(drawn.problem.samples), self.args.seed, count)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the noise's diagnostics of the last step where there is noise."""
        network = self.model
        if "loss" in logs and isinstance(network, Network) and network.noise is not None and network.history:
            logs = {**logs, **asdict(network.history[-1])}
        super().log(logs, start_time)


class Watch(TrainerCallback, ExportableState):
    """Stops training where its noise has collapsed, and keeps what the last batches looked like in checkpoints, so that a resumed run knows them.

    A run that is too short for ``WINDOW`` is judged over half of its batches, ``LEAST_WINDOW`` at least.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []

    def state(self) -> dict:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"history": self.history}}

    def on_train_begin(self, *_: Any, **kwargs: Any) -> None:
        """Give the network what the checkpoint kept."""
        network: Network = kwargs["model"]
        network.history[:] = [Diagnostics(**step) for step in self.history]

    def on_step_end(self, args: TrainingArguments, *_: Any, **kwargs: Any) -> None:
        """Look at the last batches.

        Raises:
            NoiseCollapse: the noise stopped teaching anything.
        """
        network: Network = kwargs["model"]
        self.history = [asdict(step) for step in network.history[-WINDOW:]]
        if network.noise is not None:
            batches = args.max_steps * args.gradient_accumulation_steps
            check_collapse(network.history, min(WINDOW, max(LEAST_WINDOW, batches // 2)), network.recipe.noise.kind)


def make_trainer(
    network: Network, recipe: Recipe, training: Draws, validation: Draws, folder: Path, callbacks: Sequence[TrainerCallback] = ()
) -> BalancedTrainer:
    """A Trainer of a network, whose checkpoints go to a folder.

    Raises:
        RecipeError: the batch does not divide among the processes, or TensorBoard is asked for and not installed.
    """
    tuning = recipe.tuning
    parts = tuning.accumulate * processes.world()
    if tuning.batch % parts:
        raise RecipeError(
            f"tuning.batch {tuning.batch} does not divide into equal parts for {processes.world()} processes, {tuning.accumulate} each "
            f"(tuning.accumulate): {parts * math.ceil(tuning.batch / parts)} would"
        )
    steps = math.ceil(tuning.epochs * len(training) / tuning.batch)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=tuning.batch // parts,
        per_device_eval_batch_size=tuning.batch // parts,
        gradient_accumulation_steps=tuning.accumulate,
        max_steps=steps,
        max_grad_norm=tuning.clip or 0.0,  # 0: not at all
        bf16=recipe.precision == "bf16",
        eval_strategy="steps",
        eval_steps=tuning.evaluate_every,
        save_strategy="steps",
        save_steps=tuning.evaluate_every,
        save_total_limit=1,
        restore_callback_states_from_checkpoint=True,  # patience counts on where it was
        load_best_model_at_end=True,
        metric_for_best_model="eval_cross_entropy",
        greater_is_better=False,
        logging_steps=LOG_EVERY,
        seed=tuning.seed,
        report_to="none",
        remove_unused_columns=False,
        label_names=["fake"],
        use_cpu=not torch.cuda.is_available(),
        ddp_backend=processes.backend(),
        ddp_find_unused_parameters=recipe.noise.kind == "pin",  # a generator may be asked for a part of its noise
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_num_workers=tuning.workers,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    optimiser = make_optimiser(network, tuning)
    trainer = BalancedTrainer(
        network,
        arguments,
        train_dataset=training,
        eval_dataset=validation,
        compute_metrics=_cross_entropy,
        optimizers=(optimiser, LambdaLR(optimiser, rate_of(tuning, steps, tuning.epochs / steps))),
        callbacks=[EarlyStoppingCallback(tuning.patience), Watch(), *_writers(tuning, folder.name), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # it writes to stdout, which belongs to results
    torch.manual_seed(tuning.seed + processes.rank())  # noise and masks of each process are its own
    return trainer


def make_optimiser(network: Network, tuning: Tuning) -> torch.optim.Optimizer:
    slow = [weight for weight in network.tower.parameters() if weight.requires_grad]
    inside = {id(weight) for weight in slow}
    fast = [weight for weight in network.parameters() if weight.requires_grad and id(weight) not in inside]
    groups = [{"params": slow, "lr": tuning.rate}, {"params": fast, "lr": tuning.head_rate}]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=tuning.decay)


def rate_of(tuning: Tuning, steps: int, epochs_a_step: float) -> Callable[[int], float]:
    """The schedule: the factor, 0 to 1, on the rates of learning before each step, counted from 0.

    Args:
        tuning: its schedule and warm-up; ``warmup`` is a share of the steps.
        steps: in all.
        epochs_a_step: the share of an epoch that is a step, which the schedule ``step`` counts in.
    """
    rising = int(tuning.warmup * steps)

    def factor(step: int) -> float:
        if step < rising:
            return step / rising
        done = (step - rising) / max(1, steps - rising)
        if tuning.schedule == "linear":
            return max(0.0, 1 - done)
        if tuning.schedule == "cosine":
            return max(0.0, (1 + math.cos(math.pi * done)) / 2)
        if tuning.schedule == "step":
            # the sum of many small shares may fall just short of a whole epoch
            return tuning.step_factor ** math.floor(step * epochs_a_step / tuning.step_epochs + 1e-9)
        return 1.0

    return factor


def _cross_entropy(found: EvalPrediction) -> dict[str, float]:
    """Of validation: the mean over its pictures. The Trainer's own loss is a mean of batches, which are others in other numbers of processes."""
    logits, fake = (torch.as_tensor(values).float() for values in (found.predictions, found.label_ids))
    return {"cross_entropy": functional.binary_cross_entropy_with_logits(logits, fake).item()}


def _writers(tuning: Tuning, name: str) -> list[TrainerCallback]:
    if tuning.log == "none" or tuning.log_to is None or processes.rank():
        return []
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise RecipeError("tuning.log: tensorboard is not installed: pip install 'realgrain[log]'") from error
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(str(tuning.log_to / name)))]


@contextmanager
def determinism(asked: bool) -> Iterator[None]:
    """Have torch take none but deterministic algorithms, if asked to, and leave it as it was."""
    before = torch.are_deterministic_algorithms_enabled()
    if asked:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS has no deterministic ones; read when CUDA starts
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
