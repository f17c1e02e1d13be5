"""Manifests of labelled pictures, and splits that do not leak. It opens no picture itself and needs no torch."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

REQUIRED = ("path", "label")
_ROWS = 512  # of hashes compared with all at once
SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".gif", ".tif", ".tiff", ".bmp", ".heic", ".heif"])


class ManifestError(ValueError):
    """A manifest cannot be used. The message names the file, the line and the reason."""


class Sample(BaseModel):
    """One labelled picture; extra columns of the manifest are kept.

    Attributes:
        path: as written in the manifest, relative to its folder.
        file: where the picture is.
        label: ``real``, ``fake``, or empty where it is not known.
        generator: what made a fake; empty for a real picture.
        source: where it was gathered: the unit that splits keep together.
        set: of a benchmark that consists of several; empty elsewhere.
        split: ``train``, ``test`` or whatever the manifest says.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    path: str
    file: Path
    label: str
    generator: str = ""
    source: str = ""
    set: str = ""
    split: str = ""

    def content(self) -> Path | bytes:
        """What an opener of pictures takes: the file, or its bytes where it is packed into another (a subclass says how)."""
        return self.file

    @property
    def fake(self) -> bool:
        """True for AI-generated."""
        return self.label == "fake"


class Fold(BaseModel):
    """Sources left out together: a fake source with real sources of like content, so that content cannot tell the label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fake: tuple[str, ...]
    real: tuple[str, ...]

    @property
    def name(self) -> str:
        """Such as ``stylegan3|ffhq``."""
        return "+".join(self.fake) + "|" + "+".join(self.real)

    def leaves_out(self, sample: Sample) -> bool:
        """Whether a sample is of this fold's sources."""
        return sample.source in (self.fake if sample.fake else self.real)


