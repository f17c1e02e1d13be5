"""Is a stream still one stream? A test that may be looked at every day, with one false-alarm rate for all days together.

If nothing changes, the order of the pictures carries no information: each new one is equally likely to fall at any rank among those before it. Such
ranks, ties broken by chance, are independent and uniform (Vovk, Nouretdinov and Gammerman 2003, conformal test martingales). We bet against that: the
wealth of a fair game ever reaches 1 / alpha with a probability of at most alpha, however long one plays (Ville 1939). How we bet is our choice: on a
histogram of ranks whose shape is unknown (a Dirichlet mixture, of several strengths), from an unknown day on (a mixture over the first day of the
change).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

BINS = 10
"""Of the histogram of ranks (our choice)."""
STRENGTHS = (1.0, 4.0, 16.0, 64.0)
"""Of the Dirichlet mixtures, in pictures a bin: weak ones learn a large change fast, strong ones waste less on a small one (our choice)."""

Floats = NDArray[np.float64]


def earlier_below(ranks: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many earlier ones are smaller: (..., N) ranks that are permutations of 0 to N - 1, to (..., N) counts. Takes N log² N steps."""
    n = ranks.shape[-1]
    place = np.arange(n)
    below = np.zeros(ranks.shape, np.int64)
    width = 1
    while width < n:  # merge runs of `width`: for each of the right run, count those of the left run that are smaller
        block = place // (2 * width)
        order = (block * n + ranks).argsort(-1)
        left = order // width % 2 == 0
        smaller = left.cumsum(-1) - left - block * width  # blocks before this one are full, so that each has `width` in its left run
        here = np.empty_like(below)
        np.put_along_axis(here, order, np.where(left, 0, smaller), -1)
        below += here
        width *= 2
    return below


def number_ranks(values: Floats, rng: np.random.Generator) -> Floats:
    """Ranks of numbers among those before them and themselves, in [0, 1): independent and uniform if the order is by chance.

    Args:
        values: (..., N) finite.
        rng: breaks ties, and spreads each rank over its share of the interval; draws for one number after the other, so that what comes later
            changes no rank of what came before.
    """
    ties, spread = np.moveaxis(rng.random((*values.shape, 2)), -1, 0)
    order = np.lexsort(np.stack([ties, values]), axis=-1)
    return (earlier_below(order.argsort(-1)) + spread) / np.arange(1, values.shape[-1] + 1)


def category_ranks(codes: NDArray[np.integer], rng: np.random.Generator) -> Floats:
    """As ``number_ranks``, for categories: one ranks lower the rarer its category is so far, itself counted.

    Args:
        codes: (N,) from 0 up.
        rng: breaks ties.
    """
    so_far = np.cumsum(codes[:, None] == np.arange(codes.max() + 1), axis=0)
    own = np.take_along_axis(so_far, codes[:, None], 1)
    rarer, alike = (np.where(kept, so_far, 0).sum(1) for kept in (so_far < own, so_far == own))
    return (rarer + rng.random(len(codes)) * alike) / np.arange(1, len(codes) + 1)


def histograms(ranks: Floats, days: NDArray[np.integer], n_days: int) -> NDArray[np.int64]:
    """Ranks (..., N) of pictures on days (N,) counted by day and bin: (..., n_days, BINS)."""
    bins = (ranks * BINS).astype(np.int64)
    found = np.zeros((*ranks.shape[:-1], n_days, BINS), np.int64)
    flat, cells = found.reshape(-1, n_days * BINS), (days * BINS + bins).reshape(-1, ranks.shape[-1])
    for row, cell in zip(flat, cells, strict=True):
        row += np.bincount(cell, minlength=n_days * BINS)
    return found


def log_evidence(counts: NDArray[np.integer]) -> Floats:
    """Natural logarithm of the wealth at the end of each day: above log(1 / alpha) with a probability of at most alpha on any day if nothing changed.

    Args:
        counts: (..., D, BINS) ranks by day and bin, of the days that are bet on.

    Returns:
        (..., D): of the mixture over the first day j = 1, 2, ... of the change, with weights 1 / (j (j + 1)); what is set aside for later days keeps
        its worth.
    """
    n_days = counts.shape[-2]
    total = np.concatenate([np.zeros_like(counts[..., :1, :]), counts.cumsum(-2)], axis=-2)
    terms = np.full((n_days + 1, *counts.shape[:-1]), -np.inf)
    for start in range(n_days):
        terms[start, ..., start:] = _log_wealth(total[..., start + 1 :, :] - total[..., start : start + 1, :]) - np.log((start + 1) * (start + 2))
    terms[n_days] = -np.log(np.arange(2, n_days + 2))
    return np.asarray(logsumexp(terms, axis=0))


def _log_wealth(counts: NDArray[np.integer]) -> Floats:
    """Of a bet on (..., BINS) counts of uniform ranks: their probability under the mixtures, in equal shares, over that under uniformity."""
    n = counts.sum(-1)
    each = [
        gammaln(BINS * strength) - gammaln(n + BINS * strength) + (gammaln(counts + strength) - gammaln(strength)).sum(-1) for strength in STRENGTHS
    ]
    return np.asarray(logsumexp(each, axis=0)) - np.log(len(STRENGTHS)) + n * np.log(BINS)
