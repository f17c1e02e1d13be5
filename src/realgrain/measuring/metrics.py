"""Turns a scores table into figures with intervals: one ConditionResult for each condition in it."""

import json
import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn import metrics as sk

from realgrain.detector.calibration import CONFIDENCE, Rate, rate
from realgrain.measuring.resampling import ECE_BINS, FPR_LIMITS, Bools, Floats, resample_counts, weighted_metrics
from realgrain.measuring.results import ConditionResult, Estimate, Evaluation

METRICS = (
    "auc",
    "ap",
    "accuracy_at_half",
    "balanced_accuracy_at_half",
    "accuracy_at_threshold",
    "balanced_accuracy_at_threshold",
    "tpr_at_1_fpr",
    "tpr_at_5_fpr",
    "tpr_at_threshold",
    "fpr_at_threshold",
    "ece",
)
"""Names of all metrics, in the order they are shown."""
_TEXT = ("label", "generator", "source", "condition", "error")


def evaluate(table: pa.Table, *, threshold: float | None = None, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Measures each condition of a scores table.

    Rows with an error, or without a logit or a probability, count as failed and enter no metric.

    Args:
        table: A scores table: path, label ("real" or "fake"), generator, source, condition, logit (higher = more likely
            AI-generated), probability (in [0, 1]), error; further columns are ignored.
        threshold: The logit from which a row is flagged. By default the one in the table's metadata; with neither,
            the metrics at a threshold are None.
        resamples: Bootstrap resamples, stratified by label; 0 leaves the intervals out.
        seed: Seed of the resampling, used afresh for each condition so that none depends on which others are there.

    Returns:
        The figures, conditions in order of first appearance.

    Raises:
        ValueError: The table has no rows or lacks a column, a label is unknown, a text is null, a logit or the
            threshold is not finite, a probability lies outside [0, 1], or `resamples` is negative.
    """
    if resamples < 0:
        raise ValueError(f"resamples must not be negative, got {resamples}")
    _check(table)
    threshold = stored_threshold(table) if threshold is None else threshold
    if threshold is not None and not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold}")
    names = _texts(table, "condition")
    parts = {name: table.filter(pa.array(names == name)) for name in dict.fromkeys(names)}
    conditions = {name: _condition(part, threshold, resamples, seed) for name, part in parts.items()}
    return Evaluation(threshold=threshold, resamples=resamples, seed=seed, conditions=conditions)


def _check(table: pa.Table) -> None:
    missing = [name for name in (*_TEXT, "logit", "probability") if name not in table.column_names]
    if missing:
        raise ValueError(f"scores table lacks the columns {', '.join(missing)}")
    if table.num_rows == 0:
        raise ValueError("scores table has no rows")
    nulls = [name for name in _TEXT if table[name].null_count]
    if nulls:
        raise ValueError(f"scores table has nulls in {', '.join(nulls)}")
    unknown = set(table["label"].unique().to_pylist()) - {"real", "fake"}
    if unknown:
        raise ValueError(f"unknown labels {sorted(unknown)}: a label is real or fake")
    if not np.isfinite(_numbers(table, "logit")).all():
        raise ValueError("scores table has logits that are NaN or infinite; a picture that was not scored has null")
    probability = _numbers(table, "probability")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("scores table has probabilities outside [0, 1]")


def _numbers(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].drop_null().to_pylist(), dtype=np.float64)


def _texts(table: pa.Table, name: str) -> NDArray[np.object_]:
    return np.asarray(table[name].to_pylist(), dtype=object)


def stored_threshold(table: pa.Table) -> float | None:
    """The logit in a scores table's metadata from which a picture is flagged, None where there is none."""
    stored = json.loads((table.schema.metadata or {}).get(b"realgrain", b"{}")).get("threshold")
    return None if stored is None else float(stored)


def _condition(rows: pa.Table, threshold: float | None, resamples: int, seed: int) -> ConditionResult:
    valid = [np.asarray(rows[name].is_valid()) for name in ("logit", "probability")]
    good = rows.filter(pa.array((_texts(rows, "error") == "") & valid[0] & valid[1]))
    fake = _texts(good, "label") == "fake"
    logit, probability = _numbers(good, "logit"), _numbers(good, "probability")
    generators, sources = _texts(good, "generator"), _texts(good, "source")
    flagged = np.zeros(0, bool) if threshold is None else logit >= threshold
    rates = [_rates(groups, kept, flagged) for groups, kept in ((generators, fake), (sources, fake), (sources, ~fake))]
    return ConditionResult(
        n_real=int((~fake).sum()),
        n_fake=int(fake.sum()),
        n_failed=rows.num_rows - good.num_rows,
        metrics=_estimates(fake, logit, probability, threshold, resamples, seed),
        recall_per_generator=rates[0],
        recall_per_source=rates[1],
        fpr_per_source=rates[2],
        worst_generator=min(rates[0], key=lambda name: (rates[0][name].value, -rates[0][name].n), default=None),
        worst_source=max(rates[2], key=lambda name: (rates[2][name].value, rates[2][name].n), default=None),
    )


def _rates(groups: NDArray[np.object_], kept: Bools, flagged: Bools) -> dict[str, Rate]:
    if not flagged.size:
        return {}
    return {name: rate(flagged[kept & (groups == name)]) for name in sorted(set(groups[kept]))}


def _estimates(fake: Bools, logit: Floats, probability: Floats, threshold: float | None, resamples: int, seed: int) -> dict[str, Estimate]:
    values = point_metrics(fake, logit, probability, threshold)
    if not fake.size or not resamples:
        return {name: Estimate(value=value) for name, value in values.items()}
    drawn = [weighted_metrics(counts, fake, logit, probability, threshold) for counts in resample_counts(fake, resamples, seed)]
    return {name: _estimate(name, value, drawn) for name, value in values.items()}


def _estimate(name: str, value: float | None, drawn: list[dict[str, Floats]]) -> Estimate:
    if value is None:
        return Estimate(value=None)
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate([chunk[name] for chunk in drawn]), [outside, 1 - outside])
    return Estimate(value=value, low=float(low), high=float(high))


