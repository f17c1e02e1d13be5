"""A run of a benchmark: one folder with everything behind its figures, which a kill cannot spoil and anyone can check.

``lock.json`` what it depends on; ``manifest.csv`` its pictures; ``scores.parquet``; ``metrics.json``. While it runs, ``scores/`` holds what is
done, to the last seconds. The same thing run twice gives the same bytes, whether it was killed in between or not.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from realgrain.detector.detect import Detector
from realgrain.detector.weights import file_sha256
from realgrain.learning.data import Sample
from realgrain.measuring.alone import RunError, alone
from realgrain.measuring.learned_from import in_words, learned_from
from realgrain.measuring.lock import LOCK, Lock, LockError, ManifestRef, Protocol, bundle_ref, differences, environment, read_lock, runtime_ref
from realgrain.measuring.metrics import check_scores, evaluate, metadata
from realgrain.measuring.parts import Parts
from realgrain.measuring.results import Evaluation, Learned
from realgrain.measuring.run_manifest import Entry, Key, aside, choose, read_entries, survey, take_over, write_entries
from realgrain.measuring.score import schema_with, score
from realgrain.measuring.whole import write_whole
from realgrain.picture.conditions import condition

log = logging.getLogger(__name__)

MANIFEST, SCORES, METRICS, PARTS = "manifest.csv", "scores.parquet", "metrics.json", "scores"
NAMED = 5  # changed pictures that a refusal names
Opened = tuple[str, str]
"""Sha256 of a picture, and why it did not open: all that is kept of a look at it."""
Watch = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Passes items through and shows how far they are: items, how many there will be, what is being done."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: it is in.
        lock: what pins it.
        evaluation: its figures, as in ``metrics.json``.
        errors: of the pictures that did not open.
    """

    folder: Path
    lock: Lock
    evaluation: Evaluation
    errors: list[str]


def unwatched(items: Iterable[Any], total: int, doing: str) -> Iterable[Any]:  # noqa: ARG001
    """A ``Watch`` that shows nothing."""
    return items


def run(
    folder: Path,
    detector: Detector,
    samples: Sequence[Sample],
    benchmark: str,
    protocol: Protocol,
    *,
    manifest: Path | None = None,
    watch: Watch = unwatched,
    tell: Callable[[str], None] = log.warning,
) -> Run:
    """Score and measure samples, or go on where a killed run stopped.

    Args:
        folder: of this run alone; made where it is missing.
        detector: scores.
        samples: labelled, of a benchmark.
        benchmark: its name.
        protocol: what to measure.
        manifest: that the samples were read from; None where there is none.
        watch: shows progress.
        tell: is given a sentence, once the pictures are hashed and before any is scored, on which of them the detector learned from.

    Raises:
        LockError: the folder holds another run, or the same one of other pictures, weights or versions; the message says what differs.
        RunError: another process is at work in the folder, or a picture has changed on the way.
        ManifestError: no pictures, or two of one name.
        ValueError: an unknown condition, or no column of that name to draw clusters by.
    """
    for name in protocol.conditions:
        condition(name)
    chosen = choose(samples, protocol.split, protocol.limit)
    if protocol.clusters is not None and protocol.clusters not in (columns := schema_with(_extra(chosen)).names):
        raise ValueError(f"no column {protocol.clusters!r} to draw clusters by; there are {', '.join(columns)}")
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        lock, opened = _pin(folder, detector, chosen, benchmark, protocol, watch)
        readable = {sample.path: sha256 for sample, (sha256, error) in zip(chosen, opened, strict=True) if not error}
        learned = learned_from(detector.bundle, readable, chosen, manifest)
        tell(in_words(learned))
        schema = _schema(chosen, lock, learned)
        if not (folder / SCORES).is_file():
            parts = Parts(folder / PARTS, schema, len(chosen), protocol.part, len(protocol.conditions))
            _score(parts, detector, chosen, opened, protocol.conditions, watch)
            parts.merge(folder / SCORES)
        shutil.rmtree(folder / PARTS, ignore_errors=True)
        evaluation = measure(read_scores(folder, lock), protocol)
        write_whole(folder / METRICS, (evaluation.model_dump_json() + "\n").encode())
    return Run(folder, lock, evaluation, [error for _, error in opened if error])


def read_scores(folder: Path, lock: Lock) -> pa.Table:
    """The scores table of a run that is done.

    Raises:
        LockError: there is none, it was made under another lock, or holds what no scores table does.
    """
    file = folder / SCORES
    if not file.is_file():
        raise LockError(f"{folder}: the run is not finished; the command that began it goes on with it")
    try:
        table = pq.read_table(file)
    except pa.ArrowException as error:
        raise LockError(f"{file}: {error}") from error
    if metadata(table.schema).get("lock") != lock.sha256:
        raise LockError(f"{file}: made under another {LOCK}")
    try:
        check_scores(table)
    except ValueError as error:
        raise LockError(f"{file}: {error}") from error
    return table


