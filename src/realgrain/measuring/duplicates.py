"""Pictures that are there more than once: the same bytes, or nearly the same picture.

In splits that are not looked at otherwise only the same bytes are sought: a file's length tells most of them apart, so that few are read and none is
decoded. Near copies take a look at every picture, and a training split may have millions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from realgrain.detector.ahead import ahead
from realgrain.learning.data import Sample
from realgrain.measuring.audit_results import Alike, Check, Outcome
from realgrain.measuring.run_manifest import content_sha256
from realgrain.measuring.survey import Seen


def groups(seen: Sequence[Seen], keys: Iterable[object]) -> list[list[Seen]]:
    """Pictures of equal keys, where there are at least two, in order of the first."""
    found: dict[object, list[Seen]] = defaultdict(list)
    for one, key in zip(seen, keys, strict=True):
        found[key].append(one)
    return [group for group in found.values() if len(group) > 1]


def exact(seen: Sequence[Seen], beside: Sequence[Sample] = ()) -> list[Alike]:
    """Groups of the same bytes.

    Args:
        seen: pictures.
        beside: samples of other splits; those that have the bytes of a picture stand in its group.
    """
    found: dict[str, list[Sample]] = defaultdict(list)
    for one in seen:
        found[one.picture.sha256].append(one.sample)
    lengths = {one.picture.bytes for one in seen}
    for sample, digest in zip(beside, ahead(partial(_digest, sample, lengths) for sample in beside), strict=True):
        if digest in found:
            found[digest].append(sample)
    return [_alike(group) for group in found.values() if len(group) > 1]


def _digest(sample: Sample, lengths: Container[int]) -> str:
    """Sha256 of a file of one of these lengths; empty for others, and for what cannot be read."""
    with suppress(OSError):
        content = sample.content()
        if (content.stat().st_size if isinstance(content, Path) else len(content)) in lengths:
            return content_sha256(content)
    return ""


def near(seen: Sequence[Seen], twins: Iterable[int]) -> list[Alike]:
    """Groups of near-duplicates that are not all the same bytes.

    Args:
        seen: pictures.
        twins: group of each, of ``realgrain.learning.data.near_duplicates``.
    """
    return [_alike([one.sample for one in group]) for group in groups(seen, twins) if len({one.picture.sha256 for one in group}) > 1]


def _alike(samples: Sequence[Sample]) -> Alike:
    return Alike(
        pictures=[sample.path for sample in samples], labels=[sample.label for sample in samples], splits=[sample.split for sample in samples]
    )


def exact_check(found: Sequence[Alike], beside: int = 0) -> Check:
    """The same bytes with both labels, or in two splits, leak; other copies only count double. ``beside``: pictures of other splits compared with."""
    verdict: Outcome = "leak" if any(group.across_labels or group.across_splits for group in found) else "warning" if found else "ok"
    words = f"{_words(found)}; also compared with {beside} pictures of other splits" if beside else _words(found)
    return Check(name="exact duplicates", verdict=verdict, words=words)


def near_check(found: Sequence[Alike], distance: int, beside: int = 0) -> Check:
    """Nearly the same picture in two splits leaks; with both labels it may be a retouched one or a mistake, and worth a look. ``beside``: pictures of
    other splits that were not compared with.
    """
    across = any(group.across_labels for group in found)
    verdict: Outcome = "leak" if any(group.across_splits for group in found) else "warning" if across else "ok"
    words = f"{_words(found)} (perceptual hashes within {distance} of 64 bits)"
    if beside:
        words += f"; not looked for in {beside} pictures of other splits: `realgrain audit` of a manifest with all splits does"
    return Check(name="near duplicates", verdict=verdict, words=words)


def _words(found: Sequence[Alike]) -> str:
    if not found:
        return "none"
    labels, splits = sum(group.across_labels for group in found), sum(group.across_splits for group in found)
    return f"{sum(len(group.pictures) for group in found)} pictures in {len(found)} groups; with both labels: {labels}, across splits: {splits}"