def point_metrics(fake: Bools, logit: Floats, probability: Floats, threshold: float | None) -> Mapping[str, float | None]:
    """Every metric of `METRICS` by scikit-learn and torchmetrics; None where a class or the threshold is missing.

    Args:
        fake: (n,) True for the rows of the class "fake".
        logit: (n,) finite scores, higher = more likely fake.
        probability: (n,) calibrated, in [0, 1].
        threshold: Rows with logit >= threshold are flagged.
    """
    found: dict[str, float | None] = dict.fromkeys(METRICS)
    if fake.any() and not fake.all():
        fpr, tpr, _ = sk.roc_curve(fake, logit, drop_intermediate=False)
        found |= {"auc": float(sk.auc(fpr, tpr)), "ap": float(sk.average_precision_score(fake, logit))}
        found |= {name: float(tpr[fpr <= limit].max()) for name, limit in FPR_LIMITS.items()}
    if fake.size:
        found |= _at("half", fake, probability >= 0.5) | {"ece": _calibration_error(fake, probability)}
        found |= _at("threshold", fake, logit >= threshold) if threshold is not None else {}
    return {name: found[name] for name in METRICS}


def _at(name: str, fake: Bools, flagged: Bools) -> dict[str, float | None]:
    fakes, reals = bool(fake.any()), not fake.all()
    return {
        f"accuracy_at_{name}": float(sk.accuracy_score(fake, flagged)),
        f"balanced_accuracy_at_{name}": float(sk.balanced_accuracy_score(fake, flagged)) if fakes and reals else None,
        f"tpr_at_{name}": _recall(fake, flagged) if fakes else None,
        f"fpr_at_{name}": _recall(~fake, flagged) if reals else None,  # the share of reals that are flagged
    }


def _recall(truth: Bools, flagged: Bools) -> float:
    return float(np.asarray(sk.recall_score(truth, flagged)))


def _calibration_error(fake: Bools, probability: Floats) -> float:
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    return float(binary_calibration_error(torch.from_numpy(probability), torch.from_numpy(fake).long(), n_bins=ECE_BINS, norm="l1"))
