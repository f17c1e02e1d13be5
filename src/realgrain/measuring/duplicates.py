"""Pictures that are there more than once: the same bytes, or nearly the same picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from realgrain.measuring.audit_results import Alike, Check, Outcome
from realgrain.measuring.survey import Seen


def groups(seen: Sequence[Seen], keys: Iterable[object]) -> list[list[Seen]]:
    """Pictures of equal keys, where there are at least two, in order of the first."""
    found: dict[object, list[Seen]] = defaultdict(list)
    for one, key in zip(seen, keys, strict=True):
        found[key].append(one)
    return [group for group in found.values() if len(group) > 1]


def exact(seen: Sequence[Seen]) -> list[Alike]:
    """Groups of the same bytes."""
    return [_alike(group) for group in groups(seen, (one.picture.sha256 for one in seen))]


def near(seen: Sequence[Seen], twins: Iterable[int]) -> list[Alike]:
    """Groups of near-duplicates that are not all the same bytes.

    Args:
        seen: pictures.
        twins: group of each, of ``realgrain.learning.data.near_duplicates``.
    """
    return [_alike(group) for group in groups(seen, twins) if len({one.picture.sha256 for one in group}) > 1]


def _alike(group: Sequence[Seen]) -> Alike:
    samples = [one.sample for one in group]
    return Alike(
        pictures=[sample.path for sample in samples], labels=[sample.label for sample in samples], splits=[sample.split for sample in samples]
    )


def exact_check(found: Sequence[Alike]) -> Check:
    """The same bytes with both labels, or in two splits, leak; other copies only count double."""
    verdict: Outcome = "leak" if any(group.across_labels or group.across_splits for group in found) else "warning" if found else "ok"
    return Check(name="exact duplicates", verdict=verdict, words=_words(found))


def near_check(found: Sequence[Alike], distance: int) -> Check:
    """Nearly the same picture in two splits leaks; with both labels it may be a retouched one or a mistake, and worth a look."""
    across = any(group.across_labels for group in found)
    verdict: Outcome = "leak" if any(group.across_splits for group in found) else "warning" if across else "ok"
    return Check(name="near duplicates", verdict=verdict, words=f"{_words(found)} (perceptual hashes within {distance} of 64 bits)")


def _words(found: Sequence[Alike]) -> str:
    if not found:
        return "none"
    labels, splits = sum(group.across_labels for group in found), sum(group.across_splits for group in found)
    return f"{sum(len(group.pictures) for group in found)} pictures in {len(found)} groups; with both labels: {labels}, across splits: {splits}"
