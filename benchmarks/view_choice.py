"""Which views the head needs in use, how large, and which to learn from: AUC and recall on left-out training sources, by pairs and by families.

    python benchmarks/view_choice.py recipes/realgrain.yaml recipes/few.yaml --sizes 160 --data data/manifest.csv \
        -o results/left-out/views.json

The first recipe gives the head, the views that it learns from and the pairs, the second the families. Sizes are of resized views that are used
and not learned from; ``--only-sizes`` looks at them alone. Tests are not looked at.
"""

import argparse
from pathlib import Path

import numpy as np
from probe_choice import as_learned, through
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score, roc_curve

from realgrain.learning.data import Fold, left_in
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import read_recipe
from realgrain.learning.train import part_of
from realgrain.measuring.ledger import write_result
from realgrain.measuring.resampling import FPR_LIMITS
from realgrain.picture.views import View, ViewSpec

FPR = FPR_LIMITS["tpr_at_5_fpr"]


class Choice(BaseModel):
    """One candidate: figures of each fold in each delivery, and their means.

    Attributes:
        learned: views of augmented pictures that the head learns from, each with its side in pixels.
        used: views whose logits are averaged, likewise.
        left_out: ``pairs`` or ``families``.
        auc: by fold and delivery.
        recall: likewise, of generated pictures where at most 5 % of the fold's real ones are flagged.
    """

    learned: list[str]
    used: list[str]
    left_out: str
    auc: dict[str, dict[str, float]]
    recall: dict[str, dict[str, float]]
    mean_auc: float
    mean_recall: float


class Choices(BaseModel):
    """All candidates."""

    candidates: list[Choice]


def named(spec: ViewSpec) -> list[str]:
    """Views in words."""
    return [f"{view.kind} {view.size}" for view in spec.views]


def measure(problem: Problem, seen: FrozenFitter, folds: list[Fold], left_out: str) -> Choice:
    """Figures of a candidate on each left-out fold."""
    auc: dict[str, dict[str, float]] = {}
    recall: dict[str, dict[str, float]] = {}
    for fold in folds:
        part = part_of(problem, fold)
        logits = seen.fit(problem.keep(left_in(problem.samples, fold, problem.twins))).logits(part)
        auc[fold.name], recall[fold.name] = {}, {}
        for name, of in logits.items():
            flagged, caught, _ = roc_curve(part.fake, of)
            auc[fold.name][name] = float(roc_auc_score(part.fake, of))
            recall[fold.name][name] = float(caught[flagged <= FPR].max())
    return Choice(
        learned=named(seen.recipe.drawn_views),
        used=named(seen.recipe.views),
        left_out=left_out,
        auc=auc,
        recall=recall,
        mean_auc=float(np.mean([value for of in auc.values() for value in of.values()])),
        mean_recall=float(np.mean([value for of in recall.values() for value in of.values()])),
    )


def main() -> None:
    """Measure every candidate, write and print them."""
    parser = argparse.ArgumentParser(description="Compare views to learn from and views to use on left-out sources.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("families", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="*", default=[], metavar="PIXELS")
    parser.add_argument("--only-sizes", action="store_true", help="leave out the views that are learned from, which take longest")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/left-out/views.json"))
    options = parser.parse_args()
    recipe = as_learned(read_recipe(options.recipe))
    problem = prepare(recipe, options.data)
    sides = {"pairs": recipe.folds, "families": read_recipe(options.families).folds}
    every = list(range(len(recipe.views.views)))
    some = [[index] for index in every] + [every]
    candidates = []
    if not options.only_sizes:
        fitter = FrozenFitter(problem, recipe)
        candidates += [through(fitter, learned, used) for learned in some for used in some]
    for size in options.sizes:
        views = ViewSpec((View("resize", size),))
        smaller = FrozenFitter(problem, recipe.model_copy(update={"views": views, "training_views": recipe.views}))
        candidates += [through(smaller, learned, [0]) for learned in some]
    found = [measure(problem, candidate, folds, side) for side, folds in sides.items() for candidate in candidates]
    write_result(options.output, Choices(candidates=found), [options.recipe, options.families, options.data])
    table = Table("left out", "learned from", "used", "mean AUC", "mean recall")
    for choice in found:
        table.add_row(choice.left_out, "+".join(choice.learned), "+".join(choice.used), f"{choice.mean_auc:.3f}", f"{choice.mean_recall:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
