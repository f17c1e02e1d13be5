"""A grid of settings, each run on left-out sources, one line in a ledger for each: what is finished is never run again."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve
from tqdm import tqdm

from realgrain.detector import weights
from realgrain.learning.data import Fold, left_in
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, RecipeError, read_recipe
from realgrain.learning.train import Fitter, fitter_of, part_of
from realgrain.measuring.ledger import run_info
from realgrain.measuring.metrics import point_metrics


class Plan(BaseModel):
    """What an ablation runs: every combination of the axes' values, in each protocol, with each of its folds left out.

    Attributes:
        recipe: file, relative to the plan's.
        axes: dotted setting -> values.
        protocols: name -> folds.
        training: pictures of each source to train on, at most.
        validation: pictures of each training source that choose the threshold, and are not trained on.
        testing: pictures of each left-out source, at most. Fewer of all three cost less; each line says how many there were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Path
    axes: dict[str, list[Any]]
    protocols: dict[str, list[Fold]]
    training: int = Field(default=10_000, ge=1)
    validation: int = Field(default=20, ge=1)
    testing: int = Field(default=10_000, ge=1)


@dataclass(frozen=True)
class Run:
    """One line to be: settings over the recipe, and what is left out under which protocol."""

    changes: dict[str, Any]
    protocol: str
    fold: Fold

    @property
    def key(self) -> str:
        """What makes it this run and no other."""
        return json.dumps([self.changes, self.protocol, self.fold.name], sort_keys=True)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        RecipeError: not readable, an unknown key, or a value that does not fit.
    """
    try:
        plan = Plan.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise RecipeError(f"{path}: {error}") from error
    return plan.model_copy(update={"recipe": path.parent / plan.recipe})


def runs_of(plan: Plan) -> list[Run]:
    """All runs, in order of the grid: an axis that is named first changes last, so name the seed first to have whole grids early."""
    grid = [dict(zip(plan.axes, values, strict=True)) for values in product(*plan.axes.values())]
    return [Run(changes, name, fold) for changes in grid for name, folds in plan.protocols.items() for fold in folds]


def ablate(plan: Plan, manifest: Path, ledger: Path) -> Iterator[dict[str, Any]]:
    """Run what the ledger lacks, adding a line for each delivery of a finished run, and yield those lines.

    Raises:
        ManifestError: the pictures do not allow it.
        RecipeError: a combination is no recipe.
    """
    done = {line["key"] for line in read_ledger(ledger)}
    todo = [run for run in runs_of(plan) if run.key not in done]
    recipes = {run.key: read_recipe(plan.recipe, run.changes) for run in todo}  # a wrong value is found before hours are spent
    if not todo:
        return
    problem, manifest_sha256 = prepare(read_recipe(plan.recipe), manifest), weights.file_sha256(manifest)
    frozen: dict[str, FrozenFitter] = {}
    for run in tqdm(todo, "runs", disable=None):
        lines = [{**line, "manifest_sha256": manifest_sha256} for line in _lines(run, recipes[run.key], plan, problem, frozen)]
        _append(ledger, lines)
        yield from lines


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Lines of a ledger; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def _lines(run: Run, recipe: Recipe, plan: Plan, problem: Problem, frozen: dict[str, FrozenFitter]) -> Iterator[dict[str, Any]]:
    left = problem.keep(left_in(problem.samples, run.fold, problem.twins))
    check = left.keep(_some_of_each_source(left, 0, plan.validation))
    training = left.keep(_some_of_each_source(left, plan.validation, plan.training))
    out = part_of(problem, run.fold)
    out = out.keep(_some_of_each_source(out, 0, plan.testing))
    started = time.perf_counter()
    model = _fitter(recipe, problem, frozen).fit(training)
    seconds = time.perf_counter() - started
    chosen = model.logits(check)
    threshold = best_threshold(np.tile(check.fake, len(chosen)), np.concatenate(list(chosen.values())))
    for name, logits in model.logits(out).items():
        found = point_metrics(out.fake, logits, np.zeros(len(logits)), None)
        yield {
            "key": run.key,
            "settings": run.changes,
            "adapter": recipe.adapter.kind,
            "masking": recipe.masking.kind,
            "noise": recipe.noise.kind,
            "seed": recipe.tuning.seed,
            "protocol": run.protocol,
            "left_out": run.fold.name,
            "delivery": name,
            "balanced_accuracy": float(balanced_accuracy_score(out.fake, logits >= threshold)),
            "auc": found["auc"],
            "tpr_at_5_fpr": found["tpr_at_5_fpr"],
            "validation_auc": float(roc_auc_score(check.fake, chosen[name])),
            "pictures": {"training": len(training.samples), "validation": len(check.samples), "testing": len(out.samples)},
            "seconds": round(seconds, 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            **{key: value for key, value in run_info([]).items() if key in ("day", "processor", "python", "versions")},
        }


def _fitter(recipe: Recipe, problem: Problem, frozen: dict[str, FrozenFitter]) -> Fitter:
    """How a recipe learns; features of a frozen tower are taken once and serve every fold and every setting of its head."""
    if recipe.tunes:
        return fitter_of(recipe, problem)
    features = recipe.model_dump_json(include={"base", "views", "block", "augmentation", "draws", "precision", "deliveries"})
    if features not in frozen:
        frozen[features] = FrozenFitter(problem, recipe)
    fitter = copy(frozen[features])
    fitter.recipe = recipe
    return fitter


def _some_of_each_source(problem: Problem, first: int, count: int) -> np.ndarray:
    """Mask (N,) of ``count`` pictures of each source from the ``first`` on, in order of their sha256, so that the choice depends on nothing else."""
    kept = np.zeros(len(problem.samples), bool)
    order = np.argsort(problem.sha256)
    for fake, source in {(sample.fake, sample.source) for sample in problem.samples}:
        rows = [row for row in order if problem.source[row] == source and problem.fake[row] == fake]
        kept[rows[first : first + count]] = True
    return kept


def best_threshold(fake: np.ndarray, logits: np.ndarray) -> float:
    """The logit (at or above it: generated) of the best balanced accuracy, for pictures that are not tested on.

    Args:
        fake: (N,) bool, both classes present.
        logits: (N,).
    """
    fpr, tpr, thresholds = roc_curve(fake, logits, drop_intermediate=False)
    best = thresholds[np.argmax(tpr - fpr)]
    return float(best) if np.isfinite(best) else float(np.nextafter(logits.max(), np.inf))


def _append(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """All lines of a run in one write, so that a killed run leaves none of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
