"""Whether a run's folder holds what its pictures, its detector and its own files say: trust nothing, compute it again."""

from __future__ import annotations

import json
import math
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from realgrain.detector import content
from realgrain.detector.ahead import ahead
from realgrain.detector.bundle import F32_TOLERANCE
from realgrain.detector.calibration import probability
from realgrain.detector.detect import Detector
from realgrain.detector.weights import file_sha256
from realgrain.learning.data import ManifestError, Sample
from realgrain.measuring.learned_from import in_words, learned_from
from realgrain.measuring.lock import LOCK, Lock, LockError, bundle_ref, differences, environment, read_lock, runtime_ref
from realgrain.measuring.metrics import stored_learned
from realgrain.measuring.run_audit import AUDIT, audit_chosen, read_audit
from realgrain.measuring.run_manifest import Entry, Key, choose, content_sha256, key_of, read_entries
from realgrain.measuring.running import MANIFEST, METRICS, SCORES, Watch, measure, read_scores, unwatched
from realgrain.measuring.score import SAMPLE, SCHEMA, cell, schema_with, score, thresholds_of

SHOWN = 5  # faults of a check that are named; the rest are counted
SAME = 1e-9  # relative: figures computed again by other versions of the same libraries
NEAR = 0.02  # of a probe's AUC: what other versions of the libraries that fit the audit's probes may change (our choice)


class Check(BaseModel):
    """One thing that was checked.

    Attributes:
        name: in words.
        faults: what is wrong, the first few by name; empty: nothing.
        detail: what was compared, and how closely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    faults: list[str]
    detail: str

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


class Verification(BaseModel):
    """All checks of a run, with what is needed to do them again.

    Attributes:
        seed: of the draw of pictures that were scored again.
        notes: how this machine differs from the one of the run; no fault.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    checks: list[Check]
    notes: list[str]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True)
class _Found:
    """What is in the folder."""

    folder: Path
    lock: Lock
    entries: list[Entry]
    table: pa.Table


def verify(
    folder: Path,
    detector: Detector,
    samples: Sequence[Sample],
    *,
    manifest: Path | None = None,
    share: float | None = None,
    count: int = 64,
    seed: int | None = None,
    watch: Watch = unwatched,
) -> Verification:
    """Check every file of a run, every picture and that they are all that the protocol chooses and no others, every probability, threshold and
    figure, the audit, and the logits of some pictures drawn at random.

    Logits must be equal to the last bit where versions and processor are those of the run, else within the tolerance that the card states for the
    runtime.

    Args:
        folder: of a finished run.
        detector: the run's.
        samples: of the run's benchmark, all of them.
        manifest: that the samples were read from; None where there is none.
        share: of the pictures to score again; None: ``count`` of them.
        count: pictures to score again, or all if there are fewer.
        seed: of the draw; None: a new one, so that nobody knows beforehand which scores are looked at. The result says which it was.
        watch: shows progress.

    Raises:
        LockError: it is not the folder of a finished run.
        ValueError: `share` is outside 0..1, or `count` negative.
    """
    if (share is not None and not 0 <= share <= 1) or count < 0:
        raise ValueError(f"share must be 0 to 1 and count not negative, got {share} and {count}")
    seed = secrets.randbits(32) if seed is None else seed
    lock = read_lock(folder)
    if not (folder / SCORES).is_file():
        read_scores(folder, lock)
    notes = differences(lock.environment, environment())
    exact = not notes
    checks = [_check_detector(lock, detector), _check_manifest(folder, lock)]
    try:
        found = _Found(folder, lock, list(read_entries(folder / MANIFEST)), read_scores(folder, lock))
    except (LockError, ManifestError) as error:  # without them there is nothing more to compare
        return Verification(seed=seed, checks=[*checks, _check("files", [str(error)], f"{MANIFEST} and {SCORES}")], notes=notes)
    columns = _check_columns(found)
    if not columns.ok:
        return Verification(seed=seed, checks=[*checks, columns], notes=notes)
    there = {key_of(sample): sample for sample in samples}
    checks += [_check_rows(found), _check_metrics(found)]
    checks += [_check_pictures(found, there, watch), _check_choice(found, samples)]
    if lock.protocol.clusters is not None and lock.protocol.clusters not in SCHEMA.names:  # those are compared whatever they are for
        checks.append(_check_clusters(found, there, lock.protocol.clusters))
    checks.append(_check_audit(found, there, samples, exact=exact))
    size = min(len(found.entries), count if share is None else math.ceil(share * len(found.entries)))
    drawn = sorted(np.random.default_rng(seed).choice(len(found.entries), size, replace=False).tolist())
    if checks[0].ok:
        checks.append(_check_learned(found, detector, there, manifest))
        checks.append(_check_thresholds(found, detector))
        checks.append(_check_probabilities(found, detector))
        checks.append(_check_logits(found, detector, there, drawn, exact=exact, watch=watch))
    return Verification(seed=seed, checks=checks, notes=notes)


