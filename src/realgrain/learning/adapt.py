"""A new generator, few pictures of it -> another head for a detector, which has not forgotten what the old one knew.

The head is fitted again, not far from where it is (``methods.probe.refit``), on the new pictures and on a replay of known ones; a tower that was
tuned stays as it is. Whether that did any harm is found on pictures that neither head learned from: known sources are left out in turn, a few of
each label together; then known pictures are, in parts of every source, as new ones are. Where the old head learned from the replayed pictures, it
is itself fitted again without those that are left out, so that this is as true before as after.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from realgrain.detector import bundle as bundles
from realgrain.detector import profiles
from realgrain.detector.bundle import Bundle, BundleError, Parent, TrainingData
from realgrain.detector.compose import base_of
from realgrain.detector.profiles import Profile
from realgrain.detector.weights import building, file_sha256
from realgrain.learning import pool as pools
from realgrain.learning import replay
from realgrain.learning.backbone import precision_here
from realgrain.learning.data import Fold, ManifestError, Sample, automatic_folds, balanced_weights, read_manifest, untwinned
from realgrain.learning.features import Extractor
from realgrain.learning.learned import among, as_arrays
from realgrain.learning.methods import probe
from realgrain.learning.pool import Pool
from realgrain.learning.problem import Problem, asked_for, survey
from realgrain.learning.recipe import Recipe
from realgrain.learning.train import Learned, learn_without

LEAST = 8  # new pictures of each label
PARTS = 5  # that known pictures are left out in
SHARE, HALF = 0.3, 8  # of the loss that new pictures count for, at most; at how many a side it is half of that (docs/decisions/0012)
TESTS = "test"  # the split of a manifest that is never touched
Group = Literal["left out", "known", "new"]


@dataclass(frozen=True)
class Given:
    """What there is to adapt with.

    Attributes:
        bundle: the detector.
        recipe: that it was trained with.
        pool: known pictures, then new ones.
        new: (N,) bool.
        refits: whether the old head learned from the known pictures and can be fitted again without some of them.
        replayed: where the known pictures come from, in words.
        sha256: of what identifies all the pictures.
        failed: pictures that did not open.
        spoiled: whether the old head, or the tower, learned from the known pictures and cannot be had without: what is measured on them is better
            than it is, so that no error rate can be promised.
    """

    bundle: Bundle
    recipe: Recipe
    pool: Pool
    new: np.ndarray
    refits: bool
    replayed: str
    sha256: str
    failed: int = 0
    spoiled: bool = False

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """New pictures by label and source."""
        return _counts(self.pool.problem.keep(self.new).samples)


@dataclass(frozen=True)
class Cell:
    """A generator and the photographs that it is told from: rows of a ``Held``."""

    group: Group
    name: str
    rows: np.ndarray


@dataclass(frozen=True)
class Held:
    """N pictures that neither head learned from.

    Attributes:
        fake: (N,) bool.
        source: (N,) names.
        before: logits (N,) of the old head in each delivery.
        after: of the new one.
        cells: what to measure.
    """

    fake: np.ndarray
    source: np.ndarray
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Adaptation:
    """A new head, not calibrated and not written yet, and what to judge it by.

    Attributes:
        given: what it was made with.
        fitter: that made it.
        model: the head.
        left_out: masks (N,) bool of pictures left out together: known sources whole, new pictures in parts.
        held: tables of pictures that neither head learned from.
    """

    given: Given
    fitter: AdaptingFitter
    model: AdaptedModel
    left_out: tuple[np.ndarray, ...]
    held: tuple[Held, ...]


def gather(
    bundle: Bundle, fake: Path, real: Path, *, replayed: Path | None = None, generator: str = "", camera: str = "", offline: bool = False
) -> Given:
    """Open the new pictures, find what to replay, and look at all of them through the detector's tower.

    Args:
        bundle: the detector.
        fake: folder of pictures by the new generator.
        real: folder of photographs, best of the same subjects.
        replayed: manifest of known pictures: those that the bundle was trained on; of another manifest those of the same split, and those without
            one; never of the split ``test``. None: what the bundle keeps.
        generator: name of the new source; empty: the folder's.
        camera: name of the photographs' source; empty: the folder's.
        offline: never touch the network.

    Raises:
        ManifestError: fewer than 8 pictures a side that open and differ, pictures in both folders, pictures or a source that are known already, or
            nothing to replay.
        BundleError: its recipe is not one of this version.
        WeightsError: the base cannot be had.
    """
    recipe = _recipe(bundle)
    sides = {"fake": (fake, generator or fake.resolve().name), "real": (real, camera or real.resolve().name)}
    given = [_labelled(sample, label, source) for label, (folder, source) in sides.items() for sample in _pictures(folder)]
    learned = replayed is None or file_sha256(replayed) == bundle.card.training.manifest_sha256
    known = [] if replayed is None else _known(read_manifest(replayed), recipe, learned)
    asked = len(known)
    whole, _ = survey([*known, *given], f"{fake}, {real}" + (f", {replayed}" if replayed else ""), recipe.duplicate_distance)
    listed = {id(sample) for sample in known}
    old = np.array([id(sample) in listed for sample in whole.samples], bool)
    fresh = whole.keep(_first(whole.sha256, ~old))
    for label, (folder, _) in sides.items():
        if (count := sum(sample.label == label for sample in fresh.samples)) < LEAST:
            raise ManifestError(f"{folder}: {count} different pictures that open, of {LEAST} at least")
    if (again := among(fresh.sha256, bundle.statistics)).any():
        raise ManifestError(f"{fake}, {real}: this bundle has learned from {again.sum()} of the new pictures already")
    tuned = bundle if bundle.adapter else None
    extractor = Extractor(base_of(bundle, offline=offline), recipe.views, recipe.block, precision_here(recipe.precision) == "bf16", tuned)
    seen = pools.extract(fresh, recipe, extractor)
    spoiled = False
    if replayed is not None:
        learned = learned or bool(among(whole.keep(old).sha256, bundle.statistics).any())
        found = pools.extract(whole.keep(old), recipe, extractor) if old.any() else None
        again = np.isin(whole.keep(old).sha256, fresh.sha256)
        if learned and again.any():
            raise ManifestError(f"{replayed}: this bundle has learned from {again.sum()} of the new pictures already")
        found = found and found.keep(~again)
        where = f"{replayed.name}, " + ("which the bundle was trained on" if learned else "which the bundle was not trained on")
    else:
        kept = replay.read(bundle.statistics)
        found = pools.replayed(kept) if kept.keys() == set(recipe.deliveries) else None
        where = "what the bundle keeps"
    if found is None or not len(found.problem.samples):
        raise ManifestError(
            f"{replayed}: no pictures to replay in split {recipe.split!r}"
            if replayed
            else f"{bundle.folder}: keeps nothing to replay; name labelled pictures of known generators with --replay, or it would forget them unseen"
        )
    if learned and (bundle.adapter or recipe.aligned.kind != "none"):
        learned, spoiled = False, True
    for label, (_, source) in sides.items():
        if any(sample.label == label and sample.source == source for sample in found.problem.samples):
            raise ManifestError(f"a source {source} of {label} pictures is known already: choose another name with --generator or --camera")
    both = pools.joined(found, seen, apart=replayed is None)
    new = np.arange(len(both.problem.samples)) >= len(found.problem.samples)
    identity = [file_sha256(replayed) if replayed else bundle.hash, *sorted(fresh.sha256)]
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
    return Given(bundle, recipe, both, new, learned, where, digest, asked + len(given) - len(whole.samples), spoiled)


def adapt(given: Given, share: float = SHARE) -> Adaptation:
    """Fit the head again, and find what old and new heads say of pictures that neither learned from.

    Args:
        given: pictures, old and new.
        share: of the loss that new pictures count for, where they are many; more teaches more of the new generator and forgets more of the others.

    Raises:
        ManifestError: fewer than two known sources of a label.
        ValueError: a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share}: not between 0 and 1")
    problem, new = given.pool.problem, given.new
    folds = _folds(given.recipe, problem.keep(~new).samples)
    fitter = AdaptingFitter(given, share)
    part = _parts(problem, new, len(folds))
    outs = [np.array([fold.leaves_out(sample) for sample in problem.samples]) & ~new | (part == index) for index, fold in enumerate(folds)]
    sources = [np.flatnonzero(out & ~new) for out in outs]
    looked = np.flatnonzero(np.any(outs, axis=0))
    fresh = looked[new[looked] | ~problem.fake[looked]]
    cells = [Cell("left out", fold.name, rows) for fold, rows in zip(folds, sources, strict=True)]
    cells.append(Cell("new", " + ".join(sorted(set(problem.source[new & problem.fake]))), fresh))
    left_out = _held(fitter, outs, cells)
    known = ~new
    part = _parts(problem, known, PARTS)
    parts = [part == index for index in range(PARTS)]
    names = sorted(set(problem.source[known & problem.fake]))
    each = [Cell("known", name, np.flatnonzero(known & (~problem.fake | (problem.source == name)))) for name in names]
    return Adaptation(given, fitter, fitter.fit(problem), tuple(outs), (left_out, _held(fitter, parts, each)))


