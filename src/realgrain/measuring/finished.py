"""A run that is done, read back from its folder: what reports and pages need of it, and nothing is scored again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from realgrain.measuring.audit_results import Audit
from realgrain.measuring.lock import LOCK, Lock, LockError, first_fault, read_lock
from realgrain.measuring.metrics import numbered
from realgrain.measuring.resampling import Bools, Floats
from realgrain.measuring.results import ConditionResult, Evaluation
from realgrain.measuring.run_audit import read_audit
from realgrain.measuring.running import METRICS, read_scores

SCORED = ("path", "label", "generator", "source", "set", "sha256", "logit", "probability", "threshold")


@dataclass(frozen=True)
class Scored:
    """Pictures (n) that have a score in a condition, each once, whatever number of sets it is in.

    Attributes:
        rows: of the scores table, those of the columns ``SCORED`` that it has.
        fake: (n,).
        logit: (n,), higher is more likely AI-generated.
        probability: (n,), in [0, 1]; NaN from a detector that is not calibrated.
        flagged: (n,) bool, from the threshold beside each logit; where one has none, from a probability of 0.5.
    """

    rows: Sequence[dict[str, Any]]
    fake: Bools
    logit: Floats
    probability: Floats
    flagged: Bools


@dataclass(frozen=True)
class Finished:
    """A run.

    Attributes:
        folder: it is in.
        lock: what pins it.
        table: its scores.
        evaluation: its figures.
        audit: of its pictures; None where the run has none.
    """

    folder: Path
    lock: Lock
    table: pa.Table
    evaluation: Evaluation
    audit: Audit | None

    @property
    def first(self) -> str:
        """The condition that what is shown of one alone is of: ``clean``, or the first where there is no such one."""
        conditions = self.evaluation.conditions
        return "clean" if "clean" in conditions else next(iter(conditions))

    @property
    def result(self) -> ConditionResult:
        """The figures of ``first``."""
        return self.evaluation.conditions[self.first]

    def scored(self, condition: str) -> Scored:
        """The pictures that have a score in a condition."""
        mine = self.table.filter(pc.field("condition") == condition)
        sets = np.asarray(mine["set"].to_pylist(), dtype=object)
        _, first = np.unique(numbered(mine, sets), return_index=True)
        names = [name for name in SCORED if name in mine.column_names]
        rows = [row for row in mine.select(names).take(np.sort(first)).to_pylist() if row["logit"] is not None]
        fake = np.array([row["label"] == "fake" for row in rows], bool)
        logit, probability, threshold = (np.array([row.get(name) for row in rows], np.float64) for name in ("logit", "probability", "threshold"))
        return Scored(rows, fake, logit, probability, probability >= 0.5 if np.isnan(threshold).any() else logit >= threshold)


def read_run(folder: Path) -> Finished:
    """What a run's folder holds.

    Raises:
        LockError: it is not the folder of a finished run, or a file in it is not the run's.
    """
    lock = read_lock(folder)
    table = read_scores(folder, lock)
    file = folder / METRICS
    try:
        evaluation = Evaluation.model_validate_json(file.read_bytes())
    except OSError as error:
        raise LockError(f"{file}: {error.strerror}; the command that began the run writes it again") from error
    except ValidationError as error:
        raise LockError(f"{file}: not the figures of a run: {first_fault(error)}") from error
    if evaluation.lock != lock.sha256:
        raise LockError(f"{file}: made under another {LOCK}; the command that began the run writes it again")
    return Finished(folder, lock, table, evaluation, read_audit(folder, lock))
