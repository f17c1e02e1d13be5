"""Leave-source-out cross-validation: every figure on sources that the detector, its probability scale and its thresholds have not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from realgrain.detector.calibration import probability
from realgrain.learning.data import Fold, left_in
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, check_fit
from realgrain.learning.train import Fitter, Learned, check_folds, fitter_of, folds_of, learn, part_of
from realgrain.measuring.breakdown import ERRORS
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.results import Evaluation, LeftOut, WorstFold
from realgrain.measuring.score import SAMPLE, as_table


def cross_validate(recipe: Recipe, manifest: Path) -> pa.Table:
    """Scores table of every left-out picture in every delivery, with the column ``fold``.

    ``threshold`` is the one that the fold's training chose, the same for all groups of content.

    For each fold a whole detector (head, probability scale, thresholds) is learned from what is left in, where the other folds are its validation.

    Raises:
        ManifestError: fewer than three folds, or two of them leave nothing of a label to learn from.
        RecipeError: the recipe does not fit its base.
    """
    check_fit(recipe)
    problem = prepare(recipe, manifest)
    folds = folds_of(recipe, problem)
    for fold in folds:
        left = problem.keep(left_in(problem.samples, fold, problem.twins))
        check_folds(left, [other for other in folds if other != fold], recipe)
    fitter = fitter_of(recipe, problem)
    return as_table(row for fold in folds for row in _rows(problem, folds, fold, recipe, fitter))


def _rows(problem: Problem, folds: Sequence[Fold], fold: Fold, recipe: Recipe, fitter: Fitter) -> Iterator[dict[str, Any]]:
    left = problem.keep(left_in(problem.samples, fold, problem.twins))
    learned = learn(left, [other for other in folds if other != fold], recipe, fitter)
    part = part_of(problem, fold)
    found = learned.model.logits(part)
    group = learned.groups(part, found)
    for name, logits in found.items():
        for sample, logit, number in zip(part.samples, logits, group[name], strict=True):
            row = sample.model_dump(include=set(SAMPLE))
            yield {
                **row,
                **_score(float(logit), int(number), learned),
                "condition": name,
                "fold": fold.name,
                "bundle": "",
                "runtime": "torch",
                "error": "",
                "sha256": "",
            }


def _score(logit: float, group: int, learned: Learned) -> dict[str, Any]:
    chance = float(probability(learned.calibration.of(group), logit))
    return {"logit": logit, "probability": chance, "content_group": group, "threshold": learned.operating_point.ai}


def with_folds(table: pa.Table, folds: Sequence[Fold]) -> pa.Table:
    """The rows of a scores table that some fold leaves out, fold by fold: any detector measured in the same way.

    Raises:
        ValueError: each row is of a fold already, whose detector scored it.
    """
    if "fold" in table.column_names:
        raise ValueError("the scores table has folds of its own")
    parts = []
    for fold in folds:
        fake = (pc.field("label") == "fake") & pc.field("source").isin(fold.fake)
        part = table.filter(fake | ((pc.field("label") == "real") & pc.field("source").isin(fold.real)))
        parts.append(part.append_column("fold", pa.array([fold.name] * len(part), pa.string())))
    return pa.concat_tables(parts)


def by_fold(table: pa.Table, *, resamples: int = 1000, clusters: str | None = None) -> LeftOut:
    """Evaluate each fold of a table, and their mean, with the worst of them beside it.

    Args:
        table: scores table with the column ``fold``.
        resamples: of the bootstrap.
        clusters: column whose equal values are resampled together.
    """
    found = {}
    for name in table["fold"].unique().to_pylist():
        part = table.filter(pc.field("fold") == name)
        found[name] = evaluate(part, resamples=resamples, clusters=clusters)
    if not found:
        raise ValueError("no fold leaves out any row of the scores table")
    first = next(iter(found.values()))
    mean = {
        condition: {metric: _mean([of.conditions[condition].metrics[metric].value for of in found.values()]) for metric in result.metrics}
        for condition, result in first.conditions.items()
    }
    worst = {
        condition: {metric: of for metric in metrics if (of := _worst(found, condition, metric)) is not None} for condition, metrics in mean.items()
    }
    return LeftOut(folds=found, mean=mean, worst=worst)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _worst(folds: Mapping[str, Evaluation], condition: str, metric: str) -> WorstFold | None:
    values = {name: of.conditions[condition].metrics[metric].value for name, of in folds.items()}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    fold = (max if metric in ERRORS else min)(known, key=lambda name: known[name])
    return WorstFold(fold=fold, value=known[fold])
