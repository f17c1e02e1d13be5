"""Samples x conditions -> scores table: pictures are scored once, and everything measured afterwards reads the table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from realgrain.detector.calibration import probability
from realgrain.detector.detect import Detector
from realgrain.learning.data import Sample
from realgrain.picture.conditions import condition
from realgrain.picture.image import PictureError

SAMPLE = ("path", "label", "generator", "source", "set", "split")
"""What a row keeps of its sample."""
TEXT = (*SAMPLE, "condition", "sha256", "bundle", "runtime", "error")
SCHEMA = pa.schema([(name, pa.string()) for name in TEXT] + [("logit", pa.float64()), ("probability", pa.float64())])


def score(detector: Detector, samples: Sequence[Sample], conditions: Sequence[str] = ("clean",)) -> Iterator[dict[str, Any]]:
    """Rows of the scores table, in order of samples, then conditions; a bad file gives rows with its error.

    Args:
        detector: scores.
        samples: labelled or not; extra columns are kept.
        conditions: names of ``realgrain.picture.conditions.CONDITIONS``.

    Raises:
        ValueError: an unknown condition.
    """
    degrade = {name: condition(name) for name in conditions}
    card = detector.bundle.card
    for sample, picture in zip(samples, detector.open_many(sample.content() for sample in samples), strict=True):
        row = {**(sample.model_extra or {}), **sample.model_dump(include=set(SAMPLE))}
        row |= {"bundle": detector.bundle.hash, "runtime": detector.runtime.name}
        for name, apply in degrade.items():
            if isinstance(picture, PictureError):
                yield {**row, "condition": name, "sha256": "", "error": str(picture), "logit": None, "probability": None}
                continue
            logit = float(detector.view_logits(apply(picture.pixels)).mean(dtype="float64"))
            chance = None if card.calibration is None else float(probability(card.calibration, logit))
            yield {**row, "condition": name, "sha256": picture.sha256, "error": "", "logit": logit, "probability": chance}


def as_table(rows: Iterable[dict[str, Any]], threshold: float | None) -> pa.Table:
    """A scores table; columns beyond the schema are kept as text.

    Args:
        rows: as ``score`` gives them.
        threshold: logit from which a picture is flagged, kept in the table's metadata.
    """
    rows = list(rows)
    extra = sorted({name for row in rows for name in row} - set(SCHEMA.names))
    schema = pa.schema([*SCHEMA, *((name, pa.string()) for name in extra)], metadata={"realgrain": json.dumps({"threshold": threshold})})
    return pa.Table.from_pylist([{**row, **{name: "" if row.get(name) is None else str(row[name]) for name in extra}} for row in rows], schema=schema)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a parquet file at once, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.partial")
    pq.write_table(table, scratch, compression="zstd")
    scratch.replace(path)
