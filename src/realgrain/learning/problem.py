"""Labelled pictures, opened once and checked: what a training run works on."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realgrain.detector.runtime import cores
from realgrain.detector.weights import file_sha256
from realgrain.learning import processes
from realgrain.learning.concerns import Form, concerns
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
        failed: pictures that did not open, and are not among these.
    """

    samples: list[Sample]
    sha256: list[str]
    twins: np.ndarray
    failed: int = 0

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
    """Open and check a manifest's pictures; unreadable ones, which are left out, are named on the log.

    So are ``concerns``.

    Args:
        recipe: gives split, pictures of each source, and distance of near-duplicates.
        manifest: labelled pictures.

    Raises:
        ManifestError: unusable, one label only, or the same bytes carry both labels.
    """
    from realgrain.learning.backbone import has_bf16

    samples = asked_for(recipe, read_manifest(manifest))
    problem, forms = survey(samples, str(manifest), recipe.duplicate_distance)
    if len({sample.label for sample in problem.samples}) < 2:
        raise ManifestError(f"{manifest}: training needs readable pictures of both labels in split {recipe.split!r}")
    if processes.rank() == 0:
        for concern in concerns(problem.samples, forms, few=recipe.per_source is not None):
            log.warning("%s: %s", manifest, concern)
        if recipe.precision == "bf16" and not has_bf16():
            log.warning("precision bf16: this processor has no instructions for it and takes up to a hundred times as long as with --precision f32")
    return problem


def survey(samples: Sequence[Sample], where: str, duplicate_distance: int) -> tuple[Problem, list[Form]]:
    """Open labelled samples; unreadable ones, which are left out, are named on the log.

    Args:
        samples: labelled.
        where: they come from, for the message of an error.
        duplicate_distance: bits in which the perceptual hashes of near-duplicates may differ.

    Returns:
        Those that open, and the form of each one's file.

    Raises:
        ManifestError: the same bytes carry both labels.
    """
    asked = len(samples)
    samples, sha256, hashes, forms = _survey(samples)
    labels: dict[str, Sample] = {}
    for sample, digest in zip(samples, sha256, strict=True):
        if labels.setdefault(digest, sample).label != sample.label:
            raise ManifestError(f"{where}: {labels[digest].path} and {sample.path} are the same bytes with different labels")
    return Problem(samples, sha256, near_duplicates(hashes, duplicate_distance), asked - len(samples)), forms


def asked_for(recipe: Recipe, samples: Sequence[Sample]) -> list[Sample]:
    """Those of a recipe's split, and of each source no more than it asks for."""
    found = [sample for sample in samples if not recipe.split or sample.split == recipe.split]
    return found if recipe.per_source is None else first_of_each(found, recipe.per_source)


def first_of_each(samples: Sequence[Sample], limit: int) -> list[Sample]:
    """Of each source and label at most ``limit`` samples: a choice by the sha256 of the files, which no order of rows can change."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    ranks = [_rank(sample) for sample in samples]
    for row in sorted(range(len(samples)), key=ranks.__getitem__):
        groups[samples[row].label, samples[row].source].append(row)
    return [samples[row] for row in sorted(row for rows in groups.values() for row in rows[:limit])]


def _rank(sample: Sample) -> tuple[bool, str, str]:
    """Where a sample stands in the order of sha256; those that cannot be read come last."""
    try:
        return False, file_sha256(sample.file), sample.path
    except OSError:
        return True, "", sample.path


def _survey(samples: Sequence[Sample]) -> tuple[list[Sample], list[str], np.ndarray, list[Form]]:
    """Readable samples, the sha256 of each, their 64-bit perceptual hashes (N, 64) bool, and the forms of their files."""
    from imagehash import phash
    from PIL import Image

    def look(sample: Sample) -> tuple[str, np.ndarray, Form] | PictureError:
        try:
            picture = open_picture(sample.file)
        except PictureError as error:
            return error
        return picture.sha256, phash(Image.fromarray(picture.pixels)).hash.ravel(), (picture.format, picture.width, picture.height)

    good: list[tuple[Sample, str, np.ndarray, Form]] = []
    with ThreadPoolExecutor(cores()) as pool:
        for sample, found in zip(samples, tqdm(pool.map(look, samples), "reading", len(samples), disable=None), strict=True):
            if isinstance(found, PictureError):
                log.warning("left out: %s", found)
            else:
                good.append((sample, *found))
    if not good:
        return [], [], np.zeros((0, 64), bool), []
    kept, sha256, hashes, forms = zip(*good, strict=True)
    return list(kept), list(sha256), np.stack(hashes), list(forms)