def _check(name: str, faults: Sequence[str], detail: str) -> Check:
    more = len(faults) - SHOWN
    return Check(name=name, faults=[*faults[:SHOWN], *([f"and {more} more"] if more > 0 else [])], detail=detail)


def _check_detector(lock: Lock, detector: Detector) -> Check:
    faults = [f"bundle.{line}" for line in differences(lock.bundle, bundle_ref(detector))]
    now = runtime_ref(detector).model_copy(update={"version": lock.runtime.version})  # versions are among the notes
    faults += [f"runtime.{line}" for line in differences(lock.runtime, now)]
    return _check(
        "detector", faults, f"bundle {lock.bundle.name} and runtime {lock.runtime.name} are those of the lock; without them no score is tried"
    )


def _check_manifest(folder: Path, lock: Lock) -> Check:
    file = folder / MANIFEST
    same = file.is_file() and file_sha256(file) == lock.manifest.sha256
    return _check("manifest", [] if same else [f"{MANIFEST} is not the one whose sha256 is in {LOCK}"], f"sha256 of {MANIFEST}")


def _check_columns(found: _Found) -> Check:
    clusters = found.lock.protocol.clusters
    wanted = schema_with([] if clusters is None else [clusters])
    faults = [f"{SCORES} has no column {field.name} of type {field.type}" for field in wanted if field not in list(found.table.schema)]
    return _check("files", faults, f"columns of {SCORES}")


def _check_rows(found: _Found) -> Check:
    """The table holds the manifest's pictures in the lock's conditions, and nothing else."""
    conditions = found.lock.protocol.conditions
    rows = found.table.select([*SAMPLE, "condition", "sha256", "bundle", "runtime", "error", "logit"]).to_pylist()
    expected = [(entry, name) for entry in found.entries for name in conditions]
    faults = [] if len(rows) == len(expected) else [f"{len(rows)} rows for {len(found.entries)} pictures in {len(conditions)} conditions"]
    for row, (entry, name) in zip(rows, expected, strict=False):
        wanted: dict[str, Any] = {**entry.model_dump(include=set(SAMPLE)), "condition": name, "error": entry.error}
        wanted |= {"sha256": "" if entry.error else entry.sha256, "bundle": found.lock.bundle.hash, "runtime": found.lock.runtime.name}
        faults += [f"{entry.path}, {name}: {key} is {row[key]!r}, not {value!r}" for key, value in wanted.items() if row[key] != value]
        if bool(entry.error) != (row["logit"] is None):
            faults.append(f"{entry.path}, {name}: logit is {row['logit']}")
    return _check("scores against manifest", faults, f"{len(rows)} rows of {SCORES}")


def _check_thresholds(found: _Found, detector: Detector) -> Check:
    """Each is the one from which the detector calls a picture of its group of content AI-generated."""
    thresholds = thresholds_of(detector.bundle)
    rows = found.table.select(["path", "condition", "logit", "content_group", "threshold"]).to_pylist()
    faults = []
    for row in rows:
        wanted = None if row["logit"] is None else thresholds.get(row["content_group"])
        if row["threshold"] != wanted:
            faults.append(f"{row['path']}, {row['condition']}: threshold {row['threshold']}, and {wanted} by the bundle")
    return _check("thresholds", faults, f"{len(rows)} rows: the bundle's, from its calibration pictures, by group of content")


