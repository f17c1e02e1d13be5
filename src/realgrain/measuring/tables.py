"""Shows an Evaluation as text tables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from realgrain.detector.calibration import Rate
from realgrain.measuring.results import ConditionResult, Estimate, Evaluation

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def render(evaluation: Evaluation) -> "RenderableType":
    """Lays an evaluation out for a rich console: metrics, recall by generator and source, false positives by source.

    Args:
        evaluation: What `realgrain.measuring.metrics.evaluate` returned.

    Returns:
        Tables with one column for each condition, every figure followed by its 95 % interval.
    """
    from rich.console import Group

    conditions = evaluation.conditions
    at = "none" if evaluation.threshold is None else f"logit {evaluation.threshold:.3f}"
    tables = [
        _metrics(conditions, f"Metrics (threshold: {at}; 95 % intervals from {evaluation.resamples} resamples)"),
        _rates({name: found.recall_per_generator for name, found in conditions.items()}, "Recall by generator"),
        _rates({name: found.recall_per_source for name, found in conditions.items()}, "Recall by source"),
        _rates({name: found.fpr_per_source for name, found in conditions.items()}, "False positives by source"),
    ]
    return Group(*(table for table in tables if table.row_count))


def _metrics(conditions: Mapping[str, ConditionResult], title: str) -> "Table":
    table = _table(title, conditions)
    for label, field in (("real", "n_real"), ("fake", "n_fake"), ("failed", "n_failed")):
        table.add_row(label, *(str(getattr(found, field)) for found in conditions.values()))
    names = dict.fromkeys(name for found in conditions.values() for name in found.metrics)
    for name in names:
        table.add_row(name, *(_estimate(found.metrics[name]) for found in conditions.values()))
    return table


def _rates(rates: Mapping[str, Mapping[str, Rate]], title: str) -> "Table":
    from rich.text import Text  # a plain string would read "[...]" in a generator's name as markup

    table = _table(title, rates)
    for group in sorted({group for found in rates.values() for group in found}):
        table.add_row(Text(group or "(unnamed)"), *(_rate(found.get(group)) for found in rates.values()))
    return table


def _table(title: str, conditions: Mapping[str, object]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table("", title=title, title_justify="left")
    for name in conditions:
        table.add_column(Text(name), justify="right", no_wrap=True)
    return table


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    interval = "" if estimate.low is None or estimate.high is None else f" ({estimate.low:.3f}–{estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}"


def _rate(rate: Rate | None) -> str:
    return "–" if rate is None else f"{rate.k}/{rate.n} {rate.value:.0%} ({rate.low:.0%}–{rate.high:.0%})"
