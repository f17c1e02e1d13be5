"""From a logit to a probability and to a decision. ``fit`` needs scikit-learn; all else needs numpy only.

Thresholds live on the logit, so that a later change of the probability scale never moves a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

CONFIDENCE = 0.95  # of every interval in a card
LEAST = 50  # rows of each label in a group of content, or its scale is that of all (our choice)
SHARE = 0.2  # of all pictures in the scale of a group: 0.05 to 0.3 do as well on left-out pairs, 0 and 0.5 worse (docs/decisions/0020)
TAIL = (1 - CONFIDENCE) / 2  # chance that a rate is beyond one end of its interval, at most


class Rate(BaseModel):
    """A measured share with its exact (Clopper-Pearson) 95 % interval.

    Attributes:
        k: cases that count.
        n: cases looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(ge=0)
    n: int = Field(ge=1)
    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class Calibration(BaseModel):
    """Platt scaling (Platt 1999): probability = sigmoid(slope * logit + intercept). Temperature scaling is the case of intercept 0.

    Attributes:
        groups: the scale of each group of content, in order; empty: this one holds for all. A slope of 0 (with intercept 0) says that in a group the
            logits tell nothing: 0.5 whatever they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["platt", "temperature"]
    slope: float = Field(ge=0)
    intercept: float = 0.0
    groups: tuple[Calibration, ...] = ()

    @property
    def flat(self) -> bool:
        """Whether the logits tell nothing: the probability is 0.5 whatever they are."""
        return self.slope == 0

    def of(self, group: int | None) -> Calibration:
        """The scale of a group of content; the one for all where the group is not known (None), or none has its own."""
        if not self.groups:
            return self
        return self.model_copy(update={"groups": ()}) if group is None else self.groups[group]


class OperatingPoint(BaseModel):
    """Two thresholds on the logit and what they cost, measured on sources that the scoring head had not seen.

    Every rate is that of the delivery (clean, web, hard) in which it is highest, so that it holds in each.

    Attributes:
        ai: at or above it a picture is called ``ai``.
        camera: at or below it a picture is called ``camera``; between the two the verdict is ``unsure``.
        target_fpr: false-positive rate that ``ai`` was chosen for.
        target_miss: share of generated pictures let through that ``camera`` was chosen for.
        false_positive: real pictures at or above ``ai``.
        missed: generated pictures at or below ``camera``.
        false_positive_per_source: the same as ``false_positive`` for each real source.
        deliveries: in which it was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ai: float
    camera: float
    target_fpr: float = Field(gt=0, lt=1)
    target_miss: float = Field(gt=0, lt=1)
    false_positive: Rate
    missed: Rate
    false_positive_per_source: dict[str, Rate]
    deliveries: tuple[str, ...]


def probability(calibration: Calibration, logits: np.ndarray | float) -> np.ndarray:
    """Calibrated probability of being AI-generated, in [0, 1], of the same shape as ``logits``."""
    return 1 / (1 + np.exp(-np.clip(calibration.slope * np.asarray(logits, np.float64) + calibration.intercept, -700, 700)))


def rate(hits: Iterable[bool] | np.ndarray) -> Rate:
    """Share of true values, with its interval.

    Raises:
        ValueError: no cases.
    """
    cases = [bool(hit) for hit in hits]
    if not cases:
        raise ValueError("a rate needs at least one case")
    return rate_of(sum(cases), len(cases))


@lru_cache(4096)  # a detector asks for the same rates for each group, for none, and by source, while it starts
def rate_of(k: int, n: int) -> Rate:
    """Share k of n (at least 1) with its exact interval (Clopper and Pearson 1934), each end exceeded with a chance of at most 2.5 %.

    scipy has it too, but judging a picture has to do without scipy.
    """
    low = 1 - _upper(n - k, n)
    return Rate(k=k, n=n, value=k / n, low=low, high=_upper(k, n))


