"""Manifest + bundle -> what the bundle's tower sees, as it came from its makers and, where the bundle changed it, as tuned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from realgrain.detector import weights
from realgrain.detector.bundle import Bundle
from realgrain.detector.compose import base_of
from realgrain.detector.weights import file_sha256
from realgrain.learning.backbone import precision_here
from realgrain.learning.data import Fold, ManifestError, automatic_folds
from realgrain.learning.features import Delivery, Extractor
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe
from realgrain.learning.train import whole_folds
from realgrain.measuring.inspect import look
from realgrain.measuring.inspect_results import Inspection, TowerLook
from realgrain.measuring.inspect_words import conclusion, findings
from realgrain.picture.conditions import condition as known_condition
from realgrain.picture.views import View, ViewSpec


@dataclass(frozen=True)
class Inspected:
    """Figures, and what they were measured of.

    Attributes:
        result: the figures.
        problem: N pictures.
        features: (N, D) of each tower in the result.
        head: settings of ``probe.fit``, those of the bundle's recipe.
    """

    result: Inspection
    problem: Problem
    features: dict[str, NDArray[np.float32]]
    head: dict[str, Any]


def inspect(
    manifest: Path,
    bundle: Bundle,
    *,
    split: str = "train",
    condition: str = "clean",
    limit: int | None = None,
    base: str | None = None,
    views: tuple[Literal["resize", "crop"], ...] = (),
    block: int | None = None,
    offline: bool = False,
) -> Inspected:
    """Look at labelled pictures through a bundle's tower.

    Args:
        manifest: labelled pictures; unreadable ones are named on the log, counted and left out.
        bundle: its card gives base, views, block, and the recipe with its folds, head and precision.
        split: rows of the manifest; empty: all.
        condition: of delivery.
        limit: pictures of a source and label at most, those whose sha256 comes first; None: all.
        base: another base than the card's. Not with a bundle that changed its own.
        views: other kinds of views than the card's.
        block: another block than the card's; 0: the joint-space embedding.
        offline: never touch the network.

    Raises:
        ManifestError: unusable, or not pictures of both labels.
        WeightsError: the base cannot be had.
        BundleError: the base is not the card's.
        ValueError: settings that do not go together.
    """
    known_condition(condition)
    if limit is not None and limit < 2:
        raise ValueError(f"a limit of {limit} pictures of a source leaves nothing to compare; give at least 2")
    if base is not None and bundle.adapter:
        raise ValueError(f"{bundle.folder}: changed its own base, and fits no other; leave out the base")
    card, recipe = bundle.card, Recipe.model_validate(bundle.card.recipe)
    recipe = recipe.model_copy(update={"split": split, "per_source": limit, "precision": precision_here(recipe.precision)})
    tower = base_of(bundle, offline=offline) if base is None else weights.pull(base, offline=offline)
    spec = ViewSpec(tuple(map(View, views)), card.views.mean, card.views.std) if views else card.views
    tap = (card.block if block is None else block) or None
    tower.check_fit(spec, tap)
    problem = prepare(recipe, manifest)
    folds = _folds(recipe, problem)
    plain = {"penalty": Recipe().penalty, "content_directions": 0}
    own = {"penalty": recipe.penalty, "content_directions": recipe.content_directions}
    heads = {"plain": plain} if own == plain else {"plain": plain, "as the recipe": own}
    features, looks = {}, {}
    for name in ("frozen", "tuned") if bundle.adapter else ("frozen",):
        extractor = Extractor(tower, spec, tap, recipe.precision == "bf16", bundle if name == "tuned" else None)
        features[name] = extractor.extract(problem.samples, problem.sha256, Delivery(condition)).mean(axis=1)
        found = look(features[name], problem, folds, heads)
        title = f"{tower.id}, frozen" if name == "frozen" else f"{tower.id}, tuned by {card.name}"
        note = _note(bundle, manifest, split) if name == "tuned" else ""
        looks[name] = TowerLook(title=title, note=note, conclusion=conclusion(found), findings=findings(found), look=found)
    result = Inspection(
        manifest=manifest.name,
        split=split,
        condition=condition,
        limit=limit,
        base=tower.id,
        base_sha256=tower.sha256,
        views=spec,
        block=tap,
        precision=recipe.precision,
        real=dict(Counter(sample.source for sample in problem.samples if not sample.fake)),
        fake=dict(Counter(sample.generator or sample.source for sample in problem.samples if sample.fake)),
        failed=problem.failed,
        towers=looks,
    )
    return Inspected(result, problem, features, own)


def _folds(recipe: Recipe, problem: Problem) -> list[Fold]:
    """The recipe's folds where these pictures have at least two of them, else automatic ones, else none."""
    if len(own := whole_folds(recipe.folds, problem)) > 1:
        return own
    try:
        return automatic_folds(problem.samples)
    except ManifestError:  # a label with one source: there is nothing to leave out
        return []


def _note(bundle: Bundle, manifest: Path, split: str) -> str:
    """What having been tuned on these very pictures does to the figures."""
    same = bundle.card.training.manifest_sha256 == file_sha256(manifest) and split == bundle.card.recipe.get("split")
    if same:
        return "This tower was tuned on these very pictures, all sources of them: its figures flatter it, those on left-out sources too."
    return "Pictures and sources that this tower was tuned on flatter its figures; the card does not tell which of these it was."
