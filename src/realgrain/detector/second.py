"""Where rounded arithmetic cannot tell, float32 is asked: a picture whose logit or distance lies near a threshold is looked at again.

So a rounded runtime need not have thresholds, or error rates, of its own. What counts as near is in the card: of logits, as far as the worst of the
export gate's pictures was off; of distances, as far as 95 % of them were (our choice, docs/decisions/0016). So is one nearly between two groups of
content, if these make another verdict or probability of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from realgrain.detector.bundle import Graph
from realgrain.detector.decision import Decision, middle
from realgrain.detector.domain import InDomain
from realgrain.detector.runtime import Runtime

Found = tuple[np.ndarray, np.ndarray | None]


@runtime_checkable
class Rounded(Protocol):
    """A runtime that rounds.

    Attributes:
        parity: how far it is from float32, by the card.
    """

    @property
    def parity(self) -> Graph: ...

    def exact(self) -> Runtime:
        """The same detector in float32; loaded when it is first asked for."""
        ...


def close(logit: float, decision: Decision, near: float) -> bool:
    """Whether a logit lies within ``near`` of a threshold."""
    return any(abs(logit - threshold) <= near for threshold in (decision.ai, decision.camera) if threshold is not None)


def sides(logit: float, decision: Decision) -> tuple[bool, bool]:
    """Whether a logit lies beyond the threshold of ``ai``, and of ``camera``."""
    return decision.ai is not None and logit >= decision.ai, decision.camera is not None and logit <= decision.camera


def settled(runtime: Runtime, views: np.ndarray, found: Found, place: InDomain | None, decisions: Sequence[Decision]) -> Found:
    """What a runtime found in a picture's views, or what float32 finds where that, or its ``place`` by the same, is too near a threshold.

    Args:
        runtime: which.
        views: of the picture.
        found: by the runtime, in them.
        place: of the picture, by the same; None: not known.
        decisions: of each group of content that the picture may be in.
    """
    if not isinstance(runtime, Rounded):
        return found
    logit = float(np.mean(found[0], dtype=np.float64))
    doubtful = any(close(logit, decision, runtime.parity.measured) for decision in decisions)
    doubtful = doubtful or len({(sides(logit, decision), decision.calibration) for decision in decisions}) > 1
    if not doubtful and place is not None:
        doubtful = abs(place.distance - place.threshold) <= runtime.parity.usual_distance
    return runtime.exact().look(views) if doubtful else found


def settled_again(runtime: Runtime, again: Mapping[str, np.ndarray], logits: Mapping[str, float], decision: Decision) -> dict[str, float]:
    """Likewise the logits of a picture's changed views, by name: those near the middle, which they must not cross, once more, together."""
    between = middle(decision)
    if not isinstance(runtime, Rounded) or between is None:
        return dict(logits)
    doubtful = [name for name, logit in logits.items() if abs(logit - between) <= runtime.parity.measured]
    if not doubtful:
        return dict(logits)
    found = runtime.exact().logits(np.concatenate([again[name] for name in doubtful])).reshape(len(doubtful), -1).mean(1, dtype=np.float64)
    return {**logits, **dict(zip(doubtful, found.tolist(), strict=True))}
