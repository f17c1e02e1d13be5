"""Shows what was found as text tables."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from realgrain.detector.calibration import Rate
from realgrain.measuring.results import MEAN, Comparison, ConditionResult, Difference, Estimate, Evaluation, LeftOut, Measure

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

ABLATED = {"auc": "AUC", "balanced_accuracy": "Balanced accuracy", "tpr_at_5_fpr": "Recall at 5 % false positives"}


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


def render_ablation(found: Sequence[Comparison]) -> "RenderableType":
    """A table for each metric and protocol: a row for each setting, a column for each delivery and their mean, the difference from the baseline.

    Args:
        found: Of `realgrain.measuring.compare.compare`. Conditions that are no deliveries have a table of means.
    """
    from rich.console import Group
    from rich.text import Text

    tables = []
    for protocol in dict.fromkeys(of.protocol for of in found):
        mine = [of for of in found if of.protocol == protocol]
        tables += [_ablated(mine, metric, f"{title}, {protocol}") for metric, title in ABLATED.items()]
        tables += [_elsewhere(mine, protocol)]
    notes = dict.fromkeys(f"{of.setting}: {note}" for of in found for note in of.notes)
    return Group(*(table for table in tables if table.row_count), *(Text(f"* {note}") for note in notes))


def _ablated(found: Sequence[Comparison], metric: str, title: str) -> "Table":
    from rich.text import Text

    delivered = [of for of in found if of.delivery]
    columns = list(dict.fromkeys(of.condition for of in delivered))
    against = list(dict.fromkeys(of.setting for of in found if of.baseline))
    last = [f"{MEAN} − {against[0] if len(against) == 1 else 'baseline'}"] if against else []
    table = _table(f"{title}: mean over folds and seeds (lowest–highest seed)", dict.fromkeys(("runs", *columns, *last)))
    for setting in dict.fromkeys(of.setting for of in delivered):
        row = {of.condition: of for of in delivered if of.setting == setting}
        runs = max(of.runs for of in row.values())
        noted = any(of.notes for of in row.values())
        cells = [_measure(row[name].metrics[metric]) if name in row else "–" for name in columns]
        mean = row.get(MEAN)
        cells += ["–" if mean is None else "baseline" if mean.baseline else _difference(mean.differences.get(metric))] * bool(last)
        table.add_row(Text(setting + " *" * noted), str(runs), *cells)
    return table


def _elsewhere(found: Sequence[Comparison], protocol: str) -> "Table":
    """Conditions that are no deliveries, without spread and difference: too many to read, and in the plots."""
    from rich.text import Text

    rest = [of for of in found if not of.delivery]
    columns = list(dict.fromkeys(of.condition for of in rest))
    table = _table(f"AUC / balanced accuracy in other conditions, {protocol}", dict.fromkeys(columns))
    for setting in dict.fromkeys(of.setting for of in rest):
        row = {of.condition: of.metrics for of in rest if of.setting == setting}
        cells = [f"{row[name]['auc'].value:.3f} / {row[name]['balanced_accuracy'].value:.3f}" if name in row else "–" for name in columns]
        table.add_row(Text(setting), *cells)
    return table


def _measure(measure: Measure) -> str:
    seeds = measure.seeds.values()
    return f"{measure.value:.3f}" + (f" ({min(seeds):.3f}–{max(seeds):.3f})" if len(seeds) > 1 else "")


def _difference(difference: Difference | None) -> str:
    return "–" if difference is None else f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


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
