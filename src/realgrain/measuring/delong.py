"""Whether two detectors' AUCs on the same pictures differ: DeLong's test."""

from __future__ import annotations

import math

import numpy as np

from realgrain.measuring.resampling import Bools, Floats


def delong_test(fake: Bools, first: Floats, second: Floats) -> float | None:
    """Two-sided p-value of DeLong's test for two correlated AUCs.

    DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves: A Nonparametric
    Approach", Biometrics 1988; by midranks, in O(n log n), as in Sun and Xu, "Fast Implementation of DeLong's Algorithm for Comparing the Areas Under
    Correlated Receiver Operating Characteristic Curves", IEEE Signal Processing Letters 2014.

    Args:
        fake: (n,) True for the rows of the class "fake".
        first: (n,) scores, higher = more likely fake.
        second: (n,) likewise, of the same pictures.

    Returns:
        In [0, 1]; 1 where both rank alike. None where a class has fewer than two pictures, or the AUCs differ but their difference has no variance:
        then the test says nothing.
    """
    from scipy.stats import norm

    if min(fake.sum(), (~fake).sum()) < 2:
        return None
    of_fakes, of_reals = placements(fake, np.stack([first, second]))
    difference = float(of_fakes[0].mean() - of_fakes[1].mean())
    variance = float((of_fakes[0] - of_fakes[1]).var(ddof=1) / fake.sum() + (of_reals[0] - of_reals[1]).var(ddof=1) / (~fake).sum())
    if math.isclose(difference, 0, abs_tol=1e-12):
        return 1.0
    return float(2 * norm.sf(abs(difference) / math.sqrt(variance))) if variance > 1e-24 else None


def placements(fake: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """DeLong's structural components V10 and V01, (k, fakes) and (k, reals), of scores (k, n).

    Of each fake the share of reals below it, and of each real the share of fakes above it; ties count half. The mean of either is the AUC.
    """
    from scipy.stats import rankdata

    fakes, reals = scores[:, fake], scores[:, ~fake]
    everywhere = rankdata(scores, axis=1)
    of_fakes = (everywhere[:, fake] - rankdata(fakes, axis=1)) / reals.shape[1]
    of_reals = 1 - (everywhere[:, ~fake] - rankdata(reals, axis=1)) / fakes.shape[1]
    return of_fakes, of_reals
