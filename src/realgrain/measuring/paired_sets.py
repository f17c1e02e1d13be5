"""Two runs on the same pictures, set by set: what the means over sets are made of, drawn as an evaluation draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from realgrain.measuring.resampling import Bools, Floats, Names, flagged_metrics, weighted_metrics

AUC, BALANCED, HALF = "auc", "balanced_accuracy_at_threshold", "accuracy_at_half"
OVER_SETS = {AUC: "AUC", BALANCED: "balanced accuracy", HALF: "accuracy at 0.5"}
"""Figures that are compared as means over sets, as `ConditionResult.over_sets` has them, and what they are called."""


@dataclass(frozen=True)
class Scored:
    """What a run gave the pictures (n) that both have.

    Attributes:
        probability: None where one has none.
        threshold: the run's own, of each; None likewise.
    """

    logit: Floats
    probability: Floats | None
    threshold: Floats | None

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]]) -> Scored:
        """Of a run's rows."""
        each = [[row.get(name) for row in rows] for name in ("probability", "threshold")]
        return cls(np.array([row["logit"] for row in rows], np.float64), *(None if None in of else np.array(of, np.float64) for of in each))

    def keep(self, places: NDArray[np.intp]) -> Scored:
        """Of some pictures."""
        return Scored(self.logit[places], *(None if of is None else of[places] for of in (self.probability, self.threshold)))

    def metrics(self, counts: Floats, fake: Bools) -> dict[str, Floats]:
        """Of every resample, as ``weighted_metrics`` has them, without those that ask how well probabilities are calibrated."""
        found = weighted_metrics(counts, fake, self.logit, None, self.threshold)
        if self.probability is None:
            return found
        with np.errstate(divide="ignore", invalid="ignore"):
            return found | flagged_metrics(counts, fake, self.probability >= 0.5, "half")

    def decides(self, metric: str) -> NDArray[Any]:
        """What a metric of ``OVER_SETS`` that it has hangs on (n): where it is the same of two runs, so is the metric in every resample."""
        if metric == BALANCED and self.threshold is not None:
            return self.logit >= self.threshold
        if metric == HALF and self.probability is not None:
            return self.probability >= 0.5
        return np.unique(self.logit, return_inverse=True)[1]


@dataclass(frozen=True)
class Part:
    """A set.

    Attributes:
        rows: (k,) places of its rows, as ``Sets`` has them.
        fake: (k,) True for the generated pictures.
        scored: what each run gave them.
    """

    rows: NDArray[np.intp]
    fake: Bools
    scored: Sequence[Scored]


@dataclass(frozen=True)
class Sets:
    """The sets of pictures (n), as rows (m): one for each set that a picture is in; without sets one for each picture.

    Attributes:
        names: of all sets, those without a picture too; none without sets.
        pictures: (m,) place of each row's picture.
        of_row: (m,) name of each row's set.
    """

    names: Sequence[str]
    pictures: NDArray[np.intp]
    of_row: Names

    @classmethod
    def of(cls, names: Sequence[str], homes: Sequence[Sequence[str]]) -> Sets:
        """Of the names of the sets, and those of each picture's (n)."""
        homes = homes if names else [[""]] * len(homes)
        pictures = np.repeat(np.arange(len(homes)), [len(of) for of in homes])
        return cls(names, pictures, np.array([name for of in homes for name in of], object))

    def parts(self, fake: Bools, scored: Sequence[Scored]) -> list[Part]:
        """Each set, of what the runs gave the pictures (n)."""
        rows = [np.flatnonzero(self.of_row == name) for name in self.names]
        return [Part(of, fake[self.pictures[of]], [run.keep(self.pictures[of]) for run in scored]) for of in rows]

    @property
    def once(self) -> NDArray[np.intp]:
        """One row of each picture (n,)."""
        return np.unique(self.pictures, return_index=True)[1]


def means_of(counts: Floats, parts: Sequence[Part]) -> dict[str, tuple[list[Floats], list[Floats]]]:
    """Metric -> what each run has of it in each set, (b,) each; those that both runs have."""
    found = [[run.metrics(counts[:, part.rows], part.fake) for run in part.scored] for part in parts]
    names = [name for name in OVER_SETS if found and all(name in of for runs in found for of in runs)]
    return {name: ([a[name] for a, _ in found], [b[name] for _, b in found]) for name in names}


def texts(table: pa.Table, name: str) -> list[str]:
    """A column's texts, empty where there is no such column or value."""
    return [value or "" for value in table[name].to_pylist()] if name in table.column_names else [""] * table.num_rows


def shared_sets(tables: Sequence[pa.Table], condition: str) -> list[str]:
    """Names of the sets that both runs have in a condition, scored or not; none where a run names none."""
    found = [{of for of, where in zip(texts(table, "set"), texts(table, "condition"), strict=True) if where == condition} for table in tables]
    return sorted(found[0] & found[1]) if any(found[0]) and any(found[1]) else []
