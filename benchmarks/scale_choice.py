"""One probability scale for all pictures, or one for each group of content, and how far apart: on sources that neither head nor scale have seen.

    python benchmarks/scale_choice.py recipes/realgrain.yaml --data data/manifest.csv -o results/left-out/scale.json

For each fold all is learned without it: head, groups of content, and the scale, which is fitted on what heads without another fold each say of that
one. Tests are not looked at.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from sklearn.metrics import log_loss, roc_auc_score

from realgrain.detector import content
from realgrain.detector.calibration import fit_each, probability
from realgrain.learning.data import Fold, balanced_weights, left_in
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.train import folds_of, groups_of, learn, part_of
from realgrain.measuring.ledger import write_result

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Of all pictures in the scale of a group; 1: one scale for all groups."""


class Judged(BaseModel):
    """Probabilities of pictures of one or more folds in one delivery.

    Attributes:
        balanced_accuracy: at 0.5.
        auc: of the probabilities.
        log_loss: both labels with the same weight; 0.693 is that of 0.5 for all.
    """

    balanced_accuracy: float
    auc: float
    log_loss: float


class Choice(BaseModel):
    """One share, by delivery.

    Attributes:
        share: of all pictures.
        folds: each fold alone.
        mean: over folds.
        worst: of the folds, each figure by itself.
        together: all folds' pictures as one set, each judged without its fold.
    """

    share: float
    folds: dict[str, dict[str, Judged]]
    mean: dict[str, Judged]
    worst: dict[str, Judged]
    together: dict[str, Judged]


class Choices(BaseModel):
    """All shares."""

    candidates: list[Choice]


def judged(fake: np.ndarray, chances: np.ndarray) -> Judged:
    """What probabilities (N,) are worth, given their labels (N,) bool."""
    right = ((chances >= 0.5)[fake].mean() + (chances < 0.5)[~fake].mean()) / 2
    even = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    return Judged(
        balanced_accuracy=float(right), auc=float(roc_auc_score(fake, chances)), log_loss=float(log_loss(fake, chances, sample_weight=even))
    )


def over(each: Sequence[Judged], what: str) -> Judged:
    """The mean of each figure over folds, or the worst."""
    if what == "mean":
        return Judged(**{name: float(np.mean([getattr(one, name) for one in each])) for name in Judged.model_fields})
    worst = {name: min(getattr(one, name) for one in each) for name in ("balanced_accuracy", "auc")}
    return Judged(**worst, log_loss=max(one.log_loss for one in each))


def chances_of(problem: Problem, folds: Sequence[Fold], fold: Fold, recipe: Recipe, fitter: FrozenFitter) -> list[dict[str, np.ndarray]]:
    """Probabilities (n,) of a fold's pictures by delivery, for each of ``SHARES``."""
    left, others = problem.keep(left_in(problem.samples, fold, problem.twins)), [other for other in folds if other != fold]
    learned = learn(left, others, recipe, fitter)
    parts = [part_of(left, other) for other in others]
    models = [fitter.fit(left.keep(left_in(left.samples, other, left.twins))) for other in others]
    names = recipe.deliveries
    each = [model.logits(part) for model, part in zip(models, parts, strict=True)]
    places = [groups_of(model, part, learned.statistics, names) for model, part in zip(models, parts, strict=True)]
    logits, group = ({name: np.concatenate([of[name] for of in found]) for name in names} for found in (each, places))
    fake, weight = np.concatenate([part.fake for part in parts]), balanced_weights([sample for part in parts for sample in part.samples])
    out = part_of(problem, fold)
    mine, where = learned.model.logits(out), learned.groups(out, names)
    found = []
    for share in SHARES:
        scale = fit_each(logits, fake, weight, group, content.count(learned.statistics), recipe.calibration, share)
        found.append({name: np.array([probability(scale.of(g), x) for g, x in zip(where[name], mine[name], strict=True)]) for name in names})
    return found


def main() -> None:
    """Measure each share, write and print."""
    parser = argparse.ArgumentParser(description="Compare probability scales by group of content on left-out sources.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/left-out/scale.json"))
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    problem = prepare(recipe, options.data)
    folds, fitter = folds_of(recipe, problem), FrozenFitter(problem, recipe)
    chances = {fold.name: chances_of(problem, folds, fold, recipe, fitter) for fold in folds}
    fakes = {fold.name: part_of(problem, fold).fake for fold in folds}
    found = []
    for index, share in enumerate(SHARES):
        each = {name: {delivery: judged(fakes[name], of) for delivery, of in chances[name][index].items()} for name in fakes}
        found.append(
            Choice(
                share=share,
                folds=each,
                **{what: {name: over([of[name] for of in each.values()], what) for name in recipe.deliveries} for what in ("mean", "worst")},
                together={
                    name: judged(np.concatenate(list(fakes.values())), np.concatenate([chances[fold][index][name] for fold in fakes]))
                    for name in recipe.deliveries
                },
            )
        )
    write_result(options.output, Choices(candidates=found), [options.recipe, options.data])
    for choice in found:
        print(choice.model_dump_json(exclude={"folds"}))


if __name__ == "__main__":
    main()
