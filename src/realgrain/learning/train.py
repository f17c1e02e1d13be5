"""Recipe + labelled pictures -> calibrated bundle."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from realgrain.detector import bundle as bundles
from realgrain.detector import calibration, content, domain, profiles, weights
from realgrain.detector.bundle import BaseRef, Bundle, Card, TrainingData
from realgrain.detector.calibration import Calibration, OperatingPoint
from realgrain.detector.domain import Domain
from realgrain.detector.profiles import Profile
from realgrain.learning import borders, processes, replay
from realgrain.learning.data import Fold, ManifestError, automatic_folds, balanced_weights, labels_missing, left_in, nowhere, untwinned
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.learned import as_arrays
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, RecipeError, check_fit
from realgrain.learning.remaking import remakes
from realgrain.learning.tune import TunedFitter, kept_back

log = logging.getLogger(__name__)

INTENDED_USE = (
    "One indication among others of whether a whole picture was made by a generator or by a camera, for people who weigh it with its stated error "
    "rates. Not for edited, composited or partly generated pictures; not proof; not for automatic sanctions."
)
LIMITS = [
    "Error rates hold for pictures like those it was validated on; other cameras, subjects and generators can be far worse.",
    "Drawings, screenshots, scans and renderings are outside what it was trained on.",
    "The base tower was trained on pictures from the web, with the biases of those.",
]


class Model(Protocol):
    """What was learned of a problem, before it has a scale."""

    @property
    def head(self) -> dict[str, np.ndarray]: ...

    @property
    def adapter(self) -> dict[str, np.ndarray]: ...

    @property
    def diagnostics(self) -> dict[str, float]: ...

    def logits(self, problem: Problem, deliveries: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Logits (N,) of pictures in each delivery; None: in those of the recipe."""
        ...

    def features(self, problem: Problem) -> dict[str, np.ndarray] | None:
        """Features (N, V, D) that the head reads, in each of the recipe's deliveries; None where to have them costs more than it is worth."""
        ...


class Fitter(Protocol):
    """Learns models of any part of the problem that it was made for."""

    def fit(self, problem: Problem) -> Model: ...


@dataclass(frozen=True)
class Learned:
    """What a training run finds: a model of everything, and its scale, thresholds and profiles, fitted on predictions for left-out sources.

    Attributes:
        profiles: those that could be made, and how many groups of content each tells apart.
        counts: pictures of each of them by label and source.
        statistics: what a bundle keeps beside its weights.
    """

    model: Model
    calibration: Calibration
    operating_point: OperatingPoint
    profiles: dict[str, int]
    counts: dict[profiles.Kind, dict[str, int]]
    domain: Domain | None
    statistics: dict[str, np.ndarray]

    def groups(self, part: Problem, deliveries: Iterable[str]) -> dict[str, np.ndarray]:
        """Groups of content (N,) of pictures in each delivery; all 0 where the model has no features."""
        return groups_of(self.model, part, self.statistics, deliveries)


def fitter_of(recipe: Recipe, problem: Problem) -> Fitter:
    """How a recipe learns; aligned fakes are made of all of the problem's photographs, once.

    Raises:
        WeightsError: the base cannot be had, or an autoencoder in the cache is damaged.
        RecipeError: several processes for a frozen tower's head, which one fits.
    """
    if not recipe.tunes and processes.world() > 1:
        raise RecipeError(f"method {recipe.method}: the head of a frozen tower is fitted by one process, not by {processes.world()}")
    return TunedFitter(recipe, remakes(problem, recipe.aligned)) if recipe.tunes else FrozenFitter(problem, recipe)


def folds_of(recipe: Recipe, problem: Problem) -> list[Fold]:
    """The recipe's folds, or automatic ones; a fold without pictures of both labels is dropped. Sources that are not there are named on the log."""
    if not recipe.folds:
        return automatic_folds(problem.samples)
    kept = whole_folds(recipe.folds, problem)
    for fold in recipe.folds:
        if (absent := nowhere(fold, problem.samples)) and processes.rank() == 0:
            log.warning("fold %s: %s%s", fold.name, ", ".join(absent), "" if fold in kept else ": the fold is dropped")
    return kept


