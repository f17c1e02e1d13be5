"""What an evaluation found: frozen models that dump to JSON."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from realgrain.detector.calibration import Rate


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(_Frozen):
    """A metric in [0, 1] and its 95 % percentile bootstrap interval; all None where the metric is undefined.

    The interval of "ece" tends to lie above the value: resampling adds noise to every bin, and ECE adds noise up.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class ConditionResult(_Frozen):
    """The figures of one condition. Failed rows are counted in `n_failed` and nowhere else.

    The rates are empty without a threshold. The worst generator is the one with the lowest recall, the worst source
    the one with the highest false-positive rate; of equals, the one with most rows.
    """

    n_real: int
    n_fake: int
    n_failed: int
    metrics: dict[str, Estimate]
    recall_per_generator: dict[str, Rate]
    recall_per_source: dict[str, Rate]
    fpr_per_source: dict[str, Rate]
    worst_generator: str | None
    worst_source: str | None


class Evaluation(_Frozen):
    """The figures of a scores table by condition, with what is needed to compute them again."""

    threshold: float | None
    resamples: int
    seed: int
    conditions: dict[str, ConditionResult]


class LeftOut(_Frozen):
    """The figures of a cross-validation: of each left-out fold at its own threshold, and their plain mean.

    `mean` is condition -> metric -> mean over the folds; None where a fold has none.
    """

    folds: dict[str, Evaluation]
    mean: dict[str, dict[str, float | None]]


MEAN = "mean"
"""Name, among conditions, of the mean over deliveries."""


class Measure(_Frozen):
    """A metric in [0, 1] of a setting: the mean over its left-out folds of the mean over its seeds.

    Attributes:
        value: from the ledger's lines.
        low: of the 95 % bootstrap interval over test pictures, seeds and folds as they are; None without scores.
        high: likewise.
        seeds: the mean over folds of each seed that has all of them: the spread over seeds.
    """

    value: float
    low: float | None = None
    high: float | None = None
    seeds: dict[int, float]


class Difference(_Frozen):
    """A metric of a setting less that of the baseline on the same folds and pictures, in [-1, 1], with its 95 % paired bootstrap interval."""

    value: float
    low: float
    high: float


class Comparison(_Frozen):
    """A setting in one condition, beside the baseline.

    Attributes:
        setting: in words, without the seed and what all settings of the ledger share.
        settings: over the plan's recipe, without the seed.
        protocol: its name.
        recipe_sha256: of all of the recipe but the seed.
        sizes: pictures of each source that the plan allowed.
        condition: its name, or ``mean``: over those of the recipe's deliveries that were scored.
        delivery: whether the condition is one of the recipe's deliveries, or their mean.
        baseline: whether this is the baseline itself.
        runs: trained models behind it.
        folds: left out.
        metrics: ``auc``, ``balanced_accuracy`` at each run's own validation threshold, ``tpr_at_5_fpr``.
        differences: from the baseline, likewise; empty where there is none or nothing pairs.
        notes: what intervals and differences had to leave out, and why.
    """

    setting: str
    settings: dict[str, Any]
    protocol: str
    recipe_sha256: str
    sizes: dict[str, int]
    condition: str
    delivery: bool
    baseline: bool
    runs: int
    folds: list[str]
    metrics: dict[str, Measure]
    differences: dict[str, Difference]
    notes: list[str]


class Ablation(_Frozen):
    """The comparisons of a ledger, with what is needed to compute them again."""

    baseline: dict[str, Any] | None
    resamples: int
    seed: int
    comparisons: list[Comparison]
