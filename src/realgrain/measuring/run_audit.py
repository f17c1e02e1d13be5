"""The audit of a run's pictures: ``audit.json`` in its folder, the same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from realgrain.learning.data import Sample
from realgrain.measuring.audit import audit
from realgrain.measuring.audit_results import Audit
from realgrain.measuring.lock import Lock, LockError, first_fault
from realgrain.measuring.run_manifest import choose
from realgrain.measuring.whole import write_whole

AUDIT = "audit.json"


class _Written(BaseModel):
    """What the file holds.

    Attributes:
        lock: sha256 of the run's lock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lock: str
    audit: Audit


def audit_run(folder: Path, lock: Lock, samples: Sequence[Sample]) -> Audit:
    """The audit of the pictures that a run chose of its benchmark's, written into its folder; one that is there already is not done again.

    The lock names the sha256 of each picture, so that the audit of the same lock is the same. Where the benchmark has other splits than the run's,
    copies of the run's pictures are looked for there too, of the same bytes: a detector that was trained on them has seen what it is tested on. Near
    copies there would take decoding all of these pictures; ``realgrain audit`` of a manifest with all splits finds them.

    Args:
        folder: of the run.
        lock: its own.
        samples: of the benchmark, as they were given to the run.

    Raises:
        LockError: there is a file of that name that is no audit.
    """
    before = read_audit(folder, lock)
    if before is not None:
        return before
    found = audit_chosen(choose(samples, lock.protocol.split, lock.protocol.limit), samples, lock.protocol.split)
    write_whole(folder / AUDIT, (_Written(lock=lock.sha256, audit=found).model_dump_json(indent=1) + "\n").encode())
    return found


def audit_chosen(chosen: Sequence[Sample], samples: Sequence[Sample], split: str) -> Audit:
    """The audit of what a run chose of a split. A picture that sets share is looked at once: it is no duplicate of itself.

    Args:
        chosen: by the run.
        samples: of the benchmark.
        split: of the run; empty: all, and then there are no others.
    """
    return audit(_distinct(chosen), _distinct([sample for sample in samples if split and sample.split != split]))


def _distinct(samples: Sequence[Sample]) -> list[Sample]:
    found = {(sample.path, sample.label, sample.generator): sample for sample in reversed(samples)}
    return list(reversed(found.values()))


def read_audit(folder: Path, lock: Lock) -> Audit | None:
    """The audit in a run's folder; None where there is none, or one of another run.

    Raises:
        LockError: there is a file of that name that is no audit.
    """
    file = folder / AUDIT
    if not file.is_file():
        return None
    try:
        written = _Written.model_validate_json(file.read_bytes())
    except OSError as error:
        raise LockError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise LockError(f"{file}: not the audit of a run: {first_fault(error)}") from error
    return written.audit if written.lock == lock.sha256 else None
