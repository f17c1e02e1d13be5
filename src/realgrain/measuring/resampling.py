"""Bootstrap replicates of every metric at once, fast enough to give each figure an interval.

A resample is a count per row. Weighting a sorted table with such counts gives a replicate of every metric without a
thousand calls to scikit-learn and torchmetrics; tests/measuring/test_metrics.py holds it equal to those calls.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ECE_BINS = 15
"""Equal-width bins of the calibration error; 15 as in Guo et al., "On Calibration of Modern Neural Networks", 2017."""
FPR_LIMITS = {"tpr_at_1_fpr": 0.01, "tpr_at_5_fpr": 0.05}
_CELLS = 4_000_000  # counts held at once: 32 MB an array, whatever the number of rows


def resample_counts(fake: Bools, resamples: int, seed: int) -> Iterator[Floats]:
    """Draws stratified resamples: the reals among themselves and the fakes among themselves.

    Stratified because a benchmark's class sizes are chosen by whoever made it, not sampled (our choice).

    Args:
        fake: (n,) True for the rows of the class "fake".
        resamples: How many resamples to draw.
        seed: Same seed and same rows, same resamples.

    Yields:
        (b, n) how often each row was drawn, the b of all chunks adding up to `resamples`.
    """
    strata = [(rows, rng) for rows, rng in zip((~fake, fake), np.random.default_rng(seed).spawn(2), strict=True) if rows.any()]
    yield from draw_counts(strata, fake.size, resamples)


def draw_counts(strata: Sequence[tuple[Bools, np.random.Generator]], size: int, resamples: int) -> Iterator[Floats]:
    """Draws resamples stratum by stratum, each as large as it is.

    Args:
        strata: (n,) True for the rows of a stratum, none of them empty, and where its draws come from.
        size: n.
        resamples: How many resamples to draw.

    Yields:
        (b, n) how often each row was drawn, the b of all chunks adding up to `resamples`.
    """
    chunk = max(1, _CELLS // max(1, size))
    for start in range(0, resamples, chunk):
        counts = np.zeros((min(chunk, resamples - start), size))
        for rows, rng in strata:
            drawn = int(rows.sum())
            counts[:, rows] = rng.multinomial(drawn, np.full(drawn, 1 / drawn), size=len(counts))
        yield counts


def weighted_metrics(counts: Floats, fake: Bools, logit: Floats, probability: Floats | None, threshold: float | None) -> dict[str, Floats]:
    """Every metric of every resample.

    Args:
        counts: (b, n) how often each row was drawn.
        fake: (n,) True for the rows of the class "fake".
        logit: (n,) scores, higher = more likely fake.
        probability: (n,) calibrated, in [0, 1]; None leaves the metrics of it out.
        threshold: Rows with logit >= threshold are flagged; None leaves the metrics at it out.

    Returns:
        (b,) by metric; NaN where a class has no rows to define the metric on.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _ranked(counts, fake, logit)
        if probability is not None:
            found |= _flagged(counts, fake, probability >= 0.5, "half") | {"ece": _calibration_error(counts, fake, probability)}
        return found if threshold is None else found | _flagged(counts, fake, logit >= threshold, "threshold")


def _ranked(counts: Floats, fake: Bools, logit: Floats) -> dict[str, Floats]:
    order = np.argsort(-logit, kind="stable")
    ends = np.flatnonzero(np.diff(logit[order], append=-np.inf))  # tied rows are flagged together: one ROC point a value
    start = np.zeros((len(counts), 1))
    hits = np.hstack([start, np.cumsum(counts[:, order] * fake[order], axis=1)[:, ends]])
    alarms = np.hstack([start, np.cumsum(counts[:, order] * ~fake[order], axis=1)[:, ends]])
    tpr, fpr = hits / hits[:, -1:], alarms / alarms[:, -1:]
    precision = hits / np.maximum(hits + alarms, 1)  # nothing flagged adds no recall, so its precision has no weight
    found = {
        "auc": (np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(axis=1),
        "ap": (np.diff(tpr) * precision[:, 1:]).sum(axis=1),
    }
    return found | {name: np.where(fpr <= limit, tpr, 0.0).max(axis=1) for name, limit in FPR_LIMITS.items()}


def _flagged(counts: Floats, fake: Bools, flagged: Bools, name: str) -> dict[str, Floats]:
    fakes, reals = counts[:, fake].sum(axis=1), counts[:, ~fake].sum(axis=1)
    hits, alarms = counts[:, fake & flagged].sum(axis=1), counts[:, ~fake & flagged].sum(axis=1)
    tpr, fpr = hits / fakes, alarms / reals
    return {
        f"accuracy_at_{name}": (hits + reals - alarms) / (fakes + reals),
        f"balanced_accuracy_at_{name}": (tpr + 1 - fpr) / 2,
        f"tpr_at_{name}": tpr,
        f"fpr_at_{name}": fpr,
    }


def _calibration_error(counts: Floats, fake: Bools, probability: Floats) -> Floats:
    import torch

    # torch's own edges: numpy's differ in a last bit, and rounded probabilities do fall on an edge
    edges = torch.linspace(0, 1, ECE_BINS + 1, dtype=torch.float64).numpy()
    bins = np.searchsorted(edges, probability, side="right") - 1
    gaps = (fake - probability)[:, None] * (bins[:, None] == np.arange(ECE_BINS + 1))  # 1.0 has a bin to itself
    return np.abs(counts @ gaps).sum(axis=1) / counts.sum(axis=1)
