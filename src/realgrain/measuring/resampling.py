"""Bootstrap replicates of every metric at once, fast enough to give each figure an interval.

A resample is a count per row. Weighting a sorted table with such counts gives a replicate of every metric without a
thousand calls to scikit-learn and torchmetrics; tests/measuring/test_metrics.py holds it equal to those calls.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Names = NDArray[np.object_]

ECE_BINS = 15
"""Equal-width bins of the calibration error; 15 as in Guo et al., "On Calibration of Modern Neural Networks", 2017."""
FPR_LIMITS = {"tpr_at_0.1_fpr": 0.001, "tpr_at_1_fpr": 0.01, "tpr_at_5_fpr": 0.05}
"""Metric -> highest false-positive rate; with fewer than 1000 reals, 0.1 % is none at all."""
FEWEST = 5
"""Pictures, or clusters, that a class needs for an interval (our choice). Of n there are C(2n - 1, n) different resamples (Hall, "The Bootstrap and
Edgeworth Expansion", 1992, appendix I): 1, 3, 10, 35 of up to four, and it takes 40 before one of them is as rare as a tail of 2.5 %."""
ROUNDING = 1e-9  # of sums of a resample: an interval that is no wider has no width
GROUP = "group"
"""Column of pictures that belong together, by which clusters are drawn where nothing else is asked for."""
_CELLS = 200_000  # counts held at once: 1.6 MB an array, so that the passes over them stay in the processor's cache


def clusters_of(names: Iterable[str | None]) -> Names:
    """What each row (n,) is drawn together with, by the name of its cluster: itself where it has none."""
    return np.asarray([f"= {name}" if name else f"alone {place}" for place, name in enumerate(names)], dtype=object)


def clusters_by(asked: str | None, columns: Collection[str]) -> str | None:
    """The column to draw clusters by: what is asked for, none where that is empty; where nothing is asked for, ``group``, if it is there."""
    return (GROUP if GROUP in columns else None) if asked is None else asked or None


def units(fake: Bools, clusters: Names | None) -> dict[str, int]:
    """What is drawn of each class: clusters, or pictures."""
    return {label: int(rows.sum()) if clusters is None else len(set(clusters[rows])) for label, rows in (("real", ~fake), ("fake", fake))}


def resample_counts(
    fake: Bools,
    resamples: int,
    seed: int,
    sets: Names | None = None,
    clusters: Names | None = None,
    pictures: NDArray[np.intp] | None = None,
) -> Iterator[Floats]:
    """Draws stratified resamples: the reals among themselves and the fakes among themselves, of each set if there are any.

    Stratified because the sizes of a benchmark's classes and sets are chosen by whoever made it, not sampled (our choice).

    Sets with fewer than `FEWEST` pictures of a class share their draws of that class: alone, one picture would be drawn once in every resample, and
    a thousand sets of one picture each would seem certain. Collapsing strata (Cochran, "Sampling Techniques", 1977, section 5A.12) counts what sets
    differ in as chance, so that the interval is too wide rather than too narrow.

    Clusters are drawn whole, within a class, wherever their pictures are: sets then change their size from one resample to the next, and may
    miss. Pictures of a photographer, an original or a source are alike, so that as many of them say less than they would alone: drawn one by one
    they give intervals that are too narrow. With few clusters so does this: percentile intervals from fewer than some 30 clusters in a class are
    themselves too narrow (Cameron, Gelbach & Miller, "Bootstrap-Based Improvements for Inference with Clustered Errors", 2008), and fewer than
    `FEWEST` give none.

    Args:
        fake: (n,) True for the rows of the class "fake".
        resamples: How many resamples to draw.
        seed: Same seed and same rows, same resamples.
        sets: (n,) name of each row's set, which has its own draws, whatever other sets there are, unless it is small; not used with `clusters`.
        clusters: (n,) what each row is drawn together with.
        pictures: (n,) number of each row's picture, where sets share pictures: it is drawn once, for all of its sets. Those of the same sets have
            their own draws, as those of a set have that share none.

    Yields:
        (b, n) how often each row was drawn, the b of all chunks adding up to `resamples`.
    """
    pairs: list[tuple[Bools, np.random.Generator]] = []
    shared = [~fake, fake]
    together: Names | NDArray[np.intp] | None = clusters
    if sets is not None and clusters is None:
        pictures = np.arange(fake.size) if pictures is None else pictures
        homes = _homes(sets, pictures)
        for name in sorted(set(homes.tolist())):
            of_set = np.random.default_rng([seed, int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")])
            pairs += [(rows & (homes == name), rng) for rows, rng in zip((~fake, fake), of_set.spawn(2), strict=True)]
        pairs = [(rows, rng) for rows, rng in pairs if len(np.unique(pictures[rows])) >= FEWEST]
        for rows, _ in pairs:
            shared = [of & ~rows for of in shared]
        together = pictures
    pairs += zip(shared, np.random.default_rng(seed).spawn(2), strict=True)
    yield from draw_counts([(rows, rng) for rows, rng in pairs if rows.any()], fake.size, resamples, together)


def _homes(sets: Names, pictures: NDArray[np.intp]) -> Names:
    """The sets (n,) that each row's picture is in: their names, sorted, and for one set its name."""
    of: dict[int, set[str]] = {}
    for picture, name in zip(pictures.tolist(), sets.tolist(), strict=True):
        of.setdefault(picture, set()).add(name)
    return np.asarray(["\0".join(sorted(of[picture])) for picture in pictures.tolist()], dtype=object)


def draw_counts(
    strata: Sequence[tuple[Bools, np.random.Generator]], size: int, resamples: int, clusters: Names | NDArray[np.intp] | None = None
) -> Iterator[Floats]:
    """Draws resamples stratum by stratum, each with as many rows, or clusters, as it has.

    Args:
        strata: (n,) True for the rows of a stratum, none of them empty, and where its draws come from.
        size: n.
        resamples: How many resamples to draw.
        clusters: (n,) what each row of a stratum is drawn together with; None: each row is drawn alone.

    Yields:
        (b, n) how often each row was drawn, the b of all chunks adding up to `resamples`.
    """
    members = [np.arange(rows.sum()) if clusters is None else np.unique(clusters[rows], return_inverse=True)[1] for rows, _ in strata]
    chunk = max(1, _CELLS // max(1, size))
    for start in range(0, resamples, chunk):
        counts = np.zeros((min(chunk, resamples - start), size))
        for (rows, rng), member in zip(strata, members, strict=True):
            there = int(member.max()) + 1
            drawn = rng.multinomial(there, np.full(there, 1 / there), size=len(counts))
            counts[:, rows] = drawn if clusters is None else drawn[:, member]
        yield counts


def averaged(replicates: Sequence[Floats]) -> Floats:
    """The mean of several figures in each resample (b,), over those that are defined there; NaN where none is."""
    stacked = np.stack(replicates)
    there = np.isfinite(stacked)
    with np.errstate(invalid="ignore"):
        return np.where(there, stacked, 0).sum(axis=0) / there.sum(axis=0)


def weighted_metrics(counts: Floats, fake: Bools, logit: Floats, probability: Floats | None, threshold: Floats | float | None) -> dict[str, Floats]:
    """Every metric of every resample.

    Args:
        counts: (b, n) how often each row was drawn.
        fake: (n,) True for the rows of the class "fake".
        logit: (n,) scores, higher = more likely fake.
        probability: (n,) calibrated, in [0, 1]; None leaves the metrics of it out.
        threshold: (n,), or one for all: rows with logit >= threshold are flagged; None leaves the metrics at it out.

    Returns:
        (b,) by metric; NaN where a class has no rows to define the metric on.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _ranked(counts, fake, logit)
        if probability is not None:
            found |= flagged_metrics(counts, fake, probability >= 0.5, "half") | {"ece": _calibration_error(counts, fake, probability)}
            found["brier"] = counts @ (fake - probability) ** 2 / counts.sum(axis=1)
        return found if threshold is None else found | flagged_metrics(counts, fake, logit >= threshold, "threshold")


def _ranked(counts: Floats, fake: Bools, logit: Floats) -> dict[str, Floats]:
    order = np.argsort(-logit, kind="stable")
    ends = np.flatnonzero(np.diff(logit[order], append=-np.inf))  # tied rows are flagged together: one ROC point a value
    drawn = counts[:, order]
    hits, alarms = _curve(drawn * fake[order], ends), _curve(drawn * ~fake[order], ends)
    fakes, reals = hits[:, -1:], alarms[:, -1:]
    tpr, fpr = hits / fakes, alarms / reals
    gained = np.diff(tpr)
    precision = hits[:, 1:] / np.maximum(hits[:, 1:] + alarms[:, 1:], 1)  # nothing flagged adds no recall, so its precision has no weight
    found = {
        "auc": 1 - np.einsum("ij,ij->i", gained, fpr[:, 1:] + fpr[:, :-1]) / 2,
        "ap": np.einsum("ij,ij->i", gained, precision),
        "eer": _equal_error(fakes, reals, hits, alarms),
        "accuracy_at_oracle": ((hits - alarms).max(axis=1) + reals[:, 0]) / (fakes + reals)[:, 0],
        "balanced_accuracy_at_oracle": ((tpr - fpr).max(axis=1) + 1) / 2,
    }
    rows = np.arange(len(counts))
    found |= {name: tpr[rows, np.maximum((fpr <= limit).sum(axis=1) - 1, 0)] for name, limit in FPR_LIMITS.items()}
    undefined = ((fakes == 0) | (reals == 0))[:, 0]
    return {name: np.where(undefined, np.nan, of) for name, of in found.items()}


def _curve(drawn: Floats, ends: NDArray[np.intp]) -> Floats:
    """(b, points + 1) how many are flagged, from none to all."""
    found = np.zeros((len(drawn), len(ends) + 1))
    found[:, 1:] = np.cumsum(drawn, axis=1)[:, ends]
    return found


def _equal_error(fakes: Floats, reals: Floats, hits: Floats, alarms: Floats) -> Floats:
    """In single precision, as torchmetrics has it: which of two points is the nearer to equal may hang on a last bit."""
    single = np.float32
    missed = 1 - hits.astype(single) / fakes.astype(single)
    alarmed = alarms.astype(single) / reals.astype(single)
    rows, best = np.arange(len(hits)), np.abs(alarmed - missed).argmin(axis=1)
    return ((alarmed[rows, best] + missed[rows, best]) / 2).astype(np.float64)


def flagged_metrics(counts: Floats, fake: Bools, flagged: Bools, name: str) -> dict[str, Floats]:
    """Those of ``weighted_metrics`` that hang on decisions alone.

    Args:
        counts: (b, n) how often each row was drawn.
        fake: (n,) True for the rows of the class "fake".
        flagged: (n,) True for the rows that are called fake.
        name: of what decided: metrics are called ``accuracy_at_<name>`` and so on.
    """
    fakes, reals = counts @ fake, counts @ ~fake
    hits, alarms = counts @ (fake & flagged), counts @ (~fake & flagged)
    tpr, fpr = hits / fakes, alarms / reals
    return {
        f"accuracy_at_{name}": (hits + reals - alarms) / (fakes + reals),
        f"balanced_accuracy_at_{name}": (tpr + 1 - fpr) / 2,
        f"real_accuracy_at_{name}": 1 - fpr,
        f"fake_accuracy_at_{name}": tpr,
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
