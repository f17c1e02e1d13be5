"""Recipe + labelled pictures -> calibrated bundle."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realgrain.detector import bundle as bundles
from realgrain.detector import calibration, weights
from realgrain.detector.bundle import BaseRef, Bundle, Card, TrainingData
from realgrain.detector.calibration import Calibration, OperatingPoint
from realgrain.detector.runtime import cores
from realgrain.learning.data import Fold, ManifestError, Sample, automatic_folds, balanced_weights, left_in, near_duplicates, read_manifest
from realgrain.learning.features import Delivery, Extractor
from realgrain.learning.methods import probe
from realgrain.learning.recipe import Recipe
from realgrain.picture.image import PictureError, open_picture

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


@dataclass(frozen=True)
class Problem:
    """Labelled pictures as arrays.

    Attributes:
        samples: N of them.
        twins: (N,) group of near-duplicates.
        drawn: (draws, N, V, D) features of augmented pictures, to fit on.
        delivered: (N, V, D) features in each delivery, to validate on.
    """

    samples: list[Sample]
    twins: np.ndarray
    drawn: np.ndarray
    delivered: dict[str, np.ndarray]

    @property
    def fake(self) -> np.ndarray:
        """Labels (N,) bool."""
        return np.array([sample.fake for sample in self.samples])

    @property
    def source(self) -> np.ndarray:
        """Sources (N,)."""
        return np.array([sample.source for sample in self.samples])

    def keep(self, kept: np.ndarray) -> Problem:
        """The pictures of a mask (N,) bool."""
        samples = [sample for sample, keep in zip(self.samples, kept, strict=True) if keep]
        return Problem(samples, self.twins[kept], self.drawn[:, kept], {name: values[kept] for name, values in self.delivered.items()})


@dataclass(frozen=True)
class Learned:
    """What a training run finds: the head, fitted on everything, and its scale and thresholds, fitted on predictions for left-out sources."""

    head: dict[str, np.ndarray]
    calibration: Calibration
    operating_point: OperatingPoint


def prepare(recipe: Recipe, manifest: Path) -> Problem:
    """Open, check and describe a manifest's pictures; unreadable ones are named on the log and left out.

    Raises:
        ManifestError: unusable, or the same bytes carry both labels.
        WeightsError: the base cannot be had.
    """
    samples = [sample for sample in read_manifest(manifest) if not recipe.split or sample.split == recipe.split]
    samples, sha256, hashes = _survey(samples)
    if len({sample.label for sample in samples}) < 2:
        raise ManifestError(f"{manifest}: training needs readable pictures of both labels in split {recipe.split!r}")
    labels: dict[str, Sample] = {}
    for sample, digest in zip(samples, sha256, strict=True):
        if labels.setdefault(digest, sample).label != sample.label:
            raise ManifestError(f"{manifest}: {labels[digest].path} and {sample.path} are the same bytes with different labels")
    extractor = Extractor(weights.pull(recipe.base), recipe.views, recipe.block, recipe.precision == "bf16")
    draws = [Delivery("augmented", recipe.augmentation, draw) for draw in range(recipe.draws)]
    return Problem(
        samples,
        near_duplicates(hashes, recipe.duplicate_distance),
        np.stack([extractor.extract(samples, sha256, draw) for draw in draws]),
        {name: extractor.extract(samples, sha256, Delivery(name)) for name in recipe.deliveries},
    )


def folds_of(recipe: Recipe, problem: Problem) -> list[Fold]:
    """The recipe's folds, or automatic ones; a fold without pictures of both labels is dropped."""
    folds = list(recipe.folds) or automatic_folds(problem.samples)
    kinds = [{sample.label for sample in problem.samples if fold.leaves_out(sample)} for fold in folds]
    return [fold for fold, labels in zip(folds, kinds, strict=True) if len(labels) == 2]


def fit_head(problem: Problem, recipe: Recipe) -> dict[str, np.ndarray]:
    """Fit the head on every draw and view of every picture."""
    draws, _, views, size = problem.drawn.shape
    rows = problem.drawn.transpose(1, 0, 2, 3).reshape(-1, size)
    each = draws * views
    fake, weight = np.repeat(problem.fake, each), np.repeat(balanced_weights(problem.samples), each)
    return probe.fit(rows, fake, weight, penalty=recipe.penalty, content_directions=recipe.content_directions)