def calibrate(adaptation: Adaptation) -> Learned:
    """Scale, thresholds, profiles and domain of a new head, as training finds them: on pictures of sources left out of it, and on new ones in parts.

    Raises:
        ValueError: what the head says of left-out pictures does not rise with the label.
    """
    given = adaptation.given
    return learn_without(given.pool.problem, adaptation.left_out, given.recipe, adaptation.fitter)


def write(adaptation: Adaptation, learned: Learned, output: Path, *, licence: str = "not stated") -> Bundle:
    """Write the adapted bundle. It has no graphs or rounding of its own, and only profiles that training makes: others are of the old head.

    Args:
        adaptation: the new head.
        learned: what ``calibrate`` found of it.
        output: folder to make; must not exist.
        licence: of the new pictures.

    Raises:
        FileExistsError: the output is there already.
    """
    given, today = adaptation.given, datetime.now(UTC).date()
    card, head = given.bundle.card, adaptation.model.head
    counts, licences = {label: dict(of) for label, of in card.training.counts.items()}, Counter(card.training.licences)
    for label, of in given.counts.items():
        counts[label] = {**counts.get(label, {}), **of}
        licences[licence] += sum(of.values())
    said = " and ".join(f"{count} {label} pictures of {name}" for label, of in given.counts.items() for name, count in of.items())
    change = (
        f"head fitted again with {said} by `realgrain adapt`, share {adaptation.fitter.share:g}, replaying {given.replayed}; "
        f"sha256 of what it learned from {given.sha256}"
    )
    made = {
        name: Profile(
            deliveries=profiles.DELIVERED[name],
            groups=groups,
            counts=learned.counts,
            target_miss=given.recipe.target_miss,
            manifest_sha256=given.sha256,
            fitted=today,
        )
        for name, groups in learned.profiles.items()
    }
    problem = given.pool.problem
    at_hand = [digest for sample, digest in zip(problem.samples, problem.sha256, strict=True) if digest != sample.path]
    statistics = learned.statistics | as_arrays(at_hand, given.bundle.statistics)
    update = {
        "head_sha256": bundles.array_sha256(head),
        "calibration": learned.calibration,
        "operating_point": learned.operating_point,
        "profiles": {} if given.spoiled else made,
        "domain": learned.domain,
        "statistics_sha256": bundles.statistics_sha256(statistics),
        "parents": (*card.parents, Parent(bundle=given.bundle.hash, change=change, made=today)),
        "training": TrainingData(manifest_sha256=card.training.manifest_sha256, counts=counts, licences=dict(licences)),
        "int8": None,
        "runtimes": {},
        "made": today,
    }
    with building(output) as scratch:
        if scratch is None:
            raise FileExistsError(f"{output}: exists already")
        bundles.write_bundle(scratch, card.model_copy(update=update), head, adaptation.model.adapter, statistics)
    return bundles.read_bundle(output)


