"""Bootstrap replicates of the runs of an ablation, from the scores beside its ledger: the same resample for all that saw the same pictures."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from realgrain.detector.weights import file_sha256
from realgrain.measuring.ledger import read_lines
from realgrain.measuring.resampling import Bools, Floats, draw_counts, weighted_metrics

log = logging.getLogger(__name__)

METRICS = {"auc": "auc", "balanced_accuracy": "balanced_accuracy_at_threshold", "tpr_at_5_fpr": "tpr_at_5_fpr"}
"""Name in a line -> name in a resample."""
_SHOWN = ("label", "source", "sha256")
Shown = tuple[str, str, str]
"""Label, source and sha256 of a picture."""


@dataclass(frozen=True)
class Replicates:
    """Of a run in one condition.

    Attributes:
        pictures: digest of what it was scored on: two with the same one are paired.
        metrics: (resamples,) of each.
    """

    pictures: str
    metrics: dict[str, Floats]


@dataclass
class _Exam:
    """Pictures (n), and the logits (n,) and thresholds of the lines that were scored on them."""

    shown: list[Shown]
    logits: list[tuple[tuple[str, str], Floats, float]] = field(default_factory=list)


def latest(ledger: Path) -> list[dict[str, Any]]:
    """The ledger's lines, the last of each run and condition. Those of before runs recorded their whole recipe are left out, and the log says so."""
    found: dict[str, dict[str, Any]] = {}
    lines = read_lines(ledger)
    for line in lines:
        if "recipe_sha256" in line:
            found[json.dumps([line["key"], line["delivery"]])] = line
    old = sum("recipe_sha256" not in line for line in lines)
    if old:
        log.warning("%s: %d lines of an older layout are left out", ledger, old)
    return list(found.values())


def replicates(
    lines: Iterable[Mapping[str, Any]], folder: Path, resamples: int, seed: int
) -> tuple[dict[tuple[str, str], Replicates], dict[str, str]]:
    """Replicates of every line that has its scores.

    Args:
        lines: of a ledger.
        folder: of the ledger.
        resamples: at least 1.
        seed: another seed, other resamples.

    Returns:
        Run's key and condition -> replicates; and run's key -> why it has none.
    """
    exams: dict[str, _Exam] = {}
    tables: dict[str, pa.Table | str] = {}
    missing: dict[str, str] = {}
    for line in lines:
        key, wanted = line["key"], line["scores_sha256"]
        if wanted not in tables:
            tables[wanted] = _read(folder / line["scores"], wanted)
        table = tables[wanted]
        if isinstance(table, str):
            missing[key] = table
            continue
        part = table.filter(pc.field("condition") == line["delivery"]).sort_by([(name, "ascending") for name in _SHOWN])
        shown = list(zip(*(part[name].to_pylist() for name in _SHOWN), strict=True))
        exam = exams.setdefault(_digest(shown), _Exam(shown))
        exam.logits.append(((key, line["delivery"]), part["logit"].to_numpy().astype(np.float64), line["threshold"]))
    found = {}
    for pictures, exam in exams.items():
        found |= {place: Replicates(pictures, metrics) for place, metrics in _draw(exam, resamples, seed).items()}
    return found, missing


def _read(file: Path, sha256: str) -> pa.Table | str:
    """The scores that a line names, or why there are none."""
    if not file.is_file():
        return f"{file.name} is missing"
    return pq.read_table(file) if file_sha256(file) == sha256 else f"{file.name} is not of this run"


def _draw(exam: _Exam, resamples: int, seed: int) -> dict[tuple[str, str], dict[str, Floats]]:
    fake = np.array([label == "fake" for label, _, _ in exam.shown])
    chunks: dict[tuple[str, str], list[dict[str, Floats]]] = defaultdict(list)
    for counts in draw_counts(_strata(exam.shown, seed), len(fake), resamples):
        for place, logit, threshold in exam.logits:
            chunks[place].append(weighted_metrics(counts, fake, logit, None, threshold))
    return {place: {name: np.concatenate([of[drawn] for of in parts]) for name, drawn in METRICS.items()} for place, parts in chunks.items()}


def _strata(shown: Sequence[Shown], seed: int) -> list[tuple[Bools, np.random.Generator]]:
    """Each source of a class, with a generator that depends on its pictures and the seed alone: wherever they occur, they are drawn alike."""
    group = np.array([json.dumps([label, source]) for label, source, _ in shown])
    found = []
    for name in sorted(set(group.tolist())):
        rows = group == name
        digest = _digest([name, *(sha256 for (_, _, sha256), mine in zip(shown, rows, strict=True) if mine)])
        found.append((rows, np.random.default_rng([seed, int(digest[:16], 16)])))
    return found


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
