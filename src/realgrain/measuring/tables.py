"""Shows an Evaluation as text tables."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realgrain.detector.calibration import Rate
from realgrain.measuring.results import ConditionResult, Estimate, Evaluation, LeftOut

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def render(found: Evaluation | LeftOut) -> "RenderableType":
    """Lays results out for a rich console, one column for each condition.

    Args:
        found: An evaluation: metrics, recall by generator and source, false positives by source, each with its 95 % interval. Or a
            cross-validation: the AUC of each fold and the mean of every metric.
    """
    from rich.console import Group

    if isinstance(found, LeftOut):
        return _left_out(found)
    conditions = found.conditions
    at = "none" if found.threshold is None else f"logit {found.threshold:.3f}"
    tables = [
        _metrics(conditions, f"Metrics (threshold: {at}; 95 % intervals from {found.resamples} resamples)"),
        _rates({name: of.recall_per_generator for name, of in conditions.items()}, "Recall by generator"),
        _rates({name: of.recall_per_source for name, of in conditions.items()}, "Recall by source"),
        _rates({name: of.fpr_per_source for name, of in conditions.items()}, "False positives by source"),
    ]
    return Group(*(table for table in tables if table.row_count))


def render_ablation(lines: Sequence[Mapping[str, Any]]) -> "RenderableType":
    """Means over folds and seeds of an ablation's ledger, one row for each setting of the axes and protocol.

    Args:
        lines: Of `realgrain.measuring.ablate.read_ledger`.
    """
    deliveries = list(dict.fromkeys(line["delivery"] for line in lines))
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for line in lines:
        settings = ", ".join(f"{name}={value}" for name, value in line["settings"].items() if name != "tuning.seed")
        groups.setdefault((line["protocol"], settings), []).append(line)
    table = _table("Ablation: mean AUC / balanced accuracy over folds and seeds", dict.fromkeys(("setting", "runs", *deliveries)))
    for (protocol, settings), rows in groups.items():
        cells = []
        for name in deliveries:
            here = [row for row in rows if row["delivery"] == name]
            cells.append(" / ".join(_value(sum(row[metric] for row in here) / len(here)) for metric in ("auc", "balanced_accuracy")) if here else "–")
        table.add_row(protocol, settings or "as the recipe", str(len({row["key"] for row in rows})), *cells)
    return table


def _left_out(found: LeftOut) -> "Table":
    table = _table("Left-out sources", found.mean)
    for fold, evaluation in found.folds.items():
        table.add_row(f"auc, {fold}", *(_estimate(evaluation.conditions[name].metrics["auc"]) for name in found.mean))
    for metric in next(iter(found.mean.values()), {}):
        table.add_row(f"mean {metric}", *(_value(means[metric]) for means in found.mean.values()))
    return table


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


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