def measure(table: pa.Table, protocol: Protocol) -> Evaluation:
    """The figures of a run's scores, by its protocol: the same whoever computes them."""
    return evaluate(table, resamples=protocol.resamples, seed=protocol.seed, clusters=protocol.clusters)


def _pin(folder: Path, detector: Detector, chosen: Sequence[Sample], benchmark: str, protocol: Protocol, watch: Watch) -> tuple[Lock, list[Opened]]:
    """The lock and the manifest of what would be run now, written down; they are those of before, where there was a before."""
    before = _before(folder)
    lock = Lock(
        benchmark=benchmark,
        protocol=protocol,
        bundle=bundle_ref(detector),
        runtime=runtime_ref(detector),
        environment=environment(),
        manifest=ManifestRef(pictures=0, sha256="") if before is None else before.manifest,
    )
    if before is not None and before != lock:  # before the pictures are read, which takes long
        raise _refusal(folder, differences(before, lock))
    manifest = folder / MANIFEST
    pinned = before is not None and manifest.is_file() and file_sha256(manifest) == before.manifest.sha256
    scratch = folder / f".{MANIFEST}.partial"
    known = {entry.key: entry for entry in (read_entries(manifest) if pinned else take_over(scratch, aside(scratch)))}
    opened: list[Opened] = []

    def looked(entry: Entry) -> Entry:
        opened.append((entry.sha256, entry.error))
        return entry

    write_entries(map(looked, watch(survey(chosen, detector.limits, known), len(chosen), "reading")), scratch)
    lock = lock.model_copy(update={"manifest": ManifestRef(pictures=len(opened), sha256=file_sha256(scratch))})
    if before is not None and before != lock:
        changed = changed_pictures(known if pinned else {}, {entry.key: entry for entry in read_entries(scratch)})
        scratch.unlink()
        raise _refusal(folder, changed or differences(before, lock))
    scratch.replace(manifest)
    aside(scratch).unlink(missing_ok=True)
    write_whole(folder / LOCK, lock.content())
    return lock, opened


def _before(folder: Path) -> Lock | None:
    if (folder / LOCK).is_file():
        return read_lock(folder)
    strange = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST and not path.name.startswith("."))
    if strange:
        raise LockError(f"{folder}: holds {', '.join(strange[:NAMED])} but no {LOCK}: not the folder of a run; take an empty one")
    return None


def _refusal(folder: Path, found: Sequence[str]) -> LockError:
    return LockError(f"{folder}: holds another run than the one asked for: {'; '.join(found)}. Take another folder, or make it as it was")


def changed_pictures(before: Mapping[Key, Entry], new: Mapping[Key, Entry]) -> list[str]:
    """What differs between manifests, a few pictures by name and the rest by number."""
    lists = {
        "has changed": [key for key, entry in new.items() if key in before and before[key] != entry],
        "is new": [key for key in new if key not in before],
        "is gone": [key for key in before if key not in new],
    }
    found = [f"{' '.join(filter(None, key))} {what}" for what, keys in lists.items() for key in keys] if before else []
    return found if len(found) <= NAMED else [*found[:NAMED], f"and {len(found) - NAMED} more"]


def _schema(chosen: Iterable[Sample], lock: Lock, learned: Learned | None) -> pa.Schema:
    return schema_with(_extra(chosen), lock=lock.sha256, learned=None if learned is None else learned.model_dump())


def _extra(chosen: Iterable[Sample]) -> set[str]:
    return {name for sample in chosen for name in sample.model_extra or ()}


def _score(parts: Parts, detector: Detector, chosen: Sequence[Sample], opened: Sequence[Opened], conditions: Sequence[str], watch: Watch) -> None:
    """Write the parts that are missing; rows are let go as soon as their part is written."""
    todo = parts.missing()
    begun = parts.begun(todo[0]) if todo else []
    pictures = [picture for part in todo for picture in part]
    repeated = {sha256 for sha256, times in Counter(sha256 for sha256, error in opened if not error).items() if times > 1}
    rows = score(detector, (chosen[picture] for picture in pictures), conditions, skip=len(begun), repeated=repeated)
    looks = islice((opened[picture] for picture in pictures for _ in conditions), len(begun), None)
    checked = (_checked(row, *look) for row, look in zip(rows, looks, strict=True))
    checked = iter(watch(checked, len(pictures) * len(conditions) - len(begun), "scoring"))
    for part in todo:
        parts.write(part, begun if part is todo[0] else [], checked)


def _checked(row: dict[str, Any], sha256: str, error: str) -> dict[str, Any]:
    if row["error"] != error or (not error and row["sha256"] != sha256):
        raise RunError(f"{row['path']}: has changed since the run began, or cannot be read any more")
    return row
