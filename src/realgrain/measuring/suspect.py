"""Sets that a detector ranks surely the wrong way round, in words: swapped folders look like nothing else, and no other check finds them."""

from __future__ import annotations

from realgrain.measuring.results import Estimate, Evaluation
from realgrain.picture.errors import printable

AUC = "auc"
CHANCE = 0.5


def suspect(found: Evaluation) -> list[str]:
    """A sentence on each set, or on all pictures where there are no sets, whose whole interval of AUC lies below chance in some condition.

    An AUC below chance that is the same in every resample counts too: that of a perfect detector on swapped labels is 0 in each.
    """
    places: dict[str, list[str]] = {}
    for condition, of in found.conditions.items():
        parts = {f"the set {printable(name, 60) or '(unnamed)'}": part for name, part in of.sets.items()} or {"all pictures": of}
        for name, part in parts.items():
            if _below(part.metrics.get(AUC), AUC in part.no_spread):
                places.setdefault(name, []).append(condition)
    every = len(found.conditions)
    return [
        f"Labels of {name} may be swapped, or the detector is worse than chance there: AUC is surely below {CHANCE} in "
        f"{'all conditions' if len(where) == every > 1 else ', '.join(where)}."
        for name, where in places.items()
    ]


def _below(auc: Estimate | None, same: bool) -> bool:
    if auc is None or auc.value is None:
        return False
    return auc.value < CHANCE and (same or (auc.high is not None and auc.high < CHANCE))
