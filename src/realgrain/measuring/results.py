"""What an evaluation found: frozen models that dump to JSON."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from realgrain.detector.calibration import Rate


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(_Frozen):
    """A metric in [0, 1] and its 95 % percentile bootstrap interval; all None where the metric is undefined.

    There is no interval where classes are too small for one, or no resample gives another value: what is measured says which.

    The interval of "ece" tends to lie above the value: resampling adds noise to every bin, and ECE adds noise up.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class Part(_Frozen):
    """The figures of some of a condition's pictures: a set, a generator or a real source, with what it is measured against.

    All metrics are None where nothing of the set, generator or source was scored; those that need a class are where the class is missing.

    Attributes:
        no_interval: why no metric has an interval, where resamples were drawn; empty where they have.
        no_spread: metrics without an interval because all resamples give one value.
    """

    n_real: int
    n_fake: int
    n_failed: int
    metrics: dict[str, Estimate]
    no_interval: str = ""
    no_spread: list[str] = []


class Mean(Estimate):
    """The plain mean of a metric over sets, generators or real sources, each counting alike, and the worst of them beside it.

    There is no interval where one of them has none for want of pictures.

    Attributes:
        value: None where one of them has none: a mean is never of fewer than there are.
        n: how many there are.
        worst: name of the one whose value is worst, of those that have one; of equals, the one with most pictures.
        worst_value: its value, the highest for errors and the lowest for all else.
    """

    n: int
    worst: str | None = None
    worst_value: float | None = None


class ConditionResult(_Frozen):
    """The figures of one condition. Failed rows are counted in `n_failed` and nowhere else.

    The rates are empty without thresholds. The worst generator is the one with the lowest recall, the worst source
    the one with the highest false-positive rate; of equals, the one with most rows. Results of before there were parts have none.

    Attributes:
        n_clusters: real and fake clusters behind the intervals; None where each picture was drawn alone.
        no_interval: why `metrics` have no interval, where resamples were drawn; empty where they have.
        no_spread: those of them without an interval because all resamples give one value.
        sets: of the table's column `set`; empty where it has none.
        generators: each with the reals of the sets that it occurs in; all reals where there are no sets.
        real_sources: each with the fakes of the sets that it occurs in; all fakes where there are no sets.
        over_sets: metric -> mean over `sets`; empty where there are none.
        over_generators: likewise.
        over_real_sources: likewise.
        macc: "mean accuracy" of each convention, see `realgrain.measuring.breakdown.macc`.
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
    n_clusters: dict[str, int] | None = None
    no_interval: str = ""
    no_spread: list[str] = []
    sets: dict[str, Part] = {}
    generators: dict[str, Part] = {}
    real_sources: dict[str, Part] = {}
    over_sets: dict[str, Mean] = {}
    over_generators: dict[str, Mean] = {}
    over_real_sources: dict[str, Mean] = {}
    macc: dict[str, Estimate] = {}


class Learned(_Frozen):
    """Pictures that a detector learned from, among all that a table of scores was made of.

    Attributes:
        pictures: that it learned from.
        of: pictures that were looked up.
        by: ``sha256``: its bundle keeps the first 8 bytes of that of each file; ``manifest``: it learned from the very manifest of these pictures.
    """

    pictures: int
    of: int
    by: Literal["sha256", "manifest"]


class Evaluation(_Frozen):
    """The figures of a scores table by condition, with what is needed to compute them again.

    Attributes:
        lock: sha256 of the lock of the run whose scores these are; None: they are of no run.
        thresholds: logits from which rows are flagged, ascending, each once; empty where a row with a score has none.
        clusters: column whose equal values were drawn together; None: each picture alone.
        learned: pictures that the detector learned from, as the table says; None where it does not: nobody could tell, or nobody looked.
    """

    lock: str | None = None
    thresholds: list[float]
    resamples: int
    seed: int
    clusters: str | None = None
    learned: Learned | None = None
    conditions: dict[str, ConditionResult]

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, found: Any) -> Any:
        """Results of before each row had a threshold of its own have one for all."""
        if not isinstance(found, dict) or "threshold" not in found:
            return found
        rest = {name: value for name, value in found.items() if name not in {"threshold", "threshold_from"}}
        return {**rest, "thresholds": [] if found["threshold"] is None else [found["threshold"]]}


OWN = "the detector's own thresholds (as `detect` flags, before it abstains as unstable or out of domain)"
"""What figures at a threshold are at, in words."""


class WorstFold(_Frozen):
    """A fold, and its value of a metric: the highest of all folds for errors and the lowest for all else."""

    fold: str
    value: float


class LeftOut(_Frozen):
    """The figures of a cross-validation: of each left-out fold at its own thresholds, and their plain mean.

    Attributes:
        mean: condition -> metric -> mean over the folds; None where a fold has none.
        worst: condition -> metric -> the worst of the folds that have one. Results of before this was recorded have none.
    """

    folds: dict[str, Evaluation]
    mean: dict[str, dict[str, float | None]]
    worst: dict[str, dict[str, WorstFold]] = {}


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
