"""From where on a picture is flagged, in each group of content: by the group's photographs, unless too much hangs on one source of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realgrain.detector import profiles
from realgrain.detector.calibration import Rate, rate_of, supports, threshold

Logits = Mapping[int, Mapping[str, np.ndarray]]
"""Sorted logits (n,) of pictures of one label, by group of content and source."""


def standing(real: Logits, share: float) -> frozenset[int]:
    """Groups whose photographs support a rate without those of their largest source too (docs/decisions/0021).

    The threshold of another group would be that of one source, and not of a kind of content.

    Args:
        real: photographs.
        share: of them that may be flagged at most, in (0, 1).
    """
    return frozenset(group for group, of in real.items() if supports(sum(sorted(len(logits) for logits in of.values())[:-1]), share))


def thresholds(real: Logits, share: float, own: frozenset[int]) -> dict[int, tuple[float, bool]]:
    """The threshold of each group that has photographs, and whether these support the rate asked: ``calibration.threshold``.

    Args:
        real: photographs.
        share: of them that may be flagged at most, in (0, 1).
        own: groups that go by their own, as ``standing`` says; the others go by the highest of all.
    """
    each = {group: threshold(profiles.pooled(of), share) for group, of in real.items() if of}
    highest = max((at for at, _ in each.values()), default=np.inf)
    return {group: (at if group in own else highest, supported) for group, (at, supported) in each.items()}


def unseen(real: Logits, group: int, share: float, own: frozenset[int], lowest: float = -np.inf) -> dict[str, Rate]:
    """Of each source in a group, what is above the threshold that all others give, and at least ``lowest``; empty where the group has one source."""
    found = {}
    for source, logits in real[group].items():
        others = without(real, source)
        if others[group]:
            found[source] = flags({source: logits}, max(lowest, thresholds(others, share, own)[group][0]))
    return found


def without(real: Logits, source: str) -> dict[int, dict[str, np.ndarray]]:
    """All but one source."""
    return {group: {name: logits for name, logits in of.items() if name != source} for group, of in real.items()}


def flags(of: Mapping[str, np.ndarray], ai: float) -> Rate:
    """Share of the logits of some sources at or above a threshold."""
    logits = profiles.pooled(of)
    return rate_of(int(np.sum(logits >= ai)), len(logits))