def _upper(k: int, n: int) -> float:
    """The share at which k cases of n or fewer have a chance of ``TAIL``, by bisection to the last bit; 1 where k is n."""
    low, high = k / n, 1.0
    if k == n:
        return high
    ways = _ways(k, n)
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _cumulated(ways, n, middle)[-1] > TAIL else (low, middle)
    return high


def binomial_cdf(k: int, n: int, share: float) -> np.ndarray:
    """Chance (k + 1,) of at most 0, 1, ..., k cases in n (k at most n), each of which is one with a chance of ``share`` in (0, 1)."""
    return _cumulated(_ways(k, n), n, share)


def _ways(k: int, n: int) -> np.ndarray:
    """Logarithm (k + 1,) of in how many ways 0, 1, ..., k of n can be chosen."""
    step = np.arange(1, k + 1)
    return np.concatenate([[0.0], np.cumsum(np.log(n - step + 1) - np.log(step))])


def _cumulated(ways: np.ndarray, n: int, share: float) -> np.ndarray:
    count = np.arange(len(ways))
    return np.minimum(np.cumsum(np.exp(ways + count * np.log(share) + (n - count) * np.log1p(-share))), 1)


def threshold(logits: np.ndarray, share: float) -> tuple[float, bool]:
    """The lowest threshold above which new logits lie with a chance of at most ``share``, and whether these logits can support that share.

    It lies just above an order statistic: the one above which there are k of the n, k being the most for which the upper end of the exact interval of
    k of n (Clopper and Pearson 1934) is at most ``share``. If new logits are drawn as these were, at most 2.5 % of such sets give a threshold that is
    exceeded more often than that, whatever the distribution (tolerance limits: Wilks 1941); docs/decisions/0009. Where not even k = 0 will do, the
    threshold is just above the highest logit, the best that there is.

    Args:
        logits: (n,) sorted, at least one.
        share: in (0, 1).
    """
    n = len(logits)
    k = int(np.sum(binomial_cdf(n - 1, n, share) <= TAIL)) - 1
    return float(np.nextafter(logits[n - 1 - max(k, 0)], np.inf)), supports(n, share)


def supports(n: int, share: float) -> bool:
    """Whether n logits can support a rate at all: none of them above the threshold, with a chance of at most 2.5 % if the rate were higher."""
    return n > 0 and bool(binomial_cdf(0, n, share)[0] <= TAIL)


