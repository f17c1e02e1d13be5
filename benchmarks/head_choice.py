"""How the shipped head was chosen: AUC on left-out training sources by training views, feature, penalty and content directions, under two protocols:
each pair of sources left out, and each family of generators with photographs of like content. Tests are not looked at.

python benchmarks/head_choice.py recipes/realgrain.yaml --data MANIFEST.csv -o results/left-out/choice.json
"""

import argparse
from copy import copy
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from realgrain.learning.data import Fold, left_in
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.train import folds_of, part_of
from realgrain.measuring.ledger import write_result

BLOCKS = (None, 12, 11, 10, 9, 8)
HEADS = ((1.0, 0), (100.0, 0), (100.0, 4), (100.0, 5), (100.0, 6), (100.0, 10))  # penalty, content directions
FAMILIES = (
    Fold(fake=("stylegan3", "generated-faces"), real=("ffhq", "unsplash-portraits")),
    Fold(fake=("ldm", "sd1", "game-ai"), real=("imagenet", "bsds500", "game-photos")),
)


class Choice(BaseModel):
    """One candidate: AUC of each fold in each delivery, the means of the pairs and of the families, and the mean of the two."""

    training_views: list[str]
    block: int | None
    penalty: float
    content_directions: int
    auc: dict[str, dict[str, float]]
    pairs: float
    families: float
    mean: float


class Choices(BaseModel):
    """All candidates, best first."""

    candidates: list[Choice]


def measure(problem: Problem, fitter: FrozenFitter, recipe: Recipe, views: list[int]) -> Choice:
    """AUC of a candidate on each left-out fold, having learned from some of the recipe's training views only."""
    seen = copy(fitter)
    seen.recipe, seen.drawn = recipe, fitter.drawn[:, :, views]
    auc: dict[str, dict[str, float]] = {}
    means = []
    for folds in (folds_of(recipe, problem), FAMILIES):
        for fold in folds:
            part = part_of(problem, fold)
            found = seen.fit(problem.keep(left_in(problem.samples, fold, problem.twins))).logits(part)
            auc[fold.name] = {name: float(roc_auc_score(part.fake, logits)) for name, logits in found.items()}
        means.append(float(np.mean([value for fold in folds for value in auc[fold.name].values()])))
    return Choice(
        training_views=[recipe.drawn_views.views[index].kind for index in views],
        block=recipe.block,
        penalty=recipe.penalty,
        content_directions=recipe.content_directions,
        auc=auc,
        pairs=means[0],
        families=means[1],
        mean=float(np.mean(means)),
    )


def main() -> None:
    """Measure every candidate, write and print them."""
    parser = argparse.ArgumentParser(description="Compare settings of the probe on left-out sources.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/left-out/choice.json"))
    options = parser.parse_args()
    found = []
    problem = prepare(read_recipe(options.recipe), options.data)
    for block in BLOCKS:
        recipe = read_recipe(options.recipe, {"block": block})
        fitter = FrozenFitter(problem, recipe)
        each = range(len(recipe.drawn_views.views))
        for views in [*([index] for index in each), list(each)]:
            for penalty, hidden in HEADS:
                candidate = recipe.model_copy(update={"penalty": penalty, "content_directions": hidden})
                found.append(measure(problem, fitter, candidate, views))
    found.sort(key=lambda choice: -choice.mean)
    write_result(options.output, Choices(candidates=found), [options.recipe, options.data])
    table = Table("training views", "block", "penalty", "hidden", "mean AUC", "pairs", "families", *found[0].auc)
    for choice in found:
        folds = (f"{np.mean(list(of.values())):.3f}" for of in choice.auc.values())
        table.add_row(
            "+".join(choice.training_views),
            str(choice.block or "embedding"),
            f"{choice.penalty:g}",
            str(choice.content_directions),
            *(f"{value:.3f}" for value in (choice.mean, choice.pairs, choice.families)),
            *folds,
        )
    Console().print(table)


if __name__ == "__main__":
    main()
