"""What an evaluation found: frozen models that dump to JSON."""

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
