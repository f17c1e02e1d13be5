"""Why figures have no interval, in words: to say nothing there would look like certainty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from realgrain.measuring.resampling import FEWEST
from realgrain.measuring.results import ConditionResult, Evaluation

KINDS = {"sets": "sets", "generators": "generators", "real_sources": "real sources"}
SAME = "A figure without an interval, where others have one, is the same in every resample: how far other pictures could move it, these cannot say."


def unsure(found: Evaluation, names: Sequence[str] = ()) -> list[str]:
    """Sentences on the figures that have no interval though resamples were drawn; none where all have one.

    Args:
        found: an evaluation.
        names: of its conditions; all by default.
    """
    if not found.resamples:
        return []
    conditions = {name: of for name, of in found.conditions.items() if not names or name in names}
    words, by = [], "" if found.clusters is None else f" (clusters are pictures of one {found.clusters})"
    for why in dict.fromkeys(of.no_interval for of in conditions.values() if of.no_interval):
        where = [name for name, of in conditions.items() if of.no_interval == why]
        words.append(f"{', '.join(where) if len(where) < len(found.conditions) else 'All conditions'}: no bootstrap interval, {why}{by}.")
    few = [part for kind, of in KINDS.items() if (part := _few(conditions.values(), kind, of))]
    if few:
        words.append(
            f"No bootstrap interval of {', '.join(few)}, nor of means over them: a class has fewer than {FEWEST} pictures or clusters there."
        )
    return [*words, *([SAME] if any(of.no_spread for of in conditions.values()) else [])]


def _few(conditions: Iterable[ConditionResult], kind: str, words: str) -> str:
    """``2 of 8 sets``."""
    every = {name: False for of in conditions for name in getattr(of, kind)}
    every |= {name: True for of in conditions for name, part in getattr(of, kind).items() if part.no_interval}
    return f"{sum(every.values())} of {len(every)} {words}" if any(every.values()) else ""