def _check_learned(found: _Found, detector: Detector, there: dict[Key, Sample], manifest: Path | None) -> Check:
    """A run on pictures that the detector learned from says so."""
    opened = {entry.path: entry.sha256 for entry in found.entries if not entry.error}
    again = learned_from(detector.bundle, opened, list(there.values()), manifest)
    stored = stored_learned(found.table)
    faults = [] if stored == again else [f"{SCORES} says: {in_words(stored)} Looked up again: {in_words(again)}"]
    return _check("learned from", faults, in_words(again))


def _check_metrics(found: _Found) -> Check:
    try:
        written = json.loads((found.folder / METRICS).read_bytes())
        again = measure(found.table, found.lock.protocol).model_dump(mode="json")
    except (OSError, ValueError) as error:
        return _check("metrics", [f"{METRICS}: {error}"], METRICS)
    old, new = (dict(_leaves(content, "")) for content in (written, again))
    faults = [f"{key} is {old.get(key)}, and {new.get(key)} when computed again" for key in dict.fromkeys((*old, *new)) if not _same(old, new, key)]
    return _check("metrics", faults, f"{len(new)} figures computed again from {SCORES}")


def _leaves(content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, content


def _same(old: dict[str, Any], new: dict[str, Any], key: str, near: float = SAME) -> bool:
    if key not in old or key not in new:
        return False
    first, second = old[key], new[key]
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=near, abs_tol=near)
    return first == second


def _check_pictures(found: _Found, there: dict[Key, Sample], watch: Watch) -> Check:
    """Every picture is there, with the bytes and the label it had."""

    def look(entry: Entry) -> str:
        sample = there.get(entry.key)
        if sample is None:
            return f"{entry.path}: is not in the benchmark"
        for name in SAMPLE:
            if getattr(sample, name) != getattr(entry, name):
                return f"{entry.path}: {name} is {getattr(sample, name)!r} in the benchmark, {getattr(entry, name)!r} in {MANIFEST}"
        try:
            digest = content_sha256(sample.content())
        except OSError:
            digest = ""
        if digest != entry.sha256:
            return f"{entry.path}: " + ("has changed" if digest else "cannot be read")
        return ""

    outcomes = ahead(partial(look, entry) for entry in found.entries)
    faults = [fault for fault in watch(outcomes, len(found.entries), "hashing") if fault]
    return _check("pictures", faults, f"labels and sha256 of {len(found.entries)} pictures")


def _check_choice(found: _Found, samples: Sequence[Sample]) -> Check:
    """The run holds all that the protocol chooses of the benchmark, once, and nothing else: neither were hard ones taken away nor easy ones added."""
    protocol, run = found.lock.protocol, Counter(entry.key for entry in found.entries)
    try:
        chosen = choose(samples, protocol.split, protocol.limit)
    except ManifestError as error:
        return _check("choice", [str(error)], "pictures that the protocol chooses")
    wanted = Counter(map(key_of, chosen))
    faults = [f"{path}: the benchmark has it, the run has not" for _, path in wanted - run]
    there = set(map(key_of, samples))  # others are no pictures of the benchmark, which is said already
    faults += [
        f"{key[1]}: the run has it {'twice' if key in wanted else 'and the protocol does not choose it'}" for key in run - wanted if key in there
    ]
    return _check("choice", faults, f"{len(chosen)} pictures that the protocol chooses")


def _check_clusters(found: _Found, there: dict[Key, Sample], column: str) -> Check:
    """What intervals draw together is what the benchmark says: the manifest does not hold columns of its own."""
    faults = []
    for row in found.table.select(["set", "path", "condition", column]).to_pylist():
        sample = there.get((row["set"], row["path"]))
        if sample is not None:
            value = cell((sample.model_extra or {}).get(column))
            if row[column] != value:
                faults.append(f"{row['path']}, {row['condition']}: {column} is {row[column]!r}, {value!r} in the benchmark")
    return _check("clusters", faults, f"{column}, by which pictures are drawn together for the intervals")


