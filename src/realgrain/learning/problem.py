"""Labelled pictures, opened once and checked: what a training run works on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realgrain.detector.runtime import cores
from realgrain.learning.data import ManifestError, Sample, near_duplicates, read_manifest
from realgrain.learning.recipe import Recipe
from realgrain.picture.image import PictureError, open_picture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """N labelled pictures that open.

    Attributes:
        samples: N of them.
        sha256: of each file.
        twins: (N,) group of near-duplicates.
    """

    samples: list[Sample]
    sha256: list[str]
    twins: np.ndarray

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
        rows = np.flatnonzero(kept)
        return Problem([self.samples[row] for row in rows], [self.sha256[row] for row in rows], self.twins[rows])


def prepare(recipe: Recipe, manifest: Path) -> Problem:
    """Open and check a manifest's pictures; unreadable ones are named on the log and left out.

    Raises:
        ManifestError: unusable, one label only, or the same bytes carry both labels.
    """
    samples = [sample for sample in read_manifest(manifest) if not recipe.split or sample.split == recipe.split]
    samples, sha256, hashes = _survey(samples)
    if len({sample.label for sample in samples}) < 2:
        raise ManifestError(f"{manifest}: training needs readable pictures of both labels in split {recipe.split!r}")
    labels: dict[str, Sample] = {}
    for sample, digest in zip(samples, sha256, strict=True):
        if labels.setdefault(digest, sample).label != sample.label:
            raise ManifestError(f"{manifest}: {labels[digest].path} and {sample.path} are the same bytes with different labels")
    return Problem(samples, sha256, near_duplicates(hashes, recipe.duplicate_distance))


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