def whole_folds(folds: Sequence[Fold], problem: Problem) -> list[Fold]:
    """Those that leave out pictures of both labels."""
    return [fold for fold in folds if not labels_missing(part_of(problem, fold).samples)]


def check_folds(problem: Problem, folds: Sequence[Fold], recipe: Recipe) -> None:
    """Look before anything is learned whether ``learn`` can be done.

    Raises:
        ManifestError: fewer than two folds; or, without one of them or with all pictures, nothing of a label is left to learn from.
    """
    if len(folds) < 2:
        raise ManifestError("fewer than two folds have pictures of both labels: nothing to validate on")
    for fold in folds:
        check_part(problem.keep(left_in(problem.samples, fold, problem.twins)), recipe, f"without the fold {fold.name}")
    check_part(problem, recipe, "of all pictures")


def check_part(part: Problem, recipe: Recipe, where: str) -> None:
    """Look whether a recipe can learn from a part of the pictures; ``where`` begins the message.

    Raises:
        ManifestError: nothing of a label is left to learn from, or what decides when to stop takes all of it.
    """
    remade = recipe.aligned.kind != "none"  # of photographs fakes are made, then
    missing = [label for label in labels_missing(part.samples) if not (remade and label == "fake")]
    if missing:
        raise ManifestError(f"{where}: no {' and no '.join(missing)} picture is left to learn from")
    if recipe.tunes and not remade:
        try:
            kept_back(part, recipe)
        except ManifestError as error:
            raise ManifestError(f"{where}: {error}") from error


def learn(problem: Problem, folds: Sequence[Fold], recipe: Recipe, fitter: Fitter) -> Learned:
    """Fit a model, its probability scale and its thresholds.

    Scale and thresholds come from pictures whose source, and whose near-duplicates, the scoring model had not seen: for each fold one is fitted
    without it. The model that is returned has seen everything.

    Raises:
        ManifestError: fewer than two folds, or one leaves nothing of a label to learn from.
    """
    check_folds(problem, folds, recipe)
    return learn_without(problem, [_left_out(problem, fold) for fold in folds], recipe, fitter)


def learn_without(problem: Problem, left_out: Sequence[np.ndarray], recipe: Recipe, fitter: Fitter) -> Learned:
    """As ``learn``, with masks (N,) bool of the pictures to leave out together instead of folds."""
    parts = [problem.keep(out) for out in left_out]
    found, far = [], []
    for out, part in zip(left_out, parts, strict=True):
        kept = problem.keep(untwinned(out, problem.twins))
        model = fitter.fit(kept)
        found.append(model.logits(part))
        far.append(_distances(model, kept, part))
    logits = {name: np.concatenate([of[name] for of in found]) for name in recipe.deliveries}
    samples = [sample for part in parts for sample in part.samples]
    fake, source = np.concatenate([part.fake for part in parts]), np.concatenate([part.source for part in parts])
    point = calibration.choose(logits, fake, source, target_fpr=recipe.target_fpr, target_miss=recipe.target_miss)
    model, near = fitter.fit(problem), None
    statistics: dict[str, np.ndarray] = {}
    if (features := model.features(problem)) is not None:
        near = domain.choose({name: np.concatenate([of[name] for of in far]) for name in recipe.deliveries}, fake, source)
        turn = _in_turn(features)
        statistics |= domain.fit(turn) | replay.fit(problem.samples, features)
        statistics |= content.fit(domain.places(turn[~problem.fake], statistics))
    each = [groups_of(model, part, statistics, logits) for part in parts]
    group, groups = {name: np.concatenate([of[name] for of in each]) for name in logits}, content.count(statistics)
    scale = calibration.fit_each(logits, fake, balanced_weights(samples), group, groups, recipe.calibration)
    made: dict[str, int] = {}
    for name, deliveries in profiles.DELIVERED.items():
        if set(deliveries) <= logits.keys():
            delivered = {delivery: logits[delivery] for delivery in deliveries}
            worst = profiles.gather(delivered, fake, source, group, groups)
            made[name] = len(worst)
            statistics |= profiles.as_arrays(name, worst)
    return Learned(model, scale, point, made, profiles.counts_of(fake, source), near, statistics)


