"""What an ablation runs: a grid of settings, and what makes a run this one and no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from realgrain.learning.data import Fold, Sample
from realgrain.learning.recipe import Recipe, RecipeError, read_recipe
from realgrain.measuring.ledger import unseeded
from realgrain.picture.conditions import condition


class Plan(BaseModel):
    """What an ablation runs: every combination of the axes' values, in each protocol, with each of its folds left out.

    Attributes:
        recipe: file, relative to the plan's.
        axes: dotted setting -> values.
        protocols: name -> folds.
        training: pictures of each source to train on, at most.
        validation: pictures of each training source that choose the threshold, and are not trained on.
        testing: pictures of each left-out source, at most. Fewer of all three cost less; each line says how many there were.
        conditions: names of ``realgrain.picture.conditions.CONDITIONS`` in which left-out pictures are scored; none: the recipe's deliveries.
        grid_testing: pictures of each left-out source, at most, in conditions that are no delivery of the recipe; null: as many as in those.
        baseline: settings that pick what all others are compared with; it may come from another plan of the same ledger. Null: nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Path
    axes: dict[str, list[Any]]
    protocols: dict[str, list[Fold]]
    training: int = Field(default=10_000, ge=1)
    validation: int = Field(default=20, ge=1)
    testing: int = Field(default=10_000, ge=1)
    conditions: tuple[str, ...] = ()
    grid_testing: int | None = Field(default=None, ge=1)
    baseline: dict[str, Any] | None = None

    @field_validator("conditions")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            condition(name)
        return names


@dataclass(frozen=True)
class Run:
    """One run to be: a recipe, and what is left out under which protocol.

    Attributes:
        changes: settings over the plan's recipe.
        protocol: its name.
        fold: left out.
        recipe: with the changes.
        plan: that asks for it.
        pictures: digest of the pictures that there are.
    """

    changes: dict[str, Any]
    protocol: str
    fold: Fold
    recipe: Recipe
    plan: Plan
    pictures: str

    @property
    def conditions(self) -> dict[str, int]:
        """The conditions to score in, each with the number of pictures of a left-out source, at most."""
        plan, deliveries = self.plan, self.recipe.deliveries
        elsewhere = plan.testing if plan.grid_testing is None else min(plan.testing, plan.grid_testing)
        return {name: plan.testing if name in deliveries else elsewhere for name in plan.conditions or deliveries}

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides what is learned and which pictures it is asked about, as a line of the ledger has it.

        The digest of the recipe is of everything in it but the seed, so that the runs of a setting share it.
        """
        recipe = self.recipe.model_copy(update={"tuning": self.recipe.tuning.model_copy(update={"seed": 0})})
        return {
            "settings": self.changes,
            "seed": self.recipe.tuning.seed,
            "protocol": self.protocol,
            "left_out": self.fold.name,
            # what differs from the defaults: a setting that is new and neutral leaves older runs as they are
            "recipe_sha256": _digest(recipe.model_dump(mode="json", exclude_defaults=True)),
            "sizes": self.plan.model_dump(include={"training", "validation", "testing"}),
            "pictures_sha256": self.pictures,
        }

    @property
    def key(self) -> str:
        """Its identity, in a line. Conditions are no part of it: a run that is asked for more of them is made again and takes the old one's place."""
        found = self.identity
        return json.dumps({**found, "settings": unseeded(found["settings"])}, sort_keys=True)


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


def runs_of(plan: Plan, samples: Sequence[Sample]) -> list[Run]:
    """All runs, in order of the grid: an axis that is named first changes last, so name the seed first to have whole grids early.

    Args:
        plan: what to run.
        samples: the manifest's, of all splits.

    Raises:
        RecipeError: a combination is no recipe, or an axis chooses pictures.
    """
    base = read_recipe(plan.recipe)
    split = base.split
    pictures = _digest(sorted([sample.path, sample.label, sample.source] for sample in samples if not split or sample.split == split))
    grid = [dict(zip(plan.axes, values, strict=True)) for values in product(*plan.axes.values())]
    recipes = [read_recipe(plan.recipe, changes) for changes in grid]
    for name in ("split", "per_source", "duplicate_distance"):
        if any(getattr(recipe, name) != getattr(base, name) for recipe in recipes):
            raise RecipeError(f"{plan.recipe}: {name} is no axis: all runs of a plan choose from the same pictures; make a plan for each")
    return [
        Run(changes, name, fold, recipe, plan, pictures)
        for changes, recipe in zip(grid, recipes, strict=True)
        for name, folds in plan.protocols.items()
        for fold in folds
    ]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