def _check_audit(found: _Found, there: dict[Key, Sample], samples: Sequence[Sample], *, exact: bool) -> Check:
    """The audit that is written is that of the run's pictures as they are now."""
    try:
        written = read_audit(found.folder, found.lock)
        if written is None:
            why = f"made under another {LOCK}" if (found.folder / AUDIT).is_file() else "is missing; the command that began the run writes it"
            return _check("audit", [f"{AUDIT}: {why}"], AUDIT)
        again = audit_chosen([there[entry.key] for entry in found.entries if entry.key in there], samples, found.lock.protocol.split)
    except ValueError as error:  # the file is none, or no picture is left
        return _check("audit", [str(error)], AUDIT)
    old, new = (dict(_leaves(of.model_dump(mode="json"), "")) for of in (written, again))
    if not exact:
        old, new = ({key: value for key, value in of.items() if not key.endswith(".words")} for of in (old, new))  # figures again, rounded
    near = SAME if exact else NEAR
    faults = [f"{key} is {old.get(key)}, and {new.get(key)} when done again" for key in dict.fromkeys((*old, *new)) if not _same(old, new, key, near)]
    how = "" if exact else f", figures within {NEAR:g} because versions or processors differ"
    return _check("audit", faults, f"{len(new)} figures and verdicts of {again.real + again.fake} pictures found again{how}")


def _check_probabilities(found: _Found, detector: Detector) -> Check:
    """Each is that of its logit on the bundle's scale for its group of content: figures at 0.5 and of calibration are computed from it."""
    scale, groups = detector.bundle.card.calibration, content.count(detector.bundle.statistics)
    rows = found.table.select(["path", "condition", "logit", "probability", "content_group"]).to_pylist()
    faults = []
    for row in rows:
        where, group = f"{row['path']}, {row['condition']}", row["content_group"]
        if group is not None and not 0 <= group < groups:
            faults.append(f"{where}: group of content {group}, of which the bundle has {groups}")
            continue
        wanted = None if scale is None or row["logit"] is None else float(probability(scale.of(group), row["logit"]))
        if not _apart(row["probability"], wanted) <= SAME:  # NaN is a fault too
            faults.append(f"{where}: probability {row['probability']}, and {wanted} by the bundle's scale")
    how = "none, as the bundle has no scale" if scale is None else f"those of the logits beside them, within {SAME:g}"
    return _check("probabilities", faults, f"{len(rows)} rows: {how}")


def _check_logits(found: _Found, detector: Detector, there: dict[Key, Sample], drawn: Sequence[int], *, exact: bool, watch: Watch) -> Check:
    conditions = found.lock.protocol.conditions
    columns = ["set", "path", "condition", "logit", "content_group"]
    rows = {(row["set"], row["path"], row["condition"]): row for row in found.table.select(columns).to_pylist()}
    graph = detector.bundle.card.runtimes.get(detector.runtime.name)
    exact = exact and detector.runtime.version == found.lock.runtime.version
    tolerance = 0.0 if exact else F32_TOLERANCE if graph is None else graph.tolerance
    chosen = [there[key] for key in (found.entries[row].key for row in drawn) if key in there]
    faults, most, scored = [], 0.0, 0
    for row in watch(score(detector, chosen, conditions), len(chosen) * len(conditions), "scoring"):
        written = rows.get((row["set"], row["path"], row["condition"]), {})
        before, group = written.get("logit"), written.get("content_group")
        apart = _apart(before, row["logit"])
        scored += 1
        most = max(most, apart if math.isfinite(apart) else 0.0)
        if apart > tolerance:
            faults.append(f"{row['path']}, {row['condition']}: logit {before}, and {row['logit']} when scored again")
        elif exact and group != row["content_group"]:
            faults.append(f"{row['path']}, {row['condition']}: group of content {group}, and {row['content_group']} when scored again")
    how = "equal to the last bit" if exact else f"within {tolerance:g}, because versions or processors differ; at most {most:.2g} apart"
    return _check("logits", faults, f"{scored} scores of {len(chosen)} pictures, {how}")


def _apart(before: float | None, now: float | None) -> float:
    if before is None or now is None:
        return 0.0 if before is now else math.inf
    return abs(before - now)