def learn(problem: Problem, folds: Sequence[Fold], recipe: Recipe) -> Learned:
    """Fit head, probability scale and thresholds.

    The scale and the thresholds come from pictures whose source, and whose near-duplicates, the scoring head had not seen: for each fold a head is
    fitted without it. The head that is returned has seen everything.

    Raises:
        ManifestError: fewer than two folds.
    """
    if len(folds) < 2:
        raise ManifestError("fewer than two folds have pictures of both labels: nothing to validate on")
    held: dict[str, list[np.ndarray]] = {name: [] for name in problem.delivered}
    parts: list[Problem] = []
    for fold in folds:
        head = fit_head(problem.keep(left_in(problem.samples, fold, problem.twins)), recipe)
        parts.append(problem.keep(np.array([fold.leaves_out(sample) for sample in problem.samples])))
        for name, features in parts[-1].delivered.items():
            held[name].append(probe.logits(features, head))
    logits = {name: np.concatenate(found) for name, found in held.items()}
    samples = [sample for part in parts for sample in part.samples]
    fake, source = np.concatenate([part.fake for part in parts]), np.concatenate([part.source for part in parts])
    times = len(logits)
    scale = calibration.fit(
        np.concatenate(list(logits.values())), np.tile(fake, times), np.tile(balanced_weights(samples), times), recipe.calibration
    )
    point = calibration.choose(logits, fake, source, target_fpr=recipe.target_fpr, target_miss=recipe.target_miss)
    return Learned(fit_head(problem, recipe), scale, point)


def train(recipe: Recipe, manifest: Path, output: Path) -> Bundle:
    """Train a detector and write its bundle; what was computed on the way stays in the cache, so a killed run resumes.

    Args:
        recipe: settings.
        manifest: labelled pictures.
        output: folder of the bundle; must not exist.

    Raises:
        FileExistsError: the output is there already.
        ManifestError: the pictures do not allow it.
        WeightsError: the base cannot be had.
    """
    if output.exists():
        raise FileExistsError(f"{output}: exists already")
    problem = prepare(recipe, manifest)
    learned = learn(problem, folds_of(recipe, problem), recipe)
    tower = weights.pull(recipe.base)
    counts = {label: dict(Counter(s.source for s in problem.samples if s.label == label)) for label in ("real", "fake")}
    licences = Counter(str((sample.model_extra or {}).get("license") or "not stated") for sample in problem.samples)
    card = Card(
        name=recipe.name,
        method=recipe.method,
        recipe=recipe.model_dump(mode="json"),
        base=BaseRef(id=recipe.base, sha256=tower.sha256, config=tower.config()),
        views=recipe.views,
        block=recipe.block,
        head_sha256=hashlib.sha256(bundles.head_bytes(learned.head)).hexdigest(),
        calibration=learned.calibration,
        operating_point=learned.operating_point,
        smallest_side=recipe.smallest_side,
        training=TrainingData(manifest_sha256=weights.file_sha256(manifest), counts=counts, licences=dict(licences)),
        made=datetime.now(UTC).date(),
        licence=recipe.licence,
        intended_use=INTENDED_USE,
        limits=LIMITS,
    )
    return bundles.write_bundle(output, card, learned.head)


def _survey(samples: Sequence[Sample]) -> tuple[list[Sample], list[str], np.ndarray]:
    """Readable samples, the sha256 of each, and their 64-bit perceptual hashes (N, 64) bool."""
    from imagehash import phash
    from PIL import Image

    def look(sample: Sample) -> tuple[str, np.ndarray] | PictureError:
        try:
            picture = open_picture(sample.file)
        except PictureError as error:
            return error
        return picture.sha256, phash(Image.fromarray(picture.pixels)).hash.ravel()

    good: list[tuple[Sample, str, np.ndarray]] = []
    with ThreadPoolExecutor(cores()) as pool:
        for sample, found in zip(samples, tqdm(pool.map(look, samples), "reading", len(samples), disable=None), strict=True):
            if isinstance(found, PictureError):
                log.warning("left out: %s", found)
            else:
                good.append((sample, *found))
    if not good:
        return [], [], np.zeros((0, 64), bool)
    return [row[0] for row in good], [row[1] for row in good], np.stack([row[2] for row in good])