@dataclass(frozen=True)
class AdaptedModel:
    """A head, and the pool that it can be asked about."""

    head: dict[str, np.ndarray]
    fitter: AdaptingFitter

    @property
    def adapter(self) -> dict[str, np.ndarray]:
        """The old detector's: what moved in the tower stays where it is."""
        return self.fitter.given.bundle.adapter

    @property
    def diagnostics(self) -> dict[str, float]:
        """Nothing: a head is fitted to its optimum."""
        return {}

    def logits(self, problem: Problem, deliveries: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Logits (N,) of pictures of the pool, in some of the recipe's deliveries; None: in all."""
        seen = self.features(problem)
        return {name: probe.logits(seen[name], self.head) for name in (seen if deliveries is None else deliveries)}

    def features(self, problem: Problem) -> dict[str, np.ndarray]:
        """Features (N, 1, D), means over views, of pictures of the pool in each of the recipe's deliveries."""
        rows = self.fitter.rows(problem)
        return {name: of[rows][:, None] for name, of in self.fitter.given.pool.delivered.items()}


class AdaptingFitter:
    """Fits the head again on any part of what is given; the same part is fitted once."""

    def __init__(self, given: Given, share: float) -> None:
        self.given, self.share = given, share
        self._row = {sha256: row for row, sha256 in enumerate(given.pool.problem.sha256)}
        self._parents: dict[bytes, dict[str, np.ndarray]] = {}
        self._heads: dict[bytes, dict[str, np.ndarray]] = {}

    def rows(self, problem: Problem) -> list[int]:
        """Where the pictures of a part are in the pool."""
        return [self._row[sha256] for sha256 in problem.sha256]

    def parent(self, kept: np.ndarray) -> dict[str, np.ndarray]:
        """The old head, if it had learned from the known pictures of a mask (N,) bool alone."""
        known = kept & ~self.given.new
        if not self.given.refits or known.sum() == (~self.given.new).sum():
            return self.given.bundle.head
        key = known.tobytes()
        if key not in self._parents:
            recipe, (rows, fake, weight, _) = self.given.recipe, self._rows(known)
            self._parents[key] = probe.fit(rows, fake, weight, penalty=recipe.penalty, content_directions=recipe.content_directions)
        return self._parents[key]

    def fit(self, problem: Problem) -> AdaptedModel:
        """Fit the head again on the pictures of a part, from an old one that has not learned from others."""
        kept = np.zeros(len(self.given.new), bool)
        kept[self.rows(problem)] = True
        key = kept.tobytes()
        if key not in self._heads:
            settings = {"content_directions": self.given.recipe.content_directions}
            rows, fake, weight, known = self._rows(kept)
            self._heads[key] = probe.refit(rows, fake, weight, self.parent(kept), known, penalty=self.given.recipe.penalty, **settings)
        return AdaptedModel(self._heads[key], self)

    def _rows(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows of some pictures, with label, weight, and whether each is of a known one."""
        part, new = self.given.pool.keep(kept), self.given.new[kept]
        weight = np.zeros(len(new))
        mine = share_of(part.problem.fake[new], self.share)
        for some, share in ((~new, 1 - mine), (new, mine)):
            if some.any():
                weight[some] = share * balanced_weights(part.problem.keep(some).samples) / some.sum()
        weight /= np.bincount(part.owner, minlength=len(new))
        return part.rows, part.problem.fake[part.owner], weight[part.owner], ~new[part.owner]


def share_of(fake: np.ndarray, most: float) -> float:
    """What part of the loss new pictures with these labels (n,) bool count for: the fewer they are, the more is their mean an accident."""
    fewest = min(int(fake.sum()), int((~fake).sum()))
    return most * fewest / (fewest + HALF)


def _recipe(bundle: Bundle) -> Recipe:
    try:
        return Recipe.model_validate(bundle.card.recipe)
    except ValidationError as error:
        raise BundleError(f"{bundle.folder}: its recipe is not one that this version can adapt: {error}") from error


def _known(samples: Sequence[Sample], recipe: Recipe, learned: bool) -> list[Sample]:
    """What a bundle has learned from, or else what is like it."""
    found = asked_for(recipe, samples) if learned else [sample for sample in samples if sample.split in (recipe.split, "")]
    return [sample for sample in found if sample.split != TESTS]


def _pictures(folder: Path) -> list[Sample]:
    if not folder.is_dir():
        raise ManifestError(f"{folder}: not a folder of pictures")
    return read_manifest(folder, labelled=False)


def _labelled(sample: Sample, label: str, source: str) -> Sample:
    return sample.model_copy(update={"path": str(sample.file), "label": label, "source": source, "generator": source if label == "fake" else ""})


def _first(sha256: Sequence[str], mine: np.ndarray) -> np.ndarray:
    """The first of each picture of a mask (N,) bool: copies would count as evidence that they are not."""
    seen: set[str] = set()
    kept = np.zeros(len(mine), bool)
    for row in np.flatnonzero(mine).tolist():
        kept[row] = sha256[row] not in seen
        seen.add(sha256[row])
    return kept


def _counts(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    return {label: dict(Counter(s.source for s in samples if s.label == label)) for label in ("real", "fake")}


def _folds(recipe: Recipe, samples: Sequence[Sample]) -> list[Fold]:
    """The recipe's folds that have pictures of both labels here, or automatic ones if fewer than two have."""
    found = [fold for fold in recipe.folds if len({sample.label for sample in samples if fold.leaves_out(sample)}) == 2]
    return found if len(found) > 1 else automatic_folds(samples)


def _parts(problem: Problem, mine: np.ndarray, count: int) -> np.ndarray:
    """Which of ``count`` parts each picture (N,) of a mask is in, -1 for others: each source dealt by sha256, near-duplicates together."""
    part = np.full(len(mine), -1)
    groups: dict[tuple[bool, str], list[int]] = defaultdict(list)
    dealt: dict[int, int] = {}
    for row in sorted(np.flatnonzero(mine).tolist(), key=lambda row: problem.sha256[row]):
        groups[bool(problem.fake[row]), str(problem.source[row])].append(row)
    for _, rows in sorted(groups.items()):
        turn = 0
        for row in rows:
            twin = int(problem.twins[row])
            if twin not in dealt:
                dealt[twin], turn = turn % count, turn + 1
            part[row] = dealt[twin]
    return part


def _held(fitter: AdaptingFitter, outs: Sequence[np.ndarray], cells: Sequence[Cell]) -> Held:
    """What old and new heads say of the pictures of masks (N,) bool, each mask left out in turn; cells name rows of the whole."""
    problem = fitter.given.pool.problem
    count = len(problem.samples)
    before, after = ({name: np.zeros(count) for name in fitter.given.recipe.deliveries} for _ in range(2))
    for out in outs:
        kept, part = untwinned(out, problem.twins), problem.keep(out)
        model = fitter.fit(problem.keep(kept))
        for logits, of in ((before, AdaptedModel(fitter.parent(kept), fitter)), (after, model)):
            for name, found in of.logits(part).items():
                logits[name][out] = found
    looked = np.any(outs, axis=0)
    place = np.cumsum(looked) - 1
    return Held(
        problem.fake[looked],
        problem.source[looked],
        {name: of[looked] for name, of in before.items()},
        {name: of[looked] for name, of in after.items()},
        tuple(replace(cell, rows=place[cell.rows]) for cell in cells),
    )
