"""How many groups of content get thresholds of their own: verdicts on sources that neither head nor thresholds have seen. Tests are not looked at.

    python benchmarks/content_choice.py recipes/realgrain.yaml --data data/manifest.csv -o results/left-out/content.json

Each fold is judged by a head that was fitted without it and by thresholds that were chosen, and groups that were found, on the other folds' pictures.
"""

import argparse
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from realgrain.detector import content, domain, profiles
from realgrain.detector.calibration import Rate, rate_of, threshold
from realgrain.detector.thresholds import standing, thresholds
from realgrain.learning.data import Fold, left_in
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.train import folds_of, part_of
from realgrain.measuring.ledger import write_result

GROUPS = (1, 2, 3, 4)


class Judged(BaseModel):
    """Of one fold: pictures that get a verdict in any delivery, which is an error, and in all, which is one that can be relied on.

    Attributes:
        real_called_ai: in any delivery.
        fake_called_camera: likewise.
        fake_called_ai: in all deliveries.
        real_called_camera: likewise.
    """

    real_called_ai: Rate
    fake_called_camera: Rate
    fake_called_ai: Rate
    real_called_camera: Rate


class Choice(BaseModel):
    """One number of groups: each fold, and means over folds."""

    groups: int
    folds: dict[str, Judged]
    worst_real_called_ai: float
    worst_fake_called_camera: float
    fake_called_ai: float
    real_called_camera: float


class Choices(BaseModel):
    """All numbers of groups."""

    target: float
    candidates: list[Choice]


class Part(BaseModel):
    """Predictions for a fold by a head that was fitted without it, by delivery, and its features."""

    model_config = {"arbitrary_types_allowed": True}

    problem: Problem
    logits: dict[str, np.ndarray]
    features: dict[str, np.ndarray]


def parts_of(problem: Problem, folds: list[Fold], fitter: FrozenFitter) -> list[Part]:
    """Predict each fold."""
    found = []
    for fold in folds:
        model, part = fitter.fit(problem.keep(left_in(problem.samples, fold, problem.twins))), part_of(problem, fold)
        found.append(Part(problem=part, logits=model.logits(part), features=model.features(part)))
    return found


def judged(part: Part, others: list[Part], recipe: Recipe, most: int) -> Judged:
    """Find groups and thresholds on other folds, and judge one by them."""
    names = list(part.logits)
    fake, source = (np.concatenate([getattr(of.problem, what) for of in others]) for what in ("fake", "source"))
    features = {name: np.concatenate([of.features[name] for of in others]) for name in names}
    turn = np.stack([features[names[row % len(names)]][row] for row in range(len(fake))])
    kept = domain.fit(turn)
    kept |= content.fit(domain.places(turn[~fake], kept), most)
    group = {name: content.groups_of(domain.places(of, kept), kept) for name, of in features.items()}
    logits = {name: np.concatenate([of.logits[name] for of in others]) for name in names}
    known = profiles.gather(logits, fake, source, group, content.count(kept))
    real = {group: of["real"] for group, of in known.items()}
    lines = thresholds(real, recipe.target_fpr, standing(real, recipe.target_fpr))
    ai = np.array([lines[group][0] for group in known])
    camera = np.array([-threshold(-profiles.pooled(of["fake"])[::-1], recipe.target_miss)[0] if of["fake"] else -np.inf for of in known.values()])
    mine = (
        np.stack([content.groups_of(domain.places(part.features[name], kept), kept) for name in names])
        if len(ai) > 1
        else np.zeros((len(names), 1), int)
    )
    each = np.stack([part.logits[name] for name in names])
    flagged, passed = each >= ai[mine], each <= np.minimum(camera, ai)[mine]

    def share(hits: np.ndarray, of: np.ndarray) -> Rate:
        return rate_of(int(hits[of].sum()), int(of.sum()))

    made = part.problem.fake
    return Judged(
        real_called_ai=share(flagged.any(0), ~made),
        fake_called_camera=share(passed.any(0), made),
        fake_called_ai=share(flagged.all(0), made),
        real_called_camera=share(passed.all(0), ~made),
    )


def main() -> None:
    """Measure each number of groups, write and print."""
    parser = argparse.ArgumentParser(description="Compare numbers of content groups on left-out sources.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/left-out/content.json"))
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    problem = prepare(recipe, options.data)
    folds = folds_of(recipe, problem)
    parts = parts_of(problem, folds, FrozenFitter(problem, recipe))
    found = []
    for groups in GROUPS:
        each = {
            fold.name: judged(part, [other for other in parts if other is not part], recipe, groups) for fold, part in zip(folds, parts, strict=True)
        }
        found.append(
            Choice(
                groups=groups,
                folds=each,
                worst_real_called_ai=max(of.real_called_ai.value for of in each.values()),
                worst_fake_called_camera=max(of.fake_called_camera.value for of in each.values()),
                fake_called_ai=float(np.mean([of.fake_called_ai.value for of in each.values()])),
                real_called_camera=float(np.mean([of.real_called_camera.value for of in each.values()])),
            )
        )
    write_result(options.output, Choices(target=recipe.target_fpr, candidates=found), [options.recipe, options.data])
    for choice in found:
        print(choice.model_dump_json(exclude={"folds"}))


if __name__ == "__main__":
    main()
