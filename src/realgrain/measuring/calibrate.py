"""Pictures of a user's own -> a profile in a bundle: its thresholds, and, with both labels, its probability scale. The weights stay as they are."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from realgrain.detector import calibration, content, domain, profiles
from realgrain.detector.bundle import Bundle, Parent, read_bundle, rewrite_statistics
from realgrain.detector.detect import Detector
from realgrain.detector.profiles import Profile
from realgrain.detector.weights import building, file_sha256
from realgrain.learning.data import ManifestError, Sample, balanced_weights, read_manifest
from realgrain.learning.learned import among
from realgrain.measuring.learned_from import known

log = logging.getLogger(__name__)


def unseen(manifest: Path, bundle: Bundle, split: str = "") -> list[Sample]:
    """Samples of a manifest that may calibrate a bundle: of the very manifest that it learned from, those of other splits only.

    Raises:
        ManifestError: unusable, or nothing is left.
    """
    samples = [sample for sample in read_manifest(manifest) if not split or sample.split == split]
    if not samples:
        raise ManifestError(f"{manifest}: no pictures" + (f" in split {split!r}" if split else ""))
    seen = {sample.path for sample in known(manifest, bundle, samples) or ()}
    samples = [sample for sample in samples if sample.path not in seen]
    if not samples:
        raise ManifestError(f"{manifest}: this bundle learned from these pictures; what it says of them tells nothing of others")
    return samples


def calibrate(
    detector: Detector, rows: Iterable[dict[str, Any]], samples: Sequence[Sample], manifest: Path, output: Path, profile: str = "own"
) -> Bundle:
    """Write a bundle that has one more profile, or another one of that name.

    Args:
        detector: that the rows were scored with.
        rows: of the samples in one or more conditions, as ``score.score`` gives them with traits; pictures that did
            not open are left out, and named on the log.
        samples: what the rows are of.
        manifest: they come from.
        output: folder to make; must not exist.
        profile: its name.

    Raises:
        ValueError: a name with a slash in it, or none.
        ManifestError: no real picture opens that the bundle has not learned from, or the same bytes carry both labels.
        FileExistsError: the output is there already.
    """
    if not profile or "/" in profile:
        raise ValueError(f"profile {profile!r}: a name without a slash is needed")
    bundle = detector.bundle
    with building(output) as scratch:
        if scratch is None:
            raise FileExistsError(f"{output}: exists already")
        kept, logits, group, distance, lengths = _once(_usable(rows, bundle), {sample.path: sample for sample in samples})
        fake, source = np.array([sample.fake for sample in kept]), np.array([sample.source for sample in kept])
        if not len(kept) or fake.all():
            raise ManifestError(f"{manifest}: a profile needs real pictures that open and that the bundle has not learned from")
        told = not any(None in of for of in group.values())  # a clip is of no group and at no distance, nor a picture whose runtime gives no features
        groups = content.count(bundle.statistics) if told else 1
        found = profiles.gather(logits, fake, source, group if told else {name: np.zeros(len(fake), int) for name in group}, groups)
        scale = calibration.fit_each(logits, fake, balanced_weights(kept), group, len(found)) if fake.any() else None
        near, borders = bundle.card.domain, bundle.card.borders
        measured = borders is not None and not any(None in of for of in lengths.values())  # a clip's are not
        today = datetime.now(UTC).date()
        made = Profile(
            deliveries=tuple(logits),
            groups=len(found),
            counts=profiles.counts_of(fake, source),
            calibration=scale,
            domain=None if near is None or not told else domain.choose(distance, fake, source, at_least=near.threshold),
            borders=domain.choose(lengths, fake, source, borders.threshold, domain.BORDERS_TARGET) if measured else None,
            target_miss=bundle.card.operating_point.target_miss if bundle.card.operating_point else 0.05,
            manifest_sha256=file_sha256(manifest),
            fitted=today,
        )
        parent = Parent(bundle=bundle.hash, change=f"profile {profile} by `realgrain calibrate`", made=today)
        update = {"profiles": {**bundle.card.profiles, profile: made}, "parents": (*bundle.card.parents, parent)}
        shutil.copytree(bundle.folder, scratch, dirs_exist_ok=True)
        statistics = {**profiles.without(profile, bundle.statistics), **profiles.as_arrays(profile, found)}
        rewrite_statistics(scratch, bundle.card.model_copy(update=update), statistics)
    return read_bundle(output)


def _once(rows: Iterable[dict[str, Any]], samples: dict[str, Sample]) -> tuple[list[Sample], *tuple[dict[str, np.ndarray], ...]]:
    """Samples that open, each of the same bytes once, as copies would count as evidence that they are not; by condition their logits, groups,
    distances, and lengths of borders.
    """
    found: dict[str, dict[str, tuple[float, int | None, float | None, float | None]]] = defaultdict(dict)
    first: dict[str, Sample] = {}
    for row in rows:
        sample = samples[row["path"]]
        known = first.setdefault(row["sha256"], sample)
        if known.label != sample.label:
            raise ManifestError(f"{known.path} and {sample.path} are the same bytes with different labels")
        found[row["sha256"]].setdefault(row["condition"], (row["logit"], row.get("content_group"), row.get("feature_distance"), row.get("borders")))
    conditions = list(dict.fromkeys(condition for of in found.values() for condition in of))
    return list(first.values()), *({name: np.array([of[name][part] for of in found.values()]) for name in conditions} for part in range(4))


def _usable(rows: Iterable[dict[str, Any]], bundle: Bundle) -> Iterator[dict[str, Any]]:
    """Rows of pictures that opened and that the bundle has not learned from, under any name; why others are left out is on the log, once."""
    told: set[str] = set()
    for row in rows:
        why = row["error"] or (f"{row['path']}: this bundle learned from it" if among([row["sha256"]], bundle.statistics).any() else "")
        if not why:
            yield row
        elif why not in told:
            log.warning("left out: %s", why)
            told.add(why)
