"""Every metric of some rows, by scikit-learn and torchmetrics."""

from collections.abc import Mapping

import numpy as np
from sklearn import metrics as sk

from realgrain.measuring.resampling import ECE_BINS, FPR_LIMITS, Bools, Floats

METRICS = (
    "auc",
    "ap",
    "eer",
    "accuracy_at_half",
    "balanced_accuracy_at_half",
    "real_accuracy_at_half",
    "fake_accuracy_at_half",
    "accuracy_at_threshold",
    "balanced_accuracy_at_threshold",
    "real_accuracy_at_threshold",
    "fake_accuracy_at_threshold",
    "accuracy_at_oracle",
    "balanced_accuracy_at_oracle",
    "tpr_at_0.1_fpr",
    "tpr_at_1_fpr",
    "tpr_at_5_fpr",
    "tpr_at_threshold",
    "fpr_at_threshold",
    "ece",
    "brier",
)
"""Names of all metrics, in the order they are shown.

At half: flagged from a probability of 0.5. At threshold: from the logit stored beside each. At oracle: from the logit that gives these very rows
the highest figure, another for each of the two: an upper bound on what any threshold could reach, which some papers print as accuracy. It is no
result, and nothing else uses it.
"""


def point_metrics(fake: Bools, logit: Floats, probability: Floats, threshold: Floats | float | None) -> Mapping[str, float | None]:
    """Every metric of `METRICS` by scikit-learn and torchmetrics; None where a class or the threshold is missing.

    Args:
        fake: (n,) True for the rows of the class "fake".
        logit: (n,) finite scores, higher = more likely fake.
        probability: (n,) calibrated, in [0, 1].
        threshold: (n,), or one for all: rows with logit >= threshold are flagged.
    """
    found: dict[str, float | None] = dict.fromkeys(METRICS)
    if fake.any() and not fake.all():
        fpr, tpr, thresholds = sk.roc_curve(fake, logit, drop_intermediate=False)
        found |= {"auc": float(sk.auc(fpr, tpr)), "ap": float(sk.average_precision_score(fake, logit)), "eer": _equal_error(fake, logit)}
        found |= {name: float(tpr[fpr <= limit].max()) for name, limit in FPR_LIMITS.items()}
        right = tpr * fake.sum() - fpr * (~fake).sum()
        found["accuracy_at_oracle"] = float(sk.accuracy_score(fake, logit >= thresholds[right.argmax()]))
        found["balanced_accuracy_at_oracle"] = float(sk.balanced_accuracy_score(fake, logit >= thresholds[(tpr - fpr).argmax()]))
    if fake.size:
        found |= _at("half", fake, probability >= 0.5)
        found |= {"ece": _calibration_error(fake, probability), "brier": float(sk.brier_score_loss(fake, probability))}
        found |= _at("threshold", fake, logit >= threshold) if threshold is not None else {}
    return {name: found[name] for name in METRICS}


def _at(name: str, fake: Bools, flagged: Bools) -> dict[str, float | None]:
    fakes, reals = bool(fake.any()), not fake.all()
    recall = _recall(fake, flagged) if fakes else None
    return {
        f"accuracy_at_{name}": float(sk.accuracy_score(fake, flagged)),
        f"balanced_accuracy_at_{name}": float(sk.balanced_accuracy_score(fake, flagged)) if fakes and reals else None,
        f"real_accuracy_at_{name}": _recall(~fake, ~flagged) if reals else None,
        f"fake_accuracy_at_{name}": recall,
        f"tpr_at_{name}": recall,
        f"fpr_at_{name}": _recall(~fake, flagged) if reals else None,  # the share of reals that are flagged
    }


def _recall(truth: Bools, flagged: Bools) -> float:
    return float(np.asarray(sk.recall_score(truth, flagged, zero_division=0)))


def _equal_error(fake: Bools, logit: Floats) -> float:
    import torch
    from torchmetrics.functional.classification import binary_eer

    # ranks within [0, 1], ties kept: logits would go through a sigmoid, which makes new ties of large ones
    values, rank = np.unique(logit, return_inverse=True)
    return float(binary_eer(torch.from_numpy(rank / len(values)), torch.from_numpy(fake).long()))


def _calibration_error(fake: Bools, probability: Floats) -> float:
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    return float(binary_calibration_error(torch.from_numpy(probability), torch.from_numpy(fake).long(), n_bins=ECE_BINS, norm="l1"))
