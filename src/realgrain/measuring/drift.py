"""Watches a stream of scored pictures without labels: has what comes in changed since a reference window?

Two answers: how large a change is (population stability index, PSI) and how sure (a sequential test, ``realgrain.measuring.exchangeability``).
Only the second raises an alarm, since only it has a false-alarm rate. It cannot tell a worse detector from other pictures: that takes labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realgrain.measuring.drift_log import LogError, Row, Stream
from realgrain.measuring.drift_results import DayCount, Drift, Level, Signal, SignalDay, Spread
from realgrain.measuring.exchangeability import category_ranks, histograms, log_evidence, number_ranks

ALPHA = 0.01
"""Probability of a false alarm over the whole watch, all signals together (our choice)."""
REFERENCE_DAYS = 7
LEAST = 50
"""Pictures that a reference window must have (our choice)."""
PSI_BINS = 10
"""Of numbers: tenths of the reference."""
PSI_MODERATE, PSI_LARGE = 0.1, 0.25
"""The usual rules of thumb (Siddiqi 2006). They know nothing of how many pictures there were, so they apply to what is above chance (our choice)."""
PSEUDO = 0.5
"""Pictures added to each bin, so that an empty one has a logarithm (our choice)."""
CATEGORIES = 12
"""That are told apart: the most frequent of the stream, and for the test those of the reference; the rest is one."""
OTHERS = "others"
QUANTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Watched:
    """Something to watch: its name, its unit, the field of a row, whether its values are categories, and whether pictures that failed have it too."""

    name: str
    unit: str
    field: str
    category: bool = False
    of_failed: bool = False


WATCHED = (
    Watched("score", "logit", "logit"),
    Watched("abstention", "share of verdicts", "unsure", category=True),
    Watched("format", "share of pictures", "format", category=True),
    Watched("size", "shorter side, pixels", "side"),
    Watched("feature distance", "from the training pictures", "distance"),
    Watched("failed", "share of files", "outcome", category=True, of_failed=True),
)


def drift(stream: Stream, *, reference: int = REFERENCE_DAYS, alpha: float = ALPHA, seed: int = 0) -> Drift:
    """Compare each day after the reference window with it.

    Within a day the pictures are shuffled, because logs are often sorted; what remains to be found is change between days. A later day changes
    nothing of what is said of the days before it: so looking each day, at a log that grows, is one watch with one false-alarm rate.

    Args:
        stream: at least one day more than the reference has.
        reference: days, from the first.
        alpha: probability of any alarm if nothing changes, in (0, 1).
        seed: of ties and shuffles.

    Raises:
        ValueError: too few days or pictures, or an alpha outside.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"the false-alarm rate must be between 0 and 1, got {alpha}")
    if not 1 <= reference < len(stream.days):
        raise LogError(f"{len(stream.days)} days: a reference of {reference} needs at least one more; choose another with --reference")
    order = {day: place for place, day in enumerate(stream.days)}
    place = np.array([order[row.day] for row in stream.rows], np.int64)
    read = np.array([row.logit is not None for row in stream.rows])
    if (place[read] < reference).sum() < LEAST:
        raise LogError(f"{(place[read] < reference).sum()} pictures in the reference window of {reference} days: at least {LEAST} are needed")
    fit = {watched: _values(stream.rows, watched) for watched in WATCHED}
    usable = {watched: there for watched, there in fit.items() if (place[there[0]] < reference).sum() >= LEAST}
    rngs = np.random.default_rng(seed).spawn(len(usable))
    signals = [
        _watch(watched, values, place[known], stream.days, reference, len(usable) / alpha, rng)
        for (watched, (known, values)), rng in zip(usable.items(), rngs, strict=True)
    ]
    counts = [np.bincount(some, minlength=len(stream.days)).tolist() for some in (place[read], place)]
    return Drift(
        alpha=alpha,
        log10_alarm=float(np.log10(len(usable) / alpha)),
        psi_moderate=PSI_MODERATE,
        psi_large=PSI_LARGE,
        seed=seed,
        bundle=stream.bundle,
        reference=list(stream.days[:reference]),
        days=[DayCount(day=day, pictures=good, failed=whole - good) for day, good, whole in zip(stream.days, *counts, strict=True)],
        signals=signals,
        notes=[
            *(f"{watched.name}: not watched, the reference has too few values" for watched in WATCHED if watched not in usable),
            *(f"{day}: no picture could be read" for day, good in zip(stream.days, counts[0], strict=True) if not good),
        ],
    )


