"""What tuning wins and loses on the way: left-out AUC along the steps, between the untuned and the tuned model, and of averages and pools of runs.

python benchmarks/tuning_path.py recipes/plans/tuning-path.yaml --data MANIFEST.csv -o results/ablation/tuning_path.json

The plan is one of `realgrain ablate`; the first value of each axis counts, but each seed is a run. Every figure is the mean AUC over the recipe's
deliveries on pictures of left-out sources. Writes a plot beside the JSON.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from pydantic import BaseModel
from sklearn.metrics import roc_auc_score
from transformers import TrainerCallback

from realgrain.learning.assembled import assemble
from realgrain.learning.data import Fold, left_in
from realgrain.learning.mixing import Part, mix
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.train import part_of
from realgrain.learning.tune import TunedFitter, TunedModel
from realgrain.measuring.ablate import some_of_each_source
from realgrain.measuring.ledger import write_result
from realgrain.measuring.plan import Plan, read_plan

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
EVERY = 4  # steps


class FoldPath(BaseModel):
    """Mean AUC over deliveries on one left-out fold.

    Attributes:
        steps: of each seed, AUC by step; step 0 is the untuned tower with its own head.
        shares: of each seed, AUC by the tuned model's share in the mixture with the untuned one (WiSE-FT).
        soup: of the average of all seeds' weights.
        pooled: of the sum of the untuned and the tuned logits, of each seed, both brought to unit spread.
        ensemble: of the sum of all seeds' logits.
    """

    steps: dict[int, dict[int, float]]
    shares: dict[int, dict[float, float]]
    soup: float
    pooled: dict[int, float]
    ensemble: float


class Paths(BaseModel):
    """By left-out fold."""

    folds: dict[str, FoldPath]


class Watch(TrainerCallback):
    """Scores left-out pictures every few steps. It looks and changes nothing."""

    def __init__(self, out: Problem) -> None:
        self.out, self.seen = out, {}

    def on_step_end(self, _: Any, state: Any, __: Any, model: Any = None, **___: Any) -> None:
        if state.global_step % EVERY == 0 or state.global_step == state.max_steps:
            head, adapter = model.shipped()
            self.seen[state.global_step] = auc(assemble(model.recipe, head, adapter).logits(self.out), self.out.fake)


def auc(logits: dict[str, np.ndarray], fake: np.ndarray) -> float:
    """Mean over deliveries."""
    return float(np.mean([roc_auc_score(fake, values) for values in logits.values()]))


def added(each: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Logits of several models, each brought to unit spread, summed."""
    return {name: np.sum([of[name] / of[name].std() for of in each], axis=0) for name in each[0]}


def follow(recipe: Recipe, seeds: Sequence[int], training: Problem, out: Problem) -> FoldPath:
    """Tune once for each seed, watching."""
    steps, shares, pooled = {}, {}, {}
    tuned: list[TunedModel] = []
    for seed in seeds:
        mine = recipe.model_copy(update={"tuning": recipe.tuning.model_copy(update={"seed": seed})})
        watch = Watch(out)
        model = TunedFitter(mine, callbacks=(watch,)).fit(training)
        untuned = assemble(mine, model.start, {})
        first = untuned.logits(out)
        steps[seed] = {0: auc(first, out.fake), **watch.seen}
        shares[seed] = {}
        for share in SHARES:
            mixture = mix([Part(share, model.head, model.adapter), Part(1 - share, model.start, {})])
            shares[seed][share] = auc(assemble(mine, *mixture).logits(out), out.fake)
        pooled[seed] = auc(added([first, model.logits(out)]), out.fake)
        tuned.append(model)
    soup = mix([Part(1 / len(tuned), model.head, model.adapter) for model in tuned])
    return FoldPath(
        steps=steps,
        shares=shares,
        soup=auc(assemble(recipe, *soup).logits(out), out.fake),
        pooled=pooled,
        ensemble=auc(added([model.logits(out) for model in tuned]), out.fake),
    )


def some(problem: Problem, plan: Plan, fold: Fold) -> tuple[Problem, Problem]:
    """What is trained on, and what is left out, as in an ablation."""
    left = problem.keep(left_in(problem.samples, fold, problem.twins))
    out = part_of(problem, fold)
    return left.keep(some_of_each_source(left, plan.validation, plan.training)), out.keep(some_of_each_source(out, 0, plan.testing))


def draw(found: Paths, path: Path) -> None:
    """Steps on the left, shares on the right; a colour a fold, a line a seed."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for number, (name, fold) in enumerate(found.folds.items()):
        for axis, curves in ((left, fold.steps), (right, fold.shares)):
            for order, curve in enumerate(curves.values()):
                axis.plot(
                    list(curve), list(curve.values()), "o-", ms=3, color=f"C{number}", alpha=0.7, label=None if order else name.replace("|", "\n")
                )
        right.axhline(fold.soup, color=f"C{number}", ls=":", lw=1)
    left.set(xlabel="step of tuning (0: the untuned tower with its own head)", ylabel="AUC on left-out sources, mean of deliveries")
    right.set(xlabel="share of the tuned model (dotted: average of the seeds' weights)")
    left.legend(title="left out", fontsize=7, title_fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run, write, draw, print."""
    parser = argparse.ArgumentParser(description="Follow tuning on left-out sources.")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/ablation/tuning_path.json"))
    options = parser.parse_args()
    plan = read_plan(options.plan)
    seeds = plan.axes.get("tuning.seed", [0])
    recipe = read_recipe(plan.recipe, {name: values[0] for name, values in plan.axes.items() if name != "tuning.seed"})
    problem = prepare(recipe, options.data)
    found = Paths(folds={fold.name: follow(recipe, seeds, *some(problem, plan, fold)) for folds in plan.protocols.values() for fold in folds})
    write_result(options.output, found, [options.plan, plan.recipe, options.data])
    draw(found, options.output.with_suffix(".png"))
    for name, fold in found.folds.items():
        print(
            name,
            "soup",
            round(fold.soup, 3),
            "ensemble",
            round(fold.ensemble, 3),
            "pooled",
            {seed: round(value, 3) for seed, value in fold.pooled.items()},
        )


if __name__ == "__main__":
    main()
