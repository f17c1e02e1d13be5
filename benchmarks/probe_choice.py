"""How the shipped probe was chosen: AUC on left-out training sources by views, feature, penalty and content directions. Tests are not looked at.

python benchmarks/probe_choice.py recipes/realgrain.yaml --data MANIFEST.csv -o results/left-out/choice.json
"""

import argparse
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from realgrain.learning.data import left_in
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.train import folds_of, part_of
from realgrain.measuring.ledger import write_result

BLOCKS = (None, 12, 11, 10, 9, 8, 6, 4)
HEADS = ((1.0, 0), (100.0, 0), (100.0, 5), (100.0, 10), (100.0, 20))  # penalty, content directions


class Choice(BaseModel):
    """One candidate: AUC of each fold in each delivery, and the mean of all."""

    views: list[str]
    block: int | None
    penalty: float
    content_directions: int
    auc: dict[str, dict[str, float]]
    mean: float


class Choices(BaseModel):
    """All candidates, best first."""

    candidates: list[Choice]


def as_learned(recipe: Recipe) -> Recipe:
    """The recipe, used on the views that it learns from: of these there are more to choose from."""
    return recipe.model_copy(update={"views": recipe.drawn_views, "training_views": None})


def through(fitter: FrozenFitter, learned: list[int], used: list[int]) -> FrozenFitter:
    """A fitter that learns from some of the recipe's views only, and whose models are asked about some only."""
    seen, recipe = copy(fitter), fitter.recipe
    specs = {"views": (recipe.views, used), "training_views": (recipe.drawn_views, learned)}
    some = {name: replace(spec, views=tuple(spec.views[index] for index in kept)) for name, (spec, kept) in specs.items()}
    seen.recipe = recipe.model_copy(update=some)
    seen.drawn = fitter.drawn[:, :, learned]
    seen.delivered = {name: features[:, used] for name, features in fitter.delivered.items()}
    return seen


def measure(problem: Problem, fitter: FrozenFitter, recipe: Recipe, views: list[int]) -> Choice:
    """AUC of a candidate on each left-out fold, looking at the pictures through some of the recipe's views only."""
    seen = through(fitter, views, views)
    seen.recipe = recipe
    auc: dict[str, dict[str, float]] = {}
    for fold in folds_of(recipe, problem):
        part = part_of(problem, fold)
        found = seen.fit(problem.keep(left_in(problem.samples, fold, problem.twins))).logits(part)
        auc[fold.name] = {name: float(roc_auc_score(part.fake, logits)) for name, logits in found.items()}
    return Choice(
        views=[recipe.views.views[index].kind for index in views],
        block=recipe.block,
        penalty=recipe.penalty,
        content_directions=recipe.content_directions,
        auc=auc,
        mean=float(np.mean([value for of in auc.values() for value in of.values()])),
    )


def main() -> None:
    """Measure every candidate, write and print them."""
    parser = argparse.ArgumentParser(description="Compare settings of the probe on left-out sources.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/left-out/choice.json"))
    options = parser.parse_args()
    found = []
    shipped = as_learned(read_recipe(options.recipe))
    problem = prepare(shipped, options.data)
    for block in BLOCKS:
        recipe = shipped.model_copy(update={"block": block})
        fitter = FrozenFitter(problem, recipe)
        each = range(len(recipe.views.views))
        for views in [*([index] for index in each), list(each)]:
            for penalty, hidden in HEADS:
                candidate = recipe.model_copy(update={"penalty": penalty, "content_directions": hidden})
                found.append(measure(problem, fitter, candidate, views))
    found.sort(key=lambda choice: -choice.mean)
    write_result(options.output, Choices(candidates=found), [options.recipe, options.data])
    table = Table("views", "block", "penalty", "hidden", "mean AUC", *found[0].auc)
    for choice in found:
        folds = (f"{np.mean(list(of.values())):.3f}" for of in choice.auc.values())
        table.add_row(
            "+".join(choice.views),
            str(choice.block or "embedding"),
            f"{choice.penalty:g}",
            str(choice.content_directions),
            f"{choice.mean:.3f}",
            *folds,
        )
    Console().print(table)


if __name__ == "__main__":
    main()
