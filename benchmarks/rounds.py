"""Times of contestants that take turns, compared round by round."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

LEAST = 6
"""Rounds, below which no interval is given: of two rounds a bootstrap gives the smaller and the larger, which is no 95 % of anything (our choice)."""


class Ratio(BaseModel):
    """Median over rounds of one contestant's time over another's.

    Attributes:
        value: the median.
        low: of its 95 % percentile bootstrap interval, rounds being resampled whole; None with fewer than ``LEAST`` rounds.
        high: as ``low``.
        rounds: each round's, in order.
    """

    value: float
    low: float | None
    high: float | None
    rounds: list[float] = []

    def __str__(self) -> str:
        """With its interval, or, where there is none, with each round's."""
        if self.low is not None and self.high is not None:
            return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"
        each = ", ".join(f"{one:.2f}" for one in self.rounds)
        return f"{self.value:.2f} (rounds: {each}; too few for an interval)"

    def within(self, limit: float) -> str:
        """What can be said of the ratio and a limit, by the interval alone."""
        if self.low is None or self.high is None:
            return f"cannot be told from {len(self.rounds)} rounds; {LEAST} would give an interval"
        return "yes" if self.high <= limit else "no" if self.low > limit else "cannot be told: the interval holds the limit"


def ratio(first: list[float], second: list[float], resamples: int = 10_000, seed: int = 0) -> Ratio:
    """Of two contestants' times, round by round.

    >>> print(ratio([2.0] * 6, [1.0] * 6))
    2.00 (2.00–2.00)
    >>> print(ratio([2.0, 3.0], [1.0, 1.0]))
    2.50 (rounds: 2.00, 3.00; too few for an interval)
    """
    rounds = np.array(first) / np.array(second)
    found = Ratio(value=float(np.median(rounds)), low=None, high=None, rounds=rounds.tolist())
    if len(rounds) < LEAST:
        return found
    drawn = np.median(np.random.default_rng(seed).choice(rounds, (resamples, len(rounds))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return found.model_copy(update={"low": low, "high": high})
