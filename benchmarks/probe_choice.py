"""How the shipped probe was chosen: AUC on left-out training sources by views, feature, penalty and content directions. Tests are not looked at.

python benchmarks/probe_choice.py recipes/probe.yaml --data MANIFEST.csv -o results/left-out/choice.json
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from realgrain.learning.data import left_in
from realgrain.learning.methods import probe
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.train import Problem, fit_head, folds_of, prepare
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


def looking(problem: Problem, views: list[int]) -> Problem:
    """The same pictures through some of their views only."""
    return replace(problem, drawn=problem.drawn[:, :, views], delivered={name: seen[:, views] for name, seen in problem.delivered.items()})


def measure(problem: Problem, recipe: Recipe, views: list[str]) -> Choice:
    """AUC of a candidate on each left-out fold."""
    auc: dict[str, dict[str, float]] = {}
    for fold in folds_of(recipe, problem):
        head = fit_head(problem.keep(left_in(problem.samples, fold, problem.twins)), recipe)
        part = problem.keep(np.array([fold.leaves_out(sample) for sample in problem.samples]))
        auc[fold.name] = {name: float(roc_auc_score(part.fake, probe.logits(seen, head))) for name, seen in part.delivered.items()}
    mean = float(np.mean([value for of in auc.values() for value in of.values()]))
    return Choice(views=views, block=recipe.block, penalty=recipe.penalty, content_directions=recipe.content_directions, auc=auc, mean=mean)


def main() -> None:
    """Measure every candidate, write and print them."""
    parser = argparse.ArgumentParser(description="Compare settings of the probe on left-out sources.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/left-out/choice.json"))
    options = parser.parse_args()
    found = []
    for block in BLOCKS:
        recipe = read_recipe(options.recipe, {"block": block})
        problem = prepare(recipe, options.data)
        kinds = [view.kind for view in recipe.views.views]
        for views in [*([index] for index in range(len(kinds))), list(range(len(kinds)))]:
            seen, names = looking(problem, views), [kinds[index] for index in views]
            for penalty, hidden in HEADS:
                found.append(measure(seen, recipe.model_copy(update={"penalty": penalty, "content_directions": hidden}), names))
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