def groups_of(model: Model, part: Problem, kept: Mapping[str, np.ndarray], deliveries: Iterable[str]) -> dict[str, np.ndarray]:
    """Groups of content (N,) of pictures in each delivery; all 0 where the model has no features."""
    features = model.features(part)
    if features is None:
        return {name: np.zeros(len(part.samples), int) for name in deliveries}
    return {name: content.groups_of(domain.places(features[name], kept), kept) for name in deliveries}


def _distances(model: Model, kept: Problem, part: Problem) -> dict[str, np.ndarray]:
    """How far from the pictures that a model learned from others are, in each delivery; nothing where features are not to be had."""
    learned, left = model.features(kept), model.features(part)
    if learned is None or left is None:
        return {}
    statistics = domain.fit(_in_turn(learned))
    return {name: domain.distances(features, statistics) for name, features in left.items()}


def _in_turn(features: Mapping[str, np.ndarray]) -> np.ndarray:
    """Features (N, V, D) of pictures, each in one delivery, which take turns: all are there, and no picture twice."""
    each = list(features.values())
    return np.stack([each[row % len(each)][row] for row in range(len(each[0]))])


def part_of(problem: Problem, fold: Fold) -> Problem:
    """The pictures that a fold leaves out."""
    return problem.keep(_left_out(problem, fold))


def _left_out(problem: Problem, fold: Fold) -> np.ndarray:
    return np.array([fold.leaves_out(sample) for sample in problem.samples])


def train(recipe: Recipe, manifest: Path, output: Path) -> Bundle:
    """Train a detector and write its bundle; what was computed on the way stays in the cache, so a killed run resumes.

    Of several processes (``processes``) the first one writes.

    Args:
        recipe: settings.
        manifest: labelled pictures.
        output: folder of the bundle; must not exist.

    Raises:
        FileExistsError: the output is there already.
        ManifestError: the pictures do not allow it.
        WeightsError: the base cannot be had.
        RecipeError: noise in use, which no bundle can carry; or the recipe does not fit its base or the number of processes.
    """
    if output.exists():
        raise FileExistsError(f"{output}: exists already")
    if recipe.noise.in_use:
        raise RecipeError(
            f"noise.inference_draws {recipe.noise.inference_draws}: the graph of a bundle has no noise in it. Set 0, or measure such a recipe with "
            "`realgrain ablate`, which writes no bundle"
        )
    check_fit(recipe)
    problem = prepare(recipe, manifest)
    folds = folds_of(recipe, problem)
    check_folds(problem, folds, recipe)
    learned = learn(problem, folds, recipe, fitter_of(recipe, problem))
    model, statistics = learned.model, learned.statistics | as_arrays(problem.sha256)
    tower = weights.pull(recipe.base)
    counts = {label: dict(Counter(s.source for s in problem.samples if s.label == label)) for label in ("real", "fake")}
    licences = Counter(str((sample.model_extra or {}).get("license") or "not stated") for sample in problem.samples)
    manifest_sha256, today = weights.file_sha256(manifest), datetime.now(UTC).date()
    card = Card(
        name=recipe.name,
        method=recipe.method,
        recipe=recipe.model_dump(mode="json", exclude={"tuning": {"log", "log_to"}}),
        base=BaseRef(id=recipe.base, sha256=tower.sha256, config=tower.config()),
        views=recipe.views,
        block=recipe.block,
        head_sha256=bundles.array_sha256(model.head),
        adapter_sha256=bundles.array_sha256(model.adapter) if model.adapter else None,
        calibration=learned.calibration,
        operating_point=learned.operating_point,
        profiles={
            name: Profile(
                deliveries=profiles.DELIVERED[name],
                groups=groups,
                counts=learned.counts,
                target_miss=recipe.target_miss,
                manifest_sha256=manifest_sha256,
                fitted=today,
            )
            for name, groups in learned.profiles.items()
        },
        domain=learned.domain,
        borders=borders.measure(problem, recipe.deliveries),
        statistics_sha256=bundles.statistics_sha256(statistics),
        smallest_side=recipe.smallest_side,
        training=TrainingData(manifest_sha256=manifest_sha256, counts=counts, licences=dict(licences)),
        made=today,
        licence=recipe.licence,
        intended_use=INTENDED_USE,
        limits=LIMITS,
    )
    if processes.rank() == 0:
        bundles.write_bundle(output, card, model.head, model.adapter, statistics)
    processes.wait()
    return bundles.read_bundle(output)