def read_manifest(path: Path, *, labelled: bool = True) -> list[Sample]:
    """Samples of a CSV manifest, or of every picture below a folder (unlabelled, in name order).

    Args:
        path: CSV with at least the columns path and label (``real|fake``); generator, source and split are used where given.
        labelled: refuse rows without a label.

    Raises:
        ManifestError: not readable, a column or a value is missing or wrong, a path leaves the manifest's folder or occurs twice.
    """
    if path.is_dir():
        samples = [
            Sample(path=str(file.relative_to(path)), file=file, label="") for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES
        ]
        if labelled:
            raise ManifestError(f"{path}: a folder has no labels; give a CSV manifest with the columns {', '.join(REQUIRED)}")
        return samples
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [column for column in REQUIRED if column not in (rows.fieldnames or ())]
            if missing:
                raise ManifestError(f"{path}: no column {', '.join(missing)}; the first line must name the columns")
            numbered = [(rows.line_num, _sample(path, rows.line_num, row, labelled)) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: not readable as a CSV manifest: {error}") from error
    seen: set[Path] = set()
    for line, sample in numbered:
        if sample.file in seen:
            raise ManifestError(f"{path}, line {line}: {sample.path} occurs twice")
        seen.add(sample.file)
    return [sample for _, sample in numbered]


def _sample(manifest: Path, line: int, row: dict[str, str], labelled: bool) -> Sample:
    if None in row or None in row.values():
        raise ManifestError(f"{manifest}, line {line}: not as many values as columns")
    label = row["label"].strip()
    if label not in {"real", "fake"} and (labelled or label):
        raise ManifestError(f"{manifest}, line {line}: label {label!r} is neither real nor fake")
    inside = Path(row["path"])
    if not inside.name or inside.is_absolute() or ".." in inside.parts:
        raise ManifestError(f"{manifest}, line {line}: path {row['path']!r} is not that of a file below the manifest's folder")
    generator = (row.get("generator") or "").strip()
    if label == "real" and generator:
        raise ManifestError(f"{manifest}, line {line}: a real picture with a generator ({generator})")
    try:
        return Sample.model_validate({**row, "label": label, "generator": generator, "file": manifest.parent / row["path"]})
    except ValidationError as error:
        raise ManifestError(f"{manifest}, line {line}: {error}") from error


def nowhere(fold: Fold, samples: Sequence[Sample]) -> list[str]:
    """What a fold names and no sample is of, in words: a misspelt source, or one of another manifest; none is the rule."""
    there = {(sample.label, sample.source) for sample in samples}
    named = [*(("fake", source) for source in fold.fake), *(("real", source) for source in fold.real)]
    return [f"no {label} picture of source {source!r}" for label, source in named if (label, source) not in there]


def labels_missing(samples: Sequence[Sample]) -> list[str]:
    """Labels that no sample has."""
    return sorted({"fake", "real"} - {sample.label for sample in samples})


def balanced_weights(samples: Sequence[Sample]) -> np.ndarray:
    """Weights (N,), mean 1: both classes count alike, and within a class each source by the square root of its size.

    Without this the largest source decides what "real" looks like; with equal sources the smallest would (our choice).
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        groups[sample.label, sample.source].append(index)
    weights = np.zeros(len(samples))
    for label in {sample.label for sample in samples}:
        mine = {source: rows for (of, source), rows in groups.items() if of == label}
        total = sum(len(rows) ** 0.5 for rows in mine.values())
        for rows in mine.values():
            weights[rows] = len(rows) ** -0.5 / total
    return weights * len(samples) / weights.sum()


def automatic_folds(samples: Sequence[Sample], count: int = 5) -> list[Fold]:
    """Folds that leave out every source once: each class's sources dealt, largest first, to the fold that is smallest so far.

    Args:
        samples: labelled.
        count: folds; lowered to the number of sources of the class that has fewer.

    Raises:
        ManifestError: a class has fewer than two sources, so that none can be left out.
    """
    sizes: dict[str, dict[str, int]] = {"fake": defaultdict(int), "real": defaultdict(int)}
    for sample in samples:
        sizes[sample.label][sample.source] += 1
    count = min(count, *(len(of) for of in sizes.values()))
    if count < 2:
        raise ManifestError("each class needs at least two sources (column `source`), so that one can be left out to validate on")
    dealt: dict[str, list[list[str]]] = {}
    for label, of in sizes.items():
        hands: list[list[str]] = [[] for _ in range(count)]
        for source in sorted(of, key=lambda name: (-of[name], name)):
            min(hands, key=lambda hand: sum(of[name] for name in hand)).append(source)
        dealt[label] = hands
    return [Fold(fake=tuple(fake), real=tuple(real)) for fake, real in zip(dealt["fake"], dealt["real"], strict=True)]


def left_in(samples: Sequence[Sample], fold: Fold, twins: np.ndarray) -> np.ndarray:
    """Which samples may train when a fold is left out: (N,) bool.

    Args:
        samples: all.
        fold: left out.
        twins: group of each sample, alike for near-duplicates (``near_duplicates``): a twin of a left-out picture is left out too.
    """
    return untwinned(np.array([fold.leaves_out(sample) for sample in samples]), twins)


def untwinned(out: np.ndarray, twins: np.ndarray) -> np.ndarray:
    """Which samples (N,) bool are neither among those left out (N,) bool nor near-duplicates of one, by their groups (N,)."""
    return ~np.isin(twins, np.unique(twins[out]))


NEAR = 4
"""Bits of 64 in which the perceptual hashes of near-duplicates may differ, unless something else is asked for (our choice)."""


def near_duplicates(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Group of each picture, (N,) int: pictures whose perceptual hashes differ in at most ``distance`` bits share one, transitively.

    Groups are numbered from 0 in order of their first pictures. Memory grows with N and with the pairs found, not with N^2.

    Args:
        hashes: (N, bits) bool.
        distance: bits.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    unique, group = np.unique(hashes, axis=0, return_inverse=True)
    bits = unique.astype(np.float32)
    near: list[np.ndarray] = []
    for start in range(0, len(bits), _ROWS):  # all rows at once would take 4 N^2 bytes
        some = bits[start : start + _ROWS]
        rows, columns = np.nonzero(some @ (1 - bits).T + (1 - some) @ bits.T <= distance)
        near.append(np.stack([rows + start, columns]))
    pairs = np.concatenate(near, axis=1) if near else np.zeros((2, 0), int)
    graph = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), shape=(len(bits), len(bits)))
    _, first, group = np.unique(connected_components(graph, directed=False)[1][group], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]  # numbered as they come, whatever the hashes
