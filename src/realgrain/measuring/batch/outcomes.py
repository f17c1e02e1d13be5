"""What a run says of an item: one row, which depends on nothing but the item's bytes, the detector and what was asked of it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from realgrain.detector.verdict import Report
from realgrain.picture.image import PictureError


class Outcome(BaseModel):
    """A row but for the item's name; a bad file has its error, and of the rest no more than is known.

    Attributes:
        sha256: of the bytes; None where they were not read to the end.
        bytes: how many.
        view_logits: one for each view of the card.
        logit: their mean.
        probability: calibrated; None where the detector is not.
        verdict: ``ai``, ``camera`` or ``unsure``.
        reasons: codes, why it is unsure.
        stable_min: least of the probabilities of the picture and its re-saved views; None, like the next two, where those were not looked at.
        error_code: kind of the refusal, as ``realgrain.picture.errors.Code``; None where all is well.
        error: the same in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str | None = None
    bytes: int | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    view_logits: list[float] | None = None
    logit: float | None = None
    probability: float | None = None
    verdict: str | None = None
    reasons: list[str] | None = None
    stable_min: float | None = None
    stable_median: float | None = None
    stable_max: float | None = None
    error_code: str | None = None
    error: str | None = None


STRUCT = pa.struct(
    [
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("view_logits", pa.list_(pa.field("element", pa.float64()))),
        ("logit", pa.float64()),
        ("probability", pa.float64()),
        ("verdict", pa.string()),
        ("reasons", pa.list_(pa.field("element", pa.string()))),
        ("stable_min", pa.float64()),
        ("stable_median", pa.float64()),
        ("stable_max", pa.float64()),
        ("error_code", pa.string()),
        ("error", pa.string()),
    ]
)
"""``Outcome`` as Arrow has it; ``element`` is what parquet calls what is in a list."""
SCHEMA = pa.schema([("uri", pa.string()), *STRUCT, ("bundle", pa.string()), ("runtime", pa.string())])
"""Of each shard."""


def judged(report: Report) -> Outcome:
    """The row of a picture."""
    picture, stable = report.picture, report.stability
    return Outcome(
        sha256=picture.sha256,
        bytes=picture.bytes,
        format=picture.format,
        width=picture.width,
        height=picture.height,
        view_logits=report.view_logits,
        logit=report.logit,
        probability=report.probability,
        verdict=report.verdict.label,
        reasons=list(report.verdict.reasons),
        stable_min=None if stable is None else stable.minimum,
        stable_median=None if stable is None else stable.median,
        stable_max=None if stable is None else stable.maximum,
    )


def refused(error: PictureError, sha256: str | None = None, size: int | None = None) -> Outcome:
    """The row of a bad file."""
    return Outcome(sha256=sha256, bytes=size, error_code=error.code, error=error.reason)


def as_array(found: list[Outcome]) -> pa.Array:
    """Rows as an array of ``STRUCT``."""
    rows: list[dict[str, Any]] = [one.model_dump() for one in found]
    return pa.array(rows, STRUCT)
