"""Times of contestants that take turns, compared round by round."""

import numpy as np
from pydantic import BaseModel


class Ratio(BaseModel):
    """Median over rounds of one contestant's time over another's, with its 95 % percentile bootstrap interval; rounds are resampled whole."""

    value: float
    low: float
    high: float


def ratio(first: list[float], second: list[float], resamples: int = 10_000, seed: int = 0) -> Ratio:
    """Of two contestants' times, round by round.

    >>> ratio([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    Ratio(value=2.0, low=2.0, high=2.0)
    """
    rounds = np.array(first) / np.array(second)
    drawn = np.median(np.random.default_rng(seed).choice(rounds, (resamples, len(rounds))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return Ratio(value=float(np.median(rounds)), low=low, high=high)
