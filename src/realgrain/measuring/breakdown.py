"""A condition's pictures in parts (sets, generators, real sources), and means over parts with the worst beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realgrain.measuring.resampling import Bools, Floats, Names, averaged
from realgrain.measuring.results import Estimate, Mean

ERRORS = frozenset(["eer", "fpr_at_threshold", "ece", "brier"])
"""Metrics of which less is better; of all others, more is."""

Interval = Callable[[Floats | None], tuple[float | None, float | None]]
"""Replicates (resamples,) -> both ends, None where there are none."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a condition.

    Attributes:
        all: (n,) True for those that are measured.
        own: (n,) True for those among them that are of the set, the generator or the source itself, not what it is measured against.
    """

    all: Bools
    own: Bools


@dataclass(frozen=True)
class Figures:
    """What was found for some rows.

    Attributes:
        n: how many rows are its own.
        values: by metric.
        replicates: (resamples,) by metric, NaN where a resample lacks a class; empty where there is no interval.
        why: there is no interval; empty where there is one.
    """

    n: int
    values: Mapping[str, float | None]
    replicates: Mapping[str, Floats]
    why: str = ""


def by_set(sets: Names) -> dict[str, Rows]:
    """Each set's rows; none where no row names a set. Rows without one, among others with, are a set of their own with an empty name.

    Args:
        sets: (n,) name of each row's set, or empty.
    """
    if not any(sets):
        return {}
    return {name: Rows(sets == name, sets == name) for name in sorted(set(sets))}


def by_group(groups: Names, own: Bools, sets: Names) -> dict[str, Rows]:
    """Each generator with the reals of the sets that it occurs in, or each real source with their fakes. Without sets, with all of them.

    Args:
        groups: (n,) generator or source of each row.
        own: (n,) True for the fakes to part by generator, for the reals to part by source.
        sets: (n,) name of each row's set; all of them empty where there are none.
    """
    found = {}
    for name in sorted(set(groups[own])):
        mine = own & (groups == name)
        found[name] = Rows(mine | (~own & np.isin(sets.astype(str), sorted(set(sets[mine])))), mine)
    return found


def once(rows: Rows, pictures: NDArray[np.intp]) -> Rows:
    """Without the repeats of a picture that several sets share: it is as many cases as there are pictures, whatever number of sets it is in.

    Args:
        rows: of several sets.
        pictures: (n,) number of each row's picture.
    """
    kept = np.zeros(len(pictures), bool)
    there = np.flatnonzero(rows.all)
    kept[there[np.unique(pictures[there], return_index=True)[1]]] = True
    return Rows(rows.all & kept, rows.own & kept)


def mean_over(parts: Mapping[str, Figures], interval: Interval) -> dict[str, Mean]:
    """The plain mean of each metric over parts; empty where there are none.

    The interval is of the mean in each resample: over those parts of which the resample has something.

    Args:
        parts: by name.
        interval: of replicates.
    """
    names = next(iter(parts.values())).values if parts else ()
    return {name: _mean(name, parts, interval) for name in names}


def _mean(metric: str, parts: Mapping[str, Figures], interval: Interval) -> Mean:
    known = {name: value for name, of in parts.items() if (value := of.values[metric]) is not None}
    sign = -1 if metric in ERRORS else 1
    worst = min(known, key=lambda name: (sign * known[name], -parts[name].n), default=None)
    shown = {"n": len(parts), "worst": worst, "worst_value": None if worst is None else known[worst]}
    if len(known) < len(parts):
        return Mean(value=None, **shown)
    low, high = interval(_averaged([of.replicates.get(metric) for of in parts.values()]))
    return Mean(value=float(np.mean(list(known.values()))), low=low, high=high, **shown)


def _averaged(replicates: Sequence[Floats | None]) -> Floats | None:
    """Their mean in each resample; None where one of them has none."""
    drawn = [of for of in replicates if of is not None]
    return averaged(drawn) if drawn and len(drawn) == len(replicates) else None


def macc(whole: Figures, sets: Mapping[str, Figures], generators: Mapping[str, Figures], interval: Interval) -> dict[str, Estimate]:
    """The figures that papers call mAcc, which are not comparable with one another; each at a probability of 0.5 and at the threshold.

    - ``mean_accuracy_over_sets``: of plain accuracy, over sets. The released code of most detectors prints this one.
    - ``mean_balanced_accuracy_over_sets``: of the mean of real and fake accuracy, over sets. The same where each set has as many of both.
    - ``mean_of_real_and_generators``: of the accuracy on all reals, as one figure, and the accuracy on each generator's fakes, so that the reals
      weigh as much as a single generator. Tables with one column "Real" and one for each generator give this one.

    Args:
        whole: all pictures of the condition.
        sets: by name; without them the first two are None.
        generators: by name.
        interval: of replicates.
    """
    found = {}
    for at in ("half", "threshold"):
        conventions = {
            "mean_accuracy_over_sets": [(of, f"accuracy_at_{at}") for of in sets.values()],
            "mean_balanced_accuracy_over_sets": [(of, f"balanced_accuracy_at_{at}") for of in sets.values()],
            "mean_of_real_and_generators": [
                (whole, f"real_accuracy_at_{at}"),
                *((of, f"fake_accuracy_at_{at}") for of in generators.values()),
            ],
        }
        for name, figures in conventions.items():
            values = [of.values[metric] for of, metric in figures]
            known = [value for value in values if value is not None]
            if not known or len(known) < len(values) or (name == "mean_of_real_and_generators" and not generators):
                found[f"{name}_at_{at}"] = Estimate(value=None)
                continue
            low, high = interval(_averaged([of.replicates.get(metric) for of, metric in figures]))
            found[f"{name}_at_{at}"] = Estimate(value=float(np.mean(known)), low=low, high=high)
    return found
