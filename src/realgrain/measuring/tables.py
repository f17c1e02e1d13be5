"""Shows what was found as text tables."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from realgrain.detector.calibration import Rate
from realgrain.measuring.learned_from import in_words
from realgrain.measuring.results import MEAN, OWN, Comparison, ConditionResult, Difference, Estimate, Evaluation, LeftOut, Mean, Measure
from realgrain.measuring.suspect import suspect
from realgrain.measuring.unsure import unsure

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MOST = 6
"""Conditions that a screen has the width for."""
BY_SET = {
    "auc": "AUC",
    "balanced_accuracy_at_threshold": "Balanced accuracy at the thresholds",
    "accuracy_at_half": "Accuracy at 0.5",
}
MACC = {
    "mean_accuracy_over_sets": "mean over sets of accuracy",
    "mean_balanced_accuracy_over_sets": "mean over sets of balanced accuracy",
    "mean_of_real_and_generators": "mean of one real accuracy and each generator's",
}
OVER_SETS = {"mean_accuracy_over_sets": "accuracy", "mean_balanced_accuracy_over_sets": "balanced_accuracy"}
"""What those conventions average that are over sets."""
ABLATED = {"auc": "AUC", "balanced_accuracy": "Balanced accuracy", "tpr_at_5_fpr": "Recall at 5 % false positives"}


def render(found: Evaluation | LeftOut) -> "RenderableType":
    """Lays results out for a rich console, one column for each condition; of many conditions an overview, one row for each.

    Args:
        found: An evaluation: metrics, recall by generator and source, false positives by source, each with its 95 % interval; the main metrics
            by set where there are sets, with their mean, the worst generator and the worst real source; each convention of mAcc, with the worst
            of what it averages; pictures that the detector learned from; sets whose labels may be swapped; and why some figures have no
            interval. Or a cross-validation: the AUC of each fold, and the mean of every metric with the worst fold below.
    """
    from rich.console import Group
    from rich.text import Text

    if isinstance(found, LeftOut):
        return _left_out(found)
    conditions = found.conditions
    at = f"logit {' or '.join(f'{at:.3f}' for at in found.thresholds)}" if found.thresholds else "none"
    drawn = "" if found.clusters is None else f" of whole clusters by {found.clusters}: too narrow where they are few"
    learned = [in_words(found.learned)] if found.learned and found.learned.pictures else []
    own = [f"figures at thresholds, of generators and of sources are at {OWN}"] if found.thresholds else []
    notes = [Text(f"* {line}") for line in [*own, *learned, *suspect(found), *unsure(found)]]
    if len(conditions) > MOST:
        return Group(_overview(conditions, f"{len(conditions)} conditions (thresholds: {at}); all else is in the JSON"), *notes)
    tables = [
        _metrics(conditions, f"Metrics (thresholds: {at}; 95 % intervals from {found.resamples} resamples{drawn})"),
        *(_by_set(conditions, metric, title) for metric, title in BY_SET.items()),
        _macc(conditions),
        _rates({name: of.recall_per_generator for name, of in conditions.items()}, "Recall by generator"),
        _rates({name: of.recall_per_source for name, of in conditions.items()}, "Recall by source"),
        _rates({name: of.fpr_per_source for name, of in conditions.items()}, "False positives by source"),
    ]
    return Group(*(table for table in tables if table.row_count), *notes)


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
    from rich.text import Text

    table = _table("Left-out sources", found.mean)
    for fold, evaluation in found.folds.items():
        table.add_row(f"auc, {fold}", *(_estimate(evaluation.conditions[name].metrics["auc"]) for name in found.mean))
    for metric in next(iter(found.mean.values()), {}):
        table.add_row(f"mean {metric}", *(_value(means[metric]) for means in found.mean.values()))
        worst = [found.worst.get(name, {}).get(metric) for name in found.mean]
        if any(worst):
            table.add_row("worst fold of it", *(Text("–" if of is None else f"{of.value:.3f} {of.fold}") for of in worst))
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


def _by_set(conditions: Mapping[str, ConditionResult], metric: str, title: str) -> "Table":
    """A row for each set, their mean, and beside it the worst generator and the worst real source; no row where there are no sets."""
    from rich.text import Text

    table = _table(f"{title}, by set", conditions)
    for name in sorted({name for found in conditions.values() for name in found.sets}):
        parts = [found.sets.get(name) for found in conditions.values()]
        table.add_row(Text(name or "(unnamed)"), *("–" if part is None else _estimate(part.metrics[metric]) for part in parts))
    if not table.row_count:
        return table
    table.add_section()
    table.add_row("mean over sets", *(_mean_cell(found.over_sets.get(metric)) for found in conditions.values()))
    for row, field in (("worst set", "over_sets"), ("worst generator", "over_generators"), ("worst real source", "over_real_sources")):
        table.add_row(row, *(_worst(getattr(found, field).get(metric)) for found in conditions.values()))
    return table


def _overview(conditions: Mapping[str, ConditionResult], title: str) -> "Table":
    """A row for each condition; headings and names of the worst fold where the screen is narrow, figures do not."""
    from rich.table import Table
    from rich.text import Text

    brief = {"balanced_accuracy_at_threshold": "balanced\nat thr.", "accuracy_at_half": "acc.\nat 0.5", "tpr_at_1_fpr": "TPR at\n1 % FPR"}
    means = {
        "mean_accuracy_over_sets": ("mAcc\nof acc.", "worst set,\nacc."),
        "mean_balanced_accuracy_over_sets": ("mAcc of\nbalanced", "worst set,\nbalanced"),
    }
    means = {name: words for name, words in means.items() if any(found.sets for found in conditions.values())}
    worst = {"over_generators": "worst generator,\nAUC", "over_real_sources": "worst real\nsource, AUC"}
    table = Table(title=title, title_justify="left")
    table.add_column(no_wrap=True)
    for words in ("failed", "AUC", *brief.values()):
        table.add_column(words, justify="right", no_wrap=True)
    for mean, least in means.values():
        table.add_column(mean, justify="right", no_wrap=True)
        table.add_column(least, justify="right", overflow="fold")
    for words in worst.values():
        table.add_column(words, justify="right", overflow="fold")
    for name, found in conditions.items():
        cells: list[RenderableType] = [str(found.n_failed), _estimate(found.metrics["auc"])]
        cells += [_value(found.metrics[metric].value) for metric in brief]
        for mean in means:
            cells += [_value(found.macc[f"{mean}_at_half"].value), _worst_of_macc(found, mean, "half")]
        table.add_row(Text(name), *cells, *(_worst(getattr(found, field).get("auc")) for field in worst))
    return table


def _mean_cell(mean: Mean | None) -> str:
    return "–" if mean is None else _estimate(mean)


def _worst(mean: Mean | None) -> "RenderableType":
    from rich.text import Text

    if mean is None or mean.worst is None or mean.worst_value is None:
        return "–"
    return Text(f"{mean.worst or '(unnamed)'} {mean.worst_value:.3f}")


def _macc(conditions: Mapping[str, ConditionResult]) -> "Table":
    """The conventions of mAcc, at both thresholds, those that are defined in some condition, each with the worst below; where there are sets."""
    table = _table("mAcc, by convention: not comparable with one another", conditions)
    if not any(found.sets for found in conditions.values()):
        return table
    for name, words in MACC.items():
        for at, where in (("half", "at 0.5"), ("threshold", "at the thresholds")):
            cells = [found.macc.get(f"{name}_at_{at}", Estimate(value=None)) for found in conditions.values()]
            if any(cell.value is not None for cell in cells):
                table.add_row(f"{words}, {where}", *map(_estimate, cells))
                table.add_row("worst of these", *(_worst_of_macc(found, name, at) for found in conditions.values()), end_section=True)
    return table


def _worst_of_macc(found: ConditionResult, name: str, at: str) -> "RenderableType":
    """The set with the lowest value of those that a convention averages; of the third, the generator, or the real pictures."""
    if name in OVER_SETS:
        return _worst(found.over_sets.get(f"{OVER_SETS[name]}_at_{at}"))
    fakes, real = found.over_generators.get(f"fake_accuracy_at_{at}"), found.metrics[f"real_accuracy_at_{at}"].value
    lowest = None if fakes is None else fakes.worst_value
    return f"real pictures {real:.3f}" if real is not None and (lowest is None or real < lowest) else _worst(fakes)


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