def fit(logits: np.ndarray, fake: np.ndarray, weight: np.ndarray, method: Literal["platt", "temperature"] = "platt") -> Calibration:
    """Fit the probability scale on held-out logits.

    Where these part the labels without overlap, how surely cannot be seen from them: the fewer there are, the flatter the scale.

    Args:
        logits: (N,).
        fake: (N,) bool, true for AI-generated.
        weight: (N,) importance of each picture; use it to make the two classes count alike, so that 0.5 means even odds.
        method: Platt (slope and intercept) or temperature (slope only).

    Raises:
        ValueError: one class only, or logits that do not rise with the label at all.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(fake)) < 2:
        raise ValueError("calibration needs both real and generated pictures")
    rows, labels = np.reshape(logits, (-1, 1)), fake
    if logits[fake].min() >= logits[~fake].max():
        # No slope fits best: the steeper, the better. Platt's targets instead of 0 and 1 (2000, section 2.2), each picture as a share of both labels.
        n_fake = int(fake.sum())
        target = np.where(fake, (n_fake + 1) / (n_fake + 2), 1 / (len(fake) - n_fake + 2))
        rows, labels, weight = np.tile(rows, (2, 1)), np.repeat([True, False], len(fake)), np.concatenate([weight * target, weight * (1 - target)])
    model = LogisticRegression(C=np.inf, fit_intercept=method == "platt").fit(rows, labels, sample_weight=weight)
    slope = float(model.coef_[0, 0])
    if slope <= 0:
        raise ValueError(f"held-out logits do not rise with the label (slope {slope:.3g}): this detector is no better than chance")
    return Calibration(method=method, slope=slope, intercept=float(np.ravel(model.intercept_)[0]))


def fit_each(
    logits: Mapping[str, np.ndarray],
    fake: np.ndarray,
    weight: np.ndarray,
    group: Mapping[str, np.ndarray],
    groups: int,
    method: Literal["platt", "temperature"] = "platt",
    share: float = SHARE,
) -> Calibration:
    """Fit one scale for all pictures, and one for each group of content (docs/decisions/0020).

    A group's scale is fitted on its own pictures, both labels with the same weight, and with a share of all, lest it stray further than its own
    make it. One with fewer than ``LEAST`` rows of a label goes by the scale for all; one whose logits do not rise with the label gets 0.5.

    Args:
        logits: (N,) of the same N pictures in each delivery; each counts as a row.
        fake: (N,) bool.
        weight: (N,) as ``fit`` takes it.
        group: (N,) int in each delivery, below ``groups``; not looked at where there is one.
        groups: how many there are.
        method: as ``fit`` takes it.
        share: of the weight that all pictures together have in each group's scale, in [0, 1].

    Raises:
        ValueError: as ``fit``, of all rows together.
    """
    rows, fake, weight = np.concatenate(list(logits.values())), np.tile(fake, len(logits)), np.tile(weight, len(logits))
    whole = fit(rows, fake, weight, method)
    if groups == 1:
        return whole
    member, each = np.concatenate([group[name] for name in logits]), []
    for number in range(groups):
        mine = member == number
        if min(np.sum(mine & fake), np.sum(mine & ~fake)) < LEAST:
            each.append(whole)
            continue
        even = (1 - share) * _even(weight * mine, fake) + share * _even(weight, fake)
        try:
            each.append(fit(rows, fake, even * len(rows), method))
        except ValueError:
            each.append(Calibration(method=method, slope=0.0))
    return whole.model_copy(update={"groups": tuple(each)})


def _even(weight: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Weights (N,) in proportion to the given ones, half of their sum of 1 for either label."""
    return np.where(fake, weight / weight[fake].sum(), weight / weight[~fake].sum()) / 2


def choose(logits: Mapping[str, np.ndarray], fake: np.ndarray, source: np.ndarray, *, target_fpr: float, target_miss: float) -> OperatingPoint:
    """Choose the two thresholds on held-out logits and measure them there.

    ``ai`` is the lowest threshold whose false-positive rate is at most ``target_fpr`` in every delivery, ``camera`` the highest whose miss rate is
    at most ``target_miss`` in every delivery; where they cross, ``camera`` gives way. The rates are those of the data that chose the thresholds:
    honest about sources that the head had not seen, slightly hopeful about the threshold itself (our choice).

    Args:
        logits: (N,) finite, of the same N pictures in each delivery.
        fake: (N,) bool.
        source: (N,) names.
        target_fpr: in (0, 1).
        target_miss: in (0, 1).
    """
    real = ~fake
    ai = max(_just_above(values[real], target_fpr) for values in logits.values())
    camera = min(ai, *(-_just_above(-values[fake], target_miss) for values in logits.values()))

    def worst(hits: Callable[[np.ndarray], np.ndarray]) -> Rate:
        return max((rate(hits(values)) for values in logits.values()), key=lambda found: found.value)

    return OperatingPoint(
        ai=ai,
        camera=camera,
        target_fpr=target_fpr,
        target_miss=target_miss,
        false_positive=worst(lambda values: values[real] >= ai),
        missed=worst(lambda values: values[fake] <= camera),
        false_positive_per_source={
            name: worst(lambda values, name=name: values[real & (source == name)] >= ai) for name in sorted(set(source[real]))
        },
        deliveries=tuple(logits),
    )


def _just_above(values: np.ndarray, share: float) -> float:
    """Lowest threshold t, just above an observed value, with mean(values >= t) <= share."""
    allowed = int(np.floor(share * len(values)))
    return float(np.nextafter(np.sort(values)[len(values) - allowed - 1], np.inf))
