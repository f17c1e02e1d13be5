"""Probes: how well a trait of files tells the label, on pictures and on sources that the probe has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from realgrain.detector.calibration import CONFIDENCE
from realgrain.learning.data import ManifestError, Sample, automatic_folds
from realgrain.measuring.file_traits import Trait
from realgrain.measuring.resampling import FEWEST, ROUNDING, Floats, draw_counts, weighted_metrics
from realgrain.measuring.results import Estimate

FOLDS = 5
# Of the probe: a little boosting on shallow trees, which reads thresholds, bands and few categories alike; scikit-learn's own
# treatment of categories would pass over those of fewer than ten pictures (our choice).
_PROBE = {"max_iter": 30, "max_leaf_nodes": 8, "min_samples_leaf": 5, "class_weight": "balanced", "early_stopping": False, "random_state": 0}


@dataclass(frozen=True)
class Split:
    """Pictures that a probe learns from, and pictures it is tried on: masks (N,) bool."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Reading:
    """Area under the ROC curve, the mean over splits, and its bootstrap replicates (resamples,)."""

    value: float
    drawn: Floats

    @property
    def estimate(self) -> Estimate:
        """With its 95 % interval."""
        low, high = interval(self.drawn)
        return Estimate(value=self.value, low=low, high=high)

    @property
    def no_spread(self) -> bool:
        """Whether all resamples give one value and it is not certain: not chance itself, nor a trait that tells every picture."""
        low, high = interval(self.drawn)
        return high - low <= ROUNDING and self.value not in {0.5, 1.0}


def interval(drawn: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of bootstrap replicates."""
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [outside, 1 - outside])
    return float(low), float(high)


def by_picture(fake: np.ndarray, twins: np.ndarray) -> list[Split]:
    """Up to five splits with near-duplicates on one side, as many as leave ``FEWEST`` of a class to try in each; empty where that is not two.

    Of fewer to try, resamples differ too little to show what is chance.

    Args:
        fake: (N,) bool.
        twins: (N,) group of near-duplicates.
    """
    count = min(FOLDS, *(len(np.unique(twins[fake == label])) // FEWEST for label in (False, True)))
    if count < 2:
        return []
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=0).split(np.zeros(len(fake)), fake, twins)
    masks = [np.isin(np.arange(len(fake)), test) for _, test in folds]
    return _usable([Split(~mask, mask) for mask in masks], fake, twins)


def by_source(samples: Sequence[Sample], twins: np.ndarray) -> list[Split]:
    """Splits that leave out sources of both classes, every source once; empty where a class has only one, or too few pictures in the others.

    A fake without a source stands for its generator. What is tried is of no source, and no near-duplicate, of what was learned from.

    Args:
        samples: N, labelled.
        twins: (N,) group of near-duplicates.
    """
    named = [sample if sample.source else sample.model_copy(update={"source": sample.generator}) for sample in samples]
    try:
        folds = automatic_folds(named, FOLDS)
    except ManifestError:
        return []
    found = []
    for fold in folds:
        test = np.array([fold.leaves_out(sample) for sample in named])
        tried = np.array([sample.source in {*fold.fake, *fold.real} for sample in named])
        found.append(Split(~tried & ~np.isin(twins, twins[test]), test))
    return _usable(found, np.array([sample.fake for sample in samples]), twins)


def _usable(splits: Sequence[Split], fake: np.ndarray, twins: np.ndarray) -> list[Split]:
    """Splits with so many of both classes to learn from that a leaf of the probe can hold them, and so many to try that chance shows."""

    def enough(split: Split, of: np.ndarray) -> bool:
        return (split.train & of).sum() >= _PROBE["min_samples_leaf"] and len(np.unique(twins[split.test & of])) >= FEWEST

    return [split for split in splits if enough(split, fake) and enough(split, ~fake)]


def read(trait: Trait, fake: np.ndarray, splits: Sequence[Split], resamples: int, seed: int) -> Reading:
    """How well a probe tells the label by a trait.

    AUC is taken within each split, since two probes' scores do not compare, and averaged. Resamples are drawn within each split and class; the same
    seed draws the same for every trait, so that two readings pair.

    Args:
        trait: of N pictures.
        fake: (N,) bool.
        splits: at least one, each with both classes on both sides.
        resamples: of the bootstrap, at least 1.
        seed: of the bootstrap.
    """
    if trait.constant:
        return Reading(0.5, np.full(resamples, 0.5))
    scores = [_scores(trait, fake, split) for split in splits]
    value = float(np.mean([roc_auc_score(fake[split.test], one) for split, one in zip(splits, scores, strict=True)]))
    drawn = np.zeros(resamples)
    for split, one, rng in zip(splits, scores, np.random.default_rng(seed).spawn(len(splits)), strict=True):
        mine = fake[split.test]
        strata = list(zip((~mine, mine), rng.spawn(2), strict=True))
        drawn += np.concatenate([weighted_metrics(counts, mine, one, None, None)["auc"] for counts in draw_counts(strata, mine.size, resamples)])
    return Reading(value, drawn / len(splits))


def _scores(trait: Trait, fake: np.ndarray, split: Split) -> Floats:
    probe = HistGradientBoostingClassifier(**_PROBE)
    return probe.fit(trait.values[split.train], fake[split.train]).decision_function(trait.values[split.test])