def _values(rows: Sequence[Row], watched: Watched) -> tuple[NDArray[np.bool_], NDArray]:
    """Which of N rows have a value, and the values: (K,) float64, or text for categories."""
    values = [getattr(row, watched.field) if watched.of_failed or row.logit is not None else None for row in rows]
    known = np.array([value is not None for value in values])
    there = [value for value in values if value is not None]
    if not watched.category:
        return known, np.array(there, np.float64)
    return known, np.array([{True: "unsure", False: "decided"}.get(value, value) for value in there], object)


def _watch(
    watched: Watched, values: NDArray, place: NDArray[np.int64], days: Sequence[str], reference: int, bar: float, rng: np.random.Generator
) -> Signal:
    shuffling, ranking = rng.spawn(2)
    by_day = np.argsort(place, kind="stable")  # draws are then for one day after the other
    shuffled = by_day[np.lexsort((shuffling.random(len(values)), place[by_day]))]
    values, place = values[shuffled], place[shuffled]
    if watched.category:
        names = _names(values)
        ranks, bins = category_ranks(_codes(values, _names(values[place < reference])), ranking), _codes(values, names)
    else:
        names, ranks = [], number_ranks(values, ranking)
        bins = np.searchsorted(np.unique(np.quantile(values[place < reference], np.arange(1, PSI_BINS) / PSI_BINS)), values, side="right")
    evidence = log_evidence(histograms(ranks, place, len(days))[reference:])
    over = np.flatnonzero(evidence >= np.log(bar))
    base = np.bincount(bins[place < reference], minlength=bins.max() + 1)
    told = [
        _day(day, values[place == number], np.bincount(bins[place == number], minlength=len(base)), base, names, float(strength))
        for number, (day, strength) in enumerate(zip(days[reference:], evidence, strict=True), reference)
    ]
    spread = _spread(values[place < reference], names)
    return Signal(name=watched.name, unit=watched.unit, reference=spread, days=told, alarm=days[reference + over[0]] if len(over) else None)


def _names(values: NDArray) -> list[str]:
    """Names of categories, the most frequent first; where there are many, the last stands for all others."""
    found, counts = np.unique(values.astype(str), return_counts=True)
    ranked = [str(found[row]) for row in np.lexsort((found, -counts))]
    return ranked if len(ranked) <= CATEGORIES else [*ranked[: CATEGORIES - 1], OTHERS]


def _codes(values: NDArray, names: list[str]) -> NDArray[np.int64]:
    """Place of each value among the names; that of others, where it is not among them."""
    code = {name: place for place, name in enumerate(names)}
    others = code.get(OTHERS, len(names))
    return np.array([code.get(value, others) for value in values.astype(str)], np.int64)


def _day(day: str, values: NDArray, counts: NDArray[np.int64], base: NDArray[np.int64], names: list[str], evidence: float) -> SignalDay:
    strength = evidence / float(np.log(10))
    spread = _spread(values, names)
    if not len(values):
        return SignalDay(day=day, spread=spread, psi=None, psi_by_chance=None, level=None, log10_evidence=strength)
    index = psi(counts, base)
    chance = (len(base) - 1) * (1 / counts.sum() + 1 / base.sum())
    return SignalDay(day=day, spread=spread, psi=index, psi_by_chance=float(chance), level=level(index - float(chance)), log10_evidence=strength)


def psi(counts: NDArray[np.integer], base: NDArray[np.integer]) -> float:
    """Population stability index of two histograms over the same bins: sum of (p - q) log(p / q), the symmetric Kullback-Leibler divergence."""
    p, q = ((some + PSEUDO) / (some + PSEUDO).sum() for some in (counts, base))
    return float(((p - q) * np.log(p / q)).sum())


def level(above_chance: float) -> Level:
    """A change in words."""
    return "large" if above_chance >= PSI_LARGE else "moderate" if above_chance >= PSI_MODERATE else "small"


def _spread(values: NDArray, names: list[str]) -> Spread:
    if not len(values):
        return Spread(n=0)
    if not names:
        return Spread(n=len(values), quantiles={str(q): float(np.percentile(values, q)) for q in QUANTILES})
    known = [value if value in names else OTHERS for value in values]
    return Spread(n=len(values), shares={name: known.count(name) / len(known) for name in names})
